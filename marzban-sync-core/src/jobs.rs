//! The four jobs: the shell that gathers, lets the pure functions decide, performs, and records.

/// A call of the panel or the store, to be awaited, with a failpoint right before it and one right after it; each is
/// listed in `failpoints.rs`.
#[cfg(feature = "failpoints")]
macro_rules! step {
    ($phase:ident . $name:ident, $call:expr) => {
        crate::failpoints::around(
            concat!(stringify!($phase), ".before_", stringify!($name)),
            $call,
            concat!(stringify!($phase), ".after_", stringify!($name)),
        )
    };
}

/// A call of the panel or the store, to be awaited.
#[cfg(not(feature = "failpoints"))]
macro_rules! step {
    ($phase:ident . $name:ident, $call:expr) => {
        $call
    };
}

mod change_writer;
mod cleanup_expired_users;
mod context;
mod explain;
mod job_run;
mod panel_reader;
mod run_options;
mod spellings;
mod sync;
mod system_stats;
mod undo;

pub use cleanup_expired_users::cleanup_expired_marzban_users;
pub use context::{Context, ContextBuilder};
pub use explain::{
    ExplainedAccount, ExplainedAgreement, ExplainedChange, ExplainedSubscription, Explanation, explain,
};
pub use run_options::RunOptions;
pub use sync::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};
pub use system_stats::get_marzban_system_stats;
pub use undo::{Undone, undo};

use crate::model::report::{Job, Report};
use crate::port::error::SyncError;

/// Runs a job with the options of the context, for schedulers and command lines.
///
/// # Errors
/// As the job itself.
///
/// # Cancel safety
/// As the job itself.
pub async fn run(job: Job, context: &Context) -> Result<Report, SyncError> {
    Ok(match job {
        Job::SyncSubscriptionsFromMarzban => {
            Report::SyncSubscriptionsFromMarzban(sync_subscriptions_from_marzban(context).await?)
        }
        Job::SyncUserStatusFromMarzban => {
            Report::SyncUserStatusFromMarzban(sync_user_status_from_marzban(context).await?)
        }
        Job::CleanupExpiredMarzbanUsers => {
            Report::CleanupExpiredMarzbanUsers(cleanup_expired_marzban_users(context).await?)
        }
        Job::GetMarzbanSystemStats => Report::GetMarzbanSystemStats(get_marzban_system_stats(context).await?),
    })
}

/// Runs a job with other options than those of the context: one that an operator asks for, allows more, or may end.
///
/// A context of dry runs stays one of dry runs. To keep its token or its deadline, derive the options from
/// [`Context::options`].
///
/// # Errors
/// As the job itself.
///
/// # Cancel safety
/// As the job itself.
///
/// # Examples
/// ```
/// use marzban_sync_core::error::SyncError;
/// use marzban_sync_core::jobs::{self, Context, RunOptions};
/// use marzban_sync_core::report::{Job, Report};
///
/// async fn preview(context: &Context) -> Result<Report, SyncError> {
///     let job = Job::CleanupExpiredMarzbanUsers;
///     jobs::run_with(job, context, RunOptions::new().dry_run(true)).await
/// }
/// # drop(preview);
/// ```
pub async fn run_with(job: Job, context: &Context, options: RunOptions) -> Result<Report, SyncError> {
    run(job, &context.with(options)).await
}
