//! The hosts: under which names and addresses the inbounds appear in the links.

use std::collections::BTreeMap;

use serde::Serialize;

use super::inbound::Inbounds;
use super::refusal::Refusal;

/// The sixteen keys of a host.
#[derive(Clone, Debug, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "the panel chose the fields and their names"
)]
pub(crate) struct Host {
    pub(crate) remark: String,
    pub(crate) address: String,
    pub(crate) port: Option<i64>,
    pub(crate) sni: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) security: String,
    pub(crate) alpn: String,
    pub(crate) fingerprint: String,
    pub(crate) allowinsecure: Option<bool>,
    pub(crate) is_disabled: bool,
    pub(crate) mux_enable: bool,
    pub(crate) fragment_setting: Option<String>,
    pub(crate) noise_setting: Option<String>,
    pub(crate) random_user_agent: bool,
    pub(crate) use_sni_as_host: bool,
}

impl Host {
    pub(crate) fn new(remark: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            remark: remark.into(),
            address: address.into(),
            port: None,
            sni: None,
            host: None,
            path: None,
            security: "inbound_default".to_owned(),
            alpn: String::new(),
            fingerprint: String::new(),
            allowinsecure: None,
            is_disabled: false,
            mux_enable: false,
            fragment_setting: None,
            noise_setting: None,
            random_user_agent: false,
            use_sni_as_host: false,
        }
    }

    /// The host that a node asks for, named after it.
    pub(crate) fn of_node(name: &str, address: &str) -> Self {
        Self::new(
            format!("{name} ({{USERNAME}}) [{{PROTOCOL}} - {{TRANSPORT}}]"),
            address,
        )
    }
}

/// The hosts by the tag of their inbound; those of an inbound that is gone wait for its return.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(BTreeMap<String, Vec<Host>>);

impl Hosts {
    /// Gives every inbound that the panel has not met before the host of the panel itself.
    pub(crate) fn meet(&mut self, inbounds: &Inbounds) {
        for inbound in inbounds.all() {
            self.0.entry(inbound.tag.clone()).or_insert_with(|| {
                vec![Host::new(
                    "Fake ({USERNAME}) [{PROTOCOL} - {TRANSPORT}]",
                    "{SERVER_IP}",
                )]
            });
        }
    }

    /// Adds a host to every inbound of the configuration.
    pub(crate) fn add_everywhere(&mut self, inbounds: &Inbounds, host: &Host) {
        for inbound in inbounds.all() {
            self.0.entry(inbound.tag.clone()).or_default().push(host.clone());
        }
    }

    /// Replaces the hosts of the given tags, and leaves the others.
    pub(crate) fn replace(
        &mut self,
        given: BTreeMap<String, Vec<Host>>,
        inbounds: &Inbounds,
    ) -> Result<(), Refusal> {
        if let Some(tag) = given.keys().find(|tag| !inbounds.has_tag(tag)) {
            return Err(Refusal::UnknownInbound(tag.clone()));
        }
        self.0.extend(given);
        Ok(())
    }

    pub(crate) fn of(&self, tag: &str) -> &[Host] {
        self.0.get(tag).map_or(&[], Vec::as_slice)
    }
}
