use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many letters, digits and underscores a name begins with.
const BEGINNING: std::ops::RangeInclusive<usize> = 3..=32;

/// A name that the panel accepts for a new user.
///
/// It consists of ASCII letters, digits and `_@.-`, and it begins with 3 to 32 letters, digits and underscores.
/// What follows the first of `@.-` may be of any length, so `a.b` is no name and `abc-` with sixty more letters is one.
/// Upper and lower case are kept: whether two names that differ in it alone are one depends on the panel's database.
///
/// The panel also takes one line feed at the end of a name, which nobody can mean; this type does not.
/// Operations on existing users take any text, so that such a name can be read and deleted.
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

/// Why a text is no name for a new user.
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
    /// It contains a character that no name may contain.
    #[error("a name consists of ASCII letters, digits, `_`, `@`, `.` and `-`, not of {character:?}")]
    Character {
        /// The first such character.
        character: char,
    },
    /// Its first `@`, `.` or `-`, or its end, comes too early or too late.
    #[error("a name begins with 3 to 32 letters, digits and underscores, not with {length}")]
    Beginning {
        /// How many letters, digits and underscores it begins with.
        length: usize,
    },
}

impl Username {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`UsernameError`] when the panel would not accept it.
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

    /// The name as text.
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
