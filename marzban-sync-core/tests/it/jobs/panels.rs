//! Several panels of one bot.

use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::report::KeptBecause;
use marzban_sync_core::{
    Context, cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use crate::given::{day, user};
use crate::scripted::{ScriptedPanel, World, problems};

/// A customer of the default panel, one of `de`, and one with an account in each, all in line.
fn bot() -> (World, ScriptedPanel, Context) {
    let world = World::new();
    let de = ScriptedPanel::default();
    world.in_line(1, day(5));
    world.customer(2, "active", day(5));
    world.in_line(3, day(5));
    world.account(4, 3);
    for id in [2, 4] {
        world.move_to(id, "de");
        de.put(&format!("user{id}"), user("active", day(5)));
    }
    let context = Context::builder(de.clone(), world.store.clone())
        .clock(world.clock.clone())
        .panel_name("de")
        .build();
    (world, de, context)
}

#[tokio::test]
async fn each_panel_is_asked_for_its_own_users_alone() {
    let (world, de, of_de) = bot();
    let default = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    let other = sync_subscriptions_from_marzban(&of_de).await.unwrap();
    assert_eq!((default.synced, default.total), (2, 2));
    assert_eq!((other.synced, other.total), (2, 2));
    assert_eq!(world.panel.calls(), ["users user1 user3"]);
    assert_eq!(de.calls(), ["users user2 user4"]);
    assert_eq!(
        (default.run.panel.as_str(), other.run.panel.as_str()),
        ("default", "de")
    );
}

#[tokio::test]
async fn a_panel_that_lost_everybody_touches_no_account_of_another() {
    let (world, de, of_de) = bot();
    for id in [2, 4] {
        de.remove(&format!("user{id}"));
    }
    let before = world.rows();
    let report = sync_user_status_from_marzban(&of_de).await.unwrap();
    assert_eq!((report.errors, report.total), (2, 2));
    assert!(report.run.withheld_because.is_some());
    assert_eq!(world.rows(), before);
}

#[tokio::test]
async fn a_subscription_ends_when_the_last_of_its_panels_says_so() {
    let (world, de, of_de) = bot();
    let expired = || user("expired", day(-1));
    world.subscription(30, 3, "active", day(-1));
    world.panel.put("user3", expired());

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(problems(&report.run), [""; 0]);
    assert_eq!((report.synced, report.run.kept_for_another_panel), (2, 1));
    assert_eq!(
        world.row(3),
        format!("active until {}; user3 off 100 null", day(-1))
    );

    de.put("user4", expired());
    let report = sync_subscriptions_from_marzban(&of_de).await.unwrap();
    assert_eq!((report.synced, report.run.kept_for_another_panel), (2, 0));
    assert_eq!(
        world.row(3),
        format!("expired until {}; user3 off 100 null", day(-1))
    );
    assert_eq!(world.config(4), "user4 off 100 null");
}

#[tokio::test]
async fn a_user_who_turns_active_in_another_panel_under_the_run_keeps_the_subscription() {
    let (world, _, _) = bot();
    world.customer(9, "active", day(5));
    world.panel.put("user3", user("expired", day(-1)));
    let mut config = world
        .store
        .vpn_configs()
        .into_iter()
        .find(|row| row.id.0 == 4)
        .unwrap();
    config.is_active = Some(false);
    world.store.insert_vpn_config(config.clone());
    // Between the two looks the other panel's sync finds the user renewed.
    let store = world.store.clone();
    world.panel.at_call("user user9", move || {
        config.is_active = Some(true);
        store.insert_vpn_config(config);
    });

    sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        world.row(3),
        format!("active until {}; user3 off 100 null", day(5))
    );
}

#[tokio::test]
async fn a_user_who_is_active_in_another_panel_is_not_cleaned_up() {
    let (world, _, _) = bot();
    world.synced();
    world.subscription(30, 3, "expired", day(-30));
    world.panel.put(
        "user3",
        PanelUser {
            ..user("expired", day(-30))
        },
    );
    let report = cleanup_expired_marzban_users(&world.context()).await.unwrap();
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 1, 0, 1)
    );
    assert_eq!(report.skipped_because[&KeptBecause::ActiveElsewhere], 1);
    assert!(world.panel.has("user3"));
}
