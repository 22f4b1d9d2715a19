//! What the page shows, and its address.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// The page's own address.
pub(crate) const PATH: &str = "/marzban";

/// How far the charts look back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Range {
    #[default]
    Day,
    Week,
    Month,
}

impl Range {
    pub(crate) const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Month => "30 days",
        }
    }

    pub(crate) fn length(self) -> TimeDelta {
        match self {
            Self::Day => TimeDelta::hours(24),
            Self::Week => TimeDelta::days(7),
            Self::Month => TimeDelta::days(30),
        }
    }

    /// Returns the time that one point of a chart stands for.
    pub(crate) fn resolution(self) -> TimeDelta {
        match self {
            Self::Day => TimeDelta::minutes(15),
            Self::Week => TimeDelta::hours(1),
            Self::Month => TimeDelta::hours(4),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.as_str() == text)
    }
}

/// The query of the page's address; values that make no sense are ignored.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Shown {
    pub(super) panel: Option<String>,
    pub(super) range: Option<String>,
    pub(super) live: Option<String>,
    pub(super) task: Option<String>,
    pub(super) notice: Option<String>,
}

/// Which charts are shown, and whether the page reloads itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The charted panel; by default the first one.
    pub(crate) panel: Option<String>,
    pub(crate) range: Range,
    /// Whether the page reloads itself.
    pub(crate) is_live: bool,
}

/// What became of the form that was sent last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// How this task stands.
    Task(String),
    /// The box was not ticked.
    Unconfirmed,
    /// No account was ticked.
    NobodyTicked,
    /// The plan has changed, or none waits any more.
    PlanChanged,
}

impl Shown {
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            panel: self.panel.clone().filter(|panel| !panel.is_empty()),
            range: self.range.as_deref().and_then(Range::parse).unwrap_or_default(),
            is_live: self.live.as_deref() == Some("1"),
        }
    }

    pub(crate) fn asking(&self) -> Option<Asking> {
        if let Some(task) = self.task.clone().filter(|task| !task.is_empty()) {
            return Some(Asking::Task(task));
        }
        match self.notice.as_deref() {
            Some("unconfirmed") => Some(Asking::Unconfirmed),
            Some("nobody") => Some(Asking::NobodyTicked),
            Some("changed") => Some(Asking::PlanChanged),
            _ => None,
        }
    }
}

impl Selection {
    pub(crate) fn with_range(&self, range: Range) -> Self {
        Self {
            range,
            ..self.clone()
        }
    }

    pub(crate) fn with_live(&self, is_live: bool) -> Self {
        Self {
            is_live,
            ..self.clone()
        }
    }

    /// Returns the address that shows this.
    pub(crate) fn address(&self, asking: Option<&Asking>) -> String {
        let notice = match asking {
            Some(Asking::Unconfirmed) => Some("unconfirmed"),
            Some(Asking::NobodyTicked) => Some("nobody"),
            Some(Asking::PlanChanged) => Some("changed"),
            Some(Asking::Task(_)) | None => None,
        };
        let shown = Shown {
            panel: self.panel.clone(),
            range: Some(self.range.as_str().to_owned()),
            live: self.is_live.then(|| "1".to_owned()),
            task: asking.and_then(Asking::task).map(str::to_owned),
            notice: notice.map(str::to_owned),
        };
        // Plain text always serialises.
        format!("{PATH}?{}", serde_html_form::to_string(shown).unwrap_or_default())
    }
}

impl Asking {
    /// The task that was asked for.
    pub(crate) fn task(&self) -> Option<&str> {
        match self {
            Self::Task(id) => Some(id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_all_that_was_asked_for() {
        let selection = Selection {
            panel: Some("a&b=\"<c>".to_owned()),
            range: Range::Week,
            is_live: true,
        };
        let asking = Asking::Task("01J".to_owned());
        assert_eq!(
            selection.address(Some(&asking)),
            "/marzban?panel=a%26b%3D%22%3Cc%3E&range=7d&live=1&task=01J"
        );
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let shown = Shown {
            panel: Some(String::new()),
            range: Some("1y".to_owned()),
            live: Some("yes".to_owned()),
            task: None,
            notice: Some("<b>".to_owned()),
        };
        assert_eq!(shown.selection(), Selection::default());
        assert_eq!(shown.asking(), None);
    }
}
