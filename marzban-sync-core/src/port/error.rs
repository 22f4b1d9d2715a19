//! The errors of the two ports and of a run.

use std::error::Error as StdError;
use std::fmt;

use crate::model::outcome::Outcome;
use crate::model::report::{Job, Report};

type Source = Box<dyn StdError + Send + Sync + 'static>;

macro_rules! boundary_error {
    ($(#[$doc:meta])* $name:ident, $kind:ident) => {
        $(#[$doc])*
        pub struct $name(Box<Inner<$kind>>);

        impl $name {
            /// An error of this kind, whose message says what was attempted (`cannot read accounts`), and never
            /// holds a secret.
            #[must_use]
            pub fn new(kind: $kind, message: impl Into<String>) -> Self {
                Self(Box::new(Inner { kind, message: message.into(), source: None }))
            }

            /// The same error with its cause.
            #[must_use]
            pub fn with_source(mut self, source: impl Into<Source>) -> Self {
                self.0.source = Some(source.into());
                self
            }

            /// What kind of failure this is.
            #[must_use]
            pub fn kind(&self) -> $kind {
                self.0.kind
            }

            /// Whether trying again later may succeed.
            #[must_use]
            pub fn is_retryable(&self) -> bool {
                self.0.kind.is_retryable()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.message)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("kind", &self.0.kind)
                    .field("message", &self.0.message)
                    .field("source", &self.0.source)
                    .finish()
            }
        }

        impl StdError for $name {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                self.0.source.as_deref().map(|source| source as _)
            }
        }
    };
}

struct Inner<K> {
    kind: K,
    message: String,
    source: Option<Source>,
}

boundary_error! {
    /// A [`AccountStore`](crate::store::AccountStore) could not do what it was asked.
    StoreError, StoreErrorKind
}

/// Why a store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The database does not answer or refused the connection; a later run may succeed.
    Unavailable,
    /// A table or column is missing or of another type; the message names it and what to do.
    Schema,
    /// Another transaction held a row or table for too long, or the two deadlocked; trying again may succeed.
    Contended,
    /// The database refused a statement or returned what cannot be understood; a later run will fail again.
    Invalid,
    /// Another run of this job for this panel holds the lock.
    AlreadyRunning,
    /// The lock of this run was lost, because its connection was; another run may have begun.
    LockLost,
}

impl StoreErrorKind {
    /// Whether the failure concerns the row that was written, so that others may well be written.
    #[must_use]
    pub fn is_of_one_row(self) -> bool {
        matches!(self, Self::Contended | Self::Invalid)
    }

    /// Whether trying again later may succeed.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Unavailable | Self::Contended | Self::AlreadyRunning | Self::LockLost => true,
            Self::Schema | Self::Invalid => false,
        }
    }
}

boundary_error! {
    /// A [`Panel`](crate::panel::Panel) could not answer.
    PanelError, PanelErrorKind
}

/// Why a panel did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PanelErrorKind {
    /// No answer, an outage, a time-out, a rate limit or a proxy's page; a later request may succeed.
    Unavailable,
    /// The panel refuses the credentials or the permission; every further request would fail too.
    Refused,
    /// The answer cannot be understood.
    Invalid,
    /// A write may or may not have happened; the user must be read again before anything else is done to it.
    Unclear,
}

impl PanelErrorKind {
    /// Whether trying again later may succeed.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Unavailable | Self::Unclear => true,
            Self::Refused | Self::Invalid => false,
        }
    }
}

/// An error and its causes in one line: `outer: middle: inner`.
///
/// For logs and reports; each error's own `Display` tells its layer only.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// A job could not run, or not to its end because the panel or the database failed.
pub struct SyncError(Box<SyncErrorInner>);

struct SyncErrorInner {
    job: Job,
    outcome: Outcome,
    source: Source,
    report: Option<Report>,
}

impl SyncError {
    #[cfg(feature = "jobs")]
    pub(crate) fn new(job: Job, outcome: Outcome, source: Source, report: Option<Report>) -> Self {
        Self(Box::new(SyncErrorInner {
            job,
            outcome,
            source,
            report,
        }))
    }

    /// The job that failed.
    #[must_use]
    pub fn job(&self) -> Job {
        self.0.job
    }

    /// How it ended: `AlreadyRunning`, `Panel` or `Store`, or `Deadline` or `Cancelled` before there was anything to
    /// report; runs over accounts return their report instead.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// Whether the same run may succeed a little later, without anybody doing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let mut cause = self.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<StoreError>() {
                return error.is_retryable();
            }
            if let Some(error) = error.downcast_ref::<PanelError>() {
                return error.is_retryable();
            }
            cause = error.source();
        }
        self.outcome().is_retryable()
    }

    /// What was done before it failed; none when nothing was begun.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.0.report.as_ref()
    }
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(inner) = self;
        let why = match inner.outcome {
            Outcome::AlreadyRunning => "is already running",
            Outcome::Panel => "was ended by the panel",
            Outcome::Store => "was ended by the database",
            _ => "was stopped",
        };
        write!(f, "{} {why}", inner.job)
    }
}

impl fmt::Debug for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(inner) = self;
        f.debug_struct("SyncError")
            .field("job", &inner.job)
            .field("outcome", &inner.outcome)
            .field("source", &inner.source)
            .finish_non_exhaustive()
    }
}

impl StdError for SyncError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.0.source.as_ref())
    }
}
