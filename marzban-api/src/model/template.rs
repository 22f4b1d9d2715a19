use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::input::DataLimit;
use super::{limit, null_as_default};

/// A template for new users. The panel only stores it and never applies it to users.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// for template in client.templates().list().await? {
///     println!("{:?}: {:?} bytes for {:?} s", template.name, template.data_limit, template.expire_duration);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UserTemplate {
    /// The id, assigned by the panel.
    pub id: i64,
    /// The name.
    #[serde(default)]
    pub name: Option<String>,
    /// The data limit, in bytes; `None` if there is none.
    #[serde(default, deserialize_with = "limit")]
    pub data_limit: Option<u64>,
    /// The duration of access, in seconds; `None` if it does not end.
    #[serde(default, deserialize_with = "limit")]
    pub expire_duration: Option<u64>,
    /// The prefix of usernames.
    #[serde(default)]
    pub username_prefix: Option<String>,
    /// The suffix of usernames.
    #[serde(default)]
    pub username_suffix: Option<String>,
    /// The inbounds per protocol.
    #[serde(default, deserialize_with = "null_as_default")]
    pub inbounds: BTreeMap<String, Vec<String>>,
}

/// The settings of a new template.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use marzban_api::model::{DataLimit, NewUserTemplate};
///
/// let template = NewUserTemplate::new("a month")
///     .data_limit(DataLimit::from_bytes(50 << 30))
///     .expire_duration(Duration::from_secs(30 * 86_400))
///     .username_prefix("m_")
///     .username_suffix("_x")
///     .inbounds("vless", ["VLESS TCP REALITY"]);
/// let json = serde_json::to_value(&template).expect("JSON");
/// assert_eq!(json["expire_duration"], 2_592_000);
/// assert_eq!(json["inbounds"]["vless"][0], "VLESS TCP REALITY");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
#[must_use]
pub struct NewUserTemplate(Settings);

/// An update of a template. Fields that are not set keep their values. Only the data limit and the duration can be
/// removed.
///
/// The panel stores the inbounds of all protocols as one list: if you set those of one protocol, set the others too.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use marzban_api::model::{DataLimit, UserTemplateUpdate};
///
/// let update = UserTemplateUpdate::new()
///     .name("for ever")
///     .data_limit(DataLimit::Unlimited)
///     .expire_duration(Duration::ZERO)
///     .username_prefix("f_")
///     .username_suffix("_x")
///     .inbounds("vless", ["VLESS TCP REALITY"]);
/// let json = serde_json::to_value(&update).expect("JSON");
/// assert_eq!((&json["data_limit"], &json["expire_duration"]), (&0.into(), &0.into()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
#[must_use]
pub struct UserTemplateUpdate(Settings);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_limit: Option<DataLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username_suffix: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    inbounds: BTreeMap<String, Vec<String>>,
}

impl NewUserTemplate {
    /// Creates a template with this name, without data limit, duration and inbounds. The panel answers "already
    /// exists" to a template without a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Settings {
            name: Some(name.into()),
            ..Settings::default()
        })
    }
}

impl UserTemplateUpdate {
    /// Starts an update that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a new name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.0.name = Some(name.into());
        self
    }
}

/// The settings that both types have.
macro_rules! settings {
    ($($template:ident),+) => {$(
        impl $template {
            /// Sets the data limit.
            pub fn data_limit(mut self, data_limit: impl Into<DataLimit>) -> Self {
                self.0.data_limit = Some(data_limit.into());
                self
            }

            /// Sets the duration of access, in whole seconds; zero for access that does not end.
            pub fn expire_duration(mut self, duration: Duration) -> Self {
                self.0.expire_duration = Some(duration.as_secs());
                self
            }

            /// Sets the prefix of usernames: 1 to 20 characters.
            pub fn username_prefix(mut self, prefix: impl Into<String>) -> Self {
                self.0.username_prefix = Some(prefix.into());
                self
            }

            /// Sets the suffix of usernames: 1 to 20 characters.
            pub fn username_suffix(mut self, suffix: impl Into<String>) -> Self {
                self.0.username_suffix = Some(suffix.into());
                self
            }

            /// Sets the inbounds of `protocol`. The panel ignores unknown tags.
            pub fn inbounds<S: Into<String>>(
                mut self,
                protocol: &str,
                tags: impl IntoIterator<Item = S>,
            ) -> Self {
                let tags = tags.into_iter().map(Into::into).collect();
                self.0.inbounds.insert(protocol.to_owned(), tags);
                self
            }
        }
    )+};
}

settings!(NewUserTemplate, UserTemplateUpdate);
