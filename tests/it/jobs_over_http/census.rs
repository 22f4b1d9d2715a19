//! The cheap questions against a panel: what it takes to believe them, and how much less the panel has to do.

use chrono::TimeDelta;
use marzban_api::testing::{FakeAdmin, FakeStatus, FakeUser};
use marzban_api::{Client, Pacing, SecretString};
use marzban_sync_core::jobs::StatusReads;
use marzban_sync_core::panel::{MarzbanPanel, Panel};
use marzban_sync_core::sync_user_status_from_marzban;

use crate::bot::{Bot, epoch};

fn panel_as(bot: &Bot, username: &str, password: &str) -> MarzbanPanel {
    let client = Client::builder(&bot.panel.url())
        .credentials(username, SecretString::from(password))
        .pacing(Pacing::none())
        .build()
        .unwrap();
    MarzbanPanel::new(client)
}

/// Users of every status.
fn one_of_each(bot: &Bot) {
    for (name, status, expire) in [
        ("works", FakeStatus::Active, Some("2030-01-01 00:00:00")),
        ("forever", FakeStatus::Active, None),
        ("ended", FakeStatus::Expired, Some("2025-01-01 00:00:00")),
        ("used_up", FakeStatus::Limited, Some("2030-01-01 00:00:00")),
        (
            "used_up_and_ended",
            FakeStatus::Limited,
            Some("2025-01-01 00:00:00"),
        ),
        ("switched_off", FakeStatus::Disabled, None),
        ("held", FakeStatus::OnHold, None),
    ] {
        let user = FakeUser::new(name).status(status);
        bot.panel.insert_user(match expire {
            Some(expire) => user.expire(epoch(expire)),
            None => user,
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_census_tells_every_status_apart() {
    let Some(bot) = Bot::new().await else { return };
    one_of_each(&bot);
    let census = panel_as(&bot, "admin", "admin").census(7).await.unwrap().unwrap();
    assert_eq!(census.active, 2);
    assert_eq!(census.on_hold.iter().collect::<Vec<_>>(), ["held"]);
    assert_eq!(
        census.without_access.iter().collect::<Vec<_>>(),
        ["ended", "switched_off", "used_up", "used_up_and_ended"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_without_sudo_and_a_user_that_cannot_be_shown_give_no_census() {
    let Some(bot) = Bot::new().await else { return };
    one_of_each(&bot);
    bot.panel.insert_admin(FakeAdmin::new("reseller", "secret"));
    assert_eq!(
        panel_as(&bot, "reseller", "secret").census(7).await.unwrap(),
        None
    );
    let poison = FakeUser::new("poison").status(FakeStatus::Disabled);
    bot.panel.insert_user(poison.expire(99_999_999_999_999));
    assert_eq!(panel_as(&bot, "admin", "admin").census(7).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_of_others_is_asked_for_its_sums_alone() {
    let Some(bot) = Bot::new().await else { return };
    one_of_each(&bot);
    let panel = panel_as(&bot, "admin", "admin");
    for (accounts, is_taken) in [(1, false), (3, false), (4, true)] {
        let lists = bot.panel.count("GET", "/api/users");
        assert_eq!(
            panel.census(accounts).await.unwrap().is_some(),
            is_taken,
            "{accounts}"
        );
        assert_eq!(
            bot.panel.count("GET", "/api/users") > lists,
            is_taken,
            "{accounts}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_accounts_in_line_cost_the_cheap_way_seven_questions() {
    let Some(bot) = Bot::new().await else { return };
    bot.add_in_line(1_000).await;
    let reads = StatusReads::cheap(TimeDelta::hours(6), bot.store().await);
    let context = bot.context_as("admin", "admin").await.status_reads(reads).build();
    sync_user_status_from_marzban(&context).await.unwrap();
    let rows = bot.all_rows().await;
    let before = bot.panel.requests().len();
    let report = sync_user_status_from_marzban(&context).await.unwrap();
    let requests = bot.panel.requests().len() - before;
    assert!(requests <= 7, "{requests} requests");
    assert_eq!((report.updated, report.errors, report.total), (0, 0, 1_000));
    assert_eq!(bot.all_rows().await, rows);
}
