//! Decoding a page of users, so that a user that cannot be decoded fails only its own entry.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::client::{DecodeError, Response, decode};
use crate::error::{Error, ErrorKind};
use crate::model::{UnreadableUser, User, UserSummary};
use crate::request::Request;

/// Bounds memory: an error record is about 100 times larger than the element that caused it.
const MOST_UNREADABLE: usize = 10_000;

/// What a page of users is decoded into.
pub(crate) trait Entry: DeserializeOwned {
    fn username(&self) -> &str;
}

impl Entry for User {
    fn username(&self) -> &str {
        &self.username
    }
}

impl Entry for UserSummary {
    fn username(&self) -> &str {
        &self.username
    }
}

/// The users of a page, with an error in the place of each that cannot be decoded, and the total.
pub(super) type Entries<T> = (Vec<Result<T, UnreadableUser>>, u64);

#[derive(Deserialize)]
struct Page<L> {
    users: L,
    total: u64,
}

/// Decodes a page.
pub(super) fn read_page<T: Entry>(response: &Response, request: &Request) -> Result<Entries<T>, Error> {
    // Nearly every page can be decoded as a whole, in one pass. Otherwise its users are decoded one by one.
    if let Ok((users, total)) = read_whole(&response.body) {
        return Ok((users.into_iter().map(Ok).collect(), total));
    }
    let page: Page<OneByOne<T>> = response.decode(request)?;
    let read = |found: Result<T, Broken>| {
        found.map_err(|Broken { username, reason }| UnreadableUser {
            username,
            error: response.error(ErrorKind::Decode, request).with_source(reason),
        })
    };
    Ok((page.users.0.into_iter().map(read).collect(), page.total))
}

/// Decodes a page as a whole; fails if one of its users cannot be decoded.
pub(crate) fn read_whole<T: Entry>(page: &[u8]) -> Result<(Vec<T>, u64), serde_json::Error> {
    serde_json::from_slice(page).map(|Page { users, total }| (users, total))
}

/// The users of a page, each decoded by itself.
struct OneByOne<T>(Vec<Result<T, Broken>>);

/// A user that cannot be decoded.
struct Broken {
    username: Option<String>,
    reason: DecodeError,
}

impl<'de, T: Entry> Deserialize<'de> for OneByOne<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ReadOneByOne(PhantomData))
    }
}

struct ReadOneByOne<T>(PhantomData<T>);

impl<'de, T: Entry> Visitor<'de> for ReadOneByOne<T> {
    type Value = OneByOne<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of users")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneByOne<T>, A::Error> {
        let (mut entries, mut broken) = (Vec::new(), 0);
        while let Some(raw) = list.next_element::<&RawValue>()? {
            let entry = decode::<T>(raw.get().as_bytes()).map_err(|reason| Broken {
                username: name_in(raw),
                reason,
            });
            broken += usize::from(entry.is_err());
            if broken > MOST_UNREADABLE {
                return Err(A::Error::custom("too many users cannot be decoded"));
            }
            entries.push(entry);
        }
        Ok(OneByOne(entries))
    }
}

fn name_in(user: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        username: String,
    }
    serde_json::from_str::<Named>(user.get())
        .ok()
        .map(|named| named.username)
}
