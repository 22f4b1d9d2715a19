//! What a form of the page asks for.

use url::form_urlencoded;

/// Which side somebody called right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// The panel: its end goes into the row.
    Panel,
    /// The bot: its end counts.
    Bot,
}

/// A run that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) token: String,
    pub(crate) job: String,
    /// The panel that it is for.
    pub(crate) panel: String,
    /// The run whose plan was looked at.
    pub(crate) plan: Option<i64>,
    /// Whether that was confirmed.
    pub(crate) is_confirmed: bool,
    /// Which side is right for the accounts that are ticked; without it the plan as a whole is to be applied.
    pub(crate) right: Option<Right>,
    /// The names of the accounts that are ticked.
    pub(crate) names: Vec<String>,
    /// The panel whose charts were shown.
    pub(crate) shown: Option<String>,
    pub(crate) range: Option<String>,
    pub(crate) live: Option<String>,
}

impl Order {
    /// What the form says; none when it is none of the page's. Fields that this version does not know are passed over.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut order = Self::default();
        let (mut token, mut job, mut panel) = (None, None, None);
        for (name, value) in form_urlencoded::parse(body) {
            let value = value.into_owned();
            match name.as_ref() {
                "token" => token = Some(value),
                "job" => job = Some(value),
                "for" => panel = Some(value),
                "apply" => order.plan = Some(value.parse().ok()?),
                "confirm" => order.is_confirmed = true,
                "right" => order.right = Some(side(&value)?),
                "name" => order.names.push(value),
                "panel" => order.shown = Some(value),
                "range" => order.range = Some(value),
                "live" => order.live = Some(value),
                _ => {}
            }
        }
        Some(Self {
            token: token?,
            job: job?,
            panel: panel?,
            ..order
        })
    }
}

fn side(value: &str) -> Option<Right> {
    match value {
        "panel" => Some(Right::Panel),
        "bot" => Some(Right::Bot),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_may_tick_several_accounts() {
        let body = b"token=t&job=j&for=de&apply=7&name=anna&name=b%26c&right=bot&confirm=1&panel=nl&new=x";
        let expected = Order {
            token: "t".to_owned(),
            job: "j".to_owned(),
            panel: "de".to_owned(),
            plan: Some(7),
            is_confirmed: true,
            right: Some(Right::Bot),
            names: vec!["anna".to_owned(), "b&c".to_owned()],
            shown: Some("nl".to_owned()),
            ..Order::default()
        };
        assert_eq!(Order::parse(body), Some(expected));
    }

    #[test]
    fn what_is_none_of_the_forms_is_refused() {
        for body in [
            "",
            "token=t&job=j",
            "job=j&for=de",
            "token=t&job=j&for=de&apply=last",
            "token=t&job=j&for=de&right=both",
        ] {
            assert_eq!(Order::parse(body.as_bytes()), None, "{body}");
        }
    }
}
