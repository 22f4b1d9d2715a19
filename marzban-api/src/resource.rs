//! The operations, grouped as the panel groups them: `client.users().get("alice")`.

mod admins;
mod core;
#[cfg(feature = "logs")]
mod logs;
mod nodes;
mod subscription;
mod system;
mod templates;
mod users;

pub use self::core::Core;
pub use admins::{Admins, ListAdmins};
#[cfg(feature = "logs")]
pub use logs::LogOptions;
pub use nodes::Nodes;
pub use subscription::Subscription;
pub use system::System;
pub use templates::Templates;
#[cfg(feature = "test-util")]
pub(crate) use users::read_whole;
pub use users::{BatchGet, DeleteOutcome, ListUsers, UserEntry, UserSort, UserSortField, Users, UsersPage};

use http::StatusCode;

use crate::client::{Client, Response};
use crate::error::{Error, ErrorKind};
use crate::request::Request;

/// A change is done when the panel says so, in whatever words or by a bare `null`: a proxy's friendly page with
/// status 200 is no word of the panel.
fn expect_ack(answer: &Response, request: &Request) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    struct Confirmation {}
    if answer.status == StatusCode::NO_CONTENT {
        return Ok(());
    }
    let _: Option<Confirmation> = answer.decode(request)?;
    Ok(())
}

/// Performs a change that the panel answers with words only.
async fn execute_ack(client: &Client, request: &Request) -> Result<(), Error> {
    let confirmation = client.execute(request).await;
    confirmation
        .and_then(|answer| expect_ack(&answer, request))
        .map_err(|error| error.into_indeterminate(request))
}

/// Performs a deletion. When its answer leaves open whether it happened, `look` reads what was to be deleted, which
/// is gone when the panel says so by `is_gone`.
async fn delete<T, Look>(
    client: &Client,
    request: &Request,
    is_gone: impl Fn(&Error) -> bool + Send,
    look: impl FnOnce() -> Look + Send,
) -> Result<DeleteOutcome, Error>
where
    Look: Future<Output = Result<T, Error>> + Send,
{
    let answer = client.execute(request).await;
    let error = match answer.and_then(|answer| expect_ack(&answer, request)) {
        Ok(()) => return Ok(DeleteOutcome::Deleted),
        Err(error) if is_gone(&error) => return Ok(DeleteOutcome::NotFound),
        Err(error) if error.is_ambiguous(request) => error,
        Err(error) => return Err(error),
    };
    match look().await {
        Err(gone) if is_gone(&gone) => Ok(DeleteOutcome::Deleted),
        Ok(_) if is_settled(&error) => {
            Err(error.with_kind(ErrorKind::Server, "the deletion failed and nothing is deleted"))
        }
        Ok(_) => Err(error.with_kind(ErrorKind::Indeterminate, "nothing is deleted, but it may yet be")),
        Err(unknown) => {
            tracing::debug!(error = %unknown, "a deletion cannot be confirmed");
            Err(error.with_kind(ErrorKind::Indeterminate, "the deletion may have happened or not"))
        }
    }
}

/// Whether the panel is done with the request: it has answered itself. After a time-out, or a failure of a proxy
/// before it, it may still be at work.
fn is_settled(error: &Error) -> bool {
    let by_panel = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::NOT_FOUND];
    !error.is_by_proxy()
        && by_panel
            .iter()
            .any(|status| error.status() == Some(status.as_u16()))
}

/// Puts a number into the path.
fn path_id(request: Request, id: i64) -> Result<Request, Error> {
    path_name(request, &id.to_string())
}

/// Puts a name into the path.
fn path_name(request: Request, name: &str) -> Result<Request, Error> {
    let refused = Error::new(ErrorKind::InvalidInput).with_operation(&request);
    request.segment(name).map_err(|error| refused.with_source(error))
}
