//! The end of a subscription, merged three ways: the row's, the panel's, and the one that both last agreed on.
//!
//! Pure, and the only place that moves an end. The first rule that fits decides; DESIGN's order is the code's.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};

use crate::model::agreement::Agreement;
use crate::model::end_date::EndDate;
use crate::model::observation::{PanelStatus, PanelUser};
use crate::model::plan::Reason;
use crate::model::policy::{Answer, Policy, Unlimited};

/// How far two creation times of one user may lie apart: databases round them.
const SAME_CREATION: TimeDelta = TimeDelta::seconds(2);

/// For how long the library's own extension of a panel user is suspected to be made again by the bot.
const SUSPECTED_FOR: TimeDelta = TimeDelta::days(7);

/// Both sides of one end.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// The row's end.
    pub row: EndDate,
    /// The panel's user.
    pub user: &'a PanelUser,
    /// The last connection that the row has.
    pub last_connected_at: Option<DateTime<Utc>>,
    /// What was agreed.
    pub agreement: &'a Agreement,
}

/// What the operator says for this account, in this run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Say {
    /// Which side is right.
    pub answer: Option<Answer>,
    /// Whether a shortening that was withheld is allowed.
    pub allow: bool,
}

/// What becomes of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The row's new end, and why; none leaves it.
    pub row: Option<(EndDate, Reason)>,
    /// Why the two ends cannot be brought together, if so.
    pub conflict: Option<Conflict>,
    /// What is remembered once the row is written.
    pub agreement: Agreement,
    /// Whether the panel alone moved the end earlier, written or kept: what the brakes count.
    pub is_cut: bool,
    /// Whether both sides have the same end now, or will have once the row is written.
    pub is_in_step: bool,
}

/// Why two ends cannot be brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Paid in the bot, not in the panel.
    PanelBehind,
    /// Shortened in the bot, not in the panel; or over in the bot, and still working in the panel.
    PanelAhead,
    /// Neither side's word counts more than the other's.
    EndsDisagree(Doubt),
    /// The panel's end cannot be one.
    ImplausibleEnd,
    /// Another user has this name now.
    OtherUser,
    /// The panel alone moved the end earlier, and an earlier run withheld that.
    Withheld,
}

/// What speaks against the panel's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The row's end is later, and nothing was agreed.
    RowIsLater,
    /// The panel went back behind an extension: it looks restored from a backup.
    PanelWentBack,
    /// The panel rose again by as much as the library gave it: the bot may have given it too.
    GivenTwice,
    /// The subscription is shared with another account.
    Shared,
}

/// Whether both ends are the same: equal, or the row's later by no more than the tolerance.
#[must_use]
pub fn is_same(row: EndDate, panel: EndDate, tolerance: TimeDelta) -> bool {
    match (row, panel) {
        (EndDate::At(row), EndDate::At(panel)) => (TimeDelta::zero()..=tolerance).contains(&(row - panel)),
        (row, panel) => row == panel,
    }
}

/// Whether the panel's end can be an end at all: not before the user was created, not before 2020, not after 9999, and
/// not more than a day before the last connection that the row has.
#[must_use]
pub fn is_plausible(user: &PanelUser, last_connected_at: Option<DateTime<Utc>>) -> bool {
    let Some(expire) = user.expire else {
        return true;
    };
    let (first, last) = (
        Utc.with_ymd_and_hms(2020, 1, 1, 0, 0, 0).single(),
        Utc.with_ymd_and_hms(9999, 12, 31, 23, 59, 59).single(),
    );
    let is_before_creation = user
        .created_at
        .is_some_and(|created_at| expire < created_at - TimeDelta::seconds(1));
    let is_before_connection = last_connected_at.is_some_and(|last| expire < last - TimeDelta::days(1));
    let in_calendar = first.is_none_or(|first| expire >= first) && last.is_none_or(|last| expire <= last);
    in_calendar && !is_before_creation && !is_before_connection
}

/// Whether the user was created at another moment than the agreed one.
#[must_use]
pub fn is_other_user(user: &PanelUser, agreement: &Agreement) -> bool {
    user.created_at
        .zip(agreement.created_at)
        .is_some_and(|(created_at, agreed)| (created_at - agreed).abs() > SAME_CREATION)
}

/// Merges the row's end, the panel's, and the agreed one.
#[must_use]
pub fn merge(sides: Sides<'_>, policy: Policy, say: Say, now: DateTime<Utc>) -> Merged {
    let policy = policy.capped();
    let merge = Merge::new(sides, policy, say, now);
    if sides.user.status == PanelStatus::OnHold {
        return merge.on_hold();
    }
    if merge.is_in_step() {
        return merge.in_step();
    }
    if !is_plausible(sides.user, sides.last_connected_at) {
        return merge.stays(Conflict::ImplausibleEnd);
    }
    if merge.panel == EndDate::Never && policy.unlimited == Unlimited::Keep {
        return merge.unlimited_is_kept();
    }
    if merge.is_other {
        return match say.answer {
            Some(Answer::Panel) => merge.takes_panel(),
            Some(Answer::Bot) | None => merge.stays(Conflict::OtherUser),
        };
    }
    if merge.panel == EndDate::Never {
        return merge.row_gets(Reason::Unlimited);
    }
    if sides.agreement.on_hold && merge.row == EndDate::Never {
        return merge.begun();
    }
    match sides.agreement.end {
        Some(agreed) if is_same(merge.row, agreed, policy.tolerance) => merge.only_the_panel_moved(),
        Some(agreed) if merge.panel == agreed => merge.only_the_row_moved(),
        Some(_) | None => merge.both_or_nothing_agreed(),
    }
}

/// The row stays, and this is remembered.
fn merged(agreement: Agreement) -> Merged {
    Merged {
        row: None,
        conflict: None,
        agreement,
        is_cut: false,
        is_in_step: false,
    }
}

struct Merge<'a> {
    row: EndDate,
    panel: EndDate,
    agreement: &'a Agreement,
    user: &'a PanelUser,
    is_other: bool,
    policy: Policy,
    say: Say,
    now: DateTime<Utc>,
}

impl<'a> Merge<'a> {
    fn new(sides: Sides<'a>, policy: Policy, say: Say, now: DateTime<Utc>) -> Self {
        Self {
            row: sides.row,
            panel: EndDate::from(sides.user.expire),
            agreement: sides.agreement,
            user: sides.user,
            is_other: is_other_user(sides.user, sides.agreement),
            policy,
            say,
            now,
        }
    }

    /// The end that was agreed, if it was agreed with this user.
    fn agreed(&self) -> Option<EndDate> {
        self.agreement.end.filter(|_| !self.is_other)
    }

    /// What is remembered once both sides have the panel's end.
    fn agreement_on_panel(&self) -> Agreement {
        let mut agreement = self.agreement.clone();
        if self.is_other {
            agreement.previous_end = None;
        } else if let Some(before) = self.agreed().filter(|before| self.panel > *before) {
            agreement.previous_end = Some(before);
        }
        if agreement
            .extension
            .is_some_and(|given| EndDate::At(given.to) != self.panel)
        {
            agreement.extension = None;
        }
        agreement.created_at = self.user.created_at.or(agreement.created_at);
        agreement.end = Some(self.panel);
        agreement.is_ours = false;
        (agreement.on_hold, agreement.was_endless) = (false, false);
        agreement.open = None;
        agreement
    }

    fn stays(&self, conflict: Conflict) -> Merged {
        Merged {
            conflict: Some(conflict),
            ..merged(self.agreement.clone())
        }
    }

    fn stays_open(&self, conflict: Conflict) -> Merged {
        let mut agreement = self.agreement.clone();
        agreement.on_hold = false;
        agreement.leave_open(self.row, self.panel, self.now);
        Merged {
            conflict: Some(conflict),
            ..merged(agreement)
        }
    }

    /// The user is on hold: its time has not begun, and an end of an earlier period may linger.
    fn on_hold(&self) -> Merged {
        let mut agreement = self.agreement.clone();
        agreement.created_at = self.user.created_at.or(agreement.created_at);
        agreement.on_hold = true;
        agreement.was_endless |= agreement.end == Some(EndDate::Never);
        agreement.end = None;
        agreement.is_ours = false;
        agreement.open = None;
        if self.is_other {
            agreement.previous_end = None;
        }
        merged(agreement)
    }

    fn is_in_step(&self) -> bool {
        let now = EndDate::At(self.now);
        is_same(self.row, self.panel, self.policy.tolerance)
            || (self.row <= now && self.panel <= now && self.panel <= self.row)
    }

    fn in_step(&self) -> Merged {
        let is_settled =
            self.agreed() == Some(self.panel) && self.agreement.open.is_none() && !self.agreement.on_hold;
        let agreement = if is_settled {
            self.agreement.clone()
        } else {
            // Whose word the end was stays known, also when the panel user was made anew with it.
            Agreement {
                is_ours: self.agreement.is_ours && self.agreement.end == Some(self.panel),
                ..self.agreement_on_panel()
            }
        };
        Merged {
            is_in_step: true,
            ..merged(agreement)
        }
    }

    fn unlimited_is_kept(&self) -> Merged {
        let is_over = self.row <= EndDate::At(self.now);
        let mut agreement = self.agreement.clone();
        agreement.on_hold &= self.is_other;
        Merged {
            conflict: (is_over && self.user.works(self.now)).then_some(Conflict::PanelAhead),
            ..merged(agreement)
        }
    }

    fn row_gets(&self, reason: Reason) -> Merged {
        let mut agreement = self.agreement_on_panel();
        agreement.written_end = Some(self.panel);
        if reason == Reason::Extended {
            agreement.is_ours = true;
            agreement.previous_end = Some(self.row);
        }
        Merged {
            row: Some((self.panel, reason)),
            is_in_step: true,
            ..merged(agreement)
        }
    }

    fn extended(&self) -> Merged {
        self.row_gets(Reason::Extended)
    }

    /// The time of a user that was on hold has begun, and the row has no end.
    fn begun(&self) -> Merged {
        if self.agreement.was_endless {
            self.shortened()
        } else {
            self.row_gets(Reason::Begun)
        }
    }

    fn shortened(&self) -> Merged {
        Merged {
            is_cut: true,
            ..self.row_gets(Reason::Shortened)
        }
    }

    /// The operator says that the panel is right.
    fn takes_panel(&self) -> Merged {
        if self.panel == EndDate::Never {
            self.row_gets(Reason::Unlimited)
        } else if self.panel > self.row {
            self.extended()
        } else {
            self.shortened()
        }
    }

    /// The operator says that the bot is right: from now on the row has moved, and the panel has not.
    fn takes_bot(&self) -> Merged {
        let mut agreement = self.agreement_on_panel();
        agreement.leave_open(self.row, self.panel, self.now);
        Merged {
            conflict: Some(Conflict::PanelBehind),
            ..merged(agreement)
        }
    }

    fn only_the_panel_moved(&self) -> Merged {
        let is_open = self.agreement.has_open(self.row, self.panel);
        if self.panel > self.row {
            let is_doubtful = is_open || self.looks_given_twice();
            return match self.say.answer {
                None if is_doubtful => self.stays_open(Conflict::EndsDisagree(Doubt::GivenTwice)),
                Some(Answer::Bot) if is_doubtful => Merged {
                    conflict: Some(Conflict::PanelAhead),
                    ..self.takes_bot()
                },
                _ => self.extended(),
            };
        }
        let kept = |conflict| Merged {
            is_cut: true,
            ..self.stays_open(conflict)
        };
        let went_back = self
            .agreement
            .previous_end
            .is_some_and(|before| self.panel <= before);
        match self.say.answer {
            Some(Answer::Bot) => self.takes_bot(),
            None if went_back => kept(Conflict::EndsDisagree(Doubt::PanelWentBack)),
            None if is_open && !self.say.allow => kept(Conflict::Withheld),
            Some(Answer::Panel) | None => self.shortened(),
        }
    }

    /// Whether the panel rose by the same step by which the library has just extended it.
    fn looks_given_twice(&self) -> bool {
        let Some(given) = self.agreement.extension else {
            return false;
        };
        let EndDate::At(panel) = self.panel else {
            return false;
        };
        let again = (panel - given.to) - (given.to - given.from);
        self.now - given.at <= SUSPECTED_FOR
            && is_same(self.row, EndDate::At(given.to), self.policy.tolerance)
            && again.abs() <= self.policy.tolerance
    }

    fn only_the_row_moved(&self) -> Merged {
        let is_stale_save = self.agreement.is_ours && self.agreement.previous_end == Some(self.row);
        if is_stale_save && self.panel > self.row {
            // Once: when it comes back, it is the bot's word.
            let mut merged = self.extended();
            merged.agreement = Agreement {
                is_ours: false,
                previous_end: self.agreement.previous_end,
                ..merged.agreement
            };
            return merged;
        }
        if self.say.answer == Some(Answer::Panel) {
            return self.takes_panel();
        }
        if self.row > self.panel {
            self.stays_open(Conflict::PanelBehind)
        } else {
            self.stays_open(Conflict::PanelAhead)
        }
    }

    fn both_or_nothing_agreed(&self) -> Merged {
        if self.panel > self.row {
            return self.extended();
        }
        match self.say.answer {
            Some(Answer::Panel) => self.shortened(),
            Some(Answer::Bot) => self.takes_bot(),
            None => self.stays_open(Conflict::EndsDisagree(Doubt::RowIsLater)),
        }
    }
}
