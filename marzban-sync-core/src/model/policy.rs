//! The choices that a bot's owner makes about reconciling; the defaults are what most bots expect.

use std::collections::BTreeSet;

use chrono::TimeDelta;

/// A tolerance beyond this would take a paid day for a rounding.
const WIDEST_TOLERANCE: TimeDelta = TimeDelta::hours(12);

/// How an observation becomes a change.
///
/// # Examples
/// ```
/// use marzban_sync_core::policy::{PanelBehind, Policy, Unlimited};
///
/// let mut policy = Policy::default();
/// policy.panel_behind = PanelBehind::Extend;
/// // What takes more from customers than the default is said, not implied.
/// assert_eq!(policy.unlimited, Unlimited::Keep);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// How much later than the panel's end the row's end may be and still be the same; an hour by default. Two clocks
    /// and a rounding stay below it, a paid day does not; more than 12 hours count as 12.
    pub tolerance: TimeDelta,
    /// What becomes of `end_date` when the panel's user has no `expire`.
    pub unlimited: Unlimited,
    /// Whether an `expired` subscription comes back when the panel's user works until a later date.
    pub reactivate: Reactivate,
    /// How `is_active` follows the panel.
    pub access: Access,
    /// What to do about a panel user whose end is behind what was paid for.
    pub panel_behind: PanelBehind,
    /// For how long a panel must have been behind before it is extended; a day by default, so that the bot's own push
    /// comes first.
    pub extend_after: TimeDelta,
    /// What a cleanup does to a panel user.
    pub cleanup: CleanupAction,
}

impl Policy {
    /// The same with a tolerance that can be one.
    pub(crate) fn capped(self) -> Self {
        Self {
            tolerance: self.tolerance.min(WIDEST_TOLERANCE),
            ..self
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tolerance: TimeDelta::hours(1),
            unlimited: Unlimited::Keep,
            reactivate: Reactivate::Always,
            access: Access::Mirror,
            panel_behind: PanelBehind::Report,
            extend_after: TimeDelta::hours(24),
            cleanup: CleanupAction::Delete,
        }
    }
}

/// What becomes of `end_date` when the panel's user has no `expire`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unlimited {
    /// The bot's date stays: a seller may promise an end that the panel does not enforce.
    #[default]
    Keep,
    /// The date is cleared: the panel's word counts.
    Clear,
}

/// Whether an `expired` subscription comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reactivate {
    /// An extension that was made in the panel comes back to the bot.
    #[default]
    Always,
    /// Only the bot opens a subscription.
    Never,
    /// Only an extension that leaves at least this much time counts as a renewal; less is a grace period.
    AtLeast(TimeDelta),
}

/// How `is_active` follows the panel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// It says whether the panel user works.
    #[default]
    Mirror,
    /// It is only ever switched off, for a bot whose `is_active` is its own block.
    OnlyOff,
}

/// What to do about a panel user whose end is behind what was paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PanelBehind {
    /// The report says so.
    #[default]
    Report,
    /// The panel user is given the row's end.
    ///
    /// Not for a bot that adds time to a panel user by a queue of its own: both would add it.
    Extend,
}

/// What a cleanup does to a panel user whose subscriptions ended long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CleanupAction {
    /// It is deleted, and its row unlinked.
    #[default]
    Delete,
    /// It is disabled, and its row stays linked.
    Disable,
}

/// For which accounts an operator has given an answer to a disagreement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// For none.
    #[default]
    Nobody,
    /// For these usernames.
    Names(BTreeSet<String>),
    /// For all.
    Everybody,
}

impl Trust {
    /// Whether it holds for the user of this name.
    #[must_use]
    pub fn includes(&self, name: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::Names(names) => names.contains(name),
            Self::Everybody => true,
        }
    }
}

/// An operator's answers for one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The panel is right: the row gets the panel's end, under the brakes.
    pub trust_panel: Trust,
    /// The bot is right: the row counts, and the panel is behind.
    pub trust_bot: Trust,
    /// What the brakes withheld is allowed.
    pub allow_mass_changes: bool,
}

/// An operator's answer for one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The panel is right.
    Panel,
    /// The bot is right.
    Bot,
}

impl Answers {
    /// The answer for the user of this name; where both sides were called right, the bot's is, as it takes nothing away.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Answer> {
        if self.trust_bot.includes(name) {
            Some(Answer::Bot)
        } else {
            self.trust_panel.includes(name).then_some(Answer::Panel)
        }
    }
}
