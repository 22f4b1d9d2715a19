//! Who of a panel's users is not simply active, as its cheap questions tell, and whom that leaves to be asked about.
//!
//! A census decides nothing about an account: it only says of whom there may be news, and those are asked for.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::account::Account;
use crate::observation::PanelStatus;

/// Which users of a panel are not active, and how many are.
///
/// It takes a handful of requests, whatever the number of active users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// How many users have the status `active`: all that are in neither of the sets.
    pub active: u64,
    /// The names of the users whose status is `on_hold`.
    pub on_hold: BTreeSet<String>,
    /// The names of the users whose status is `expired`, `limited` or `disabled`.
    pub without_access: BTreeSet<String>,
}

impl Census {
    /// The census of these users; none if one of them has a status that this version does not know.
    #[must_use]
    pub fn of<'a>(users: impl IntoIterator<Item = (&'a str, &'a PanelStatus)>) -> Option<Self> {
        let mut census = Self::default();
        for (name, status) in users {
            match status {
                PanelStatus::Active => census.active += 1,
                PanelStatus::OnHold => drop(census.on_hold.insert(name.to_owned())),
                PanelStatus::Expired | PanelStatus::Limited | PanelStatus::Disabled => {
                    census.without_access.insert(name.to_owned());
                }
                PanelStatus::Unknown(_) => return None,
            }
        }
        Some(census)
    }

    /// Whether the panel counts this account's user among the active ones, if it has such a user at all.
    #[must_use]
    pub fn may_be_active(&self, account: &Account) -> bool {
        !self.on_hold.contains(&account.name) && !self.without_access.contains(&account.name)
    }

    /// Whether reading the account's user may bring news of its access.
    ///
    /// That is so where the row and the census disagree, and where the row says that access works although the
    /// subscription's end has passed: the panel's own word for that lags.
    #[must_use]
    pub fn may_bring_news(&self, account: &Account, now: DateTime<Utc>) -> bool {
        let is_without_access = self.without_access.contains(&account.name);
        match account.is_active {
            None => true,
            Some(false) => !is_without_access,
            Some(true) => {
                let ends = account
                    .subscription
                    .as_ref()
                    .and_then(|subscription| subscription.end_date);
                is_without_access || ends.is_some_and(|end| end <= now)
            }
        }
    }
}
