//! What a cleanup deletes, what it leaves, and what it says of it.

use chrono::TimeDelta;
use marzban_api::testing::FakeStatus;
use marzban_sync_core::testing::ManualClock;

use super::over_both_stores;
use super::tables::Tables;
use super::world::{World, day, literal, payment, problems, reasons, skipped, stopped, user};

over_both_stores! {
    a21_a_cleanup_after_a_stopped_sync_deletes_nothing
    a22_a_renewal_between_the_two_last_looks_keeps_the_user
    a22_a_last_look_that_took_too_long_does_not_count
    a23_a_payment_in_the_second_of_the_deletion_keeps_its_row
    a33_an_abandoned_invoice_blocks_neither_renewal_nor_cleanup
    a34_a_bot_that_touches_its_rows_daily_is_cleaned_up_too
    a40_a_skipped_account_is_counted_with_what_holds_it
    b01_a_row_that_cannot_be_unlinked_stops_no_other
}

const NOTHING: [&str; 0] = [];

pub(super) async fn a21_a_cleanup_after_a_stopped_sync_deletes_nothing(world: &mut World) {
    world.in_step(1..=40, 60).await;
    world.long_over(41..=41, -40).await;
    world.syncs().await;
    world.on_day(1);
    (1..=40).for_each(|id| world.set_expire(&format!("user{id}"), 2));
    assert_eq!(stopped(&world.sync().await), "safety");
    // Of each job the last run counts: that the other one went well changes nothing.
    assert_eq!(stopped(&world.status().await), "-");
    world.asked();
    for _ in 0..2 {
        let cleanup = world.cleanup().await;
        assert_eq!(
            (stopped(&cleanup.run), skipped(&cleanup), cleanup.cleaned),
            ("safety".to_owned(), vec!["withheld 1".to_owned()], 0)
        );
        let because = cleanup.run.withheld_because.unwrap();
        assert!(because.contains("sync"), "{because}");
    }
    assert_eq!(world.asked(), ["GET /api/users of 1"; 2]);
    assert!(world.has_user("user41"));

    // What is allowed is what the sync withheld; the cleanup then goes by its own limits.
    world.answers.allow_mass_changes = true;
    assert_eq!(stopped(&world.sync().await), "-");
    world.answers.allow_mass_changes = false;
    assert_eq!(world.subscription_of(1).await, "active +2d");
    assert_eq!(world.cleanup().await.cleaned, 1);
    assert_eq!(world.sent(), ["DELETE /api/user/user41"]);
}

pub(super) async fn a22_a_renewal_between_the_two_last_looks_keeps_the_user(world: &mut World) {
    world.in_step(2..=20, 60).await;
    world.customer(1, "anna", "expired", Some(-40)).await;
    world.user("anna", FakeStatus::Expired, Some(-40));
    world.syncs().await;
    world.panel.on_request(|panel, request| async move {
        if request.path == "/api/user/anna" {
            panel.insert_user(user("anna", FakeStatus::Active, Some(30)));
        }
    });
    world.asked();
    let cleanup = world.cleanup().await;
    assert_eq!(
        (cleanup.cleaned, skipped(&cleanup), reasons(&cleanup.run)),
        (0, vec!["in_use 1".to_owned()], vec![])
    );
    // The panel is asked last.
    assert_eq!(world.asked(), ["GET /api/users of 1", "GET /api/user/anna"]);
    assert_eq!(
        (world.subscription_of(1).await, world.account_of(1).await),
        ("active +30d".to_owned(), "anna on".to_owned())
    );
    assert_eq!(world.cleanup().await.total, 0);
    world.assert_settled().await;
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a22_a_last_look_that_took_too_long_does_not_count(world: &mut World) {
    world.in_step(2..=20, 60).await;
    world.customer(1, "anna", "expired", Some(-40)).await;
    world.user("anna", FakeStatus::Expired, Some(-40));
    world.syncs().await;
    let clock: ManualClock = world.clock.clone();
    world.panel.on_request(move |_, request| {
        let clock = clock.clone();
        async move {
            if request.path == "/api/user/anna" {
                clock.advance(TimeDelta::minutes(2));
            }
        }
    });
    let cleanup = world.cleanup().await;
    assert_eq!(
        (cleanup.cleaned, problems(&cleanup.run)),
        (0, vec!["anna not_deleted".to_owned()])
    );
    assert_eq!(world.sent(), NOTHING);
    assert_eq!(world.account_of(1).await, "anna off");

    world.panel.clear_hooks();
    assert_eq!(world.cleanup().await.cleaned, 1);
    assert_eq!(world.sent(), ["DELETE /api/user/anna"]);
}

pub(super) async fn a23_a_payment_in_the_second_of_the_deletion_keeps_its_row(world: &mut World) {
    world.in_step(2..=20, 60).await;
    world.customer(1, "anna", "expired", Some(-40)).await;
    world.user("anna", FakeStatus::Expired, Some(-40));
    world.syncs().await;
    let tables: Tables = world.tables.clone();
    world.panel.on_request(move |_, request| {
        let tables = tables.clone();
        async move {
            if request.method == "DELETE" {
                tables.sql(&payment(1, 30)).await;
            }
        }
    });
    let cleanup = world.cleanup().await;
    assert_eq!(
        (cleanup.cleaned, problems(&cleanup.run)),
        (0, vec!["anna conflict".to_owned()])
    );
    assert_eq!(
        (world.subscription_of(1).await, world.account_of(1).await),
        ("active +30d".to_owned(), "anna off".to_owned())
    );
    world.panel.clear_hooks();

    // The bot gives the payer a new panel user of the same name.
    world
        .panel
        .insert_user(user("anna", FakeStatus::Active, Some(30)).created_at(day(0)));
    world.syncs().await;
    assert_eq!(world.account_of(1).await, "anna on");
    assert_eq!(world.cleanup().await.total, 0);
    world.assert_settled().await;
    assert_eq!(world.sent(), ["DELETE /api/user/anna"]);
}

pub(super) async fn a33_an_abandoned_invoice_blocks_neither_renewal_nor_cleanup(world: &mut World) {
    world.in_step(10..=20, 60).await;
    for (id, name, invoice) in [
        (1, "anna", Some(-5)),
        (2, "boris", Some(-40)),
        (3, "clara", Some(-5)),
        (4, "dora", None),
    ] {
        let end = if name == "anna" { -1 } else { -40 };
        world.customer(id, name, "expired", Some(end)).await;
        world.user(name, FakeStatus::Expired, Some(end));
        world.subscription(100 + id, id, "pending", None).await;
        if let Some(touched) = invoice {
            let touched = literal(day(touched));
            world
                .sql(&format!(
                    "UPDATE subscriptions SET updated_at = {touched} WHERE id = {}",
                    100 + id
                ))
                .await;
        }
    }
    world.syncs().await;
    let cleanup = world.cleanup().await;
    assert_eq!(
        (cleanup.cleaned, skipped(&cleanup)),
        (1, vec!["pending_invoice 2".to_owned()])
    );
    assert_eq!(world.sent(), ["DELETE /api/user/boris"]);
    assert_eq!(world.account_of(2).await, "- off");

    world.set_expire("anna", 30);
    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    world.status().await;
    assert_eq!(
        (world.subscription_of(1).await, world.account_of(1).await),
        ("active +30d".to_owned(), "anna on".to_owned())
    );
    assert_eq!(world.subscription_of(101).await, "pending never");
    world.assert_settled().await;

    // An invoice is abandoned after 30 days; one without a date is for ever new.
    world.on_day(26);
    world.syncs().await;
    let cleanup = world.cleanup().await;
    assert_eq!(
        (cleanup.cleaned, skipped(&cleanup)),
        (1, vec!["pending_invoice 1".to_owned()])
    );
    assert_eq!(world.sent(), ["DELETE /api/user/boris", "DELETE /api/user/clara"]);
}

pub(super) async fn a34_a_bot_that_touches_its_rows_daily_is_cleaned_up_too(world: &mut World) {
    world.in_step(2..=20, 60).await;
    world.long_over(1..=1, -40).await;
    for now in 0..=8 {
        world.on_day(now);
        let touched = literal(day(now));
        world
            .sql(&format!(
                "UPDATE subscriptions SET updated_at = {touched}; UPDATE vpn_configs SET updated_at = {touched}"
            ))
            .await;
        world.syncs().await;
        let cleanup = world.cleanup().await;
        let expected = match now {
            0..=6 => vec!["not_rested 1".to_owned()],
            _ => vec![],
        };
        assert_eq!(skipped(&cleanup), expected, "day {now}");
        assert_eq!(cleanup.cleaned, u64::from(now == 7), "day {now}");
    }
    assert_eq!(world.sent(), ["DELETE /api/user/user1"]);
}

pub(super) async fn a40_a_skipped_account_is_counted_with_what_holds_it(world: &mut World) {
    world.in_step(3..=20, 60).await;
    world.customer(1, "old", "expired", Some(-40)).await;
    world.user("old", FakeStatus::Expired, Some(-40));
    world.subscription(100, 1, "active", Some(30)).await;
    world.account(2, 1, "new", true).await;
    world.user("new", FakeStatus::Active, Some(30));
    world
        .sql("UPDATE vpn_configs SET subscription_id = 1 WHERE id = 1")
        .await;
    world
        .sql("UPDATE vpn_configs SET subscription_id = 100 WHERE id = 2")
        .await;
    for now in [0, 1, 20] {
        world.on_day(now);
        world.syncs().await;
        let cleanup = world.cleanup().await;
        assert_eq!(
            (cleanup.total, skipped(&cleanup), stopped(&cleanup.run)),
            (1, vec!["other_subscription 1".to_owned()], "-".to_owned())
        );
        world.assert_settled().await;
    }
    assert_eq!(world.sent(), NOTHING);
    assert_eq!(world.accounts().await[..2], ["1 old off", "2 new on"]);
}

pub(super) async fn b01_a_row_that_cannot_be_unlinked_stops_no_other(world: &mut World) {
    world.long_over(1..=2, -40).await;
    world.in_step(3..=20, 60).await;
    world.syncs().await;
    let trigger = if world.postgres_database().is_some() {
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the name is needed'; END $$;
         CREATE TRIGGER keep_name BEFORE UPDATE OF marzban_user_id ON vpn_configs FOR EACH ROW
         WHEN (OLD.id = 1) EXECUTE FUNCTION refuse()"
    } else {
        "CREATE TRIGGER keep_name BEFORE UPDATE OF marzban_user_id ON vpn_configs WHEN OLD.id = 1
         BEGIN SELECT RAISE(ABORT, 'the name is needed'); END"
    };
    world.sql(trigger).await;

    for cleaned in [1, 0] {
        let cleanup = world.cleanup().await;
        assert_eq!(
            (cleanup.cleaned, problems(&cleanup.run)),
            (cleaned, vec!["user1 rejected".to_owned()])
        );
        assert_eq!(stopped(&cleanup.run), "-");
        let detail = cleanup.run.problems[0].detail.as_deref().unwrap();
        assert!(
            detail.contains("nothing was deleted") && detail.contains("the name is needed"),
            "{detail}"
        );
    }
    assert_eq!(world.sent(), ["DELETE /api/user/user2"]);
    assert_eq!(world.accounts().await[..2], ["1 user1 off", "2 - off"]);

    world
        .sql(if world.postgres_database().is_some() {
            "DROP TRIGGER keep_name ON vpn_configs"
        } else {
            "DROP TRIGGER keep_name"
        })
        .await;
    assert_eq!(world.cleanup().await.cleaned, 1);
    assert_eq!(world.sent(), ["DELETE /api/user/user2", "DELETE /api/user/user1"]);
}
