//! Customers with several accounts, subscriptions or panels, and panel users with several customers.

use marzban_api::testing::{FakePanel, FakeStatus};
use marzban_sync_core::policy::PanelBehind;

use super::over_both_stores;
use super::world::{World, day, literal, problems, reasons, sent, skipped, stopped, user};

over_both_stores! {
    a04_a_panel_user_of_two_customers_outlives_the_first
    a13_a_missing_account_does_not_hand_over_to_a_dead_one
    a14_a_dead_account_in_another_panel_ends_nothing
    a15_a_prepaid_subscription_is_not_cut_to_the_one_before
    a16_a_sibling_on_hold_does_not_keep_an_extension_away
    a17_each_account_speaks_for_its_own_subscription
    a36_a_shared_user_counts_as_its_latest_end
    a37_a_stranger_under_a_second_account_never_leads
    a39_a_slip_on_one_account_is_not_copied_to_the_other
    a39_a_slip_in_one_panel_is_not_copied_to_the_other
}

const NOTHING: [&str; 0] = [];

pub(super) async fn a04_a_panel_user_of_two_customers_outlives_the_first(world: &mut World) {
    world.in_step(5..=30, 90).await;
    world.customer(1, "shared", "expired", Some(-20)).await;
    world.customer(2, "shared", "active", Some(25)).await;
    world.customer(3, "endless", "expired", Some(-20)).await;
    world.customer(4, "endless", "active", None).await;
    world.user("shared", FakeStatus::Expired, Some(-20));
    world.user("endless", FakeStatus::Expired, Some(-20));

    let rows = [
        "1 expired -20d",
        "2 active +25d",
        "3 expired -20d",
        "4 active never",
    ];
    for now in [0, 1, 10] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!(
            (stopped(&run), reasons(&run)),
            ("-".to_owned(), vec!["shared_user 4".to_owned()])
        );
        world.status().await;
        let cleanup = world.cleanup().await;
        assert_eq!(
            (cleanup.cleaned, skipped(&cleanup)),
            (0, vec!["other_subscription 2".to_owned()])
        );
        world.assert_settled().await;
        assert_eq!(world.subscriptions().await[..4], rows);
        // The facts go to all rows.
        assert_eq!(
            world.accounts().await[..4],
            ["1 shared off", "2 shared off", "3 endless off", "4 endless off"]
        );
    }
    assert_eq!(world.sent(), NOTHING);

    // Once both are over it may go, and both rows say so.
    world.on_day(26);
    world.syncs().await;
    assert_eq!(world.subscription_of(2).await, "expired +25d");
    assert_eq!(world.cleanup().await.cleaned, 0);
    world.on_day(34);
    world.syncs().await;
    assert_eq!(world.cleanup().await.cleaned, 2);
    assert_eq!(
        world.accounts().await[..4],
        ["1 - off", "2 - off", "3 endless off", "4 endless off"]
    );
    assert_eq!(world.sent(), ["DELETE /api/user/shared"]);
}

pub(super) async fn a13_a_missing_account_does_not_hand_over_to_a_dead_one(world: &mut World) {
    world.in_step(3..=20, 90).await;
    world.customer(1, "paid", "active", Some(30)).await;
    world.account(2, 1, "old", false).await;
    world.user("old", FakeStatus::Expired, Some(-40));

    let run = world.sync().await;
    assert_eq!(
        (problems(&run), stopped(&run)),
        (
            vec!["old ends_disagree".to_owned(), "paid missing".to_owned()],
            "-".to_owned()
        )
    );
    assert_eq!(
        world.asked(),
        [
            "GET /api/users of 20",
            "GET /api/user/paid",
            "GET /api/users of 1"
        ]
    );
    world.status().await;
    for now in [1, 8, 29] {
        world.on_day(now);
        world.syncs().await;
        assert_eq!(world.cleanup().await.total, 0);
        world.assert_settled().await;
        assert_eq!(world.subscription_of(1).await, "active +30d");
        assert_eq!(world.accounts().await[..2], ["1 paid off", "2 old off"]);
    }
    assert_eq!(world.sent(), NOTHING);

    world.on_day(30);
    world.syncs().await;
    assert_eq!(world.subscription_of(1).await, "expired +30d");
}

pub(super) async fn a14_a_dead_account_in_another_panel_ends_nothing(world: &mut World) {
    world.in_step(3..=20, 90).await;
    world.customer(1, "anna", "active", Some(60)).await;
    world.user("anna", FakeStatus::Expired, Some(-20));
    let mut other = world.turn_to("nl", FakePanel::start().await);
    world.account(2, 1, "anna_nl", true).await;
    world.user("anna_nl", FakeStatus::Limited, Some(60));

    for now in [0, 1, 2, 10, 59] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
        world.status().await;
        assert_eq!(
            (
                world.subscription_of(1).await.as_str(),
                world.cleanup().await.total
            ),
            ("active +60d", 0)
        );
        other = world.turn_to("default", other);
        let run = world.sync().await;
        assert_eq!(
            (stopped(&run), problems(&run)),
            ("-".to_owned(), vec!["anna ends_disagree".to_owned()])
        );
        world.status().await;
        assert_eq!(
            (
                world.subscription_of(1).await.as_str(),
                world.cleanup().await.total
            ),
            ("active +60d", 0)
        );
        world.assert_settled().await;
        other = world.turn_to("nl", other);
    }
    assert_eq!(world.account_of(2).await, "anna_nl off");
    world.on_day(60);
    world.syncs().await;
    assert_eq!(world.subscription_of(1).await, "expired +60d");
    assert_eq!((world.sent(), sent(&other)), (vec![], vec![]));
}

pub(super) async fn a15_a_prepaid_subscription_is_not_cut_to_the_one_before(world: &mut World) {
    world.in_step(2..=20, 90).await;
    world.customer(1, "anna", "active", Some(5)).await;
    world.subscription(100, 1, "active", Some(35)).await;
    let begins = literal(day(5));
    world
        .sql(&format!(
            "UPDATE subscriptions SET start_date = {begins} WHERE id = 100"
        ))
        .await;
    world.user("anna", FakeStatus::Active, Some(5));

    for (now, expected) in [
        (0, vec![]),
        (3, vec![]),
        (4, vec!["anna panel_behind"]),
        (6, vec!["anna panel_behind"]),
    ] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!(
            (stopped(&run).as_str(), problems(&run)),
            ("-", expected.into_iter().map(str::to_owned).collect())
        );
        world.status().await;
        world.assert_settled().await;
        assert_eq!(world.subscription_of(100).await, "active +35d");
        assert_eq!(world.cleanup().await.total, 0);
    }
    world.set_expire("anna", 35);
    assert_eq!(reasons(&world.sync().await), NOTHING);
    world.status().await;
    assert_eq!(
        (world.subscription_of(100).await, world.account_of(1).await),
        ("active +35d".to_owned(), "anna on".to_owned())
    );
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a16_a_sibling_on_hold_does_not_keep_an_extension_away(world: &mut World) {
    world.in_step(3..=20, 90).await;
    world.customer(1, "phone", "active", Some(5)).await;
    world.account(2, 1, "tablet", true).await;
    world.user("phone", FakeStatus::Active, Some(5));
    world
        .panel
        .insert_user(user("tablet", FakeStatus::OnHold, None).on_hold(30 * 86_400));
    world.syncs().await;
    assert_eq!(world.subscription_of(1).await, "active +5d");

    world.set_expire("phone", 90);
    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    assert_eq!(world.subscription_of(1).await, "active +90d");
    world.status().await;
    world.assert_settled().await;
    assert_eq!(world.accounts().await[..2], ["1 phone on", "2 tablet on"]);
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a17_each_account_speaks_for_its_own_subscription(world: &mut World) {
    world.in_step(10..=20, 90).await;
    // The second customer renewed before the library came.
    for (customer, phone, router, end) in [(1, "phone", "router", 5), (2, "phone2", "router2", 95)] {
        world.customer(customer, phone, "active", Some(5)).await;
        world
            .subscription(customer + 100, customer, "active", Some(30))
            .await;
        world.account(customer + 100, customer, router, true).await;
        world.user(phone, FakeStatus::Active, Some(end));
        world.user(router, FakeStatus::Active, Some(30));
    }
    world
        .sql("UPDATE vpn_configs SET subscription_id = id WHERE id IN (1, 2, 101, 102)")
        .await;
    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    assert_eq!(
        world.subscriptions().await[..2],
        ["1 active +5d", "2 active +95d"]
    );

    world.set_expire("phone", 95);
    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    world.status().await;
    world.assert_settled().await;
    assert_eq!(
        world.subscriptions().await[..2],
        ["1 active +95d", "2 active +95d"]
    );
    assert_eq!(
        world.subscriptions().await[13..],
        ["101 active +30d", "102 active +30d"]
    );
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a36_a_shared_user_counts_as_its_latest_end(world: &mut World) {
    world.in_step(3..=20, 90).await;
    world.customer(1, "shared", "expired", Some(-20)).await;
    world.customer(2, "shared", "expired", Some(-15)).await;
    world.user("shared", FakeStatus::Active, Some(60));
    let rows = ["1 expired -20d", "2 expired -15d"];

    let run = world.sync().await;
    assert_eq!(
        (stopped(&run), reasons(&run)),
        ("-".to_owned(), vec!["shared_user 2".to_owned()])
    );
    for problem in &run.problems {
        let detail = problem.detail.as_deref().unwrap();
        assert!(detail.contains("works"), "{detail}");
    }
    world.status().await;
    assert_eq!(
        (
            world.subscriptions().await[..2].to_vec(),
            world.accounts().await[..2].to_vec()
        ),
        (
            rows.map(str::to_owned).to_vec(),
            vec!["1 shared on".to_owned(), "2 shared on".to_owned()]
        )
    );
    world.assert_settled().await;

    world.on_day(3);
    world.set_expire("shared", -10);
    world.syncs().await;
    for now in [10, 30, 66] {
        world.on_day(now);
        world.syncs().await;
        let cleanup = world.cleanup().await;
        assert_eq!(
            (cleanup.cleaned, skipped(&cleanup)),
            (0, vec!["later_end_seen 2".to_owned()])
        );
        world.assert_settled().await;
    }
    assert_eq!(world.subscriptions().await[..2], rows);
    assert_eq!(world.sent(), NOTHING);

    world.on_day(68);
    world.syncs().await;
    assert_eq!(world.cleanup().await.cleaned, 2);
    assert_eq!(world.sent(), ["DELETE /api/user/shared"]);
}

pub(super) async fn a37_a_stranger_under_a_second_account_never_leads(world: &mut World) {
    world.policy.panel_behind = PanelBehind::Extend;
    world.in_step(10..=20, 90).await;
    world.customer(1, "anna", "active", Some(30)).await;
    world.user("anna", FakeStatus::Active, Some(30));
    world.customer(3, "one", "active", Some(30)).await;
    world.account(4, 3, "two", true).await;
    world.user("one", FakeStatus::Active, Some(30));
    world.user("two", FakeStatus::Active, Some(20));
    world.syncs().await;
    let default = world.turn_to("nl", FakePanel::start().await);
    world.account(2, 1, "anna_nl", true).await;
    world.user("anna_nl", FakeStatus::Active, Some(30));
    world.syncs().await;

    // The address of the other panel shows another one, and a name in this panel belongs to somebody else.
    let stranger = FakePanel::start().await;
    stranger.insert_user(user("anna_nl", FakeStatus::Active, Some(300)).created_at(day(-10)));
    let nl = world.turn_to("nl", stranger);
    default.insert_user(user("two", FakeStatus::Active, Some(300)).created_at(day(-10)));
    let (mut other, real) = (default, nl);
    for now in [1, 2, 3] {
        world.on_day(now);
        assert_eq!(problems(&world.sync().await), ["anna_nl other_user"]);
        world.status().await;
        other = world.turn_to("default", other);
        let run = world.sync().await;
        assert_eq!(
            (stopped(&run), problems(&run)),
            ("-".to_owned(), vec!["two other_user".to_owned()])
        );
        world.status().await;
        world.assert_settled().await;
        assert_eq!(
            (world.subscription_of(1).await, world.subscription_of(3).await),
            ("active +30d".to_owned(), "active +30d".to_owned())
        );
        other = world.turn_to("nl", other);
    }
    let stranger = world.turn_to("nl", real);
    assert_eq!(reasons(&world.sync().await), NOTHING);
    assert_eq!(
        (sent(&stranger), sent(&other), world.sent()),
        (vec![], vec![], vec![])
    );
}

pub(super) async fn a39_a_slip_on_one_account_is_not_copied_to_the_other(world: &mut World) {
    world.policy.panel_behind = PanelBehind::Extend;
    world.in_step(3..=20, 90).await;
    world.customer(1, "phone", "active", Some(30)).await;
    world.account(2, 1, "tablet", true).await;
    world.user("phone", FakeStatus::Active, Some(30));
    world.user("tablet", FakeStatus::Active, Some(30));
    world.syncs().await;

    world.on_day(1);
    world.set_expire("tablet", 3_680);
    for now in [1, 2, 5] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
        world.status().await;
        world.assert_settled().await;
        assert_eq!(
            (world.subscription_of(1).await, world.expire("phone")),
            ("active +3680d".to_owned(), "+30d".to_owned())
        );
    }

    // The slip is mended in the panel: from a shared subscription nothing is taken, and nothing is given either.
    world.set_expire("tablet", 30);
    for now in [5, 6, 8] {
        world.on_day(now);
        let run = world.sync().await;
        assert_eq!((stopped(&run), run.problems.is_empty()), ("-".to_owned(), false));
        world.status().await;
        world.assert_settled().await;
        assert_eq!(world.subscription_of(1).await, "active +3680d");
    }
    assert_eq!(
        (world.expire("phone"), world.expire("tablet")),
        ("+30d".to_owned(), "+30d".to_owned())
    );
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn a39_a_slip_in_one_panel_is_not_copied_to_the_other(world: &mut World) {
    world.policy.panel_behind = PanelBehind::Extend;
    world.in_step(3..=20, 90).await;
    world.customer(1, "anna", "active", Some(30)).await;
    world.user("anna", FakeStatus::Active, Some(30));
    world.syncs().await;
    let mut other = world.turn_to("nl", FakePanel::start().await);
    world.account(2, 1, "anna_nl", true).await;
    world.user("anna_nl", FakeStatus::Active, Some(30));
    world.syncs().await;

    world.set_expire("anna_nl", 3_680);
    for now in [1, 2, 5] {
        world.on_day(now);
        world.syncs().await;
        other = world.turn_to("default", other);
        world.syncs().await;
        world.assert_settled().await;
        assert_eq!(world.subscription_of(1).await, "active +3680d");
        assert_eq!(world.expire("anna"), "+30d");
        other = world.turn_to("nl", other);
    }
    assert_eq!((world.sent(), sent(&other)), (vec![], vec![]));
}
