//! The brakes: what no run may do unless an operator says so, counted by what can be lost.

use std::fmt;

use chrono::TimeDelta;

/// How much one run may take away.
///
/// # Examples
/// ```
/// use marzban_sync_core::limits::{LimitExceeded, SafetyLimits};
///
/// let limits = SafetyLimits::default();
/// // Twenty percent, and never more than half, of the accounts of a small bot.
/// assert_eq!(limits.deletion_budget(100), 20);
/// assert_eq!(limits.deletion_budget(2), 2);
/// // Half of all users extended in one run is more than a limit allows, unless an operator says so.
/// let exceeded = limits.check_extensions(50, 100, false);
/// assert!(matches!(exceeded, Some(LimitExceeded::Extensions { extensions: 50, total: 100 })));
/// assert_eq!(limits.check_extensions(50, 100, true), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SafetyLimits {
    /// How many users with access may be absent from the panel, in percent of the accounts that can lose something.
    pub absent_percent: u64,
    /// How many may lose access although the row's own end is ahead, in percent of the accounts that can lose something.
    pub off_early_percent: u64,
    /// How many ends may have been moved earlier by the panel alone, in percent of the accounts that can lose something.
    pub promise_percent: u64,
    /// How many users may be `active` more than a day past their `expire`, in percent of the accounts that can lose
    /// something, before the clocks count as disagreeing.
    pub stale_percent: u64,
    /// How far the panel's `Date` header may be from the clock of the run.
    pub clock_difference: TimeDelta,
    /// How many panel users one run may extend, in percent of the accounts.
    pub extension_percent: u64,
    /// From this count on a share counts; below it half of all does, from two on.
    pub floor: u64,
    /// How many panel users one cleanup may delete, in percent of all accounts, and never more than half of them.
    pub deletion_percent: u64,
    /// A cleanup may delete this many, however few accounts there are.
    pub deletion_floor: u64,
}

impl Default for SafetyLimits {
    fn default() -> Self {
        Self {
            absent_percent: 10,
            off_early_percent: 10,
            promise_percent: 2,
            stale_percent: 2,
            clock_difference: TimeDelta::hours(1),
            extension_percent: 10,
            floor: 5,
            deletion_percent: 20,
            deletion_floor: 2,
        }
    }
}

/// What a run has seen, and what it would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accounts in scope.
    pub total: u64,
    /// Accounts that can lose something: an open subscription with an end ahead, or access.
    pub can_lose: u64,
    /// Accounts that the panel returned a user for.
    pub found: u64,
    /// Accounts that the panel's answers lacked.
    pub absent: u64,
    /// Those of them with access.
    pub absent_with_access: u64,
    /// Accounts whose access would go off although their own end is ahead.
    pub off_early: u64,
    /// Accounts whose end the panel alone moved earlier, taken or kept.
    pub cuts: u64,
    /// Users that are `active` more than a day past their `expire`.
    pub stale: u64,
    /// How far the panel's clock is from the run's, as far as the panel returned a date.
    pub clock_difference: Option<TimeDelta>,
}

/// Why something is withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// The panel returned none of the users that were asked for.
    NoUserReturned {
        /// How many were asked for.
        total: u64,
    },
    /// The two clocks are too far apart.
    Clocks {
        /// How far the panel's is ahead.
        difference: TimeDelta,
    },
    /// Too many users are `active` past their `expire`.
    StaleUsers {
        /// How many.
        stale: u64,
        /// Of so many that can lose something.
        can_lose: u64,
    },
    /// Too many users with access are absent.
    Absent {
        /// How many.
        absent: u64,
        /// Of so many that can lose something.
        can_lose: u64,
    },
    /// Too many would lose access before their own end.
    OffEarly {
        /// How many.
        off_early: u64,
        /// Of so many that can lose something.
        can_lose: u64,
    },
    /// Too many ends were moved earlier by the panel alone.
    Promises {
        /// How many.
        cuts: u64,
        /// Of so many that can lose something.
        can_lose: u64,
    },
    /// More panel users are to be extended than one run may.
    Extensions {
        /// How many.
        extensions: u64,
        /// Of so many accounts.
        total: u64,
    },
    /// More accounts are to be deleted than one cleanup may.
    DeletionBudget {
        /// How many one cleanup may delete.
        budget: u64,
    },
    /// A sync job was stopped by a safety limit in its last run.
    SyncStopped,
    /// No sync job completed within the last day.
    NoRecentSync,
}

impl LimitExceeded {
    /// Whether no end, no status and no access may move at all, given or taken.
    #[must_use]
    pub fn is_total(&self) -> bool {
        matches!(
            self,
            Self::NoUserReturned { .. } | Self::Clocks { .. } | Self::StaleUsers { .. } | Self::Absent { .. }
        )
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUserReturned { total } => {
                write!(
                    f,
                    "the panel returned none of the {total} users; is it the right panel?"
                )
            }
            Self::Clocks { difference } => write!(
                f,
                "the clocks disagree: the panel's is {} minutes {} this machine's; set both by NTP",
                difference.num_minutes().abs(),
                if *difference > TimeDelta::zero() {
                    "ahead of"
                } else {
                    "behind"
                }
            ),
            Self::StaleUsers { stale, can_lose } => write!(
                f,
                "the clocks disagree: {stale} of {can_lose} users are active more than a day past their expire"
            ),
            Self::Absent { absent, can_lose } => write!(
                f,
                "{absent} of {can_lose} users with something to lose are absent from the panel; is it the right panel?"
            ),
            Self::OffEarly { off_early, can_lose } => write!(
                f,
                "access of {off_early} of {can_lose} accounts would go off before their own end"
            ),
            Self::Promises { cuts, can_lose } => write!(
                f,
                "the panel alone moved {cuts} of {can_lose} ends earlier; is it restored from a backup?"
            ),
            Self::Extensions { extensions, total } => {
                write!(f, "{extensions} of {total} panel users would be extended at once")
            }
            Self::DeletionBudget { budget } => write!(f, "one cleanup may delete {budget} panel users"),
            Self::SyncStopped => f.write_str(
                "the last run of a sync job was stopped by a safety limit: look at its report first",
            ),
            Self::NoRecentSync => f.write_str(
                "no sync job has completed within the last day: run sync-subscriptions-from-marzban first",
            ),
        }
    }
}

impl SafetyLimits {
    /// Whether a part of a plan is to be withheld, and why; the gravest reason first.
    ///
    /// `allow` is an operator who has seen what was withheld. It never makes up for a wrong clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_sync_core::limits::{SafetyLimits, Tally, LimitExceeded};
    ///
    /// let limits = SafetyLimits::default();
    /// let tally = Tally { total: 100, can_lose: 10, found: 100, cuts: 5, ..Tally::default() };
    /// assert_eq!(limits.check(&tally, false), Some(LimitExceeded::Promises { cuts: 5, can_lose: 10 }));
    /// assert_eq!(limits.check(&tally, true), None);
    /// ```
    #[must_use]
    pub fn check(&self, tally: &Tally, allow: bool) -> Option<LimitExceeded> {
        let Tally {
            total,
            can_lose,
            found,
            absent,
            absent_with_access,
            off_early,
            cuts,
            stale,
            clock_difference,
        } = *tally;
        let clocks = self.check_clocks(clock_difference);
        if clocks.is_some() || allow {
            return clocks;
        }
        if absent > 0 && found == 0 {
            return Some(LimitExceeded::NoUserReturned { total });
        }
        if self.is_too_many(stale, self.stale_percent, can_lose) {
            return Some(LimitExceeded::StaleUsers { stale, can_lose });
        }
        if self.is_too_many(absent_with_access, self.absent_percent, can_lose) {
            return Some(LimitExceeded::Absent {
                absent: absent_with_access,
                can_lose,
            });
        }
        if self.is_too_many(off_early, self.off_early_percent, can_lose) {
            return Some(LimitExceeded::OffEarly { off_early, can_lose });
        }
        self.is_too_many(cuts, self.promise_percent, can_lose)
            .then_some(LimitExceeded::Promises { cuts, can_lose })
    }

    /// Whether the panel's clock is too far from the run's, as far as the panel returned a date.
    #[must_use]
    pub fn check_clocks(&self, difference: Option<TimeDelta>) -> Option<LimitExceeded> {
        let difference = difference.filter(|difference| difference.abs() > self.clock_difference)?;
        Some(LimitExceeded::Clocks { difference })
    }

    /// Whether so many panel users are more than one run may extend.
    #[must_use]
    pub fn check_extensions(&self, extensions: u64, total: u64, allow: bool) -> Option<LimitExceeded> {
        let is_too_many = extensions >= self.floor && exceeds(extensions, self.extension_percent, total);
        (is_too_many && !allow).then_some(LimitExceeded::Extensions { extensions, total })
    }

    /// How many panel users one cleanup may delete, of a bot that has this many accounts.
    #[must_use]
    pub fn deletion_budget(&self, accounts: u64) -> u64 {
        share(self.deletion_percent, accounts)
            .min(accounts / 2)
            .max(self.deletion_floor)
    }

    fn is_too_many(&self, count: u64, percent: u64, of: u64) -> bool {
        (count >= self.floor && exceeds(count, percent, of)) || (count >= 2 && count.saturating_mul(2) >= of)
    }
}

fn exceeds(count: u64, percent: u64, total: u64) -> bool {
    u128::from(count) * 100 > u128::from(percent) * u128::from(total)
}

fn share(percent: u64, total: u64) -> u64 {
    u64::try_from(u128::from(percent) * u128::from(total) / 100).unwrap_or(u64::MAX)
}
