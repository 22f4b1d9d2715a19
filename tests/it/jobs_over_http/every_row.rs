//! Every row of the bot's tables after each job, for customers of every kind.

use chrono::TimeDelta;
use marzban_api::testing::{FakeStatus, FakeUser};
use marzban_sync_core::report::ProblemReason;
use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::bot::{Bot, assert_same, at, epoch, now};

/// id | user | plan | price | status | start | end | updated
const SUBSCRIPTIONS: &str = "
     1 |  1 | 3 | 4.99 | expired   | 2024-12-01 00:00:00 | 2024-12-31 00:00:00 | 2025-01-02 03:04:05
     2 |  1 | 3 | 4.99 | active    | 2025-08-12 00:00:00 | 2025-09-12 00:00:00 | 2025-01-02 03:04:05
     3 |  2 | 3 | 4.99 | active    | 2025-09-01 00:00:00 | 2025-10-01 00:00:00 | 2025-01-02 03:04:05
     4 |  3 | 3 | 4.99 | active    | 2025-09-01 00:00:00 | 2025-10-01 00:00:00 | 2025-01-02 03:04:05
     5 |  4 | 3 | 4.99 | active    | 2025-09-01 00:00:00 | 2025-10-01 00:00:00 | 2025-01-02 03:04:05
     6 |  5 | 3 | 4.99 | active    | 2025-09-10 00:00:00 | 2025-10-10 00:00:00 | 2025-01-02 03:04:05
     7 |  6 | 3 | 4.99 | active    | 2025-08-09 00:00:00 | 2025-09-09 00:00:00 | 2025-01-02 03:04:05
     8 |  7 | 3 | 4.99 | active    | 2025-08-20 00:00:00 | 2025-09-20 00:00:00 | 2025-01-02 03:04:05
     9 |  8 | 1 | 0.00 | trial     | 2025-09-08 00:00:00 | 2025-09-11 00:00:00 | 2025-01-02 03:04:05
    10 |  9 | 1 | 0.00 | trial     | 2025-09-07 11:00:00 | 2025-09-10 11:00:00 | 2025-01-02 03:04:05
    11 | 10 | 3 | 4.99 | cancelled | 2025-07-01 00:00:00 | 2025-08-01 00:00:00 | 2025-01-02 03:04:05
    12 | 11 | 3 | 4.99 | pending   | -                   | -                   | -
    13 | 12 | 3 | 4.99 | expired   | 2025-08-01 00:00:00 | 2025-09-01 00:00:00 | 2025-01-02 03:04:05
    14 | 13 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
    15 | 14 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
    16 | 15 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
    17 | 16 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
    18 | 17 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
    19 | 18 | 3 | 4.99 | active    | 2025-08-20 00:00:00 | 2025-09-20 00:00:00 | 2025-01-02 03:04:05
    20 | 19 | 9 | 9.99 | active    | 2025-09-01 00:00:00 | 2025-12-01 00:00:00 | 2025-01-02 03:04:05
    21 | 20 | 9 | 9.99 | active    | 2025-09-01 00:00:00 | -                   | -
    22 | 23 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
";

/// The same after the subscriptions were synced; the status job changes none of them.
const SUBSCRIPTIONS_SYNCED: &str = "
     1 |  1 | 3 | 4.99 | expired   | 2024-12-01 00:00:00 | 2024-12-31 00:00:00 | 2025-01-02 03:04:05
     2 |  1 | 3 | 4.99 | active    | 2025-08-12 00:00:00 | 2025-09-15 00:00:00 | 2025-09-10 12:00:00
     3 |  2 | 3 | 4.99 | active    | 2025-09-01 00:00:00 | 2025-10-01 00:00:00 | 2025-01-02 03:04:05
     4 |  3 | 3 | 4.99 | active    | 2025-09-01 00:00:00 | 2025-10-01 00:00:00 | 2025-01-02 03:04:05
     5 |  4 | 3 | 4.99 | active    | 2025-09-01 00:00:00 | 2025-10-01 00:00:00 | 2025-01-02 03:04:05
     6 |  5 | 3 | 4.99 | active    | 2025-09-10 00:00:00 | 2025-10-10 00:00:00 | 2025-01-02 03:04:05
     7 |  6 | 3 | 4.99 | expired   | 2025-08-09 00:00:00 | 2025-09-09 00:00:00 | 2025-09-10 12:00:00
     8 |  7 | 3 | 4.99 | active    | 2025-08-20 00:00:00 | 2025-09-20 00:00:00 | 2025-01-02 03:04:05
     9 |  8 | 1 | 0.00 | trial     | 2025-09-08 00:00:00 | 2025-09-25 00:00:00 | 2025-09-10 12:00:00
    10 |  9 | 1 | 0.00 | trial     | 2025-09-07 11:00:00 | 2025-09-10 11:00:00 | 2025-01-02 03:04:05
    11 | 10 | 3 | 4.99 | cancelled | 2025-07-01 00:00:00 | 2025-08-01 00:00:00 | 2025-01-02 03:04:05
    12 | 11 | 3 | 4.99 | pending   | -                   | -                   | -
    13 | 12 | 3 | 4.99 | active    | 2025-08-01 00:00:00 | 2025-10-01 00:00:00 | 2025-09-10 12:00:00
    14 | 13 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
    15 | 14 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
    16 | 15 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
    17 | 16 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
    18 | 17 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
    19 | 18 | 3 | 4.99 | active    | 2025-08-20 00:00:00 | 2025-10-20 00:00:00 | 2025-09-10 12:00:00
    20 | 19 | 9 | 9.99 | active    | 2025-09-01 00:00:00 | 2025-12-01 00:00:00 | 2025-01-02 03:04:05
    21 | 20 | 9 | 9.99 | active    | 2025-09-01 00:00:00 | -                   | -
    22 | 23 | 3 | 4.99 | active    | 2025-08-30 00:00:00 | 2025-09-30 00:00:00 | 2025-01-02 03:04:05
";

/// id | user | protocol | name | active | traffic | last connected | updated
const VPN_CONFIGS: &str = "
     1 |  1 | vless  | anna    | t | 500  | -                      | 2025-01-02 03:04:05
     2 |  2 | vless  | boris   | f | 0    | -                      | 2025-01-02 03:04:05
     3 |  3 | vless  | clara   | t | 9000 | 2025-09-01 00:00:00    | 2025-01-02 03:04:05
     4 |  4 | vless  | dmitry  | t | 100  | -                      | 2025-01-02 03:04:05
     5 |  5 | vmess  | elena   | t | 100  | -                      | 2025-01-02 03:04:05
     6 |  6 | vless  | farid   | t | 600  | -                      | 2025-01-02 03:04:05
     7 |  7 | vless  | galina  | t | 700  | 2025-09-07 00:00:00    | 2025-01-02 03:04:05
     8 |  8 | vless  | hassan  | t | 800  | -                      | 2025-01-02 03:04:05
     9 |  9 | vless  | irina   | t | 900  | -                      | 2025-01-02 03:04:05
    10 | 10 | vless  | jamal   | f | 0    | -                      | 2025-01-02 03:04:05
    11 | 11 | vless  | karina  | - | -    | -                      | -
    12 | 12 | vless  | leonid  | f | 120  | -                      | 2025-01-02 03:04:05
    13 | 13 | vless  | maria   | t | 5000 | -                      | 2025-01-02 03:04:05
    14 | 14 | vless  | nikita  | t | 140  | -                      | 2025-01-02 03:04:05
    15 | 15 | vless  | olga    | t | 150  | -                      | 2025-01-02 03:04:05
    16 | 16 | vless  | pavel   | t | 160  | 2025-09-09 09:09:09.25 | 2025-01-02 03:04:05
    17 | 17 | vless  | rosa    | t | 170  | 2025-09-10 10:00:00    | 2025-01-02 03:04:05
    18 | 18 | vless  | sergey  | t | 180  | 2025-09-01 00:00:00    | 2025-01-02 03:04:05
    19 | 19 | vless  | tamara  | t | 190  | -                      | 2025-01-02 03:04:05
    20 | 20 | vless  | ulyana  | t | -    | -                      | -
    21 | 21 | vless  | viktor  | t | 210  | -                      | 2025-01-02 03:04:05
    22 | 22 | vless  | -       | f | 0    | -                      | 2025-01-02 03:04:05
    23 | 23 | vless  | Xenia   | t | 230  | -                      | 2025-01-02 03:04:05
    24 | 18 | trojan | sergey2 | t | 240  | -                      | 2025-01-02 03:04:05
";

/// The same after the subscriptions were synced.
const VPN_CONFIGS_SYNCED: &str = "
     1 |  1 | vless  | anna    | t | 1000 | 2025-09-10 11:59:58.25 | 2025-09-10 12:00:00
     2 |  2 | vless  | boris   | t | 0    | -                      | 2025-09-10 12:00:00
     3 |  3 | vless  | clara   | f | 9999 | 2025-09-02 00:00:00    | 2025-09-10 12:00:00
     4 |  4 | vless  | dmitry  | f | 100  | -                      | 2025-09-10 12:00:00
     5 |  5 | vmess  | elena   | t | 100  | 2025-09-10 11:00:00    | 2025-09-10 12:00:00
     6 |  6 | vless  | farid   | f | 600  | -                      | 2025-09-10 12:00:00
     7 |  7 | vless  | galina  | t | 700  | 2025-09-07 00:00:00    | 2025-01-02 03:04:05
     8 |  8 | vless  | hassan  | t | 800  | -                      | 2025-01-02 03:04:05
     9 |  9 | vless  | irina   | t | 900  | -                      | 2025-01-02 03:04:05
    10 | 10 | vless  | jamal   | f | 0    | -                      | 2025-01-02 03:04:05
    11 | 11 | vless  | karina  | - | -    | -                      | -
    12 | 12 | vless  | leonid  | t | 120  | -                      | 2025-09-10 12:00:00
    13 | 13 | vless  | maria   | t | 0    | -                      | 2025-09-10 12:00:00
    14 | 14 | vless  | nikita  | t | 140  | -                      | 2025-01-02 03:04:05
    15 | 15 | vless  | olga    | t | 150  | -                      | 2025-01-02 03:04:05
    16 | 16 | vless  | pavel   | t | 160  | 2025-09-09 09:09:09.25 | 2025-01-02 03:04:05
    17 | 17 | vless  | rosa    | t | 170  | 2025-09-10 10:00:00    | 2025-01-02 03:04:05
    18 | 18 | vless  | sergey  | t | 180  | 2025-09-01 00:00:00    | 2025-01-02 03:04:05
    19 | 19 | vless  | tamara  | t | 190  | -                      | 2025-01-02 03:04:05
    20 | 20 | vless  | ulyana  | t | 200  | -                      | 2025-09-10 12:00:00
    21 | 21 | vless  | viktor  | t | 210  | -                      | 2025-01-02 03:04:05
    22 | 22 | vless  | -       | f | 0    | -                      | 2025-01-02 03:04:05
    23 | 23 | vless  | Xenia   | t | 235  | -                      | 2025-09-10 12:00:00
    24 | 18 | trojan | sergey2 | f | 240  | -                      | 2025-09-10 12:00:00
";

/// The same after the status job too, half an hour later: whoever is gone, and those without a synced subscription.
const VPN_CONFIGS_CHECKED: &str = "
     1 |  1 | vless  | anna    | t | 1000 | 2025-09-10 11:59:58.25 | 2025-09-10 12:00:00
     2 |  2 | vless  | boris   | t | 0    | -                      | 2025-09-10 12:00:00
     3 |  3 | vless  | clara   | f | 9999 | 2025-09-02 00:00:00    | 2025-09-10 12:00:00
     4 |  4 | vless  | dmitry  | f | 100  | -                      | 2025-09-10 12:00:00
     5 |  5 | vmess  | elena   | t | 100  | 2025-09-10 11:00:00    | 2025-09-10 12:00:00
     6 |  6 | vless  | farid   | f | 600  | -                      | 2025-09-10 12:00:00
     7 |  7 | vless  | galina  | f | 700  | 2025-09-07 00:00:00    | 2025-09-10 12:30:00
     8 |  8 | vless  | hassan  | t | 800  | -                      | 2025-01-02 03:04:05
     9 |  9 | vless  | irina   | t | 900  | -                      | 2025-01-02 03:04:05
    10 | 10 | vless  | jamal   | t | 50   | -                      | 2025-09-10 12:30:00
    11 | 11 | vless  | karina  | t | 0    | -                      | 2025-09-10 12:30:00
    12 | 12 | vless  | leonid  | t | 120  | -                      | 2025-09-10 12:00:00
    13 | 13 | vless  | maria   | t | 0    | -                      | 2025-09-10 12:00:00
    14 | 14 | vless  | nikita  | t | 140  | -                      | 2025-01-02 03:04:05
    15 | 15 | vless  | olga    | t | 150  | -                      | 2025-01-02 03:04:05
    16 | 16 | vless  | pavel   | t | 160  | 2025-09-09 09:09:09.25 | 2025-01-02 03:04:05
    17 | 17 | vless  | rosa    | t | 170  | 2025-09-10 10:00:00    | 2025-01-02 03:04:05
    18 | 18 | vless  | sergey  | t | 180  | 2025-09-01 00:00:00    | 2025-01-02 03:04:05
    19 | 19 | vless  | tamara  | t | 190  | -                      | 2025-01-02 03:04:05
    20 | 20 | vless  | ulyana  | t | 200  | -                      | 2025-09-10 12:00:00
    21 | 21 | vless  | viktor  | f | 210  | -                      | 2025-09-10 12:30:00
    22 | 22 | vless  | -       | f | 0    | -                      | 2025-01-02 03:04:05
    23 | 23 | vless  | Xenia   | t | 235  | -                      | 2025-09-10 12:00:00
    24 | 18 | trojan | sergey2 | f | 240  | -                      | 2025-09-10 12:00:00
";

fn users() -> String {
    let user = |id: i64| match id {
        20 => format!("{id} | - | fa | 2025-01-01 00:00:00"),
        _ => format!("{id} | {} | fa | 2025-01-01 00:00:00", 10_000 + id),
    };
    (1..=23).map(user).collect::<Vec<_>>().join("\n")
}

/// `galina` is not there any more; `stranger` is nobody of the bot's.
fn panel_users() -> Vec<FakeUser> {
    let owned = |name: &str| {
        FakeUser::new(name)
            .owner(Some("seller"))
            .created_at(at("2025-01-01 00:00:00"))
    };
    let user =
        |name: &str, expire: &str, traffic: i64| owned(name).expire(epoch(expire)).used_traffic(traffic);
    vec![
        owned("anna")
            .expire(1_757_894_400)
            .used_traffic(1_000)
            .online_at(at("2025-09-10 11:59:58.25")),
        owned("boris").on_hold(30 * 86_400),
        user("clara", "2025-10-01 00:00:00", 9_999)
            .status(FakeStatus::Limited)
            .online_at(at("2025-09-02 00:00:00")),
        user("dmitry", "2025-10-01 00:00:00", 100).status(FakeStatus::Disabled),
        owned("elena")
            .used_traffic(100)
            .online_at(at("2025-09-10 11:00:00")),
        user("farid", "2025-09-09 00:00:00", 600)
            .status(FakeStatus::Expired)
            .owner(None),
        user("hassan", "2025-09-25 00:00:00", 800),
        // The panel's review has not come to it yet: within a day of its end it counts as working.
        user("irina", "2025-09-10 11:00:00", 900),
        user("jamal", "2025-12-01 00:00:00", 50),
        user("karina", "2025-12-01 00:00:00", 0),
        user("leonid", "2025-10-01 00:00:00", 120),
        user("maria", "2025-09-30 00:00:00", 0),
        user("nikita", "2025-12-30 00:00:00", 9_140).poison(),
        user("olga", "2025-12-30 00:00:00", -1),
        user("pavel", "2025-09-30 00:00:00", 160).online_at(at("2025-09-09 09:09:09.25")),
        user("rosa", "2025-09-30 00:00:00", 170).online_at(at("2025-09-10 09:00:00")),
        user("sergey", "2025-10-20 00:00:00", 180),
        user("sergey2", "2025-09-01 00:00:00", 240).status(FakeStatus::Expired),
        user("tamara", "2025-11-01 00:00:00", 190),
        user("ulyana", "2025-12-01 00:00:00", 200),
        user("viktor", "2025-12-01 00:00:00", 210).status(FakeStatus::Disabled),
        user("xenia", "2026-06-01 00:00:00", 666).status(FakeStatus::Disabled),
        user("Xenia", "2025-09-30 00:00:00", 235),
        user("stranger", "2025-09-30 00:00:00", 1),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_as_the_panel_says_and_a_second_run_writes_nothing() {
    let Some(bot) = Bot::new().await else { return };
    bot.insert("users", &users()).await;
    bot.insert("subscriptions", SUBSCRIPTIONS).await;
    bot.insert("vpn_configs", VPN_CONFIGS).await;
    for user in panel_users() {
        bot.panel.insert_user(user);
    }
    let context = bot.context().await;

    let report = sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!((report.synced, report.errors, report.total), (15, 5, 20));
    assert_eq!(report.run.stopped, None);
    let problems: Vec<_> = report
        .run
        .problems
        .iter()
        .map(|problem| (problem.telegram_id, problem.reason))
        .collect();
    let expected = [
        (None, ProblemReason::EndsDisagree),
        (Some(10_007), ProblemReason::Missing),
        (Some(10_014), ProblemReason::Unreadable),
        (Some(10_015), ProblemReason::Unreadable),
        (Some(10_019), ProblemReason::EndsDisagree),
    ];
    assert_eq!(problems, expected);
    bot.assert_rows("users", &users()).await;
    bot.assert_rows("subscriptions", SUBSCRIPTIONS_SYNCED).await;
    bot.assert_rows("vpn_configs", VPN_CONFIGS_SYNCED).await;

    bot.set_now(now() + TimeDelta::minutes(30));
    let report = sync_user_status_from_marzban(&context).await.unwrap();
    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (4, 1, 2, 23)
    );
    assert_eq!(report.run.stopped, None);
    bot.assert_rows("users", &users()).await;
    bot.assert_rows("subscriptions", SUBSCRIPTIONS_SYNCED).await;
    bot.assert_rows("vpn_configs", VPN_CONFIGS_CHECKED).await;

    let places = bot.places().await;
    bot.set_now(now() + TimeDelta::hours(2));
    let report = sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!((report.synced, report.errors, report.total), (15, 5, 20));
    assert_eq!(report.run.changes.len(), 0, "{:?}", report.run.changes);
    let report = sync_user_status_from_marzban(&context).await.unwrap();
    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (0, 1, 2, 23)
    );
    assert_same(&bot.places().await, &places);

    let asked_for_strangers = |request: &marzban_api::testing::RecordedRequest| {
        request.path == "/api/users" && !request.query.contains("username=")
            || request.query.contains("stranger")
            || request.query.contains("xenia")
    };
    assert!(!bot.panel.requests().iter().any(asked_for_strangers));
}
