//! The merge against an independent port of the design's executable model.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::agreement::{Agreement, Disagreement};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::merge_ends::{Conflict, Merged, Say};
use marzban_sync_core::observation::{PanelStatus, PanelUser};
use marzban_sync_core::plan::Reason;
use marzban_sync_core::policy::Answer;
use proptest::prelude::*;
use proptest::sample::select;

use super::World;
use crate::given::{created, now};

/// No end: later than every moment.
const INF: i64 = 1 << 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// The model's agreement, in its own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    end: Option<i64>,
    prev: Option<i64>,
    us: bool,
    created: Option<i64>,
    hold: bool,
    open: Option<(i64, i64)>,
}

/// The panel's user, in the model's words.
#[derive(Clone, Copy, Debug)]
struct User {
    end: i64,
    on_hold: bool,
    works: bool,
    created: i64,
    last: i64,
}

/// What the operator says.
#[derive(Clone, Copy, Debug)]
struct Told {
    trust: Option<Answer>,
    allow: bool,
}

/// The row's new end, its reason, the problem, and what is known from now on.
type Outcome = (Option<i64>, Option<&'static str>, Option<&'static str>, Known);

fn implausible(user: User) -> bool {
    user.end != INF
        && (user.end < 1_577_836_800
            || user.end < user.created - 1
            || user.end > 253_402_300_799
            || user.last - DAY > user.end)
}

/// `merge()` of model.py, line by line. Where it differs from the text of DESIGN 5.2 the text stands; each of these places
/// is marked as **text**, and what was decided beyond both as **decided**.
#[expect(
    clippy::too_many_lines,
    reason = "it is the model's one function, line by line"
)]
fn model(row: i64, user: User, known: Known, told: Told, now: i64) -> Outcome {
    let panel = user.end;
    let same =
        |row: i64, end: i64| row == end || (row != INF && end != INF && (0..=HOUR).contains(&(row - end)));
    let other = known
        .created
        .is_some_and(|created| (created - user.created).abs() > 2);
    let agreed = known.end.filter(|_| !other);
    if user.on_hold {
        let held = Known {
            hold: true,
            created: Some(user.created),
            end: None,
            open: None,
            // The end that the library wrote is no longer the agreed one; that of another user never was.
            us: false,
            prev: known.prev.filter(|_| !other),
        };
        return (None, None, None, held);
    }
    let agree = |us: bool| {
        let mut agree = Known {
            end: Some(panel),
            created: Some(user.created),
            hold: false,
            open: None,
            us,
            prev: if other { None } else { known.prev },
        };
        if agreed.is_some_and(|before| panel > before) {
            agree.prev = agreed;
        }
        if us {
            // text: where the library wrote the extension, A- is the row's end before it.
            agree.prev = Some(row);
        }
        agree
    };
    let open = Known {
        open: Some((row, panel)),
        // text: on hold "since the last look", and now it has been looked at.
        hold: false,
        ..known
    };
    // text: rule 1 comes before rule 2.
    if same(row, panel) || (row <= now && panel <= now && panel <= row) {
        let settled = agreed == Some(panel) && !other && known.open.is_none() && !known.hold;
        // decided: whose word the end was stays known while the end stays.
        let us = known.us && known.end == Some(panel);
        let agreed = Known { us, ..agree(false) };
        return (None, None, None, if settled { known } else { agreed });
    }
    if implausible(user) {
        return (None, None, Some("implausible_end"), known);
    }
    if panel == INF {
        let ahead = row <= now && user.works;
        let hold = known.hold && other;
        return (
            None,
            None,
            ahead.then_some("panel_ahead"),
            Known { hold, ..known },
        );
    }
    // text: the end that the library writes is its own, whoever asked for it; the model says so in two places only.
    let take = || {
        let longer = panel > row;
        let reason = if longer { "extended" } else { "shortened" };
        (Some(panel), Some(reason), None, agree(longer))
    };
    // text: a disagreement that a run leaves stays open.
    let bot_is_right = || {
        let left = Known {
            open: Some((row, panel)),
            ..agree(false)
        };
        (None, None, Some("panel_behind"), left)
    };
    if other {
        return if told.trust == Some(Answer::Panel) {
            take()
        } else {
            (None, None, Some("other_user"), known)
        };
    }
    if known.hold && row == INF {
        return (Some(panel), Some("begun"), None, agree(false));
    }
    if agreed.is_some_and(|agreed| same(row, agreed) && panel != agreed) {
        if panel > row {
            return take();
        }
        if known.prev.is_some_and(|prev| panel <= prev) && told.trust != Some(Answer::Panel) {
            return if told.trust == Some(Answer::Bot) {
                bot_is_right()
            } else {
                (None, None, Some("ends_disagree"), open)
            };
        }
        if told.trust == Some(Answer::Bot) {
            // decided: a shortening that no run has seen before is not taken either.
            return bot_is_right();
        }
        if known.open == Some((row, panel)) && !told.allow && told.trust != Some(Answer::Panel) {
            return (None, None, Some("withheld"), open);
        }
        return take();
    }
    if agreed == Some(panel) {
        // decided: what is called an extension never moves an end earlier.
        if Some(row) == known.prev && known.us && panel > row {
            // text: once, so that it is not the library's word a second time.
            let given = Known {
                us: false,
                prev: known.prev,
                ..agree(false)
            };
            return (Some(panel), Some("extended"), None, given);
        }
        if told.trust == Some(Answer::Panel) {
            return take();
        }
        let problem = if row > panel {
            "panel_behind"
        } else {
            "panel_ahead"
        };
        return (None, None, Some(problem), open);
    }
    if panel > row {
        return take();
    }
    match told.trust {
        Some(Answer::Panel) => take(),
        Some(Answer::Bot) => bot_is_right(),
        None => (None, None, Some("ends_disagree"), open),
    }
}

// Between the two.

fn seconds(end: EndDate) -> i64 {
    end.as_column().map_or(INF, |end| end.timestamp())
}

fn moment(seconds: i64) -> Option<DateTime<Utc>> {
    (seconds != INF).then(|| DateTime::from_timestamp(seconds, 0).expect("a moment"))
}

fn known(agreement: &Agreement) -> Known {
    Known {
        end: agreement.end.map(seconds),
        prev: agreement.previous_end.map(seconds),
        us: agreement.is_ours,
        created: agreement.created_at.map(|created| created.timestamp()),
        hold: agreement.on_hold,
        open: agreement
            .open
            .map(|open| (seconds(open.row_end), seconds(open.panel_end))),
    }
}

fn outcome(merged: &Merged) -> Outcome {
    let (end, reason) = merged.row.unzip();
    let conflict = merged.conflict.map(|conflict| match conflict {
        Conflict::PanelBehind => "panel_behind",
        Conflict::PanelAhead => "panel_ahead",
        Conflict::EndsDisagree(_) => "ends_disagree",
        Conflict::ImplausibleEnd => "implausible_end",
        Conflict::OtherUser => "other_user",
        Conflict::Withheld => "withheld",
    });
    (
        end.map(seconds),
        reason.map(Reason::as_str),
        conflict,
        known(&merged.agreement),
    )
}

/// Ends that meet: the same, within the tolerance and beyond it, over and ahead, none, and one that is no end.
pub(super) fn an_end() -> impl Strategy<Value = Option<DateTime<Utc>>> {
    let now = now().timestamp();
    let ends = [
        2_592_000,
        now - 10 * DAY,
        now - 2 * DAY,
        now - HOUR / 2,
        now,
        now + HOUR / 2,
        now + 5 * DAY,
        now + 5 * DAY + 2,
        now + 5 * DAY + HOUR,
        now + 5 * DAY + HOUR + 1,
        now + 20 * DAY,
        now + 35 * DAY,
        INF,
    ];
    select(ends.map(moment).to_vec())
}

fn statuses() -> impl Strategy<Value = PanelStatus> {
    prop_oneof![
        6 => Just(PanelStatus::Active),
        2 => Just(PanelStatus::Expired),
        1 => Just(PanelStatus::Limited),
        1 => Just(PanelStatus::Disabled),
        1 => Just(PanelStatus::OnHold),
        1 => Just(PanelStatus::Unknown("melted".to_owned())),
    ]
}

/// Any memory that merges can leave, and more: the end of a user on hold is never an agreed one.
pub(super) fn an_agreement() -> impl Strategy<Value = Agreement> {
    let ends = (
        proptest::option::weighted(0.8, an_end()),
        proptest::option::of(an_end()),
    );
    let open = proptest::option::of((an_end(), an_end()));
    let created_at = prop_oneof![
        1 => Just(None),
        6 => Just(Some(created())),
        1 => Just(Some(created() + TimeDelta::seconds(2))),
        1 => Just(Some(created() + TimeDelta::seconds(3))),
    ];
    (
        ends,
        open,
        created_at,
        any::<bool>(),
        proptest::bool::weighted(0.1),
    )
        .prop_map(
            |((end, previous_end), open, created_at, is_ours, on_hold)| Agreement {
                end: end.filter(|_| !on_hold).map(EndDate::from),
                previous_end: previous_end.map(EndDate::from),
                is_ours: is_ours && !on_hold,
                created_at,
                on_hold,
                open: open.filter(|_| !on_hold).map(|(row, panel)| Disagreement {
                    row_end: row.into(),
                    panel_end: panel.into(),
                    since: now() - TimeDelta::days(2),
                }),
                ..Agreement::default()
            },
        )
}

pub(super) fn a_world() -> impl Strategy<Value = World> {
    let last = select(vec![None, Some(now() - TimeDelta::days(3)), Some(now())]);
    let open_is_of_today = any::<bool>();
    (
        an_end(),
        an_end(),
        statuses(),
        an_agreement(),
        last,
        open_is_of_today,
    )
        .prop_map(
            |(row, expire, status, mut agreement, last_connected_at, open_is_of_today)| {
                let (row_end, panel_end) = (EndDate::from(row), EndDate::from(expire));
                // Of a pair whose panel end is the later one, the panel's is the agreed one: the row alone moved.
                let can_be_open = panel_end < row_end || agreement.end == Some(panel_end);
                if open_is_of_today
                    && can_be_open
                    && let Some(open) = &mut agreement.open
                {
                    (open.row_end, open.panel_end) = (row_end, panel_end);
                }
                let user = PanelUser {
                    status,
                    expire,
                    used_traffic: 0,
                    online_at: None,
                    created_at: Some(created()),
                    spelling: None,
                };
                World {
                    last_connected_at,
                    ..World::new(row, user, agreement)
                }
            },
        )
}

pub(super) fn a_say() -> impl Strategy<Value = Say> {
    let answer = select(vec![None, None, Some(Answer::Panel), Some(Answer::Bot)]);
    (answer, any::<bool>()).prop_map(|(answer, allow)| Say { answer, allow })
}

/// An open pair whose panel end is the later one, and not the agreed one: only a second extension after the library's own
/// leaves it, which the model knows nothing of.
fn is_given_twice(world: &World) -> bool {
    world.agreement.has_open(world.row, world.panel()) && world.panel() > world.row
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_merge_is_the_models(world in a_world(), say in a_say()) {
        prop_assume!(!is_given_twice(&world));
        let user = User {
            end: seconds(world.panel()),
            on_hold: world.user.status == PanelStatus::OnHold,
            works: world.user.works(world.now),
            created: created().timestamp(),
            last: world.last_connected_at.map_or(0, |last| last.timestamp()),
        };
        let told = Told { trust: say.answer, allow: say.allow };
        let expected = model(seconds(world.row), user, known(&world.agreement), told, world.now.timestamp());
        prop_assert_eq!(outcome(&world.merged(say)), expected);
    }
}
