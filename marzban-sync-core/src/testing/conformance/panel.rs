//! The laws that every [`Panel`] obeys, each a documented function, to be run against any implementation.
//!
//! A [`Fixture`] reaches around the panel, to put users in and to spoil things. What it cannot do it says by its
//! [abilities](Fixture::can), and the laws that need that are skipped, and named.

use std::fmt;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use crate::model::observation::{Observation, PanelStatus, PanelUser};
use crate::port::panel::Panel;

mod changes;
mod faults;
mod lists;
mod users;

pub use changes::*;
pub use faults::*;
pub use lists::*;
pub use users::*;

/// A panel of one test, and a way around it to its users.
///
/// Its methods panic when they fail: the test is over then.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The panel; asked for again after a fault was planted.
    fn panel(&self) -> Arc<dyn Panel>;

    /// Whether a law that needs this can be checked.
    fn can(&self, ability: Ability) -> bool;

    /// The name that stands for this one: in a panel that others use too, the names of a fixture are its own.
    fn name(&self, name: &str) -> String;

    /// Makes a user with these facts, or as many of them as the panel lets one set, in the place of one with that name.
    async fn put(&self, name: &str, user: &PanelUser);

    /// Gives a user a next plan, a data limit that it has not reached, and a note, whatever its status and as far as
    /// the panel knows such.
    async fn furnish(&self, name: &str);

    /// All that the panel keeps of a user and that no [`PanelUser`] has, [`furnish`](Self::furnish)ed or not: in any
    /// words, which are the same as long as all of it is.
    async fn rest(&self, name: &str) -> String;

    /// Whether there is such a user, whoever may see it.
    async fn has(&self, name: &str) -> bool;

    /// Takes a user out, whatever is wrong with it.
    async fn remove(&self, name: &str);

    /// Sets the panel's own clock.
    async fn set_clock(&self, now: DateTime<Utc>);

    /// Spoils something, as [`can`](Self::can) has promised.
    async fn plant(&self, fault: Fault<'_>);

    /// Removes all users that the fixture has made.
    async fn clean_up(&self);
}

/// What a fixture may or may not be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ability {
    /// Every fact about a user can be set, those that a panel only counts included.
    Facts,
    /// A user may have any name, also one that a panel would refuse.
    OddNames,
    /// [`Fault::Poison`].
    Poison,
    /// [`Fault::OtherAdmin`].
    OtherAdmins,
    /// [`Fault::Ownerless`].
    Ownerless,
    /// [`Fault::Outage`].
    Outages,
    /// [`Fault::LostAnswer`] and [`Fault::LostChange`].
    Losses,
    /// A user has more to it than its facts, which [`Fixture::furnish`] sets and [`Fixture::rest`] tells.
    Furniture,
    /// [`Fixture::set_clock`].
    Clock,
}

/// Something that a fixture spoils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault<'a> {
    /// The panel cannot render this user.
    Poison(&'a str),
    /// This user belongs to another admin than the one who asks.
    OtherAdmin(&'a str),
    /// This user has no owner, so the panel says 500 to its deletion, though it is done.
    Ownerless(&'a str),
    /// From now on the panel answers nothing.
    Outage,
    /// The panel makes the next change of this user, and its answer is lost.
    LostAnswer(&'a str),
    /// The next change of this user is lost, and with it the answer.
    LostChange(&'a str),
}

/// A law by its name, and what it needs.
#[derive(Clone, Copy)]
pub struct Law {
    /// The name of its function.
    pub name: &'static str,
    /// What a fixture must be able to do.
    pub needs: &'static [Ability],
    check: Check,
}

type Check = for<'a> fn(&'a dyn Fixture) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What became of a law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds; one that does not panics.
    Passed,
    /// It could not be checked, as the fixture lacks an ability.
    Skipped(Ability),
}

impl Law {
    /// The law of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        LAWS.iter().find(|law| law.name == name)
    }

    /// Checks it; one that cannot be checked is named on stderr, where a test runner does not keep it to itself.
    pub async fn check(&self, fixture: &dyn Fixture) -> Outcome {
        if let Some(lacking) = self.needs.iter().find(|ability| !fixture.can(**ability)) {
            let words = format!("skipped: {}, for that a fixture needs {lacking:?}\n", self.name);
            std::io::stderr()
                .write_all(words.as_bytes())
                .expect("stderr is open");
            return Outcome::Skipped(*lacking);
        }
        (self.check)(fixture).await;
        fixture.clean_up().await;
        Outcome::Passed
    }
}

impl fmt::Debug for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Law")
            .field("name", &self.name)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

/// Every law.
pub const LAWS: &[Law] = crate::panel_conformance!(@laws table);

/// Checks every law, each over a fixture of its own, and returns what became of each; a law that is broken panics.
pub async fn all<F: Fixture>(make: impl AsyncFn() -> F) -> Vec<(&'static str, Outcome)> {
    let mut outcomes = Vec::new();
    for law in LAWS {
        outcomes.push((law.name, law.check(&make().await).await));
    }
    outcomes
}

/// A moment long after every test: 2100-01-01 00:00:59 UTC.
fn later() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(4_102_444_859)
}

/// A user that works until [`later`], and was never used.
fn working() -> PanelUser {
    PanelUser {
        status: PanelStatus::Active,
        expire: Some(later()),
        used_traffic: 0,
        online_at: None,
        created_at: None,
        spelling: None,
    }
}

/// Makes users that work, and returns their names.
async fn put(fixture: &dyn Fixture, names: &[&str]) -> Vec<String> {
    let mut made = Vec::new();
    for name in names {
        let name = fixture.name(name);
        fixture.put(&name, &working()).await;
        made.push(name);
    }
    made
}

async fn list(fixture: &dyn Fixture, names: &[String]) -> Vec<Observation> {
    let answer = fixture.panel().users(names).await;
    answer.expect("the panel answers")
}

async fn look(fixture: &dyn Fixture, name: &str) -> Observation {
    let answer = fixture.panel().user(name).await;
    answer.expect("the panel answers")
}

/// The facts about a user, that a list and a look of its own agree on.
async fn facts(fixture: &dyn Fixture, name: &str) -> PanelUser {
    let alone = look(fixture, name).await;
    let listed = list(fixture, &[name.to_owned()]).await;
    assert_eq!(listed, std::slice::from_ref(&alone), "{name}");
    match alone {
        Observation::Found(user) => user,
        other => panic!("{name} is {other:?}"),
    }
}

fn is_found(observation: &Observation) -> bool {
    matches!(observation, Observation::Found(_))
}

/// One `#[tokio::test]` for each law of [`conformance::panel`](crate::testing::conformance::panel), so that one failure
/// hides nothing.
///
/// The argument is an expression that makes a [`Fixture`](crate::testing::conformance::panel::Fixture); it is evaluated
/// within each test, so it may `.await`, and may `return` to skip. The caller needs `tokio` with the features `macros`
/// and `rt-multi-thread`.
#[macro_export]
macro_rules! panel_conformance {
    (@laws $($as:tt)*) => {
        $crate::panel_conformance! { @each [$($as)*]
            answers_stand_in_the_order_of_the_names []
            a_name_that_is_asked_for_twice_is_answered_twice []
            a_hundred_names_are_one_question []
            no_names_have_no_answers []
            a_user_that_is_not_there_is_absent_in_a_list_and_missing_alone []
            another_spelling_is_not_the_user []
            names_are_asked_for_to_the_letter [OddNames]
            the_end_of_access_arrives_to_the_second []
            unlimited_is_not_zero []
            a_held_user_is_held []
            every_status_arrives [Facts]
            traffic_and_the_last_connection_arrive_exactly [Facts]
            a_user_made_anew_was_made_at_another_time [Facts]
            a_deletion_takes_the_user_and_no_other []
            a_user_that_is_gone_is_deleted_again_without_an_error []
            the_figures_of_the_panel_are_read []
            the_date_is_that_of_the_last_answer [Clock]
            a_user_that_cannot_be_rendered_spoils_no_other [Poison]
            a_user_of_another_admin_is_not_permitted [OtherAdmins]
            a_deletion_that_is_done_is_a_success_whatever_the_panel_says [Ownerless]
            an_outage_says_nothing_about_a_user [Outages]
            an_extension_moves_the_end_and_nothing_else [Furniture]
            an_extension_revives_the_expired_and_leaves_the_limited [Facts Furniture]
            a_user_that_is_not_as_expected_is_not_extended []
            only_a_user_whose_time_has_begun_is_extended [Facts]
            a_user_that_is_gone_is_not_extended []
            an_end_is_never_moved_earlier []
            an_extension_can_be_repeated []
            a_disabled_user_keeps_all_else [Furniture]
            a_user_that_is_not_as_expected_is_not_disabled []
            disabling_can_be_repeated []
            a_user_that_is_not_seen_is_not_changed [Poison OtherAdmins]
            a_change_that_is_done_is_a_success_whatever_the_panel_says [Losses]
            a_change_that_may_yet_happen_is_unclear [Losses]
        }
    };
    (@each [tests $fixture:expr] $($law:ident [$($ability:ident)*])+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $law() {
                let fixture = $fixture;
                let law = $crate::testing::conformance::panel::Law::named(stringify!($law));
                law.expect("the list of laws is one").check(&fixture).await;
            }
        )+
    };
    (@each [table] $($law:ident [$($ability:ident)*])+) => {
        &[$($crate::testing::conformance::panel::Law {
            name: stringify!($law),
            needs: &[$($crate::testing::conformance::panel::Ability::$ability),*],
            check: |fixture| Box::pin($law(fixture)),
        }),+]
    };
    ($fixture:expr) => {
        $crate::panel_conformance! { @laws tests $fixture }
    };
}
