//! A receiver of the panel's webhooks, and a fake panel that sends it some: nothing to set up.
//!
//! The receiver answers at once and only notes whom to look at. What a notification says may be old, may come twice
//! and may have been lost, so the user is read before anything is done about it.
//!
//! With `--listen 0.0.0.0:8080` and `WEBHOOK_SECRET` it waits for a real panel whose `WEBHOOK_ADDRESS` leads here.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::routing::post;
use clap::Parser;
use marzban_api::testing::{FakePanel, FakeUser};
use marzban_api::webhook::{Webhook, WebhookSecret};
use marzban_api::{Client, Method, SecretString};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const DEMO_SECRET: &str = "s3cr3t-hook";

const YEAR_2100: i64 = 4_102_444_800;
const YEAR_2025: i64 = 1_735_689_600;

/// A receiver of the panel's webhooks.
#[derive(Debug, Parser)]
#[command(name = "webhook_receiver")]
struct Arguments {
    /// Where to wait for a real panel; without it a fake panel shows what would happen.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// The panel's setting of that name.
    #[arg(long, env = "WEBHOOK_SECRET", default_value = DEMO_SECRET, hide_env_values = true)]
    secret: SecretString,
}

#[derive(Clone)]
struct App {
    secret: WebhookSecret,
    dirty: mpsc::UnboundedSender<String>,
}

impl FromRef<App> for WebhookSecret {
    fn from_ref(app: &App) -> Self {
        app.secret.clone()
    }
}

/// Accepts the whole batch whatever is in it: a refusal would bring it back, again with what was understood.
async fn receive(State(app): State<App>, Webhook(batch): Webhook) -> StatusCode {
    for notification in batch {
        let name = match notification {
            Ok(notification) => {
                tracing::info!(user = notification.username, action = notification.event.action());
                Some(notification.username)
            }
            Err(broken) => {
                tracing::warn!(error = &broken as &dyn std::error::Error);
                broken.username
            }
        };
        if let Some(name) = name
            && app.dirty.send(name).is_err()
        {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
    }
    StatusCode::NO_CONTENT
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let arguments = Arguments::parse();
    let Some(address) = arguments.listen else {
        return demonstrate().await;
    };
    let secret = WebhookSecret::new(arguments.secret);
    let (dirty, mut names) = mpsc::unbounded_channel();
    let (address, server) = listen(address, App { secret, dirty }).await?;
    writeln!(std::io::stderr(), "WEBHOOK_ADDRESS=http://{address}/hook")?;
    while let Some(name) = names.recv().await {
        writeln!(std::io::stdout(), "{name}")?;
    }
    server.await??;
    Ok(())
}

async fn listen(
    address: SocketAddr,
    app: App,
) -> std::io::Result<(SocketAddr, JoinHandle<std::io::Result<()>>)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/hook", post(receive)).with_state(app);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, server))
}

/// Two customers, one of whom runs out of time, and what the receiver makes of it.
async fn demonstrate() -> anyhow::Result<()> {
    let secret = WebhookSecret::new(DEMO_SECRET);
    let (dirty, mut names) = mpsc::unbounded_channel();
    let (address, server) = listen(SocketAddr::from(([127, 0, 0, 1], 0)), App { secret, dirty }).await?;
    let panel = FakePanel::builder()
        .webhook(format!("http://{address}/hook"))
        .webhook_secret(DEMO_SECRET)
        .start()
        .await?;
    let client = Client::builder(&panel.url())
        .credentials("admin", "admin")
        .build()?;
    for name in ["anna", "boris"] {
        panel.insert_user(FakeUser::new(name).expire(YEAR_2100));
    }

    // An administrator resets one user; the other one's time passes.
    client
        .request(Method::POST, "/api/user/anna/reset")
        .send()
        .await?;
    panel.update_user("boris", |user| user.expire = Some(YEAR_2025));
    panel.review();
    let accepted = panel.send_notifications().await;
    writeln!(
        std::io::stdout(),
        "{} of 1 receivers took the batch",
        accepted.unwrap_or(0)
    )?;

    let mut dirty = BTreeSet::new();
    while let Ok(name) = names.try_recv() {
        dirty.insert(name);
    }
    for name in dirty {
        let user = client.users().get(&name).await?;
        writeln!(std::io::stdout(), "{name} is {} now", user.status)?;
    }
    server.abort();
    Ok(())
}
