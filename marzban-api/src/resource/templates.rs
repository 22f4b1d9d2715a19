//! Operations on user templates.

use crate::client::Client;
use crate::error::Error;
use crate::model::{NewUserTemplate, UserTemplate, UserTemplateUpdate};
use crate::request::Request;
use crate::resource::{DeleteOutcome, delete, path_id};

const TEMPLATES: &str = "/api/user_template";
const TEMPLATE: &str = "/api/user_template/{template_id}";

/// The panel's message with status 404 for an unknown template; for an unknown route it is `Not Found`.
const TEMPLATE_NOT_FOUND: &str = "User Template not found";

/// Operations on user templates, whose changes need sudo rights; see [`Client::templates`].
///
/// The panel looks up the template before it checks the token, so a [`NotFound`](crate::ErrorKind::NotFound) does not
/// show that the client is logged in.
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

    /// Fetches all templates.
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
    /// The [errors of every operation](crate::resource#errors).
    pub async fn list(&self) -> Result<Vec<UserTemplate>, Error> {
        self.client
            .fetch(&Request::get("templates.list", TEMPLATES))
            .await
    }

    /// Fetches at most `limit` templates after the first `offset`.
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
    /// The [errors of every operation](crate::resource#errors).
    pub async fn page(&self, offset: u64, limit: u64) -> Result<Vec<UserTemplate>, Error> {
        let request = Request::get("templates.page", TEMPLATES)
            .query("offset", &offset.to_string())
            .query("limit", &limit.to_string());
        self.client.fetch(&request).await
    }

    /// Fetches one template.
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
    /// Besides the [errors of every operation](crate::resource#errors), [`NotFound`](crate::ErrorKind::NotFound) for
    /// an unknown template.
    pub async fn get(&self, id: i64) -> Result<UserTemplate, Error> {
        let request = path_id(Request::get("templates.get", TEMPLATE), id)?;
        self.client.fetch(&request).await
    }

    /// Creates a template.
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
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Conflict`](crate::ErrorKind::Conflict): the name is taken.
    /// - [`Rejected`](crate::ErrorKind::Rejected): the panel does not accept the settings.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the template may have been created. Look it up with
    ///   [`list`](Self::list).
    ///
    /// # Cancel safety
    ///
    /// If dropped, the template may or may not have been created. Calling again is safe: it then fails with
    /// [`Conflict`](crate::ErrorKind::Conflict).
    pub async fn create(&self, template: &NewUserTemplate) -> Result<UserTemplate, Error> {
        let request = Request::post("templates.create", TEMPLATES).json(template)?;
        self.client.changed(&request).await
    }

    /// Updates a template.
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
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](crate::ErrorKind::NotFound): there is no such template.
    /// - [`Conflict`](crate::ErrorKind::Conflict): another template has the name.
    /// - [`Rejected`](crate::ErrorKind::Rejected): the panel does not accept the settings.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the template may have been updated.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the template may or may not have been updated. Calling again is safe.
    pub async fn update(&self, id: i64, update: &UserTemplateUpdate) -> Result<UserTemplate, Error> {
        let request = path_id(Request::put("templates.update", TEMPLATE), id)?.json(update)?;
        self.client.changed(&request).await
    }

    /// Deletes a template.
    ///
    /// If the response does not settle the outcome, the template is read again.
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
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Server`](crate::ErrorKind::Server): the deletion failed and the template still exists.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the template may be deleted now or later.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the template may or may not be deleted. Calling again is safe.
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
