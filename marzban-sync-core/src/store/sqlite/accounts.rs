//! Reading accounts: one statement for all of them.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

use super::connection::Connection;
use crate::account::{Account, AccountId, Subscription, SubscriptionId, SubscriptionStatus, UserId};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::{Cursor, Page, Scope};

const ACCOUNTS: &str = include_str!("accounts.sql");

/// Counts the accounts of a scope.
pub(super) async fn count(connection: &Connection, panel: &str, scope: Scope) -> Result<u64, StoreError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        accounts: i64,
    }
    let selection = Selection::of(panel, scope);
    let counts: Vec<Count> = connection
        .run("cannot count the accounts", move |connection| {
            selection.load(
                connection,
                format!("SELECT COUNT(*) AS accounts FROM ({ACCOUNTS})"),
            )
        })
        .await?;
    Ok(counts.iter().map(|count| count.accounts.unsigned_abs()).sum())
}

/// Reads the next page of a scope.
pub(super) async fn page(
    connection: &Connection,
    panel: &str,
    scope: Scope,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page, StoreError> {
    if limit == 0 {
        return Err(StoreError::new(
            StoreErrorKind::Invalid,
            "a page must hold at least one user",
        ));
    }
    let selection = Selection {
        after: after.map_or(i64::MIN, |Cursor(lowest)| lowest.0),
        // One user more than asked for tells whether another page follows.
        users: i64::from(limit) + 1,
        ..Selection::of(panel, scope)
    };
    let rows = read(connection, selection).await?;
    Ok(cut(rows.into_iter().map(Row::into_account), limit))
}

/// Reads all accounts of the users of the given ones.
pub(super) async fn reload(
    connection: &Connection,
    panel: &str,
    scope: Scope,
    ids: &[AccountId],
) -> Result<Vec<Account>, StoreError> {
    let selection = Selection {
        of_accounts: Some(json_of(ids)),
        ..Selection::of(panel, scope)
    };
    let rows = read(connection, selection).await?;
    Ok(rows.into_iter().map(Row::into_account).collect())
}

/// The rows of the given accounts, and of the others of their users, whatever their scope.
pub(super) fn current(
    connection: &mut SqliteConnection,
    panel: &str,
    ids: &[AccountId],
) -> QueryResult<Vec<Row>> {
    let selection = Selection {
        of_accounts: Some(json_of(ids)),
        ..Selection::of(panel, Scope::All)
    };
    selection.load(connection, ACCOUNTS)
}

async fn read(connection: &Connection, selection: Selection) -> Result<Vec<Row>, StoreError> {
    connection
        .run("cannot read the accounts", move |connection| {
            selection.load(connection, ACCOUNTS)
        })
        .await
}

/// The accounts of the first `limit` users, and a cursor where there are more.
fn cut(accounts: impl Iterator<Item = Account>, limit: u32) -> Page {
    let mut page = Page {
        accounts: Vec::new(),
        next: None,
    };
    let mut users = 0;
    let mut last: Option<(UserId, AccountId)> = None;
    for account in accounts {
        if last.is_none_or(|(user, _)| user != account.user_id) {
            if users == limit {
                page.next = last.map(|(_, lowest)| Cursor(lowest));
                return page;
            }
            users += 1;
            last = Some((account.user_id, account.id));
        }
        page.accounts.push(account);
    }
    page
}

/// Which accounts are meant: the arguments of `accounts.sql`.
struct Selection {
    after: i64,
    of_accounts: Option<String>,
    scope: &'static str,
    ended_before: i64,
    users: i64,
    panel: String,
}

impl Selection {
    fn of(panel: &str, scope: Scope) -> Self {
        let (scope, ended_before) = match scope {
            Scope::All => ("all", 0),
            Scope::Subscribed => ("subscribed", 0),
            Scope::Ended { before } => ("ended", before.timestamp_micros()),
        };
        Self {
            after: i64::MIN,
            of_accounts: None,
            scope,
            ended_before,
            users: -1,
            panel: panel.to_owned(),
        }
    }

    fn load<R>(self, connection: &mut SqliteConnection, sql: impl Into<String>) -> QueryResult<Vec<R>>
    where
        R: QueryableByName<Sqlite> + 'static,
    {
        sql_query(sql)
            .bind::<BigInt, _>(self.after)
            .bind::<Nullable<Text>, _>(self.of_accounts)
            .bind::<Text, _>(self.scope)
            .bind::<BigInt, _>(self.ended_before)
            .bind::<BigInt, _>(self.users)
            .bind::<Text, _>(self.panel)
            .load(connection)
    }
}

/// A row that `accounts.sql` gives.
#[derive(QueryableByName)]
pub(super) struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    telegram_id: Option<i64>,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Bool>)]
    is_active: Option<bool>,
    #[diesel(sql_type = Nullable<BigInt>)]
    traffic_used: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    last_connected_at: Option<i64>,
    #[diesel(sql_type = Bool)]
    active_elsewhere: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    subscription_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    status: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    end_at: Option<i64>,
    /// Whether the times of the VPN config could be read; if not, the row is like no expectation.
    #[diesel(sql_type = Bool)]
    pub(super) is_vpn_config_readable: bool,
    /// Whether the times of the subscription could be read.
    #[diesel(sql_type = Bool)]
    pub(super) is_subscription_readable: bool,
}

impl Row {
    pub(super) fn into_account(self) -> Account {
        let status = self.status.as_deref().unwrap_or_default();
        Account {
            id: AccountId(self.id),
            user_id: UserId(self.user_id),
            telegram_id: self.telegram_id,
            name: self.name,
            is_active: self.is_active,
            traffic_used: self.traffic_used,
            last_connected_at: self
                .last_connected_at
                .and_then(DateTime::<Utc>::from_timestamp_micros),
            active_elsewhere: self.active_elsewhere,
            subscription: self.subscription_id.map(|id| Subscription {
                id: SubscriptionId(id),
                status: SubscriptionStatus::from(status),
                end_date: self.end_at.and_then(DateTime::<Utc>::from_timestamp_micros),
            }),
        }
    }
}

fn json_of(ids: &[AccountId]) -> String {
    serde_json::Value::from(ids.iter().map(|id| id.0).collect::<Vec<_>>()).to_string()
}
