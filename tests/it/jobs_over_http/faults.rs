//! What goes wrong between a bot and its panel: afterwards every row is right, or as it was, and the report says which.

use marzban_api::testing::{FakeStatus, FakeUser, Fault, FaultRule};
use marzban_sync_core::outcome::{Outcome, Stopped};
use marzban_sync_core::report::{Problem, ProblemReason};
use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::bot::{Bot, assert_same, epoch};

const LIST: &str = "/api/users";
const LOGIN: &str = "/api/admin/token";

/// Eight customers, all of whom the panel changes: four get more time, two have used up their data, and the time of
/// two is over, as the bot itself had it.
async fn bot_of_eight() -> Option<Bot> {
    let bot = Bot::new().await?;
    for id in 1..=8 {
        let name = format!("user{id}");
        let end = if id > 6 {
            "2025-09-09 00:00:00"
        } else {
            "2025-09-30 00:00:00"
        };
        bot.add(id, &name, "active", end, true).await;
        let user = FakeUser::new(name).used_traffic(100 * id).owner(Some("seller"));
        bot.panel.insert_user(match id {
            1..=4 => user.expire(epoch("2025-10-31 00:00:00")),
            5..=6 => user
                .expire(epoch("2025-09-30 00:00:00"))
                .status(FakeStatus::Limited),
            _ => user
                .expire(epoch("2025-09-09 00:00:00"))
                .status(FakeStatus::Expired),
        });
    }
    Some(bot)
}

/// The rows of [`bot_of_eight`] when all is in line.
fn right() -> Vec<String> {
    let user = |id| format!("{id} | {} | fa | 2025-01-01 00:00:00", 10_000 + id);
    let subscription = |id| {
        let rest = match id {
            1..=4 => "active | 2025-08-10 00:00:00 | 2025-10-31 00:00:00 | 2025-09-10 12:00:00",
            5..=6 => "active | 2025-08-10 00:00:00 | 2025-09-30 00:00:00 | -",
            _ => "expired | 2025-08-10 00:00:00 | 2025-09-09 00:00:00 | 2025-09-10 12:00:00",
        };
        format!("{id} | {id} | 3 | 4.99 | {rest}")
    };
    let config = |id: i64| {
        let is_active = if id > 4 { "f" } else { "t" };
        format!("{id} | {id} | vless | user{id} | {is_active} | {id}00 | - | 2025-09-10 12:00:00")
    };
    (1..=8)
        .map(user)
        .chain((1..=8).map(subscription))
        .chain((1..=8).map(config))
        .collect()
}

fn names(problems: &[Problem], reason: ProblemReason) -> Vec<&str> {
    problems
        .iter()
        .filter(|problem| problem.reason == reason)
        .map(|problem| problem.name.as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_leaves_every_row_right() {
    for rule in [
        FaultRule::from(Fault::HtmlBody(502)),
        Fault::Status(503).times(2),
        Fault::Status(500).once(),
        Fault::TooManyRequests { retry_after: 0 }.once(),
        Fault::Unauthorized.once(),
        Fault::TruncatedBody.once(),
        Fault::DropConnection.times(2),
        Fault::DropAfterCommit.once(),
        Fault::Status(503).once().path(LOGIN),
        Fault::DropConnection.once().path(LOGIN),
    ] {
        let Some(bot) = bot_of_eight().await else { return };
        bot.panel.inject(rule.clone());
        let report = sync_subscriptions_from_marzban(&bot.context().await)
            .await
            .unwrap();
        assert_eq!(
            (report.synced, report.errors, report.total),
            (8, 0, 8),
            "{rule:?}"
        );
        assert_eq!(report.run.stopped, None, "{rule:?}");
        assert_same(&bot.all_rows().await, &right());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_the_panels_changes_nothing() {
    for rule in [
        Fault::HtmlBody(200).once(),
        Fault::HtmlBody(502).always(),
        Fault::NotFoundHtml.once(),
        Fault::Status(500).always(),
        Fault::Status(404).once(),
        Fault::Status(403).once(),
        Fault::TruncatedBody.always(),
        Fault::DropConnection.always(),
        Fault::Unauthorized.always(),
        Fault::HtmlBody(200).once().path(LOGIN),
        Fault::Unauthorized.once().path(LOGIN),
    ] {
        let Some(bot) = bot_of_eight().await else { return };
        let (rows, places) = (bot.all_rows().await, bot.places().await);
        bot.panel.inject(rule.clone());
        let context = bot.context().await;
        let error = sync_subscriptions_from_marzban(&context)
            .await
            .expect_err(&format!("{rule:?}"));
        assert_eq!(error.outcome(), Outcome::Panel, "{rule:?}");
        let report = error
            .report()
            .and_then(|report| report.run())
            .expect("a report of what was done");
        assert_eq!(report.stopped, Some(Stopped::Failed), "{rule:?}");
        assert_same(&bot.all_rows().await, &rows);
        assert_same(&bot.places().await, &places);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_returns_nobody_changes_nothing_and_stops_the_run() {
    let Some(bot) = bot_of_eight().await else { return };
    let places = bot.places().await;
    bot.panel.inject(Fault::EmptyList.always());
    let context = bot.context().await;

    let report = sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!((report.synced, report.errors, report.total), (0, 8, 8));
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(names(&report.run.problems, ProblemReason::Missing).len(), 8);

    let report = sync_user_status_from_marzban(&context).await.unwrap();
    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (0, 0, 8, 8)
    );
    assert_eq!(
        (report.run.stopped, report.run.withheld),
        (Some(Stopped::Safety), 8)
    );
    assert_same(&bot.places().await, &places);
    assert!(
        bot.panel
            .requests()
            .iter()
            .all(|request| !request.path.starts_with("/api/user/"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_list_that_was_cut_the_users_in_it_are_right_and_the_others_as_they_were() {
    let Some(bot) = bot_of_eight().await else { return };
    let before = bot.all_rows().await;
    bot.panel.inject(Fault::HalfList.once().path(LIST));
    bot.panel.inject(Fault::Status(403).always().path("/api/user/"));
    let report = sync_subscriptions_from_marzban(&bot.context().await)
        .await
        .unwrap();
    assert_eq!((report.synced, report.errors, report.total), (4, 4, 8));
    assert_eq!(
        names(&report.run.problems, ProblemReason::NotPermitted),
        ["user5", "user6", "user7", "user8"]
    );
    let expected: Vec<String> = before
        .iter()
        .zip(right())
        .enumerate()
        .map(|(position, (before, right))| if position % 8 < 4 { right } else { before.clone() })
        .collect();
    assert_same(&bot.all_rows().await, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_job_asks_for_each_user_that_a_cut_list_lacks() {
    let Some(bot) = bot_of_eight().await else { return };
    bot.panel.inject(Fault::HalfList.once().path(LIST));
    let report = sync_user_status_from_marzban(&bot.context().await).await.unwrap();
    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (8, 0, 0, 8)
    );
    assert_eq!(report.run.stopped, None);
    assert_same(&bot.rows("vpn_configs").await, &right()[16..]);
    let asked = |id: i64| bot.panel.count("GET", &format!("/api/user/user{id}"));
    assert_eq!((1..=8).map(asked).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_missing_only_when_the_panel_says_so_in_its_own_words() {
    for (rule, reason) in [
        (Fault::NotFoundHtml.always(), ProblemReason::Unavailable),
        (Fault::HtmlBody(200).always(), ProblemReason::Unavailable),
        (Fault::HtmlBody(502).always(), ProblemReason::Unavailable),
        (Fault::DropConnection.always(), ProblemReason::Unavailable),
        (Fault::Status(403).always(), ProblemReason::NotPermitted),
        (Fault::Status(500).always(), ProblemReason::Unreadable),
    ] {
        let Some(bot) = bot_of_eight().await else { return };
        bot.panel.remove_user("user1");
        let untouched = bot.rows("vpn_configs").await.remove(0);
        bot.panel.inject(rule.clone().path("/api/user/"));
        let report = sync_user_status_from_marzban(&bot.context().await).await.unwrap();
        let figures = (report.updated, report.missing, report.errors, report.total);
        assert_eq!(figures, (7, 0, 1, 8), "{rule:?}");
        assert_eq!(names(&report.run.problems, reason), ["user1"], "{rule:?}");
        assert_eq!(bot.rows("vpn_configs").await[0], untouched, "{rule:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_an_answer_does_not_keep_the_others_from_being_right() {
    let Some(bot) = Bot::new().await else { return };
    bot.add_in_line(250).await;
    let before = bot.rows("vpn_configs").await;
    bot.panel.inject(Fault::HtmlBody(200).once().user("user150"));
    let report = sync_subscriptions_from_marzban(&bot.context().await)
        .await
        .unwrap();
    assert_eq!((report.synced, report.errors, report.total), (150, 100, 250));
    let unanswered: Vec<String> = (101..=200).map(|id| format!("user{id}")).collect();
    assert_eq!(
        names(&report.run.problems, ProblemReason::Unavailable),
        unanswered
    );
    let expected: Vec<String> = (1..=250)
        .zip(before)
        .map(|(id, before)| match id {
            101..=200 => before,
            _ => format!(
                "{id} | {id} | vless | user{id} | t | {} | - | 2025-09-10 12:00:00",
                1_000 + id
            ),
        })
        .collect();
    assert_same(&bot.rows("vpn_configs").await, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_are_gone_are_withheld_and_everything_else_is_written() {
    let Some(bot) = Bot::new().await else { return };
    bot.add_in_line(40).await;
    for id in 1..=5 {
        bot.panel.remove_user(&format!("user{id}"));
    }
    let report = sync_user_status_from_marzban(&bot.context().await).await.unwrap();
    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (35, 5, 5, 40)
    );
    assert_eq!(
        (report.run.stopped, report.run.withheld),
        (Some(Stopped::Safety), 5)
    );
    assert_eq!(names(&report.run.problems, ProblemReason::Withheld).len(), 5);
    let rows = bot.rows("vpn_configs").await;
    assert_eq!(rows[4], "5 | 5 | vless | user5 | t | 0 | - | -");
    assert_eq!(
        rows[5],
        "6 | 6 | vless | user6 | t | 1006 | - | 2025-09-10 12:00:00"
    );

    // One fewer is within 10 % of the accounts.
    bot.panel
        .insert_user(FakeUser::new("user5").expire(epoch("2025-09-30 00:00:00")));
    let report = sync_user_status_from_marzban(&bot.context().await).await.unwrap();
    assert_eq!(
        (report.updated, report.missing, report.errors, report.run.stopped),
        (4, 4, 0, None)
    );
    assert_eq!(
        bot.rows("vpn_configs").await[0],
        "1 | 1 | vless | user1 | f | 0 | - | 2025-09-10 12:00:00"
    );
}
