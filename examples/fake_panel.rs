//! A Marzban panel to develop a bot against: no Python, no Xray, nothing to set up.
//!
//! `cargo run --example fake_panel -- --port 8000 --users 100`, and log in as `admin` / `admin`.
//! Its users move between states as in the real panel; everything is gone when it stops.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use marzban_api::testing::FakePanel;

/// How often the panel looks whose time or data is over, as the real one by default.
const REVIEW_INTERVAL: Duration = Duration::from_secs(10);

/// A Marzban panel to develop a bot against.
#[derive(Debug, Parser)]
#[command(name = "fake_panel")]
struct Arguments {
    /// The port on loopback; 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How many users it has at first.
    #[arg(long, default_value_t = 0)]
    users: usize,
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
    let panel = FakePanel::builder().port(arguments.port).start().await?;
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
    let mut review = tokio::time::interval(REVIEW_INTERVAL);
    loop {
        tokio::select! {
            _ = review.tick() => panel.review(),
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                break;
            }
        }
    }
    panel.shutdown().await;
    Ok(())
}
