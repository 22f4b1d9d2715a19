//! What is known of one customer: the rows as they are, what was agreed, and what was changed and why.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::account::{Account, AccountId, Subscription, SubscriptionId, SubscriptionStatus, UserId};
use crate::model::agreement::Agreement;
use crate::model::run::RunId;
use crate::model::trail::{EntryQuery, EntryRecord, EntryState};
use crate::port::accounts::{AccountStore, DEFAULT_PANEL};
use crate::port::error::StoreError;
use crate::port::journal::{Journal, PanelUserKey};

/// How many changes are told, the latest.
const MAX_CHANGES: u32 = 100;

/// Customers that are read at once.
const PAGE: u32 = 1_000;

/// What is known of one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The telegram id or username that was asked for.
    pub name: String,
    /// The customer's accounts as they are now; none when their links are gone.
    pub accounts: Vec<ExplainedAccount>,
    /// What is remembered of the panel users.
    pub agreements: Vec<ExplainedAgreement>,
    /// What was changed, the latest first; at most 100.
    pub changes: Vec<ExplainedChange>,
}

/// An account as its rows are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedAccount {
    /// The panel's name.
    pub panel: String,
    /// `vpn_configs.id`.
    pub account: AccountId,
    /// `users.id`.
    pub customer: UserId,
    /// `users.telegram_id`.
    pub telegram_id: Option<i64>,
    /// The panel user's name.
    pub username: String,
    /// `vpn_configs.is_active`.
    pub is_active: Option<bool>,
    /// `vpn_configs.traffic_used`.
    pub traffic_used: Option<i64>,
    /// `vpn_configs.last_connected_at`.
    pub last_connected_at: Option<DateTime<Utc>>,
    /// The id of the account's subscription.
    pub subscription: Option<SubscriptionId>,
    /// Its status, as the bot spells it.
    pub status: Option<String>,
    /// Its end; none is unlimited, or that there is no subscription.
    pub end_date: Option<DateTime<Utc>>,
    /// The customer's other subscriptions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_subscriptions: Vec<ExplainedSubscription>,
    /// How many rows of other customers name the same panel user.
    #[serde(skip_serializing_if = "is_zero")]
    pub shared_with: usize,
}

/// A subscription that is not the account's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedSubscription {
    /// `subscriptions.id`.
    pub subscription: SubscriptionId,
    /// `subscriptions.status`.
    pub status: SubscriptionStatus,
    /// `subscriptions.start_date`.
    pub start_date: Option<DateTime<Utc>>,
    /// `subscriptions.end_date`.
    pub end_date: Option<DateTime<Utc>>,
}

/// What is remembered of a panel user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedAgreement {
    /// The panel's name.
    pub panel: String,
    /// The panel user's name.
    pub username: String,
    /// Which write of it this is.
    pub revision: i64,
    /// What.
    #[serde(flatten)]
    pub agreement: Agreement,
}

/// One value that was changed, or one thing that was done to the panel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedChange {
    /// Its id.
    pub id: i64,
    /// The run that made it.
    pub run: Option<RunId>,
    /// When, UTC.
    pub when: DateTime<Utc>,
    /// The panel's name.
    pub panel: String,
    /// The panel user's name.
    pub username: String,
    /// The column, such as `subscriptions.end_date` or `panel.expire`.
    pub column: &'static str,
    /// The id of the row.
    pub row: i64,
    /// The old value; none is null.
    pub old: Option<String>,
    /// The new value; none is null.
    pub new: Option<String>,
    /// Why.
    pub reason: String,
    /// Whether it was done, or only meant to be.
    pub state: EntryState,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Tells what is known of a customer, by telegram id or by the name of a panel user, in this panel or in all; none when
/// nothing is.
///
/// It goes through the accounts of the panel, or of all panels, so it is for an operator and not for every message of a
/// customer. It needs the database alone.
///
/// # Errors
/// `Schema`, `Unavailable` or `Invalid`.
///
/// # Cancel safety
/// Reads only; may be dropped at any point.
pub async fn explain(
    store: &dyn AccountStore,
    journal: &dyn Journal,
    panel: Option<&str>,
    name: &str,
    now: DateTime<Utc>,
) -> Result<Option<Explanation>, StoreError> {
    store.verify_schema().await?;
    let panels: Vec<String> = if let Some(panel) = panel {
        vec![panel.to_owned()]
    } else {
        let elsewhere = store.count_elsewhere(DEFAULT_PANEL).await?;
        let default = std::iter::once(DEFAULT_PANEL.to_owned());
        default.chain(elsewhere.into_keys()).collect()
    };
    let accounts = accounts(store, &panels, name, now).await?;
    let mut changes = changes(journal, name, &accounts).await?;
    changes.retain(|record| panel.is_none_or(|panel| record.panel == panel));
    if accounts.is_empty() && changes.is_empty() {
        return Ok(None);
    }
    let agreements = agreements(journal, &accounts, &changes).await?;
    let accounts = accounts
        .into_iter()
        .map(|(panel, account)| explained(panel, account));
    Ok(Some(Explanation {
        name: name.to_owned(),
        accounts: accounts.collect(),
        agreements,
        changes: changes.into_iter().map(told).collect(),
    }))
}

/// All accounts of the customers who have the telegram id or an account of the name; one that differs in case alone
/// counts when there is no other.
async fn accounts(
    store: &dyn AccountStore,
    panels: &[String],
    name: &str,
    now: DateTime<Utc>,
) -> Result<Vec<(String, Account)>, StoreError> {
    let telegram_id: Option<i64> = name.parse().ok();
    let (mut exact, mut alike) = (BTreeSet::new(), BTreeSet::new());
    let look = |account: &Account| {
        let is_asked_for =
            account.name == name || telegram_id.is_some() && account.telegram_id == telegram_id;
        if is_asked_for {
            exact.insert(account.user_id);
        } else if account.name.eq_ignore_ascii_case(name) {
            alike.insert(account.user_id);
        }
        false
    };
    select(store, panels, now, look).await?;
    let customers: BTreeSet<UserId> = if exact.is_empty() { alike } else { exact };
    if customers.is_empty() {
        return Ok(Vec::new());
    }
    select(store, panels, now, |account| customers.contains(&account.user_id)).await
}

/// The accounts that are wanted, of all these panels, with the panel's name.
async fn select(
    store: &dyn AccountStore,
    panels: &[String],
    now: DateTime<Utc>,
    mut is_wanted: impl FnMut(&Account) -> bool + Send,
) -> Result<Vec<(String, Account)>, StoreError> {
    let mut selected = Vec::new();
    for panel in panels {
        let mut after = None;
        loop {
            let page = store.page_accounts(panel, after, PAGE, now).await?;
            let wanted = page.accounts.into_iter().filter(|account| is_wanted(account));
            selected.extend(wanted.map(|account| (panel.clone(), account)));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    Ok(selected)
}

/// The latest changes by what was asked for, and by the telegram ids and names that it led to.
async fn changes(
    journal: &dyn Journal,
    name: &str,
    accounts: &[(String, Account)],
) -> Result<Vec<EntryRecord>, StoreError> {
    let mut names = BTreeSet::from([name.to_owned()]);
    for (_, account) in accounts {
        names.insert(
            account
                .telegram_id
                .map_or_else(|| account.name.clone(), |id| id.to_string()),
        );
    }
    let mut changes = BTreeMap::new();
    for name in names {
        let query = EntryQuery::Customer {
            name,
            limit: MAX_CHANGES,
        };
        let read = journal.entries(&query).await?;
        changes.extend(read.into_iter().map(|record| (record.id, record)));
    }
    Ok(changes.into_values().rev().take(MAX_CHANGES as usize).collect())
}

/// What is remembered of the panel users of the accounts, and of those that the changes name.
async fn agreements(
    journal: &dyn Journal,
    accounts: &[(String, Account)],
    changes: &[EntryRecord],
) -> Result<Vec<ExplainedAgreement>, StoreError> {
    let of_accounts = accounts.iter().map(|(panel, account)| (panel, &account.name));
    let of_changes = changes
        .iter()
        .map(|record| (&record.panel, &record.entry.username));
    let users: BTreeSet<PanelUserKey> = of_accounts
        .chain(of_changes)
        .map(|(panel, username)| PanelUserKey {
            panel: panel.clone(),
            username: username.clone(),
        })
        .collect();
    let users: Vec<PanelUserKey> = users.into_iter().collect();
    let remembered = journal.agreements(&users).await?;
    let told = remembered.into_iter().map(|remembered| ExplainedAgreement {
        panel: remembered.user.panel,
        username: remembered.user.username,
        revision: remembered.revision,
        agreement: remembered.agreement,
    });
    Ok(told.collect())
}

fn explained(panel: String, account: Account) -> ExplainedAccount {
    let other = |one: &Subscription| ExplainedSubscription {
        subscription: one.id,
        status: one.status.clone(),
        start_date: one.start_date,
        end_date: one.end_date,
    };
    let own = account.subscription.as_ref();
    ExplainedAccount {
        panel,
        account: account.id,
        customer: account.user_id,
        telegram_id: account.telegram_id,
        is_active: account.is_active,
        traffic_used: account.traffic_used,
        last_connected_at: account.last_connected_at,
        subscription: own.map(|own| own.id),
        status: own.map(|own| own.word.clone()),
        end_date: own.and_then(|own| own.end_date),
        other_subscriptions: account.other_subscriptions.iter().map(other).collect(),
        shared_with: account.sharers.len(),
        username: account.name,
    }
}

fn told(record: EntryRecord) -> ExplainedChange {
    let EntryRecord {
        id,
        run,
        panel,
        at,
        entry,
    } = record;
    ExplainedChange {
        id,
        run,
        when: at,
        panel,
        column: entry.target.column(),
        row: entry.target.row(entry.account),
        username: entry.username,
        old: entry.old,
        new: entry.new,
        reason: entry.reason,
        state: entry.state,
    }
}
