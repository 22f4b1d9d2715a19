//! A constant difference of ends, which is a time zone and no disagreement.

use std::collections::BTreeMap;

use chrono::TimeDelta;

/// The share of the accounts that differ, in percent, from which on a constant difference is a time zone.
const SHARE: u64 = 80;

/// Fewer than this many are a coincidence.
const FLOOR: u64 = 5;

/// Zones lie apart by multiples of this.
const STEP: TimeDelta = TimeDelta::minutes(15);

/// No zone is further from UTC.
const WIDEST: TimeDelta = TimeDelta::hours(14);

/// How much later the row's end is than the panel's, counted over the accounts that differ and that nothing was agreed
/// on.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    total: u64,
    counts: BTreeMap<TimeDelta, u64>,
}

impl Differences {
    /// Counts one account.
    pub fn note(&mut self, difference: TimeDelta) {
        self.total += 1;
        let is_zone = !difference.is_zero()
            && difference.abs() <= WIDEST
            && difference.num_seconds() % STEP.num_seconds() == 0;
        if is_zone {
            *self.counts.entry(difference).or_default() += 1;
        }
    }

    /// The difference that most of them have, if it is a time zone.
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::TimeDelta;
    /// use marzban_sync_core::zone::Differences;
    ///
    /// let mut differences = Differences::default();
    /// (0..4).for_each(|_| differences.note(TimeDelta::hours(3)));
    /// assert_eq!(differences.zone(), None, "four may be a coincidence");
    /// differences.note(TimeDelta::hours(3));
    /// assert_eq!(differences.zone(), Some(TimeDelta::hours(3)));
    /// ```
    #[must_use]
    pub fn zone(&self) -> Option<TimeDelta> {
        let (difference, count) = self.counts.iter().max_by_key(|(_, count)| **count)?;
        (*count >= FLOOR && count * 100 >= SHARE * self.total).then_some(*difference)
    }
}

/// What a report says of a time zone.
#[must_use]
pub fn describe(difference: TimeDelta) -> String {
    let minutes = difference.num_minutes().abs();
    format!(
        "the bot's ends are {}{:02}:{:02} off the panel's throughout, which looks like a time zone: the library reads \
         naive timestamps as UTC, so store them in UTC, or name their zone in the mapping (`zone`)",
        if difference > TimeDelta::zero() { '+' } else { '-' },
        minutes / 60,
        minutes % 60
    )
}
