//! Users and admins as the panel's JSON shows them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::testing::api::links as share;
use crate::testing::api::subscription_token as token;
use crate::testing::panel::host::Hosts;
use crate::testing::panel::inbound::{Inbound, Inbounds};
use crate::testing::panel::state::FakeAdmin;
use crate::testing::panel::user::{FakeNextPlan, FakeProtocol, FakeStatus, FakeUser, Proxy};

/// The five keys of an admin.
#[derive(Serialize)]
pub(crate) struct AdminJson<'a> {
    username: &'a str,
    is_sudo: bool,
    telegram_id: Option<i64>,
    discord_webhook: Option<&'a str>,
    users_usage: Option<i64>,
}

impl<'a> AdminJson<'a> {
    pub(crate) fn new(admin: &'a FakeAdmin) -> Self {
        Self {
            username: &admin.username,
            is_sudo: admin.is_sudo,
            telegram_id: admin.telegram_id,
            discord_webhook: admin.discord_webhook.as_deref(),
            // The environment's admin has no row in the database that could count.
            users_usage: (!admin.is_from_environment).then_some(admin.users_usage),
        }
    }
}

/// The 22 keys of a user, all of them always present.
#[derive(Serialize)]
pub(crate) struct UserJson<'a> {
    proxies: &'a BTreeMap<FakeProtocol, Proxy>,
    expire: Option<i64>,
    data_limit: Option<i64>,
    data_limit_reset_strategy: &'a str,
    inbounds: BTreeMap<FakeProtocol, Vec<&'a str>>,
    note: Option<&'a str>,
    sub_updated_at: Option<String>,
    sub_last_user_agent: Option<&'a str>,
    online_at: Option<String>,
    on_hold_expire_duration: Option<i64>,
    on_hold_timeout: Option<String>,
    auto_delete_in_days: Option<i64>,
    next_plan: Option<FakeNextPlan>,
    username: &'a str,
    status: FakeStatus,
    used_traffic: i64,
    lifetime_used_traffic: i64,
    created_at: Option<String>,
    links: Vec<String>,
    subscription_url: String,
    excluded_inbounds: BTreeMap<FakeProtocol, Vec<&'a str>>,
    admin: Option<AdminJson<'a>>,
}

/// Where and when a user is shown; `seed` differs with every reading.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) origin: &'a str,
    pub(crate) inbounds: &'a Inbounds,
    pub(crate) hosts: &'a Hosts,
    pub(crate) now: DateTime<Utc>,
    pub(crate) seed: u64,
}

impl<'a> UserJson<'a> {
    pub(crate) fn new(user: &'a FakeUser, owner: Option<&'a FakeAdmin>, view: View<'a>) -> Self {
        Self {
            proxies: &user.proxies,
            expire: user.expire,
            data_limit: user.data_limit,
            data_limit_reset_strategy: &user.data_limit_reset_strategy,
            inbounds: tags(user, view.inbounds, false),
            note: user.note.as_deref(),
            sub_updated_at: user.sub_updated_at.map(naive),
            sub_last_user_agent: user.sub_last_user_agent.as_deref(),
            online_at: user.online_at.map(naive),
            on_hold_expire_duration: user.on_hold_expire_duration,
            on_hold_timeout: user.on_hold_timeout.map(naive),
            auto_delete_in_days: user.auto_delete_in_days,
            next_plan: user.next_plan,
            username: &user.username,
            status: user.status,
            used_traffic: user.used_traffic,
            lifetime_used_traffic: user.used_traffic.saturating_add(user.earlier_traffic),
            created_at: user.created_at.map(naive),
            links: share::links(user, view),
            subscription_url: format!("{}/sub/{}", view.origin, token::issue(&user.username, view.now)),
            excluded_inbounds: tags(user, view.inbounds, true),
            admin: owner.map(AdminJson::new),
        }
    }
}

/// A time as the panel's SQLite shows it: UTC without saying so, six digits of fraction or none at all.
pub(crate) fn naive(time: DateTime<Utc>) -> String {
    let micros = time.timestamp_subsec_micros();
    let format = if micros == 0 {
        "%Y-%m-%dT%H:%M:%S"
    } else {
        "%Y-%m-%dT%H:%M:%S%.6f"
    };
    time.format(format).to_string()
}

/// Spreads a counter over 64 bits (the finalizer of `SplitMix64`), for values that only have to differ.
pub(crate) const fn mix(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(crate) fn is_excluded(user: &FakeUser, inbound: &Inbound) -> bool {
    user.excluded
        .get(&inbound.protocol)
        .is_some_and(|tags| tags.contains(&inbound.tag))
}

fn tags<'a>(user: &FakeUser, inbounds: &'a Inbounds, excluded: bool) -> BTreeMap<FakeProtocol, Vec<&'a str>> {
    let of = |protocol| {
        inbounds
            .of(protocol)
            .filter(|inbound| is_excluded(user, inbound) == excluded)
            .map(|inbound| inbound.tag.as_str())
    };
    user.proxies
        .keys()
        .map(|protocol| (*protocol, of(*protocol).collect()))
        .collect()
}
