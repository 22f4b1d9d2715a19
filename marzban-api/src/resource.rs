//! The operations, grouped as the panel groups them: `client.users().get("alice")`.

mod admins;
mod system;
mod users;

pub use admins::Admins;
pub use system::System;
pub use users::{Deletion, ListUsers, Listed, NamedUsers, UserSort, UserSortField, Users, UsersPage};
