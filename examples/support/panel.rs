//! A panel by its address, for the examples that take it from the command line, and figures as they print them.

use chrono::{DateTime, Utc};
use clap::Args;
use marzban_api::{Client, Error, SecretString};

/// Where a panel is, and who signs in.
#[derive(Clone, Debug, Args)]
pub struct PanelArguments {
    /// The panel's address; a fake panel without it.
    #[arg(long, env = "MARZBAN_URL")]
    pub url: Option<String>,
    /// The administrator to sign in as.
    #[arg(long, env = "MARZBAN_USERNAME", default_value = "admin")]
    username: String,
    /// Its password.
    #[arg(
        long,
        env = "MARZBAN_PASSWORD",
        default_value = "admin",
        hide_env_values = true
    )]
    password: SecretString,
}

impl PanelArguments {
    /// Builds a client of the panel, or of the fake one at this address.
    ///
    /// # Errors
    /// When there is no such address.
    pub fn client(&self, fake: Option<String>) -> Result<Client, Error> {
        let url = self.url.clone().or(fake).unwrap_or_default();
        Client::builder(&url)
            .credentials(self.username.clone(), self.password.clone())
            .build()
    }
}

/// Formats bytes, such as `1.50 GiB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
#[must_use]
pub fn gibibytes(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / 1_073_741_824.0)
}

/// Formats a moment to the minute.
#[must_use]
pub fn date(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M").to_string()
}
