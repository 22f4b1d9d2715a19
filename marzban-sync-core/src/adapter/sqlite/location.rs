//! Where a database is.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use crate::port::error::{StoreError, StoreErrorKind};

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// In the memory of this process.
    Memory,
    /// In a file.
    File(PathBuf),
}

impl Location {
    /// Reads `sqlite://path`, `sqlite:path`, a path alone, and each of them with `:memory:` for the path.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let invalid = |message: &str| Err(StoreError::new(StoreErrorKind::Invalid, message));
        let rest = url
            .strip_prefix("sqlite:")
            .map(|rest| rest.strip_prefix("//").unwrap_or(rest));
        let path = match rest {
            Some(rest) if rest.contains('?') => {
                return invalid(
                    "the address of an SQLite database takes no options: leave out the `?` and what follows",
                );
            }
            Some(rest) => rest,
            // The address itself is not repeated: that of another database may hold a password.
            None if url.contains("://") => {
                return invalid("this is not the address of an SQLite database, which is `sqlite://path`");
            }
            None => url,
        };
        match path {
            "" => invalid("the address of the SQLite database has no path: it is `sqlite://path`"),
            _ if path.contains('\0') => invalid("the path of the SQLite database holds a null character"),
            ":memory:" => Ok(Self::Memory),
            _ => Ok(Self::File(PathBuf::from(path))),
        }
    }

    /// As SQLite opens it, without ever making a missing file.
    pub(super) fn to_uri(&self) -> String {
        let Self::File(path) = self else {
            return ":memory:".to_owned();
        };
        let path = path
            .display()
            .to_string()
            .replace('%', "%25")
            .replace('?', "%3f")
            .replace('#', "%23");
        // The empty authority keeps a path that begins with `//` from being taken for a host.
        let authority = if path.starts_with('/') { "//" } else { "" };
        format!("file:{authority}{path}?mode=rw")
    }
}

/// Makes an empty file, which is an empty database, unless there is a file already.
pub(super) fn create_file(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().append(true).create(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::new(
            StoreErrorKind::Unavailable,
            format!("cannot create the database {}", path.display()),
        )
        .with_source(error)),
    }
}
