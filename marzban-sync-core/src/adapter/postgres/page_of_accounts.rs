//! Reading customers: the raw rows, from which [`View`] makes accounts.
//!
//! One statement, and so one snapshot, reads all that belongs to some customers. Its ids go through arrays, of which
//! PostgreSQL takes it that they hold ten: so it looks rows up by their indexes, however many customers there are, and
//! goes through a table once where there is no index.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::pg::Pg;
use diesel::pg::sql_types::Array;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamp};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::catalogue::Catalogue;
use crate::adapter::listed::select::{Memory, View, name_of, panel_of};
use crate::adapter::listed::{Customer, Login};
use crate::model::account::{Account, AccountId, Subscription, SubscriptionId, UserId};
use crate::model::agreement::Agreement;
use crate::port::accounts::{Cursor, DEFAULT_PANEL};
use crate::port::journal::PanelUserKey;

/// Which customers to read.
#[derive(Clone, Copy)]
pub(super) enum Choice<'a> {
    /// So many that have accounts in the panel, by the lowest of them, beyond the cursor.
    Page { after: Option<Cursor>, limit: i64 },
    /// Those whom these accounts belong to.
    Accounts(&'a [i64]),
    /// Those whom these accounts and these subscriptions belong to.
    Rows {
        accounts: &'a [i64],
        subscriptions: &'a [i64],
    },
}

impl Choice<'_> {
    /// SQL of the ids of the users.
    fn sql(self) -> String {
        const OF_ACCOUNTS: &str = "SELECT config.user_id
             FROM unnest(ARRAY(SELECT unnest($2))) AS wanted (id) JOIN vpn_configs AS config ON config.id = wanted.id";
        match self {
            Self::Page { .. } => format!(
                "SELECT users.id AS user_id
                 FROM vpn_configs AS config
                 JOIN users ON users.id = config.user_id
                 WHERE config.marzban_user_id <> '' AND {of_config}
                   AND NOT EXISTS (
                       SELECT FROM vpn_configs AS lower
                       WHERE lower.user_id = config.user_id AND lower.id < config.id AND lower.marzban_user_id <> ''
                         AND {of_lower}
                   )
                   AND config.id > $2
                 ORDER BY config.id LIMIT $3",
                of_config = is_of_panel("config", "$1"),
                of_lower = is_of_panel("lower", "$1"),
            ),
            Self::Accounts(_) => OF_ACCOUNTS.to_owned(),
            Self::Rows { .. } => format!(
                "{OF_ACCOUNTS}
                 UNION ALL
                 SELECT subscription.user_id
                 FROM unnest(ARRAY(SELECT unnest($3))) AS wanted (id)
                 JOIN subscriptions AS subscription ON subscription.id = wanted.id"
            ),
        }
    }
}

/// SQL of whether a row of `vpn_configs` belongs to the panel that the text parameter names.
///
/// As a case, of which PostgreSQL takes it that half of the rows meet it. Of a plain comparison it would take it that
/// hardly any does where it has no statistics, as of a column that `migrate` has just added, and would then go through
/// the whole table for each row of it.
pub(super) fn is_of_panel(config: &str, parameter: &str) -> String {
    format!(
        "CASE WHEN {config}.panel::text = nullif({parameter}::text, '')
              OR {parameter}::text = '{DEFAULT_PANEL}' AND ({config}.panel IS NULL OR {config}.panel::text = '')
         THEN true ELSE false END"
    )
}

/// SQL of all rows of the chosen customers, and of those who name the same users of the panel `$1`: rows of `users`, of
/// `vpn_configs` and of `subscriptions`, told apart by which of their columns are null.
fn sql(catalogue: &Catalogue, choice: Choice<'_>) -> String {
    // The name is compared without a cast, for the sake of its index; one that differs in case is nobody's sharer.
    format!(
        "WITH
         chosen AS MATERIALIZED ({chosen}),
         sharing AS MATERIALIZED (
             SELECT other.user_id
             FROM unnest(ARRAY(SELECT user_id FROM chosen)) AS one (user_id)
             JOIN vpn_configs AS config ON config.user_id = one.user_id
             JOIN vpn_configs AS other
               ON other.marzban_user_id = config.marzban_user_id AND other.user_id <> config.user_id
             WHERE config.marzban_user_id <> '' AND {of_config} AND {of_other}
         ),
         customer AS MATERIALIZED (
             SELECT user_id, bool_or(is_chosen) AS is_chosen
             FROM (SELECT user_id, true FROM chosen UNION ALL SELECT user_id, false FROM sharing)
                 AS customer (user_id, is_chosen)
             GROUP BY user_id
         )
         {users} UNION ALL {logins} UNION ALL {subscriptions}",
        chosen = choice.sql(),
        of_config = is_of_panel("config", "$1"),
        of_other = is_of_panel("other", "$1"),
        users = users_sql(catalogue),
        logins = logins_sql(catalogue),
        subscriptions = subscriptions_sql(catalogue),
    )
}

/// The first part of a union, which names the columns of all.
fn users_sql(catalogue: &Catalogue) -> String {
    format!(
        "SELECT
             users.id::bigint AS user_id, customer.is_chosen, {telegram_id} AS telegram_id,
             NULL::bigint AS login_id, NULL::text AS panel, NULL::text AS name, NULL::boolean AS is_active,
             NULL::bigint AS traffic_used, NULL::timestamp AS last_connected_at, NULL::boolean AS is_readable,
             NULL::bigint AS named_id, NULL::bigint AS revision, NULL::text AS agreement,
             NULL::bigint AS subscription_id, NULL::text AS word, NULL::timestamp AS start_date,
             NULL::timestamp AS end_date, NULL::timestamp AS updated_at
         FROM unnest(ARRAY(SELECT user_id FROM customer), ARRAY(SELECT is_chosen FROM customer))
             AS customer (user_id, is_chosen)
         JOIN users ON users.id = customer.user_id",
        telegram_id = catalogue.telegram_id,
    )
}

fn logins_sql(catalogue: &Catalogue) -> String {
    format!(
        "SELECT
             config.user_id::bigint, NULL, NULL,
             config.id::bigint, config.panel::text, config.marzban_user_id::text, config.is_active,
             config.traffic_used, {last_connected_at}, {is_readable},
             {subscription_id}, agreement.revision, agreement.agreement::text,
             NULL, NULL, NULL, NULL, {updated_at}
         FROM unnest(ARRAY(SELECT user_id FROM customer)) AS customer (user_id)
         JOIN vpn_configs AS config ON config.user_id = customer.user_id
         LEFT JOIN marzban_sync_agreements AS agreement
           ON agreement.panel = coalesce(nullif(config.panel::text, ''), '{DEFAULT_PANEL}')
          AND agreement.username = config.marzban_user_id::text",
        last_connected_at = catalogue.last_connected_at,
        is_readable = catalogue.is_readable,
        subscription_id = catalogue.subscription_id,
        updated_at = catalogue.config_updated_at,
    )
}

fn subscriptions_sql(catalogue: &Catalogue) -> String {
    format!(
        "SELECT
             subscription.user_id::bigint, NULL, NULL,
             NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
             subscription.id::bigint, coalesce(subscription.status::text, ''), {start_date}, {end_date}, {updated_at}
         FROM unnest(ARRAY(SELECT user_id FROM customer)) AS customer (user_id)
         JOIN subscriptions AS subscription ON subscription.user_id = customer.user_id",
        start_date = catalogue.start_date,
        end_date = catalogue.end_date,
        updated_at = catalogue.subscription_updated_at,
    )
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = Nullable<Bool>)]
    is_chosen: Option<bool>,
    #[diesel(sql_type = Nullable<BigInt>)]
    telegram_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    login_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    panel: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    is_active: Option<bool>,
    #[diesel(sql_type = Nullable<BigInt>)]
    traffic_used: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamp>)]
    last_connected_at: Option<NaiveDateTime>,
    #[diesel(sql_type = Nullable<Bool>)]
    is_readable: Option<bool>,
    #[diesel(sql_type = Nullable<BigInt>)]
    named_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    revision: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    agreement: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    subscription_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    word: Option<String>,
    #[diesel(sql_type = Nullable<Timestamp>)]
    start_date: Option<NaiveDateTime>,
    #[diesel(sql_type = Nullable<Timestamp>)]
    end_date: Option<NaiveDateTime>,
    #[diesel(sql_type = Nullable<Timestamp>)]
    updated_at: Option<NaiveDateTime>,
}

fn utc(time: Option<NaiveDateTime>) -> Option<DateTime<Utc>> {
    time.map(|time| time.and_utc())
}

/// Some customers as they are at one moment, with those who name the same panel users.
#[derive(Default)]
pub(super) struct Snapshot {
    /// The chosen ones first.
    customers: Vec<Customer>,
    chosen: usize,
    memory: Memory,
    /// Accounts whose last connection is no moment of a calendar: it looks like null, and is not to be overwritten.
    unreadable: HashSet<AccountId>,
}

impl Snapshot {
    pub(super) async fn read(
        connection: &mut AsyncPgConnection,
        catalogue: &Catalogue,
        panel: &str,
        choice: Choice<'_>,
    ) -> diesel::QueryResult<Self> {
        let query = sql_query(sql(catalogue, choice))
            .into_boxed::<Pg>()
            .bind::<Text, _>(panel);
        let query = match choice {
            Choice::Page { after, limit } => query
                .bind::<BigInt, _>(after.map_or(i64::MIN, |Cursor(AccountId(id))| id))
                .bind::<BigInt, _>(limit),
            Choice::Accounts(accounts) => query.bind::<Array<BigInt>, _>(accounts),
            Choice::Rows {
                accounts,
                subscriptions,
            } => query
                .bind::<Array<BigInt>, _>(accounts)
                .bind::<Array<BigInt>, _>(subscriptions),
        };
        query.load(connection).await.map(Self::of)
    }

    fn of(rows: Vec<Row>) -> Self {
        let (mut users, others): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.is_chosen.is_some());
        users.sort_by_key(|row| (row.is_chosen != Some(true), row.user_id));
        let mut snapshot = Self {
            chosen: users.iter().filter(|row| row.is_chosen == Some(true)).count(),
            ..Self::default()
        };
        let mut places = HashMap::with_capacity(users.len());
        for row in users {
            places.insert(row.user_id, snapshot.customers.len());
            snapshot.customers.push(Customer {
                id: UserId(row.user_id),
                telegram_id: row.telegram_id,
                subscriptions: Vec::new(),
                logins: Vec::new(),
            });
        }
        for row in others {
            if let Some(place) = places.get(&row.user_id) {
                snapshot.add(*place, row);
            }
        }
        for customer in &mut snapshot.customers {
            customer.logins.sort_by_key(|login| login.id);
            customer.subscriptions.sort_by_key(|subscription| subscription.id);
        }
        snapshot
    }

    fn add(&mut self, place: usize, row: Row) {
        let Some(customer) = self.customers.get_mut(place) else {
            return;
        };
        if let Some(id) = row.subscription_id {
            customer.subscriptions.push(Subscription {
                start_date: utc(row.start_date),
                updated_at: utc(row.updated_at),
                ..Subscription::new(
                    SubscriptionId(id),
                    row.word.unwrap_or_default(),
                    utc(row.end_date),
                )
            });
        }
        let Some(id) = row.login_id.map(AccountId) else {
            return;
        };
        let login = Login {
            id,
            panel: row.panel,
            name: row.name,
            is_active: row.is_active,
            traffic_used: row.traffic_used,
            last_connected_at: utc(row.last_connected_at),
            updated_at: utc(row.updated_at),
            subscription_id: row.named_id.map(SubscriptionId),
        };
        if row.is_readable == Some(false) {
            self.unreadable.insert(id);
        }
        if let (Some(name), Some(revision), Some(agreement)) = (name_of(&login), row.revision, row.agreement)
        {
            let key = PanelUserKey {
                panel: panel_of(&login).to_owned(),
                username: name.to_owned(),
            };
            let agreement = understood(&key, &agreement);
            self.memory.insert(key, (revision, agreement));
        }
        customer.logins.push(login);
    }

    pub(super) fn view<'a>(&'a self, panel: &'a str, now: DateTime<Utc>) -> View<'a> {
        View::new(&self.customers, panel, &self.memory, now)
    }

    /// The accounts, in the panel, of each chosen customer: customers by their lowest account.
    pub(super) fn accounts(&self, panel: &str, now: DateTime<Utc>) -> Vec<Vec<Account>> {
        let view = self.view(panel, now);
        let chosen = self.customers.iter().take(self.chosen);
        let mut accounts: Vec<Vec<Account>> = chosen
            .map(|customer| view.accounts(customer))
            .filter(|accounts| !accounts.is_empty())
            .collect();
        accounts.sort_by_key(|accounts| accounts.as_slice().first().map(|account| account.id));
        accounts
    }

    pub(super) fn customers(&self) -> &[Customer] {
        &self.customers
    }

    /// Whether something is remembered of a panel user.
    pub(super) fn remembers(&self, key: &PanelUserKey) -> bool {
        self.memory.contains_key(key)
    }

    /// Whether the row of an account can be written without overwriting what could not be read.
    pub(super) fn is_readable(&self, account: AccountId) -> bool {
        !self.unreadable.contains(&account)
    }
}

/// An agreement as the database keeps it. One that cannot be understood is as good as none: the account is then looked
/// at as for the first time, which takes nothing away, and the next write replaces it.
pub(super) fn understood(user: &PanelUserKey, agreement: &str) -> Agreement {
    serde_json::from_str(agreement).unwrap_or_else(|error| {
        let PanelUserKey { panel, username } = user;
        tracing::warn!(panel, username, %error, "what marzban_sync_agreements holds cannot be understood");
        Agreement::default()
    })
}
