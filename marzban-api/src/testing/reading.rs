//! Reading a page of users without a panel, for benchmarks.

use crate::model::{User, UserSummary};
use crate::resource::read_whole;

/// Reads a page of users as the client reads the answer to a list; none if one of them cannot be read.
///
/// # Examples
///
/// ```
/// let page = br#"{"users":[{"username":"alice","status":"active","used_traffic":7}],"total":1}"#;
/// let users = marzban_api::testing::read_users(page).expect("a page of users");
/// assert_eq!(users[0].used_traffic, 7);
/// ```
#[must_use]
pub fn read_users(page: &[u8]) -> Option<Vec<User>> {
    read_whole(page).ok().map(|(users, _)| users)
}

/// Reads a page of users as the client reads the states of users of given names; none if one of them cannot be read.
///
/// # Examples
///
/// ```
/// let page = br#"{"users":[{"username":"alice","status":"active","used_traffic":7}],"total":1}"#;
/// let states = marzban_api::testing::read_summaries(page).expect("a page of users");
/// assert_eq!(states[0].used_traffic, 7);
/// ```
#[must_use]
pub fn read_summaries(page: &[u8]) -> Option<Vec<UserSummary>> {
    read_whole(page).ok().map(|(states, _)| states)
}
