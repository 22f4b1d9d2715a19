//! Reading accounts.

use std::fmt::Display;

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use diesel::pg::sql_types::Array;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamp};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

use super::connection::{Lease, Pool};
use crate::account::{Account, AccountId, Subscription, SubscriptionId, SubscriptionStatus, UserId};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::{Cursor, DEFAULT_PANEL, Page, Scope};

/// A moment as the bot's TIMESTAMP columns hold it: naive UTC, to the microsecond.
pub(super) fn column(time: DateTime<Utc>) -> NaiveDateTime {
    time.naive_utc().trunc_subsecs(6)
}

/// SQL that reads a TIMESTAMP, and null for what is no moment of a calendar, such as `infinity`.
///
/// A change that was decided from such a null never finds the row as expected, and so never overwrites the value.
fn readable(column: impl Display) -> String {
    format!("CASE WHEN {column} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999' THEN {column} END")
}

/// SQL of what orders the subscriptions of one user; the governing one has the greatest.
fn rank(subscription: &str) -> String {
    let end_date = readable(format_args!("{subscription}.end_date"));
    format!(
        "(({subscription}.status::text IN ('active', 'trial')) IS TRUE, \
         coalesce({end_date}, 'infinity'), {subscription}.id)"
    )
}

/// SQL of the governing subscriptions of the users that a subquery names.
///
/// Set-wise rather than by a subquery for each user: that is one pass over the table even where `user_id` has no
/// index, as PostgreSQL gives a foreign key none.
pub(super) fn governing(users: &str) -> String {
    format!(
        "SELECT DISTINCT ON (user_id)
             user_id, id, coalesce(status::text, '') AS status, end_date AS stored_end_date, {end_date} AS end_date
         FROM subscriptions
         WHERE user_id IN ({users})
         ORDER BY user_id, {rank} DESC",
        end_date = readable("end_date"),
        rank = rank("subscriptions"),
    )
}

/// SQL of whether the user of the row `config` is in a scope; `$1` is the moment of [`Scope::Ended`].
fn in_scope(scope: Scope) -> String {
    match scope {
        Scope::All => "true".to_owned(),
        // The greatest is one of three statuses exactly when one of these is not exceeded by any other.
        Scope::Subscribed => format!(
            "EXISTS (
                 SELECT FROM subscriptions AS synced
                 WHERE synced.user_id = config.user_id AND synced.status::text IN ('active', 'trial', 'expired')
                   AND NOT EXISTS (
                       SELECT FROM subscriptions AS other
                       WHERE other.user_id = synced.user_id
                         AND (other.status::text IN ('active', 'trial', 'expired')) IS NOT TRUE
                         AND {} > {}
                   )
             )",
            rank("other"),
            rank("synced"),
        ),
        Scope::Ended { .. } => format!(
            "config.user_id IN (
                 SELECT user_id FROM subscriptions GROUP BY user_id
                 HAVING bool_and((status::text IN ('expired', 'cancelled') AND {} < $1) IS TRUE)
             )",
            readable("end_date"),
        ),
    }
}

fn moment(scope: Scope) -> Option<NaiveDateTime> {
    match scope {
        Scope::Ended { before } => Some(column(before)),
        Scope::All | Scope::Subscribed => None,
    }
}

/// SQL of whether a row of `vpn_configs` belongs to the panel that the text parameter names.
///
/// In plain comparisons, of which PostgreSQL can tell from its statistics how many rows meet them; by an expression of
/// the column it takes one row in two hundred for granted, and goes through whole tables for each page.
pub(super) fn is_of_panel(config: &str, parameter: &str) -> String {
    format!(
        "({config}.panel::text = nullif({parameter}::text, '')
          OR {parameter}::text = '{DEFAULT_PANEL}' AND ({config}.panel IS NULL OR {config}.panel::text = ''))"
    )
}

/// SQL of all accounts in the panel `$2` of some users; `which` chooses the users by their lowest account, the row `config`.
fn accounts(scope: Scope, which: &str) -> String {
    format!(
        "WITH
         page AS (
             SELECT config.id AS leading_id, users.id AS user_id, users.telegram_id
             FROM vpn_configs AS config
             JOIN users ON users.id = config.user_id
             WHERE config.marzban_user_id <> ''
               AND {of_config}
               AND NOT EXISTS (
                   SELECT FROM vpn_configs AS lower
                   WHERE lower.user_id = config.user_id AND lower.id < config.id AND lower.marzban_user_id <> ''
                     AND {of_lower}
               )
               AND {in_scope}
               AND {which}
         ),
         governing AS MATERIALIZED ({governing}),
         account AS (
             SELECT
                 page.leading_id, page.telegram_id, config.user_id, config.id, config.marzban_user_id,
                 config.is_active, config.traffic_used, config.last_connected_at, {of_config} IS TRUE AS is_here,
                 bool_or(config.is_active AND {of_config} IS NOT TRUE) OVER (PARTITION BY config.user_id)
                     AS active_elsewhere
             FROM page
             JOIN vpn_configs AS config ON config.user_id = page.user_id AND config.marzban_user_id <> ''
         )
         SELECT
             account.leading_id::bigint AS leading_id, account.id::bigint AS id, account.user_id::bigint AS user_id,
             account.telegram_id::bigint AS telegram_id, account.marzban_user_id::text AS name, account.is_active,
             account.traffic_used, {last_connected_at} AS last_connected_at,
             coalesce(account.active_elsewhere, false) AS active_elsewhere,
             governing.id::bigint AS subscription_id, governing.status, governing.end_date
         FROM account
         LEFT JOIN governing ON governing.user_id = account.user_id
         WHERE account.is_here
         ORDER BY account.leading_id, account.id",
        of_config = is_of_panel("config", "$2"),
        of_lower = is_of_panel("lower", "$2"),
        in_scope = in_scope(scope),
        governing = governing("SELECT user_id FROM page"),
        last_connected_at = readable("account.last_connected_at"),
    )
}

#[derive(QueryableByName)]
struct AccountRow {
    #[diesel(sql_type = BigInt)]
    leading_id: i64,
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
    #[diesel(sql_type = Nullable<Timestamp>)]
    last_connected_at: Option<NaiveDateTime>,
    #[diesel(sql_type = Bool)]
    active_elsewhere: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    subscription_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    status: Option<String>,
    #[diesel(sql_type = Nullable<Timestamp>)]
    end_date: Option<NaiveDateTime>,
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        let utc = |time: Option<NaiveDateTime>| time.map(|time| time.and_utc());
        Self {
            id: AccountId(row.id),
            user_id: UserId(row.user_id),
            telegram_id: row.telegram_id,
            name: row.name,
            is_active: row.is_active,
            traffic_used: row.traffic_used,
            last_connected_at: utc(row.last_connected_at),
            active_elsewhere: row.active_elsewhere,
            subscription: row
                .subscription_id
                .zip(row.status)
                .map(|(id, status)| Subscription {
                    id: SubscriptionId(id),
                    status: SubscriptionStatus::from(status.as_str()),
                    end_date: utc(row.end_date),
                }),
        }
    }
}

pub(super) async fn page(
    pool: &Pool,
    panel: &str,
    scope: Scope,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page, StoreError> {
    if limit == 0 {
        return Err(StoreError::new(
            StoreErrorKind::Invalid,
            "a page of no users was asked for",
        ));
    }
    let mut lease = Lease::take(pool).await?;
    let rows = sql_query(accounts(scope, "config.id > $3 ORDER BY config.id LIMIT $4"))
        .bind::<Nullable<Timestamp>, _>(moment(scope))
        .bind::<Text, _>(panel)
        .bind::<BigInt, _>(after.map_or(i64::MIN, |Cursor(AccountId(id))| id))
        // One user more than asked for tells whether there is a next page.
        .bind::<BigInt, _>(i64::from(limit) + 1)
        .load::<AccountRow>(lease.connection()?)
        .await;
    let rows = lease.done(rows, "cannot read accounts")?;
    let mut users = rows
        .chunk_by(|one, next| one.leading_id == next.leading_id)
        .skip(limit as usize - 1);
    let last = users
        .next()
        .and_then(<[AccountRow]>::first)
        .map(|row| row.leading_id);
    let next = last.filter(|_| users.next().is_some());
    let accounts = rows
        .into_iter()
        .take_while(|row| next.is_none_or(|next| row.leading_id <= next))
        .map(Account::from)
        .collect();
    Ok(Page {
        accounts,
        next: next.map(|id| Cursor(AccountId(id))),
    })
}

pub(super) async fn reload(
    pool: &Pool,
    panel: &str,
    scope: Scope,
    ids: &[AccountId],
) -> Result<Vec<Account>, StoreError> {
    const OF_THESE: &str =
        "config.user_id IN (SELECT these.user_id FROM vpn_configs AS these WHERE these.id = ANY ($3))";
    let mut lease = Lease::take(pool).await?;
    let rows = sql_query(accounts(scope, OF_THESE))
        .bind::<Nullable<Timestamp>, _>(moment(scope))
        .bind::<Text, _>(panel)
        .bind::<Array<BigInt>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .load::<AccountRow>(lease.connection()?)
        .await;
    let rows = lease.done(rows, "cannot read accounts again")?;
    Ok(rows.into_iter().map(Account::from).collect())
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    accounts: i64,
}

pub(super) async fn count(pool: &Pool, panel: &str, scope: Scope) -> Result<u64, StoreError> {
    let mut lease = Lease::take(pool).await?;
    let row = sql_query(format!(
        "SELECT count(*) AS accounts FROM vpn_configs AS config JOIN users ON users.id = config.user_id
         WHERE config.marzban_user_id <> '' AND {} AND {}",
        is_of_panel("config", "$2"),
        in_scope(scope)
    ))
    .bind::<Nullable<Timestamp>, _>(moment(scope))
    .bind::<Text, _>(panel)
    .get_result::<CountRow>(lease.connection()?)
    .await;
    let row = lease.done(row, "cannot count accounts")?;
    Ok(row.accounts.unsigned_abs())
}
