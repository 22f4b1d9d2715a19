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
pub use users::{Deletion, ListUsers, Listed, NamedUsers, UserSort, UserSortField, Users, UsersPage};

use crate::client::Answer;
use crate::error::{Error, ErrorKind};
use crate::request::Request;

/// A change is done when the panel says so, in whatever words: a proxy's friendly page with status 200 is no word of
/// the panel.
fn confirmed(answer: &Answer, request: &Request) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    struct Confirmation {}
    if answer.status == http::StatusCode::NO_CONTENT {
        return Ok(());
    }
    let Confirmation {} = answer.decode(request)?;
    Ok(())
}

/// Puts a number into the path.
fn numbered(request: Request, id: i64) -> Result<Request, Error> {
    named(request, &id.to_string())
}

/// Puts a name into the path.
fn named(request: Request, name: &str) -> Result<Request, Error> {
    let refused = Error::new(ErrorKind::Request).at(&request);
    request.segment(name).map_err(|error| refused.caused_by(error))
}
