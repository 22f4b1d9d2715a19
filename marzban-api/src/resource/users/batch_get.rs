use std::collections::{BTreeMap, BTreeSet};

use super::page::Entry;
use crate::error::Error;
use crate::model::{UnreadableUser, User};

/// The users that [`get_many`](super::Users::get_many) was asked for, or the states of those that
/// [`get_many_summaries`](super::Users::get_many_summaries) was. Every name is in exactly one of the three.
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
    /// The users that the panel showed, by the names that were asked for. `username` is as the panel spells it: a
    /// database that does not tell upper from lower case answers with its own spelling.
    pub found: BTreeMap<String, T>,
    /// The names about which nothing can be said: the panel fails to show the user, shows it twice, or shows what this
    /// crate cannot read.
    pub failed: BTreeMap<String, Error>,
    /// The names that the panel did not answer with. A claim, not a proof: ask for the user alone before acting on it.
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
    /// Assigns each of the `asked` names by the `answer` to them. Users that were not asked for are passed over.
    ///
    /// A user whose name differs only in case is the one asked for, if it is the only such one and nobody asked for its
    /// own spelling: some databases behind the panel do not tell upper from lower case.
    ///
    /// `error` makes an error about this answer.
    pub(super) fn assign(
        &mut self,
        asked: Vec<String>,
        answer: Vec<Result<T, UnreadableUser>>,
        error: impl Fn(&'static str) -> Error,
    ) where
        T: Entry,
    {
        let mut asked: BTreeMap<String, bool> = asked.into_iter().map(|name| (name, false)).collect();
        let mut nameless = None;
        for entry in answer {
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
                self.failed.insert(name, error("the answer has this user twice"));
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
            // Somebody who cannot be recognised may be any of those who are left.
            Some(error) => self.failed.extend(open.map(|name| (name, error.clone()))),
            None => self.missing.extend(open),
        }
    }
}

/// The name that this answer is to: the same, or the only one that differs in nothing but case.
fn asked_as(asked: &BTreeMap<String, bool>, name: &str) -> Option<String> {
    if asked.contains_key(name) {
        return Some(name.to_owned());
    }
    let mut alike = asked.keys().filter(|asked| asked.eq_ignore_ascii_case(name));
    let first = alike.next()?;
    alike.next().is_none().then(|| first.clone())
}
