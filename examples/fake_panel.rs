//! A Marzban panel to develop a bot against: no Python, no Xray, nothing to set up.
//!
//! `cargo run --example fake_panel -- --port 8000 --users 100`, and log in as `admin` / `admin`.
//! It has all routes of the panel and runs its jobs; everything is gone when it stops.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use marzban_api::testing::FakePanel;
use tokio::time::interval;

/// How often the panel runs its jobs, as the real one by default; only who waits for a review waits less.
const REVIEW: Duration = Duration::from_secs(1);
const NOTIFICATIONS: Duration = Duration::from_secs(30);
const RESETS: Duration = Duration::from_hours(1);
const DELETIONS: Duration = Duration::from_hours(6);

/// A Marzban panel to develop a bot against.
#[derive(Parser)]
#[command(name = "fake_panel")]
struct Arguments {
    /// The port on loopback; 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How many users it has at first.
    #[arg(long, default_value_t = 0)]
    users: usize,
    /// An address that is notified of what happens to users; may be given several times.
    #[arg(long)]
    webhook: Vec<String>,
    /// The secret that notifications carry in `x-webhook-secret`.
    #[arg(long, env = "WEBHOOK_SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match serve(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "error: cannot serve on port {}: {error}",
                arguments.port
            );
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: &Arguments) -> std::io::Result<()> {
    let mut builder = FakePanel::builder().port(arguments.port);
    for address in &arguments.webhook {
        builder = builder.webhook(address);
    }
    if let Some(secret) = &arguments.webhook_secret {
        builder = builder.webhook_secret(secret);
    }
    let panel = builder.start().await?;
    panel.populate(arguments.users);
    writeln!(std::io::stdout(), "{}", panel.url())?;
    writeln!(
        std::io::stderr(),
        "{} users, login admin / admin; try:\n  \
         curl -s {url}/api/admin/token -d username=admin -d password=admin\n\
         Ctrl-C stops it.",
        arguments.users,
        url = panel.url(),
    )?;
    tokio::select! {
        () = run_jobs(&panel) => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    panel.shutdown().await;
    Ok(())
}

/// Runs the panel's jobs, each at its interval, until it is dropped.
async fn run_jobs(panel: &FakePanel) {
    let (mut review, mut notifications) = (interval(REVIEW), interval(NOTIFICATIONS));
    let (mut resets, mut deletions) = (interval(RESETS), interval(DELETIONS));
    loop {
        tokio::select! {
            _ = review.tick() => panel.review(),
            _ = notifications.tick() => {
                panel.send_notifications().await;
            }
            _ = resets.tick() => panel.reset_by_strategy(),
            _ = deletions.tick() => panel.auto_delete(),
        }
    }
}
