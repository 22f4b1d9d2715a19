//! What is said about a user, and its end.

use chrono::{DateTime, TimeDelta};

use super::{Fixture, facts, later, look, put, working};
use crate::model::observation::{Observation, PanelStatus, PanelUser};

/// `expire` is a moment to the second, in UTC.
pub async fn the_end_of_access_arrives_to_the_second(fixture: &dyn Fixture) {
    let name = fixture.name("ending");
    fixture.put(&name, &working()).await;
    assert_eq!(facts(fixture, &name).await.expire, Some(later()));
}

/// A user without an end has none, rather than one in 1970, and works.
pub async fn unlimited_is_not_zero(fixture: &dyn Fixture) {
    let name = fixture.name("unlimited");
    let user = PanelUser {
        expire: None,
        ..working()
    };
    fixture.put(&name, &user).await;
    let user = facts(fixture, &name).await;
    assert_eq!((user.status.clone(), user.expire), (PanelStatus::Active, None));
    assert!(user.works(later()) && !user.is_stale_active(later()));
}

/// A user whose time has not begun is held, and works.
pub async fn a_held_user_is_held(fixture: &dyn Fixture) {
    let name = fixture.name("held");
    let held = PanelUser {
        status: PanelStatus::OnHold,
        expire: None,
        ..working()
    };
    fixture.put(&name, &held).await;
    let user = facts(fixture, &name).await;
    assert_eq!((user.status.clone(), user.expire), (PanelStatus::OnHold, None));
    assert!(user.works(later()));
}

/// Each status that the panel gives is told from the others, and one is not made up from the end.
pub async fn every_status_arrives(fixture: &dyn Fixture) {
    let statuses = [
        PanelStatus::Active,
        PanelStatus::Disabled,
        PanelStatus::Limited,
        PanelStatus::Expired,
        PanelStatus::OnHold,
    ];
    for (number, status) in statuses.into_iter().enumerate() {
        let name = fixture.name(&format!("status{number}"));
        fixture
            .put(
                &name,
                &PanelUser {
                    status: status.clone(),
                    ..working()
                },
            )
            .await;
        assert_eq!(facts(fixture, &name).await.status, status);
    }
}

/// Traffic arrives to the byte, nothing included, and the last connection to the microsecond, and never as another time.
pub async fn traffic_and_the_last_connection_arrive_exactly(fixture: &dyn Fixture) {
    let seen = DateTime::UNIX_EPOCH + TimeDelta::microseconds(1_757_894_400_123_456);
    for (used_traffic, online_at) in [(0, None), (1, Some(seen)), (5_000_000_000_001, Some(seen))] {
        let name = fixture.name("used");
        fixture
            .put(
                &name,
                &PanelUser {
                    used_traffic,
                    online_at,
                    ..working()
                },
            )
            .await;
        let user = facts(fixture, &name).await;
        assert_eq!((user.used_traffic, user.online_at), (used_traffic, online_at));
    }
}

/// A user that was deleted and made again under its name says so by when it was made.
pub async fn a_user_made_anew_was_made_at_another_time(fixture: &dyn Fixture) {
    let name = fixture.name("anew");
    for days in [1, 2] {
        let created_at = Some(DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + days));
        fixture
            .put(
                &name,
                &PanelUser {
                    created_at,
                    ..working()
                },
            )
            .await;
        assert_eq!(facts(fixture, &name).await.created_at, created_at);
        fixture.remove(&name).await;
        assert_eq!(look(fixture, &name).await, Observation::NotFound);
    }
}

/// A deletion takes the user of this name, and nobody whose name is like it.
pub async fn a_deletion_takes_the_user_and_no_other(fixture: &dyn Fixture) {
    let names = put(fixture, &["user", "user_", "user_2", "the_user"]).await;
    let [deleted, others @ ..] = names.as_slice() else {
        panic!("there are four names")
    };
    fixture
        .panel()
        .delete_user(deleted)
        .await
        .expect("the user is deleted");
    assert!(!fixture.has(deleted).await);
    for name in others {
        assert!(fixture.has(name).await, "{name}");
    }
}

/// A user that is gone is as good as deleted, so that a run which was cut off can be repeated.
pub async fn a_user_that_is_gone_is_deleted_again_without_an_error(fixture: &dyn Fixture) {
    let names = put(fixture, &["twice", "stays"]).await;
    let [twice, stays] = names.as_slice() else {
        panic!("there are two names")
    };
    for _ in 0..2 {
        fixture
            .panel()
            .delete_user(twice)
            .await
            .expect("the user is gone");
        assert_eq!(look(fixture, twice).await, Observation::NotFound);
    }
    let never = fixture.name("never");
    fixture
        .panel()
        .delete_user(&never)
        .await
        .expect("there never was one");
    assert!(fixture.has(stays).await);
}

/// A panel says which version it is, and how it fares.
pub async fn the_figures_of_the_panel_are_read(fixture: &dyn Fixture) {
    put(fixture, &["counted"]).await;
    let stats = fixture.panel().system_stats().await.expect("the panel answers");
    assert_ne!(stats.version, "");
    assert!(
        stats.mem_used <= stats.mem_total && stats.cpu_cores > 0,
        "{stats:?}"
    );
    assert!(stats.total_user > 0, "{stats:?}");
}

/// A panel tells its own time, to the second, with each answer, wherever its clock stands.
pub async fn the_date_is_that_of_the_last_answer(fixture: &dyn Fixture) {
    let panel = fixture.panel();
    for days in [20_000, 30_000, 20_500] {
        let date = DateTime::UNIX_EPOCH + TimeDelta::days(days);
        fixture.set_clock(date + TimeDelta::milliseconds(750)).await;
        // A panel that keeps tokens may find the one from another time to be of no use, and makes a new one.
        let answer = panel.user(&fixture.name("nobody")).await;
        assert_eq!(answer.expect("the panel answers"), Observation::NotFound);
        assert_eq!(panel.last_date(), Some(date));
    }
}
