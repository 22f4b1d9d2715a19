//! The forms of the page.

use serde::Deserialize;

use super::selection::Shown;

/// Which side the operator called right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Right {
    /// The panel: its end goes into the row.
    Panel,
    /// The bot: its end counts.
    Bot,
}

/// A run that is asked for. Fields that this version does not know are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Order {
    pub(crate) job: String,
    /// The panel that it is for.
    #[serde(rename = "for")]
    pub(crate) panel: String,
    /// The run whose plan was looked at.
    #[serde(rename = "apply")]
    pub(crate) plan: Option<i64>,
    confirm: Option<String>,
    /// Which side is right for the accounts that are ticked; without it the plan as a whole is to be applied.
    pub(crate) right: Option<Right>,
    /// The names of the accounts that are ticked.
    #[serde(rename = "name", default)]
    pub(crate) names: Vec<String>,
    /// The panel whose charts were shown.
    #[serde(rename = "panel")]
    shown: Option<String>,
    range: Option<String>,
    live: Option<String>,
}

impl Order {
    /// Parses a form; none when it is not one of the page's.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_html_form::from_bytes(body).ok()
    }

    /// Whether the box was ticked.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirm.is_some()
    }

    /// What the page showed when the form was sent.
    pub(crate) fn shown(&self) -> Shown {
        Shown {
            panel: self.shown.clone(),
            range: self.range.clone(),
            live: self.live.clone(),
            ..Shown::default()
        }
    }

    #[cfg(test)]
    pub(crate) fn ticking(names: &[&str], is_confirmed: bool) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            confirm: is_confirmed.then(String::new),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_may_tick_several_accounts() {
        let body = b"job=j&for=de&apply=7&name=anna&name=b%26c&right=bot&confirm=1&panel=nl&new=x";
        let expected = Order {
            job: "j".to_owned(),
            panel: "de".to_owned(),
            plan: Some(7),
            right: Some(Right::Bot),
            confirm: Some("1".to_owned()),
            shown: Some("nl".to_owned()),
            ..Order::ticking(&["anna", "b&c"], true)
        };
        assert_eq!(Order::parse(body), Some(expected));
    }

    #[test]
    fn what_is_none_of_the_forms_is_refused() {
        for body in [
            "",
            "job=j",
            "for=de",
            "job=j&for=de&apply=last",
            "job=j&for=de&right=both",
        ] {
            assert_eq!(Order::parse(body.as_bytes()), None, "{body}");
        }
    }
}
