//! Rows whose names differ only in case: a panel whose database ignores case has one user for all of them.

use std::collections::HashMap;

use super::Context;
use super::job_run::Interrupt;
use super::panel_reader::PanelReader;
use crate::model::account::{Account, Sharer, UserId};
use crate::model::observation::{Observation, Observed};

/// Customers per page.
const PAGE_USERS: u32 = 5_000;

/// The accounts of a panel whose names differ only in case, by the name in small letters.
#[derive(Debug)]
pub(super) struct Spellings(HashMap<String, Vec<Row>>);

#[derive(Debug)]
struct Row {
    name: String,
    user_id: UserId,
    sharer: Sharer,
}

impl Row {
    fn of(account: Account) -> Self {
        Self {
            user_id: account.user_id,
            sharer: Sharer {
                id: account.id,
                updated_at: account.updated_at,
                subscriptions: account.subscriptions().cloned().collect(),
            },
            name: account.name,
        }
    }
}

impl Spellings {
    async fn read(context: &Context) -> Result<Self, Interrupt> {
        let mut names: HashMap<String, Vec<Row>> = HashMap::new();
        let mut after = None;
        loop {
            let now = context.clock.now();
            let page = context
                .accounts
                .page_accounts(&context.panel_name, after, PAGE_USERS, now);
            let page = step!(reader.page_names, page).await?;
            for account in page.accounts {
                let key = account.name.to_ascii_lowercase();
                names.entry(key).or_default().push(Row::of(account));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        names.retain(|_, rows| {
            rows.first()
                .is_some_and(|first| rows.iter().any(|row| row.name != first.name))
        });
        Ok(Self(names))
    }

    /// The rows that spell a name in another case.
    fn others(&self, name: &str) -> impl Iterator<Item = &Row> {
        let alike = self.0.get(&name.to_ascii_lowercase());
        alike.into_iter().flatten().filter(move |row| row.name != name)
    }
}

impl PanelReader<'_> {
    async fn spellings(&mut self) -> Result<&Spellings, Interrupt> {
        let spellings = match self.spellings.take() {
            Some(spellings) => spellings,
            None => Spellings::read(self.context()).await?,
        };
        Ok(self.spellings.insert(spellings))
    }

    /// Notes who else names a panel user that the panel spells in another case than its row: rows of several customers
    /// then share one user, as those do that name it alike.
    pub(super) async fn note_other_spellings(&mut self, observed: &mut [Observed]) -> Result<(), Interrupt> {
        for Observed { account, observation } in observed {
            if !matches!(observation, Observation::Found(user) if user.spelling.is_some()) {
                continue;
            }
            let spellings = self.spellings().await?;
            let others = spellings
                .others(&account.name)
                .filter(|row| row.user_id != account.user_id)
                .map(|row| row.sharer.clone());
            account.sharers = account.sharers.iter().cloned().chain(others).collect();
        }
        Ok(())
    }

    /// Whether another row names the panel user of this account in another case, as far as the panel does not prove that
    /// it tells the two names apart.
    pub(super) async fn has_other_spelling(&mut self, account: &Account) -> Result<bool, Interrupt> {
        let spellings = self.spellings().await?;
        let others: Vec<String> = spellings
            .others(&account.name)
            .map(|row| row.name.clone())
            .collect();
        for other in others {
            match self.ask_for(&other).await? {
                Observation::NotFound => {}
                Observation::Found(user) if user.spelling.is_none() => {}
                _ => return Ok(true),
            }
        }
        Ok(false)
    }
}
