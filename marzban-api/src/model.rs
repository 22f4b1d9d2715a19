//! Types of the panel's API. Plain data, without requests.
//!
//! The types tolerate differences between panels: what an older or newer panel omits is optional, unknown fields are
//! ignored, and unknown words are kept.
//!
//! [`NewUser`] and [`UserUpdate`] have examples of writing.

use std::fmt;
use std::marker::PhantomData;

macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
        #[serde(into = "String")]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
            /// A word that this version does not know, as the panel sent it.
            Unknown(String),
        }

        impl $name {
            /// Returns the panel's word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $word, )+
                    Self::Unknown(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $( $word => Self::$variant, )+
                    unknown => Self::Unknown(unknown.to_owned()),
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                Self::from(word.as_str())
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.as_str().to_owned()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(crate::model::StrVisitor(std::marker::PhantomData))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// Converts a string to a value, without copying a word that is known.
struct StrVisitor<T>(PhantomData<T>);

impl<T: for<'a> From<&'a str>> serde::de::Visitor<'_> for StrVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<T, E> {
        Ok(T::from(word))
    }
}

mod admin;
mod admin_update;
mod core;
mod inbound;
mod input;
mod new_user;
mod node;
mod proxy;
mod subscription;
mod system;
mod template;
mod time;
mod usage;
mod user;
mod user_summary;
mod user_update;
mod username;

pub use self::core::CoreStats;
pub use admin::Admin;
pub use admin_update::{AdminUpdate, NewAdmin};
pub use inbound::{Host, HostAlpn, HostFingerprint, HostSecurity, Inbound, InboundPort};
pub use input::{DataLimit, Expiry, Note, NoteError, OnHold, OnHoldError, Timestamp, TimestampError};
pub use new_user::{InitialStatus, NewNextPlan, NewUser};
pub use node::{NewNode, Node, NodeSettings, NodeStatus, NodeUpdate};
pub use proxy::{Flow, Proxies, Proxy, Shadowsocks, ShadowsocksMethod, Trojan, UnknownProxy, Vless, Vmess};
pub use subscription::{ClientType, SubscriptionContent, SubscriptionInfo};
pub use system::SystemStats;
pub use template::{NewUserTemplate, UserTemplate, UserTemplateUpdate};
pub use usage::{NodeUsage, UsageRange, UserUsage};
pub use user::{NextPlan, ResetStrategy, UnreadableUser, User, UserStatus};
pub use user_summary::UserSummary;
pub use user_update::{Patch, SetStatus, UserUpdate};
pub use username::{Username, UsernameError};

/// Deserializes `null` as the default, like a missing field.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}

/// Deserializes a limit, for which 0 means none.
fn limit<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(<Option<u64> as serde::Deserialize>::deserialize(deserializer)?.filter(|limit| *limit != 0))
}
