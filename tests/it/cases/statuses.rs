//! What opens and closes a subscription, and what gives access.

use chrono::TimeDelta;
use marzban_api::testing::FakeStatus;
use marzban_sync_core::plan::Reason;
use marzban_sync_core::policy::{Access, Reactivate};

use super::over_both_stores;
use super::world::{World, day, literal, problems, reasons, stopped, user};

over_both_stores! {
    a19_a_trial_comes_back_as_a_trial
    a20_a_block_of_the_bots_own_stays
    a20_days_of_grace_are_no_renewal
    a27_the_first_connection_gives_an_end
    a29_a_stale_save_gets_the_end_back_once
    a30_a_renewal_in_the_panel_opens_what_the_bot_itself_closed
    a32_two_clocks_a_few_seconds_apart_write_nothing
    a38_a_renewal_of_a_limited_user_counts_once_the_limit_is_lifted
}

const NOTHING: [&str; 0] = [];

pub(super) async fn a19_a_trial_comes_back_as_a_trial(world: &mut World) {
    world.in_step(2..=20, 90).await;
    world.customer(1, "anna", "trial", Some(2)).await;
    world.user("anna", FakeStatus::Active, Some(2));
    world.syncs().await;
    world.on_day(3);
    world.syncs().await;
    assert_eq!(
        (world.subscription_of(1).await, world.account_of(1).await),
        ("expired +2d".to_owned(), "anna off".to_owned())
    );

    world.on_day(4);
    world.set_expire("anna", 20);
    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    world.status().await;
    world.assert_settled().await;
    assert_eq!(
        (world.subscription_of(1).await, world.account_of(1).await),
        ("trial +20d".to_owned(), "anna on".to_owned())
    );
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a20_a_block_of_the_bots_own_stays(world: &mut World) {
    world.in_step(1..=20, 90).await;
    world.syncs().await;
    world
        .sql("UPDATE vpn_configs SET is_active = false WHERE id = 1")
        .await;
    world.policy.access = Access::OnlyOff;
    world
        .panel
        .update_user("user2", |user| user.status = FakeStatus::Disabled);
    for now in [1, 2] {
        world.on_day(now);
        world.syncs().await;
        world.assert_settled().await;
        assert_eq!(
            world.accounts().await[..3],
            ["1 user1 off", "2 user2 off", "3 user3 on"]
        );
    }
    world.policy.access = Access::Mirror;
    world.syncs().await;
    assert_eq!(
        world.accounts().await[..3],
        ["1 user1 on", "2 user2 off", "3 user3 on"]
    );
    assert_eq!(world.subscription_of(1).await, "active +90d");
}

/// The library closes the first, the bot itself the second and third; all get a grace of three days in the panel.
pub(super) async fn a20_days_of_grace_are_no_renewal(world: &mut World) {
    world.policy.reactivate = Reactivate::AtLeast(TimeDelta::days(7));
    world.in_step(1..=3, 1).await;
    world.in_step(4..=20, 90).await;
    world.syncs().await;
    world.on_day(2);
    world
        .sql("UPDATE subscriptions SET status = 'expired' WHERE id IN (2, 3)")
        .await;
    world.syncs().await;
    assert_eq!(
        world.subscriptions().await[..3],
        ["1 expired +1d", "2 expired +1d", "3 expired +1d"]
    );

    (1..=3).for_each(|id| world.set_expire(&format!("user{id}"), 5));
    for now in [2, 3, 4] {
        world.on_day(now);
        world.syncs().await;
        world.assert_settled().await;
        assert_eq!(
            world.subscriptions().await[..3],
            ["1 expired +5d", "2 expired +5d", "3 expired +5d"],
            "day {now}"
        );
        assert_eq!(world.account_of(1).await, "user1 on");
    }

    // A renewal within the grace counts, and so does one after it.
    world.set_expire("user3", 35);
    world.syncs().await;
    assert_eq!(world.subscription_of(3).await, "active +35d");
    world.on_day(6);
    world.syncs().await;
    assert_eq!(
        world.subscriptions().await[..3],
        ["1 expired +5d", "2 expired +5d", "3 active +35d"]
    );
    world.set_expire("user1", 36);
    world.set_expire("user2", 36);
    world.syncs().await;
    world.assert_settled().await;
    assert_eq!(
        world.subscriptions().await[..3],
        ["1 active +36d", "2 active +36d", "3 active +35d"]
    );
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a27_the_first_connection_gives_an_end(world: &mut World) {
    for id in 1..=10 {
        let name = format!("user{id}");
        world.customer(id, &name, "active", None).await;
        world
            .panel
            .insert_user(user(&name, FakeStatus::OnHold, None).on_hold(30 * 86_400));
    }
    world.syncs().await;
    world.assert_settled().await;
    assert_eq!(world.subscription_of(1).await, "active never");

    world.on_day(1);
    (1..=10).for_each(|id| world.panel.add_traffic(&format!("user{id}"), 1_000));
    world.panel.review();
    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    assert_eq!(
        (
            run.changes.get(&Reason::Begun),
            run.changes.get(&Reason::Shortened)
        ),
        (Some(&10), None)
    );
    world.status().await;
    world.assert_settled().await;
    for id in 1..=10 {
        assert_eq!(world.subscription_of(id).await, "active +31d");
        assert_eq!(world.account_of(id).await, format!("user{id} on"));
    }
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a29_a_stale_save_gets_the_end_back_once(world: &mut World) {
    world.in_step(1..=1, 5).await;
    world.in_step(2..=20, 90).await;
    world.syncs().await;
    world.set_expire("user1", 35);
    world.syncs().await;
    assert_eq!(world.subscription_of(1).await, "active +35d");

    // The bot's reminder saves the row as it had read it before.
    world.set_end(1, 5).await;
    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    assert_eq!(run.changes.get(&Reason::Extended), Some(&1));
    assert_eq!(world.subscription_of(1).await, "active +35d");
    world.assert_settled().await;

    // Nor does one of all columns close it again, when the extension had opened it.
    world.on_day(5);
    world.in_step(21..=21, 4).await;
    world.syncs().await;
    world.set_expire("user21", 40);
    world.syncs().await;
    assert_eq!(world.subscription_of(21).await, "active +40d");
    world.set_end(21, 4).await;
    world
        .sql("UPDATE subscriptions SET status = 'expired' WHERE id = 21; UPDATE vpn_configs SET is_active = false WHERE id = 21")
        .await;
    world.syncs().await;
    assert_eq!(
        (world.subscription_of(21).await, world.account_of(21).await),
        ("active +40d".to_owned(), "user21 on".to_owned())
    );
    world.assert_settled().await;

    // When that comes back it is no slip.
    world.set_end(1, 5).await;
    for now in [5, 6] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!(
            (stopped(&run), problems(&run)),
            ("-".to_owned(), vec!["user1 panel_ahead".to_owned()])
        );
        world.status().await;
        world.assert_settled().await;
        assert_eq!(world.subscription_of(1).await, "active +5d");
    }
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a30_a_renewal_in_the_panel_opens_what_the_bot_itself_closed(world: &mut World) {
    world.in_step(1..=1, 1).await;
    world.in_step(2..=20, 90).await;
    world.syncs().await;
    world.on_day(2);
    world
        .sql("UPDATE subscriptions SET status = 'expired' WHERE id = 1")
        .await;
    world.syncs().await;
    assert_eq!(
        (world.subscription_of(1).await, world.account_of(1).await),
        ("expired +1d".to_owned(), "user1 off".to_owned())
    );

    world.on_day(3);
    world.set_expire("user1", 33);
    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    world.status().await;
    world.assert_settled().await;
    assert_eq!(
        (world.subscription_of(1).await, world.account_of(1).await),
        ("active +33d".to_owned(), "user1 on".to_owned())
    );
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a32_two_clocks_a_few_seconds_apart_write_nothing(world: &mut World) {
    world.in_step(1..=20, 30).await;
    let end = literal(day(30) + TimeDelta::seconds(2));
    world
        .sql(&format!("UPDATE subscriptions SET end_date = {end}"))
        .await;
    world.syncs().await;
    let rows = world.tables.rows().await;
    assert!(
        rows.iter()
            .filter(|row| !row.starts_with("agreement"))
            .all(|row| row.ends_with(" -")),
        "{rows:?}"
    );
    world.assert_settled().await;
    assert_eq!(world.asked(), ["GET /api/users of 20"; 4]);
}

pub(super) async fn a38_a_renewal_of_a_limited_user_counts_once_the_limit_is_lifted(world: &mut World) {
    world.in_step(1..=1, 1).await;
    world.in_step(2..=20, 90).await;
    world.syncs().await;
    world.on_day(2);
    world
        .sql("UPDATE subscriptions SET status = 'expired' WHERE id = 1")
        .await;
    world.syncs().await;

    world.panel.update_user("user1", |user| {
        user.expire = Some(day(33).timestamp());
        user.status = FakeStatus::Limited;
    });
    for now in [3, 4] {
        world.on_day(now);
        world.syncs().await;
        world.assert_settled().await;
        assert_eq!(
            (world.subscription_of(1).await, world.account_of(1).await),
            ("expired +33d".to_owned(), "user1 off".to_owned())
        );
    }
    world.on_day(5);
    world
        .panel
        .update_user("user1", |user| user.status = FakeStatus::Active);
    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    world.status().await;
    world.assert_settled().await;
    assert_eq!(
        (world.subscription_of(1).await, world.account_of(1).await),
        ("active +33d".to_owned(), "user1 on".to_owned())
    );
    assert_eq!(world.sent(), NOTHING);
}
