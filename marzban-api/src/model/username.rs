use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many letters, digits and underscores a username starts with.
const BEGINNING: std::ops::RangeInclusive<usize> = 3..=32;

/// A username that the panel accepts for a new user.
///
/// It consists of ASCII letters, digits and `_@.-`, and starts with 3 to 32 letters, digits and underscores. What
/// follows the first of `@.-` may have any length, so `a.b` is not valid and `abc-` followed by sixty letters is.
/// Case is preserved; whether two usernames that differ only in case are the same depends on the panel's database.
///
/// The panel also accepts a line feed at the end of a username; this type does not. Operations on existing users
/// accept any text, so that users with such names can be read and deleted.
///
/// # Examples
///
/// ```
/// use marzban_api::model::Username;
///
/// assert_eq!(Username::new("alice_1")?.as_str(), "alice_1");
/// assert!(Username::new("../admins").is_err());
/// # Ok::<(), marzban_api::model::UsernameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

/// Why a text is not a valid username for a new user.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Username, UsernameError};
///
/// assert_eq!(Username::new("a b"), Err(UsernameError::Character { character: ' ' }));
/// assert_eq!(Username::new("a.b"), Err(UsernameError::Beginning { length: 1 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsernameError {
    /// It contains a character that is not allowed.
    #[error("a username consists of ASCII letters, digits, `_`, `@`, `.` and `-`, not of {character:?}")]
    Character {
        /// The first such character.
        character: char,
    },
    /// Its first `@`, `.` or `-`, or its end, comes too early or too late.
    #[error("a username starts with 3 to 32 letters, digits and underscores, not with {length}")]
    Beginning {
        /// How many letters, digits and underscores it starts with.
        length: usize,
    },
}

impl Username {
    /// Validates a username.
    ///
    /// # Errors
    ///
    /// [`UsernameError`] if the panel would not accept it.
    pub fn new(name: impl Into<String>) -> Result<Self, UsernameError> {
        let name = name.into();
        let strange = |character: &char| !is_word(*character) && !matches!(character, '@' | '.' | '-');
        if let Some(character) = name.chars().find(strange) {
            return Err(UsernameError::Character { character });
        }
        let length = name.chars().take_while(|character| is_word(*character)).count();
        if !BEGINNING.contains(&length) {
            return Err(UsernameError::Beginning { length });
        }
        Ok(Self(name))
    }

    /// Returns the username as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Username {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = UsernameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<&str> for Username {
    type Error = UsernameError;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl TryFrom<String> for Username {
    type Error = UsernameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<Username> for String {
    fn from(name: Username) -> Self {
        name.0
    }
}
