//! Reading customers with all that a decision about their accounts needs, in a fixed number of statements.
//!
//! SQL only fetches rows; what they mean is said by [`View`], as it is for every store.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

use super::{time, trail};
use crate::adapter::listed::select::{self, Memory, View};
use crate::adapter::listed::{Customer, Login};
use crate::model::account::{Account, AccountId, Subscription, SubscriptionId, UserId};
use crate::model::plan::Change;
use crate::port::accounts::Cursor;

/// Which customers are meant.
pub(super) enum Choice {
    /// The next so many whose lowest account is above this one.
    Next { after: i64, customers: i64 },
    /// Those whom these accounts belong to.
    Of(Vec<AccountId>),
}

/// Customers, and what is remembered of their panel users.
pub(super) struct Read {
    /// Those that are meant, each with its lowest account, in the order of that.
    chosen: Vec<(UserId, AccountId)>,
    /// These, and those who share a panel user with them, by id.
    customers: Vec<Customer>,
    memory: Memory,
    unreadable: Unreadable,
}

/// The rows that have a text for a time which is none: they are like no expectation, so that nothing is written there.
#[derive(Default)]
pub(super) struct Unreadable {
    accounts: HashSet<AccountId>,
    subscriptions: HashSet<SubscriptionId>,
}

impl Unreadable {
    pub(super) fn has_account(&self, id: AccountId) -> bool {
        self.accounts.contains(&id)
    }

    pub(super) fn has_subscription(&self, id: SubscriptionId) -> bool {
        self.subscriptions.contains(&id)
    }

    /// Whether something that a change was decided from could not be read.
    pub(super) fn is_expected_by(&self, change: &Change) -> bool {
        let mut expected = change.also_expired.iter().chain(&change.account.subscription);
        self.has_account(change.account.id)
            || change.depends_on_subscription() && expected.any(|one| self.has_subscription(one.id))
    }
}

impl Read {
    /// Leaves out the customers behind the first so many; a cursor when there were any.
    pub(super) fn cut(&mut self, limit: u32) -> Option<Cursor> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if self.chosen.len() <= limit {
            return None;
        }
        self.chosen.truncate(limit);
        self.chosen.last().map(|(_, lowest)| Cursor(*lowest))
    }

    /// The accounts of those that are meant, as of this moment.
    pub(super) fn accounts(&self, panel: &str, now: DateTime<Utc>) -> Vec<Account> {
        let view = self.view(panel, now);
        let of = |(id, _): &(UserId, AccountId)| {
            let place = self
                .customers
                .binary_search_by_key(id, |customer| customer.id)
                .ok()?;
            self.customers.get(place).map(|customer| view.accounts(customer))
        };
        self.chosen.iter().filter_map(of).flatten().collect()
    }

    /// All of them, seen from this panel at this moment.
    pub(super) fn view<'a>(&'a self, panel: &'a str, now: DateTime<Utc>) -> View<'a> {
        View::new(&self.customers, panel, &self.memory, now)
    }

    pub(super) fn unreadable(&self) -> &Unreadable {
        &self.unreadable
    }

    /// Whether something could not be read that tells whether anybody needs the panel user of an account.
    pub(super) fn hinders_unlinking(&self, panel: &str, account: &Account) -> bool {
        let names_it = |login: &Login| {
            select::panel_of(login) == panel && select::name_of(login) == Some(account.name.as_str())
        };
        let unreadable = &self.unreadable;
        self.customers.iter().any(|customer| {
            let mut rows = customer.logins.iter().filter(|login| names_it(login)).peekable();
            let mut subscriptions = customer.subscriptions.iter();
            rows.peek().is_some()
                && (rows.any(|row| unreadable.has_account(row.id))
                    || subscriptions.any(|one| unreadable.has_subscription(one.id)))
        })
    }
}

/// Reads the customers that are meant, and those who share a panel user with them.
pub(super) fn read(connection: &mut SqliteConnection, panel: &str, choice: Choice) -> QueryResult<Read> {
    let mut chosen = Vec::new();
    let mut customers = BTreeMap::new();
    for row in choose(connection, panel, choice)? {
        let id = UserId(row.id);
        if let Some(lowest) = row.lowest {
            chosen.push((id, AccountId(lowest)));
        }
        customers.insert(id, row.into_customer());
    }
    let unreadable = fill(connection, &mut customers)?;
    let customers: Vec<Customer> = customers.into_values().collect();
    let users = select::panel_users(&customers);
    let memory = select::memory(trail::remembered(connection, &users)?);
    Ok(Read {
        chosen,
        customers,
        memory,
        unreadable,
    })
}

/// Reads the customers whom these rows belong to, whatever their panel or name.
pub(super) fn owners(
    connection: &mut SqliteConnection,
    accounts: &[AccountId],
    subscriptions: &[SubscriptionId],
) -> QueryResult<(Vec<Customer>, Unreadable)> {
    let rows: Vec<CustomerRow> = sql_query(
        "SELECT id AS id, telegram_id AS telegram_id, NULL AS lowest FROM users WHERE id IN ( \
             SELECT user_id FROM vpn_configs WHERE id IN (SELECT value FROM json_each(?1)) \
             UNION SELECT user_id FROM subscriptions WHERE id IN (SELECT value FROM json_each(?2)))",
    )
    .bind::<Text, _>(json_of(accounts.iter().map(|id| id.0)))
    .bind::<Text, _>(json_of(subscriptions.iter().map(|id| id.0)))
    .load(connection)?;
    let mut customers = rows
        .into_iter()
        .map(|row| (UserId(row.id), row.into_customer()))
        .collect();
    let unreadable = fill(connection, &mut customers)?;
    Ok((customers.into_values().collect(), unreadable))
}

fn choose(connection: &mut SqliteConnection, panel: &str, choice: Choice) -> QueryResult<Vec<CustomerRow>> {
    let sql = |chosen: &str| sql_query(include_str!("page_of_accounts.sql").replace("{chosen}", chosen));
    match choice {
        Choice::Next { after, customers } => sql(
            "SELECT v.user_id, MIN(v.id) AS lowest FROM account v JOIN users u ON u.id = v.user_id \
             GROUP BY v.user_id HAVING MIN(v.id) > ?2 ORDER BY lowest LIMIT ?3",
        )
        .bind::<Text, _>(panel)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(customers)
        .load(connection),
        Choice::Of(accounts) => sql(
            "SELECT v.user_id, MIN(v.id) AS lowest FROM account v JOIN users u ON u.id = v.user_id \
             WHERE v.user_id IN (SELECT user_id FROM vpn_configs WHERE id IN (SELECT value FROM json_each(?2))) \
             GROUP BY v.user_id",
        )
        .bind::<Text, _>(panel)
        .bind::<Text, _>(json_of(accounts.iter().map(|id| id.0)))
        .load(connection),
    }
}

/// Reads the subscriptions and logins of these customers.
fn fill(
    connection: &mut SqliteConnection,
    customers: &mut BTreeMap<UserId, Customer>,
) -> QueryResult<Unreadable> {
    let mut unreadable = Unreadable::default();
    let optional = Optional::read(connection)?;
    let ids = json_of(customers.keys().map(|id| id.0));
    for row in subscriptions(connection, &optional, &ids)? {
        let user = UserId(row.user_id);
        let (subscription, is_readable) = row.into_subscription();
        if !is_readable {
            unreadable.subscriptions.insert(subscription.id);
        }
        if let Some(customer) = customers.get_mut(&user) {
            customer.subscriptions.push(subscription);
        }
    }
    for row in logins(connection, &optional, &ids)? {
        let user = UserId(row.user_id);
        let (login, is_readable) = row.into_login();
        if !is_readable {
            unreadable.accounts.insert(login.id);
        }
        if let Some(customer) = customers.get_mut(&user) {
            customer.logins.push(login);
        }
    }
    Ok(unreadable)
}

/// Columns that a bot may have or not.
#[derive(QueryableByName)]
struct Optional {
    #[diesel(sql_type = Bool)]
    start_date: bool,
    #[diesel(sql_type = Bool)]
    subscription_id: bool,
}

impl Optional {
    fn read(connection: &mut SqliteConnection) -> QueryResult<Self> {
        sql_query(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info('subscriptions') WHERE lower(name) = 'start_date') \
                 AS start_date, \
             EXISTS (SELECT 1 FROM pragma_table_info('vpn_configs') WHERE lower(name) = 'subscription_id') \
                 AS subscription_id",
        )
        .get_result(connection)
    }
}

fn subscriptions(
    connection: &mut SqliteConnection,
    optional: &Optional,
    customers: &str,
) -> QueryResult<Vec<SubscriptionRow>> {
    let start_date = if optional.start_date { "start_date" } else { "NULL" };
    sql_query(format!(
        "SELECT id AS id, user_id AS user_id, CAST(COALESCE(status, '') AS TEXT) AS status, CAST({start_date} AS TEXT) AS start_date, \
         CAST(end_date AS TEXT) AS end_date, CAST(updated_at AS TEXT) AS updated_at \
         FROM subscriptions WHERE user_id IN (SELECT value FROM json_each(?1))"
    ))
    .bind::<Text, _>(customers)
    .load(connection)
}

fn logins(
    connection: &mut SqliteConnection,
    optional: &Optional,
    customers: &str,
) -> QueryResult<Vec<LoginRow>> {
    let subscription_id = if optional.subscription_id {
        "subscription_id"
    } else {
        "NULL"
    };
    sql_query(format!(
        "SELECT id AS id, user_id AS user_id, CAST(panel AS TEXT) AS panel, CAST(marzban_user_id AS TEXT) AS name, \
         is_active AS is_active, traffic_used AS traffic_used, CAST(last_connected_at AS TEXT) AS last_connected_at, CAST(updated_at AS TEXT) AS updated_at, \
         {subscription_id} AS subscription_id \
         FROM vpn_configs WHERE user_id IN (SELECT value FROM json_each(?1))"
    ))
    .bind::<Text, _>(customers)
    .load(connection)
}

#[derive(QueryableByName)]
struct CustomerRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    telegram_id: Option<i64>,
    /// The lowest account; none for one who only shares a panel user with somebody that is meant.
    #[diesel(sql_type = Nullable<BigInt>)]
    lowest: Option<i64>,
}

impl CustomerRow {
    fn into_customer(self) -> Customer {
        Customer {
            id: UserId(self.id),
            telegram_id: self.telegram_id,
            subscriptions: Vec::new(),
            logins: Vec::new(),
        }
    }
}

#[derive(QueryableByName)]
struct SubscriptionRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Text>)]
    start_date: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    end_date: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    updated_at: Option<String>,
}

impl SubscriptionRow {
    /// The subscription, and whether all its times could be read.
    fn into_subscription(self) -> (Subscription, bool) {
        let mut times = Times::default();
        let subscription = Subscription {
            start_date: times.read(self.start_date),
            updated_at: times.read(self.updated_at),
            ..Subscription::new(
                SubscriptionId(self.id),
                self.status,
                times.read_end(self.end_date),
            )
        };
        (subscription, !times.has_unreadable)
    }
}

#[derive(QueryableByName)]
struct LoginRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    panel: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    is_active: Option<bool>,
    #[diesel(sql_type = Nullable<BigInt>)]
    traffic_used: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    last_connected_at: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    updated_at: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    subscription_id: Option<i64>,
}

impl LoginRow {
    /// The login, and whether all its times could be read.
    fn into_login(self) -> (Login, bool) {
        let mut times = Times::default();
        let login = Login {
            id: AccountId(self.id),
            panel: self.panel,
            name: self.name,
            is_active: self.is_active,
            traffic_used: self.traffic_used,
            last_connected_at: times.read(self.last_connected_at),
            updated_at: times.read(self.updated_at),
            subscription_id: self.subscription_id.map(SubscriptionId),
        };
        (login, !times.has_unreadable)
    }
}

/// Reads the times of a row, and notes whether one of them is none.
#[derive(Default)]
struct Times {
    has_unreadable: bool,
}

impl Times {
    fn read(&mut self, text: Option<String>) -> Option<DateTime<Utc>> {
        let text = text?;
        let read = time::parse(&text);
        self.has_unreadable |= read.is_none();
        read
    }

    /// `infinity`, as PostgreSQL has it and a bot may have copied it, is no end.
    fn read_end(&mut self, text: Option<String>) -> Option<DateTime<Utc>> {
        self.read(text.filter(|text| !text.eq_ignore_ascii_case("infinity")))
    }
}

/// Numbers as a JSON array, which `json_each` makes rows of.
fn json_of(ids: impl Iterator<Item = i64>) -> String {
    serde_json::Value::from(ids.collect::<Vec<_>>()).to_string()
}
