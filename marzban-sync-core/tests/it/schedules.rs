//! When the jobs run, over years, leap days, sleeps and clocks that jump.

use std::error::Error;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use marzban_sync_core::report::Job::{
    self, CleanupExpiredMarzbanUsers, GetMarzbanSystemStats, SyncSubscriptionsFromMarzban,
    SyncUserStatusFromMarzban,
};
use marzban_sync_core::schedule::{Agenda, Schedule, Tick};
use proptest::prelude::*;

use crate::given::at;

fn idle(_: Job) -> bool {
    false
}

/// Whether the default schedule of a job says this minute, in words of its own.
fn is_scheduled(job: Job, time: DateTime<Utc>) -> bool {
    let (hour, minute) = (time.hour(), time.minute());
    match job {
        SyncSubscriptionsFromMarzban => minute == 0 && hour % 2 == 0,
        SyncUserStatusFromMarzban => minute == 30,
        CleanupExpiredMarzbanUsers => (hour, minute) == (1, 0) && time.weekday() == Weekday::Mon,
        GetMarzbanSystemStats => minute % 15 == 0,
    }
}

#[test]
fn the_default_schedules_are_the_documented_ones() {
    let texts = Schedule::defaults()
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert_eq!(
        texts,
        [
            "0 */2 * * * sync_subscriptions_from_marzban",
            "30 * * * * sync_user_status_from_marzban",
            "0 1 * * 1 cleanup_expired_marzban_users",
            "*/15 * * * * get_marzban_system_stats",
        ]
    );
    for schedule in Schedule::defaults() {
        assert_eq!(schedule.time_limit(), TimeDelta::minutes(30));
        let read = Schedule::new(schedule.job(), schedule.cron()).unwrap();
        assert_eq!(
            read.next_after(at("2025-09-15 00:00:00")),
            schedule.next_after(at("2025-09-15 00:00:00"))
        );
    }
}

#[test]
fn every_minute_of_years_with_and_without_a_leap_day_is_right() {
    for year in [2025, 2028, 2100] {
        let (begin, end) = (
            at(&format!("{}-12-31 23:59:00", year - 1)),
            at(&format!("{year}-12-31 23:59:00")),
        );
        for schedule in Schedule::defaults() {
            let minutes = std::iter::successors(Some(begin), |minute| Some(*minute + TimeDelta::minutes(1)));
            let expected = minutes
                .skip(1)
                .take_while(|minute| *minute <= end)
                .filter(|minute| is_scheduled(schedule.job(), *minute));
            assert!(schedule.ticks(begin, end).eq(expected), "{schedule} in {year}");
        }
    }
}

#[test]
fn monday_is_one_and_sunday_is_nought_or_seven() {
    let friday = at("2025-09-12 12:00:00");
    for (cron, next) in [
        ("0 1 * * 1", "2025-09-15 01:00:00"),
        ("0 1 * * MON", "2025-09-15 01:00:00"),
        ("0 1 * * 0", "2025-09-14 01:00:00"),
        ("0 1 * * 7", "2025-09-14 01:00:00"),
        ("59 23 29 2 *", "2028-02-29 23:59:00"),
    ] {
        let schedule = Schedule::new(CleanupExpiredMarzbanUsers, cron).unwrap();
        assert_eq!(schedule.next_after(friday), Some(at(next)), "{cron}");
    }
}

#[test]
fn what_is_no_cron_expression_of_five_fields_is_refused() {
    for cron in [
        "",
        "* * * *",
        "0 0 1 * * 1",
        "61 * * * *",
        "every day",
        "0 0 30 2 *",
        "0 0 * * 8",
        "@daily",
    ] {
        let error = Schedule::new(GetMarzbanSystemStats, cron).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{cron:?} is not a cron expression of five fields that comes true")
        );
    }
    let error = Schedule::new(GetMarzbanSystemStats, "61 * * * *").unwrap_err();
    assert!(error.source().is_some(), "{error:?}");
}

#[test]
fn a_day_of_an_agenda_has_every_run_once_and_in_order() {
    let begin = at("2025-09-15 00:00:00");
    let mut agenda = Agenda::new(Schedule::defaults(), begin - TimeDelta::seconds(1));
    let mut ran = Vec::new();
    let mut now = begin;
    while now < begin + TimeDelta::days(1) {
        ran.extend(agenda.take_due(now, idle));
        assert_eq!(agenda.take_due(now, idle), [], "nothing is due twice");
        now = agenda.next(now).unwrap();
    }
    let count = |job| ran.iter().filter(|tick| tick.job == job).count();
    assert_eq!(Job::ALL.map(count), [12, 24, 1, 96]);
    assert!(ran.is_sorted(), "{ran:?}");
    assert!(ran.iter().all(|tick| is_scheduled(tick.job, tick.at)));
}

#[test]
fn many_missed_runs_become_one_late_one() {
    let mut agenda = Agenda::new(
        vec![Schedule::default_of(GetMarzbanSystemStats)],
        at("2025-09-15 00:00:00"),
    );
    let late = at("2025-09-15 05:07:00");
    let job = GetMarzbanSystemStats;
    assert_eq!(
        agenda.take_due(late, idle),
        [Tick {
            at: at("2025-09-15 05:00:00"),
            job
        }]
    );
    assert_eq!(agenda.take_due(late, idle), []);
    let next = at("2025-09-15 05:15:00");
    assert_eq!(agenda.next(late), Some(next));
    assert_eq!(agenda.take_due(next, idle), [Tick { at: next, job }]);
}

#[test]
fn ticks_that_come_during_a_run_become_one_run_after_it() {
    let job = GetMarzbanSystemStats;
    let mut agenda = Agenda::new(vec![Schedule::default_of(job)], at("2025-09-15 00:00:00"));
    for now in [
        "2025-09-15 00:15:00",
        "2025-09-15 00:30:00",
        "2025-09-15 00:45:01",
    ] {
        assert_eq!(agenda.take_due(at(now), |_| true), [], "{now}");
    }
    let ended = at("2025-09-15 00:45:20");
    assert_eq!(
        agenda.take_due(ended, idle),
        [Tick {
            at: at("2025-09-15 00:45:00"),
            job
        }]
    );
    assert_eq!(agenda.take_due(ended, idle), []);
}

#[test]
fn a_run_missed_in_a_downtime_is_made_good_once() {
    // The bot was down on Monday at 01:00, and comes back on Monday at noon.
    let now = at("2025-09-15 12:00:30");
    let last_run = |job| (job == CleanupExpiredMarzbanUsers).then(|| at("2025-09-08 01:00:00"));
    let mut agenda = Agenda::resumed(Schedule::defaults(), now, last_run);
    let job = CleanupExpiredMarzbanUsers;
    assert_eq!(
        agenda.take_due(now, idle),
        [Tick {
            at: at("2025-09-15 01:00:00"),
            job
        }]
    );
    assert_eq!(agenda.take_due(now, idle), []);
}

#[test]
fn a_clock_that_jumps_back_repeats_nothing_and_silences_nobody() {
    let job = GetMarzbanSystemStats;
    let mut agenda = Agenda::new(vec![Schedule::default_of(job)], at("2025-09-15 12:00:00"));
    assert_eq!(agenda.take_due(at("2025-09-15 12:15:00"), idle).len(), 1);
    // The clock was 3.5 hours fast, and is set right.
    let set_right = at("2025-09-15 08:45:10");
    assert_eq!(agenda.take_due(set_right, idle), []);
    let next = at("2025-09-15 09:00:00");
    assert_eq!(agenda.next(set_right), Some(next));
    assert_eq!(agenda.take_due(next, idle), [Tick { at: next, job }]);
}

fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (946_684_800_i64..4_102_444_800).prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap())
}

proptest! {
    #[test]
    fn the_next_tick_is_later_and_none_lies_between(time in moment(), index in 0..4_usize) {
        let schedule = Schedule::default_of(Job::ALL[index]);
        let next = schedule.next_after(time).unwrap();
        prop_assert!(next > time);
        prop_assert!(is_scheduled(schedule.job(), next) && next.second() == 0);
        prop_assert_eq!(schedule.last_at(next), Some(next));
        let before = schedule.last_at(next - TimeDelta::seconds(1)).unwrap();
        prop_assert!(before <= time);
        prop_assert_eq!(schedule.next_after(before), Some(next));
    }

    #[test]
    fn an_agenda_answers_a_tick_once_however_often_it_is_asked(
        begin in moment(),
        steps in proptest::collection::vec((0..7_200_i64, any::<bool>()), 1..60),
    ) {
        let mut agenda = Agenda::new(Schedule::defaults(), begin);
        let mut now = begin;
        let mut seen = std::collections::BTreeSet::new();
        for (seconds, busy) in steps {
            now += TimeDelta::seconds(seconds);
            for tick in agenda.take_due(now, |_| busy) {
                prop_assert!(!busy && tick.at > begin && tick.at <= now);
                prop_assert!(seen.insert(tick), "{:?} twice", tick);
            }
        }
        // Whatever the past, what is due last is answered now.
        agenda.take_due(now, |_| false);
        for schedule in agenda.schedules() {
            let due = schedule.last_at(now).filter(|tick| *tick > begin);
            prop_assert!(agenda.clone().take_due(now, |_| false).is_empty(), "{:?}", due);
        }
    }
}
