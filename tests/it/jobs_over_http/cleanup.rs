//! The cleanup: who is deleted in the panel, who is not, and what every row says afterwards.

use marzban_api::testing::{FakeStatus, FakeUser, Fault};
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::report::ProblemReason;
use marzban_sync_core::{cleanup_expired_marzban_users, sync_subscriptions_from_marzban};

use crate::bot::{Bot, assert_same, at, epoch};

/// id | user | plan | price | status | start | end | updated
const SUBSCRIPTIONS: &str = "
     1 |  1 | 3 | 4.99 | expired   | -                   | 2025-09-03 11:59:59 | -
     2 |  2 | 3 | 4.99 | cancelled | -                   | 2025-08-01 00:00:00 | -
     3 |  3 | 3 | 4.99 | expired   | -                   | 2025-08-01 00:00:00 | -
     4 |  4 | 3 | 4.99 | expired   | -                   | 2025-08-01 00:00:00 | 2025-08-01 01:00:00
     5 |  5 | 3 | 4.99 | expired   | -                   | 2025-09-03 12:00:00 | -
     6 |  6 | 3 | 4.99 | expired   | 2024-08-01 00:00:00 | 2025-08-01 00:00:00 | -
     7 |  6 | 3 | 4.99 | pending   | -                   | -                   | -
     8 |  7 | 3 | 4.99 | active    | -                   | 2025-08-01 00:00:00 | -
     9 |  8 | 3 | 4.99 | expired   | -                   | -                   | -
    10 |  9 | 3 | 4.99 | frozen    | -                   | 2025-08-01 00:00:00 | -
    11 | 10 | 3 | 4.99 | expired   | -                   | 2025-08-01 00:00:00 | -
    12 | 11 | 3 | 4.99 | expired   | -                   | 2025-08-01 00:00:00 | -
    13 | 12 | 3 | 4.99 | expired   | -                   | 2025-08-01 00:00:00 | -
";

/// id | user | protocol | name | active | traffic | last connected | updated
const VPN_CONFIGS: &str = "
     1 |  1 | vless | ended      | f | 10  | - | -
     2 |  2 | vless | ownerless  | t | 20  | - | -
     3 |  3 | vless | gone       | t | 30  | - | -
     4 |  4 | vless | renewed    | f | 40  | - | -
     5 |  5 | vless | lately     | f | 50  | - | -
     6 |  6 | vless | paying     | f | 60  | - | -
     7 |  7 | vless | open       | t | 70  | - | -
     8 |  8 | vless | endless    | t | 80  | - | -
     9 |  9 | vless | frozen     | t | 90  | - | -
    10 | 10 | vless | poisoned   | t | 100 | - | -
    11 | 11 | vless | unlimited  | t | 110 | - | -
    12 | 12 | vless | held       | f | 120 | - | -
    13 | 13 | vless | unpaid     | t | 130 | - | -
";

/// The same after two cleanups: three names are gone, and facts of the others are written.
const VPN_CONFIGS_CLEANED: &str = "
     1 |  1 | vless | -          | f | 10  | - | 2025-09-10 12:00:00
     2 |  2 | vless | -          | f | 20  | - | 2025-09-10 12:00:00
     3 |  3 | vless | -          | f | 30  | - | 2025-09-10 12:00:00
     4 |  4 | vless | renewed    | f | 41  | - | 2025-09-10 12:00:00
     5 |  5 | vless | lately     | f | 50  | - | -
     6 |  6 | vless | paying     | f | 60  | - | -
     7 |  7 | vless | open       | t | 70  | - | -
     8 |  8 | vless | endless    | t | 80  | - | -
     9 |  9 | vless | frozen     | t | 90  | - | -
    10 | 10 | vless | poisoned   | t | 100 | - | -
    11 | 11 | vless | unlimited  | t | 110 | - | -
    12 | 12 | vless | held       | t | 120 | - | 2025-09-10 12:00:00
    13 | 13 | vless | unpaid     | t | 130 | - | -
";

/// Why five are skipped at first.
const SKIPPED: [(&str, u64); 3] = [("pending_invoice", 1), ("in_use", 3), ("withheld", 1)];

/// A user whose time ended long ago, as the panel says it.
fn ended(name: &str, traffic: i64) -> FakeUser {
    let user = FakeUser::new(name)
        .owner(Some("seller"))
        .created_at(at("2025-01-01 00:00:00"))
        .expire(epoch("2025-08-01 00:00:00"));
    user.status(FakeStatus::Expired).used_traffic(traffic)
}

async fn insert_users(bot: &Bot, ids: std::ops::RangeInclusive<i64>) {
    for id in ids {
        bot.insert(
            "users",
            &format!("{id} | {} | fa | 2025-01-01 00:00:00", 10_000 + id),
        )
        .await;
    }
}

fn names(bot: &Bot) -> Vec<String> {
    bot.panel
        .state()
        .users
        .into_iter()
        .map(|user| user.username)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_that_both_sides_say_ended_long_ago_are_deleted() {
    let Some(bot) = Bot::new().await else { return };
    insert_users(&bot, 1..=13).await;
    bot.insert("subscriptions", SUBSCRIPTIONS).await;
    bot.insert("vpn_configs", VPN_CONFIGS).await;
    for user in [
        ended("ended", 10),
        ended("ownerless", 20).owner(None),
        ended("renewed", 41)
            .status(FakeStatus::Active)
            .expire(epoch("2025-10-01 00:00:00")),
        ended("lately", 50),
        ended("paying", 60),
        ended("open", 70),
        ended("endless", 80),
        ended("frozen", 90),
        ended("poisoned", 100).poison(),
        ended("unlimited", 110).status(FakeStatus::Active).expire(None),
        ended("held", 120).on_hold(86_400).expire(None),
        ended("unpaid", 130),
        ended("stranger", 1),
    ] {
        bot.panel.insert_user(user);
    }

    bot.has_synced().await;
    let report = cleanup_expired_marzban_users(&bot.context().await).await.unwrap();
    // Of 13 accounts one cleanup may delete two; the third comes next time.
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (2, 5, 1, 8)
    );
    let because: Vec<_> = report
        .skipped_because
        .iter()
        .map(|(because, count)| (because.as_str(), *count))
        .collect();
    assert_eq!(because, SKIPPED);
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    let problem = &report.run.problems[0];
    assert_eq!(
        (problem.name.as_str(), problem.reason),
        ("poisoned", ProblemReason::Unreadable)
    );

    let report = cleanup_expired_marzban_users(&bot.context().await).await.unwrap();
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (1, 4, 1, 6)
    );
    assert_eq!(report.run.stopped, None);

    let kept = [
        "renewed",
        "lately",
        "paying",
        "open",
        "endless",
        "frozen",
        "poisoned",
        "unlimited",
        "held",
        "unpaid",
        "stranger",
    ];
    assert_eq!(names(&bot), kept);
    bot.assert_rows("vpn_configs", VPN_CONFIGS_CLEANED).await;
    // What the panel gives at first sight waits for a sync that sees everybody.
    bot.assert_rows("subscriptions", SUBSCRIPTIONS).await;

    let deletions = |name: &str| bot.panel.count("DELETE", &format!("/api/user/{name}"));
    assert_eq!(
        ["ended", "ownerless", "gone", "renewed"].map(deletions),
        [1, 1, 0, 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_cleanup_finds_nothing_and_writes_nothing() {
    let Some(bot) = Bot::new().await else { return };
    bot.add(1, "ended", "expired", "2025-08-01 00:00:00", false).await;
    bot.add(2, "renewed", "expired", "2025-08-01 00:00:00", false)
        .await;
    bot.panel.insert_user(ended("ended", 0));
    bot.panel.insert_user(ended("renewed", 0));
    let context = bot.context().await;
    sync_subscriptions_from_marzban(&context).await.unwrap();
    bot.panel.update_user("renewed", |user| {
        user.status = FakeStatus::Active;
        user.expire = Some(epoch("2025-10-01 00:00:00"));
    });
    let first = cleanup_expired_marzban_users(&context).await.unwrap();
    assert_eq!(
        (first.cleaned, first.skipped, first.errors, first.total),
        (1, 1, 0, 2)
    );
    let places = bot.places().await;

    let second = cleanup_expired_marzban_users(&context).await.unwrap();
    assert_eq!(
        (second.cleaned, second.skipped, second.errors, second.total),
        (0, 0, 0, 0)
    );
    assert_same(&bot.places().await, &places);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_did_not_happen_leaves_the_row_as_it_is() {
    let Some(bot) = Bot::new().await else { return };
    for id in 1..=3 {
        bot.add(id, &format!("ended{id}"), "expired", "2025-08-01 00:00:00", false)
            .await;
        bot.panel.insert_user(ended(&format!("ended{id}"), 0));
    }
    // The first is refused by a broken panel, the second dies on the way back, although it was performed.
    bot.panel
        .inject(Fault::Status(500).once().method("DELETE").user("ended1"));
    bot.panel
        .inject(Fault::DropAfterCommit.once().method("DELETE").user("ended2"));

    bot.has_synced().await;
    let report = cleanup_expired_marzban_users(&bot.context().await).await.unwrap();
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (1, 1, 1, 3)
    );
    let problem = &report.run.problems[0];
    assert_eq!(
        (problem.name.as_str(), problem.reason),
        ("ended1", ProblemReason::NotDeleted)
    );
    // Two is the budget of three, and a deletion that failed counts.
    assert_eq!(names(&bot), ["ended1", "ended3"]);
    bot.assert_rows(
        "vpn_configs",
        "
        1 | 1 | vless | ended1 | f | 0 | - | -
        2 | 2 | vless | -      | f | 0 | - | 2025-09-10 12:00:00
        3 | 3 | vless | ended3 | f | 0 | - | -
        ",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_proxy_is_no_proof_that_a_user_is_gone() {
    let Some(bot) = Bot::new().await else { return };
    bot.add(1, "gone", "expired", "2025-08-01 00:00:00", true).await;
    bot.add(2, "ended", "expired", "2025-08-01 00:00:00", true).await;
    bot.panel.insert_user(ended("ended", 0));
    bot.panel
        .inject(Fault::NotFoundHtml.always().path("/api/user/").user("gone"));
    let before = bot.rows("vpn_configs").await;

    bot.has_synced().await;
    let report = cleanup_expired_marzban_users(&bot.context().await).await.unwrap();
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (1, 0, 1, 2)
    );
    let problem = &report.run.problems[0];
    assert_eq!(
        (problem.name.as_str(), problem.reason),
        ("gone", ProblemReason::Unavailable)
    );
    assert_eq!(bot.rows("vpn_configs").await[0], before[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_users_are_deleted_than_the_budget_allows() {
    let Some(bot) = Bot::new().await else { return };
    for id in 1..=12 {
        bot.add(id, &format!("ended{id}"), "expired", "2025-08-01 00:00:00", false)
            .await;
        bot.panel.insert_user(ended(&format!("ended{id}"), 0));
    }
    bot.has_synced().await;
    let report = cleanup_expired_marzban_users(&bot.context().await).await.unwrap();
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (2, 10, 0, 12)
    );
    assert_eq!(
        (report.run.stopped, report.run.withheld),
        (Some(Stopped::Safety), 10)
    );
    assert_eq!(names(&bot).len(), 10);
    let rows = bot.rows("vpn_configs").await;
    assert_eq!(rows[1], "2 | 2 | vless | - | f | 0 | - | 2025-09-10 12:00:00");
    assert_eq!(rows[2], "3 | 3 | vless | ended3 | f | 0 | - | -");
}
