//! What the two sides last agreed on: the memory that tells a payment from a slip of the panel.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::end_date::EndDate;

/// What the library remembers of one panel user, by panel and username, beside the bot's own rows.
///
/// A store keeps it as it is, with a revision for compare-and-set; only [`merge`](crate::merge_ends) and
/// [`reconcile`](crate::reconcile::reconcile) read and make it. One that lags behind its row does no harm: the next run meets
/// the same rows and decides as it would have.
///
/// # Examples
///
/// ```
/// use marzban_sync_core::agreement::Agreement;
///
/// let unknown = Agreement::default();
/// assert!(unknown.end.is_none() && unknown.created_at.is_none());
/// assert_eq!(serde_json::to_string(&unknown).unwrap(), "{}");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Agreement {
    /// The end that both sides last had, in whole seconds; none before the first agreement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<EndDate>,
    /// The agreed end before its last extension. Where the library wrote that extension into the row, the row's end
    /// before it. A panel that goes back to it looks restored, a row that goes back to it looks saved by mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_end: Option<EndDate>,
    /// Whether the library wrote [`end`](Self::end) into the row.
    #[serde(skip_serializing_if = "is_false")]
    pub is_ours: bool,
    /// The last end that the library wrote into the row from this user, whatever has become of it: no other account of the
    /// customer is extended to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_end: Option<EndDate>,
    /// The latest finite end that either side ever had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_end: Option<DateTime<Utc>>,
    /// When the panel user was created: what tells it from another user of the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// Whether the panel user was on hold when it was last seen.
    #[serde(skip_serializing_if = "is_false")]
    pub on_hold: bool,
    /// Whether both sides had no end before the panel user was put on hold: time that then begins is a loss.
    #[serde(skip_serializing_if = "is_false")]
    pub was_endless: bool,
    /// The status that an `expired` subscription gets back when the panel user works again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
    /// The end whose replaced status reopened the subscription. Other accounts may remember that status still: it does not
    /// reopen the subscription again, since somebody else has closed it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reopened_end: Option<EndDate>,
    /// Since when the library has seen the account over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_since: Option<DateTime<Utc>>,
    /// When the library last wrote facts into the row of an account that is over, so that its own write is not taken
    /// for the bot's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_write_at: Option<DateTime<Utc>>,
    /// A disagreement that a run left open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Disagreement>,
    /// The last time that the library moved the panel user's end to the row's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<PanelExtension>,
    /// Whether the panel confirmed, when asked for this user alone, that it does not exist.
    #[serde(skip_serializing_if = "is_false")]
    pub is_missing: bool,
}

/// A status that the library replaced by `expired`, or that an extension of an ended subscription would have set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// The status to go back to, in the bot's spelling.
    pub status: String,
    /// The row's end as the library left it; with another one the row is not as it was left.
    pub end: EndDate,
}

/// Two ends that differ, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The row's end.
    pub row_end: EndDate,
    /// The panel's end.
    pub panel_end: EndDate,
    /// When this pair was first seen.
    pub since: DateTime<Utc>,
}

/// An extension of a panel user by the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanelExtension {
    /// When it was begun.
    pub at: DateTime<Utc>,
    /// The panel's end before.
    pub from: DateTime<Utc>,
    /// The panel's end after: the row's.
    pub to: DateTime<Utc>,
}

impl Agreement {
    /// Whether nothing is known yet: the account is looked at for the first time.
    #[must_use]
    pub fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// The end that both sides last had: of a user on hold, the one from before the hold if that was none.
    #[must_use]
    pub fn settled_end(&self) -> Option<EndDate> {
        self.end.or(self.was_endless.then_some(EndDate::Never))
    }

    /// The same without any end or status that both sides agreed on: of a user that rows of several customers name, each
    /// row would agree on one of its own.
    #[must_use]
    pub(crate) fn without_end(self) -> Self {
        Self {
            end: None,
            previous_end: None,
            is_ours: false,
            open: None,
            replaced: None,
            ..self
        }
    }

    /// Whether this pair of ends was left open by an earlier run.
    #[must_use]
    pub fn has_open(&self, row_end: EndDate, panel_end: EndDate) -> bool {
        self.open
            .is_some_and(|open| (open.row_end, open.panel_end) == (row_end, panel_end))
    }

    /// Notes a pair that is left open; one that is open already keeps its beginning.
    pub(crate) fn leave_open(&mut self, row_end: EndDate, panel_end: EndDate, now: DateTime<Utc>) {
        if !self.has_open(row_end, panel_end) {
            self.open = Some(Disagreement {
                row_end,
                panel_end,
                since: now,
            });
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}
