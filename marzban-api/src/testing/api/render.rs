//! Users, admins and nodes as the panel's JSON shows them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::links;
use super::token;
use super::view::View;
use crate::testing::panel::admin::FakeAdmin;
use crate::testing::panel::inbound::Inbounds;
use crate::testing::panel::node::{FakeNode, FakeNodeStatus, XRAY_VERSION};
use crate::testing::panel::protocol::{FakeProtocol, Proxy};
use crate::testing::panel::user::{FakeNextPlan, FakeStatus, FakeUser};

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
            links: links::links(user, view),
            subscription_url: format!(
                "{}{}",
                view.subscription_base,
                token::issue(&user.username, view.now)
            ),
            excluded_inbounds: tags(user, view.inbounds, true),
            admin: owner.map(AdminJson::new),
        }
    }
}

/// The nine keys of a node.
#[derive(Serialize)]
pub(crate) struct NodeJson<'a> {
    name: &'a str,
    address: &'a str,
    port: i64,
    api_port: i64,
    usage_coefficient: f64,
    id: u64,
    xray_version: Option<&'static str>,
    status: FakeNodeStatus,
    message: Option<&'a str>,
}

impl<'a> NodeJson<'a> {
    pub(crate) fn new(node: &'a FakeNode) -> Self {
        Self {
            name: &node.name,
            address: &node.address,
            port: node.port,
            api_port: node.api_port,
            usage_coefficient: node.usage_coefficient,
            id: node.id,
            xray_version: (node.status == FakeNodeStatus::Connected).then_some(XRAY_VERSION),
            status: node.status,
            message: node.message.as_deref(),
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

fn tags<'a>(user: &FakeUser, inbounds: &'a Inbounds, excluded: bool) -> BTreeMap<FakeProtocol, Vec<&'a str>> {
    let of = |protocol| {
        inbounds
            .of(protocol)
            .filter(|inbound| user.excludes(inbound) == excluded)
            .map(|inbound| inbound.tag.as_str())
    };
    user.proxies
        .keys()
        .map(|protocol| (*protocol, of(*protocol).collect()))
        .collect()
}
