//! What becomes of a task after a run: pure, chance is an argument.

use std::time::Duration;

use serde_json::Value;

/// No pause grows beyond this.
const MAX_PAUSE: Duration = Duration::from_mins(10);

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    /// With a report, be it that a safety limit or the deadline stopped it.
    Finished(Value),
    /// Another run of the same job and panel is under way.
    Busy,
    /// The process was asked to end.
    Cancelled,
    /// It failed, and whether another attempt would fail too.
    Failed { why: String, is_final: bool },
}

/// What to do with the task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is done.
    Done(Value),
    /// It goes back into the queue; a free pause takes no attempt away.
    Postpone {
        why: String,
        pause: Duration,
        is_free: bool,
    },
    /// It has failed for good.
    Fail(String),
}

/// How failures are made good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// The pause before the second attempt.
    pub(crate) backoff: Duration,
    /// The pause of a run that found another under way.
    pub(crate) busy_pause: Duration,
}

impl Policy {
    /// Decides after so many attempts of so many; `chance` is between 0 and 1.
    pub(crate) fn decide(&self, ending: Ending, made: usize, allowed: usize, chance: f64) -> Verdict {
        let free = |why: &str, pause| Verdict::Postpone {
            why: why.to_owned(),
            pause,
            is_free: true,
        };
        match ending {
            Ending::Finished(report) => Verdict::Done(report),
            Ending::Busy => free("another run is under way", spread(self.busy_pause, chance)),
            Ending::Cancelled => free("the worker was asked to end", Duration::ZERO),
            Ending::Failed { why, is_final } if is_final || made >= allowed => Verdict::Fail(why),
            Ending::Failed { why, .. } => Verdict::Postpone {
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

/// Between half of a pause and all of it, in whole milliseconds, as the database counts no finer than microseconds.
fn spread(pause: Duration, chance: f64) -> Duration {
    let spread = pause.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
    Duration::from_millis(u64::try_from(spread.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        backoff: Duration::from_secs(30),
        busy_pause: Duration::from_secs(20),
    };

    fn failed(is_final: bool) -> Ending {
        Ending::Failed {
            why: "the panel is away".to_owned(),
            is_final,
        }
    }

    fn pause(verdict: &Verdict) -> (u64, bool) {
        match verdict {
            Verdict::Postpone { pause, is_free, .. } => (pause.as_secs(), *is_free),
            Verdict::Done(_) | Verdict::Fail(_) => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn pauses_double_and_are_bounded_and_spread() {
        let after = |made, chance| pause(&POLICY.decide(failed(false), made, 100, chance)).0;
        assert_eq!(
            [1, 2, 3, 5, 6, 99].map(|made| after(made, 1.0)),
            [30, 60, 120, 480, 600, 600]
        );
        assert_eq!([0.0, 0.5, 1.0].map(|chance| after(2, chance)), [30, 45, 60]);
    }

    #[test]
    fn the_last_attempt_and_what_cannot_succeed_fail_for_good() {
        let fail = Verdict::Fail("the panel is away".to_owned());
        assert_eq!(POLICY.decide(failed(false), 3, 3, 0.5), fail);
        assert_eq!(POLICY.decide(failed(false), 4, 3, 0.5), fail);
        assert_eq!(POLICY.decide(failed(true), 1, 3, 0.5), fail);
        assert_eq!(pause(&POLICY.decide(failed(false), 2, 3, 1.0)), (60, false));
    }

    #[test]
    fn waiting_for_another_run_or_another_worker_takes_no_attempt() {
        assert_eq!(pause(&POLICY.decide(Ending::Busy, 3, 3, 1.0)), (20, true));
        assert_eq!(pause(&POLICY.decide(Ending::Cancelled, 3, 3, 1.0)), (0, true));
    }

    #[test]
    fn a_report_is_done_whatever_it_says() {
        let stopped = serde_json::json!({"stopped": "safety"});
        assert_eq!(
            POLICY.decide(Ending::Finished(stopped.clone()), 1, 3, 0.5),
            Verdict::Done(stopped)
        );
    }
}
