//! What a fault happens to.

use std::fmt;

use chrono::TimeDelta;
use marzban_sync_core::policy::{CleanupAction, PanelBehind, Policy};
use marzban_sync_core::report::Job;

/// A run of a job, or the undoing of a sync's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    Job(Job),
    Undo,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(job) => job.fmt(f),
            Self::Undo => f.write_str("undo"),
        }
    }
}

/// By which policy a run decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    Usual,
    /// Panel users that are behind are extended at once.
    Extending,
    /// A cleanup disables.
    Disabling,
}

impl Rules {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Extending => "extending",
            Self::Disabling => "disabling",
        }
    }

    pub(super) fn policy(self) -> Policy {
        let mut policy = Policy::default();
        match self {
            Self::Usual => {}
            Self::Extending => {
                policy.panel_behind = PanelBehind::Extend;
                policy.extend_after = TimeDelta::zero();
            }
            Self::Disabling => policy.cleanup = CleanupAction::Disable,
        }
        policy
    }
}
