//! Runs by hand, from the command line.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::cli::Enqueue;
use crate::queue::{Ended, Pushed, Queue};
use crate::task::SyncTask;

/// How often `--wait` looks whether the task has ended.
const POLL: Duration = Duration::from_millis(200);

/// Queues the task and prints its id; with `--wait` waits for its end and prints the report.
pub(crate) async fn run(url: &str, order: &Enqueue) -> anyhow::Result<ExitCode> {
    let queue = Queue::new(url, order.max_attempts)?;
    queue.verify().await?;
    let panel = order.panel.as_str();
    let task = SyncTask::manual(order.job, panel, order.allow_mass_changes);
    let Pushed::Queued(id) = queue.push(task).await? else {
        anyhow::bail!("a run by hand has no key, and yet it was taken for one that is queued");
    };
    print(&json!({ "task": id, "job": order.job, "panel": panel }))?;
    if !order.wait {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        if let Some(ended) = queue.ended(&id).await? {
            return finish(&ended);
        }
        sleep(POLL).await;
    }
}

/// Prints the report; the exit codes are those of the `sync` example.
fn finish(ended: &Ended) -> anyhow::Result<ExitCode> {
    match ended.result.get("Ok") {
        Some(report) if ended.is_done => {
            print(report)?;
            let is_complete = report.get("stopped").is_none_or(Value::is_null);
            Ok(if is_complete {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        _ => {
            let why = ended
                .result
                .get("Err")
                .and_then(Value::as_str)
                .unwrap_or("nobody knows why");
            anyhow::bail!("the task has failed: {why}")
        }
    }
}

/// Prints one JSON object as a line of standard output.
pub(crate) fn print(value: &Value) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{value}").context("standard output cannot be written to")
}
