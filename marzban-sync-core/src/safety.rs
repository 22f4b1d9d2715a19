//! The brakes: what no run may do unless an operator says so.

use std::fmt;

/// How much one run may take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SafetyLimits {
    /// The share of the accounts of a run, in percent, beyond which missing users and early expiries are withheld.
    pub mass_change_percent: u64,
    /// Fewer than this many are never withheld for their number, so that a small bot can lose a user.
    pub mass_change_floor: u64,
    /// The share of all accounts, in percent, that one cleanup may delete.
    pub deletion_percent: u64,
    /// A cleanup may delete this many, however few accounts there are.
    pub deletion_floor: u64,
    /// An operator has looked, and allows what the limits would withhold, for this run.
    pub allow_mass_changes: bool,
}

impl Default for SafetyLimits {
    fn default() -> Self {
        Self {
            mass_change_percent: 10,
            mass_change_floor: 5,
            deletion_percent: 20,
            deletion_floor: 10,
            allow_mass_changes: false,
        }
    }
}

/// What a run has seen, and what it would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accounts in scope.
    pub total: u64,
    /// Accounts that the panel returned a user for.
    pub found: u64,
    /// Accounts that the panel's answers lacked.
    pub absent: u64,
    /// Accounts that would be marked missing.
    pub missing: u64,
    /// Accounts whose subscription would be expired although its own end is still ahead.
    pub expired_early: u64,
}

/// Why the destructive part of a plan is withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The panel returned none of the users that were asked for.
    NoUserReturned {
        /// How many were asked for.
        total: u64,
    },
    /// Too many accounts would be marked missing or expired before their time.
    MassChange {
        /// Accounts that would be marked missing.
        missing: u64,
        /// Accounts that would be expired before their own end.
        expired_early: u64,
        /// Accounts in scope.
        total: u64,
        /// The limit, in percent.
        percent: u64,
    },
    /// More accounts are to be deleted than one cleanup may.
    DeletionBudget {
        /// How many one cleanup may delete.
        budget: u64,
    },
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUserReturned { total } => {
                write!(
                    f,
                    "the panel returned none of the {total} users; is it the right panel?"
                )
            }
            Self::MassChange {
                missing,
                expired_early,
                total,
                percent,
            } => write!(
                f,
                "{missing} of {total} accounts would be marked missing and {expired_early} expired before their own \
                 end, more than {percent} %"
            ),
            Self::DeletionBudget { budget } => write!(f, "one cleanup may delete {budget} panel users"),
        }
    }
}

impl SafetyLimits {
    /// Whether the destructive part of a plan is to be withheld, and why.
    #[must_use]
    pub fn check(&self, tally: &Tally) -> Option<Withheld> {
        if self.allow_mass_changes {
            return None;
        }
        let Tally {
            total,
            found,
            absent,
            missing,
            expired_early,
        } = *tally;
        if absent > 0 && found == 0 {
            return Some(Withheld::NoUserReturned { total });
        }
        let count = missing + expired_early;
        (count >= self.mass_change_floor && exceeds(count, self.mass_change_percent, total)).then_some(
            Withheld::MassChange {
                missing,
                expired_early,
                total,
                percent: self.mass_change_percent,
            },
        )
    }

    /// How many panel users one cleanup may delete, of a bot that has this many accounts.
    #[must_use]
    pub fn deletion_budget(&self, accounts: u64) -> u64 {
        if self.allow_mass_changes {
            return u64::MAX;
        }
        self.deletion_floor.max(share(self.deletion_percent, accounts))
    }
}

fn exceeds(count: u64, percent: u64, total: u64) -> bool {
    u128::from(count) * 100 > u128::from(percent) * u128::from(total)
}

fn share(percent: u64, total: u64) -> u64 {
    u64::try_from(u128::from(percent) * u128::from(total) / 100).unwrap_or(u64::MAX)
}
