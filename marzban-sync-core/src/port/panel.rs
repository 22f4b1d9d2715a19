//! The port to a panel.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::end_date::EndDate;
use crate::model::observation::Observation;
use crate::model::report::SystemStats;
use crate::port::error::PanelError;

/// The most names that a job asks for in one [`Panel::users`].
pub const MAX_NAMES: usize = 100;

/// What a job needs of a panel.
///
/// Every method is one or a few requests, retried as the implementation sees fit, and paced: a panel is one Python
/// process, so a job never has two calls under way at once.
#[cfg_attr(feature = "test-util", mockall::automock)]
#[async_trait]
pub trait Panel: Send + Sync {
    /// Asks for up to [`MAX_NAMES`] users at once; the answer has one observation for each name, in the same order.
    ///
    /// A name that the answer lacks is [`Observation::NotListed`], never [`Observation::NotFound`]: an absence in a list
    /// is no proof. A user whose name differs only in case is the one asked for if it is the only such one, and says so by
    /// its [`spelling`](crate::observation::PanelUser::spelling).
    ///
    /// # Errors
    /// When the question as a whole was not answered; a single user that cannot be read is
    /// [`Observation::Unreadable`] instead.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn users(&self, names: &[String]) -> Result<Vec<Observation>, PanelError>;

    /// Asks for one user, so that an absence can be believed: never [`Observation::NotListed`].
    ///
    /// # Errors
    /// When the question was not answered, also by a 404 that is not in the panel's own words.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn user(&self, name: &str) -> Result<Observation, PanelError>;

    /// Deletes one user; a user that is already gone is a success too.
    ///
    /// # Errors
    /// When the user still is there, or when it is not known whether it is (`Unclear`).
    ///
    /// # Cancel safety
    /// Not cancel safe: a dropped call may or may not have deleted the user.
    async fn delete_user(&self, name: &str) -> Result<(), PanelError>;

    /// Moves a user's end later, if the user still is as `expected`: its `expire` to the second, and its `created_at`.
    /// Sends `expire` and the present next plan, nothing else, and makes sure by reading.
    ///
    /// # Errors
    /// When the question was not answered, or when it is not known whether the user was extended (`Unclear`).
    ///
    /// # Cancel safety
    /// Not cancel safe: a dropped call may or may not have extended the user. Doing it again is safe, as the end is
    /// absolute.
    async fn extend_user(
        &self,
        name: &str,
        expected: &ExpectedUser,
        end: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError>;

    /// Disables a user, if it still is as `expected`, and makes sure by reading. One that is gone is a success too.
    ///
    /// # Errors
    /// When the user is not disabled, or when it is not known whether it is (`Unclear`).
    ///
    /// # Cancel safety
    /// Not cancel safe: a dropped call may or may not have disabled the user.
    async fn disable_user(&self, name: &str, expected: &ExpectedUser) -> Result<UpdateOutcome, PanelError>;

    /// The time of the panel's last answer by its own clock, where it says so: its `Date` header.
    fn last_date(&self) -> Option<DateTime<Utc>>;

    /// Reads the figures of the panel and its host.
    ///
    /// # Errors
    /// When the question was not answered.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn system_stats(&self) -> Result<SystemStats, PanelError>;
}

/// What a panel user must still be like before it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedUser {
    /// Its end; none means unlimited.
    pub expire: Option<DateTime<Utc>>,
    /// When it was created.
    pub created_at: Option<DateTime<Utc>>,
}

impl ExpectedUser {
    /// Whether the user is as expected.
    #[must_use]
    pub fn fits(&self, expire: Option<DateTime<Utc>>, created_at: Option<DateTime<Utc>>) -> bool {
        EndDate::from(self.expire) == EndDate::from(expire) && self.created_at == created_at
    }
}

/// What came of a change of a panel user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// The user is as it was to be.
    Done,
    /// The user was not as expected, and nothing was sent; what it is like.
    Changed(Observation),
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<P: Panel + ?Sized> Panel for $pointer<P> {
            async fn users(&self, names: &[String]) -> Result<Vec<Observation>, PanelError> {
                (**self).users(names).await
            }

            async fn user(&self, name: &str) -> Result<Observation, PanelError> {
                (**self).user(name).await
            }

            async fn delete_user(&self, name: &str) -> Result<(), PanelError> {
                (**self).delete_user(name).await
            }

            async fn extend_user(
                &self,
                name: &str,
                expected: &ExpectedUser,
                end: DateTime<Utc>,
            ) -> Result<UpdateOutcome, PanelError> {
                (**self).extend_user(name, expected, end).await
            }

            async fn disable_user(
                &self,
                name: &str,
                expected: &ExpectedUser,
            ) -> Result<UpdateOutcome, PanelError> {
                (**self).disable_user(name, expected).await
            }

            fn last_date(&self) -> Option<DateTime<Utc>> {
                (**self).last_date()
            }

            async fn system_stats(&self) -> Result<SystemStats, PanelError> {
                (**self).system_stats().await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
