//! How users are changed: whom, what of them, and what is said of it.

use std::mem::discriminant;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Fault, Fixture, facts, later, look, working};
use crate::model::observation::{Observation, PanelStatus, PanelUser};
use crate::port::error::{PanelError, PanelErrorKind};
use crate::port::panel::{ExpectedUser, UpdateOutcome};

/// The end that a user of these laws is extended to: a month after [`later`].
fn much_later() -> DateTime<Utc> {
    later() + TimeDelta::days(30)
}

/// Makes a user, with all that a panel keeps beside the facts, and returns its name and the facts.
async fn made(fixture: &dyn Fixture, name: &str, user: &PanelUser) -> (String, PanelUser) {
    let name = fixture.name(name);
    fixture.put(&name, user).await;
    fixture.furnish(&name).await;
    let user = facts(fixture, &name).await;
    (name, user)
}

fn as_it_is(user: &PanelUser) -> ExpectedUser {
    ExpectedUser {
        expire: user.expire,
        created_at: user.created_at,
    }
}

/// What such a user is not like: its end, its birth, or either.
fn as_it_is_not(user: &PanelUser) -> [ExpectedUser; 4] {
    let right = as_it_is(user);
    let expire = Some(later() - TimeDelta::seconds(1));
    let created_at = user.created_at.map(|born| born - TimeDelta::seconds(3));
    [
        ExpectedUser { expire, ..right },
        ExpectedUser {
            created_at: created_at.or(Some(later())),
            ..right
        },
        ExpectedUser {
            created_at: None,
            expire,
        },
        ExpectedUser {
            expire: None,
            created_at,
        },
    ]
}

async fn extend(
    fixture: &dyn Fixture,
    name: &str,
    expected: &ExpectedUser,
) -> Result<UpdateOutcome, PanelErrorKind> {
    let outcome = fixture.panel().extend_user(name, expected, much_later()).await;
    outcome.map_err(|error: PanelError| error.kind())
}

async fn disable(
    fixture: &dyn Fixture,
    name: &str,
    expected: &ExpectedUser,
) -> Result<UpdateOutcome, PanelErrorKind> {
    let outcome = fixture.panel().disable_user(name, expected).await;
    outcome.map_err(|error: PanelError| error.kind())
}

/// An extension moves the end, and leaves the next plan, the limit, the note and all else as they are.
pub async fn an_extension_moves_the_end_and_nothing_else(fixture: &dyn Fixture) {
    let (name, user) = made(fixture, "extended", &working()).await;
    let rest = fixture.rest(&name).await;
    assert_eq!(
        extend(fixture, &name, &as_it_is(&user)).await,
        Ok(UpdateOutcome::Done)
    );
    let expire = Some(much_later());
    assert_eq!(facts(fixture, &name).await, PanelUser { expire, ..user });
    assert_eq!(fixture.rest(&name).await, rest);
}

/// An extension gives access back to whose time was over, and not to whose traffic is used up.
pub async fn an_extension_revives_the_expired_and_leaves_the_limited(fixture: &dyn Fixture) {
    let past = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    for (status, expire, after) in [
        (PanelStatus::Expired, past, PanelStatus::Active),
        (PanelStatus::Limited, past, PanelStatus::Limited),
        (PanelStatus::Limited, later(), PanelStatus::Limited),
    ] {
        let user = PanelUser {
            status: status.clone(),
            expire: Some(expire),
            ..working()
        };
        let (name, user) = made(fixture, "over", &user).await;
        let rest = fixture.rest(&name).await;
        let outcome = extend(fixture, &name, &as_it_is(&user)).await;
        assert_eq!(outcome, Ok(UpdateOutcome::Done), "{status:?}");
        let now = facts(fixture, &name).await;
        assert_eq!((now.status, now.expire), (after, Some(much_later())));
        assert_eq!(fixture.rest(&name).await, rest, "{status:?}");
    }
}

/// A user whose end or birth is another than expected is told of, and stays as it is.
pub async fn a_user_that_is_not_as_expected_is_not_extended(fixture: &dyn Fixture) {
    let (name, user) = made(fixture, "other", &working()).await;
    for expected in as_it_is_not(&user) {
        // An expectation without an end has nothing that could be extended.
        let expire = expected.expire.or(Some(later() - TimeDelta::days(1)));
        let expected = ExpectedUser { expire, ..expected };
        let outcome = extend(fixture, &name, &expected).await;
        let told = UpdateOutcome::Changed(Observation::Found(user.clone()));
        assert_eq!(outcome, Ok(told), "{expected:?}");
        assert_eq!(facts(fixture, &name).await, user, "{expected:?}");
    }
}

/// A user that is on hold or disabled is not extended, though it is as expected.
pub async fn only_a_user_whose_time_has_begun_is_extended(fixture: &dyn Fixture) {
    for status in [PanelStatus::OnHold, PanelStatus::Disabled] {
        let user = PanelUser { status, ..working() };
        let (name, user) = made(fixture, "resting", &user).await;
        let outcome = extend(fixture, &name, &as_it_is(&user)).await;
        let told = UpdateOutcome::Changed(Observation::Found(user.clone()));
        assert_eq!(outcome, Ok(told));
        assert_eq!(facts(fixture, &name).await, user);
    }
}

/// A user that does not exist is not extended, nor made.
pub async fn a_user_that_is_gone_is_not_extended(fixture: &dyn Fixture) {
    let (name, user) = made(fixture, "gone", &working()).await;
    fixture.remove(&name).await;
    let outcome = extend(fixture, &name, &as_it_is(&user)).await;
    assert_eq!(outcome, Ok(UpdateOutcome::Changed(Observation::NotFound)));
    assert!(!fixture.has(&name).await);
}

/// An extension never takes time away.
pub async fn an_end_is_never_moved_earlier(fixture: &dyn Fixture) {
    let unlimited = PanelUser {
        expire: None,
        ..working()
    };
    for (word, user) in [("longer", working()), ("unlimited", unlimited)] {
        let (name, user) = made(fixture, word, &user).await;
        let earlier = later() - TimeDelta::seconds(1);
        let outcome = fixture
            .panel()
            .extend_user(&name, &as_it_is(&user), earlier)
            .await;
        let kind = outcome.expect_err("this is no extension").kind();
        assert_eq!(kind, PanelErrorKind::Invalid, "{word}");
        assert_eq!(facts(fixture, &name).await, user);
    }
}

/// An extension that is repeated, with the same expectation or a new one, is done once and for all.
pub async fn an_extension_can_be_repeated(fixture: &dyn Fixture) {
    let (name, user) = made(fixture, "again", &working()).await;
    let expire = Some(much_later());
    let extended = PanelUser {
        expire,
        ..user.clone()
    };
    for expected in [as_it_is(&user), as_it_is(&user), as_it_is(&extended)] {
        let outcome = extend(fixture, &name, &expected).await;
        assert_eq!(outcome, Ok(UpdateOutcome::Done), "{expected:?}");
        assert_eq!(facts(fixture, &name).await, extended);
    }
}

/// A user that is disabled has no access any more, and keeps its end, its next plan and all else.
pub async fn a_disabled_user_keeps_all_else(fixture: &dyn Fixture) {
    let (name, user) = made(fixture, "off", &working()).await;
    let rest = fixture.rest(&name).await;
    assert_eq!(
        disable(fixture, &name, &as_it_is(&user)).await,
        Ok(UpdateOutcome::Done)
    );
    let status = PanelStatus::Disabled;
    assert_eq!(facts(fixture, &name).await, PanelUser { status, ..user });
    assert_eq!(fixture.rest(&name).await, rest);
}

/// A user whose end or birth is another than expected is told of, and keeps its access.
pub async fn a_user_that_is_not_as_expected_is_not_disabled(fixture: &dyn Fixture) {
    let (name, user) = made(fixture, "other", &working()).await;
    for expected in as_it_is_not(&user) {
        let outcome = disable(fixture, &name, &expected).await;
        let told = UpdateOutcome::Changed(Observation::Found(user.clone()));
        assert_eq!(outcome, Ok(told), "{expected:?}");
        assert_eq!(facts(fixture, &name).await, user, "{expected:?}");
    }
}

/// A user that is disabled already, or gone, counts as disabled.
pub async fn disabling_can_be_repeated(fixture: &dyn Fixture) {
    let (name, user) = made(fixture, "off", &working()).await;
    for _ in 0..2 {
        let outcome = disable(fixture, &name, &as_it_is(&user)).await;
        assert_eq!(outcome, Ok(UpdateOutcome::Done));
        assert_eq!(facts(fixture, &name).await.status, PanelStatus::Disabled);
    }
    fixture.remove(&name).await;
    let outcome = disable(fixture, &name, &as_it_is(&user)).await;
    assert_eq!(outcome, Ok(UpdateOutcome::Done));
    assert_eq!(look(fixture, &name).await, Observation::NotFound);
}

/// A user that the panel cannot show, or that is not ours to see, is told of as such, and stays as it is.
pub async fn a_user_that_is_not_seen_is_not_changed(fixture: &dyn Fixture) {
    let (poison, unseen) = made(fixture, "poison", &working()).await;
    let (theirs, _) = made(fixture, "theirs", &working()).await;
    fixture.plant(Fault::Poison(&poison)).await;
    fixture.plant(Fault::OtherAdmin(&theirs)).await;
    let expected = as_it_is(&unseen);
    for name in [&poison, &theirs] {
        let seen = discriminant(&look(fixture, name).await);
        for outcome in [
            extend(fixture, name, &expected).await,
            disable(fixture, name, &expected).await,
        ] {
            let is_told = matches!(&outcome, Ok(UpdateOutcome::Changed(now)) if discriminant(now) == seen);
            assert!(is_told, "{name} is {outcome:?}");
        }
        assert_eq!(discriminant(&look(fixture, name).await), seen, "{name}");
        assert!(fixture.has(name).await, "{name}");
    }
}

/// A change whose answer was lost, though it is done, is done: it is looked after.
pub async fn a_change_that_is_done_is_a_success_whatever_the_panel_says(fixture: &dyn Fixture) {
    let (name, user) = made(fixture, "lost", &working()).await;
    fixture.plant(Fault::LostAnswer(&name)).await;
    assert_eq!(
        extend(fixture, &name, &as_it_is(&user)).await,
        Ok(UpdateOutcome::Done)
    );
    let user = facts(fixture, &name).await;
    assert_eq!(user.expire, Some(much_later()));
    fixture.plant(Fault::LostAnswer(&name)).await;
    assert_eq!(
        disable(fixture, &name, &as_it_is(&user)).await,
        Ok(UpdateOutcome::Done)
    );
    assert_eq!(facts(fixture, &name).await.status, PanelStatus::Disabled);
}

/// A change that was lost on its way, so that the user is as it was and may yet become another, is unclear.
pub async fn a_change_that_may_yet_happen_is_unclear(fixture: &dyn Fixture) {
    let (name, user) = made(fixture, "lost", &working()).await;
    let unclear = Err(PanelErrorKind::Unclear);
    fixture.plant(Fault::LostChange(&name)).await;
    assert_eq!(extend(fixture, &name, &as_it_is(&user)).await, unclear);
    fixture.plant(Fault::LostChange(&name)).await;
    assert_eq!(disable(fixture, &name, &as_it_is(&user)).await, unclear);
    assert_eq!(facts(fixture, &name).await, user);
}
