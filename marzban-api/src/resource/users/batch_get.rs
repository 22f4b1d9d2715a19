use std::collections::{BTreeMap, BTreeSet};

use super::page::Entry;
use crate::error::Error;
use crate::model::{UnreadableUser, User};

/// The result of [`get_many`](super::Users::get_many) or [`get_many_summaries`](super::Users::get_many_summaries).
/// Every requested username is in exactly one of the three collections.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// let users = client.users().get_many(&["alice", "bob"]).await?;
/// println!("found {:?}, not answered {:?}", users.found.keys(), users.missing);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BatchGet<T = User> {
    /// The users that were found, by the requested username. Their own `username` has the panel's spelling, which may
    /// differ in case on a case-insensitive database.
    pub found: BTreeMap<String, T>,
    /// The usernames whose state is unknown: the panel cannot render the user, returned it twice, or returned
    /// something that cannot be decoded.
    pub failed: BTreeMap<String, Error>,
    /// The usernames that the panel's list did not contain. This is not proof that the user does not exist: call
    /// [`Users::get`](super::Users::get) before acting on it.
    pub missing: BTreeSet<String>,
}

impl<T> Default for BatchGet<T> {
    fn default() -> Self {
        Self {
            found: BTreeMap::new(),
            failed: BTreeMap::new(),
            missing: BTreeSet::new(),
        }
    }
}

impl<T> BatchGet<T> {
    /// Assigns each `asked` username its entry of the `answer`. Other users in it are ignored.
    ///
    /// A username that differs only in case counts as the requested one if no other requested name is like it,
    /// because some databases behind the panel ignore case. `error` makes an error about this response.
    pub(super) fn assign(
        &mut self,
        asked: Vec<String>,
        response: Vec<Result<T, UnreadableUser>>,
        error: impl Fn(&'static str) -> Error,
    ) where
        T: Entry,
    {
        let mut asked: BTreeMap<String, bool> = asked.into_iter().map(|name| (name, false)).collect();
        let mut nameless = None;
        for entry in response {
            let name = match &entry {
                Ok(user) => Some(user.username()),
                Err(user) => user.username.as_deref(),
            };
            let Some(name) = name else {
                nameless = entry.err().map(|user| user.error);
                continue;
            };
            let Some(name) = asked_as(&asked, name) else {
                continue;
            };
            let Some(is_answered) = asked.get_mut(&name) else {
                continue;
            };
            if std::mem::replace(is_answered, true) {
                self.found.remove(&name);
                self.failed
                    .insert(name, error("the response contains this user twice"));
                continue;
            }
            match entry {
                Ok(user) => drop(self.found.insert(name, user)),
                Err(user) => drop(self.failed.insert(name, user.error)),
            }
        }
        let open = asked
            .into_iter()
            .filter_map(|(name, is_answered)| (!is_answered).then_some(name));
        match nameless {
            // An entry without a username may be any of the remaining users.
            Some(error) => self.failed.extend(open.map(|name| (name, error.clone()))),
            None => self.missing.extend(open),
        }
    }
}

/// Returns the requested username that an entry belongs to: the same one, or the only one that differs just in case.
fn asked_as(asked: &BTreeMap<String, bool>, name: &str) -> Option<String> {
    if asked.contains_key(name) {
        return Some(name.to_owned());
    }
    let mut alike = asked.keys().filter(|asked| asked.eq_ignore_ascii_case(name));
    let first = alike.next()?;
    alike.next().is_none().then(|| first.clone())
}
