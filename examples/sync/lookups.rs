//! Commands that need the database alone: explain a customer, undo a run.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use marzban_sync_core::Context;
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::error::{PanelError, PanelErrorKind, StoreError, chain};
use marzban_sync_core::jobs;
use marzban_sync_core::observation::Observation;
use marzban_sync_core::panel::{ExpectedUser, Panel, UpdateOutcome};
use marzban_sync_core::report::SystemStats;
use marzban_sync_core::run::RunId;
use marzban_sync_core::store::{DEFAULT_PANEL, Store};
use marzban_sync_core::trail::EntryQuery;
use marzban_sync_examples::environment::{Database, Failure};

use crate::output::Format;

/// Explains the customer with this telegram id or name, in this panel or in all.
pub(crate) async fn explain(
    database: &Database,
    panel: Option<&str>,
    name: &str,
    format: Format,
) -> Result<ExitCode, Failure> {
    let store = database.connect().await?.into_store();
    let known = jobs::explain(&*store, &*store, panel, name, SystemClock.now())
        .await
        .map_err(failed)?;
    let Some(explanation) = known else {
        let line = format!(
            "nobody has the telegram id or the panel user {name:?}, and no run changed anything of theirs"
        );
        return Err(Failure::Run(line));
    };
    format.print_explanation(&explanation);
    Ok(ExitCode::SUCCESS)
}

/// Undoes a run, or with a dry run plans to, and prints the result.
pub(crate) async fn undo(
    database: &Database,
    panel: Option<&str>,
    run: RunId,
    is_dry_run: bool,
    format: Format,
) -> Result<ExitCode, Failure> {
    let store = database.connect().await?.into_store();
    let panel = match panel {
        Some(panel) => panel.to_owned(),
        None => panel_of(&*store, run).await.map_err(failed)?,
    };
    let context = Context::shared(Arc::new(NoPanel), Arc::clone(&store) as _, store)
        .panel_name(panel)
        .dry_run(is_dry_run)
        .build();
    let undone = jobs::undo(&context, run).await.map_err(failed)?;
    format.print_undone(&undone);
    Ok(ExitCode::SUCCESS)
}

/// The panel of a run that changed something; of another the name does not matter.
async fn panel_of(store: &dyn Store, run: RunId) -> Result<String, StoreError> {
    store.verify_schema().await?;
    let entries = store.entries(&EntryQuery::Run(run)).await?;
    let panel = entries.into_iter().next().map(|entry| entry.panel);
    Ok(panel.unwrap_or_else(|| DEFAULT_PANEL.to_owned()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err takes")]
fn failed(error: StoreError) -> Failure {
    Failure::Run(chain(&error))
}

/// Stands in for a panel; no command here asks one.
struct NoPanel;

fn not_asked() -> PanelError {
    PanelError::new(PanelErrorKind::Refused, "no panel is asked")
}

#[async_trait]
impl Panel for NoPanel {
    async fn users(&self, _: &[String]) -> Result<Vec<Observation>, PanelError> {
        Err(not_asked())
    }

    async fn user(&self, _: &str) -> Result<Observation, PanelError> {
        Err(not_asked())
    }

    async fn delete_user(&self, _: &str) -> Result<(), PanelError> {
        Err(not_asked())
    }

    async fn extend_user(
        &self,
        _: &str,
        _: &ExpectedUser,
        _: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError> {
        Err(not_asked())
    }

    async fn disable_user(&self, _: &str, _: &ExpectedUser) -> Result<UpdateOutcome, PanelError> {
        Err(not_asked())
    }

    fn last_date(&self) -> Option<DateTime<Utc>> {
        None
    }

    async fn system_stats(&self) -> Result<SystemStats, PanelError> {
        Err(not_asked())
    }
}
