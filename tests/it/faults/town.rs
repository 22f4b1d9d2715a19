//! A bot with a customer of every kind, made anew before each fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use marzban_api::testing::{FakePanel, FakeStatus, FakeUser};
use marzban_sync_core::Context;
use marzban_sync_core::jobs::{run, undo};
use marzban_sync_core::report::Job;
use marzban_sync_core::run::RunId;
use marzban_sync_core::store::PostgresStore;
use tokio::time::timeout;

use super::customers::{
    DELETABLE, ENDED, EXTENDABLE, LATER, OVER, PAYING, insert_as_seen, insert_rows, insert_users, names,
    seen_at,
};
use super::ran::Ran;
use super::trace::WATCH;
use super::work::{Rules, Work};
use crate::bot::{Bot, TABLES, epoch, now};

/// Long enough for a machine that has other things to do.
pub(super) const LIMIT: Duration = Duration::from_mins(1);

/// The library's own tables that a town begins with.
const OWN_TABLES: [&str; 3] = [
    "marzban_sync_runs",
    "marzban_sync_agreements",
    "marzban_sync_changes",
];

/// History that is old enough to be forgotten.
const HISTORY: &str = "
    INSERT INTO marzban_sync_runs (job, panel, started_at, finished_at, outcome)
        SELECT 'cleanup_expired_marzban_users', 'default', '2025-01-01', '2025-01-01', outcome
        FROM unnest(ARRAY['completed', 'completed', 'failed']) AS outcome;
    DELETE FROM marzban_sync_changes;
    INSERT INTO marzban_sync_changes (
        panel, account_id, customer_id, username, column_name, row_id, reason, state, changed_at
    ) VALUES ('default', 7, 7, 'steady', 'vpn_configs.is_active', 7, 'works', 'done', '2025-01-01')";

/// Rows that are gone, and rows that say less than was paid for, or name no user though the panel has theirs (`$1`).
const LOST: &str = "
    SELECT (
        (SELECT count(*) FROM saved.users AS old WHERE NOT EXISTS (SELECT FROM users AS new WHERE new.id = old.id))
        + (SELECT count(*) FROM saved.subscriptions AS old
           WHERE NOT EXISTS (SELECT FROM subscriptions AS new WHERE new.id = old.id))
        + (SELECT count(*) FROM saved.vpn_configs AS old
           WHERE NOT EXISTS (SELECT FROM vpn_configs AS new WHERE new.id = old.id))
        + (SELECT count(*) FROM saved.subscriptions AS old
           JOIN subscriptions AS new USING (id) JOIN saved.vpn_configs AS config USING (id)
           WHERE old.status = 'active' AND coalesce(old.end_date, 'infinity') > '2025-09-10 12:00:00'
             AND (new.status <> 'active' OR new.end_date < old.end_date AND config.marzban_user_id <> 'shortened'))
        + (SELECT count(*) FROM saved.vpn_configs AS old
           JOIN vpn_configs AS new USING (id) JOIN saved.subscriptions AS paid USING (id)
           WHERE paid.status = 'active' AND coalesce(paid.end_date, 'infinity') > '2025-09-10 12:00:00'
             AND new.marzban_user_id IS NULL
              OR old.marzban_user_id = ANY ($1) AND new.marzban_user_id IS NULL
              OR old.marzban_user_id <> ALL ('{over,ownerless,vanished,limited,disabled}')
             AND old.is_active AND NOT new.is_active)
    )::text";

/// The rows of the bot, what was agreed and how much old history there is, without the times of any run.
const ROWS: &str = "
    SELECT string_agg(row, E'\\n' ORDER BY row) FROM (
        SELECT 'user ' || (to_jsonb(t))::text FROM users AS t
        UNION ALL SELECT 'subscription ' || (to_jsonb(t) - 'updated_at')::text FROM subscriptions AS t
        UNION ALL SELECT 'config ' || (to_jsonb(t) - 'updated_at')::text FROM vpn_configs AS t
        UNION ALL SELECT concat_ws(
            ' ', 'agreement', username, agreement - '{over_since, own_write_at}'::text[] #- '{open, since}' #- '{extension, at}'
        ) FROM marzban_sync_agreements
        UNION ALL SELECT 'old runs ' || count(*)::text FROM marzban_sync_runs WHERE started_at < '2025-06-01'
        UNION ALL SELECT 'old changes ' || count(*)::text FROM marzban_sync_changes WHERE changed_at < '2025-06-01'
    ) AS rows (row)";

/// A bot's database and panel that can be made anew.
pub(super) struct Town {
    pub(super) bot: Bot,
    pub(super) store: PostgresStore,
    pub(super) rules: Rules,
    /// The run that is undone, where one is.
    pub(super) undone: RunId,
}

/// How the rows of the bot and the users of the panel are, and what was agreed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct State(Vec<String>);

impl State {
    /// Asserts that nothing is otherwise than expected, naming the first line that is.
    #[track_caller]
    pub(super) fn assert_is(&self, expected: &Self, after: &str) {
        for (found, expected) in self.0.iter().zip(&expected.0) {
            assert_eq!(found, expected, "{after}");
        }
        assert_eq!(self.0.len(), expected.0.len(), "{after}: so many lines");
    }

    /// The same without what was agreed.
    pub(super) fn without_agreements(mut self) -> Self {
        self.0.retain(|line| !line.starts_with("agreement "));
        self
    }
}

impl Town {
    /// None where there is no PostgreSQL.
    pub(super) async fn new() -> Option<Self> {
        let bot = Bot::new().await?;
        let store = bot.store().await;
        let town = Self {
            bot,
            store,
            rules: Rules::Usual,
            undone: RunId(0),
        };
        insert_as_seen(&town.bot).await;
        town.bot.set_now(seen_at());
        let seen = town.run(Work::Job(Job::SyncSubscriptionsFromMarzban)).await;
        assert!(seen.is_ok(), "the sync of the day before: {}", seen.said);
        for table in TABLES.iter().rev() {
            town.bot.sql(&format!("DELETE FROM {table}")).await;
        }
        insert_rows(&town.bot).await;
        town.bot.sql(HISTORY).await;
        town.bot.sql("CREATE SCHEMA saved").await;
        for table in TABLES.iter().chain(&OWN_TABLES) {
            let sql = format!("CREATE TABLE saved.{table} AS TABLE {table}");
            town.bot.sql(&sql).await;
        }
        town.bot.sql(WATCH).await;
        Some(town)
    }

    /// Puts everything back to where it was before a run of this job, with a panel that nobody has asked.
    pub(super) async fn rebuild(&mut self, work: Work) {
        let emptied = ["saved.untraced", "marzban_system_stats"]
            .iter()
            .chain(&OWN_TABLES)
            .chain(TABLES.iter().rev())
            .map(|table| format!("DELETE FROM {table};"));
        let filled = TABLES
            .iter()
            .chain(&OWN_TABLES)
            .map(|table| format!("INSERT INTO {table} SELECT * FROM saved.{table};"));
        let sql: String = emptied.chain(filled).collect();
        self.bot.sql(&sql).await;
        self.rules = Rules::Usual;
        self.bot.panel = FakePanel::start().await;
        self.bot.set_now(now());
        insert_users(&self.bot);
        self.let_things_happen(work).await;
    }

    /// While the panel is asked for the first list, one customer pays; at the second look of a cleanup, another one is
    /// renewed.
    async fn let_things_happen(&self, work: Work) {
        let is_cleanup = work == Work::Job(Job::CleanupExpiredMarzbanUsers);
        let payments = Arc::new(self.bot.database.connect().await);
        let is_unpaid = Arc::new(AtomicBool::new(true));
        self.bot.panel.on_request(move |panel, request| {
            let (payments, is_unpaid) = (Arc::clone(&payments), Arc::clone(&is_unpaid));
            async move {
                if request.path == "/api/users" && is_unpaid.swap(false, Ordering::SeqCst) {
                    pay(&payments, &panel, "paying", PAYING).await;
                }
                if is_cleanup && request.path == "/api/user/renewed" && panel.user("renewed").is_some() {
                    panel.update_user("renewed", |user| {
                        (user.status, user.expire) = (FakeStatus::Active, Some(epoch("2025-12-01 00:00:00")));
                    });
                }
            }
        });
    }

    /// A customer pays who is no party to anything, as one may at any moment.
    pub(super) async fn pay_later(&self) {
        pay(&self.bot.client, &self.bot.panel, "later", LATER).await;
    }

    /// The customer whom a cleanup deletes first buys again, and gets the same name.
    pub(super) async fn buy_again(&self) {
        let sql = format!("UPDATE vpn_configs SET marzban_user_id = 'ended' WHERE id = {ENDED}");
        write_as_bot(&self.bot.client, &sql).await;
        self.bot.panel.insert_user(FakeUser::new("ended"));
        pay(&self.bot.client, &self.bot.panel, "ended", ENDED).await;
    }

    /// Those pay from whom a run takes something, or has taken it.
    pub(super) async fn pay_after_all(&self) {
        pay(&self.bot.client, &self.bot.panel, "over", OVER).await;
        self.buy_again().await;
    }

    /// Without any of those whom a cleanup looks at, so that the panel seems to be another one.
    pub(super) fn lose_all_ended(&self) {
        for name in ["ended", "ownerless", "renewed"] {
            self.bot.panel.remove_user(name);
        }
    }

    /// A sync has run, and is to be undone.
    pub(super) async fn sync_to_undo(&mut self) {
        let synced = self.run(Work::Job(Job::SyncSubscriptionsFromMarzban)).await;
        assert!(synced.is_ok(), "the sync that is undone: {}", synced.said);
        let id = self.bot.text("SELECT max(id)::text FROM marzban_sync_runs").await;
        self.undone = RunId(id.parse().unwrap());
    }

    pub(super) async fn state(&self) -> State {
        let rows = self.bot.text(ROWS).await;
        let mut users: Vec<String> = self
            .bot
            .panel
            .state()
            .users
            .iter()
            .map(|user| format!("panel {} {} {:?}", user.username, user.status, user.expire))
            .collect();
        users.sort_unstable();
        State(rows.lines().map(str::to_owned).chain(users).collect())
    }

    /// How many rows are gone or say less than was paid for.
    pub(super) async fn lost(&self) -> u32 {
        let mut names: Vec<String> = self
            .bot
            .panel
            .state()
            .users
            .into_iter()
            .map(|user| user.username)
            .collect();
        names.retain(|name| !DELETABLE.contains(&name.as_str()));
        let row = self.bot.client.query_one(LOST, &[&names]).await.unwrap();
        row.get::<_, String>(0).parse().unwrap()
    }

    /// How many panel users were deleted or disabled, or were to be, that nobody may touch.
    pub(super) fn wrong_deletions(&self) -> usize {
        let requests = self.bot.panel.requests();
        let is_touched = |name: &&str| {
            let path = format!("/api/user/{name}");
            requests.iter().any(|request| {
                let is_wrong = request.method == "DELETE" || request.method == "PUT" && *name != EXTENDABLE;
                is_wrong && request.path == path
            })
        };
        names()
            .filter(|name| !DELETABLE.contains(name))
            .filter(is_touched)
            .count()
    }

    /// How many deletions and changes of users the panel was asked for.
    pub(super) fn demands(&self) -> usize {
        let requests = self.bot.panel.requests();
        requests
            .iter()
            .filter(|request| ["DELETE", "PUT"].contains(&request.method.as_str()))
            .count()
    }

    /// What runs jobs past every fault.
    pub(super) fn context(&self) -> Context {
        let context = self.bot.context_with(self.store.clone());
        context.policy(self.rules.policy()).build()
    }

    /// Waits until no session holds a lock of a run, as it is soon after its process died.
    pub(super) async fn until_the_lock_is_free(&self) {
        let held = "SELECT count(*)::text FROM pg_locks
            WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let freed = async {
            while self.bot.text(held).await != "0" {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, freed)
            .await
            .expect("the lock is free when its process is dead");
    }

    /// How the runs of a job ended, the oldest first, but for those that were there before.
    pub(super) async fn outcomes(&self, work: Work) -> String {
        let sql = format!(
            "SELECT coalesce(string_agg(outcome, ', ' ORDER BY id), 'none') FROM marzban_sync_runs
             WHERE job = '{work}' AND started_at >= '{}'",
            now().to_rfc3339()
        );
        self.bot.text(&sql).await
    }

    /// Runs a job once more after a fault, and asserts that everything is then as if that had never been.
    pub(super) async fn recovers(&self, work: Work, expected: &State, fault: &str) {
        let after = format!("{work} after {fault}");
        self.until_the_lock_is_free().await;
        self.assert_traced(&after).await;
        self.pay_later().await;
        let next = self.run(work).await;
        assert!(next.is_ok(), "{after}: {}", next.said);
        self.state().await.assert_is(expected, &after);
        self.writes_nothing_more(work, &after).await;
    }

    /// Asserts that everything has left its trace, and that a further run finds nothing to write.
    pub(super) async fn writes_nothing_more(&self, work: Work, after: &str) {
        self.assert_traced(after).await;
        let written = self.written().await;
        let third = self.run(work).await;
        assert!(third.is_ok(), "{after}, the third run: {}", third.said);
        let written_again = self.written().await;
        let news = written_again.iter().find(|line| !written.contains(line));
        assert_eq!(news, None, "{after}: the third run writes: {}", third.said);
    }

    /// Does a job past every fault, to its end.
    pub(super) async fn run(&self, work: Work) -> Ran {
        let context = self.context();
        let ran = async {
            match work {
                Work::Job(job) => run(job, &context).await.into(),
                Work::Undo => undo(&context, self.undone).await.into(),
            }
        };
        timeout(LIMIT, ran).await.expect("a run without a fault ends")
    }
}

/// Writes as the bot does, which leaves no trace.
async fn write_as_bot(client: &tokio_postgres::Client, sql: &str) {
    let sql = format!("BEGIN; SET LOCAL town.pays = 'on'; {sql}; COMMIT");
    client.batch_execute(&sql).await.unwrap();
}

async fn pay(payments: &tokio_postgres::Client, panel: &FakePanel, name: &str, id: i32) {
    let sql = format!(
        "UPDATE subscriptions SET status = 'active', end_date = '2025-12-01' WHERE id = {id};
         UPDATE vpn_configs SET is_active = true WHERE id = {id}"
    );
    write_as_bot(payments, &sql).await;
    panel.update_user(name, |user| {
        (user.status, user.expire) = (FakeStatus::Active, Some(epoch("2025-12-01 00:00:00")));
    });
}
