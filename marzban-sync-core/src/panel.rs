//! The port to a panel.

use std::sync::Arc;

use async_trait::async_trait;

use crate::census::Census;
use crate::error::PanelError;
use crate::observation::Observation;
use crate::report::SystemStats;

#[cfg(feature = "marzban")]
mod marzban;
#[cfg(feature = "marzban")]
pub use marzban::MarzbanPanel;

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
    /// A name that the answer lacks is [`Observation::Absent`], never [`Observation::Missing`]: an absence in a list
    /// is no proof. Names are matched to the letter, case included.
    ///
    /// # Errors
    /// When the question as a whole was not answered; a single user that cannot be read is
    /// [`Observation::Unreadable`] instead.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn users(&self, names: &[String]) -> Result<Vec<Observation>, PanelError>;

    /// Asks for one user, so that an absence can be believed: never [`Observation::Absent`].
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

    /// Asks who of all users is not active, by questions that are cheap for the panel; none where its answers are no
    /// census: they disagree with its own sums, leave somebody out, or speak of one admin's users alone. None too where
    /// it would save nothing beside reading so many `accounts`: more users are active, or more would be listed.
    ///
    /// # Errors
    /// When a question was not answered.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn census(&self, accounts: u64) -> Result<Option<Census>, PanelError>;

    /// Reads the figures of the panel and its host.
    ///
    /// # Errors
    /// When the question was not answered.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn system_stats(&self) -> Result<SystemStats, PanelError>;
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

            async fn census(&self, accounts: u64) -> Result<Option<Census>, PanelError> {
                (**self).census(accounts).await
            }

            async fn system_stats(&self) -> Result<SystemStats, PanelError> {
                (**self).system_stats().await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
