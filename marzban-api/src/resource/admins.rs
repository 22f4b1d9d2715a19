use crate::client::Client;
use crate::error::Error;
use crate::model::{Admin, AdminUpdate, NewAdmin};
use crate::request::Request;
use crate::resource::{DeleteOutcome, delete, execute_ack, path_name};

const ADMINS: &str = "/api/admin";
const ADMIN: &str = "/api/admin/{username}";

/// The panel's text of a 404 about an administrator; an unknown route says `Not Found` instead.
const ADMIN_NOT_FOUND: &str = "Admin not found";

/// Operations on administrators, most of them for those with sudo rights; made by [`Client::admins`].
///
/// The panel looks for the administrator before it looks at the token: a [`NotFound`](crate::ErrorKind::NotFound) does not
/// show that the client is signed in. It does not find the administrator of its own environment.
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

/// Which administrators to list; by default all of them.
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
    /// All administrators.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out the first `offset` administrators.
    pub fn offset(self, offset: u64) -> Self {
        Self {
            offset: Some(offset),
            ..self
        }
    }

    /// Lists at most `limit` administrators.
    pub fn limit(self, limit: u64) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }

    /// Only administrators whose name contains this, whatever the case.
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

    /// Reads the administrator that this client is signed in as; a cheap way to check URL and password.
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
    /// [`Unauthorized`](crate::ErrorKind::Unauthorized) when the panel refuses the credentials, and the failures of every
    /// operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn current(&self) -> Result<Admin, Error> {
        self.client.fetch(&Request::get("admins.current", ADMINS)).await
    }

    /// Reads the administrators in the panel's database. The one of its environment is not among them.
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
    /// [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn list(&self, query: &ListAdmins) -> Result<Vec<Admin>, Error> {
        self.client.fetch(&query.request()).await
    }

    /// Makes an administrator.
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
    /// [`Conflict`](crate::ErrorKind::Conflict) when there is one of this name. [`Rejected`](crate::ErrorKind::Rejected) for what the
    /// panel does not accept. [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights.
    /// [`Indeterminate`](crate::ErrorKind::Indeterminate) when it may have been made: look for its name in [`list`](Self::list).
    /// And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the administrator may have been made or not. Doing it again is safe: it is then a conflict.
    pub async fn create(&self, admin: &NewAdmin) -> Result<Admin, Error> {
        let request = Request::post("admins.create", ADMINS).json(&admin.body())?;
        self.client.changed(&request).await
    }

    /// Changes an administrator.
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
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such administrator. [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights, and for another administrator who has them.
    /// [`Rejected`](crate::ErrorKind::Rejected) for what the panel does not accept.
    /// [`Indeterminate`](crate::ErrorKind::Indeterminate) when it may have happened. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the administrator may have been changed or not. Doing it again is safe.
    pub async fn update(&self, change: &AdminUpdate) -> Result<Admin, Error> {
        let request =
            path_name(Request::put("admins.update", ADMIN), change.username())?.json(&change.body())?;
        self.client.changed(&request).await
    }

    /// Deletes an administrator. Its users stay, without an owner.
    ///
    /// When the answer is unclear, the usage of the administrator is read before anything is said.
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
    /// [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights, and for another administrator who has them.
    /// [`NotFound`](crate::ErrorKind::NotFound) when the address is unknown, which proves nothing about the administrator.
    /// [`Server`](crate::ErrorKind::Server) when the deletion failed and the administrator is still there.
    /// [`Indeterminate`](crate::ErrorKind::Indeterminate) when it may have happened or may yet. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the administrator may be deleted or not. Doing it again is safe.
    pub async fn delete(&self, username: &str) -> Result<DeleteOutcome, Error> {
        let request = path_name(Request::delete("admins.delete", ADMIN), username)?;
        let is_gone = |error: &Error| error.is_not_found_with(ADMIN_NOT_FOUND);
        delete(self.client, &request, is_gone, || self.usage(username)).await
    }

    /// Switches off all active users of an administrator and those on hold, and restarts the core: every user's
    /// connections break.
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
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such administrator. [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights. [`Indeterminate`](crate::ErrorKind::Indeterminate) when it may have happened. And the failures of every
    /// operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, it may have happened or not. Doing it again is safe.
    pub async fn disable_users(&self, username: &str) -> Result<(), Error> {
        let request = Request::post("admins.disable_users", "/api/admin/{username}/users/disable");
        self.post_for_admin(request, username).await
    }

    /// Switches on all disabled users of an administrator, also those that were disabled one by one, and restarts the
    /// core: every user's connections break.
    ///
    /// Users that have a duration, no end, and were never connected become on hold.
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
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such administrator. [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights. [`Indeterminate`](crate::ErrorKind::Indeterminate) when it may have happened. And the failures of every
    /// operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, it may have happened or not. Doing it again is safe.
    pub async fn activate_users(&self, username: &str) -> Result<(), Error> {
        let request = Request::post("admins.activate_users", "/api/admin/{username}/users/activate");
        self.post_for_admin(request, username).await
    }

    /// Sets the traffic of all users of an administrator, as it is counted for the administrator, to 0. The traffic of
    /// the users themselves stays.
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
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such administrator. [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights. [`Indeterminate`](crate::ErrorKind::Indeterminate) when it may have happened. And the failures of every
    /// operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, it may have happened or not. Doing it again takes the traffic used in between.
    pub async fn reset_usage(&self, username: &str) -> Result<Admin, Error> {
        let request = Request::post("admins.reset_usage", "/api/admin/usage/reset/{username}");
        let request = path_name(request, username)?;
        self.client.changed(&request).await
    }

    /// Reads how many bytes all users of an administrator have used since the last
    /// [`reset_usage`](Self::reset_usage).
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
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such administrator. [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn usage(&self, username: &str) -> Result<u64, Error> {
        let request = Request::get("admins.usage", "/api/admin/usage/{username}");
        self.client.fetch(&path_name(request, username)?).await
    }

    async fn post_for_admin(&self, request: Request, username: &str) -> Result<(), Error> {
        let request = path_name(request, username)?;
        execute_ack(self.client, &request).await
    }
}
