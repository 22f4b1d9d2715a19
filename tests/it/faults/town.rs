//! A bot with a customer of every kind, made anew before each fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use marzban_api::testing::{FakePanel, FakeStatus, FakeUser};
use marzban_sync_core::Context;
use marzban_sync_core::error::SyncError;
use marzban_sync_core::jobs::run;
use marzban_sync_core::report::{Job, Report};
use marzban_sync_core::store::PostgresStore;
use tokio::time::timeout;

use crate::bot::{Bot, TABLES, at, epoch};

/// Long enough for a machine that has other things to do.
pub(super) const LIMIT: Duration = Duration::from_mins(1);

/// A customer: the status, the end and the access in the bot, the status and the end in the panel.
type Customer = (&'static str, &'static str, &'static str, bool, Panel);

type Panel = Option<(FakeStatus, Option<&'static str>)>;

const SEPTEMBER: &str = "2025-09-30 00:00:00";
const AUGUST: &str = "2025-08-01 00:00:00";

const ENDED: Panel = Some((FakeStatus::Expired, Some(AUGUST)));

const CUSTOMERS: [Customer; 15] = [
    (
        "extended",
        "active",
        SEPTEMBER,
        true,
        Some((FakeStatus::Active, Some("2025-10-31 00:00:00"))),
    ),
    (
        "over",
        "active",
        "2025-09-09 00:00:00",
        true,
        Some((FakeStatus::Expired, Some("2025-09-09 00:00:00"))),
    ),
    ("vanished", "active", SEPTEMBER, true, None),
    (
        "held",
        "active",
        SEPTEMBER,
        true,
        Some((FakeStatus::OnHold, None)),
    ),
    (
        "limited",
        "active",
        SEPTEMBER,
        true,
        Some((FakeStatus::Limited, Some(SEPTEMBER))),
    ),
    (
        "revived",
        "expired",
        "2025-09-01 00:00:00",
        false,
        Some((FakeStatus::Active, Some("2025-10-15 00:00:00"))),
    ),
    (
        "steady",
        "active",
        SEPTEMBER,
        true,
        Some((FakeStatus::Active, Some(SEPTEMBER))),
    ),
    (
        "paying",
        "active",
        "2025-09-12 00:00:00",
        false,
        Some((FakeStatus::Active, Some("2025-09-20 00:00:00"))),
    ),
    ("ended", "expired", AUGUST, false, ENDED),
    ("ownerless", "expired", AUGUST, false, ENDED),
    ("gone", "expired", AUGUST, false, None),
    ("renewed", "expired", AUGUST, false, ENDED),
    (
        "soon",
        "active",
        "2025-09-10 14:00:00",
        true,
        Some((FakeStatus::Active, Some("2025-09-10 14:00:00"))),
    ),
    (
        "disabled",
        "active",
        SEPTEMBER,
        true,
        Some((FakeStatus::Disabled, Some(SEPTEMBER))),
    ),
    (
        "later",
        "active",
        SEPTEMBER,
        true,
        Some((FakeStatus::Active, Some(SEPTEMBER))),
    ),
];

/// The only panel users that any job may delete.
const DELETABLE: [&str; 2] = ["ended", "ownerless"];

/// Rows that are gone, and rows that say less than was paid for, or name no user though the panel has theirs (`$1`).
const LOST: &str = "
    SELECT (
        (SELECT count(*) FROM saved.users AS old WHERE NOT EXISTS (SELECT FROM users AS new WHERE new.id = old.id))
        + (SELECT count(*) FROM saved.subscriptions AS old
           WHERE NOT EXISTS (SELECT FROM subscriptions AS new WHERE new.id = old.id))
        + (SELECT count(*) FROM saved.vpn_configs AS old
           WHERE NOT EXISTS (SELECT FROM vpn_configs AS new WHERE new.id = old.id))
        + (SELECT count(*) FROM saved.subscriptions AS old JOIN subscriptions AS new USING (id)
           WHERE old.status = 'active' AND old.end_date > '2025-09-10 12:00:00'
             AND (new.status <> 'active' OR new.end_date < old.end_date))
        + (SELECT count(*) FROM saved.vpn_configs AS old
           JOIN vpn_configs AS new USING (id) JOIN saved.subscriptions AS paid USING (id)
           WHERE paid.status = 'active' AND paid.end_date > '2025-09-10 12:00:00' AND new.marzban_user_id IS NULL
              OR old.marzban_user_id = ANY ($1) AND new.marzban_user_id IS NULL
              OR old.marzban_user_id IN ('extended', 'held', 'steady', 'soon', 'later') AND NOT new.is_active)
    )::text";

/// The rows of the bot and how much old history there is, without when they were written.
const ROWS: &str = "
    SELECT string_agg(row, E'\\n' ORDER BY row) FROM (
        SELECT 'user ' || (to_jsonb(t))::text FROM users AS t
        UNION ALL SELECT 'subscription ' || (to_jsonb(t) - 'updated_at')::text FROM subscriptions AS t
        UNION ALL SELECT 'config ' || (to_jsonb(t) - 'updated_at')::text FROM vpn_configs AS t
        UNION ALL SELECT 'old runs ' || count(*)::text FROM marzban_sync_runs WHERE started_at < '2025-06-01'
    ) AS rows (row)";

/// A bot's database and panel that can be made anew.
pub(super) struct Town {
    pub(super) bot: Bot,
    pub(super) store: PostgresStore,
}

/// How the rows of the bot and the users of the panel are.
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
}

impl Town {
    /// None where there is no PostgreSQL.
    pub(super) async fn new() -> Option<Self> {
        let bot = Bot::new().await?;
        for (id, (name, status, end, is_active, _)) in (1..).zip(CUSTOMERS) {
            bot.add(id, name, status, end, is_active).await;
        }
        bot.sql(
            "INSERT INTO marzban_sync_runs (job, panel, started_at, finished_at, outcome)
                 SELECT 'cleanup_expired_marzban_users', 'default', '2025-01-01', '2025-01-01', outcome
                 FROM unnest(ARRAY['completed', 'completed', 'failed']) AS outcome;
             CREATE SCHEMA saved",
        )
        .await;
        for table in TABLES.iter().chain(&["marzban_sync_runs"]) {
            bot.sql(&format!("CREATE TABLE saved.{table} AS TABLE {table}"))
                .await;
        }
        let store = bot.store().await;
        Some(Self { bot, store })
    }

    /// Puts everything back to where it was before a run of this job, with a panel that nobody has asked.
    pub(super) async fn rebuild(&mut self, job: Job) {
        let emptied = ["marzban_system_stats", "marzban_sync_runs"]
            .iter()
            .chain(TABLES.iter().rev())
            .map(|table| format!("DELETE FROM {table};"));
        let filled = TABLES
            .iter()
            .chain(&["marzban_sync_runs"])
            .map(|table| format!("INSERT INTO {table} SELECT * FROM saved.{table};"));
        let sql: String = emptied.chain(filled).collect();
        self.bot.sql(&sql).await;
        self.bot.clock.set(crate::bot::now());
        self.bot.panel = FakePanel::start().await;
        self.bot.panel.set_now(crate::bot::now());
        for (used, (name, _, _, _, panel)) in (1_000..).zip(CUSTOMERS) {
            let Some((status, expire)) = panel else { continue };
            let user = FakeUser::new(name)
                .status(status)
                .expire(expire.map(epoch))
                .used_traffic(used)
                .created_at(at("2025-01-01 00:00:00"))
                .owner((name != "ownerless").then_some("seller"));
            self.bot.panel.insert_user(user);
        }
        self.let_things_happen(job).await;
    }

    /// While the panel is asked for the first list, one customer pays; at the second look of a cleanup, another one is
    /// renewed.
    async fn let_things_happen(&self, job: Job) {
        let is_cleanup = job == Job::CleanupExpiredMarzbanUsers;
        let payments = Arc::new(self.bot.database.connect().await);
        let is_unpaid = Arc::new(AtomicBool::new(true));
        self.bot.panel.on_request(move |panel, request| {
            let (payments, is_unpaid) = (Arc::clone(&payments), Arc::clone(&is_unpaid));
            async move {
                if request.path == "/api/users" && is_unpaid.swap(false, Ordering::SeqCst) {
                    pay(&payments, &panel, "paying", 8).await;
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
        pay(&self.bot.client, &self.bot.panel, "later", 15).await;
    }

    /// The customer whom a cleanup deletes first buys again, and gets the same name.
    pub(super) async fn buy_again(&self) {
        let sql = "UPDATE vpn_configs SET marzban_user_id = 'ended' WHERE id = 9";
        self.bot.sql(sql).await;
        self.bot.panel.insert_user(FakeUser::new("ended"));
        pay(&self.bot.client, &self.bot.panel, "ended", 9).await;
    }

    /// Those pay from whom a run takes something, or has taken it.
    pub(super) async fn pay_after_all(&self) {
        pay(&self.bot.client, &self.bot.panel, "over", 2).await;
        self.buy_again().await;
    }

    /// Without any of those whom a cleanup looks at, so that the panel seems to be another one.
    pub(super) fn lose_all_ended(&self) {
        for name in ["ended", "ownerless", "renewed", "revived"] {
            self.bot.panel.remove_user(name);
        }
    }

    /// As if the status job had read everybody an hour ago, so that it asks for a census now.
    pub(super) async fn note_a_full_read(&self) {
        let began = (crate::bot::now() - TimeDelta::hours(1)).to_rfc3339();
        let sql = format!(
            "INSERT INTO marzban_sync_runs (job, panel, started_at, finished_at, outcome, report)
             VALUES ('{}', 'default', '{began}', '{began}', 'completed', '{{\"unreached\": 0}}')",
            Job::SyncUserStatusFromMarzban
        );
        self.bot.sql(&sql).await;
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

    /// How many panel users were deleted, or were to be, that nobody may delete.
    pub(super) fn wrong_deletions(&self) -> usize {
        let panel = &self.bot.panel;
        let requests = panel.requests();
        let names = CUSTOMERS.iter().map(|(name, ..)| *name);
        names
            .filter(|name| !DELETABLE.contains(name))
            .filter(|name| {
                let path = format!("/api/user/{name}");
                requests
                    .iter()
                    .any(|request| request.method == "DELETE" && request.path == path)
            })
            .count()
    }

    /// How many deletions the panel was asked for.
    pub(super) fn deletions(&self) -> usize {
        let requests = self.bot.panel.requests();
        requests
            .iter()
            .filter(|request| request.method == "DELETE")
            .count()
    }

    /// What runs jobs past every fault, and reads everybody.
    pub(super) fn context(&self) -> Context {
        self.bot.context_with(self.store.clone()).build()
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
    pub(super) async fn outcomes(&self, job: Job) -> String {
        let sql = format!(
            "SELECT coalesce(string_agg(outcome, ', ' ORDER BY id), 'none') FROM marzban_sync_runs
             WHERE job = '{job}' AND started_at >= '{}'",
            crate::bot::now().to_rfc3339()
        );
        self.bot.text(&sql).await
    }

    /// Runs a job once more after a fault, and asserts that everything is then as if that had never been.
    pub(super) async fn recovers(&self, job: Job, expected: &State, fault: &str) {
        self.until_the_lock_is_free().await;
        self.pay_later().await;
        let next = self.run(job).await;
        assert!(next.is_ok(), "{job} after {fault}: {}", said(&next));
        let after = format!("{job} after {fault}");
        self.state().await.assert_is(expected, &after);
    }

    /// Runs a job past every fault, to its end.
    pub(super) async fn run(&self, job: Job) -> Result<Report, SyncError> {
        timeout(LIMIT, run(job, &self.context()))
            .await
            .expect("a run without a fault ends")
    }
}

async fn pay(payments: &tokio_postgres::Client, panel: &FakePanel, name: &str, id: i32) {
    let sql = format!(
        "BEGIN;
         UPDATE subscriptions SET status = 'active', end_date = '2025-12-01' WHERE id = {id};
         UPDATE vpn_configs SET is_active = true WHERE id = {id};
         COMMIT"
    );
    payments.batch_execute(&sql).await.unwrap();
    panel.update_user(name, |user| {
        (user.status, user.expire) = (FakeStatus::Active, Some(epoch("2025-12-01 00:00:00")));
    });
}

/// What a report or an error says, in a line without anything that differs from run to run.
pub(super) fn said(result: &Result<Report, SyncError>) -> String {
    let (mut words, report) = match result {
        Ok(report) => (Vec::new(), Some(report)),
        Err(error) => {
            let cause = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
            (
                vec![format!("error {}: {cause}", error.kind().as_str())],
                error.report(),
            )
        }
    };
    words.extend(match report {
        Some(Report::SyncSubscriptionsFromMarzban(report)) => Some(format!(
            "{} synced, {} errors, {} total",
            report.synced, report.errors, report.total
        )),
        Some(Report::SyncUserStatusFromMarzban(report)) => Some(format!(
            "{} updated, {} missing, {} errors, {} total",
            report.updated, report.missing, report.errors, report.total
        )),
        Some(Report::CleanupExpiredMarzbanUsers(report)) => Some(format!(
            "{} cleaned, {} skipped, {} errors, {} total",
            report.cleaned, report.skipped, report.errors, report.total
        )),
        Some(Report::GetMarzbanSystemStats(_)) => Some("figures".to_owned()),
        None => None,
    });
    if let Some(run) = report.and_then(Report::run) {
        let stopped = run
            .stopped
            .map(|stopped| format!("stopped: {stopped:?}").to_lowercase());
        words.extend(stopped);
        words.extend((run.unreached > 0).then(|| format!("{} unreached", run.unreached)));
        words.extend((run.withheld > 0).then(|| format!("{} withheld", run.withheld)));
    }
    words.join("; ")
}
