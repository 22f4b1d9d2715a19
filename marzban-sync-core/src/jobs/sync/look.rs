//! One page of accounts, read from the database and then from the panel.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::PAGE_USERS;
use crate::decide::reconcile::Facet;
use crate::jobs::Context;
use crate::jobs::job_run::Interrupt;
use crate::jobs::panel_reader::PanelReader;
use crate::model::account::Account;
use crate::model::observation::Observed;
use crate::port::accounts::Cursor;
use crate::port::event::Event;

/// One page of accounts, as far as they are read, and what the panel returned for them.
pub(super) struct Look {
    pub(super) observed: Vec<Observed>,
    /// Accounts that this job does not look at, by the bot's word for their status.
    pub(super) ignored: BTreeMap<String, u64>,
    pub(super) next: Option<Cursor>,
    pub(super) clock_difference: Option<TimeDelta>,
    pub(super) result: Result<(), Interrupt>,
}

impl Look {
    /// Reads the next page, from the database and then from the panel, as far as it gets.
    pub(super) async fn at(
        facet: Facet,
        after: Option<Cursor>,
        context: &Context,
        reader: &mut PanelReader<'_>,
    ) -> Self {
        let page = match reader.check() {
            Ok(()) => {
                let page = context.accounts.page_accounts(
                    &context.panel_name,
                    after,
                    PAGE_USERS,
                    context.clock.now(),
                );
                step!(sync.page, page).await.map_err(Interrupt::from)
            }
            Err(interrupt) => Err(interrupt),
        };
        let mut look = Self {
            observed: Vec::new(),
            ignored: BTreeMap::new(),
            next: None,
            clock_difference: None,
            result: Ok(()),
        };
        match page {
            Ok(page) => {
                let mut accounts = page.accounts;
                accounts.retain(|account| {
                    let is_in_scope = is_in_scope(facet, account);
                    if !is_in_scope {
                        *look.ignored.entry(word(account)).or_default() += 1;
                    }
                    is_in_scope
                });
                context.emit(Event::Observed(look.ignored.values().sum()));
                (look.observed, look.result) = reader.observe(accounts).await;
                look.next = page.next;
            }
            Err(interrupt) => look.result = Err(interrupt),
        }
        look.clock_difference = reader.clock_difference();
        look
    }
}

pub(super) fn is_in_scope(facet: Facet, account: &Account) -> bool {
    match facet {
        Facet::Subscriptions => account.is_subscribed(),
        Facet::UserStatus => true,
    }
}

fn word(account: &Account) -> String {
    account
        .subscription
        .as_ref()
        .map_or_else(|| "none".to_owned(), |subscription| subscription.word.clone())
}
