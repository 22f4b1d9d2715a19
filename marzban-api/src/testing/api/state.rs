//! What the interface remembers beside the panel itself: issued tokens, and the configuration as text.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::config::default_config;
use super::render::UserJson;
use super::token;
use super::view::View;
use crate::testing::panel::random::splitmix64;
use crate::testing::panel::user::FakeUser;
use crate::testing::panel::{Grant, Panel};

pub(crate) struct Api {
    pub(crate) panel: Panel,
    /// The configuration of the core, as it was sent.
    pub(crate) config: Value,
    /// `None` issues tokens that do not expire.
    pub(crate) token_lifetime: Option<TimeDelta>,
    pub(crate) tokens: HashMap<String, Grant>,
    /// Subscription tokens of the form that old versions issued, with user and time.
    legacy_tokens: HashMap<String, (String, DateTime<Utc>)>,
    /// What stands before the token of a subscription URL.
    subscription_base: String,
}

impl Api {
    /// Serves a panel whose subscriptions are below `path`, under URLs that begin with `prefix`.
    pub(crate) fn new(panel: Panel, path: &str, prefix: &str) -> Self {
        Self {
            config: default_config(&panel.inbounds),
            panel,
            token_lifetime: Some(TimeDelta::days(1)),
            tokens: HashMap::new(),
            legacy_tokens: HashMap::new(),
            subscription_base: format!("{}/{path}/", prefix.trim_end_matches('/')),
        }
    }

    pub(crate) fn view(&self, seed: u64) -> View<'_> {
        View {
            subscription_base: &self.subscription_base,
            inbounds: &self.panel.inbounds,
            hosts: &self.panel.hosts,
            now: self.panel.now(),
            seed,
        }
    }

    pub(crate) fn render<'a>(&'a self, user: &'a FakeUser, seed: u64) -> UserJson<'a> {
        UserJson::new(user, self.panel.owner_of(user), self.view(seed))
    }

    /// Remembers a grant under a token, a JWT of these claims, and returns the token.
    pub(crate) fn remember(&mut self, grant: Grant, claims: &Value) -> String {
        let signature: Vec<u8> = (0..4)
            .flat_map(|_| splitmix64(self.panel.next_seed()).to_be_bytes())
            .collect();
        let token = token::jwt(claims, &signature);
        self.tokens.insert(token.clone(), grant);
        token
    }

    /// Issues a subscription token as old versions did.
    pub(crate) fn issue_legacy_token(&mut self, username: &str) -> String {
        let now = self.panel.now();
        let issued_at = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
        let token = token::legacy(username, issued_at.timestamp(), self.panel.next_seed());
        self.legacy_tokens
            .insert(token.clone(), (username.to_owned(), issued_at));
        token
    }

    /// Finds the user that a subscription token opens.
    pub(crate) fn subscriber(&self, token: &str) -> Option<&FakeUser> {
        let (username, issued_at) = match self.legacy_tokens.get(token) {
            Some(known) => known.clone(),
            None => token::read(token)?,
        };
        let user = self.panel.user(&username)?;
        user.accepts_token_of(issued_at).then_some(user)
    }
}
