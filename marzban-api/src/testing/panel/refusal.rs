//! The reasons for which operations fail.

use super::protocol::FakeProtocol;

/// The reason for which an operation of [`Panel`](super::Panel) failed, in the words of the panel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No user has this name.
    #[error("User not found")]
    UserNotFound,
    /// A user has this name already, or the database refused the new user for any other reason.
    #[error("User already exists")]
    UserExists,
    /// No admin has this name.
    #[error("Admin not found")]
    AdminNotFound,
    /// An admin has this name already.
    #[error("Admin already exists")]
    AdminExists,
    /// No node has this number.
    #[error("Node not found")]
    NodeNotFound,
    /// A node has this name already.
    #[error("Node \"{0}\" already exists")]
    NodeExists(String),
    /// No template has this number.
    #[error("User Template not found")]
    TemplateNotFound,
    /// A template has this name already, or the new one has none.
    #[error("Template by this name already exists")]
    TemplateExists,
    /// The user belongs to another admin, or only a sudo admin may do this.
    #[error("You're not allowed")]
    Forbidden,
    /// A sudo admin can only be edited by itself.
    #[error("You're not allowed to edit another sudoer's account. Use marzban-cli instead.")]
    EditsOtherSudo,
    /// A sudo admin cannot be deleted.
    #[error("You're not allowed to delete sudoer accounts. Use marzban-cli instead.")]
    DeletesSudo,
    /// No inbound serves this protocol.
    #[error("Protocol ProxyTypes.{} is disabled on your server", .0.label())]
    ProtocolDisabled(FakeProtocol),
    /// No inbound has this tag.
    #[error("Inbound {0} doesn't exist")]
    UnknownInbound(String),
    /// The user has no next plan; the panel claims so as well after it applied one.
    #[error("User doesn't have next plan")]
    NoNextPlan,
    /// No expired user lies in the range.
    #[error("No expired users found in the specified date range")]
    NoExpiredUsers,
    /// The start of a range lies after its end.
    #[error("Start date must be before end date")]
    ReversedRange,
    /// The panel's code raised an exception. What was done before it stays done.
    #[error("Internal Server Error")]
    InternalError,
}
