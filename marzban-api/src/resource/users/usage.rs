//! Operations that report traffic.

use serde::Deserialize;

use super::Users;
use crate::error::Error;
use crate::model::{UsageRange, UserUsage};
use crate::request::Request;
use crate::resource::path_name;

/// The response for one user and for all users.
#[derive(Deserialize)]
struct Usages {
    usages: Vec<UserUsage>,
}

impl Users<'_> {
    /// Fetches how much traffic a user used within a range, per node.
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
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](crate::ErrorKind::NotFound): there is no such user. Check [`Error::is_user_not_found`] before
    ///   drawing conclusions.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the user belongs to another admin.
    pub async fn usage(&self, username: &str, range: UsageRange) -> Result<Vec<UserUsage>, Error> {
        let request = path_name(
            Request::get("users.usage", "/api/user/{username}/usage"),
            username,
        )?;
        let Usages { usages } = self.client.fetch(&range.query(request)).await?;
        Ok(usages)
    }

    /// Fetches how much traffic all users together used within a range, per node. If `admins` is not empty, only
    /// their users count.
    ///
    /// Without sudo rights, only the admin's own users count.
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
    /// The [errors of every operation](crate::resource#errors).
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
