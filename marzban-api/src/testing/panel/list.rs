//! `GET /api/users`: filters, order and pages.

use std::cmp::Ordering;

use serde::Serialize;

use crate::testing::api::fields::integer_of_query;
use crate::testing::api::render::UserJson;
use crate::testing::api::request::{Call, Query};
use crate::testing::api::response::Answer;
use crate::testing::panel::state::{FakeAdmin, World};
use crate::testing::panel::user::{FakeStatus, FakeUser};

/// A column that the panel sorts by.
#[derive(Clone, Copy)]
enum Column {
    Username,
    UsedTraffic,
    DataLimit,
    Expire,
    CreatedAt,
}

#[derive(Clone, Copy)]
struct SortKey {
    column: Column,
    is_descending: bool,
}

/// The query, checked.
struct ListQuery<'a> {
    offset: usize,
    limit: Option<usize>,
    usernames: Vec<&'a str>,
    search: Option<String>,
    owners: Vec<&'a str>,
    status: Option<FakeStatus>,
    sort: Vec<SortKey>,
}

#[derive(Serialize)]
struct Page<'a> {
    users: Vec<UserJson<'a>>,
    total: usize,
}

/// Answers a page; a single user on it that cannot be shown breaks the whole of it.
pub(crate) fn users(world: &mut World, admin: &FakeAdmin, call: &Call) -> Answer {
    let query = match ListQuery::read(&call.query) {
        Ok(query) => query,
        Err(refusal) => return refusal,
    };
    let seed = world.next_seed();
    let mut found = query.candidates(world);
    found.retain(|user| query.keeps(user, admin));
    if !query.sort.is_empty() {
        found.sort_by(|one, other| query.compare(one, other));
    }
    let total = found.len();
    let page = found
        .into_iter()
        .skip(query.offset)
        .take(query.limit.unwrap_or(usize::MAX));
    let page: Vec<&FakeUser> = page.collect();
    if !page.iter().all(|user| user.is_presentable()) {
        return Answer::internal_error();
    }
    Answer::ok(&Page {
        users: page.into_iter().map(|user| world.render(user, seed)).collect(),
        total,
    })
}

impl<'a> ListQuery<'a> {
    fn read(query: &'a Query) -> Result<Self, Answer> {
        let mut problems = Vec::new();
        let mut integer = |name: &str| integer_of_query(query, name, &mut problems);
        // SQLite takes a negative offset as none and a negative limit as no limit; the panel skips a zero.
        let offset: i64 = integer("offset").unwrap_or(0);
        let limit: i64 = integer("limit").unwrap_or(0);
        let status = query.last("status").map(FakeStatus::parse);
        if status == Some(None) {
            let message = "Input should be 'active', 'disabled', 'limited', 'expired' or 'on_hold'";
            problems.push(("status".to_owned(), message.to_owned()));
        }
        if !problems.is_empty() {
            return Err(Answer::invalid(&problems));
        }
        Ok(Self {
            offset: usize::try_from(offset).unwrap_or(0),
            limit: usize::try_from(limit).ok().filter(|limit| *limit > 0),
            usernames: query.all("username").collect(),
            search: query
                .last("search")
                .filter(|text| !text.is_empty())
                .map(|text| format!("%{text}%")),
            owners: query.all("admin").collect(),
            status: status.flatten(),
            sort: query.last("sort").map_or(Ok(Vec::new()), read_sort)?,
        })
    }

    /// Names are looked up in the index, so that a page by name costs the same in a panel of any size.
    fn candidates<'w>(&self, world: &'w World) -> Vec<&'w FakeUser> {
        if self.usernames.is_empty() {
            return world.users.values().collect();
        }
        let mut ids: Vec<u64> = self
            .usernames
            .iter()
            .filter_map(|name| world.id_of(name))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.iter().filter_map(|id| world.users.get(id)).collect()
    }

    /// An admin that is not sudo sees its own users, whatever it filters by.
    fn keeps(&self, user: &FakeUser, admin: &FakeAdmin) -> bool {
        let is_visible = if admin.is_sudo {
            self.owners.is_empty()
                || user
                    .owner
                    .as_deref()
                    .is_some_and(|owner| self.owners.contains(&owner))
        } else {
            admin.may_manage(user)
        };
        is_visible
            && self.status.is_none_or(|status| user.status == status)
            && self.search.as_deref().is_none_or(|pattern| {
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
    fn parse(name: &str) -> Option<Self> {
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

fn read_sort(sort: &str) -> Result<Vec<SortKey>, Answer> {
    let read = |option: &str| {
        let (name, is_descending) = option
            .strip_prefix('-')
            .map_or((option, false), |name| (name, true));
        match Column::parse(name) {
            Some(column) => Ok(SortKey {
                column,
                is_descending,
            }),
            None => Err(Answer::detail(
                400,
                &format!("\"{option}\" is not a valid sort option"),
            )),
        }
    };
    sort.split(',').map(read).collect()
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
