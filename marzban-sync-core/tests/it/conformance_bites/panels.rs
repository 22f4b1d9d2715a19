//! A panel with one planted fault breaks the law that forbids it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, TimeDelta};
use marzban_sync_core::census::Census;
use marzban_sync_core::error::{PanelError, PanelErrorKind};
use marzban_sync_core::observation::{Observation, PanelStatus, PanelUser};
use marzban_sync_core::panel::Panel;
use marzban_sync_core::report::SystemStats;
use marzban_sync_core::testing::conformance::panel as conformance;
use marzban_sync_core::testing::conformance::panel::{Ability, Fixture, Law, Outcome};

use crate::faulty::no_panel;
use crate::scripted::stats;

/// What a panel does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Answers in an order of its own.
    Shuffles,
    /// Answers each name once.
    AnswersOnce,
    /// Answers half of a long list.
    CutsLists,
    /// Answers with everybody when nobody is asked for.
    AnswersEverybody,
    /// Takes an absence in a list for a proof.
    TrustsLists,
    /// Ignores the case of names.
    IgnoresCase,
    /// Takes a name from an address as it stands there.
    ForgetsEncoding,
    /// Cuts the end to the minute.
    CutsSeconds,
    /// Reads no end as the beginning of time.
    NoneIsZero,
    /// Takes a held user for an active one.
    HeldIsActive,
    /// Takes a limited user for an expired one.
    LimitedIsExpired,
    /// Cuts the last connection to the millisecond.
    CutsMicroseconds,
    /// Does not say when a user was made.
    ForgetsCreation,
    /// Deletes whoever has a name that begins so.
    DeletesByPrefix,
    /// Takes a user that is gone for an error.
    GoneIsAnError,
    /// Leaves who is disabled out of its census.
    ForgetsDisabled,
    /// Has no figures.
    NoFigures,
    /// Fails as a whole for one user.
    PoisonSpreads,
    /// Takes another admin's user for missing.
    TheirsIsMissing,
    /// Takes an error for the outcome.
    BelievesErrors,
    /// Takes an outage for an absence.
    OutageIsMissing,
}

#[derive(Default)]
struct State {
    users: BTreeMap<String, PanelUser>,
    poisoned: BTreeSet<String>,
    theirs: BTreeSet<String>,
    ownerless: BTreeSet<String>,
    is_down: bool,
}

#[derive(Clone)]
struct Faulty {
    state: Arc<Mutex<State>>,
    fault: Fault,
}

impl Faulty {
    fn with(fault: Fault) -> Self {
        Self {
            state: Arc::default(),
            fault,
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        edit(&mut self.state.lock().unwrap())
    }

    fn is_up(&self) -> Result<(), PanelError> {
        if self.edit(|state| state.is_down) && !self.is(Fault::OutageIsMissing) {
            return Err(no_panel());
        }
        Ok(())
    }

    fn look(&self, name: &str) -> Observation {
        self.edit(|state| {
            let known = state.users.iter().find(|(known, _)| match self.fault {
                Fault::IgnoresCase => known.eq_ignore_ascii_case(name),
                Fault::ForgetsEncoding => known.replace(' ', "%20") == name,
                _ => *known == name,
            });
            match known {
                None => Observation::Missing,
                Some(_) if state.is_down => Observation::Missing,
                Some((name, _)) if state.theirs.contains(name) && self.is(Fault::TheirsIsMissing) => {
                    Observation::Missing
                }
                Some((name, _)) if state.theirs.contains(name) => Observation::NotPermitted,
                Some((name, _)) if state.poisoned.contains(name) => Observation::Unreadable("500".to_owned()),
                Some((_, user)) => Observation::Found(self.distort(user.clone())),
            }
        })
    }

    fn distort(&self, mut user: PanelUser) -> PanelUser {
        match self.fault {
            Fault::CutsSeconds => {
                let minutes = |time: DateTime<_>| time - TimeDelta::seconds(time.timestamp() % 60);
                user.expire = user.expire.map(minutes);
            }
            Fault::NoneIsZero => user.expire = user.expire.or(Some(DateTime::UNIX_EPOCH)),
            Fault::HeldIsActive if user.status == PanelStatus::OnHold => user.status = PanelStatus::Active,
            Fault::LimitedIsExpired if user.status == PanelStatus::Limited => {
                user.status = PanelStatus::Expired;
            }
            Fault::CutsMicroseconds => user.online_at = user.online_at.map(|time| time.trunc_subsecs(3)),
            Fault::ForgetsCreation => user.created_at = None,
            _ => {}
        }
        user
    }
}

#[async_trait]
impl Panel for Faulty {
    async fn users(&self, names: &[String]) -> Result<Vec<Observation>, PanelError> {
        self.is_up()?;
        let is_poisoned = |name: &String| self.edit(|state| state.poisoned.contains(name));
        if self.is(Fault::PoisonSpreads) && names.iter().any(is_poisoned) {
            return Err(no_panel());
        }
        let observe = |name: &String| match self.look(name) {
            Observation::Missing if !self.is(Fault::TrustsLists) => Observation::Absent,
            observation => observation,
        };
        let mut answers: Vec<Observation> = names.iter().map(observe).collect();
        match self.fault {
            Fault::Shuffles => answers.reverse(),
            Fault::AnswersOnce => answers.truncate(names.iter().collect::<BTreeSet<_>>().len()),
            Fault::CutsLists => answers.truncate(50),
            Fault::AnswersEverybody if names.is_empty() => answers.push(Observation::Absent),
            _ => {}
        }
        Ok(answers)
    }

    async fn user(&self, name: &str) -> Result<Observation, PanelError> {
        self.is_up()?;
        Ok(self.look(name))
    }

    async fn delete_user(&self, name: &str) -> Result<(), PanelError> {
        self.is_up()?;
        if self.look(name) == Observation::NotPermitted {
            return Err(PanelError::new(PanelErrorKind::Invalid, "not permitted"));
        }
        let was_there = self.edit(|state| {
            if self.is(Fault::DeletesByPrefix) {
                state.users.retain(|other, _| !other.starts_with(name));
            }
            state.users.remove(name).is_some()
        });
        let is_ownerless = self.edit(|state| state.ownerless.contains(name));
        if (self.is(Fault::GoneIsAnError) && !was_there) || (self.is(Fault::BelievesErrors) && is_ownerless) {
            return Err(no_panel());
        }
        Ok(())
    }

    async fn census(&self, _: u64) -> Result<Option<Census>, PanelError> {
        self.is_up()?;
        Ok(self.edit(|state| {
            let users = state.users.iter();
            let counted = users
                .filter(|(_, user)| !self.is(Fault::ForgetsDisabled) || user.status != PanelStatus::Disabled);
            Census::of(counted.map(|(name, user)| (name.as_str(), &user.status)))
        }))
    }

    async fn system_stats(&self) -> Result<SystemStats, PanelError> {
        self.is_up()?;
        Ok(if self.is(Fault::NoFigures) {
            SystemStats::default()
        } else {
            stats()
        })
    }
}

#[async_trait]
impl Fixture for Faulty {
    fn panel(&self) -> Arc<dyn Panel> {
        Arc::new(self.clone())
    }

    fn can(&self, _: Ability) -> bool {
        true
    }

    fn name(&self, name: &str) -> String {
        name.to_owned()
    }

    async fn put(&self, name: &str, user: &PanelUser) {
        self.edit(|state| state.users.insert(name.to_owned(), user.clone()));
    }

    async fn has(&self, name: &str) -> bool {
        self.edit(|state| state.users.contains_key(name))
    }

    async fn remove(&self, name: &str) {
        self.edit(|state| state.users.remove(name));
    }

    async fn plant(&self, fault: conformance::Fault<'_>) {
        self.edit(|state| match fault {
            conformance::Fault::Poison(name) => drop(state.poisoned.insert(name.to_owned())),
            conformance::Fault::OtherAdmin(name) => drop(state.theirs.insert(name.to_owned())),
            conformance::Fault::Ownerless(name) => drop(state.ownerless.insert(name.to_owned())),
            conformance::Fault::Outage => state.is_down = true,
            other => panic!("an unknown fault: {other:?}"),
        });
    }

    async fn clean_up(&self) {
        self.edit(|state| state.users.clear());
    }
}

/// A fault, and the law that forbids it.
const BITES: &[(Fault, &str)] = &[
    (Fault::Shuffles, "answers_stand_in_the_order_of_the_names"),
    (
        Fault::AnswersOnce,
        "a_name_that_is_asked_for_twice_is_answered_twice",
    ),
    (Fault::CutsLists, "a_hundred_names_are_one_question"),
    (Fault::AnswersEverybody, "no_names_have_no_answers"),
    (
        Fault::TrustsLists,
        "a_user_that_is_not_there_is_absent_in_a_list_and_missing_alone",
    ),
    (Fault::IgnoresCase, "another_spelling_is_not_the_user"),
    (Fault::ForgetsEncoding, "names_are_asked_for_to_the_letter"),
    (Fault::CutsSeconds, "the_end_of_access_arrives_to_the_second"),
    (Fault::NoneIsZero, "unlimited_is_not_zero"),
    (Fault::HeldIsActive, "a_held_user_is_held"),
    (Fault::LimitedIsExpired, "every_status_arrives"),
    (
        Fault::CutsMicroseconds,
        "traffic_and_the_last_connection_arrive_exactly",
    ),
    (
        Fault::ForgetsCreation,
        "a_user_made_anew_was_made_at_another_time",
    ),
    (Fault::DeletesByPrefix, "a_deletion_takes_the_user_and_no_other"),
    (
        Fault::GoneIsAnError,
        "a_user_that_is_gone_is_deleted_again_without_an_error",
    ),
    (Fault::ForgetsDisabled, "a_census_knows_who_is_not_active"),
    (Fault::NoFigures, "the_figures_of_the_panel_are_read"),
    (
        Fault::PoisonSpreads,
        "a_user_that_cannot_be_rendered_spoils_no_other",
    ),
    (Fault::TheirsIsMissing, "a_user_of_another_admin_is_not_permitted"),
    (
        Fault::BelievesErrors,
        "a_deletion_that_is_done_is_a_success_whatever_the_panel_says",
    ),
    (Fault::OutageIsMissing, "an_outage_says_nothing_about_a_user"),
];

#[tokio::test]
async fn every_law_of_a_panel_bites() {
    for (fault, name) in BITES {
        let law = Law::named(name).expect("the law is in the list");
        let faulty = Faulty::with(*fault);
        let broken = tokio::spawn(async move { law.check(&faulty).await }).await;
        assert!(
            broken.is_err_and(|end| end.is_panic()),
            "{fault:?} is not seen by {name}"
        );
    }
}

#[tokio::test]
async fn a_sound_panel_passes_every_law() {
    let outcomes = conformance::all(async || Faulty::with(Fault::Nothing)).await;
    assert!(
        outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Passed),
        "{outcomes:?}"
    );
}

#[test]
fn no_law_of_a_panel_is_without_a_bite() {
    let laws: BTreeSet<&str> = conformance::LAWS.iter().map(|law| law.name).collect();
    let bitten: BTreeSet<&str> = BITES.iter().map(|(_, law)| *law).collect();
    assert_eq!(laws, bitten);
}
