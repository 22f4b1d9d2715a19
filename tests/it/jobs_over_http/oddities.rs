//! What a bot's own tables and names may hold that nobody thought of.

use marzban_api::testing::{FakeStatus, FakeUser};
use marzban_sync_core::report::{Problem, ProblemReason};
use marzban_sync_core::{
    cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use crate::bot::{Bot, epoch};

fn reasons(problems: &[Problem]) -> Vec<(&str, ProblemReason)> {
    problems
        .iter()
        .map(|problem| (problem.name.as_str(), problem.reason))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_database_refuses_stops_no_other() {
    let Some(bot) = Bot::new().await else { return };
    bot.sql(
        "ALTER TABLE subscriptions ADD CHECK (end_date < '2025-11-01');
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN IF NEW.marzban_user_id = 'guarded' THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER guard BEFORE UPDATE ON vpn_configs FOR EACH ROW EXECUTE FUNCTION refuse();",
    )
    .await;
    for (id, name) in [(1, "later"), (2, "over"), (3, "guarded"), (4, "works")] {
        bot.add(id, name, "active", "2025-09-09 00:00:00", true).await;
    }
    let expired = |name: &str, expire: i64| FakeUser::new(name).status(FakeStatus::Expired).expire(expire);
    bot.panel
        .insert_user(FakeUser::new("later").expire(epoch("2025-12-01 00:00:00")));
    bot.panel
        .insert_user(expired("over", epoch("2025-09-09 00:00:00")));
    bot.panel
        .insert_user(expired("guarded", epoch("2025-09-09 00:00:00")).used_traffic(5));
    bot.panel.insert_user(
        FakeUser::new("works")
            .expire(epoch("2025-10-09 00:00:00"))
            .used_traffic(6),
    );

    let report = sync_subscriptions_from_marzban(&bot.context().await)
        .await
        .unwrap();

    assert_eq!((report.synced, report.errors, report.total), (2, 2, 4));
    assert_eq!(report.run.stopped, None);
    let refused = [
        ("later", ProblemReason::Rejected),
        ("guarded", ProblemReason::Rejected),
    ];
    assert_eq!(reasons(&report.run.problems), refused);
    let rows = bot.rows("subscriptions").await;
    let has = |row: usize, words: &str| assert!(rows[row].contains(words), "{words}: {}", rows[row]);
    has(0, "active | ");
    has(1, "expired | ");
    has(2, "active | ");
    has(3, "2025-10-09 00:00:00");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_make_another_path_are_unreadable_and_stop_no_other() {
    let Some(bot) = Bot::new().await else { return };
    let hostile = ["a/1", "a/2", "a/3", "..", "../admins?x="];
    bot.add_in_line(80).await;
    bot.panel.remove_user("user2");
    for (id, name) in (101..).zip(hostile) {
        bot.add(id, name, "active", "2025-09-30 00:00:00", true).await;
    }

    let report = sync_user_status_from_marzban(&bot.context().await).await.unwrap();

    assert_eq!((report.missing, report.errors, report.run.stopped), (1, 5, None));
    assert!(
        report
            .run
            .problems
            .iter()
            .all(|problem| problem.reason == ProblemReason::Unreadable)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn updated_at_with_a_time_zone_holds_the_moment_of_the_run() {
    let Some(bot) = Bot::new().await else { return };
    bot.add(1, "alice", "active", "2025-09-30 00:00:00", true).await;
    bot.panel.insert_user(
        FakeUser::new("alice")
            .expire(epoch("2025-10-30 00:00:00"))
            .used_traffic(7),
    );
    bot.add(2, "gone", "expired", "2025-08-01 00:00:00", true).await;
    bot.sql(
        "ALTER TABLE subscriptions ALTER updated_at TYPE timestamptz, DROP start_date;
         ALTER TABLE vpn_configs ALTER updated_at TYPE timestamptz;",
    )
    .await;
    let context = bot.context().await;
    sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!(cleanup_expired_marzban_users(&context).await.unwrap().cleaned, 1);
    for sql in [
        "SELECT updated_at AT TIME ZONE 'UTC' FROM subscriptions WHERE id = 1",
        "SELECT updated_at AT TIME ZONE 'UTC' FROM vpn_configs WHERE id = 1",
        "SELECT updated_at AT TIME ZONE 'UTC' FROM vpn_configs WHERE id = 2",
    ] {
        let updated_at: chrono::NaiveDateTime = bot.client.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(updated_at.and_utc(), crate::bot::now(), "{sql}");
    }
}
