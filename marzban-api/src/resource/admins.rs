use crate::client::Client;
use crate::error::Error;
use crate::model::{Admin, AdminUpdate, NewAdmin};
use crate::request::Request;
use crate::resource::{DeleteOutcome, delete, execute_ack, path_name};

const ADMINS: &str = "/api/admin";
const ADMIN: &str = "/api/admin/{username}";

/// The panel's message with status 404 for an unknown admin; for an unknown route it is `Not Found`.
const ADMIN_NOT_FOUND: &str = "Admin not found";

/// Operations on admins. Most need sudo rights. See [`Client::admins`].
///
/// The panel looks up the admin before it checks the token, so a [`NotFound`](crate::ErrorKind::NotFound) does not
/// show that the client is logged in. The env sudo admin cannot be looked up.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// let me = client.admins().current().await?;
/// assert_eq!((me.username.as_str(), me.is_sudo), ("admin", true));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Admins<'a> {
    client: &'a Client,
}

/// A query for [`Admins::list`]; by default it matches all admins.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::resource::ListAdmins;
/// # panel.insert_admin(marzban_api::testing::FakeAdmin::new("seller", "a password"));
///
/// let query = ListAdmins::new().username("SELL").offset(0).limit(10);
/// assert_eq!(client.admins().list(&query).await?[0].username, "seller");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ListAdmins {
    offset: Option<u64>,
    limit: Option<u64>,
    username: Option<String>,
}

impl ListAdmins {
    /// Matches all admins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Skips the first `offset` admins.
    pub fn offset(self, offset: u64) -> Self {
        Self {
            offset: Some(offset),
            ..self
        }
    }

    /// Returns at most `limit` admins.
    pub fn limit(self, limit: u64) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }

    /// Restricts the list to admins whose username contains this text, ignoring case.
    pub fn username(self, part: impl Into<String>) -> Self {
        Self {
            username: Some(part.into()),
            ..self
        }
    }

    fn request(&self) -> Request {
        [
            ("offset", self.offset.map(|offset| offset.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("username", self.username.clone()),
        ]
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?)))
        .fold(
            Request::get("admins.list", "/api/admins"),
            |request, (key, value)| request.query(key, value),
        )
    }
}

impl<'a> Admins<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// Fetches the admin that this client is logged in as; a cheap way to check URL and password.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let me = client.admins().current().await?;
    /// println!("{} {}", me.username, me.is_sudo);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The [errors of every operation](crate::resource#errors).
    pub async fn current(&self) -> Result<Admin, Error> {
        self.client.fetch(&Request::get("admins.current", ADMINS)).await
    }

    /// Fetches the admins in the panel's database. The env sudo admin is not among them.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::resource::ListAdmins;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let sellers = client.admins().list(&ListAdmins::new().username("seller")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors), [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights.
    pub async fn list(&self, query: &ListAdmins) -> Result<Vec<Admin>, Error> {
        self.client.fetch(&query.request()).await
    }

    /// Creates an admin.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::NewAdmin;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.admins().create(&NewAdmin::new("seller", "a long password")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Conflict`](crate::ErrorKind::Conflict): the username is taken.
    /// - [`Rejected`](crate::ErrorKind::Rejected): the panel does not accept the settings.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the admin may have been created. Look it up with
    ///   [`list`](Self::list).
    ///
    /// # Cancel safety
    ///
    /// If dropped, the admin may or may not have been created. Calling again is safe: it then fails with
    /// [`Conflict`](crate::ErrorKind::Conflict).
    pub async fn create(&self, admin: &NewAdmin) -> Result<Admin, Error> {
        let request = Request::post("admins.create", ADMINS).json(&admin.body())?;
        self.client.changed(&request).await
    }

    /// Updates an admin.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::AdminUpdate;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let me = client.admins().current().await?;
    /// client.admins().update(&AdminUpdate::for_admin(&me).telegram_id(12_345)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](crate::ErrorKind::NotFound): there is no such admin.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights, or the admin to update is
    ///   another one that has them.
    /// - [`Rejected`](crate::ErrorKind::Rejected): the panel does not accept the settings.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the admin may have been updated.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the admin may or may not have been updated. Calling again is safe.
    pub async fn update(&self, update: &AdminUpdate) -> Result<Admin, Error> {
        let request =
            path_name(Request::put("admins.update", ADMIN), update.username())?.json(&update.body())?;
        self.client.changed(&request).await
    }

    /// Deletes an admin. Its users stay, without an owner.
    ///
    /// If the response does not settle the outcome, the admin's usage is read to find out.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.admins().delete("seller").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights, or the admin to delete is
    ///   another one that has them.
    /// - [`NotFound`](crate::ErrorKind::NotFound): the route is unknown, which proves nothing about the admin.
    /// - [`Server`](crate::ErrorKind::Server): the deletion failed and the admin still exists.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the admin may be deleted now or later.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the admin may or may not be deleted. Calling again is safe.
    pub async fn delete(&self, username: &str) -> Result<DeleteOutcome, Error> {
        let request = path_name(Request::delete("admins.delete", ADMIN), username)?;
        let is_gone = |error: &Error| error.is_not_found_with(ADMIN_NOT_FOUND);
        delete(self.client, &request, is_gone, || self.usage(username)).await
    }

    /// Disables all active and on-hold users of an admin and restarts the core, which breaks every user's
    /// connections.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.admins().disable_users("seller").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](crate::ErrorKind::NotFound): there is no such admin.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the users may have been disabled.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the users may or may not have been disabled. Calling again is safe.
    pub async fn disable_users(&self, username: &str) -> Result<(), Error> {
        let request = Request::post("admins.disable_users", "/api/admin/{username}/users/disable");
        self.post_for_admin(request, username).await
    }

    /// Activates all disabled users of an admin, including those disabled individually, and restarts the core, which
    /// breaks every user's connections.
    ///
    /// Users that have an on-hold duration, have no expiry and never connected become on-hold.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.admins().activate_users("seller").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](crate::ErrorKind::NotFound): there is no such admin.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the users may have been activated.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the users may or may not have been activated. Calling again is safe.
    pub async fn activate_users(&self, username: &str) -> Result<(), Error> {
        let request = Request::post("admins.activate_users", "/api/admin/{username}/users/activate");
        self.post_for_admin(request, username).await
    }

    /// Resets an admin's usage, the traffic of all its users as counted for the admin, to zero. The users' own
    /// traffic is unchanged.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.admins().reset_usage("seller").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](crate::ErrorKind::NotFound): there is no such admin.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the usage may have been reset.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the usage may or may not have been reset. Calling again also resets the traffic used in between.
    pub async fn reset_usage(&self, username: &str) -> Result<Admin, Error> {
        let request = Request::post("admins.reset_usage", "/api/admin/usage/reset/{username}");
        let request = path_name(request, username)?;
        self.client.changed(&request).await
    }

    /// Fetches how many bytes all users of an admin have used since the last [`reset_usage`](Self::reset_usage).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let bytes: u64 = client.admins().usage("seller").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](crate::ErrorKind::NotFound): there is no such admin.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    pub async fn usage(&self, username: &str) -> Result<u64, Error> {
        let request = Request::get("admins.usage", "/api/admin/usage/{username}");
        self.client.fetch(&path_name(request, username)?).await
    }

    async fn post_for_admin(&self, request: Request, username: &str) -> Result<(), Error> {
        let request = path_name(request, username)?;
        execute_ack(self.client, &request).await
    }
}
