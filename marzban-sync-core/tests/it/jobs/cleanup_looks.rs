//! The second looks of a cleanup: in the panel, and in the database, right before each deletion.

use chrono::TimeDelta;
use marzban_sync_core::account::{AccountId, UserId};
use marzban_sync_core::cleanup_expired_marzban_users as cleanup;
use marzban_sync_core::observation::{Observation, PanelUser};
use marzban_sync_core::store::MemoryVpnConfig;

use crate::given::{at, day, user};
use crate::scripted::{World, pay, problems, rename};

/// A bot whose one customer ended 30 days ago, in the bot and in the panel, and was synced since.
fn gone() -> World {
    let world = World::synced_just_now();
    ended(&world, 1);
    world
}

/// A customer who ended 30 days ago.
fn ended(world: &World, id: i64) {
    world.customer(id, "expired", day(-30));
    world.panel.put(&format!("user{id}"), user("expired", day(-30)));
    world.agreed(id, day(-30));
}

#[tokio::test]
async fn a_user_renewed_in_the_panel_between_the_looks_is_kept_and_synced() {
    let world = gone();
    let panel = world.panel.clone();
    world.panel.at_call("user user1", move || {
        panel.put("user1", user("active", at("2025-10-01 00:00:00")));
    });

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 1, 0, 1)
    );
    assert_eq!(world.panel.single_calls(), ["user user1"]);
    assert_eq!(
        world.row(1),
        "active until 2025-10-01 00:00:00 UTC; user1 on 100 null"
    );
}

#[tokio::test]
async fn a_user_made_anew_under_the_same_name_between_the_looks_is_kept() {
    let world = gone();
    let panel = world.panel.clone();
    let anew = PanelUser {
        created_at: Some(at("2025-09-15 11:59:59")),
        ..user("expired", day(-30))
    };
    world
        .panel
        .at_call("user user1", move || panel.put("user1", anew));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.skipped, report.errors), (0, 1, 0));
    assert!(world.panel.has("user1"));
    assert_eq!(world.config(1), "user1 on 100 null");
}

#[tokio::test]
async fn a_customer_who_pays_between_the_looks_is_kept() {
    let world = gone();
    let store = world.store.clone();
    world
        .panel
        .at_call("user user1", move || pay(&store, 11, 1, "active", day(30)));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.skipped, report.errors), (0, 1, 0));
    assert_eq!(world.panel.single_calls(), ["user user1"]);
    assert_eq!(world.config(1), "user1 on 100 null");
    assert_eq!(world.store.subscriptions()[1].end_date, Some(day(30)));
}

#[tokio::test]
async fn a_customer_who_pays_while_another_is_deleted_is_not_even_asked_for() {
    let world = gone();
    ended(&world, 2);
    let store = world.store.clone();
    world
        .panel
        .at_call("delete user1", move || pay(&store, 21, 2, "active", day(30)));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.skipped, report.errors), (1, 1, 0));
    assert_eq!(
        world.panel.single_calls(),
        ["user user1", "user user1", "delete user1"]
    );
    assert_eq!(world.config(2), "user2 on 100 null");
}

#[tokio::test]
async fn a_customer_who_pays_during_the_very_last_look_keeps_the_name_in_the_row() {
    let world = gone();
    let store = world.store.clone();
    world.panel.at_call("user user1", || ());
    world
        .panel
        .at_call("user user1", move || pay(&store, 11, 1, "active", day(30)));

    let report = cleanup(&world.context()).await.unwrap();

    // The panel is asked last, so this is the one moment in which nobody is asked for payments.
    assert_eq!((report.cleaned, report.skipped, report.errors), (0, 0, 1));
    assert_eq!(world.config(1), "user1 on 100 null");
    assert_eq!(world.store.subscriptions()[1].end_date, Some(day(30)));
}

#[tokio::test]
async fn an_order_that_is_not_yet_paid_between_the_looks_keeps_the_user_too() {
    let world = gone();
    let store = world.store.clone();
    world
        .panel
        .at_call("user user1", move || pay(&store, 11, 1, "pending", None));

    assert_eq!(cleanup(&world.context()).await.unwrap().skipped, 1);
    assert!(world.panel.has("user1"));
}

#[tokio::test]
async fn a_row_that_names_another_user_between_the_looks_is_kept() {
    let world = gone();
    let store = world.store.clone();
    world
        .panel
        .at_call("user user1", move || rename(&store, 1, "other"));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.skipped), (0, 1));
    assert!(world.panel.has("user1"));
    assert_eq!(world.config(1), "other on 100 null");
}

#[tokio::test]
async fn a_row_that_names_another_user_after_the_deletion_is_a_conflict_and_keeps_its_name() {
    let world = gone();
    let store = world.store.clone();
    world.panel.at_call("delete user1", move || {
        rename(&store, 1, "other");
    });

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 0, 1, 1)
    );
    assert_eq!(
        problems(&report.run),
        ["1001 user1 Conflict: the panel user is gone, but its row names another by now, or somebody paid"]
    );
    assert_eq!(world.config(1), "other on 100 null");
}

#[tokio::test]
async fn a_user_that_vanishes_between_the_looks_is_cleaned_without_a_deletion() {
    let world = gone();
    let panel = world.panel.clone();
    world.panel.at_call("user user1", move || panel.remove("user1"));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.errors), (1, 0));
    assert_eq!(world.panel.single_calls(), ["user user1"]);
}

#[tokio::test]
async fn a_second_look_without_an_answer_deletes_nothing() {
    let world = gone();
    let panel = world.panel.clone();
    world.panel.at_call("user user1", move || {
        panel.say("user1", Observation::Unavailable("a proxy's page".to_owned()));
    });

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.skipped, report.errors), (0, 0, 1));
    assert_eq!(problems(&report.run), ["1001 user1 Unavailable: a proxy's page"]);
    assert!(world.panel.has("user1"));
    assert_eq!(world.config(1), "user1 on 100 null");
}

#[tokio::test]
async fn an_account_is_kept_while_another_of_the_same_customer_works() {
    let world = gone();
    world.account(2, 1);
    world.agreed(2, day(-30));
    world
        .panel
        .put("user2", user("active", at("2025-10-01 00:00:00")));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 2, 0, 2)
    );
    assert_eq!(world.panel.single_calls(), Vec::<String>::new());
    assert_eq!(
        world.row(1),
        "active until 2025-10-01 00:00:00 UTC; user1 on 100 null"
    );
}

#[tokio::test]
async fn an_account_that_a_list_lacked_is_kept_while_another_of_the_same_customer_works() {
    let world = gone();
    world.panel.hide("user1");
    world.account(2, 1);
    world
        .panel
        .put("user2", user("active", at("2025-10-01 00:00:00")));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.skipped), (0, 2));
    assert!(world.panel.has("user1"));
}

#[tokio::test]
async fn an_account_is_kept_when_another_of_the_same_customer_is_renewed_between_the_looks() {
    let world = gone();
    world.store.insert_vpn_config(MemoryVpnConfig {
        id: AccountId(2),
        user_id: UserId(1),
        panel: None,
        subscription_id: None,
        marzban_user_id: Some("user2".to_owned()),
        is_active: Some(false),
        traffic_used: Some(100),
        last_connected_at: None,
        updated_at: None,
    });
    world.panel.put("user2", user("expired", day(-30)));
    let panel = world.panel.clone();
    world.panel.at_call("user user1", move || {
        panel.put("user1", user("active", at("2025-10-01 00:00:00")));
    });

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 2, 0, 2)
    );
    assert!(world.panel.has("user2"));
    assert_eq!(
        world.row(1),
        "active until 2025-10-01 00:00:00 UTC; user1 on 100 null"
    );
}

#[tokio::test]
async fn each_row_is_written_before_the_next_user_is_deleted() {
    let world = gone();
    ended(&world, 2);
    let store = world.store.clone();
    world.panel.at_call("delete user2", move || {
        assert_eq!(store.vpn_config(AccountId(1)).unwrap().marzban_user_id, None);
        assert_eq!(
            store.vpn_config(AccountId(2)).unwrap().marzban_user_id.as_deref(),
            Some("user2")
        );
    });

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.errors), (2, 0));
    assert_eq!(
        world.panel.single_calls(),
        [
            "user user1",
            "user user1",
            "delete user1",
            "user user2",
            "user user2",
            "delete user2"
        ]
    );
}

#[tokio::test]
async fn a_second_look_that_took_too_long_deletes_nobody() {
    for (seconds, deleted) in [(60, true), (61, false)] {
        let world = World::synced_just_now();
        world.customer(1, "expired", day(-30));
        world.panel.put("user1", user("expired", day(-30)));
        let clock = world.clock.clone();
        world.panel.at_call("user user1", || ());
        world
            .panel
            .at_call("user user1", move || clock.advance(TimeDelta::seconds(seconds)));

        let report = cleanup(&world.context()).await.unwrap();

        assert_eq!(world.panel.has("user1"), !deleted, "{seconds}");
        assert_eq!(report.cleaned, u64::from(deleted), "{seconds}");
        let late = "1001 user1 NotDeleted: the second look took too long to count";
        let expected = [late].into_iter().filter(|_| !deleted).collect::<Vec<_>>();
        assert_eq!(problems(&report.run), expected, "{seconds}");
    }
}

#[tokio::test]
async fn a_customer_who_pays_while_the_user_is_deleted_keeps_the_name_in_the_row() {
    let world = gone();
    let store = world.store.clone();
    world
        .panel
        .at_call("delete user1", move || pay(&store, 11, 1, "active", day(30)));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.skipped, report.errors), (0, 0, 1));
    assert_eq!(
        problems(&report.run),
        ["1001 user1 Conflict: the panel user is gone, but its row names another by now, or somebody paid"]
    );
    assert_eq!(world.config(1), "user1 on 100 null");
}
