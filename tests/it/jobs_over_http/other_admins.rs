//! A login that is not sudo, and so sees its own users only.

use marzban_api::testing::{FakeAdmin, FakeStatus, FakeUser};
use marzban_sync_core::report::{Problem, ProblemReason};
use marzban_sync_core::{
    cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use crate::bot::{Bot, assert_same, epoch};

fn reasons(problems: &[Problem]) -> Vec<(&str, ProblemReason)> {
    problems
        .iter()
        .map(|problem| (problem.name.as_str(), problem.reason))
        .collect()
}

/// Three customers: one is the login's own, one another admin's, one nobody's; the panel would change all of them.
async fn bot_of_three() -> Option<Bot> {
    let bot = Bot::new().await?;
    bot.panel.insert_admin(FakeAdmin::new("reseller", "secret"));
    for (id, name, owner) in [
        (1, "mine", Some("reseller")),
        (2, "theirs", Some("other")),
        (3, "nobodys", None),
    ] {
        bot.add(id, name, "active", "2025-09-30 00:00:00", true).await;
        let user = FakeUser::new(name)
            .owner(owner)
            .expire(epoch("2025-10-31 00:00:00"));
        bot.panel
            .insert_user(user.status(FakeStatus::Limited).used_traffic(7));
    }
    Some(bot)
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_other_admins_are_reported_and_never_changed() {
    let Some(bot) = bot_of_three().await else { return };
    let before = bot.all_rows().await;
    let context = bot.context_as("reseller", "secret").await.build();

    let report = sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!((report.synced, report.errors, report.total), (1, 2, 3));
    let foreign = [
        ("theirs", ProblemReason::NotPermitted),
        ("nobodys", ProblemReason::NotPermitted),
    ];
    assert_eq!(reasons(&report.run.problems), foreign);

    let report = sync_user_status_from_marzban(&context).await.unwrap();
    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (0, 0, 2, 3)
    );
    assert_eq!(reasons(&report.run.problems), foreign);

    let mut expected = before;
    expected[3] =
        "1 | 1 | 3 | 4.99 | active | 2025-08-10 00:00:00 | 2025-10-31 00:00:00 | 2025-09-10 12:00:00".into();
    expected[6] = "1 | 1 | vless | mine | f | 7 | - | 2025-09-10 12:00:00".into();
    assert_same(&bot.all_rows().await, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_user_of_another_admin_is_not_deleted() {
    let Some(bot) = bot_of_three().await else { return };
    bot.sql("UPDATE subscriptions SET status = 'expired', end_date = '2025-08-01'")
        .await;
    for name in ["mine", "theirs", "nobodys"] {
        bot.panel
            .update_user(name, |user| user.expire = Some(epoch("2025-08-01 00:00:00")));
    }
    let context = bot.context_as("reseller", "secret").await.build();

    bot.has_synced().await;
    let report = cleanup_expired_marzban_users(&context).await.unwrap();
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (1, 0, 2, 3)
    );
    let foreign = [
        ("theirs", ProblemReason::NotPermitted),
        ("nobodys", ProblemReason::NotPermitted),
    ];
    assert_eq!(reasons(&report.run.problems), foreign);
    let left: Vec<String> = bot
        .panel
        .state()
        .users
        .into_iter()
        .map(|user| user.username)
        .collect();
    assert_eq!(left, ["theirs", "nobodys"]);
    bot.assert_rows(
        "vpn_configs",
        "
        1 | 1 | vless | -       | f | 0 | - | 2025-09-10 12:00:00
        2 | 2 | vless | theirs  | t | 0 | - | -
        3 | 3 | vless | nobodys | t | 0 | - | -
        ",
    )
    .await;
}
