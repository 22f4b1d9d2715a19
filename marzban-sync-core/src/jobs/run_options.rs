//! What differs from run to run: the time limit, who may end it, a dry run, an operator's answers.

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::model::policy::Answers;
use crate::model::run::RUN_DEADLINE;

/// What differs from run to run: how long one may take, who may end it, and what an operator allows it.
///
/// ```
/// use chrono::TimeDelta;
/// use marzban_sync_core::jobs::RunOptions;
///
/// let careful = RunOptions::new().dry_run(true).deadline(TimeDelta::minutes(5));
/// # drop(careful);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RunOptions {
    pub(super) deadline: TimeDelta,
    pub(super) cancellation: CancellationToken,
    pub(super) dry_run: bool,
    pub(super) answers: Answers,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            deadline: RUN_DEADLINE,
            cancellation: CancellationToken::new(),
            dry_run: false,
            answers: Answers::default(),
        }
    }
}

impl RunOptions {
    /// Thirty minutes, a token of its own, no dry run, and no answers of an operator.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the run may take, by the clock of the context. It ends between two requests.
    pub fn deadline(mut self, deadline: TimeDelta) -> Self {
        self.deadline = deadline;
        self
    }

    /// A token that ends the run between two requests; what is done stays done.
    pub fn cancellation(mut self, cancellation: CancellationToken) -> Self {
        self.cancellation = cancellation;
        self
    }

    /// Whether the run only reports what it would do, and writes nothing at all.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// What an operator answers about the accounts of the run: which side is right, and that what the safety limits
    /// withheld is allowed.
    pub fn answers(mut self, answers: Answers) -> Self {
        self.answers = answers;
        self
    }
}
