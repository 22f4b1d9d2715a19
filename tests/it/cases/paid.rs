//! Who paid, and what the panel says against it.

use chrono::TimeDelta;
use marzban_api::testing::{FakeNextPlan, FakeStatus};
use marzban_sync_core::policy::{PanelBehind, Trust};

use super::over_both_stores;
use super::world::{World, day, literal, problems, reasons, skipped, stopped, trust, user};

over_both_stores! {
    a01_a_payment_that_never_reached_the_panel_costs_nobody_anything
    a02_a_new_row_does_not_get_the_end_of_the_old_one
    a03_a_length_where_a_moment_belongs_is_no_end
    a18_a_refund_is_not_taken_back
    a26_a_wrong_year_deletes_nobody
    a31_a_push_of_the_bots_own_is_not_made_twice
}

const NO_REQUEST: [&str; 0] = [];

pub(super) async fn a01_a_payment_that_never_reached_the_panel_costs_nobody_anything(world: &mut World) {
    world.in_step(2..=20, 60).await;
    world.customer(1, "anna", "active", Some(-10)).await;
    world.user("anna", FakeStatus::Active, Some(-10));
    world.on_day(-20);
    world.syncs().await;

    // Boris is a customer whom no run has seen before.
    world.on_day(0);
    world.pay(1, 30).await;
    world.customer(21, "boris", "active", Some(30)).await;
    world.user("boris", FakeStatus::Expired, Some(-10));
    let plan = FakeNextPlan {
        data_limit: 1 << 30,
        expire: None,
        add_remaining_traffic: true,
        fire_on_either: false,
    };
    world
        .panel
        .update_user("anna", |user| user.next_plan = Some(plan));
    world.asked();
    let run = world.sync().await;
    assert_eq!(
        (problems(&run), stopped(&run)),
        (
            vec!["anna panel_behind".to_owned(), "boris ends_disagree".to_owned()],
            "-".to_owned()
        )
    );
    let detail = run.problems[0].detail.as_deref().unwrap();
    assert!(detail.contains("no access now"), "{detail}");
    // Access is a fact, and a loss of it is looked at twice.
    assert_eq!(world.asked(), ["GET /api/users of 21", "GET /api/users of 2"]);
    assert_eq!(world.account_of(1).await, "anna off");
    let status = world.status().await;
    assert_eq!((reasons(&status), stopped(&status)), (vec![], "-".to_owned()));
    world.assert_settled().await;

    world.on_day(8);
    world.syncs().await;
    assert_eq!(world.cleanup().await.total, 0);
    assert_eq!(world.subscription_of(1).await, "active +30d");
    assert_eq!(world.subscription_of(21).await, "active +30d");
    assert_eq!(world.sent(), NO_REQUEST);

    // Whoever lets the panel be extended gets what was paid for, but only where an agreement says who moved.
    world.policy.panel_behind = PanelBehind::Extend;
    world.asked();
    let run = world.sync().await;
    assert_eq!(
        (problems(&run), run.extended_in_panel),
        (vec!["boris ends_disagree".to_owned()], 1)
    );
    assert_eq!(
        world.asked(),
        [
            "GET /api/users of 21",
            "GET /api/user/anna",
            "PUT /api/user/anna",
            "GET /api/user/anna"
        ]
    );
    let anna = world.panel.user("anna").unwrap();
    assert_eq!(
        (world.expire("anna").as_str(), anna.status),
        ("+30d", FakeStatus::Active)
    );
    assert_eq!(anna.next_plan, Some(plan));
    world.syncs().await;
    assert_eq!(world.account_of(1).await, "anna on");
    world.assert_settled().await;
}

pub(super) async fn a02_a_new_row_does_not_get_the_end_of_the_old_one(world: &mut World) {
    world.in_step(2..=20, 60).await;
    world.customer(1, "anna", "active", Some(-40)).await;
    world.user("anna", FakeStatus::Active, Some(-40));
    for before in [-60, -39] {
        world.on_day(before);
        world.syncs().await;
    }
    assert_eq!(world.subscription_of(1).await, "expired -40d");

    world.on_day(0);
    world.subscription(100, 1, "active", Some(30)).await;
    for now in [0, 1, 8] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!(
            (problems(&run), stopped(&run)),
            (vec!["anna panel_behind".to_owned()], "-".to_owned())
        );
        world.status().await;
        let cleanup = world.cleanup().await;
        assert_eq!((cleanup.total, stopped(&cleanup.run)), (0, "-".to_owned()));
        world.assert_settled().await;
    }
    assert_eq!(world.subscription_of(1).await, "expired -40d");
    assert_eq!(world.subscription_of(100).await, "active +30d");
    assert_eq!(world.sent(), NO_REQUEST);
}

pub(super) async fn a03_a_length_where_a_moment_belongs_is_no_end(world: &mut World) {
    world.in_step(3..=25, 60).await;
    for (id, name, length) in [(1, "negative", -2_678_400), (2, "small", 2_592_000)] {
        world.customer(id, name, "active", Some(31)).await;
        let made_today = user(name, FakeStatus::Expired, None)
            .created_at(day(0))
            .expire(length);
        world.panel.insert_user(made_today);
    }
    let both = vec![
        "negative implausible_end".to_owned(),
        "small implausible_end".to_owned(),
    ];
    for now in [0, 8, 20] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!((problems(&run), stopped(&run)), (both.clone(), "-".to_owned()));
        world.status().await;
        assert_eq!(world.cleanup().await.total, 0);
        world.assert_settled().await;
        for id in [1, 2] {
            assert_eq!(world.subscription_of(id).await, "active +31d");
        }
    }
    assert_eq!(world.accounts().await[..2], ["1 negative off", "2 small off"]);

    // They end by their own end, and even then nobody believes that the panel user is as old as its end.
    world.on_day(32);
    world.syncs().await;
    assert_eq!(
        world.subscriptions().await[..2],
        ["1 expired +31d", "2 expired +31d"]
    );
    world.on_day(40);
    world.syncs().await;
    let cleanup = world.cleanup().await;
    assert_eq!(
        (skipped(&cleanup), cleanup.cleaned),
        (vec!["panel_end 2".to_owned()], 0)
    );
    assert_eq!(world.sent(), NO_REQUEST);
}

pub(super) async fn a18_a_refund_is_not_taken_back(world: &mut World) {
    world.in_step(1..=20, 200).await;
    world.syncs().await;

    world.on_day(1);
    let now = literal(day(1));
    world
        .sql(&format!(
            "UPDATE subscriptions SET status = 'expired', end_date = {now} WHERE id = 1"
        ))
        .await;
    for now in [1, 2, 9, 30] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!(
            (problems(&run), stopped(&run)),
            (vec!["user1 panel_ahead".to_owned()], "-".to_owned())
        );
        world.status().await;
        world.assert_settled().await;
        assert_eq!(world.subscription_of(1).await, "expired +1d");
        let cleanup = world.cleanup().await;
        assert_eq!((cleanup.cleaned, cleanup.skipped), (0, u64::from(now > 8)));
        assert!(world.has_user("user1"));
    }
    assert_eq!(world.sent(), NO_REQUEST);
}

pub(super) async fn a26_a_wrong_year_deletes_nobody(world: &mut World) {
    world.in_step(4..=40, 400).await;
    let old = |name| user(name, FakeStatus::Active, Some(200)).created_at(day(-400));
    for (id, name) in [(1, "young"), (2, "online"), (3, "old")] {
        world.customer(id, name, "active", Some(200)).await;
    }
    world.user("young", FakeStatus::Active, Some(200));
    world.panel.insert_user(old("online").online_at(day(-1)));
    world.panel.insert_user(old("old"));
    world.syncs().await;

    world.on_day(1);
    for name in ["young", "online", "old"] {
        world.set_expire(name, 200 - 365);
    }
    let run = world.sync().await;
    let expected = vec![
        "young implausible_end".to_owned(),
        "online implausible_end".to_owned(),
    ];
    assert_eq!((problems(&run), stopped(&run)), (expected, "-".to_owned()));
    let rows = ["1 active +200d", "2 active +200d", "3 expired -165d"];
    assert_eq!(world.subscriptions().await[..3], rows);
    world.status().await;
    world.assert_settled().await;

    // Nothing speaks against the third one, and yet it counts as it was.
    for now in [9, 14, 100] {
        world.on_day(now);
        world.syncs().await;
        let cleanup = world.cleanup().await;
        assert_eq!(
            (skipped(&cleanup), cleanup.total),
            (vec!["later_end_seen 1".to_owned()], 1)
        );
    }
    assert_eq!(world.sent(), NO_REQUEST);

    for name in ["young", "online", "old"] {
        world.set_expire(name, 200);
    }
    let run = world.sync().await;
    assert_eq!((reasons(&run), stopped(&run)), (vec![], "-".to_owned()));
    world.status().await;
    assert_eq!(world.subscription_of(3).await, "active +200d");
    assert_eq!(
        world.accounts().await[..3],
        ["1 young on", "2 online on", "3 old on"]
    );
    world.assert_settled().await;
}

pub(super) async fn a31_a_push_of_the_bots_own_is_not_made_twice(world: &mut World) {
    world.policy.panel_behind = PanelBehind::Extend;
    world.in_step(1..=2, 1).await;
    world.in_step(3..=20, 90).await;
    world.syncs().await;

    // Both pay, and the bot's queue is slow: for the second it comes within the day, for the first after it.
    world.pay(1, 31).await;
    world.pay(2, 31).await;
    let run = world.sync().await;
    assert_eq!(problems(&run), ["user1 panel_behind", "user2 panel_behind"]);
    world.set_expire("user2", 31);
    world.at(day(0) + TimeDelta::hours(23));
    let run = world.sync().await;
    assert_eq!(problems(&run), ["user1 panel_behind"]);
    assert_eq!(world.sent(), NO_REQUEST);

    world.on_day(1);
    let run = world.sync().await;
    assert_eq!((reasons(&run), run.extended_in_panel), (vec![], 1));
    assert_eq!(world.sent(), ["PUT /api/user/user1"]);
    assert_eq!(
        (world.expire("user1"), world.expire("user2")),
        ("+31d".to_owned(), "+31d".to_owned())
    );

    // The queue now adds its 30 days to what the library gave: 60 days for one payment.
    world.set_expire("user1", 61);
    for now in [2, 7, 12] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!(
            (problems(&run), stopped(&run)),
            (vec!["user1 ends_disagree".to_owned()], "-".to_owned())
        );
        world.status().await;
        world.assert_settled().await;
        assert_eq!(world.subscription_of(1).await, "active +31d");
    }
    assert_eq!(world.subscription_of(2).await, "active +31d");

    world.answers.trust_panel = trust(&["user1"]);
    world.sync().await;
    world.answers.trust_panel = Trust::Nobody;
    assert_eq!(world.subscription_of(1).await, "active +61d");
    assert_eq!(reasons(&world.sync().await), NO_REQUEST);
    assert_eq!(world.sent(), ["PUT /api/user/user1"]);
}
