//! Operations on templates for users.

use crate::client::Client;
use crate::error::Error;
use crate::model::{NewUserTemplate, UserTemplate, UserTemplateUpdate};
use crate::request::Request;
use crate::resource::{DeleteOutcome, delete, path_id};

const TEMPLATES: &str = "/api/user_template";
const TEMPLATE: &str = "/api/user_template/{template_id}";

/// The panel's text of a 404 about a template; an unknown route says `Not Found` instead.
const TEMPLATE_NOT_FOUND: &str = "User Template not found";

/// Operations on templates for users; made by [`Client::templates`]. Changes need sudo rights.
///
/// The panel looks for the template before it looks at the token: a [`NotFound`](crate::ErrorKind::NotFound) does not show
/// that the client is signed in.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::model::{DataLimit, NewUserTemplate};
///
/// let template = NewUserTemplate::new("a gigabyte").data_limit(DataLimit::from_bytes(1 << 30));
/// let made = client.templates().create(&template).await?;
/// assert_eq!(client.templates().get(made.id).await?.data_limit, Some(1 << 30));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Templates<'a> {
    client: &'a Client,
}

impl<'a> Templates<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// Reads all templates.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// for template in client.templates().list().await? {
    ///     println!("{:?}", template.name);
    /// }
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
    pub async fn list(&self) -> Result<Vec<UserTemplate>, Error> {
        self.client
            .fetch(&Request::get("templates.list", TEMPLATES))
            .await
    }

    /// Reads at most `limit` templates after the first `offset`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let first_ten = client.templates().page(0, 10).await?;
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
    pub async fn page(&self, offset: u64, limit: u64) -> Result<Vec<UserTemplate>, Error> {
        let request = Request::get("templates.page", TEMPLATES)
            .query("offset", &offset.to_string())
            .query("limit", &limit.to_string());
        self.client.fetch(&request).await
    }

    /// Reads one template.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let template = client.templates().get(1).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such template, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn get(&self, id: i64) -> Result<UserTemplate, Error> {
        let request = path_id(Request::get("templates.get", TEMPLATE), id)?;
        self.client.fetch(&request).await
    }

    /// Makes a template.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use marzban_api::model::NewUserTemplate;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let month = NewUserTemplate::new("a month").expire_duration(Duration::from_secs(30 * 86_400));
    /// client.templates().create(&month).await?;
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
    /// When it is dropped, the template may have been made or not. Doing it again is safe: it is then a conflict.
    pub async fn create(&self, template: &NewUserTemplate) -> Result<UserTemplate, Error> {
        let request = Request::post("templates.create", TEMPLATES).json(template)?;
        self.client.changed(&request).await
    }

    /// Changes a template.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::UserTemplateUpdate;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.templates().update(1, &UserTemplateUpdate::new().name("30 days")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such template. [`Conflict`](crate::ErrorKind::Conflict) for the name
    /// of another one. [`Rejected`](crate::ErrorKind::Rejected) for what the panel does not accept.
    /// [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights. [`Indeterminate`](crate::ErrorKind::Indeterminate) when it may have
    /// happened. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the template may have been changed or not. Doing it again is safe.
    pub async fn update(&self, id: i64, change: &UserTemplateUpdate) -> Result<UserTemplate, Error> {
        let request = path_id(Request::put("templates.update", TEMPLATE), id)?.json(change)?;
        self.client.changed(&request).await
    }

    /// Deletes a template. When the answer is unclear, the template is read again before anything is said.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.templates().delete(1).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Server`](crate::ErrorKind::Server) when the deletion failed and the template is still there.
    /// [`Indeterminate`](crate::ErrorKind::Indeterminate) when it may or may not be. [`Forbidden`](crate::ErrorKind::Forbidden) without sudo
    /// rights. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the template may be deleted or not. Doing it again is safe.
    pub async fn delete(&self, id: i64) -> Result<DeleteOutcome, Error> {
        let request = path_id(Request::delete("templates.delete", TEMPLATE), id)?;
        delete(
            self.client,
            &request,
            |error: &Error| error.is_not_found_with(TEMPLATE_NOT_FOUND),
            || self.get(id),
        )
        .await
    }
}
