//! A bot's rows, as the stores that list them hand them on, and what is to be written into one.

use chrono::{DateTime, Utc};

use crate::model::account::{AccountId, Subscription, SubscriptionId, UserId};
use crate::model::plan::{SubscriptionPatch, VpnConfigPatch};

/// A customer of the bot, with all that the sync reads of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerRows {
    /// The customer's id.
    pub id: UserId,
    /// By which reports and logs name the customer.
    pub telegram_id: Option<i64>,
    /// All subscriptions, in any order, ended ones too.
    pub subscriptions: Vec<Subscription>,
    /// All accounts, in any order.
    pub accounts: Vec<AccountRow>,
}

/// A row of the bot that may name a panel user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// The id of its row, unique among the accounts of all customers.
    pub id: AccountId,
    /// The panel's name; none for a bot with one panel.
    pub panel: Option<String>,
    /// The panel user's name; none for a row that no panel has.
    pub name: Option<String>,
    /// Whether it gives access.
    pub is_active: Option<bool>,
    /// Traffic, in bytes.
    pub traffic_used: Option<i64>,
    /// When it was last seen connected.
    pub last_connected_at: Option<DateTime<Utc>>,
    /// When the row was last written; none where the bot does not say.
    pub updated_at: Option<DateTime<Utc>>,
    /// The subscription that it belongs to, where the bot says so; without it, to the customer's governing one.
    pub subscription_id: Option<SubscriptionId>,
}

/// What is to be written into one row; what a patch does not name stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowUpdate {
    /// New values for an account.
    Account(AccountId, VpnConfigPatch),
    /// New values for a subscription.
    Subscription(SubscriptionId, SubscriptionPatch),
    /// The panel user of this account is gone: its name becomes none, and it gives no access.
    Unlink(AccountId),
}
