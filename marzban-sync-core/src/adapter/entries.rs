//! The entries of the trail as both databases give them back.

use crate::model::run::RunId;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::model::account::{AccountId, UserId};
use crate::model::trail::{Entry, EntryRecord, EntryState, Target};

/// An entry but for its time, which each database holds in its own way.
#[derive(QueryableByName)]
pub(super) struct EntryColumns {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    run_id: Option<i64>,
    #[diesel(sql_type = Text)]
    panel: String,
    #[diesel(sql_type = BigInt)]
    account_id: i64,
    #[diesel(sql_type = BigInt)]
    customer_id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    telegram_id: Option<i64>,
    #[diesel(sql_type = Text)]
    username: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = BigInt)]
    row_id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    old_value: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    new_value: Option<String>,
    #[diesel(sql_type = Text)]
    reason: String,
    #[diesel(sql_type = Text)]
    state: String,
}

impl EntryColumns {
    /// None for a column or a state of another version.
    pub(super) fn known(self, at: DateTime<Utc>) -> Option<EntryRecord> {
        Some(EntryRecord {
            id: self.id,
            run: self.run_id.map(RunId),
            panel: self.panel,
            at,
            entry: Entry {
                account: AccountId(self.account_id),
                username: self.username,
                customer: UserId(self.customer_id),
                telegram_id: self.telegram_id,
                target: Target::parse(&self.column_name, self.row_id)?,
                old: self.old_value,
                new: self.new_value,
                reason: self.reason,
                state: EntryState::parse(&self.state)?,
            },
        })
    }
}

/// The telegram id that the name in a query is; `+7` and `007` are names.
pub(super) fn telegram_id(name: &str) -> Option<i64> {
    name.parse().ok().filter(|id: &i64| id.to_string() == name)
}
