//! The environment, read once and checked: every message names the variable and what is wrong with it.

use std::env::VarError;
use std::sync::Arc;
use std::time::Duration;

use marzban_api::{Client, ClientBuilder, Pacing, SecretString};
use marzban_sync_core::error::{StoreError, chain};
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::store::{Migration, PostgresStore, SqliteStore, Store};
use tracing_subscriber::EnvFilter;

/// Adds the variables of a `.env` file, if there is one, to the environment; those that are set already win.
pub(crate) fn load_dotenv() -> Result<(), String> {
    match dotenvy::dotenv() {
        Ok(_) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        // The error's own words hold the line, and the line may hold a password.
        Err(dotenvy::Error::LineParse(..)) => Err(".env has a line that is not NAME=value".to_owned()),
        Err(_) => Err(".env cannot be read".to_owned()),
    }
}

pub(crate) fn log_filter() -> Result<EnvFilter, String> {
    let directives = variable("RUST_LOG")?.unwrap_or_else(|| "info".to_owned());
    EnvFilter::try_new(directives).map_err(|error| format!("RUST_LOG is not a log filter: {error}"))
}

/// Where the bot's tables are.
#[derive(Debug)]
pub(crate) enum Database {
    Postgres(String),
    Sqlite(String),
}

impl Database {
    pub(crate) fn from_environment() -> Result<Self, String> {
        let url = required("DATABASE_URL")?;
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(url)),
            Some(("sqlite", _)) => Ok(Self::Sqlite(url)),
            _ => Err("DATABASE_URL must begin with postgres:// or sqlite://".to_owned()),
        }
    }

    pub(crate) async fn connect(&self) -> Result<Connected, StoreError> {
        Ok(match self {
            Self::Postgres(url) => Connected::Postgres(PostgresStore::connect(url).await?),
            Self::Sqlite(url) => Connected::Sqlite(SqliteStore::connect(url).await?),
        })
    }
}

/// A store of either kind.
#[derive(Debug)]
pub(crate) enum Connected {
    Postgres(PostgresStore),
    Sqlite(SqliteStore),
}

impl Connected {
    pub(crate) async fn migrate(&self) -> Result<Migration, StoreError> {
        match self {
            Self::Postgres(store) => store.migrate().await,
            Self::Sqlite(store) => store.migrate().await,
        }
    }

    pub(crate) fn into_store(self) -> Arc<dyn Store> {
        match self {
            Self::Postgres(store) => Arc::new(store),
            Self::Sqlite(store) => Arc::new(store),
        }
    }
}

pub(crate) fn panel_from_environment() -> Result<MarzbanPanel, String> {
    let url = required("MARZBAN_URL")?;
    let signed_in = Client::builder(&url)
        .credentials(
            required("MARZBAN_USERNAME")?,
            SecretString::from(required("MARZBAN_PASSWORD")?),
        )
        .pacing(pacing()?);
    // Whether the URL is right is asked without certificates, so that the message names the right variable.
    let build = |builder: ClientBuilder, variable: &str| {
        builder
            .build()
            .map_err(|error| format!("{variable}: {}", chain(&error)))
    };
    build(signed_in.clone().danger_accept_invalid_certs(true), "MARZBAN_URL")?;
    let mut builder = signed_in;
    if let Some(path) = variable("MARZBAN_SUBSCRIPTION_PATH")? {
        builder = builder.subscription_path(path);
    }
    if let Some(path) = variable("MARZBAN_CA_FILE")? {
        let pem = std::fs::read(path).map_err(|error| format!("MARZBAN_CA_FILE cannot be read: {error}"))?;
        builder = builder.root_certificate_pem(&pem);
    }
    if let Some(accept) = variable("MARZBAN_DANGER_ACCEPT_INVALID_CERTS")? {
        builder = builder.danger_accept_invalid_certs(match accept.as_str() {
            "1" | "true" | "yes" => true,
            "0" | "false" | "no" => false,
            _ => return Err("MARZBAN_DANGER_ACCEPT_INVALID_CERTS must be true or false".to_owned()),
        });
    }
    Ok(MarzbanPanel::new(build(
        builder,
        "MARZBAN_CA_FILE or MARZBAN_SUBSCRIPTION_PATH",
    )?))
}

fn pacing() -> Result<Pacing, String> {
    let Some(range) = variable("MARZBAN_PAUSE_MS")? else {
        return Ok(Pacing::default());
    };
    let parsed = range.split_once("..").and_then(|(least, most)| {
        let (least, most): (u64, u64) = (least.trim().parse().ok()?, most.trim().parse().ok()?);
        (least <= most).then_some((least, most))
    });
    match parsed {
        Some((0, 0)) => Ok(Pacing::none()),
        Some((least, most)) => Ok(Pacing::between(
            Duration::from_millis(least),
            Duration::from_millis(most),
        )),
        None => Err(format!(
            "MARZBAN_PAUSE_MS must be A..B in milliseconds, such as 50..100, and is {range:?}"
        )),
    }
}

fn required(name: &str) -> Result<String, String> {
    variable(name)?.ok_or_else(|| format!("{name} is not set; `--help` lists the variables"))
}

/// A variable, where an empty one counts as not set.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the program's edge, where its environment is read"
)]
fn variable(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is not UTF-8")),
    }
}
