use crate::model::UserStatus;
use crate::request::Request;

/// A query for [`Users::list`](super::Users::list) and [`Users::stream`](super::Users::stream); by default it matches
/// all users.
///
/// A user is listed if it meets every condition that is set.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::model::UserStatus;
/// use marzban_api::resource::{ListUsers, UserSort, UserSortField};
/// # panel.insert_admin(marzban_api::testing::FakeAdmin::new("seller", "a password"));
/// # for (name, bytes) in [("alice", 1), ("boris", 2), ("clara", 3)] {
/// #     panel.insert_user(marzban_api::testing::FakeUser::new(name).used_traffic(bytes).owner(Some("seller")));
/// # }
///
/// let query = ListUsers::new()
///     .usernames(["alice", "boris"])
///     .admins(["seller"])
///     .status(UserStatus::Active)
///     .sort([UserSort::descending(UserSortField::UsedTraffic), UserSort::ascending(UserSortField::Username)])
///     .offset(1)
///     .limit(50);
/// let page = client.users().list(&query).await?;
/// assert_eq!((page.users[0].username.as_str(), page.total), ("alice", 2));
/// // Part of a name or a note, in whatever case.
/// assert_eq!(client.users().list(&ListUsers::new().search("LAR")).await?.users[0].username, "clara");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListUsers {
    offset: Option<u64>,
    limit: Option<u64>,
    usernames: Vec<String>,
    search: Option<String>,
    admins: Vec<String>,
    status: Option<UserStatus>,
    sort: Vec<UserSort>,
}

impl ListUsers {
    /// Matches all users, in no particular order.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Skips the first `offset` users.
    #[must_use]
    pub fn offset(self, offset: u64) -> Self {
        Self {
            offset: Some(offset),
            ..self
        }
    }

    /// Returns at most `limit` users per response. 0 means no limit; the panel has none of its own.
    ///
    /// For a [`stream`](super::Users::stream) it is the page size, by default 100.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }

    /// Restricts the list to these usernames (case-sensitive). An empty list does **not** filter: all users are
    /// returned.
    #[must_use]
    pub fn usernames<S: Into<String>>(self, usernames: impl IntoIterator<Item = S>) -> Self {
        Self {
            usernames: usernames.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// Restricts the list to users whose username or note contains this text, ignoring case. `%` matches any text and
    /// `_` any single character.
    #[must_use]
    pub fn search(self, search: impl Into<String>) -> Self {
        Self {
            search: Some(search.into()),
            ..self
        }
    }

    /// Restricts the list to users of these admins. Users without an owner cannot be selected. An empty list does
    /// **not** filter: the users of all admins are returned.
    #[must_use]
    pub fn admins<S: Into<String>>(self, admins: impl IntoIterator<Item = S>) -> Self {
        Self {
            admins: admins.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// Restricts the list to users with this status.
    #[must_use]
    pub fn status(self, status: UserStatus) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// Sorts by the first key, then by the next. Without a key, the order is that of the panel's database.
    #[must_use]
    pub fn sort(self, sort: impl IntoIterator<Item = UserSort>) -> Self {
        Self {
            sort: sort.into_iter().collect(),
            ..self
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.offset.unwrap_or_default()
    }

    pub(super) fn page_size(&self) -> Option<u64> {
        self.limit.filter(|limit| *limit > 0)
    }

    pub(super) fn request(&self, operation: &'static str) -> Request {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        pairs.extend(self.offset.map(|offset| ("offset", offset.to_string())));
        pairs.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        pairs.extend(self.usernames.iter().map(|name| ("username", name.clone())));
        pairs.extend(self.search.iter().map(|text| ("search", text.clone())));
        pairs.extend(self.admins.iter().map(|name| ("admin", name.clone())));
        pairs.extend(self.status.iter().map(|status| ("status", status.to_string())));
        let keys: Vec<_> = self.sort.iter().map(|sort| sort.key()).collect();
        // The panel answers 400 to an empty list of keys.
        pairs.extend((!keys.is_empty()).then(|| ("sort", keys.join(","))));
        let request = Request::get(operation, "/api/users");
        pairs
            .iter()
            .fold(request, |request, (key, value)| request.query(key, value))
    }
}

/// A key to sort users by.
///
/// # Examples
///
/// ```
/// use marzban_api::resource::{UserSort, UserSortField};
///
/// let latest_first = UserSort::descending(UserSortField::CreatedAt);
/// assert_ne!(latest_first, UserSort::ascending(UserSortField::CreatedAt));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserSort {
    field: UserSortField,
    descending: bool,
}

/// A field that users can be sorted by. The panel supports no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UserSortField {
    /// The username.
    Username,
    /// The traffic used since the last reset.
    UsedTraffic,
    /// The data limit.
    DataLimit,
    /// The expiry.
    Expire,
    /// The time of creation.
    CreatedAt,
}

impl UserSort {
    /// Sorts the smallest or earliest first.
    #[must_use]
    pub fn ascending(field: UserSortField) -> Self {
        Self {
            field,
            descending: false,
        }
    }

    /// Sorts the largest or latest first.
    #[must_use]
    pub fn descending(field: UserSortField) -> Self {
        Self {
            field,
            descending: true,
        }
    }

    fn key(self) -> String {
        let name = match self.field {
            UserSortField::Username => "username",
            UserSortField::UsedTraffic => "used_traffic",
            UserSortField::DataLimit => "data_limit",
            UserSortField::Expire => "expire",
            UserSortField::CreatedAt => "created_at",
        };
        format!("{}{name}", if self.descending { "-" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_is_a_part_of_the_query() {
        let query = ListUsers::new()
            .offset(5)
            .limit(0)
            .usernames(["a@b", "c"])
            .search("50% off")
            .admins(["ali"])
            .status(UserStatus::OnHold)
            .sort([
                UserSort::descending(UserSortField::UsedTraffic),
                UserSort::ascending(UserSortField::Username),
            ]);
        assert_eq!(
            query.request("users.list").target(),
            "/api/users?offset=5&limit=0&username=a%40b&username=c&search=50%25+off&admin=ali&status=on_hold\
             &sort=-used_traffic%2Cusername"
        );
        assert_eq!(ListUsers::new().request("users.list").target(), "/api/users");
    }
}
