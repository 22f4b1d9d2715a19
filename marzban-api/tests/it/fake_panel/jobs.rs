//! The jobs that no request starts, on the panel's clock.

use std::time::Duration;

use marzban_api::testing::{FakeNextPlan, FakeStatus, FakeUser};

use super::Setup;

const DAY: Duration = Duration::from_hours(24);

fn names(setup: &Setup) -> Vec<String> {
    let users = setup.panel.state().users;
    users.into_iter().map(|user| user.username).collect()
}

#[tokio::test]
async fn traffic_starts_anew_when_its_strategy_says_so_and_a_limited_user_is_active_again() {
    let setup = Setup::new().await;
    let with = |name: &str, strategy: &str| {
        let mut user = FakeUser::new(name)
            .data_limit(100)
            .used_traffic(100)
            .status(FakeStatus::Limited);
        strategy.clone_into(&mut user.data_limit_reset_strategy);
        user
    };
    for (name, strategy) in [("daily", "day"), ("weekly", "week"), ("never", "no_reset")] {
        setup.panel.insert_user(with(name, strategy));
    }
    let used = || {
        let users = setup.panel.state().users;
        users
            .into_iter()
            .map(|user| (user.used_traffic, user.status))
            .collect::<Vec<_>>()
    };
    let (limited, active) = ((100, FakeStatus::Limited), (0, FakeStatus::Active));
    setup.panel.reset_by_strategy();
    assert_eq!(used(), [limited, limited, limited]);
    setup.panel.advance(DAY);
    setup.panel.reset_by_strategy();
    assert_eq!(used(), [active, limited, limited]);
    setup.panel.update_user("daily", |user| user.used_traffic = 50);
    setup.panel.advance(DAY / 2);
    setup.panel.reset_by_strategy();
    assert_eq!(
        used(),
        [(50, FakeStatus::Active), limited, limited],
        "not a day since the last one"
    );
    setup.panel.advance(DAY * 6);
    setup.panel.reset_by_strategy();
    assert_eq!(used(), [active, active, limited]);
}

#[tokio::test]
async fn an_expired_user_is_deleted_so_many_days_after_it_expired() {
    let setup = Setup::new().await;
    let now = setup.panel.state().now.timestamp();
    let with = |name: &str, days: Option<i64>| {
        let mut user = FakeUser::new(name).expire(now);
        user.auto_delete_in_days = days;
        user
    };
    setup.panel.insert_user(with("two", Some(2)));
    setup.panel.insert_user(with("never", None));
    setup.panel.review();
    setup.panel.advance(DAY);
    setup.panel.auto_delete();
    assert_eq!(names(&setup), ["two", "never"]);
    setup.panel.advance(DAY);
    setup.panel.auto_delete();
    assert_eq!(names(&setup), ["never"]);
}

#[tokio::test]
async fn the_next_plan_is_applied_by_a_route_that_denies_it() {
    let setup = Setup::new().await;
    let plan = FakeNextPlan {
        data_limit: 500,
        expire: Some(1_800_000_000),
        add_remaining_traffic: false,
        fire_on_either: true,
    };
    let alice = FakeUser::new("alice")
        .data_limit(100)
        .used_traffic(30)
        .next_plan(plan);
    setup.panel.insert_user(alice);
    setup.panel.insert_user(FakeUser::new("bob").next_plan(plan));
    let reply = setup.post("/api/user/alice/active-next", "").await;
    reply.assert(404, r#"{"detail":"User doesn't have next plan"}"#);
    let alice = setup.panel.user("alice").expect("alice");
    assert_eq!((alice.data_limit, alice.expire), (Some(570), Some(1_800_000_000)));
    assert_eq!((alice.used_traffic, alice.next_plan), (0, None));
    let reply = setup.post("/api/user/bob/active-next", "").await;
    reply.assert_internal_error();
    assert_eq!(setup.panel.user("bob").expect("bob").next_plan, Some(plan));
}

#[tokio::test]
async fn a_reset_of_all_is_everybodys_for_the_environments_admin_and_its_own_for_another() {
    let setup = Setup::new().await;
    for (name, owner) in [("owned", Some("root2")), ("ownerless", None)] {
        let mut user = FakeUser::new(name).used_traffic(7).owner(owner);
        user.earlier_traffic = 5;
        setup.panel.insert_user(user);
    }
    let used = || {
        let users = setup.panel.state().users;
        users
            .into_iter()
            .map(|user| user.used_traffic + user.earlier_traffic)
            .collect::<Vec<_>>()
    };
    setup.call_as("root2", "POST", "/api/users/reset").await;
    assert_eq!(used(), [0, 12]);
    setup
        .post("/api/users/reset", "")
        .await
        .assert(200, r#"{"detail":"Users successfully reset."}"#);
    assert_eq!(used(), [0, 0]);
}

#[tokio::test]
async fn the_date_of_an_answer_is_the_panels_own() {
    let panel = marzban_api::testing::FakePanel::start().await;
    panel.set_now("2025-09-15T00:00:07Z".parse().unwrap());
    let mut socket = tokio::net::TcpStream::connect(panel.url().trim_start_matches("http://"))
        .await
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: panel\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut socket, request)
        .await
        .unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut answer)
        .await
        .unwrap();
    let dates: Vec<&str> = answer.lines().filter(|line| line.starts_with("date: ")).collect();
    assert_eq!(dates, ["date: Mon, 15 Sep 2025 00:00:07 GMT"]);
}
