//! Operations, grouped as the panel groups them: `client.users().get("alice")`.
//!
//! # Errors
//!
//! Every operation can fail with:
//! - [`Connect`](ErrorKind::Connect) or [`Timeout`](ErrorKind::Timeout) when the panel cannot be reached.
//! - [`Server`](ErrorKind::Server) or [`RateLimited`](ErrorKind::RateLimited) when the panel, or a proxy in front of
//!   it, fails or asks to wait.
//! - [`Unauthorized`](ErrorKind::Unauthorized) when the panel rejects the credentials, and
//!   [`Forbidden`](ErrorKind::Forbidden) when the admin lacks the rights.
//! - [`UnexpectedResponse`](ErrorKind::UnexpectedResponse), [`TooLarge`](ErrorKind::TooLarge) or
//!   [`Decode`](ErrorKind::Decode) when the response is not one that the operation can have.
//! - [`InvalidInput`](ErrorKind::InvalidInput) when the arguments cannot be sent, such as an empty username. Nothing
//!   has been sent then.
//!
//! An operation that changes the panel fails with [`Indeterminate`](ErrorKind::Indeterminate) when the change may
//! have been made anyway. Read the panel before acting on it.
//!
//! The section "Errors" of a method lists what is specific to it.
//!
//! # Cancel safety
//!
//! The future of every operation may be dropped at any time. Dropping a read has no effect on the panel. A change
//! that has already been sent may still be made: read the panel to find out, or repeat the call where the method
//! documents that this is safe.

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

/// Checks that the panel confirmed a change: with 204, a message or a bare `null`. A proxy's HTML page with status
/// 200 confirms nothing.
fn expect_ack(response: &Response, request: &Request) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    struct Confirmation {}
    if response.status == StatusCode::NO_CONTENT {
        return Ok(());
    }
    let _: Option<Confirmation> = response.decode(request)?;
    Ok(())
}

/// Performs a change that the panel only acknowledges.
async fn execute_ack(client: &Client, request: &Request) -> Result<(), Error> {
    let confirmation = client.execute(request).await;
    confirmation
        .and_then(|response| expect_ack(&response, request))
        .map_err(|error| error.into_indeterminate(request))
}

/// Performs a deletion. If the response does not settle the outcome, `look` reads the resource again; it counts as
/// deleted if that read fails with an error for which `is_gone` holds.
async fn delete<T, Look>(
    client: &Client,
    request: &Request,
    is_gone: impl Fn(&Error) -> bool + Send,
    look: impl FnOnce() -> Look + Send,
) -> Result<DeleteOutcome, Error>
where
    Look: Future<Output = Result<T, Error>> + Send,
{
    let response = client.execute(request).await;
    let error = match response.and_then(|response| expect_ack(&response, request)) {
        Ok(()) => return Ok(DeleteOutcome::Deleted),
        Err(error) if is_gone(&error) => return Ok(DeleteOutcome::NotFound),
        Err(error) if error.is_ambiguous(request) => error,
        Err(error) => return Err(error),
    };
    match look().await {
        Err(gone) if is_gone(&gone) => Ok(DeleteOutcome::Deleted),
        Ok(_) if is_settled(&error) => {
            Err(error.with_kind(ErrorKind::Server, "the deletion failed and nothing was deleted"))
        }
        Ok(_) => Err(error.with_kind(ErrorKind::Indeterminate, "nothing was deleted so far")),
        Err(unknown) => {
            tracing::debug!(error = %unknown, "Cannot verify a deletion");
            Err(error.with_kind(
                ErrorKind::Indeterminate,
                "the deletion may or may not have happened",
            ))
        }
    }
}

/// Returns whether the panel has finished with the request, i.e. has answered it itself. After a time-out or a
/// proxy's error it may still be working on it.
fn is_settled(error: &Error) -> bool {
    let by_panel = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::NOT_FOUND];
    !error.is_by_proxy()
        && by_panel
            .iter()
            .any(|status| error.status() == Some(status.as_u16()))
}

/// Inserts a numeric id into the path.
fn path_id(request: Request, id: i64) -> Result<Request, Error> {
    path_name(request, &id.to_string())
}

/// Inserts a name into the path, percent-encoded.
fn path_name(request: Request, name: &str) -> Result<Request, Error> {
    let refused = Error::new(ErrorKind::InvalidInput).with_operation(&request);
    request.segment(name).map_err(|error| refused.with_source(error))
}
