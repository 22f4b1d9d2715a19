//! The [`Panel`] over [`marzban_api::Client`]: the one place where the wire's types become observations.

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use marzban_api::model::{User, UserStatus, UserSummary};
use marzban_api::{Client, Error, ErrorKind};

use crate::model::observation::{Observation, PanelStatus, PanelUser};
use crate::model::report::SystemStats;
use crate::port::error::{PanelError, PanelErrorKind, chain};
use crate::port::panel::{ExpectedUser, Panel, UpdateOutcome};

mod change;

/// A Marzban panel, by the typed client; retries, the throttle and the size of requests are the client's.
#[derive(Clone, Debug)]
pub struct MarzbanPanel {
    client: Client,
}

impl MarzbanPanel {
    /// The panel that the client speaks to.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

/// What a question for one user came to.
enum Look {
    /// The user, whole and as the facts about it.
    Found(Box<User>, PanelUser),
    /// Anything else.
    Other(Observation),
}

impl MarzbanPanel {
    /// Asks for one user, and keeps all that the panel says of it.
    async fn look(&self, name: &str) -> Result<Look, PanelError> {
        let observation = match self.client.users().get(name).await {
            Ok(user) => match observe(name, &(&user).into()) {
                Observation::Found(found) => return Ok(Look::Found(Box::new(user), found)),
                observation => observation,
            },
            Err(error) if error.is_user_not_found() => Observation::NotFound,
            Err(error) => match error.kind() {
                ErrorKind::Forbidden => Observation::NotPermitted,
                // A name such as `..` makes no path, one with a slash makes another one, and one that the panel refuses
                // or renders in a way that cannot be understood says nothing about the panel as a whole.
                ErrorKind::InvalidInput | ErrorKind::NotFound | ErrorKind::Rejected | ErrorKind::Decode => {
                    Observation::Unreadable(chain(&error))
                }
                // A user that the panel cannot render answers 500 for ever; a proxy's errors are 502 to 504.
                ErrorKind::Server if error.status() == Some(500) => Observation::Unreadable(chain(&error)),
                _ => return Err(failed("cannot read a user", error)),
            },
        };
        Ok(Look::Other(observation))
    }
}

impl From<Client> for MarzbanPanel {
    fn from(client: Client) -> Self {
        Self::new(client)
    }
}

#[async_trait]
impl Panel for MarzbanPanel {
    async fn users(&self, names: &[String]) -> Result<Vec<Observation>, PanelError> {
        let answer = self
            .client
            .users()
            .get_many_summaries(names)
            .await
            .map_err(|error| failed("cannot list users", error))?;
        let observe = |name: &String| match (answer.found.get(name), answer.failed.get(name)) {
            (Some(user), _) => observe(name, user),
            (None, Some(error)) => Observation::Unreadable(chain(error)),
            (None, None) => Observation::NotListed,
        };
        Ok(names.iter().map(observe).collect())
    }

    async fn user(&self, name: &str) -> Result<Observation, PanelError> {
        Ok(match self.look(name).await? {
            Look::Found(_, user) => Observation::Found(user),
            Look::Other(observation) => observation,
        })
    }

    async fn delete_user(&self, name: &str) -> Result<(), PanelError> {
        match self.client.users().delete(name).await {
            Ok(_deleted_or_already_gone) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Forbidden => {
                Err(not_ours("not permitted to delete a user", error))
            }
            Err(error) => Err(failed("cannot delete a user", error)),
        }
    }

    async fn extend_user(
        &self,
        name: &str,
        expected: &ExpectedUser,
        end: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError> {
        self.extend(name, expected, end).await
    }

    async fn disable_user(&self, name: &str, expected: &ExpectedUser) -> Result<UpdateOutcome, PanelError> {
        self.disable(name, expected).await
    }

    fn last_date(&self) -> Option<DateTime<Utc>> {
        self.client.last_date()
    }

    async fn system_stats(&self) -> Result<SystemStats, PanelError> {
        let stats = self
            .client
            .system()
            .stats()
            .await
            .map_err(|error| failed("cannot read system statistics", error))?;
        Ok(SystemStats {
            version: stats.version.replace('\0', "\u{fffd}"),
            mem_total: signed(stats.mem_total),
            mem_used: signed(stats.mem_used),
            cpu_cores: i64::from(stats.cpu_cores),
            cpu_usage: stats.cpu_usage,
            total_user: signed(stats.total_user),
            online_users: stats.online_users.map(signed),
            users_active: signed(stats.users_active),
            users_on_hold: stats.users_on_hold.map(signed),
            users_disabled: stats.users_disabled.map(signed),
            users_expired: stats.users_expired.map(signed),
            users_limited: stats.users_limited.map(signed),
            incoming_bandwidth: signed(stats.incoming_bandwidth),
            outgoing_bandwidth: signed(stats.outgoing_bandwidth),
            incoming_bandwidth_speed: signed(stats.incoming_bandwidth_speed),
            outgoing_bandwidth_speed: signed(stats.outgoing_bandwidth_speed),
        })
    }
}

/// One user of another admin; the other users may well be ours.
fn not_ours(message: &str, error: Error) -> PanelError {
    PanelError::new(PanelErrorKind::Invalid, message).with_source(error)
}

fn failed(attempt: &str, error: Error) -> PanelError {
    let kind = match error.kind() {
        ErrorKind::Config | ErrorKind::Unauthorized | ErrorKind::Forbidden => PanelErrorKind::Refused,
        ErrorKind::Indeterminate => PanelErrorKind::Unclear,
        ErrorKind::InvalidInput | ErrorKind::Rejected | ErrorKind::Decode | ErrorKind::TooLarge => {
            PanelErrorKind::Invalid
        }
        _ => PanelErrorKind::Unavailable,
    };
    PanelError::new(kind, attempt).with_source(error)
}

fn observe(name: &str, user: &UserSummary) -> Observation {
    if !user.username.eq_ignore_ascii_case(name) {
        return Observation::Unreadable("the panel answered with a user of another name".to_owned());
    }
    let Ok(used_traffic) = i64::try_from(user.used_traffic) else {
        return Observation::Unreadable(format!("used_traffic is out of range: {}", user.used_traffic));
    };
    Observation::Found(PanelUser {
        status: status(&user.status),
        expire: user.expire,
        used_traffic,
        online_at: user.online_at.map(to_microsecond),
        created_at: user.created_at.map(to_microsecond),
        // A database that ignores case answers with a spelling of its own.
        spelling: (user.username != name).then(|| user.username.clone()),
    })
}

fn status(status: &UserStatus) -> PanelStatus {
    match status {
        UserStatus::Active => PanelStatus::Active,
        UserStatus::OnHold => PanelStatus::OnHold,
        UserStatus::Disabled => PanelStatus::Disabled,
        UserStatus::Limited => PanelStatus::Limited,
        UserStatus::Expired => PanelStatus::Expired,
        // PostgreSQL cannot keep a NUL in the history.
        UserStatus::Unknown(other) => PanelStatus::Unknown(other.replace('\0', "\u{fffd}")),
        other => PanelStatus::Unknown(other.to_string()),
    }
}

/// Databases keep microseconds; finer digits would differ for ever.
fn to_microsecond(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

fn signed(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}
