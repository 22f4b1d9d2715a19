//! The next step of a task after a run: pure, randomness is an argument.

use std::time::Duration;

use serde_json::Value;

use crate::cli::Retries;
use crate::run::RunResult;

/// No pause grows beyond this.
const MAX_PAUSE: Duration = Duration::from_mins(10);

/// What to do with the task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NextStep {
    /// It is done.
    Done(Value),
    /// It goes back into the queue; a free pause costs no attempt.
    Postpone {
        why: String,
        pause: Duration,
        is_free: bool,
    },
    /// It has failed for good.
    Fail(String),
}

impl Retries {
    /// Decides after `made` of `allowed` attempts; `chance` is between 0 and 1.
    pub(crate) fn decide(&self, result: RunResult, made: usize, allowed: usize, chance: f64) -> NextStep {
        let free = |why: &str, pause| NextStep::Postpone {
            why: why.to_owned(),
            pause,
            is_free: true,
        };
        match result {
            RunResult::Finished(report) => NextStep::Done(report),
            RunResult::Busy => free("another run is under way", spread(self.busy_pause, chance)),
            RunResult::Cancelled => free("the worker was asked to end", Duration::ZERO),
            RunResult::Failed { why, is_final } if is_final || made >= allowed => NextStep::Fail(why),
            RunResult::Failed { why, .. } => NextStep::Postpone {
                why,
                pause: spread(self.pause_after(made), chance),
                is_free: false,
            },
        }
    }

    fn pause_after(&self, made: usize) -> Duration {
        let doublings = u32::try_from(made.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.backoff.saturating_mul(2_u32.saturating_pow(doublings));
        pause.min(MAX_PAUSE.max(self.backoff))
    }
}

/// Returns between half of a pause and all of it, in whole milliseconds: the database is no finer than microseconds.
fn spread(pause: Duration, chance: f64) -> Duration {
    let spread = pause.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
    Duration::from_millis(u64::try_from(spread.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRIES: Retries = Retries {
        backoff: Duration::from_secs(30),
        busy_pause: Duration::from_secs(20),
    };

    fn failed(is_final: bool) -> RunResult {
        RunResult::Failed {
            why: "the panel is away".to_owned(),
            is_final,
        }
    }

    fn pause(step: &NextStep) -> (u64, bool) {
        match step {
            NextStep::Postpone { pause, is_free, .. } => (pause.as_secs(), *is_free),
            NextStep::Done(_) | NextStep::Fail(_) => panic!("{step:?}"),
        }
    }

    #[test]
    fn pauses_double_and_are_bounded_and_spread() {
        let after = |made, chance| pause(&RETRIES.decide(failed(false), made, 100, chance)).0;
        assert_eq!(
            [1, 2, 3, 5, 6, 99].map(|made| after(made, 1.0)),
            [30, 60, 120, 480, 600, 600]
        );
        assert_eq!([0.0, 0.5, 1.0].map(|chance| after(2, chance)), [30, 45, 60]);
    }

    #[test]
    fn the_last_attempt_and_what_cannot_succeed_fail_for_good() {
        let fail = NextStep::Fail("the panel is away".to_owned());
        assert_eq!(RETRIES.decide(failed(false), 3, 3, 0.5), fail);
        assert_eq!(RETRIES.decide(failed(false), 4, 3, 0.5), fail);
        assert_eq!(RETRIES.decide(failed(true), 1, 3, 0.5), fail);
        assert_eq!(pause(&RETRIES.decide(failed(false), 2, 3, 1.0)), (60, false));
    }

    #[test]
    fn waiting_for_another_run_or_another_worker_takes_no_attempt() {
        assert_eq!(pause(&RETRIES.decide(RunResult::Busy, 3, 3, 1.0)), (20, true));
        assert_eq!(pause(&RETRIES.decide(RunResult::Cancelled, 3, 3, 1.0)), (0, true));
    }

    #[test]
    fn a_report_is_done_whatever_it_says() {
        let stopped = serde_json::json!({"stopped": "safety"});
        assert_eq!(
            RETRIES.decide(RunResult::Finished(stopped.clone()), 1, 3, 0.5),
            NextStep::Done(stopped)
        );
    }
}
