//! A task of the queue: which job to run, for which panel, and why.

use chrono::{DateTime, SecondsFormat, Utc};
use marzban_sync_core::report::Job;
use marzban_sync_core::schedule::Tick;
use marzban_sync_core::store::DEFAULT_PANEL;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A run to perform, stored as JSON.
///
/// It deserialises from any JSON: unknown fields are ignored, and fields that an older version did not write have
/// defaults, so that one odd row of the queue never hides the others from the board or a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Value")]
pub(crate) struct SyncTask {
    /// The name of the job; an unknown name ends as a failed task.
    pub(crate) job: String,
    /// The panel, by the name that `vpn_configs.panel` has.
    pub(crate) panel: String,
    /// The tick of its schedule; none for a run by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tick: Option<DateTime<Utc>>,
    /// Whether to apply what the safety limits would withhold.
    pub(crate) allow_mass_changes: bool,
    /// The run whose plan an operator allowed; the permission lapses once a later run has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<i64>,
    /// The panel users for whom the operator trusts the panel's end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) trust_panel: Vec<String>,
    /// The panel users for whom the operator trusts the bot's end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) trust_bot: Vec<String>,
}

impl From<Value> for SyncTask {
    fn from(value: Value) -> Self {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        // Nothing that is unclear allows anything.
        let is_clear = value.get("plan").is_none_or(Value::is_i64);
        let list = |name: &str| {
            let list = value.get(name).filter(|_| is_clear);
            list.and_then(names).unwrap_or_default()
        };
        Self {
            job: text("job").unwrap_or_default().to_owned(),
            panel: text("panel").unwrap_or(DEFAULT_PANEL).to_owned(),
            tick: text("tick").and_then(|tick| tick.parse().ok()),
            allow_mass_changes: is_clear && value.get("allow_mass_changes") == Some(&Value::Bool(true)),
            plan: value.get("plan").and_then(Value::as_i64),
            trust_panel: list("trust_panel"),
            trust_bot: list("trust_bot"),
        }
    }
}

/// Returns the names, if this is a list of names.
fn names(list: &Value) -> Option<Vec<String>> {
    let name = |name: &Value| name.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
    list.as_array()?.iter().map(name).collect()
}

impl SyncTask {
    /// Creates the task of a tick.
    pub(crate) fn scheduled(panel: &str, tick: Tick) -> Self {
        Self {
            tick: Some(tick.at),
            ..Self::manual(tick.job, panel, false)
        }
    }

    /// Creates a run by hand.
    pub(crate) fn manual(job: Job, panel: &str, allow_mass_changes: bool) -> Self {
        Self {
            job: job.as_str().to_owned(),
            panel: panel.to_owned(),
            tick: None,
            allow_mass_changes,
            plan: None,
            trust_panel: Vec::new(),
            trust_bot: Vec::new(),
        }
    }

    /// Creates a run that applies what an earlier run withheld.
    pub(crate) fn applying(job: Job, panel: &str, plan: i64) -> Self {
        Self {
            plan: Some(plan),
            ..Self::manual(job, panel, true)
        }
    }

    /// Returns whether an operator allowed withheld changes or trusts one side.
    pub(crate) fn has_answers(&self) -> bool {
        self.allow_mass_changes || !self.trust_panel.is_empty() || !self.trust_bot.is_empty()
    }

    /// Returns the run without an operator's answers.
    pub(crate) fn without_answers(self) -> Self {
        Self {
            allow_mass_changes: false,
            trust_panel: Vec::new(),
            trust_bot: Vec::new(),
            ..self
        }
    }

    /// Returns the job, if this version knows it.
    pub(crate) fn known_job(&self) -> Option<Job> {
        Job::parse(&self.job)
    }

    /// Returns the key that makes a tick of a job and panel one task, whichever scheduler is first; none for a run by hand.
    pub(crate) fn idempotency_key(&self) -> Option<String> {
        let tick = self.tick?.to_rfc3339_opts(SecondsFormat::Secs, true);
        Some(format!("{}:{}:{tick}", self.job, self.panel))
    }
}

/// Splits an idempotency key, whose tick contains colons itself.
pub(crate) fn parse_key(key: &str) -> Option<(Job, &str, DateTime<Utc>)> {
    let (job, rest) = key.split_once(':')?;
    let (panel, tick) = rest.split_once(':')?;
    Some((Job::parse(job)?, panel, tick.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn monday() -> Tick {
        Tick {
            at: "2025-09-15T01:00:00Z".parse().unwrap(),
            job: Job::CleanupExpiredMarzbanUsers,
        }
    }

    #[test]
    fn a_task_survives_the_queue() {
        for task in [
            SyncTask::scheduled("de-1", monday()),
            SyncTask::manual(Job::GetMarzbanSystemStats, DEFAULT_PANEL, true),
            SyncTask::applying(monday().job, "de-1", 7),
            SyncTask {
                trust_panel: vec!["anna".to_owned(), "Boris".to_owned()],
                trust_bot: vec!["clara".to_owned()],
                plan: Some(7),
                ..SyncTask::manual(Job::SyncSubscriptionsFromMarzban, "de-1", false)
            },
        ] {
            let bytes = serde_json::to_vec(&task).unwrap();
            assert_eq!(serde_json::from_slice::<SyncTask>(&bytes).unwrap(), task);
        }
    }

    #[test]
    fn any_json_is_a_task_and_nothing_unclear_allows_mass_changes() {
        let known = SyncTask::manual(Job::GetMarzbanSystemStats, DEFAULT_PANEL, false);
        for older_or_newer in [
            json!({"job": "get_marzban_system_stats"}),
            json!({"job": "get_marzban_system_stats", "panel": null, "tick": 5, "color": "red"}),
            json!({"job": "get_marzban_system_stats", "allow_mass_changes": "true"}),
            json!({"job": "get_marzban_system_stats", "allow_mass_changes": true, "plan": "7"}),
            json!({"job": "get_marzban_system_stats", "trust_panel": ["anna"], "plan": "7"}),
            json!({"job": "get_marzban_system_stats", "trust_panel": true, "trust_bot": "anna"}),
            json!({"job": "get_marzban_system_stats", "trust_panel": ["anna", 7], "trust_bot": [""]}),
        ] {
            assert_eq!(SyncTask::from(older_or_newer), known);
        }
        for no_task in [
            json!(null),
            json!([]),
            json!("sync"),
            json!({"job": 4}),
            json!({"job": "reboot"}),
        ] {
            assert_eq!(SyncTask::from(no_task).known_job(), None);
        }
    }

    #[test]
    fn a_key_names_job_panel_and_tick_and_can_be_read_again() {
        let key = SyncTask::scheduled("de-1", monday()).idempotency_key().unwrap();
        assert_eq!(key, "cleanup_expired_marzban_users:de-1:2025-09-15T01:00:00Z");
        assert_eq!(parse_key(&key), Some((monday().job, "de-1", monday().at)));
        assert_eq!(
            SyncTask::manual(monday().job, "de-1", false).idempotency_key(),
            None
        );
        for no_key in [
            "",
            "a:b",
            "reboot:de-1:2025-09-15T01:00:00Z",
            "get_marzban_system_stats:de:soon",
        ] {
            assert_eq!(parse_key(no_key), None, "{no_key}");
        }
    }
}
