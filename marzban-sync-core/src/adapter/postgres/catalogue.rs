//! What the bot's tables are like, as far as the statements depend on it.

use super::schema::{Found, Schema};

/// The moments that a calendar has, and [`DateTime`](chrono::DateTime) with it.
const FIRST: &str = "'0001-01-01'";
const LAST: &str = "'9999-12-31 23:59:59.999999'";

/// SQL of the columns that are not the same in every bot's tables; `config` and `subscription` are their rows.
///
/// Whatever their types, times are read as naive UTC and to the microsecond.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// `users.telegram_id`, as a number; null for a text that is none.
    pub(super) telegram_id: String,
    /// `vpn_configs.subscription_id`; null where there is no such column, or it is of another kind.
    pub(super) subscription_id: &'static str,
    /// `vpn_configs.last_connected_at`; null for what is no moment of a calendar, such as `infinity`.
    pub(super) last_connected_at: String,
    /// Whether that is all of it.
    pub(super) is_readable: String,
    /// `vpn_configs.updated_at`.
    pub(super) config_updated_at: String,
    /// `subscriptions.start_date`; null where there is no such column.
    pub(super) start_date: String,
    /// `subscriptions.end_date`: what is beyond the calendar does not end, and what is before it ended at its beginning.
    pub(super) end_date: String,
    /// `subscriptions.updated_at`.
    pub(super) subscription_updated_at: String,
    /// The type of `subscriptions.status`.
    pub(super) status_type: String,
}

impl Catalogue {
    pub(super) fn of(schema: &Schema) -> Self {
        let find = |table: &str, column: &str| schema.find(table, column);
        let is_text =
            |found: &Found| matches!(found.type_name.as_str(), "text" | "varchar" | "bpchar" | "citext");
        let telegram_id = match find("users", "telegram_id") {
            Some(found) if is_text(found) => {
                "CASE WHEN users.telegram_id::text ~ '^-?[0-9]{1,18}$' THEN users.telegram_id::text::bigint END"
            }
            _ => "users.telegram_id::bigint",
        };
        let subscription_id = match find("vpn_configs", "subscription_id") {
            Some(found) if matches!(found.type_name.as_str(), "int2" | "int4" | "int8") => {
                "config.subscription_id::bigint"
            }
            _ => "NULL::bigint",
        };
        let last_connected_at = moment(
            "config.last_connected_at",
            find("vpn_configs", "last_connected_at"),
        );
        let start_date = find("subscriptions", "start_date").filter(|found| is_time(found));
        let end_date = moment("subscription.end_date", find("subscriptions", "end_date"));
        Self {
            telegram_id: telegram_id.to_owned(),
            subscription_id,
            is_readable: format!("({last_connected_at} NOT BETWEEN {FIRST} AND {LAST}) IS NOT TRUE"),
            last_connected_at: readable(&last_connected_at),
            config_updated_at: readable(&moment(
                "config.updated_at",
                find("vpn_configs", "updated_at"),
            )),
            start_date: start_date.map_or_else(|| "NULL::timestamp".to_owned(), |found| {
                let start_date = moment("subscription.start_date", Some(found));
                format!("CASE WHEN {start_date} IS NOT NULL THEN least(greatest({start_date}, {FIRST}), {LAST}) END")
            }),
            end_date: format!("CASE WHEN {end_date} <= {LAST} THEN greatest({end_date}, {FIRST}) END"),
            subscription_updated_at: readable(&moment(
                "subscription.updated_at",
                find("subscriptions", "updated_at"),
            )),
            status_type: find("subscriptions", "status")
                .map_or_else(|| "varchar".to_owned(), |found| found.shown_type.clone()),
        }
    }
}

fn is_time(found: &Found) -> bool {
    matches!(found.type_name.as_str(), "timestamp" | "timestamptz" | "date")
}

/// SQL of a moment as naive UTC.
fn moment(column: &str, found: Option<&Found>) -> String {
    match found.map(|found| found.type_name.as_str()) {
        Some("timestamptz") => format!("({column} AT TIME ZONE 'UTC')"),
        Some("date") => format!("{column}::timestamp"),
        _ => column.to_owned(),
    }
}

/// SQL that reads a moment, and null for what is none of a calendar.
fn readable(moment: &str) -> String {
    format!("CASE WHEN {moment} BETWEEN {FIRST} AND {LAST} THEN {moment} END")
}
