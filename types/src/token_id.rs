//! The ids of tokens, and of the keys that sign them.

use crate::hexadecimal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $bytes:literal, $bad:ident, $sentence:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        #[doc = concat!("The text is not ", $sentence, ".")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error($sentence)]
        pub struct $bad;

        impl $name {
            /// The id of these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }
        }

        impl FromStr for $name {
            type Err = $bad;

            fn from_str(text: &str) -> Result<Self, $bad> {
                hexadecimal::parse(text).map(Self).ok_or($bad)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hexadecimal::write(&self.0, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $bad;

            fn try_from(text: String) -> Result<Self, $bad> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    )*};
}

ids! {
    /// A token, without the secret that is in it: 16 bytes, written as 32 lower-case hexadecimal
    /// digits. `jti` in the token.
    TokenId, 16, BadTokenId, "the id of a token is 32 lower-case hexadecimal digits";
    /// A key that signs tokens: the first 8 bytes of the SHA-256 hash of its public half, written
    /// as 16 lower-case hexadecimal digits. `kid` in the token.
    KeyId, 8, BadKeyId, "the id of a key is 16 lower-case hexadecimal digits";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let text = "00f1a2b3c4d5e6f7";
        let key: KeyId = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        let twice = text.repeat(2);
        assert_eq!(twice.parse::<TokenId>().unwrap().to_string(), twice);
        for other in ["", &text[1..], &text.to_uppercase(), &twice, "../../../dev/nul"] {
            assert_eq!(other.parse::<KeyId>(), Err(BadKeyId), "{other}");
        }
        assert_eq!(text.parse::<TokenId>(), Err(BadTokenId));
    }
}
