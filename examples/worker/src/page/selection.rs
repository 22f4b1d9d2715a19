//! What of the page was asked for, and its address.

use chrono::TimeDelta;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

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

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.as_str() == text)
    }
}

/// The query of the page, and the part of a form that says where it stood; what makes no sense is passed over.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Asked {
    panel: Option<String>,
    range: Option<String>,
    live: Option<String>,
    task: Option<String>,
    notice: Option<String>,
}

/// Which charts are shown, and whether the page renews itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Whose charts; the first panel's unless one is named.
    pub(crate) panel: Option<String>,
    pub(crate) range: Range,
    /// Whether the browser asks again by itself.
    pub(crate) is_live: bool,
}

/// What the page has to say of the form that was sent last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// How this task stands.
    Task(String),
    /// The box was not ticked.
    Unconfirmed,
    /// No account was ticked.
    NobodyTicked,
    /// The plan is another one by now, or none.
    PlanChanged,
}

impl Asked {
    /// Where the page stood when a form was sent.
    pub(crate) fn of(panel: Option<String>, range: Option<String>, live: Option<String>) -> Self {
        Self {
            panel,
            range,
            live,
            ..Self::default()
        }
    }

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

    /// The address that shows this.
    pub(crate) fn address(&self, asking: Option<&Asking>) -> String {
        let mut query = Serializer::new(String::new());
        if let Some(panel) = &self.panel {
            query.append_pair("panel", panel);
        }
        query.append_pair("range", self.range.as_str());
        if self.is_live {
            query.append_pair("live", "1");
        }
        match asking {
            Some(Asking::Task(task)) => query.append_pair("task", task),
            Some(Asking::Unconfirmed) => query.append_pair("notice", "unconfirmed"),
            Some(Asking::NobodyTicked) => query.append_pair("notice", "nobody"),
            Some(Asking::PlanChanged) => query.append_pair("notice", "changed"),
            None => &mut query,
        };
        format!("{PATH}?{}", query.finish())
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
        let asked = Asked {
            panel: Some(String::new()),
            range: Some("1y".to_owned()),
            live: Some("yes".to_owned()),
            task: None,
            notice: Some("<b>".to_owned()),
        };
        assert_eq!(asked.selection(), Selection::default());
        assert_eq!(asked.asking(), None);
    }
}
