//! Values to be written, as types that cannot hold what the panel would mishandle.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

/// The last second of the year 9999. The panel stores later instants, but then cannot render the user or any list
/// that contains it.
const LAST_SECOND: i64 = 253_402_300_799;

/// The maximum length of a note, in characters.
const LONGEST_NOTE: usize = 500;

/// The maximum on-hold duration, in seconds: 68 years, which is what the databases behind the panel can store.
const LONGEST_HOLD: u32 = i32::MAX.unsigned_abs();

/// An instant that the panel can store and render: after 1970-01-01T00:00:00Z, up to the year 9999, in whole seconds.
///
/// The panel takes 0 for "never". It also accepts an instant in milliseconds, and then can render neither the user
/// nor any list that contains it. Neither value can be constructed.
///
/// # Examples
///
/// ```
/// use marzban_api::model::Timestamp;
///
/// let time = Timestamp::from_timestamp(1_757_894_400)?;
/// assert_eq!(time.to_utc().to_rfc3339(), "2025-09-15T00:00:00+00:00");
/// assert_eq!(Timestamp::new(time.to_utc())?.timestamp(), 1_757_894_400);
/// // Milliseconds: the panel would break on a year beyond 9999.
/// assert!(Timestamp::from_timestamp(1_757_894_400_000).is_err());
/// # Ok::<(), marzban_api::model::TimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

/// Why an instant cannot be written to the panel.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Timestamp, TimestampError};
///
/// assert_eq!(Timestamp::from_timestamp(0), Err(TimestampError::TooEarly { seconds: 0 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// The instant is not after 1970-01-01T00:00:00Z.
    #[error("{seconds} s is not after 1970-01-01")]
    TooEarly {
        /// Seconds since 1970-01-01T00:00:00Z.
        seconds: i64,
    },
    /// The instant is after the year 9999.
    #[error("{seconds} s is after the year 9999; perhaps these are milliseconds")]
    TooLate {
        /// Seconds since 1970-01-01T00:00:00Z.
        seconds: i64,
    },
}

/// When a user's access ends.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Expiry, Timestamp};
///
/// let end = Expiry::at("2025-09-15T00:00:00.5Z".parse().expect("a time"))?;
/// assert_eq!(end, Expiry::At(Timestamp::from_timestamp(1_757_894_400)?));
/// assert_ne!(end, Expiry::Never);
/// # Ok::<(), marzban_api::model::TimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// No expiry.
    #[default]
    Never,
    /// Access ends at this instant.
    At(Timestamp),
}

/// How much traffic a user may use.
///
/// # Examples
///
/// ```
/// use marzban_api::model::DataLimit;
///
/// assert_eq!(DataLimit::from_bytes(50 << 30).bytes(), Some(53_687_091_200));
/// // Nothing is no limit.
/// assert_eq!(DataLimit::from_bytes(0).bytes(), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DataLimit {
    /// No limit.
    #[default]
    Unlimited,
    /// This many bytes. Sending a limit that the panel cannot store, 2⁶³ or more, fails.
    Bytes(NonZeroU64),
}

/// The admins' note about a user: 1 to 500 characters.
///
/// # Examples
///
/// ```
/// use marzban_api::model::Note;
///
/// assert_eq!(Note::new("paid in cash")?.as_str(), "paid in cash");
/// # Ok::<(), marzban_api::model::NoteError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note(String);

/// Why a text is not a valid note.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Note, NoteError};
///
/// assert_eq!(Note::new(""), Err(NoteError::Empty));
/// assert_eq!(Note::new("x".repeat(501)), Err(NoteError::TooLong { length: 501 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The text is empty. Omit the note, or clear an existing one.
    #[error("a note must not be empty")]
    Empty,
    /// The text is too long.
    #[error("a note must have at most 500 characters, not {length}")]
    TooLong {
        /// The length, in characters.
        length: usize,
    },
}

/// The settings of an on-hold user, whose time starts with its first connection.
///
/// The panel accepts the status only together with a duration.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use marzban_api::model::{OnHold, Timestamp};
///
/// // 30 days from the first connection on, or from 2030-01-01 on.
/// let latest = Timestamp::from_timestamp(1_893_456_000)?;
/// let month = OnHold::new(Duration::from_secs(30 * 86_400))?.until(latest);
/// assert_eq!(month.duration().as_secs(), 2_592_000);
/// assert_eq!(month.timeout(), Some(latest));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OnHold {
    seconds: u32,
    timeout: Option<Timestamp>,
}

/// Why a duration is not valid for an on-hold user.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use marzban_api::model::{OnHold, OnHoldError};
///
/// assert_eq!(OnHold::new(Duration::from_millis(999)), Err(OnHoldError::TooShort));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnHoldError {
    /// The duration is shorter than a second.
    #[error("an on-hold duration must be at least 1 s")]
    TooShort,
    /// The duration is longer than 68 years.
    #[error("an on-hold duration must be at most 68 years, not {seconds} s")]
    TooLong {
        /// The duration, in seconds.
        seconds: u64,
    },
}

impl Timestamp {
    /// Converts an instant, truncating a fraction of a second.
    ///
    /// # Errors
    ///
    /// [`TimestampError`] if the panel cannot store or render the instant.
    pub fn new(instant: DateTime<Utc>) -> Result<Self, TimestampError> {
        Self::from_timestamp(instant.timestamp())
    }

    /// Converts seconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    ///
    /// [`TimestampError`] if the panel cannot store or render the instant.
    pub fn from_timestamp(seconds: i64) -> Result<Self, TimestampError> {
        if seconds <= 0 {
            return Err(TimestampError::TooEarly { seconds });
        }
        DateTime::from_timestamp(seconds, 0)
            .filter(|_| seconds <= LAST_SECOND)
            .map(Self)
            .ok_or(TimestampError::TooLate { seconds })
    }

    /// Returns the instant.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        self.0
    }

    /// Returns the seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn timestamp(self) -> i64 {
        self.0.timestamp()
    }

    /// Formats the instant like the panel's other instants: in UTC without an offset, because the panel ignores one.
    pub(super) fn naive(self) -> String {
        self.0.format("%Y-%m-%dT%H:%M:%S").to_string()
    }
}

impl TryFrom<DateTime<Utc>> for Timestamp {
    type Error = TimestampError;

    fn try_from(instant: DateTime<Utc>) -> Result<Self, Self::Error> {
        Self::new(instant)
    }
}

impl Expiry {
    /// Converts an instant, truncating a fraction of a second.
    ///
    /// # Errors
    ///
    /// [`TimestampError`] if the panel cannot store or render the instant.
    pub fn at(instant: DateTime<Utc>) -> Result<Self, TimestampError> {
        Timestamp::new(instant).map(Self::At)
    }

    pub(super) fn instant(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Never => None,
            Self::At(time) => Some(time.to_utc()),
        }
    }
}

impl From<Timestamp> for Expiry {
    fn from(time: Timestamp) -> Self {
        Self::At(time)
    }
}

impl Serialize for Expiry {
    /// Seconds since 1970-01-01T00:00:00Z, or 0 for "never".
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(match self {
            Self::Never => 0,
            Self::At(time) => time.timestamp(),
        })
    }
}

impl DataLimit {
    /// Converts a number of bytes, where 0 means no limit.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Self {
        NonZeroU64::new(bytes).map_or(Self::Unlimited, Self::Bytes)
    }

    /// Returns the bytes, or `None` without a limit.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Bytes(bytes) => Some(bytes.get()),
        }
    }
}

impl From<NonZeroU64> for DataLimit {
    fn from(bytes: NonZeroU64) -> Self {
        Self::Bytes(bytes)
    }
}

impl Serialize for DataLimit {
    /// Bytes, or 0 for "unlimited".
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.bytes().unwrap_or_default();
        match i64::try_from(bytes) {
            Ok(bytes) => serializer.serialize_i64(bytes),
            Err(_) => Err(S::Error::custom(format_args!(
                "the panel cannot store a limit of {bytes} bytes"
            ))),
        }
    }
}

impl Note {
    /// Validates a note.
    ///
    /// # Errors
    ///
    /// [`NoteError`] if the text is empty or longer than the panel accepts.
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        match text.chars().count() {
            0 => Err(NoteError::Empty),
            length if length > LONGEST_NOTE => Err(NoteError::TooLong { length }),
            _ => Ok(Self(text)),
        }
    }

    /// Returns the note as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl OnHold {
    /// Sets the duration of access from the first connection on, truncating a fraction of a second.
    ///
    /// # Errors
    ///
    /// [`OnHoldError`] if the duration is shorter than a second or longer than 68 years.
    pub fn new(duration: Duration) -> Result<Self, OnHoldError> {
        let seconds = duration.as_secs();
        if seconds == 0 {
            return Err(OnHoldError::TooShort);
        }
        u32::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds <= LONGEST_HOLD)
            .map(|seconds| Self {
                seconds,
                timeout: None,
            })
            .ok_or(OnHoldError::TooLong { seconds })
    }

    /// Sets the instant at which the time starts even without a connection.
    #[must_use]
    pub fn until(self, timeout: Timestamp) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// Returns the duration of access.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// Returns the instant at which the time starts without a connection, if any.
    #[must_use]
    pub fn timeout(self) -> Option<Timestamp> {
        self.timeout
    }

    pub(super) fn seconds(self) -> u32 {
        self.seconds
    }
}
