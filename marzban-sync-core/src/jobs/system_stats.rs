use super::Context;
use super::session::{Failure, Session};
use crate::error::SyncError;
use crate::report::{Job, Report, SystemStats, SystemStatsReport};

/// Collects the figures of the panel and its host, and stores them in `marzban_system_stats`.
///
/// Default schedule: `*/15 * * * *`, UTC.
///
/// # Errors
/// `AlreadyRunning`, `Panel` when the panel does not answer, `Store` when the figures cannot be stored.
///
/// # Cancel safety
/// May be dropped at any point: the figures are stored or not.
pub async fn get_marzban_system_stats(context: &Context) -> Result<SystemStatsReport, SyncError> {
    let session = Session::begin(context, Job::GetMarzbanSystemStats).await?;
    match collect(&session).await {
        Ok(stats) => {
            let run = &session.ledger.run;
            let report = SystemStatsReport {
                timestamp: run.started_at,
                panel: run.panel.clone(),
                stats,
            };
            session
                .end(Ok(()), Report::GetMarzbanSystemStats(report.clone()))
                .await?;
            Ok(report)
        }
        Err(failure) => Err(session.fail(failure, None).await),
    }
}

async fn collect(session: &Session<'_>) -> Result<SystemStats, Failure> {
    let Session { context, ledger, .. } = session;
    let run = &ledger.run;
    let stats = context.panel.system_stats().await.map_err(Failure::Panel)?;
    if !context.dry_run {
        let recorded = context
            .store
            .record_system_stats(&run.panel, &stats, run.started_at)
            .await;
        recorded.map_err(Failure::Store)?;
    }
    Ok(stats)
}
