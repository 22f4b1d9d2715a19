//! The operations that count traffic.

use serde::Deserialize;

use super::Users;
use crate::error::Error;
use crate::model::{UsageRange, UserUsage};
use crate::request::Request;
use crate::resource::path_name;

/// What the panel answers with, for one user and for all.
#[derive(Deserialize)]
struct Usages {
    usages: Vec<UserUsage>,
}

impl Users<'_> {
    /// Reads what a user used in a time, for each node.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::UsageRange;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// for node in client.users().usage("alice", UsageRange::last_30_days()).await? {
    ///     println!("{} {}", node.node_name, node.used_traffic);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such user; ask [`Error::is_user_not_found`] before
    /// drawing a conclusion. [`Forbidden`](crate::ErrorKind::Forbidden) for another administrator's user.
    /// And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn usage(&self, username: &str, range: UsageRange) -> Result<Vec<UserUsage>, Error> {
        let request = path_name(
            Request::get("users.usage", "/api/user/{username}/usage"),
            username,
        )?;
        let Usages { usages } = self.client.fetch(&range.query(request)).await?;
        Ok(usages)
    }

    /// Reads what all users together used in a time, for each node; of these owners only, if any are named.
    ///
    /// Without sudo rights it is the own users only.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::UsageRange;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let usage = client.users().total_usage(UsageRange::last_30_days(), &["seller"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn total_usage<S: AsRef<str> + Sync>(
        &self,
        range: UsageRange,
        admins: &[S],
    ) -> Result<Vec<UserUsage>, Error> {
        let request = range.query(Request::get("users.total_usage", "/api/users/usage"));
        let request = admins
            .iter()
            .fold(request, |request, admin| request.query("admin", admin.as_ref()));
        let Usages { usages } = self.client.fetch(&request).await?;
        Ok(usages)
    }
}
