//! The choices that a bot's owner makes about reconciling.

/// How an observation becomes a change; the default is what most bots expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Whether an `expired` subscription becomes `active` again when the panel's user works until a later date.
    /// On by default: an extension that was made in the panel comes back to the bot.
    pub reactivate: bool,
    /// Whether a user that an admin disabled in the panel ends the subscription. Off by default.
    pub disabled_ends_subscription: bool,
    /// What becomes of `end_date` when the panel's user has no `expire`.
    pub unlimited: Unlimited,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            reactivate: true,
            disabled_ends_subscription: false,
            unlimited: Unlimited::Keep,
        }
    }
}

/// What becomes of `end_date` when the panel's user has no `expire`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unlimited {
    /// The bot's date stays: a seller may promise an end that the panel does not enforce.
    #[default]
    Keep,
    /// The date is cleared: the panel's word counts.
    Clear,
}
