//! What happens in the middle of a run: payments, other runs, a panel that changes, a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use marzban_api::testing::{FakeStatus, FakeUser};
use marzban_sync_core::outcome::{Outcome, Stopped};
use marzban_sync_core::report::{Problem, ProblemReason};
use marzban_sync_core::{cleanup_expired_marzban_users, sync_subscriptions_from_marzban};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::bot::{Bot, assert_same, at, epoch};

/// A payment that extends the first customer, one that adds a subscription for the second, and one for the third that
/// reaches further than the panel's date.
const PAYMENTS: &str = "
    UPDATE subscriptions SET end_date = '2025-12-01', updated_at = '2025-09-10 12:00:01' WHERE id = 1;
    INSERT INTO subscriptions VALUES (12, 2, 3, 4.99, 'active', '2025-09-10', '2025-12-01', '2025-09-10 12:00:01');
    UPDATE subscriptions SET end_date = '2026-01-01', updated_at = '2025-09-10 12:00:01' WHERE id = 3;
";

/// The subscriptions after the payments; only those of the fourth customer, who did not pay, is the sync's.
const PAID: &str = "
     1 | 1 | 3 | 4.99 | active  | 2025-08-10 00:00:00 | 2025-12-01 00:00:00 | 2025-09-10 12:00:01
     2 | 2 | 3 | 4.99 | active  | 2025-08-10 00:00:00 | 2025-09-10 00:00:00 | -
     3 | 3 | 3 | 4.99 | active  | 2025-08-10 00:00:00 | 2026-01-01 00:00:00 | 2025-09-10 12:00:01
     4 | 4 | 3 | 4.99 | expired | 2025-08-10 00:00:00 | 2025-09-10 00:00:00 | 2025-09-10 12:00:00
    12 | 2 | 3 | 4.99 | active  | 2025-09-10 00:00:00 | 2025-12-01 00:00:00 | 2025-09-10 12:00:01
";

const PAID_CONFIGS: &str = "
     1 | 1 | vless | user1 | t | 0 | - | -
     2 | 2 | vless | user2 | t | 0 | - | -
     3 | 3 | vless | user3 | t | 0 | - | -
     4 | 4 | vless | user4 | f | 0 | - | 2025-09-10 12:00:00
";

/// Four customers whose time is over by both sides, but for the third, whom the panel has extended.
async fn bot_of_four() -> Option<Bot> {
    let bot = Bot::new().await?;
    for id in 1..=4 {
        bot.add(id, &format!("user{id}"), "active", "2025-09-10 00:00:00", true)
            .await;
        let user = FakeUser::new(format!("user{id}"));
        bot.panel.insert_user(match id {
            3 => user.expire(epoch("2025-10-31 00:00:00")),
            _ => user
                .expire(epoch("2025-09-10 00:00:00"))
                .status(FakeStatus::Expired),
        });
    }
    Some(bot)
}

fn conflicts(problems: &[Problem]) -> Vec<&str> {
    let of_conflicts = problems
        .iter()
        .filter(|problem| problem.reason == ProblemReason::Conflict);
    of_conflicts.map(|problem| problem.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_commits_while_the_panel_is_asked_is_never_overwritten() {
    let Some(bot) = bot_of_four().await else { return };
    let payments = Arc::new(bot.database.connect().await);
    let first = AtomicBool::new(true);
    bot.panel.on_request(move |_, request| {
        let payments = Arc::clone(&payments);
        let pays = request.path == "/api/users" && first.swap(false, Ordering::SeqCst);
        async move {
            if pays {
                payments.batch_execute(PAYMENTS).await.unwrap();
            }
        }
    });
    let report = sync_subscriptions_from_marzban(&bot.context().await)
        .await
        .unwrap();
    assert_eq!((report.synced, report.errors, report.total), (1, 3, 4));
    let mut names: Vec<&str> = report
        .run
        .problems
        .iter()
        .map(|problem| problem.name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["user1", "user2", "user3"]);
    bot.assert_rows("subscriptions", PAID).await;
    bot.assert_rows("vpn_configs", PAID_CONFIGS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_under_way_is_neither_waited_for_nor_overwritten() {
    let Some(bot) = bot_of_four().await else { return };
    let payments = Arc::new(bot.database.connect().await);
    let in_hook = Arc::clone(&payments);
    let first = AtomicBool::new(true);
    bot.panel.on_request(move |_, request| {
        let payments = Arc::clone(&in_hook);
        let pays = request.path == "/api/users" && first.swap(false, Ordering::SeqCst);
        async move {
            if pays {
                // Its rows stay locked until the test commits.
                payments
                    .batch_execute(&format!("BEGIN; {PAYMENTS}"))
                    .await
                    .unwrap();
                payments
                    .batch_execute("SELECT FROM subscriptions WHERE id = 2 FOR UPDATE")
                    .await
                    .unwrap();
            }
        }
    });
    let context = bot.context().await;
    let report = timeout(Duration::from_secs(30), sync_subscriptions_from_marzban(&context))
        .await
        .unwrap()
        .unwrap();
    payments.batch_execute("COMMIT").await.unwrap();
    assert_eq!((report.synced, report.errors, report.total), (1, 3, 4));
    bot.assert_rows("subscriptions", PAID).await;
    bot.assert_rows("vpn_configs", PAID_CONFIGS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_is_open_while_the_panel_is_asked() {
    let Some(bot) = bot_of_four().await else { return };
    let watcher = Arc::new(bot.database.connect().await);
    let open = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&open);
    bot.panel.on_request(move |_, _| {
        let (watcher, seen) = (Arc::clone(&watcher), Arc::clone(&seen));
        async move {
            let sql = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
            let count: i64 = watcher.query_one(sql, &[]).await.unwrap().get(0);
            seen.fetch_add(u32::try_from(count).unwrap(), Ordering::SeqCst);
        }
    });
    let context = bot.context().await;
    for job in marzban_sync_core::report::Job::ALL {
        marzban_sync_core::jobs::run(job, &context).await.unwrap();
    }
    assert!(bot.panel.requests().len() >= 4, "the panel was asked");
    assert_eq!(open.load(Ordering::SeqCst), 0);
}

/// One customer whom both sides say ended long ago.
async fn bot_with_one_ended() -> Option<Bot> {
    let bot = Bot::new().await?;
    bot.add(1, "ended", "expired", "2025-08-01 00:00:00", false).await;
    let user = FakeUser::new("ended").created_at(at("2025-07-01 00:00:00"));
    bot.panel.insert_user(
        user.status(FakeStatus::Expired)
            .expire(epoch("2025-08-01 00:00:00")),
    );
    Some(bot)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_pays_during_the_cleanup_is_not_deleted() {
    let Some(bot) = bot_with_one_ended().await else {
        return;
    };
    let payment = Arc::new(bot.database.connect().await);
    bot.panel.on_request(move |_, request| {
        let payment = Arc::clone(&payment);
        async move {
            if request.path == "/api/user/ended" {
                let sql =
                    "UPDATE subscriptions SET status = 'active', end_date = '2025-12-01', updated_at = NULL";
                payment.batch_execute(sql).await.unwrap();
            }
        }
    });
    bot.has_synced().await;
    let report = cleanup_expired_marzban_users(&bot.context().await).await.unwrap();
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 1, 0, 1)
    );
    assert_eq!(bot.panel.count("DELETE", "/api/user/ended"), 0);
    bot.assert_rows(
        "subscriptions",
        "1 | 1 | 3 | 4.99 | active | 2025-08-10 00:00:00 | 2025-12-01 00:00:00 | -",
    )
    .await;
    bot.assert_rows("vpn_configs", "1 | 1 | vless | ended | f | 0 | - | -")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_renewed_in_the_panel_during_the_cleanup_is_kept_and_synced() {
    let Some(bot) = bot_with_one_ended().await else {
        return;
    };
    sync_subscriptions_from_marzban(&bot.context().await)
        .await
        .unwrap();
    bot.panel.on_request(|panel, request| async move {
        if request.path == "/api/user/ended" {
            panel.update_user("ended", |user| {
                (user.status, user.expire) = (FakeStatus::Active, Some(epoch("2025-12-01 00:00:00")));
            });
        }
    });
    let report = cleanup_expired_marzban_users(&bot.context().await).await.unwrap();
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 1, 0, 1)
    );
    assert_eq!(bot.panel.count("DELETE", "/api/user/ended"), 0);
    bot.assert_rows(
        "subscriptions",
        "1 | 1 | 3 | 4.99 | active | 2025-08-10 00:00:00 | 2025-12-01 00:00:00 | 2025-09-10 12:00:00",
    )
    .await;
    bot.assert_rows(
        "vpn_configs",
        "1 | 1 | vless | ended | t | 0 | - | 2025-09-10 12:00:00",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_made_anew_during_the_cleanup_is_kept() {
    let Some(bot) = bot_with_one_ended().await else {
        return;
    };
    let places = bot.places().await;
    bot.panel.on_request(|panel, request| async move {
        if request.path == "/api/user/ended" {
            panel.update_user("ended", |user| user.created_at = Some(at("2025-09-10 11:00:00")));
        }
    });
    bot.has_synced().await;
    let report = cleanup_expired_marzban_users(&bot.context().await).await.unwrap();
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 1, 0, 1)
    );
    assert_eq!(bot.panel.count("DELETE", "/api/user/ended"), 0);
    assert_same(&bot.places().await, &places);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runs_at_once_one_is_already_running() {
    let Some(bot) = bot_of_four().await else { return };
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let of_hook = (Arc::clone(&asked), Arc::clone(&go), AtomicBool::new(true));
    bot.panel.on_request(move |_, request| {
        let (asked, go) = (Arc::clone(&of_hook.0), Arc::clone(&of_hook.1));
        let waits = request.path == "/api/users" && of_hook.2.swap(false, Ordering::SeqCst);
        async move {
            if waits {
                asked.notify_one();
                go.notified().await;
            }
        }
    });
    let (first, second) = (bot.context().await, bot.context().await);
    let running = tokio::spawn(async move { sync_subscriptions_from_marzban(&first).await });
    asked.notified().await;

    let error = sync_subscriptions_from_marzban(&second).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::AlreadyRunning);
    assert!(error.report().is_none(), "{error:?}");
    assert_eq!(bot.panel.count("GET", "/api/users"), 1);
    assert_eq!(
        bot.text("SELECT count(*)::text FROM marzban_sync_runs").await,
        "1"
    );

    go.notify_one();
    let report = running.await.unwrap().unwrap();
    assert_eq!((report.synced, report.errors, report.total), (4, 0, 4));

    // And then the lock is free.
    let report = sync_subscriptions_from_marzban(&second).await.unwrap();
    assert_eq!((report.synced, report.errors, report.total), (4, 0, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_time_is_up_keeps_what_is_done_and_takes_nothing() {
    let Some(bot) = Bot::new().await else { return };
    bot.add_in_line(250).await;
    bot.panel
        .update_user("user1", |user| user.status = FakeStatus::Limited);
    let (clock, lists) = (bot.clock.clone(), AtomicU32::new(0));
    bot.panel.on_request(move |_, request| {
        if request.path == "/api/users" && lists.fetch_add(1, Ordering::SeqCst) == 1 {
            clock.advance(TimeDelta::minutes(30));
        }
        std::future::ready(())
    });
    let report = sync_subscriptions_from_marzban(&bot.context().await)
        .await
        .unwrap();
    assert_eq!((report.synced, report.errors, report.total), (199, 51, 250));
    assert_eq!(report.run.stopped, Some(Stopped::Deadline));
    assert_eq!((report.run.unreached, report.run.withheld), (50, 1));
    assert_eq!(bot.panel.count("GET", "/api/users"), 2);
    let rows = bot.rows("vpn_configs").await;
    assert_eq!(
        rows[0],
        "1 | 1 | vless | user1 | t | 1001 | - | 2025-09-10 12:30:00"
    );
    assert_eq!(
        rows[199],
        "200 | 200 | vless | user200 | t | 1200 | - | 2025-09-10 12:30:00"
    );
    assert_eq!(rows[200], "201 | 201 | vless | user201 | t | 0 | - | -");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_pays_while_the_row_of_a_vanished_user_is_written_keeps_name_and_access() {
    let Some(bot) = bot_with_one_ended().await else {
        return;
    };
    bot.panel.remove_user("ended");
    // Another user whom the panel knows, or it would not be believed that this one is gone.
    bot.add(2, "known", "active", "2025-09-30 00:00:00", true).await;
    bot.panel
        .insert_user(FakeUser::new("known").expire(epoch("2025-09-30 00:00:00")));
    let payment = Arc::new(bot.database.connect().await);
    let of_hook = Arc::clone(&payment);
    bot.panel.on_request(move |_, request| {
        let payment = Arc::clone(&of_hook);
        async move {
            if request.path == "/api/user/ended" {
                let sql = "BEGIN; UPDATE vpn_configs SET is_active = true WHERE id = 1";
                payment.batch_execute(sql).await.unwrap();
            }
        }
    });
    bot.has_synced().await;
    // A row that a payment holds is not waited for.
    let report = cleanup_expired_marzban_users(&bot.context().await).await.unwrap();
    // The payment makes the panel user anew, under the same name, and ends.
    bot.panel
        .insert_user(FakeUser::new("ended").expire(epoch("2025-12-01 00:00:00")));
    let paid = "UPDATE subscriptions SET status = 'active', end_date = '2025-12-01' WHERE id = 1; COMMIT";
    payment.batch_execute(paid).await.unwrap();

    assert_eq!((report.cleaned, report.errors, report.total), (0, 1, 1));
    assert_eq!(conflicts(&report.run.problems), ["ended"]);
    assert_eq!(
        bot.rows("vpn_configs").await[0],
        "1 | 1 | vless | ended | t | 0 | - | -"
    );
}
