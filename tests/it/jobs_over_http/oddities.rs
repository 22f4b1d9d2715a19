//! What a bot's own tables and names may hold that nobody thought of.

use chrono::TimeDelta;
use marzban_api::testing::{FakePanel, FakeStatus, FakeUser, Fault};
use marzban_sync_core::policy::{PanelBehind, Policy};
use marzban_sync_core::report::{KeptBecause, Problem, ProblemReason};
use marzban_sync_core::{
    cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use crate::bot::{Bot, at, epoch, now};

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

/// A bot whose panel's database ignores case and spells the user `anna`.
async fn bot_of_anna(user: FakeUser) -> Option<Bot> {
    let panel = FakePanel::builder().now(now()).ignore_case();
    let bot = Bot {
        panel: panel.start().await.unwrap(),
        ..Bot::new().await?
    };
    bot.panel.insert_user(user);
    Some(bot)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_name_differs_only_in_case_is_synced_and_reported() {
    let end = "2025-10-31 00:00:00";
    let anna = FakeUser::new("anna").used_traffic(70).expire(epoch(end));
    let Some(bot) = bot_of_anna(anna).await else {
        return;
    };
    bot.add(1, "Anna", "active", "2025-09-30 00:00:00", true).await;

    for row in ["2025-10-31 00:00:00 70", "2025-10-31 00:00:00 70"] {
        let report = sync_subscriptions_from_marzban(&bot.context().await)
            .await
            .unwrap();
        assert_eq!(
            reasons(&report.run.problems),
            [("Anna", ProblemReason::OtherSpelling)]
        );
        let detail = report.run.problems[0].detail.clone();
        assert_eq!(
            detail.as_deref(),
            Some("the panel spells it \"anna\": write it so in the bot's row")
        );
        let sql = "SELECT end_date || ' ' || traffic_used FROM subscriptions, vpn_configs";
        assert_eq!(bot.text(sql).await, row);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_shares_a_user_with_a_row_in_another_case_loses_nothing_by_it() {
    let anna = FakeUser::new("anna").expire(epoch("2025-10-31 00:00:00"));
    let Some(bot) = bot_of_anna(anna).await else {
        return;
    };
    bot.add(1, "Anna", "active", "2025-10-31 00:00:00", true).await;
    bot.add(2, "anna", "active", "2025-10-31 00:00:00", true).await;
    sync_subscriptions_from_marzban(&bot.context().await)
        .await
        .unwrap();
    bot.panel
        .update_user("anna", |user| user.expire = Some(epoch("2025-09-20 00:00:00")));

    let report = sync_subscriptions_from_marzban(&bot.context().await)
        .await
        .unwrap();

    assert_eq!(
        reasons(&report.run.problems),
        [("Anna", ProblemReason::SharedUser)]
    );
    let ends = "SELECT string_agg(end_date::text, ', ' ORDER BY id) FROM subscriptions";
    assert_eq!(bot.text(ends).await, "2025-10-31 00:00:00, 2025-09-20 00:00:00");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_that_the_panel_cannot_change_keep_no_other_from_being_extended() {
    let Some(bot) = Bot::new().await else { return };
    bot.add_in_line(60).await;
    sync_subscriptions_from_marzban(&bot.context().await)
        .await
        .unwrap();
    bot.sql("UPDATE subscriptions SET end_date = '2025-10-30' WHERE id <= 5")
        .await;
    for id in 2..=5 {
        let fault = Fault::Status(500).always().method("PUT");
        bot.panel.inject(fault.user(&format!("user{id}")));
    }
    let mut extend = Policy::default();
    (extend.panel_behind, extend.extend_after) = (PanelBehind::Extend, TimeDelta::zero());
    let context = bot.context_as("admin", "admin").await.policy(extend).build();

    let report = sync_subscriptions_from_marzban(&context).await.unwrap();

    assert_eq!(report.run.extended_in_panel, 1);
    let expire = bot.panel.user("user1").and_then(|user| user.expire);
    assert_eq!(expire, Some(epoch("2025-10-30 00:00:00")));
    assert_eq!(report.run.reasons[&ProblemReason::PanelBehind], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_deleted_whose_panel_user_another_row_names_in_another_case() {
    let over = "2025-08-01 00:00:00";
    let anna = FakeUser::new("anna")
        .created_at(at("2025-01-01 00:00:00"))
        .expire(epoch(over))
        .status(FakeStatus::Expired);
    let Some(bot) = bot_of_anna(anna).await else {
        return;
    };
    // Paid in the bot alone: the panel user is all that this customer has.
    bot.add(1, "Anna", "active", "2025-10-31 00:00:00", true).await;
    bot.add(2, "anna", "expired", over, false).await;
    bot.has_synced().await;

    let report = cleanup_expired_marzban_users(&bot.context().await).await.unwrap();

    assert_eq!((report.cleaned, report.skipped), (0, 1));
    assert_eq!(report.skipped_because[&KeptBecause::OtherSpelling], 1);
    assert!(bot.panel.user("anna").is_some());

    // A panel that tells the two names apart has two users.
    let apart = Bot {
        panel: FakePanel::start().await,
        ..bot
    };
    apart.panel.set_now(now());
    for name in ["anna", "Anna"] {
        let user = FakeUser::new(name).created_at(at("2025-01-01 00:00:00"));
        let user = user.expire(epoch(over)).status(FakeStatus::Expired);
        apart.panel.insert_user(user);
    }
    let report = cleanup_expired_marzban_users(&apart.context().await)
        .await
        .unwrap();
    assert_eq!((report.cleaned, report.skipped), (1, 0));
    assert!(apart.panel.user("anna").is_none() && apart.panel.user("Anna").is_some());
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
        assert_eq!(updated_at.and_utc(), now(), "{sql}");
    }
}
