//! Histories as data: how a bot and its panels begin, and what then happens, one step after the other.

use marzban_sync_core::report::Job;

use super::dice::Dice;
use super::stop::Fault;

/// One history; its steps can be left out one by one to find out which of them matter.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
}

/// The bot, its customers and its rules.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(super) struct Setup {
    /// Each customer, in which panel, and how many days are left.
    pub(super) customers: Vec<(Kind, usize, i64)>,
    /// After how many hours a panel that is behind is extended; none where it is only reported.
    pub(super) extend_after: Option<i64>,
    /// Whether a cleanup only disables.
    pub(super) disables: bool,
    /// Whether the bot keeps `updated_at`.
    pub(super) keeps_updated_at: bool,
    /// Whether the bot touches `updated_at` of every row once a day.
    pub(super) touches_daily: bool,
    /// Whether the bot ends subscriptions by itself.
    pub(super) expires: bool,
    /// By how many seconds the bot's rows are later than the panel's ends.
    pub(super) row_lag: i64,
    /// Whether the panels send a `Date` header.
    pub(super) has_dates: bool,
    /// Whether every run of the schedule takes place, also where nothing has happened since the last one.
    pub(super) is_full: bool,
}

/// How a customer's rows and panel users hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One subscription, one account.
    Single,
    /// The same, as a trial.
    Trial,
    /// Two accounts in one panel, which share the subscription.
    Twins,
    /// An account in each panel, which share the subscription.
    Abroad,
    /// Two accounts, each with a subscription of its own by `subscription_id`.
    Named,
    /// Its row names the panel user of the customer before it.
    Sharing,
    /// The panel user is on hold, and the row has no end yet.
    Held,
    /// The subscription has no end.
    Unlimited,
}

/// What happens; numbers choose among what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many hours pass, with all jobs by their schedule.
    Wait(i64),
    /// Something becomes of the n-th call of the next run of the schedule that finds an end passed.
    Arm(usize, Fault),
    /// A job runs out of turn, and something becomes of its n-th call.
    Run(Job, usize, Option<(usize, Fault)>),
    /// A customer pays for so many days.
    Pay(usize, i64, Order),
    /// The bot brings the panel users to where its row says.
    Push(usize),
    Refund(usize, Refund),
    /// A loop of the bot reads rows that it will save later.
    Remember(usize),
    /// It saves them, all columns.
    StaleSave(usize),
    /// The bot sets `expired` though the end is ahead.
    EndsByMistake(usize),
    /// An order that nobody pays.
    Invoice(usize),
    /// The next period is paid for ahead, in a row of its own.
    Prepay(usize, i64),
    /// The bot deletes a panel user and makes it anew, as its row says.
    Recreate(usize),
    /// What an administrator of the panel, or its user, does to one user.
    User(usize, Deed),
    /// What befalls a whole panel.
    Panel(usize, Event),
    /// The clock of the bot and its jobs is so many hours off.
    JobsClock(i64),
    /// A panel's clock is.
    PanelClock(usize, i64),
    /// An operator says that the panel, or the bot, is right about this user.
    Trust(usize, bool),
    /// An operator runs a job and allows what was withheld.
    Allow(Job, usize),
}

/// In which order a payment reaches the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    RowFirst,
    PanelFirst,
    /// The request to the panel failed.
    RowOnly,
    /// The write of the row failed.
    PanelOnly,
    /// As a new row beside the old one.
    NewRow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refund {
    Cancelled,
    Expired,
    /// The panel user keeps its end, as the request failed.
    RowOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Extend(i64),
    Shorten(i64),
    /// A length instead of a moment, or a wrong year.
    Mistype(i64),
    Unlimit,
    Hold,
    Disable,
    Enable,
    Limit,
    /// A plan that begins when the present one ends.
    NextPlan(i64),
    Delete,
    Connect,
    Unreadable(bool),
    /// Lists lack it, although it is there.
    Hidden(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Snapshot,
    Restore,
    /// All ends are moved by so many days.
    Bulk(i64),
    /// All users are made anew, as the rows say.
    Rebuild,
    /// Another panel answers, which has users of the same names.
    Another(bool),
    Down(bool),
    /// Each request takes so many seconds.
    Slow(i64),
}

const JOBS: [Job; 3] = [
    Job::SyncSubscriptionsFromMarzban,
    Job::SyncUserStatusFromMarzban,
    Job::CleanupExpiredMarzbanUsers,
];

impl History {
    pub(super) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let setup = Setup::of(&mut dice);
        let length = dice.pick(&[4, 8, 14, 24]);
        // Some histories are only about a few things, which then come together more often.
        let theme = dice.below(8);
        let steps = (0..length).flat_map(|_| step(&mut dice, &setup, theme)).collect();
        Self { setup, steps }
    }
}

impl Setup {
    fn of(dice: &mut Dice) -> Self {
        let count = dice.weigh(&[(2, 1), (3, 2), (4, 3), (4, 5), (4, 8), (2, 12), (1, 30)]);
        let is_plain = dice.chance(30);
        let customer = |dice: &mut Dice| {
            let kind = dice.weigh(&[
                (10, Kind::Single),
                (2, Kind::Trial),
                (2, Kind::Twins),
                (2, Kind::Abroad),
                (2, Kind::Named),
                (1, Kind::Sharing),
                (1, Kind::Held),
                (1, Kind::Unlimited),
            ]);
            let kind = if is_plain { Kind::Single } else { kind };
            let panel = usize::from(!is_plain && dice.chance(30));
            (kind, panel, dice.pick(&[-40, -9, -3, 1, 3, 5, 9, 20, 30, 45]))
        };
        Self {
            customers: (0..count).map(|_| customer(dice)).collect(),
            extend_after: dice.weigh(&[(3, None), (1, Some(24)), (1, Some(0))]),
            disables: dice.chance(10),
            keeps_updated_at: dice.chance(70),
            touches_daily: dice.chance(20),
            expires: dice.chance(40),
            row_lag: dice.pick(&[0, 0, 2]),
            has_dates: dice.chance(85),
            is_full: dice.below(400) == 0,
        }
    }
}

fn step(dice: &mut Dice, setup: &Setup, theme: usize) -> Vec<Step> {
    let wait = |dice: &mut Dice| Step::Wait(dice.pick(&[1, 2, 3, 5, 26, 26, 50, 24 * 4, 24 * 8, 24 * 17]));
    let mut steps = vec![match dice.weigh(&[(34, 0), (26, 1), (22, 2), (10, 3), (8, 4)]) {
        0 => of_the_bot(dice, setup),
        1 => of_a_user(dice),
        2 => of_a_panel(dice, setup),
        3 => run(dice),
        _ => wait(dice),
    }];
    // A theme repeats what it is about.
    match theme {
        0 => steps.push(of_the_bot(dice, setup)),
        1 => steps.push(of_a_user(dice)),
        2 => steps.push(of_a_panel(dice, setup)),
        3 => steps.push(run(dice)),
        _ => {}
    }
    if dice.chance(55) {
        steps.push(wait(dice));
    }
    steps
}

fn who(dice: &mut Dice) -> usize {
    dice.below(64)
}

fn of_the_bot(dice: &mut Dice, setup: &Setup) -> Step {
    let days = dice.pick(&[1, 3, 7, 30, 30, 30, 90]);
    let order = dice.weigh(&[
        (4, Order::RowFirst),
        (4, Order::PanelFirst),
        (2, Order::RowOnly),
        (3, Order::PanelOnly),
        (2, Order::NewRow),
    ]);
    let who = who(dice);
    match dice.weigh(&[
        (14, 0),
        (3, 1),
        (2, 2),
        (3, 3),
        (3, 4),
        (1, 5),
        (1, 6),
        (2, 7),
        (2, 8),
    ]) {
        0 => Step::Pay(who, days, order),
        1 => Step::Push(who),
        2 => Step::Refund(
            who,
            dice.pick(&[Refund::Cancelled, Refund::Expired, Refund::RowOnly]),
        ),
        3 => Step::Remember(who),
        4 => Step::StaleSave(who),
        5 => Step::EndsByMistake(who),
        6 => Step::Invoice(who),
        7 => Step::Prepay(who, days),
        _ if setup.customers.len() > 1 || dice.chance(50) => Step::Recreate(who),
        _ => Step::Pay(who, days, order),
    }
}

fn of_a_user(dice: &mut Dice) -> Step {
    let who = who(dice);
    let days = dice.pick(&[1, 5, 10, 30]);
    let deed = match dice.weigh(&[
        (4, 0),
        (4, 1),
        (2, 2),
        (1, 3),
        (1, 4),
        (2, 5),
        (2, 6),
        (3, 7),
        (2, 8),
        (1, 9),
        (6, 10),
        (1, 11),
        (1, 12),
    ]) {
        0 => Deed::Extend(days),
        1 => Deed::Shorten(days),
        2 => Deed::Mistype(dice.pick(&[-400, -365, 365, 3650, -20_000, 0])),
        3 => Deed::Unlimit,
        4 => Deed::Hold,
        5 => Deed::Disable,
        6 => Deed::Enable,
        7 => Deed::Limit,
        8 => Deed::NextPlan(days),
        9 => Deed::Delete,
        10 => Deed::Connect,
        11 => Deed::Unreadable(dice.chance(60)),
        _ => Deed::Hidden(dice.chance(60)),
    };
    Step::User(who, deed)
}

fn of_a_panel(dice: &mut Dice, setup: &Setup) -> Step {
    let panel = usize::from(dice.chance(30));
    let hours = dice.pick(&[0, 0, 1, -30, 30, 24 * 10, -24 * 10, 24 * 365]);
    let event = match dice.weigh(&[
        (6, 0),
        (6, 1),
        (2, 2),
        (1, 3),
        (3, 4),
        (3, 5),
        (2, 6),
        (3, 7),
        (2, 8),
        (1, 9),
    ]) {
        1 => Event::Restore,
        2 => Event::Bulk(dice.pick(&[-30, -5, -1, 5])),
        3 => Event::Rebuild,
        4 => Event::Another(dice.chance(50)),
        5 => Event::Down(dice.chance(50)),
        6 => Event::Slow(dice.pick(&[0, 20, 200, 900])),
        7 if setup.has_dates => return Step::JobsClock(hours),
        8 if setup.has_dates => return Step::PanelClock(panel, hours),
        9 => {
            return if dice.chance(70) {
                Step::Trust(who(dice), dice.chance(50))
            } else {
                Step::Allow(dice.pick(&JOBS), panel)
            };
        }
        _ => Event::Snapshot,
    };
    Step::Panel(panel, event)
}

fn run(dice: &mut Dice) -> Step {
    if dice.chance(50) {
        return Step::Arm(dice.below(24), Fault::of(dice));
    }
    let panel = usize::from(dice.chance(30));
    let fault = dice.chance(80).then(|| (dice.below(24), Fault::of(dice)));
    Step::Run(dice.pick(&JOBS), panel, fault)
}
