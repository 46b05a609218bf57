//! The digests: of a whole file, and of one block of it. All are 32 bytes, and
//! each is its own type, so that a block's value is never taken for a file's hash.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// The value with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(hex: String) -> Result<Self, String> {
                // The decoder of the library takes upper case too: one value would then
                // have many spellings, and a client that compares texts would be wrong.
                let read = blake3::Hash::from_hex(&hex).ok();
                read.filter(|_| !hex.bytes().any(|byte| byte.is_ascii_uppercase()))
                    .map(|hash| Self(*hash.as_bytes()))
                    .ok_or_else(|| "64 lower-case hexadecimal digits expected".to_owned())
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}

digest!(
    /// The BLAKE3 hash of a whole file; the same that `b3sum` prints.
    FileHash
);
digest!(
    /// BLAKE3's value of one block at its position in the file. Where the file
    /// has but one block, this is the hash of the file.
    ChainingValue
);

digest!(
    /// The SHA-256 hash of a whole file, where it was asked for besides the BLAKE3 hash.
    Sha256Hash
);

digest!(
    /// The SHA-256 hash of a one-time secret that a new client exchanges for a token.
    JoinHash
);

/// A hash of the whole file that is wanted besides its BLAKE3 hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecondDigest {
    /// None: it costs another pass over all bytes.
    #[default]
    None,
    /// The SHA-256 hash.
    Sha256,
}

impl SecondDigest {
    /// The word for it, as RFC 9530 has it.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Sha256 => Some("sha-256"),
        }
    }

    /// The digest of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        (word == "sha-256").then_some(Self::Sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_read_back_from_their_text() {
        let value = ChainingValue::from_bytes([0xab; 32]);
        assert_eq!(ChainingValue::try_from(value.to_string()), Ok(value));
        assert!(ChainingValue::try_from("ab".to_owned()).is_err());
    }
}
