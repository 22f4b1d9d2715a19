//! The environment, read once and checked: every message names the variable and what is wrong with it.
//!
//! Every function that reads a variable fails with one clear line that can be shown as it is.

use std::env::VarError;
use std::fmt;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use marzban_api::{Client, ClientBuilder, SecretString, Throttle};
use marzban_sync_core::error::{StoreError, StoreErrorKind, chain};
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::store::{DEFAULT_PANEL, Migration, PostgresStore, SqliteStore, Store};
use tracing_subscriber::EnvFilter;

/// Adds the variables of a `.env` file, if there is one, to the environment; those that are set already win.
///
/// # Errors
/// When the file cannot be read, or has a line that is not an assignment.
pub fn load_dotenv() -> Result<(), String> {
    match dotenvy::dotenv() {
        Ok(_) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        // The error's own words hold the line, and the line may hold a password.
        Err(dotenvy::Error::LineParse(..)) => Err(".env has a line that is not NAME=value".to_owned()),
        Err(_) => Err(".env cannot be read".to_owned()),
    }
}

/// The help text for the variables that are read here, without `RUST_LOG`.
pub const HELP: &str = "\
Environment (a .env file is read too):
  MARZBAN_URL                            the panel, such as https://panel.example.com:8000
  MARZBAN_USERNAME, MARZBAN_PASSWORD     an admin of the panel; sudo sees every user
  DATABASE_URL                           postgres://user:password@host/database or sqlite://path
  MARZBAN_SUBSCRIPTION_PATH              where the panel serves subscriptions [default: sub]
  MARZBAN_PAUSE_MS                       pause between requests, A..B; 0..0 for none [default: 50..100]
  MARZBAN_CA_FILE                        a PEM file with a certificate authority to trust
  MARZBAN_DANGER_ACCEPT_INVALID_CERTS    true to trust any certificate
";

/// Why a program ends before its work: one clear line, and an exit code.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there are two exit codes")]
pub enum Failure {
    /// Bad usage or configuration: exit code 2.
    Configuration(String),
    /// It could not run: exit code 1.
    Run(String),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Configuration(_) => 2,
            Self::Run(_) => 1,
        })
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Run(format!("{error:#}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Configuration(line) | Self::Run(line)) = self;
        f.write_str(line)
    }
}

/// Why a program ends that cannot connect: an invalid URL is [`Failure::Configuration`], a server that does not answer is
/// [`Failure::Run`].
#[must_use]
pub fn not_connected(error: &StoreError) -> Failure {
    match error.kind() {
        StoreErrorKind::Invalid => Failure::Configuration(format!("DATABASE_URL: {}", chain(error))),
        _ => Failure::Run(chain(error)),
    }
}

/// Formats why a program ends: each line of the message is an error of its own.
#[must_use]
pub fn errors(message: &impl fmt::Display) -> String {
    let message = message.to_string();
    let lines: Vec<String> = message.lines().map(|line| format!("error: {line}")).collect();
    lines.join("\n")
}

/// Reads the log filter of `RUST_LOG`; `info` by default.
///
/// # Errors
/// When it is not a filter.
pub fn log_filter() -> Result<EnvFilter, String> {
    log_filter_or("info")
}

/// Reads the log filter of `RUST_LOG`, or returns this default.
///
/// # Errors
/// When it is not a filter.
pub fn log_filter_or(default: &str) -> Result<EnvFilter, String> {
    let directives = variable("RUST_LOG")?.unwrap_or_else(|| default.to_owned());
    EnvFilter::try_new(directives).map_err(|error| format!("RUST_LOG is not a log filter: {error}"))
}

/// Where the bot's tables are.
#[derive(Debug)]
pub enum Database {
    /// A `postgres://` URL.
    Postgres(String),
    /// A `sqlite://` URL.
    Sqlite(String),
}

impl Database {
    /// Reads `DATABASE_URL`.
    ///
    /// # Errors
    /// When the variable is missing, or names no database of these kinds.
    pub fn from_environment() -> Result<Self, String> {
        let url = required("DATABASE_URL")?;
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(url)),
            Some(("sqlite", _)) => Ok(Self::Sqlite(url)),
            _ => Err("DATABASE_URL must begin with postgres:// or sqlite://".to_owned()),
        }
    }

    /// Connects to it.
    ///
    /// # Errors
    /// An invalid URL is [`Failure::Configuration`]; a server that does not answer is [`Failure::Run`].
    pub async fn connect(&self) -> Result<Connected, Failure> {
        let connected = match self {
            Self::Postgres(url) => PostgresStore::connect(url).await.map(Connected::Postgres),
            Self::Sqlite(url) => SqliteStore::connect(url).await.map(Connected::Sqlite),
        };
        connected.map_err(|error| not_connected(&error))
    }
}

/// A store of either kind.
#[derive(Debug)]
pub enum Connected {
    /// A PostgreSQL store.
    Postgres(PostgresStore),
    /// A SQLite store.
    Sqlite(SqliteStore),
}

impl Connected {
    /// Creates what is missing; only adds.
    ///
    /// # Errors
    /// As the store's own migration.
    pub async fn migrate(&self) -> Result<Migration, Failure> {
        let migrated = match self {
            Self::Postgres(store) => store.migrate().await,
            Self::Sqlite(store) => store.migrate().await,
        };
        migrated.map_err(|error| Failure::Run(chain(&error)))
    }

    /// The store, whatever its kind.
    #[must_use]
    pub fn into_store(self) -> Arc<dyn Store> {
        match self {
            Self::Postgres(store) => Arc::new(store),
            Self::Sqlite(store) => Arc::new(store),
        }
    }
}

/// The name of one of several panels, which is a part of the names of its variables.
#[derive(Clone, Debug)]
pub struct PanelName(String);

impl FromStr for PanelName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let is_sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_sound) {
            return Err("a panel's name is 1 to 64 letters, digits, - and _".to_owned());
        }
        Ok(Self(name.to_owned()))
    }
}

impl Default for PanelName {
    fn default() -> Self {
        Self(DEFAULT_PANEL.to_owned())
    }
}

impl PanelName {
    /// The name, as `vpn_configs.panel` has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `MARZBAN_URL` for the default panel, and `MARZBAN_DE_1_URL` for the panel `de-1`.
    fn variable(&self, name: &str) -> String {
        if self.0 == DEFAULT_PANEL {
            return format!("MARZBAN_{name}");
        }
        format!("MARZBAN_{}_{name}", self.0.to_ascii_uppercase().replace('-', "_"))
    }

    /// Builds the panel's client from the environment.
    ///
    /// # Errors
    /// When a variable is missing, or its value cannot work.
    pub fn panel_from_environment(&self) -> Result<MarzbanPanel, String> {
        let url = self.variable("URL");
        let signed_in = Client::builder(&required(&url)?)
            .credentials(
                required(&self.variable("USERNAME"))?,
                SecretString::from(required(&self.variable("PASSWORD"))?),
            )
            .throttle(throttle(&self.variable("PAUSE_MS"))?)
            .panel_name(self.as_str());
        // The URL is checked without certificates, so that the message names the right variable.
        let build = |builder: ClientBuilder, variable: &str| {
            builder
                .build()
                .map_err(|error| format!("{variable}: {}", chain(&error)))
        };
        build(signed_in.clone().danger_accept_invalid_certs(true), &url)?;
        let (ca_file, subscription_path) = (self.variable("CA_FILE"), self.variable("SUBSCRIPTION_PATH"));
        let mut builder = signed_in;
        if let Some(path) = variable(&subscription_path)? {
            builder = builder.subscription_path(path);
        }
        if let Some(path) = variable(&ca_file)? {
            let pem = std::fs::read(path).map_err(|error| format!("{ca_file} cannot be read: {error}"))?;
            builder = builder.root_certificate_pem(&pem);
        }
        builder = builder.danger_accept_invalid_certs(flag(&self.variable("DANGER_ACCEPT_INVALID_CERTS"))?);
        Ok(MarzbanPanel::new(build(
            builder,
            &format!("{ca_file} or {subscription_path}"),
        )?))
    }
}

/// Reads a flag; false by default.
///
/// # Errors
/// When it is neither.
pub fn flag(name: &str) -> Result<bool, String> {
    match variable(name)?.as_deref() {
        Some("1" | "true" | "yes") => Ok(true),
        None | Some("0" | "false" | "no") => Ok(false),
        Some(_) => Err(format!("{name} must be true or false")),
    }
}

fn throttle(name: &str) -> Result<Throttle, String> {
    let Some(range) = variable(name)? else {
        return Ok(Throttle::default());
    };
    let parsed = range.split_once("..").and_then(|(least, most)| {
        let (least, most): (u64, u64) = (least.trim().parse().ok()?, most.trim().parse().ok()?);
        (least <= most).then_some((least, most))
    });
    match parsed {
        Some((0, 0)) => Ok(Throttle::none()),
        Some((least, most)) => Ok(Throttle::between(
            Duration::from_millis(least),
            Duration::from_millis(most),
        )),
        None => Err(format!(
            "{name} must be A..B in milliseconds, such as 50..100, and is {range:?}"
        )),
    }
}

/// Reads a required variable.
///
/// # Errors
/// When it is not.
pub fn required(name: &str) -> Result<String, String> {
    variable(name)?.ok_or_else(|| format!("{name} is not set; `--help` lists the variables"))
}

/// Reads a variable; an empty one counts as not set.
///
/// # Errors
/// When it is not UTF-8.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the program's edge, where its environment is read"
)]
pub fn variable(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is not UTF-8")),
    }
}
