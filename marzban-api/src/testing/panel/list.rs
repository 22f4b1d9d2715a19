//! Lists of users: filters, order and pages, and the users that expired.

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};

use super::admin::FakeAdmin;
use super::refusal::Refusal;
use super::state::Panel;
use super::user::{FakeStatus, FakeUser};

/// A column that the panel sorts by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    Username,
    UsedTraffic,
    DataLimit,
    Expire,
    CreatedAt,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SortKey {
    pub(crate) column: Column,
    pub(crate) is_descending: bool,
}

/// The ends of a range of time, each with a default.
pub(crate) type Bounds = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Which users a list is to hold, and which part of them its page.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct UserQuery<'a> {
    /// How many users the page leaves out at the start.
    pub offset: usize,
    /// The length of the page; `None` is unlimited.
    pub limit: Option<usize>,
    /// The exact names; none is no condition.
    pub usernames: Vec<&'a str>,
    /// A part of the name or of the note; `%` and `_` are wildcards.
    pub search: Option<&'a str>,
    /// The owners; none is no condition, and admins that are not sudo see their own users whatever it is.
    pub owners: Vec<&'a str>,
    /// The state.
    pub status: Option<FakeStatus>,
    pub(crate) sort: Vec<SortKey>,
}

/// A part of a list of users.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UserPage<'a> {
    /// The users of the page.
    pub users: Vec<&'a FakeUser>,
    /// The number of users on all pages.
    pub total: usize,
}

impl Panel {
    /// Lists users, as `GET /api/users` does.
    ///
    /// # Errors
    /// [`InternalError`](Refusal::InternalError) for a page with a user that cannot be shown.
    pub fn list_users(&self, by: &FakeAdmin, query: &UserQuery<'_>) -> Result<UserPage<'_>, Refusal> {
        let pattern = query.search.map(|text| format!("%{text}%"));
        let mut found = self.candidates(query);
        found.retain(|user| query.keeps(user, by, pattern.as_deref()));
        if !query.sort.is_empty() {
            found.sort_by(|one, other| query.compare(one, other));
        }
        let total = found.len();
        let page = found.into_iter().skip(query.offset);
        let users: Vec<&FakeUser> = page.take(query.limit.unwrap_or(usize::MAX)).collect();
        if !users.iter().all(|user| user.is_presentable()) {
            return Err(Refusal::InternalError);
        }
        Ok(UserPage { users, total })
    }

    /// Looks names up in the index, so that a page by name costs the same in a panel of any size.
    fn candidates(&self, query: &UserQuery<'_>) -> Vec<&FakeUser> {
        if query.usernames.is_empty() {
            return self.users.values().collect();
        }
        let ids = query.usernames.iter();
        let mut ids: Vec<u64> = ids.filter_map(|name| self.id_of(name)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.iter().filter_map(|id| self.users.get(id)).collect()
    }

    /// Lists the names of expired and of limited users whose expiry lies in the range, by default the last 30 days.
    ///
    /// The panel's documentation promises all time instead of 30 days.
    pub(crate) fn expired_users(&self, by: &FakeAdmin, range: Bounds) -> Result<Vec<String>, Refusal> {
        let after = range.0.unwrap_or_else(|| self.now() - TimeDelta::days(30));
        let before = range.1.unwrap_or_else(|| self.now());
        if after > before {
            return Err(Refusal::ReversedRange);
        }
        let is_due = |expire: i64| (after.timestamp()..=before.timestamp()).contains(&expire);
        let due = self.users().filter(|user| {
            matches!(user.status, FakeStatus::Expired | FakeStatus::Limited)
                && user.expire.is_some_and(is_due)
                && by.may_manage(user)
        });
        Ok(due.map(|user| user.username.clone()).collect())
    }

    /// Deletes users by name and reports none of them; no name at all is refused.
    pub(crate) fn delete_expired(&mut self, names: &[String]) -> Result<(), Refusal> {
        if names.is_empty() {
            return Err(Refusal::NoExpiredUsers);
        }
        for name in names {
            self.remove_user(name);
        }
        Ok(())
    }
}

impl UserQuery<'_> {
    fn keeps(&self, user: &FakeUser, by: &FakeAdmin, pattern: Option<&str>) -> bool {
        by.counts(user, &self.owners)
            && self.status.is_none_or(|status| user.status == status)
            && pattern.is_none_or(|pattern| {
                like(pattern, &user.username) || user.note.as_deref().is_some_and(|note| like(pattern, note))
            })
    }

    fn compare(&self, one: &FakeUser, other: &FakeUser) -> Ordering {
        self.sort.iter().fold(Ordering::Equal, |order, key| {
            order.then_with(|| {
                let order = key.column.compare(one, other);
                if key.is_descending { order.reverse() } else { order }
            })
        })
    }
}

impl Column {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "username" => Some(Self::Username),
            "used_traffic" => Some(Self::UsedTraffic),
            "data_limit" => Some(Self::DataLimit),
            "expire" => Some(Self::Expire),
            "created_at" => Some(Self::CreatedAt),
            _ => None,
        }
    }

    /// `None` is less than every `Some`, as NULL is less than every value to SQLite.
    fn compare(self, one: &FakeUser, other: &FakeUser) -> Ordering {
        match self {
            Self::Username => one.username.cmp(&other.username),
            Self::UsedTraffic => one.used_traffic.cmp(&other.used_traffic),
            Self::DataLimit => one.data_limit.cmp(&other.data_limit),
            Self::Expire => one.expire.cmp(&other.expire),
            Self::CreatedAt => one.created_at.cmp(&other.created_at),
        }
    }
}

/// SQL's LIKE as SQLite has it: `%` is any run, `_` any character, and only ASCII letters ignore their case.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // `reached[i]` says whether the pattern so far matches the first `i` characters.
    let mut reached = vec![false; text.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for wanted in pattern {
        let mut next = vec![false; text.len() + 1];
        let mut any_before = false;
        for (index, slot) in next.iter_mut().enumerate() {
            let here = reached.get(index).copied().unwrap_or(false);
            let before = index.checked_sub(1);
            any_before |= here;
            *slot = match wanted {
                '%' => any_before,
                _ => before.is_some_and(|before| {
                    reached.get(before).copied().unwrap_or(false)
                        && text
                            .get(before)
                            .is_some_and(|c| wanted == '_' || c.eq_ignore_ascii_case(&wanted))
                }),
            };
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}
