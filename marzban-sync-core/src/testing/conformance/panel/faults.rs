//! What is said when something is wrong.

use chrono::TimeDelta;

use super::{Fault, Fixture, is_found, later, list, look, put};
use crate::model::observation::Observation;
use crate::port::error::PanelErrorKind;
use crate::port::panel::ExpectedUser;

/// One user that the panel cannot render is unreadable, in a list and alone, and all others are read.
pub async fn a_user_that_cannot_be_rendered_spoils_no_other(fixture: &dyn Fixture) {
    let names = put(fixture, &["before", "poison", "after", "last"]).await;
    let [_, poison, ..] = names.as_slice() else {
        panic!("there are four names")
    };
    fixture.plant(Fault::Poison(poison)).await;
    let answers = list(fixture, &names).await;
    let found: Vec<bool> = answers.iter().map(is_found).collect();
    assert_eq!(found, [true, false, true, true], "{answers:?}");
    for answer in [answers.get(1).cloned(), Some(look(fixture, poison).await)] {
        assert!(matches!(answer, Some(Observation::Unreadable(_))), "{answer:?}");
    }
}

/// A user of another admin is there and not ours to see: never missing, and never deleted.
pub async fn a_user_of_another_admin_is_not_permitted(fixture: &dyn Fixture) {
    let names = put(fixture, &["ours", "theirs"]).await;
    let [ours, theirs] = names.as_slice() else {
        panic!("there are two names")
    };
    fixture.plant(Fault::OtherAdmin(theirs)).await;
    let answers = list(fixture, &names).await;
    let [first, second] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert!(is_found(first), "{first:?}");
    assert!(
        matches!(second, Observation::NotListed | Observation::NotPermitted),
        "{second:?}"
    );
    assert_eq!(look(fixture, theirs).await, Observation::NotPermitted);
    let deleted = fixture.panel().delete_user(theirs).await;
    let kind = deleted.expect_err("it is not ours to delete").kind();
    assert_eq!(kind, PanelErrorKind::Invalid, "one user, not the whole panel");
    assert!(fixture.has(theirs).await && fixture.has(ours).await);
}

/// A deletion that is answered with an error, though it is done, is a success: it is looked after.
pub async fn a_deletion_that_is_done_is_a_success_whatever_the_panel_says(fixture: &dyn Fixture) {
    let names = put(fixture, &["ownerless"]).await;
    let [name] = names.as_slice() else {
        panic!("there is one name")
    };
    fixture.plant(Fault::Ownerless(name)).await;
    fixture.panel().delete_user(name).await.expect("the user is gone");
    assert!(!fixture.has(name).await);
}

/// A panel that does not answer is unavailable, whatever is asked; that is never said of a user, and nobody is deleted.
pub async fn an_outage_says_nothing_about_a_user(fixture: &dyn Fixture) {
    let names = put(fixture, &["there"]).await;
    let [name] = names.as_slice() else {
        panic!("there is one name")
    };
    fixture.plant(Fault::Outage).await;
    let panel = fixture.panel();
    let nobody = fixture.name("nobody");
    for name in [name, &nobody] {
        let alone = panel.user(name).await.map_err(|error| error.kind());
        assert_eq!(alone, Err(PanelErrorKind::Unavailable), "{name}");
        let listed = panel.users(std::slice::from_ref(name)).await;
        assert_eq!(
            listed.map_err(|error| error.kind()),
            Err(PanelErrorKind::Unavailable)
        );
    }
    let stats = panel.system_stats().await.map_err(|error| error.kind());
    assert_eq!(stats.map(|_| ()), Err(PanelErrorKind::Unavailable));
    let deleted = panel.delete_user(name).await.map_err(|error| error.kind());
    let expected = ExpectedUser {
        expire: Some(later()),
        created_at: None,
    };
    let end = later() + TimeDelta::days(1);
    let extended = panel.extend_user(name, &expected, end).await.map(drop);
    let disabled = panel.disable_user(name, &expected).await.map(drop);
    let changes = [extended, disabled].map(|outcome| outcome.map_err(|error| error.kind()));
    for outcome in [vec![deleted], changes.to_vec()].concat() {
        assert!(
            matches!(
                outcome,
                Err(PanelErrorKind::Unavailable | PanelErrorKind::Unclear)
            ),
            "{outcome:?}"
        );
    }
    assert!(fixture.has(name).await);
}
