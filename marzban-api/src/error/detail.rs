//! The panel's explanation of a rejected request.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// The maximum length of a panel's `detail` in a message, in characters.
const MAX_DETAIL_CHARS: usize = 200;

/// The panel's explanation of a rejected request.
///
/// It is a string, or for an invalid request an object of field names and messages (the panel replaces the
/// framework's list of errors).
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// use marzban_api::Detail;
///
/// if let Err(error) = client.users().get("alice").await {
///     match error.detail() {
///         Some(Detail::Message(message)) => println!("rejected: {message}"),
///         Some(Detail::Fields(fields)) => println!("not accepted: {fields:?}"),
///         Some(Detail::Other(_)) | None => println!("{error}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Detail {
    /// One message, such as `User already exists`.
    Message(String),
    /// A message per rejected field. The name is the last part of the field's path only.
    Fields(BTreeMap<String, String>),
    /// Any other value, as received.
    Other(serde_json::Value),
}

impl fmt::Display for Detail {
    /// Writes the detail on one line, escaped and shortened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => shown(f, message),
            Self::Fields(fields) => {
                let text: Vec<_> = fields
                    .iter()
                    .map(|(field, message)| format!("{field}: {message}"))
                    .collect();
                shown(f, &text.join(", "))
            }
            Self::Other(value) => shown(f, &value.to_string()),
        }
    }
}

fn shown(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    match text.char_indices().nth(MAX_DETAIL_CHARS) {
        Some((end, _)) => write!(f, "{}…", text.get(..end).unwrap_or_default().escape_debug()),
        None => write!(f, "{}", text.escape_debug()),
    }
}
