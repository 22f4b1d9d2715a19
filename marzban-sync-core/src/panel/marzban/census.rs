//! The panel's cheap questions: its own sums, who is expired, and the pages of the few other statuses.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use marzban_api::model::{SystemStats, UserStatus};
use marzban_api::resource::{ListUsers, Listed};
use marzban_api::{Client, Error};

use crate::census::Census;

/// From the second day of the year 1 to the last but one of 9999, in seconds: all that the panel can show, by any time
/// zone. A panel that is given no bounds answers for the last 30 days alone.
const EVER: (i64, i64) = (-62_135_510_400, 253_402_128_000);

pub(super) async fn take(client: &Client, accounts: u64) -> Result<Option<Census>, Error> {
    // Another admin sees its own users alone, and the bot's others would look as if they were active.
    if !client.admins().current().await?.is_sudo {
        return Ok(None);
    }
    let sums = client.system().stats().await?;
    if !is_worthwhile(&sums, accounts) {
        return Ok(None);
    }
    let Some(limited) = of_status(client, UserStatus::Limited).await? else {
        return Ok(None);
    };
    let Some(disabled) = of_status(client, UserStatus::Disabled).await? else {
        return Ok(None);
    };
    let Some(on_hold) = of_status(client, UserStatus::OnHold).await? else {
        return Ok(None);
    };
    // It names those limited users too whose time has passed.
    let moment = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default();
    let (first, last) = (moment(EVER.0), moment(EVER.1));
    let named = client.users().expired(first..=last).await?;
    let expired: BTreeSet<String> = named.into_iter().filter(|name| !limited.contains(name)).collect();
    if !agree(&sums, [&limited, &disabled, &on_hold, &expired]) {
        return Ok(None);
    }
    let mut without_access = expired;
    without_access.extend(limited);
    without_access.extend(disabled);
    Ok(Some(Census {
        active: sums.users_active,
        on_hold,
        without_access,
    }))
}

/// Whether the sums can be those of so many accounts, and listing who is not active costs less than reading them.
fn is_worthwhile(sums: &SystemStats, accounts: u64) -> bool {
    let listed = [sums.users_limited, sums.users_disabled, sums.users_on_hold];
    let total = listed
        .into_iter()
        .try_fold(0_u64, |total, listed| total.checked_add(listed?));
    sums.users_active <= accounts && total.is_some_and(|total| total <= accounts)
}

/// The names of all users of a status; none where one of them cannot be told.
async fn of_status(client: &Client, status: UserStatus) -> Result<Option<BTreeSet<String>>, Error> {
    let query = ListUsers::new().status(status.clone());
    let mut names = BTreeSet::new();
    let mut listed = std::pin::pin!(client.users().stream(query));
    while let Some(listed) = listed.try_next().await? {
        match listed {
            Listed::User(user) if user.status == status => drop(names.insert(user.username)),
            Listed::User(_) | Listed::Unreadable(_) => return Ok(None),
        }
    }
    Ok(Some(names))
}

/// Whether the panel's sums are those of its lists, and nobody is in none of them.
fn agree(sums: &SystemStats, [limited, disabled, on_hold, expired]: [&BTreeSet<String>; 4]) -> bool {
    let count = |names: &BTreeSet<String>| Some(names.len() as u64);
    let listed = [limited, disabled, on_hold, expired]
        .map(|names| names.len() as u64)
        .iter()
        .sum::<u64>();
    sums.users_limited == count(limited)
        && sums.users_disabled == count(disabled)
        && sums.users_on_hold == count(on_hold)
        && sums.users_expired == count(expired)
        && sums.users_active.checked_add(listed) == Some(sums.total_user)
}
