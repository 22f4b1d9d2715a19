//! A panel with one planted fault breaks the law that forbids it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use marzban_sync_core::error::{PanelError, PanelErrorKind};
use marzban_sync_core::observation::{Observation, PanelStatus, PanelUser};
use marzban_sync_core::panel::{ExpectedUser, Panel, UpdateOutcome};
use marzban_sync_core::report::SystemStats;
use marzban_sync_core::testing::conformance::panel as conformance;
use marzban_sync_core::testing::conformance::panel::{Ability, Fixture, Law, Outcome};

use crate::faulty::no_panel;
use crate::scripted::{disabled, extended, stats};

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
    /// Deletes every user whose name begins so.
    DeletesByPrefix,
    /// Takes a user that is gone for an error.
    GoneIsAnError,
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
    /// Tells its clock as it was at first.
    ClockStands,
    /// Loses the next plan with an extension.
    ExtensionDropsPlan,
    /// Gives access to whose traffic is used up.
    UnlimitsExtended,
    /// Extends any user of this name.
    ExtendsAnother,
    /// Extends who is on hold.
    ExtendsHeld,
    /// Makes who is gone.
    MakesMissing,
    /// Moves an end wherever it is told to.
    Shortens,
    /// Takes its own extension for somebody else's.
    ForgetsExtension,
    /// Loses the next plan when it disables.
    DisablingDropsPlan,
    /// Disables any user of this name.
    DisablesAnother,
    /// Fails to disable who is gone.
    GoneIsNotDisabled,
    /// Takes who cannot be seen for as expected.
    ChangesUnseen,
    /// Takes a lost answer for a lost change.
    BelievesLosses,
    /// Takes a lost change for a change.
    GuessesDone,
}

#[derive(Default)]
struct State {
    users: BTreeMap<String, PanelUser>,
    poisoned: BTreeSet<String>,
    theirs: BTreeSet<String>,
    ownerless: BTreeSet<String>,
    furnished: BTreeSet<String>,
    /// Whether the change of a user is made although its answer is lost.
    losses: BTreeMap<String, bool>,
    dates: Vec<DateTime<Utc>>,
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
                None => Observation::NotFound,
                Some(_) if state.is_down => Observation::NotFound,
                Some((name, _)) if state.theirs.contains(name) && self.is(Fault::TheirsIsMissing) => {
                    Observation::NotFound
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

    /// What a change is decided on.
    fn believe(&self, seen: Observation) -> Observation {
        match seen {
            Observation::Unreadable(_) | Observation::NotPermitted if self.is(Fault::ChangesUnseen) => {
                Observation::NotFound
            }
            seen => seen,
        }
    }

    /// Makes a change, unless it is to be lost.
    fn update(
        &self,
        name: &str,
        changed: Result<Option<PanelUser>, Observation>,
        loss_of_plan: Fault,
    ) -> Result<UpdateOutcome, PanelError> {
        let user = match changed {
            Ok(user) => user,
            Err(seen) => return Ok(UpdateOutcome::Changed(seen)),
        };
        let unclear = || PanelError::new(PanelErrorKind::Unclear, "lost");
        let loss = self.edit(|state| state.losses.remove(name));
        if loss == Some(false) && !self.is(Fault::GuessesDone) {
            return Err(unclear());
        }
        self.edit(|state| {
            if let Some(mut user) = user.filter(|_| loss != Some(false)) {
                if self.is(Fault::UnlimitsExtended) {
                    user.status = PanelStatus::Active;
                }
                state.users.insert(name.to_owned(), user);
            }
            if self.is(loss_of_plan) {
                state.furnished.remove(name);
            }
        });
        if loss.is_some() && self.is(Fault::BelievesLosses) {
            return Err(unclear());
        }
        Ok(UpdateOutcome::Done)
    }
}

fn as_it_is(user: &PanelUser) -> ExpectedUser {
    ExpectedUser {
        expire: user.expire,
        created_at: user.created_at,
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
            Observation::NotFound if !self.is(Fault::TrustsLists) => Observation::NotListed,
            observation => observation,
        };
        let mut answers: Vec<Observation> = names.iter().map(observe).collect();
        match self.fault {
            Fault::Shuffles => answers.reverse(),
            Fault::AnswersOnce => answers.truncate(names.iter().collect::<BTreeSet<_>>().len()),
            Fault::CutsLists => answers.truncate(50),
            Fault::AnswersEverybody if names.is_empty() => answers.push(Observation::NotListed),
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

    async fn extend_user(
        &self,
        name: &str,
        expected: &ExpectedUser,
        end: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError> {
        self.is_up()?;
        let seen = self.believe(self.look(name));
        let mut expected = *expected;
        if let Observation::Found(user) = &seen {
            let is_extended = user.expire == Some(end);
            if self.is(Fault::ExtendsAnother) {
                expected = as_it_is(user);
            } else if self.is(Fault::ForgetsExtension) && is_extended && expected.expire != user.expire {
                return Ok(UpdateOutcome::Changed(seen));
            }
            if self.is(Fault::ExtendsHeld) && user.status == PanelStatus::OnHold {
                return Ok(UpdateOutcome::Done);
            }
        }
        if self.is(Fault::Shortens) {
            expected.expire = expected.expire.map(|expire| expire.min(end));
        }
        let is_missing = seen == Observation::NotFound;
        if is_missing && self.is(Fault::MakesMissing) {
            return Ok(UpdateOutcome::Done);
        }
        let changed = extended(seen, &expected, end)?;
        self.update(name, changed, Fault::ExtensionDropsPlan)
    }

    async fn disable_user(&self, name: &str, expected: &ExpectedUser) -> Result<UpdateOutcome, PanelError> {
        self.is_up()?;
        let seen = self.believe(self.look(name));
        let mut expected = *expected;
        match &seen {
            Observation::Found(user) if self.is(Fault::DisablesAnother) => expected = as_it_is(user),
            Observation::NotFound if self.is(Fault::GoneIsNotDisabled) => return Err(no_panel()),
            _ => {}
        }
        let changed = disabled(seen, &expected);
        self.update(name, changed, Fault::DisablingDropsPlan)
    }

    fn last_date(&self) -> Option<DateTime<Utc>> {
        self.edit(|state| match self.fault {
            Fault::ClockStands => state.dates.first().copied(),
            _ => state.dates.last().copied(),
        })
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

    async fn furnish(&self, name: &str) {
        self.edit(|state| state.furnished.insert(name.to_owned()));
    }

    async fn rest(&self, name: &str) -> String {
        self.edit(|state| state.furnished.contains(name).to_string())
    }

    async fn has(&self, name: &str) -> bool {
        self.edit(|state| state.users.contains_key(name))
    }

    async fn remove(&self, name: &str) {
        self.edit(|state| state.users.remove(name));
    }

    async fn set_clock(&self, now: DateTime<Utc>) {
        self.edit(|state| state.dates.push(now.trunc_subsecs(0)));
    }

    async fn plant(&self, fault: conformance::Fault<'_>) {
        self.edit(|state| match fault {
            conformance::Fault::Poison(name) => drop(state.poisoned.insert(name.to_owned())),
            conformance::Fault::OtherAdmin(name) => drop(state.theirs.insert(name.to_owned())),
            conformance::Fault::Ownerless(name) => drop(state.ownerless.insert(name.to_owned())),
            conformance::Fault::Outage => state.is_down = true,
            conformance::Fault::LostAnswer(name) => drop(state.losses.insert(name.to_owned(), true)),
            conformance::Fault::LostChange(name) => drop(state.losses.insert(name.to_owned(), false)),
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
    (Fault::ClockStands, "the_date_is_that_of_the_last_answer"),
    (
        Fault::ExtensionDropsPlan,
        "an_extension_moves_the_end_and_nothing_else",
    ),
    (
        Fault::UnlimitsExtended,
        "an_extension_revives_the_expired_and_leaves_the_limited",
    ),
    (
        Fault::ExtendsAnother,
        "a_user_that_is_not_as_expected_is_not_extended",
    ),
    (Fault::ExtendsHeld, "only_a_user_whose_time_has_begun_is_extended"),
    (Fault::MakesMissing, "a_user_that_is_gone_is_not_extended"),
    (Fault::Shortens, "an_end_is_never_moved_earlier"),
    (Fault::ForgetsExtension, "an_extension_can_be_repeated"),
    (Fault::DisablingDropsPlan, "a_disabled_user_keeps_all_else"),
    (
        Fault::DisablesAnother,
        "a_user_that_is_not_as_expected_is_not_disabled",
    ),
    (Fault::GoneIsNotDisabled, "disabling_can_be_repeated"),
    (Fault::ChangesUnseen, "a_user_that_is_not_seen_is_not_changed"),
    (
        Fault::BelievesLosses,
        "a_change_that_is_done_is_a_success_whatever_the_panel_says",
    ),
    (Fault::GuessesDone, "a_change_that_may_yet_happen_is_unclear"),
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
