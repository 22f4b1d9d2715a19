//! The end of a subscription or of a panel user.

use std::fmt;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

/// The end of a subscription or of a panel user; none is the latest of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndDate {
    /// Access ends at this moment.
    At(DateTime<Utc>),
    /// Access does not end: the column becomes null.
    Never,
}

impl EndDate {
    /// As the column holds it: null for [`Never`](Self::Never).
    #[must_use]
    pub fn as_column(self) -> Option<DateTime<Utc>> {
        match self {
            Self::At(end_date) => Some(end_date),
            Self::Never => None,
        }
    }
}

impl From<Option<DateTime<Utc>>> for EndDate {
    /// The end in whole seconds, as both sides can hold it.
    fn from(end_date: Option<DateTime<Utc>>) -> Self {
        end_date.map_or(Self::Never, |end_date| Self::At(end_date.trunc_subsecs(0)))
    }
}

impl fmt::Display for EndDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(end_date) => write!(f, "{}", end_date.format("%Y-%m-%d %H:%M:%S UTC")),
            Self::Never => f.write_str("never"),
        }
    }
}
