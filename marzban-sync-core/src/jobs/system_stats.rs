use super::Context;
use super::job_run::{Interrupt, JobRun};
use crate::model::report::{Job, Report, Run, SystemStats, SystemStatsReport};
use crate::port::error::{StoreError, SyncError};

/// Collects the figures of the panel and its host, and stores them in `marzban_system_stats`; then forgets the
/// panel's history beyond what [`history_retention`](super::ContextBuilder::history_retention) says.
///
/// Default schedule: `*/15 * * * *`, UTC.
///
/// # Errors
/// `AlreadyRunning`, `Panel` when the panel does not answer, `Store` when the figures cannot be stored, `Stopped` when
/// the run was cancelled before it had them.
///
/// # Cancel safety
/// May be dropped at any point: the figures are stored or not. To end it in order, cancel the context's token.
pub async fn get_marzban_system_stats(context: &Context) -> Result<SystemStatsReport, SyncError> {
    let job_run = JobRun::begin(context, Job::GetMarzbanSystemStats).await?;
    match collect(&job_run).await {
        Ok(stats) => {
            let run = &job_run.writer.run;
            let report = SystemStatsReport {
                timestamp: run.started_at,
                panel: run.panel.clone(),
                stats,
            };
            job_run
                .end(Ok(()), Report::GetMarzbanSystemStats(report.clone()))
                .await?;
            Ok(report)
        }
        Err(Interrupt::Failed(failure)) => Err(job_run.fail(failure, None).await),
        Err(Interrupt::Stopped(stopped)) => Err(job_run.stop(stopped).await),
    }
}

async fn collect(job_run: &JobRun<'_>) -> Result<SystemStats, Interrupt> {
    let JobRun {
        context,
        reader,
        writer,
        ..
    } = job_run;
    let run = &writer.run;
    reader.check()?;
    let question = step!(stats.read, context.panel.system_stats());
    let stats = reader.unless_cancelled(question).await??;
    if !context.options.dry_run {
        let record = context
            .journal
            .record_system_stats(&run.panel, &stats, run.started_at);
        step!(stats.record, record).await?;
        forget(context, run).await?;
    }
    Ok(stats)
}

/// Deletes the history that is older than it is to be kept.
async fn forget(context: &Context, run: &Run) -> Result<(), StoreError> {
    let Some(before) = context
        .history_retention
        .and_then(|keep| run.started_at.checked_sub_signed(keep))
    else {
        return Ok(());
    };
    let difference = context.panel.last_date().map(|date| date - context.clock.now());
    if context.limits.check_clocks(difference).is_some() {
        tracing::warn!(
            panel.name = run.panel,
            "the clocks disagree, so no history is forgotten"
        );
        return Ok(());
    }
    let forgotten = step!(stats.forget, context.journal.prune_history(&run.panel, before)).await?;
    if forgotten > 0 {
        tracing::debug!(
            panel.name = run.panel,
            history.rows = forgotten,
            "old history was forgotten"
        );
    }
    Ok(())
}
