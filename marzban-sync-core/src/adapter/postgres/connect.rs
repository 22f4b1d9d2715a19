//! A pool from a URL.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use tokio_postgres::config::{Config, Host, SslMode as Encryption};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;
use crate::port::error::{StoreError, StoreErrorKind, chain};

/// Each of the four jobs may hold its lock while another connection does its work.
const MAX_CONNECTIONS: usize = 8;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server that fell silent is believed to be there, so that a lost lock is noticed.
const TCP_USER_TIMEOUT: Duration = Duration::from_mins(1);

/// How much to trust the server; `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    fn parse(value: &str) -> Option<Self> {
        match value {
            "disable" => Some(Self::Disable),
            "allow" | "prefer" => Some(Self::Prefer),
            "require" => Some(Self::Require),
            "verify-ca" => Some(Self::VerifyCa),
            "verify-full" => Some(Self::VerifyFull),
            _ => None,
        }
    }
}

/// What a URL says; without `Debug`, as it holds the password.
struct Target {
    config: Config,
    ssl_mode: SslMode,
    ssl_root_cert: Option<PathBuf>,
}

fn invalid(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, message)
}

impl Target {
    /// Takes out the options that tokio-postgres does not know, and leaves the rest to it.
    ///
    /// Its errors are not passed on: they quote the URL, where a password with a `?` or `@` may stand anywhere.
    fn parse(url: &str) -> Result<Self, StoreError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(invalid(
                "the PostgreSQL URL does not begin with postgres:// or postgresql://",
            ));
        }
        // A `?` before the `@` is one of the password, which tokio-postgres reads as such.
        let (credentials, rest) = url.split_at(url.find('@').unwrap_or_default());
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut ssl_mode = SslMode::Prefer;
        let mut ssl_root_cert = None;
        let mut trusts_system = false;
        let mut others = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("sslmode", value)) => {
                    ssl_mode = SslMode::parse(value).ok_or_else(|| {
                        invalid("sslmode of the PostgreSQL URL is none of disable, allow, prefer, require, verify-ca and verify-full")
                    })?;
                }
                Some(("sslrootcert", "system")) => trusts_system = true,
                Some(("sslrootcert", value)) => ssl_root_cert = Some(PathBuf::from(percent_decoded(value)?)),
                _ => others.push(option),
            }
        }
        let mut config: Config = format!("{credentials}{address}?{}", others.join("&")).parse().map_err(|_| {
            invalid(
                "the PostgreSQL URL cannot be read: it must be like postgres://user:password@host:port/database, \
                 with special characters percent-encoded, and only options that are known",
            )
        })?;
        if config.get_application_name().is_none() {
            config.application_name("marzban-sync");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if trusts_system {
            ssl_mode = SslMode::VerifyFull;
        }
        Ok(Self {
            config,
            ssl_mode,
            ssl_root_cert,
        })
    }

    /// The options and the TLS client that keep to `sslmode`.
    fn into_parts(mut self) -> Result<(Config, MakeRustlsConnect), StoreError> {
        // A socket of this machine has no TLS, and libpq ignores sslmode on it too.
        let hosts = self.config.get_hosts();
        let is_local = !hosts.is_empty() && hosts.iter().all(|host| matches!(host, Host::Unix(_)));
        let root_cert = self.ssl_root_cert.as_deref();
        let (encryption, client) = match (self.ssl_mode, root_cert) {
            _ if is_local => (Encryption::Disable, tls::trusting()),
            (SslMode::Disable, _) => (Encryption::Disable, tls::trusting()),
            (SslMode::Prefer, _) => (Encryption::Prefer, tls::trusting()),
            (SslMode::Require, None) => (Encryption::Require, tls::trusting()),
            // As libpq does: who names authorities wants them to be asked.
            (SslMode::Require | SslMode::VerifyCa, Some(path)) => {
                (Encryption::Require, tls::verifying_chain(path))
            }
            (SslMode::VerifyFull, Some(path)) => (Encryption::Require, tls::verifying_host(path)),
            (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
                (Encryption::Require, tls::verifying_by_system())
            }
        };
        self.config.ssl_mode(encryption);
        Ok((self.config, MakeRustlsConnect::new(client?)))
    }
}

/// A path as it stands in a URL, decoded.
fn percent_decoded(value: &str) -> Result<String, StoreError> {
    let unreadable = || invalid("sslrootcert of the PostgreSQL URL is not percent-encoded UTF-8");
    let mut parts = value.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).ok_or_else(unreadable)?;
        bytes.push(u8::from_str_radix(code, 16).map_err(|_| unreadable())?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| unreadable())
}

/// Makes a pool that has no connection yet.
pub(super) fn pool(url: &str) -> Result<Pool<AsyncPgConnection>, StoreError> {
    let (config, tls) = Target::parse(url)?.into_parts()?;
    let mut manager = ManagerConfig::default();
    manager.custom_setup = Box::new(move |_url| {
        let (config, tls) = (config.clone(), tls.clone());
        Box::pin(async move { establish(&config, tls).await })
    });
    // The manager need not know the URL, as the closure above connects.
    let manager = AsyncDieselConnectionManager::new_with_config("", manager);
    Pool::builder(manager)
        .max_size(MAX_CONNECTIONS)
        .build()
        .map_err(|error| invalid("cannot build a connection pool").with_source(error))
}

async fn establish(config: &Config, tls: MakeRustlsConnect) -> ConnectionResult<AsyncPgConnection> {
    let (client, connection) = config.connect(tls).await.map_err(|error| refusal(&error))?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// What the server says, or else why it was not reached.
fn refusal(error: &tokio_postgres::Error) -> ConnectionError {
    let words = match error.as_db_error() {
        Some(refusal) => refusal.message().to_owned(),
        None => error.source().map_or_else(|| error.to_string(), chain),
    };
    ConnectionError::BadConnection(words)
}

#[cfg(test)]
mod tests;
