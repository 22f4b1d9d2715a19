//! What may happen: in the bot, in a panel, to the time, and the runs themselves.

use marzban_sync_core::report::Job;
use proptest::prelude::*;
use proptest::sample::select;

use super::world::{LOGINS, PANELS, PEOPLE};

/// One step of a history.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Happens(Happening),
    /// A job runs, and perhaps something happens at so many looks into it.
    Run(Job, usize, Option<(usize, Happening)>),
}

/// What happens to a person, or to one of the logins.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// The bot extends all of the customer's access, first in the panels and then in its rows.
    Pays(usize, i64),
    /// The same with a new subscription beside the old ones.
    BuysAnother(usize, i64),
    /// An order is made and not paid for.
    Orders(usize),
    Cancels(usize),
    /// The money goes back, and the access is disabled.
    IsRefunded(usize),
    /// An admin sets the end in the panel alone, so many days from now.
    IsGiven(usize, i64),
    IsUnlimited(usize),
    Connects(usize, i64),
    IsReset(usize),
    IsDeleted(usize),
    /// The panel user is deleted, and another made under its name.
    IsMadeAnew(usize, i64),
    IsHeld(usize),
    IsLimited(usize),
    IsDisabled(usize),
    IsEnabled(usize),
    /// The panel's own review job has run.
    IsReviewed(usize),
    IsPoisoned(usize, bool),
    Outage(usize, bool),
    AnotherPanelAnswers(usize, bool),
    HoursPass(i64),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..30)
}

fn step() -> impl Strategy<Value = Step> {
    let jobs = select(vec![
        Job::SyncSubscriptionsFromMarzban,
        Job::SyncUserStatusFromMarzban,
        Job::CleanupExpiredMarzbanUsers,
    ]);
    let meanwhile = proptest::option::weighted(0.4, (0..4_usize, happening()));
    let run = (jobs, 0..PANELS.len(), meanwhile)
        .prop_map(|(job, panel, meanwhile)| Step::Run(job, panel, meanwhile));
    prop_oneof![3 => happening().prop_map(Step::Happens), 2 => run]
}

fn happening() -> impl Strategy<Value = Happening> {
    let person = || 0..PEOPLE;
    let login = || 0..LOGINS.len();
    let panel = || 0..PANELS.len();
    let days = || select(vec![1_i64, 5, 30]);
    let any_days = || select(vec![-30_i64, -8, -1, 1, 5, 30]);
    let of_the_bot = prop_oneof![
        4 => (person(), days()).prop_map(|(person, days)| Happening::Pays(person, days)),
        2 => (person(), days()).prop_map(|(person, days)| Happening::BuysAnother(person, days)),
        1 => person().prop_map(Happening::Orders),
        1 => person().prop_map(Happening::Cancels),
        1 => person().prop_map(Happening::IsRefunded),
    ];
    let of_the_panel = prop_oneof![
        3 => (login(), any_days()).prop_map(|(login, days)| Happening::IsGiven(login, days)),
        1 => login().prop_map(Happening::IsUnlimited),
        2 => (login(), 1..1_000_i64).prop_map(|(login, bytes)| Happening::Connects(login, bytes)),
        1 => login().prop_map(Happening::IsReset),
        1 => login().prop_map(Happening::IsDeleted),
        2 => (login(), any_days()).prop_map(|(login, days)| Happening::IsMadeAnew(login, days)),
        1 => login().prop_map(Happening::IsHeld),
        1 => login().prop_map(Happening::IsLimited),
        1 => login().prop_map(Happening::IsDisabled),
        1 => login().prop_map(Happening::IsEnabled),
        1 => panel().prop_map(Happening::IsReviewed),
        1 => (login(), any::<bool>()).prop_map(|(login, is)| Happening::IsPoisoned(login, is)),
        1 => (panel(), any::<bool>()).prop_map(|(panel, is)| Happening::Outage(panel, is)),
        1 => (panel(), any::<bool>()).prop_map(|(panel, is)| Happening::AnotherPanelAnswers(panel, is)),
    ];
    let time = select(vec![1_i64, 24, 24 * 9, 24 * 40]).prop_map(Happening::HoursPass);
    prop_oneof![3 => of_the_bot, 5 => of_the_panel, 2 => time]
}
