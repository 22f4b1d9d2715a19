//! Rows whose names differ only in case: a panel whose database ignores case has one user for all of them.

use std::collections::HashMap;

use super::{Cleanup, PAGE_USERS};
use crate::account::Account;
use crate::jobs::Context;
use crate::jobs::session::{Interrupt, Session};
use crate::observation::Observation;

/// The names of the panel's accounts that differ only in case, by the name in small letters.
pub(super) struct Spellings(HashMap<String, Vec<String>>);

impl Spellings {
    async fn read(session: &Session<'_>) -> Result<Self, Interrupt> {
        let Context {
            store, panel_name, ..
        } = session.context;
        let mut names: HashMap<String, Vec<String>> = HashMap::new();
        let mut after = None;
        loop {
            let page = store.page_accounts(panel_name, after, PAGE_USERS, session.ledger.now());
            let page = step!(cleanup.page_names, page).await?;
            for account in page.accounts {
                let spelled = names.entry(account.name.to_ascii_lowercase()).or_default();
                if !spelled.contains(&account.name) {
                    spelled.push(account.name);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        names.retain(|_, spelled| spelled.len() > 1);
        Ok(Self(names))
    }

    fn others(&self, name: &str) -> impl Iterator<Item = &String> {
        let alike = self.0.get(&name.to_ascii_lowercase());
        alike.into_iter().flatten().filter(move |other| *other != name)
    }
}

impl Cleanup {
    /// Whether another row names the panel user of this account in another case, as far as the panel does not prove that
    /// it tells the two names apart.
    pub(super) async fn has_another_spelling(
        &mut self,
        session: &mut Session<'_>,
        account: &Account,
    ) -> Result<bool, Interrupt> {
        if self.spellings.is_none() {
            self.spellings = Some(Spellings::read(session).await?);
        }
        for other in self
            .spellings
            .iter()
            .flat_map(|spellings| spellings.others(&account.name))
        {
            match session.inquiry.ask_for(other).await? {
                Observation::Missing => {}
                Observation::Found(user) if user.spelling.is_none() => {}
                _ => return Ok(true),
            }
        }
        Ok(false)
    }
}
