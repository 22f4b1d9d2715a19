//! Users that the panel does not have: asked for once, known from then on, and looked at again before anything is taken.

use chrono::TimeDelta;
use marzban_sync_core::account::{AccountId, UserId};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::store::{MemoryUser, MemoryVpnConfig};
use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::given::{day, user};
use crate::scripted::World;

#[tokio::test]
async fn eleven_thousand_known_absences_cost_no_single_requests() {
    let world = World::new();
    for id in 1..=11_000 {
        world.store.insert_user(MemoryUser {
            id: UserId(id),
            telegram_id: Some(1000 + id),
        });
        world.subscription(10 * id, id, "expired", day(-50));
        world.store.insert_vpn_config(MemoryVpnConfig {
            id: AccountId(id),
            user_id: UserId(id),
            panel: None,
            subscription_id: None,
            marzban_user_id: Some(format!("user{id}")),
            is_active: Some(false),
            traffic_used: Some(100),
            last_connected_at: None,
            updated_at: None,
        });
        world.remember(id, |agreement| agreement.is_missing = true);
    }
    // Somebody's time is over, and ends although so many are absent.
    world.customer(20_000, "active", day(-1));
    world.panel.put("user20000", user("expired", day(-1)));
    for id in 20_001..=20_010 {
        world.in_line(id, day(5));
    }

    let status = sync_user_status_from_marzban(&world.context()).await.unwrap();
    let synced = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        (status.missing, status.errors, status.run.stopped),
        (11_000, 0, None)
    );
    assert_eq!(
        (synced.synced, synced.errors, synced.run.stopped),
        (11, 11_000, None)
    );
    assert_eq!(world.panel.single_calls(), Vec::<String>::new());
    assert_eq!(
        world.row(20_000),
        format!("expired until {}; user20000 off 100 null", day(-1))
    );
}

#[tokio::test]
async fn an_absence_that_was_confirmed_once_is_not_asked_for_again() {
    let world = World::new();
    world.in_line(1, day(5));
    world.in_line(2, day(5));
    world.customer(3, "active", day(5));
    for _ in 0..3 {
        let report = sync_user_status_from_marzban(&world.context()).await.unwrap();
        assert_eq!((report.missing, report.errors), (1, 0));
    }
    assert_eq!(world.panel.single_calls(), ["user user3"]);
    // It is made again, and is known no longer as missing.
    world.panel.put("user3", user("active", day(5)));
    sync_user_status_from_marzban(&world.context()).await.unwrap();
    assert_eq!(world.config(3), "user3 on 100 null");
    assert!(!world.agreement("user3").is_missing);
}

#[tokio::test]
async fn a_known_absence_is_asked_for_again_before_access_that_the_bot_has_given_goes_off() {
    let world = World::new();
    world.in_line(1, day(5));
    world.in_line(2, day(5));
    world.customer(3, "active", day(5));
    sync_user_status_from_marzban(&world.context()).await.unwrap();
    // The customer pays, the bot makes the user again and switches the row on; a list still lacks the user.
    world.switch(3, true);
    world.panel.put("user3", user("active", day(5)));
    world.panel.hide("user3");
    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();
    assert_eq!((report.missing, report.errors), (0, 0));
    assert_eq!(world.config(3), "user3 on 100 null");
}

#[tokio::test]
async fn a_known_absence_is_asked_for_again_before_a_subscription_ends_by_it() {
    let world = World::new();
    for id in 1..=3 {
        world.in_line(id, day(5));
    }
    world.customer(4, "active", day(1));
    world.switch(4, false);
    world.remember(4, |agreement| agreement.is_missing = true);
    sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(world.panel.single_calls(), Vec::<String>::new());
    world.clock.set(day(2));
    sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(world.panel.single_calls(), ["user user4"]);
    assert_eq!(
        world.row(4),
        format!("expired until {}; user4 off 100 null", day(1))
    );
}

#[tokio::test]
async fn a_user_made_while_many_others_are_asked_for_is_not_missing_by_an_old_answer() {
    for minutes in [1, 2] {
        let world = World::new();
        for id in 1..=40 {
            world.in_line(id, day(5));
        }
        for id in 1..=2 {
            world.panel.remove(&format!("user{id}"));
        }
        // The first is asked for; while the second is, minutes pass, and the first is made.
        let (clock, panel) = (world.clock.clone(), world.panel.clone());
        world.panel.at_call("user user2", move || {
            clock.advance(TimeDelta::minutes(minutes));
            if minutes > 1 {
                panel.put("user1", user("active", day(5)));
            }
        });
        let report = sync_user_status_from_marzban(&world.context()).await.unwrap();
        assert_eq!(report.errors, 0);
        let (access, calls): (&str, &[&str]) = if minutes > 1 {
            ("user1 on 100 null", &["user user1", "user user2", "user user1"])
        } else {
            ("user1 off 100 null", &["user user1", "user user2"])
        };
        assert_eq!(world.config(1), access, "{minutes}");
        assert_eq!(world.config(2), "user2 off 100 null", "{minutes}");
        assert_eq!(world.panel.single_calls(), calls, "{minutes}");
    }
}

#[tokio::test]
async fn too_many_absent_users_with_access_move_no_end_and_no_status() {
    let world = World::new();
    for id in 1..=40 {
        world.in_line(id, day(5));
        world.agreed(id, day(5));
    }
    for id in 1..=5 {
        world.panel.remove(&format!("user{id}"));
    }
    world.panel.put("user6", user("active", day(50)));
    world.subscription(70, 7, "active", day(-1));
    world.panel.put("user7", user("expired", day(-1)));
    let subscriptions = world.store.subscriptions();
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(
        report.run.withheld_because.as_deref(),
        Some("5 of 40 users with something to lose are absent from the panel; is it the right panel?")
    );
    assert_eq!(world.store.subscriptions(), subscriptions);
    // One of them is found, and that is a tenth.
    world.panel.put("user5", user("active", day(5)));
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!((report.run.stopped, report.errors), (None, 4));
    assert!(world.row(6).starts_with(&format!("active until {}", day(50))));
    assert!(world.row(7).starts_with("expired"));
}

#[tokio::test]
async fn what_is_agreed_is_remembered_although_a_list_lacks_half_of_the_others() {
    // Until the two are looked up individually, this looks like another panel, of which nothing is to be remembered.
    let world = World::new();
    for id in 1..=4 {
        world.in_line(id, day(5));
    }
    world.panel.hide("user3");
    world.panel.hide("user4");
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!((report.synced, report.run.stopped), (4, None));
    for id in 1..=4 {
        let agreement = world.agreement(&format!("user{id}"));
        assert_eq!(agreement.end, Some(EndDate::At(day(5))), "user{id}");
    }

    // Where they are confirmed to be gone, nothing is.
    let wrong = World::new();
    for id in 1..=4 {
        wrong.in_line(id, day(5));
    }
    wrong.panel.remove("user3");
    wrong.panel.remove("user4");
    let report = sync_subscriptions_from_marzban(&wrong.context()).await.unwrap();
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(wrong.agreement("user1").end, None);
}
