//! What the faulty store reads wrongly.

use std::cmp::Reverse;

use chrono::TimeDelta;
use marzban_sync_core::account::{Account, AccountId, Subscription, SubscriptionStatus};
use marzban_sync_core::error::StoreError;
use marzban_sync_core::store::{Cursor, MemorySubscription, Page, Scope, Store};

use super::{Fault, Faulty};

impl Faulty {
    pub(super) fn scope(&self, scope: Scope) -> Scope {
        match scope {
            _ if self.is(Fault::IgnoresScope) => Scope::All,
            Scope::All if self.is(Fault::AllIsSubscribed) => Scope::Subscribed,
            Scope::Subscribed if self.is(Fault::AnySubscriptionCounts) => Scope::All,
            Scope::Ended { before } if self.is(Fault::IncludesTheBoundary) => Scope::Ended {
                before: before + TimeDelta::microseconds(1),
            },
            scope => scope,
        }
    }

    pub(super) async fn page(
        &self,
        panel: &str,
        asked: Scope,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        let limit = match self.fault {
            Fault::AllowsEmptyPages => limit.max(1),
            Fault::SmallerPages if limit > 1 => limit - 1,
            _ => limit,
        };
        let (panel, scope) = (self.panel(panel), self.scope(asked));
        let mut page = self.inner.page_accounts(panel, scope, after, limit).await?;
        match self.fault {
            Fault::RepeatsPages if after.is_some() => {
                page.accounts = self
                    .inner
                    .page_accounts(panel, scope, None, limit)
                    .await?
                    .accounts;
            }
            Fault::PartsUsers => page.accounts.sort_by_key(|account| account.id),
            Fault::EndlessPages => page.next = page.next.or(Some(Cursor(AccountId(i64::MAX)))),
            Fault::CursorIsTheLastAccount => {
                page.next = page.next.and(page.accounts.last().map(|last| Cursor(last.id)));
            }
            Fault::AnySubscriptionCounts if asked == Scope::Subscribed => {
                page.accounts.retain(|account| {
                    let subscriptions = self.inner.subscriptions();
                    subscriptions
                        .iter()
                        .any(|row| row.user_id == account.user_id && row.status.is_synced())
                });
            }
            _ => {}
        }
        self.distort(&mut page.accounts);
        Ok(page)
    }

    pub(super) fn reread(&self, mut accounts: Vec<Account>, ids: &[AccountId]) -> Vec<Account> {
        self.distort(&mut accounts);
        match self.fault {
            Fault::ReloadsWhatIsAsked => accounts.retain(|account| ids.contains(&account.id)),
            Fault::Remembers => {
                let mut remembered = self.remembered.lock().unwrap();
                for account in &mut accounts {
                    account.clone_from(remembered.entry(account.id).or_insert_with(|| account.clone()));
                }
            }
            _ => {}
        }
        accounts
    }

    fn distort(&self, accounts: &mut Vec<Account>) {
        match self.fault {
            Fault::SeesNamelessRows => accounts.extend(self.nameless(accounts)),
            Fault::LatestGoverns => {
                self.govern(accounts, |row| (row.end_date.is_none(), row.end_date, row.id));
            }
            Fault::ActiveBeforeTrial => self.govern(accounts, |row| {
                let class = match row.status {
                    SubscriptionStatus::Active => 2,
                    SubscriptionStatus::Trial => 1,
                    _ => 0,
                };
                (class, row.end_date.is_none(), row.end_date, row.id)
            }),
            Fault::NoEndIsTheEarliest => {
                self.govern(accounts, |row| (row.status.is_open(), row.end_date, row.id));
            }
            Fault::LowestIdGoverns => self.govern(accounts, |row| {
                let ends = (row.end_date.is_none(), row.end_date);
                (row.status.is_open(), ends, Reverse(row.id))
            }),
            _ => accounts.iter_mut().for_each(|account| self.distort_one(account)),
        }
    }

    fn distort_one(&self, account: &mut Account) {
        match self.fault {
            Fault::ForgetsOtherPanels => account.active_elsewhere = false,
            Fault::ForgetsTelegramIds => account.telegram_id = None,
            Fault::LowersNames => account.name = account.name.to_lowercase(),
            Fault::NullIsFalse => account.is_active = Some(account.is_active.unwrap_or(false)),
            Fault::LendsSubscriptions if account.subscription.is_none() => {
                account.subscription = self.inner.subscriptions().first().map(subscription);
            }
            _ => {}
        }
    }

    /// The rows whose name is empty, as if they were accounts like the first.
    fn nameless(&self, accounts: &[Account]) -> Vec<Account> {
        let rows = self.inner.vpn_configs().into_iter();
        rows.filter(|row| row.marzban_user_id.as_deref() == Some(""))
            .filter_map(|row| {
                let mut account = accounts.first()?.clone();
                (account.id, account.name) = (row.id, String::new());
                Some(account)
            })
            .collect()
    }

    /// Lets another of the user's subscriptions govern.
    fn govern<K: Ord>(&self, accounts: &mut [Account], key: impl Fn(&MemorySubscription) -> K) {
        let rows = self.inner.subscriptions();
        for account in accounts {
            let of_user = rows.iter().filter(|row| row.user_id == account.user_id);
            account.subscription = of_user.max_by_key(|row| key(row)).map(subscription);
        }
    }
}

fn subscription(row: &MemorySubscription) -> Subscription {
    Subscription {
        id: row.id,
        status: row.status.clone(),
        end_date: row.end_date,
    }
}
