//! A bot's tables, a panel over HTTP, and a clock that is set by hand.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use marzban_api::testing::{FakePanel, FakeStatus, FakeUser};
use marzban_sync_core::Context;
use marzban_sync_core::error::{SyncError, chain};
use marzban_sync_core::jobs;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::policy::{Answers, Policy, Trust};
use marzban_sync_core::report::{CleanupReport, Job, Report, Run};
use marzban_sync_core::store::{PostgresStore, SqliteStore};
use marzban_sync_core::testing::ManualClock;
use marzban_sync_tests::{TestDatabase, client};
use tempfile::TempDir;

use super::tables::Tables;
use crate::bot::now;

enum Database {
    Postgres {
        store: PostgresStore,
        database: TestDatabase,
    },
    Sqlite {
        store: SqliteStore,
        _folder: TempDir,
    },
}

/// What a case plays in.
pub(super) struct World {
    database: Database,
    pub(super) tables: Tables,
    pub(super) panel: FakePanel,
    /// The bot's clock; the panel has one of its own.
    pub(super) clock: ManualClock,
    pub(super) policy: Policy,
    pub(super) answers: Answers,
    /// The panel's name in the bot.
    panel_name: &'static str,
    /// How many requests of the panel have been looked at.
    looked_at: usize,
}

/// So many days from the beginning.
pub(super) fn day(days: i64) -> DateTime<Utc> {
    now() + TimeDelta::days(days)
}

/// A moment as a literal of SQL.
pub(super) fn literal(time: DateTime<Utc>) -> String {
    format!("'{}'", time.format("%Y-%m-%d %H:%M:%S"))
}

/// Answers that say which side is right for these users.
pub(super) fn trust(names: &[&str]) -> Trust {
    Trust::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

impl World {
    /// None where there is no PostgreSQL.
    pub(super) async fn postgres() -> Option<Self> {
        let database = TestDatabase::new().await?.in_time_zone("Asia/Tehran").await;
        let tables = Tables::Postgres(Arc::new(database.connect().await));
        tables.create().await;
        let store = PostgresStore::connect(database.url()).await.unwrap();
        store.migrate().await.unwrap();
        Some(Self::over(Database::Postgres { store, database }, tables).await)
    }

    pub(super) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot.db");
        let tables = Tables::Sqlite(path.clone());
        tables.create().await;
        let store = SqliteStore::connect(path.to_str().unwrap()).await.unwrap();
        store.migrate().await.unwrap();
        let database = Database::Sqlite {
            store,
            _folder: folder,
        };
        Self::over(database, tables).await
    }

    async fn over(database: Database, tables: Tables) -> Self {
        let panel = FakePanel::start().await;
        panel.set_now(now());
        Self {
            database,
            tables,
            panel,
            clock: ManualClock::new(now()),
            policy: Policy::default(),
            answers: Answers::default(),
            panel_name: "default",
            looked_at: 0,
        }
    }

    /// The database itself, where it is PostgreSQL.
    pub(super) fn postgres_database(&self) -> Option<&TestDatabase> {
        match &self.database {
            Database::Postgres { database, .. } => Some(database),
            Database::Sqlite { .. } => None,
        }
    }

    /// Moves both clocks to this moment; the panel reviews its users.
    pub(super) fn at(&self, time: DateTime<Utc>) {
        self.clock.set(time);
        self.panel.set_now(time);
        self.panel.review();
    }

    /// Moves both clocks to so many days from the beginning; the panel reviews its users.
    pub(super) fn on_day(&self, days: i64) {
        self.at(day(days));
    }

    /// Turns to another panel, of this name in the bot, and returns the one before.
    pub(super) fn turn_to(&mut self, name: &'static str, panel: FakePanel) -> FakePanel {
        self.panel_name = name;
        panel.set_now(self.panel.state().now);
        panel.review();
        self.looked_at = panel.requests().len();
        std::mem::replace(&mut self.panel, panel)
    }

    /// Every user of the panel, as a backup keeps them.
    pub(super) fn backup(&self) -> Vec<FakeUser> {
        self.panel.state().users
    }

    /// Puts a backup back; the panel reviews its users.
    pub(super) fn restore(&self, backup: Vec<FakeUser>) {
        for user in self.panel.state().users {
            self.panel.remove_user(&user.username);
        }
        for user in backup {
            self.panel.insert_user(user);
        }
        self.panel.review();
    }

    pub(super) async fn sql(&self, sql: &str) {
        self.tables.sql(sql).await;
    }

    /// A customer with one subscription and one account, all with this id; the account has access where the subscription
    /// is open.
    pub(super) async fn customer(&self, id: i64, name: &str, status: &str, end: Option<i64>) {
        self.customers(&[(id, name.to_owned())], status, end).await;
    }

    /// The same for several.
    async fn customers(&self, customers: &[(i64, String)], status: &str, end: Option<i64>) {
        let end = end.map_or_else(|| "NULL".to_owned(), |end| literal(day(end)));
        let is_active = matches!(status, "active" | "trial");
        let rows =
            |row: &dyn Fn(&(i64, String)) -> String| customers.iter().map(row).collect::<Vec<_>>().join(", ");
        let users = rows(&|(id, _)| format!("({id}, {})", 1_000 + id));
        let subscriptions = rows(&|(id, _)| format!("({id}, {id}, '{status}', {end})"));
        let accounts = rows(&|(id, name)| format!("({id}, {id}, '{name}', {is_active}, 0)"));
        self.sql(&format!(
            "INSERT INTO users (id, telegram_id) VALUES {users};
             INSERT INTO subscriptions (id, user_id, status, end_date) VALUES {subscriptions};
             INSERT INTO vpn_configs (id, user_id, marzban_user_id, is_active, traffic_used) VALUES {accounts}"
        ))
        .await;
    }

    /// Another subscription of a customer.
    pub(super) async fn subscription(&self, id: i64, customer: i64, status: &str, end: Option<i64>) {
        let end = end.map_or_else(|| "NULL".to_owned(), |end| literal(day(end)));
        self.sql(&format!(
            "INSERT INTO subscriptions (id, user_id, status, end_date) VALUES ({id}, {customer}, '{status}', {end})"
        ))
        .await;
    }

    /// Another account of a customer, in this panel.
    pub(super) async fn account(&self, id: i64, customer: i64, name: &str, is_active: bool) {
        let panel = self.panel_name;
        self.sql(&format!(
            "INSERT INTO vpn_configs (id, user_id, panel, marzban_user_id, is_active, traffic_used)
             VALUES ({id}, {customer}, '{panel}', '{name}', {is_active}, 0)"
        ))
        .await;
    }

    /// Customers `user1`, `user2`, … who are in step with the panel, with an end in so many days.
    pub(super) async fn in_step(&self, ids: RangeInclusive<i64>, end: i64) {
        self.both_have(ids, "active", FakeStatus::Active, end).await;
    }

    /// Customers whose subscription ended so many days ago, and who have no access in the panel either.
    pub(super) async fn long_over(&self, ids: RangeInclusive<i64>, end: i64) {
        self.both_have(ids, "expired", FakeStatus::Expired, end).await;
    }

    async fn both_have(&self, ids: RangeInclusive<i64>, word: &str, status: FakeStatus, end: i64) {
        let customers: Vec<(i64, String)> = ids.map(|id| (id, format!("user{id}"))).collect();
        self.customers(&customers, word, Some(end)).await;
        for (_, name) in customers {
            self.user(&name, status, Some(end));
        }
    }

    /// A panel user that was created 100 days before the beginning.
    pub(super) fn user(&self, name: &str, status: FakeStatus, expire: Option<i64>) {
        self.panel.insert_user(user(name, status, expire));
    }

    /// The panel's end of a user, as an administrator or a bulk edit leaves it; the panel reviews its users.
    pub(super) fn set_expire(&self, name: &str, days: i64) {
        self.panel.update_user(name, |user| {
            user.expire = Some(day(days).timestamp());
            if user.status == FakeStatus::Expired {
                user.status = FakeStatus::Active;
            }
        });
        self.panel.review();
    }

    /// The panel's end of a user.
    pub(super) fn expire(&self, name: &str) -> String {
        let user = self.panel.user(name).unwrap();
        let expire = user.expire.and_then(|expire| DateTime::from_timestamp(expire, 0));
        expire.map_or_else(|| "never".to_owned(), from_beginning)
    }

    /// The bot's end of a subscription, as a payment or refund leaves it.
    pub(super) async fn set_end(&self, subscription: i64, days: i64) {
        let end = literal(day(days));
        self.sql(&format!(
            "UPDATE subscriptions SET end_date = {end} WHERE id = {subscription}"
        ))
        .await;
    }

    /// A payment in the bot: the subscription is open until then.
    pub(super) async fn pay(&self, subscription: i64, days: i64) {
        self.sql(&payment(subscription, days)).await;
    }

    /// What runs jobs, as it is made for each run.
    pub(super) fn context(&self) -> Context {
        let panel = MarzbanPanel::new(client(&self.panel.url(), "admin", "admin"));
        let builder = match &self.database {
            Database::Postgres { store, .. } => Context::builder(panel, store.clone()),
            Database::Sqlite { store, .. } => Context::builder(panel, store.clone()),
        };
        builder
            .clock(self.clock.clone())
            .policy(self.policy)
            .answers(self.answers.clone())
            .panel_name(self.panel_name)
            .build()
    }

    pub(super) async fn try_run(&self, job: Job) -> Result<Report, SyncError> {
        jobs::run(job, &self.context()).await
    }

    async fn report(&self, job: Job) -> Report {
        match self.try_run(job).await {
            Ok(report) => report,
            Err(error) => panic!("{job}: {}", chain(&error)),
        }
    }

    /// The sync of subscriptions.
    pub(super) async fn sync(&self) -> Run {
        match self.report(Job::SyncSubscriptionsFromMarzban).await {
            Report::SyncSubscriptionsFromMarzban(report) => {
                assert_eq!(report.synced + report.errors, report.total);
                assert_eq!(report.run.problems.len() as u64, report.errors);
                report.run
            }
            report => panic!("{report:?}"),
        }
    }

    /// The sync of statuses.
    pub(super) async fn status(&self) -> Run {
        let report = self.report(Job::SyncUserStatusFromMarzban).await;
        report.run().unwrap().clone()
    }

    /// The cleanup.
    pub(super) async fn cleanup(&self) -> CleanupReport {
        match self.report(Job::CleanupExpiredMarzbanUsers).await {
            Report::CleanupExpiredMarzbanUsers(report) => {
                assert_eq!(report.cleaned + report.skipped + report.errors, report.total);
                report
            }
            report => panic!("{report:?}"),
        }
    }

    /// Both syncs, as a day of a bot has them, neither of which a safety limit stops.
    pub(super) async fn syncs(&self) {
        for run in [self.sync().await, self.status().await] {
            assert_eq!(stopped(&run), "-", "{:?}", run.withheld_because);
        }
    }

    /// Runs both syncs again, which must not write anything at all.
    pub(super) async fn assert_settled(&self) {
        let (before, sent) = (self.tables.rows().await, self.sent().len());
        self.sync().await;
        self.status().await;
        let after = self.tables.rows().await;
        let changed: Vec<_> = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after)
            .collect();
        assert!(changed.is_empty(), "a second run changed {changed:?}");
        assert_eq!((before.len(), sent), (after.len(), self.sent().len()));
    }

    /// Every subscription: `1 active +30d`.
    pub(super) async fn subscriptions(&self) -> Vec<String> {
        let rows = self
            .tables
            .texts(
                "SELECT CAST(id AS text) || '|' || status || '|' || coalesce(CAST(end_date AS text), '') AS text
                 FROM subscriptions ORDER BY id",
            )
            .await;
        rows.iter()
            .map(|row| {
                let parts: Vec<&str> = row.split('|').collect();
                format!("{} {} {}", parts[0], parts[1], days(parts[2]))
            })
            .collect()
    }

    /// One subscription: `active +30d`.
    pub(super) async fn subscription_of(&self, id: i64) -> String {
        of(id, &self.subscriptions().await)
    }

    /// Every account: `1 anna on`, with `-` for a name that is gone.
    pub(super) async fn accounts(&self) -> Vec<String> {
        self.tables
            .texts(
                "SELECT CAST(id AS text) || ' ' || coalesce(marzban_user_id, '-') || ' ' ||
                     CASE WHEN is_active IS NULL THEN 'null' WHEN is_active THEN 'on' ELSE 'off' END AS text
                 FROM vpn_configs ORDER BY id",
            )
            .await
    }

    /// One account: `anna on`.
    pub(super) async fn account_of(&self, id: i64) -> String {
        of(id, &self.accounts().await)
    }

    /// What the panel was asked and sent since this was last called, without logins; the names of a list are counted.
    pub(super) fn asked(&mut self) -> Vec<String> {
        let requests = self.panel.requests();
        let new = requests.get(self.looked_at..).unwrap_or_default();
        let asked = new
            .iter()
            .filter(|request| request.path != "/api/admin/token")
            .map(|request| {
                let mut line = format!("{} {}", request.method, request.path);
                if request.path == "/api/users" {
                    let names = request.query.matches("username=").count();
                    write!(line, " of {names}").unwrap();
                }
                line
            })
            .collect();
        self.looked_at = requests.len();
        asked
    }

    /// What this panel was asked to change or delete since its beginning.
    pub(super) fn sent(&self) -> Vec<String> {
        sent(&self.panel)
    }

    pub(super) fn has_user(&self, name: &str) -> bool {
        self.panel.user(name).is_some()
    }
}

/// A panel user that was created 100 days before the beginning.
pub(super) fn user(name: &str, status: FakeStatus, expire: Option<i64>) -> FakeUser {
    FakeUser::new(name)
        .status(status)
        .created_at(day(-100))
        .expire(expire.map(|days| day(days).timestamp()))
}

/// The statement of a payment.
pub(super) fn payment(subscription: i64, days: i64) -> String {
    let end = literal(day(days));
    format!("UPDATE subscriptions SET status = 'active', end_date = {end} WHERE id = {subscription}")
}

/// What a panel was asked to change or delete since its beginning.
pub(super) fn sent(panel: &FakePanel) -> Vec<String> {
    let requests = panel.requests();
    requests
        .iter()
        .filter(|request| request.method != "GET" && request.path != "/api/admin/token")
        .map(|request| format!("{} {}", request.method, request.path))
        .collect()
}

/// The problems of a run: `anna panel_behind`.
pub(super) fn problems(run: &Run) -> Vec<String> {
    run.problems
        .iter()
        .map(|problem| format!("{} {}", problem.name, problem.reason.as_str()))
        .collect()
}

/// How many problems of which reason a run has: `withheld 40`.
pub(super) fn reasons(run: &Run) -> Vec<String> {
    run.reasons
        .iter()
        .map(|(reason, count)| format!("{} {count}", reason.as_str()))
        .collect()
}

/// Why a cleanup left panel users alone: `in_use 1`.
pub(super) fn skipped(report: &CleanupReport) -> Vec<String> {
    report
        .skipped_because
        .iter()
        .map(|(because, count)| format!("{because} {count}"))
        .collect()
}

/// How a run was stopped, `-` when it was not.
pub(super) fn stopped(run: &Run) -> String {
    run.stopped
        .map_or_else(|| "-".to_owned(), |stopped| format!("{stopped:?}").to_lowercase())
}

/// What a list says of this id.
fn of(id: i64, all: &[String]) -> String {
    let prefix = format!("{id} ");
    all.iter()
        .find_map(|row| row.strip_prefix(&prefix))
        .unwrap()
        .to_owned()
}

/// A moment of a column as the time from the beginning: `+30d`, `-3d2h`.
fn days(column: &str) -> String {
    if column.is_empty() {
        return "never".to_owned();
    }
    let time = NaiveDateTime::parse_from_str(column, "%Y-%m-%d %H:%M:%S%.f").unwrap();
    from_beginning(time.and_utc())
}

fn from_beginning(time: DateTime<Utc>) -> String {
    let seconds = (time - now()).num_seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.unsigned_abs();
    let (days, hours, rest) = (seconds / 86_400, seconds % 86_400 / 3_600, seconds % 3_600);
    let mut text = format!("{sign}{days}d");
    if hours > 0 || rest > 0 {
        write!(text, "{hours}h").unwrap();
    }
    if rest > 0 {
        write!(text, "{rest}s").unwrap();
    }
    text
}
