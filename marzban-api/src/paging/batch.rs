//! Batches of usernames: how many go into one request, and what a failed batch means.

use std::iter::Peekable;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::request::pair_len;

/// The most usernames per request.
const MAX_BATCH: usize = 100;
/// The fewest usernames per request for a panel of ordinary speed.
const MIN_BATCH: usize = 50;
/// The fewest usernames per request for any panel.
const MIN_BATCH_SLOW_PANEL: usize = 10;

/// The time that a request should take.
const TARGET: Duration = Duration::from_secs(1);
/// The time above which even [`MIN_BATCH`] usernames are too many.
const TOO_LONG: Duration = Duration::from_secs(2);

/// After this many failures without a success, the panel is broken rather than a user.
const MAX_FAILURES_WITHOUT_SUCCESS: u32 = 16;

/// The batches of a client and its clones: one at a time, of a size that adapts to the panel.
#[derive(Debug)]
pub(crate) struct Batching {
    turn: Mutex<()>,
    size: AtomicUsize,
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            turn: Mutex::new(()),
            size: AtomicUsize::new(MAX_BATCH),
        }
    }
}

impl Batching {
    /// Waits until no other batch is under way. The panel is one process, and concurrent batches only slow it down.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// How many usernames the next request should have.
    pub(crate) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Adapts the size to a request with `asked` usernames that took this long.
    pub(crate) fn learn(&self, asked: usize, took: Duration) {
        // For a handful of usernames the fixed cost of a request dominates.
        if asked >= MIN_BATCH_SLOW_PANEL {
            self.size.store(size_for(asked, took), Ordering::Relaxed);
        }
    }

    /// Adapts the size to a request with `asked` usernames that timed out.
    pub(crate) fn learn_timeout(&self, asked: usize) {
        self.size.store(
            (asked / 2).clamp(MIN_BATCH_SLOW_PANEL, MAX_BATCH),
            Ordering::Relaxed,
        );
    }
}

/// How many usernames the panel returns within about [`TARGET`], judged by one request.
fn size_for(asked: usize, took: Duration) -> usize {
    let fitting = |time: Duration| {
        let names = u128::try_from(asked)
            .unwrap_or(u128::MAX)
            .saturating_mul(time.as_micros());
        usize::try_from(names / took.as_micros().max(1)).unwrap_or(usize::MAX)
    };
    let ideal = fitting(TARGET);
    if fitting(TOO_LONG) < MIN_BATCH {
        ideal.max(MIN_BATCH_SLOW_PANEL)
    } else {
        ideal.clamp(MIN_BATCH, MAX_BATCH)
    }
}

/// Takes the next usernames: at least one, at most `size`, and as many as fit into a query of `room` bytes.
pub(crate) fn take_batch(
    names: &mut Peekable<impl Iterator<Item = String>>,
    size: usize,
    room: usize,
) -> Vec<String> {
    let mut batch = Vec::new();
    let mut used = 0;
    while let Some(name) = names.next_if(|name| {
        used += pair_len("username", name);
        batch.is_empty() || (batch.len() < size && used <= room)
    }) {
        batch.push(name);
    }
    batch
}

/// Counts the requests made to isolate a record that the panel answers with 500.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bisection {
    failures: u32,
    succeeded: bool,
}

impl Bisection {
    pub(crate) fn succeeded(&mut self) {
        self.succeeded = true;
    }

    pub(crate) fn has_succeeded(self) -> bool {
        self.succeeded
    }

    /// Counts a failure and returns whether to give up, because there were many and no success.
    pub(crate) fn failed_for_good(&mut self) -> bool {
        self.failures += 1;
        !self.succeeded && self.failures >= MAX_FAILURES_WITHOUT_SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_follows_the_panel() {
        for (asked, took_ms, size) in [
            (100, 0, 100),
            (100, 250, 100),
            (100, 1000, 100),
            (100, 1250, 80),
            (100, 2000, 50),
            (100, 3900, 50),
            (100, 4100, 24),
            (100, 60_000, 10),
            (24, 1000, 24),
            (24, 480, 50),
            (10, 100, 100),
        ] {
            assert_eq!(
                size_for(asked, Duration::from_millis(took_ms)),
                size,
                "{asked} names in {took_ms} ms"
            );
        }
    }

    #[test]
    fn a_handful_of_names_teaches_nothing_but_a_time_out_does() {
        let batching = Batching::default();
        batching.learn(1, Duration::from_secs(3));
        assert_eq!(batching.size(), 100);
        batching.learn_timeout(100);
        assert_eq!(batching.size(), 50);
        batching.learn_timeout(1);
        assert_eq!(batching.size(), 10);
    }

    #[test]
    fn a_batch_is_bounded_by_number_and_by_length() {
        let sizes = |names: &[&str], size, room| {
            let mut rest = names.iter().map(|name| (*name).to_owned()).peekable();
            std::iter::from_fn(|| Some(take_batch(&mut rest, size, room)).filter(|batch| !batch.is_empty()))
                .map(|batch| batch.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(&["aaa", "bbb", "ccc", "ddd", "eee"], 2, 4096), [2, 2, 1]);
        // "&username=aaa" is 13 bytes long.
        assert_eq!(sizes(&["aaa", "bbb", "ccc"], 100, 26), [2, 1]);
        assert_eq!(sizes(&["aaa", "bbb"], 100, 25), [1, 1]);
        // "@" takes three bytes.
        assert_eq!(sizes(&["a@a", "bbb"], 100, 27), [1, 1]);
        assert_eq!(
            sizes(&["a name that is too long for any room", "bbb"], 100, 10),
            [1, 1]
        );
        assert_eq!(sizes(&[], 100, 4096), [] as [usize; 0]);
    }

    #[test]
    fn a_bisection_gives_up_only_without_any_success() {
        let mut bisection = Bisection::default();
        let verdicts: Vec<_> = (0..16).map(|_| bisection.failed_for_good()).collect();
        assert_eq!(verdicts.iter().position(|hopeless| *hopeless), Some(15));
        bisection.succeeded();
        assert!(!bisection.failed_for_good());
    }
}
