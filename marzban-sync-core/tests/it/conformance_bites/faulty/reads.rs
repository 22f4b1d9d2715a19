//! What the faulty store reads wrongly.

use std::cmp::Reverse;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{Account, AccountId, Elsewhere, Sharer, Subscription, SubscriptionStatus};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::error::StoreError;
use marzban_sync_core::store::{AccountStore, Cursor, MemorySubscription, Page};

use super::{Fault, Faulty};

impl Faulty {
    pub(super) async fn page(
        &self,
        panel: &str,
        after: Option<Cursor>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Page, StoreError> {
        let limit = match self.fault {
            Fault::AllowsEmptyPages => limit.max(1),
            Fault::SmallerPages if limit > 1 => limit - 1,
            _ => limit,
        };
        let panel = self.panel(panel);
        let mut page = self.inner.page_accounts(panel, after, limit, now).await?;
        match self.fault {
            Fault::RepeatsPages if after.is_some() => {
                page.accounts = self.inner.page_accounts(panel, None, limit, now).await?.accounts;
            }
            Fault::PartsUsers => page.accounts.sort_by_key(|account| account.id),
            Fault::EndlessPages => page.next = page.next.or(Some(Cursor(AccountId(i64::MAX)))),
            Fault::CursorIsTheLastAccount => {
                page.next = page.next.and(page.accounts.last().map(|last| Cursor(last.id)));
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
            Fault::SeesSubscribedAccountsAlone => accounts.retain(Account::is_subscribed),
            Fault::IgnoresBeginnings | Fault::IgnoresSubscriptionIds => self.govern(accounts, |row| {
                let is_invoice = row.status == SubscriptionStatus::Pending;
                let has_begun = self.is(Fault::IgnoresBeginnings) || subscription(row).has_begun(law_time());
                let class = (
                    row.status.is_open() && has_begun,
                    row.status.is_open(),
                    !is_invoice,
                );
                (class, row.end_date.is_none(), row.end_date, row.id)
            }),
            Fault::PendingIsLikeAnyOther => self.govern(accounts, |row| {
                (row.status.is_open(), row.end_date.is_none(), row.end_date, row.id)
            }),
            _ => accounts.iter_mut().for_each(|account| self.distort_one(account)),
        }
    }

    fn distort_one(&self, account: &mut Account) {
        match self.fault {
            Fault::ForgetsOtherPanels => account.elsewhere = Elsewhere::default(),
            Fault::ForgetsWrittenEnds => account.elsewhere.written_ends.clear(),
            Fault::ForgetsReplacedStatuses => account.elsewhere.replaced.clear(),
            Fault::ForgetsSharers => account.sharers = [].into(),
            Fault::SharesAnything => account.sharers = self.anybody_like(account).into(),
            Fault::ForgetsAgreements => (account.revision, account.agreement) = (0, Agreement::default()),
            Fault::MindsCase => {
                if let Some(subscription) = &mut account.subscription {
                    subscription.status = MemorySubscription::spelled(&subscription.word);
                }
            }
            Fault::ForgetsTelegramIds => account.telegram_id = None,
            Fault::LowersNames => account.name = account.name.to_lowercase(),
            Fault::NullIsFalse => account.is_active = Some(account.is_active.unwrap_or(false)),
            Fault::LendsSubscriptions if account.subscription.is_none() => {
                account.subscription = self.inner.subscriptions().first().map(subscription);
            }
            _ => {}
        }
    }

    /// The accounts that name a user so, in any panel and spelling.
    fn anybody_like(&self, account: &Account) -> Vec<Sharer> {
        let rows = self.inner.vpn_configs().into_iter();
        rows.filter(|row| row.user_id != account.user_id)
            .filter(|row| {
                let name = row.marzban_user_id.as_deref();
                name.is_some_and(|name| name.eq_ignore_ascii_case(&account.name))
            })
            .map(|row| Sharer {
                id: row.id,
                updated_at: row.updated_at,
                subscriptions: [].into(),
            })
            .collect()
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
        start_date: row.start_date,
        updated_at: row.updated_at,
        ..Subscription::new(row.id, row.status.as_str(), row.end_date)
    }
}

/// The moment at which the laws play.
fn law_time() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_757_894_400)
}
