//! The numbers Towline speaks of. Each is its own type, so that an offset is
//! never passed where a size is meant, and each fits SQLite's signed 64-bit
//! integer, so that no number legal on the wire overflows the catalog.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The number was larger than 2^63 − 1, or zero where an id must be positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{value} is out of range for {what}")]
pub struct OutOfRange {
    what: &'static str,
    value: u64,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $what:literal, $min:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name(u64);

        impl $name {
            /// The smallest legal value.
            pub const MIN: Self = Self($min);

            /// The largest legal value.
            pub const MAX: Self = Self(i64::MAX.cast_unsigned());

            /// The plain number, for arithmetic and for storage.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The number as the catalog stores it.
            #[must_use]
            pub const fn to_i64(self) -> i64 {
                self.0.cast_signed()
            }

            /// Reads the number back from the catalog.
            ///
            /// # Errors
            /// Where the stored number is negative or too small.
            pub fn from_i64(value: i64) -> Result<Self, OutOfRange> {
                Self::try_from(value.cast_unsigned())
            }
        }

        impl TryFrom<u64> for $name {
            type Error = OutOfRange;

            fn try_from(value: u64) -> Result<Self, OutOfRange> {
                if !($min..=i64::MAX.cast_unsigned()).contains(&value) {
                    return Err(OutOfRange { what: $what, value });
                }
                Ok(Self(value))
            }
        }

        impl From<$name> for u64 {
            fn from(number: $name) -> u64 {
                number.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                // Digits alone: the standard library takes a plus sign too.
                let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
                let value = text.parse::<u64>().ok().filter(|_| is_plain);
                let value = value.ok_or_else(|| format!("'{text}' is not {}", $what))?;
                Self::try_from(value).map_err(|error| error.to_string())
            }
        }
    };
}

number!(
    /// The number of a document: one row in the catalog, one owner.
    DocumentId, "a document_id", 1
);
number!(
    /// The number of a node: what a person sees under a name, a file, a folder or a link. It stays
    /// with the node wherever that is moved, and no other node ever has it.
    NodeId, "a node_id", 1
);
number!(
    /// The number of a user.
    UserId, "a user_id", 1
);
number!(
    /// The number of a change, counted for each user. 0 is before the first change.
    ChangeId, "a change_id", 0
);
number!(
    /// Which of an upload's leases: no other lease of it has had that number.
    Generation, "a lease", 1
);
number!(
    /// A position in a file, in bytes from its beginning.
    Offset, "an offset", 0
);
number!(
    /// The whole length of a file, in bytes.
    FileSize, "a filesize", 0
);
number!(
    /// A moment: milliseconds since 1970-01-01 UTC.
    Timestamp, "a timestamp", 0
);

impl Generation {
    /// The first number after this one that is not below `now`: the clock keeps it from
    /// coming again when all that is known of earlier leases has been forgotten.
    #[must_use]
    pub fn next(self, now: Timestamp) -> Self {
        Self(self.0.saturating_add(1).max(now.0).min(i64::MAX.cast_unsigned()))
    }
}

impl Offset {
    /// The beginning of a file.
    pub const ZERO: Self = Self(0);

    /// The position `length_bytes` further on.
    ///
    /// # Panics
    /// Never for positions inside a legal file; saturates beyond.
    #[must_use]
    pub fn plus(self, length_bytes: u64) -> Self {
        Self(self.0.saturating_add(length_bytes).min(i64::MAX.cast_unsigned()))
    }
}

impl FileSize {
    /// The position just after the last byte.
    #[must_use]
    pub const fn end(self) -> Offset {
        Offset(self.0)
    }
}

impl Timestamp {
    /// Whole seconds since 1970, as the state file writes them.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The moment that many seconds after 1970-01-01 UTC.
    #[must_use]
    pub fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000).min(i64::MAX.cast_unsigned()))
    }

    /// How long ago `earlier` was; nothing where it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `duration` later.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(ms).min(i64::MAX.cast_unsigned()))
    }
}
