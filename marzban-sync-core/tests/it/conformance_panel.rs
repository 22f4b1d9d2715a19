//! The laws of every panel, for the scripted one that the tests of the jobs stand on.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use marzban_sync_core::observation::{Observation, PanelUser};
use marzban_sync_core::panel::Panel;
use marzban_sync_core::testing::conformance::panel::{Ability, Fault, Fixture};

use crate::scripted::ScriptedPanel;

#[async_trait]
impl Fixture for ScriptedPanel {
    fn panel(&self) -> Arc<dyn Panel> {
        // By way of both pointers that forward the trait.
        Arc::new(Box::new(Arc::new(self.clone()) as Arc<dyn Panel>) as Box<dyn Panel>)
    }

    fn can(&self, ability: Ability) -> bool {
        matches!(
            ability,
            Ability::Facts | Ability::OddNames | Ability::Poison | Ability::Clock
        )
    }

    fn name(&self, name: &str) -> String {
        name.to_owned()
    }

    async fn put(&self, name: &str, user: &PanelUser) {
        Self::put(self, name, user.clone());
    }

    async fn furnish(&self, _: &str) {}

    async fn rest(&self, _: &str) -> String {
        String::new()
    }

    async fn has(&self, name: &str) -> bool {
        Self::has(self, name)
    }

    async fn remove(&self, name: &str) {
        Self::remove(self, name);
    }

    async fn set_clock(&self, now: DateTime<Utc>) {
        self.set_last_date(now.trunc_subsecs(0));
    }

    async fn plant(&self, fault: Fault<'_>) {
        match fault {
            Fault::Poison(name) => self.say(name, Observation::Unreadable("500".to_owned())),
            other => panic!("it cannot be spoilt so: {other:?}"),
        }
    }

    async fn clean_up(&self) {}
}

marzban_sync_core::panel_conformance!(ScriptedPanel::default());
