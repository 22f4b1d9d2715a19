//! A panel that was restored from a backup, or rebuilt.

use marzban_api::testing::{FakePanel, FakeStatus};
use marzban_sync_core::policy::{PanelBehind, Trust};

use super::over_both_stores;
use super::world::{World, day, literal, reasons, stopped, trust, user};

over_both_stores! {
    a06_a_backup_of_two_nights_ago_takes_back_no_renewal
    a25_three_renewals_that_a_backup_forgot_stand
    a28_a_rebuilt_panel_is_in_step
}

const NOTHING: [&str; 0] = [];

pub(super) async fn a06_a_backup_of_two_nights_ago_takes_back_no_renewal(world: &mut World) {
    world.in_step(1..=33, -1).await;
    world.in_step(34..=66, 10).await;
    world.in_step(67..=1_000, 40).await;
    world.on_day(-10);
    world.syncs().await;

    let backup = world.backup();
    // The first 33 renew in the panel, the others in the bot, which tells the panel.
    world.on_day(-2);
    for id in 1..=66 {
        world.set_expire(&format!("user{id}"), 35);
    }
    let paid = literal(day(35));
    world
        .sql(&format!(
            "UPDATE subscriptions SET end_date = {paid} WHERE id BETWEEN 34 AND 66"
        ))
        .await;
    world.syncs().await;
    let before = world.subscriptions().await;
    assert!(before[..66].iter().all(|row| row.ends_with(" active +35d")));
    let trail = "SELECT username || ' ' || reason || ' ' || substr(old_value, 1, 10) || ' ' || substr(new_value, 1, 10)
         AS text FROM marzban_sync_changes WHERE column_name = 'subscriptions.end_date' AND row_id = 7";
    let (old, new) = (day(-1).format("%Y-%m-%d"), day(35).format("%Y-%m-%d"));
    assert_eq!(
        world.tables.texts(trail).await,
        [format!("user7 extended {old} {new}")]
    );

    world.on_day(0);
    world.restore(backup);
    for now in [0, 2, 11] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!(
            (stopped(&run), reasons(&run)),
            ("safety".to_owned(), vec!["ends_disagree 66".to_owned()])
        );
        let because = run.withheld_because.as_deref().unwrap();
        assert!(because.contains("66 of 1000"), "{because}");
        world.status().await;
        assert_eq!(world.subscriptions().await, before);
        assert_eq!(world.cleanup().await.total, 0);
    }
    world.assert_settled().await;
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a25_three_renewals_that_a_backup_forgot_stand(world: &mut World) {
    world.in_step(1..=3, 5).await;
    world.in_step(4..=100, 60).await;
    world.on_day(-5);
    world.syncs().await;
    let backup = world.backup();
    world.on_day(-1);
    for id in 1..=3 {
        world.pay(id, 35).await;
        world.set_expire(&format!("user{id}"), 35);
    }
    world.syncs().await;
    let before = world.subscriptions().await;

    world.restore(backup);
    // Three of a hundred trip no brake, and are cut off all the same.
    for now in [0, 6, 13] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!(
            (stopped(&run), reasons(&run)),
            ("-".to_owned(), vec!["ends_disagree 3".to_owned()])
        );
        world.status().await;
        world.assert_settled().await;
        assert_eq!(world.subscriptions().await, before);
        assert_eq!(world.cleanup().await.total, 0);
    }
    assert_eq!(
        world.accounts().await[..4],
        ["1 user1 off", "2 user2 off", "3 user3 off", "4 user4 on"]
    );
    assert_eq!(world.sent(), NOTHING);

    // The operator says for one of them that the bot is right, which lets the panel be repaired a day later.
    world.answers.trust_bot = trust(&["user1"]);
    assert_eq!(
        reasons(&world.sync().await),
        ["panel_behind 1", "ends_disagree 2"]
    );
    world.answers.trust_bot = Trust::Nobody;
    world.policy.panel_behind = PanelBehind::Extend;
    assert_eq!(
        reasons(&world.sync().await),
        ["panel_behind 1", "ends_disagree 2"]
    );
    world.on_day(14);
    let run = world.sync().await;
    assert_eq!(
        (reasons(&run), run.extended_in_panel),
        (vec!["ends_disagree 2".to_owned()], 1)
    );
    assert_eq!(
        (world.expire("user1").as_str(), world.expire("user2").as_str()),
        ("+35d", "+5d")
    );
    world.syncs().await;
    assert_eq!(world.account_of(1).await, "user1 on");
    assert_eq!(world.subscriptions().await, before);
    assert_eq!(world.sent(), ["PUT /api/user/user1"]);
    world.assert_settled().await;
}

pub(super) async fn a28_a_rebuilt_panel_is_in_step(world: &mut World) {
    world.in_step(1..=40, 60).await;
    world.long_over(41..=41, -20).await;
    world.syncs().await;
    let before = (world.subscriptions().await, world.accounts().await);

    let rebuilt = FakePanel::start().await;
    let alive = (1..=40).map(|id| (id, FakeStatus::Active, 60));
    for (id, status, end) in alive.chain([(41, FakeStatus::Expired, -20)]) {
        rebuilt.insert_user(user(&format!("user{id}"), status, Some(end)).created_at(day(1)));
    }
    world.turn_to("default", rebuilt);
    for now in [1, 2] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
        assert_eq!(world.asked()[..], ["GET /api/users of 41"]);
        assert_eq!(reasons(&world.status().await), NOTHING);
        world.assert_settled().await;
        world.asked();
    }
    assert_eq!((world.subscriptions().await, world.accounts().await), before);

    // It is the panel from now on: its word counts, and who was over is cleaned up.
    world.set_expire("user1", 90);
    world.syncs().await;
    assert_eq!(world.subscription_of(1).await, "active +90d");
    assert_eq!(world.cleanup().await.cleaned, 1);
    assert_eq!(world.sent(), ["DELETE /api/user/user41"]);
}
