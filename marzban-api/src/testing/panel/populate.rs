//! Many users like those of a panel in use, the same ones every time.

use chrono::{DateTime, TimeDelta, Utc};

use super::protocol::FakeProtocol;
use super::random::splitmix64;
use super::user::{FakeStatus, FakeUser};

const GIB: i64 = 1 << 30;
const DAY: i64 = 86_400;

/// Describes the user of a number: of 100 about 70 are active, 12 expired, 6 limited, 6 on hold, 6 disabled.
///
/// Each has `VMess` and VLESS with two inbounds each, hence four links and about two kilobytes of JSON.
pub(crate) fn user(number: u64, now: DateTime<Utc>) -> FakeUser {
    let seed = splitmix64(number);
    let pick = |shift: u32, below: u64| i64::try_from((seed >> shift) % below).unwrap_or(0);
    let limit = (1 + pick(8, 50)) * GIB;
    let traffic = limit / 100 * pick(16, 95);
    let start = now - TimeDelta::days(30 + pick(24, 300)) + TimeDelta::microseconds(pick(32, 1_000_000));
    let expire = now.timestamp() + (1 + pick(40, 60)) * DAY;
    let online = now - TimeDelta::minutes(pick(48, 3_000));
    let user = FakeUser::new(format!("user_{number:05}"))
        .protocols([FakeProtocol::Vmess, FakeProtocol::Vless])
        .created_at(start)
        .data_limit(limit);
    match seed % 100 {
        0..70 => user.expire(expire).used_traffic(traffic).online_at(online),
        70..82 => user
            .status(FakeStatus::Expired)
            .expire(now.timestamp() - pick(40, 25) * DAY)
            .used_traffic(traffic),
        82..88 => user
            .status(FakeStatus::Limited)
            .expire(expire)
            .used_traffic(limit)
            .online_at(online),
        88..94 => user.on_hold(30 * DAY),
        _ => user
            .status(FakeStatus::Disabled)
            .expire(expire)
            .used_traffic(traffic),
    }
}
