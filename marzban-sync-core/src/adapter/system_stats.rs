//! The figures of a panel as both databases give them back.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Double, Nullable, Text};

use crate::model::report::SystemStats;

/// The columns of [`Figures`].
pub(super) const COLUMNS: &str = "version, mem_total, mem_used, cpu_cores, cpu_usage, total_user, online_users, \
    users_active, users_on_hold, users_disabled, users_expired, users_limited, incoming_bandwidth, \
    outgoing_bandwidth, incoming_bandwidth_speed, outgoing_bandwidth_speed";

#[derive(QueryableByName)]
pub(super) struct Figures {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = BigInt)]
    mem_total: i64,
    #[diesel(sql_type = BigInt)]
    mem_used: i64,
    #[diesel(sql_type = BigInt)]
    cpu_cores: i64,
    #[diesel(sql_type = Double)]
    cpu_usage: f64,
    #[diesel(sql_type = BigInt)]
    total_user: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    online_users: Option<i64>,
    #[diesel(sql_type = BigInt)]
    users_active: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    users_on_hold: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    users_disabled: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    users_expired: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    users_limited: Option<i64>,
    #[diesel(sql_type = BigInt)]
    incoming_bandwidth: i64,
    #[diesel(sql_type = BigInt)]
    outgoing_bandwidth: i64,
    #[diesel(sql_type = BigInt)]
    incoming_bandwidth_speed: i64,
    #[diesel(sql_type = BigInt)]
    outgoing_bandwidth_speed: i64,
}

impl From<Figures> for SystemStats {
    fn from(row: Figures) -> Self {
        Self {
            version: row.version,
            mem_total: row.mem_total,
            mem_used: row.mem_used,
            cpu_cores: row.cpu_cores,
            cpu_usage: row.cpu_usage,
            total_user: row.total_user,
            online_users: row.online_users,
            users_active: row.users_active,
            users_on_hold: row.users_on_hold,
            users_disabled: row.users_disabled,
            users_expired: row.users_expired,
            users_limited: row.users_limited,
            incoming_bandwidth: row.incoming_bandwidth,
            outgoing_bandwidth: row.outgoing_bandwidth,
            incoming_bandwidth_speed: row.incoming_bandwidth_speed,
            outgoing_bandwidth_speed: row.outgoing_bandwidth_speed,
        }
    }
}
