//! The one-time secret that a new client exchanges for a token.

use crate::hexadecimal;
use std::fmt;
use std::str::FromStr;

/// A random secret of 128 bits, written as 32 lower-case hexadecimal digits. `{:?}` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinSecret([u8; 16]);

/// The text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret of a join line is 32 lower-case hexadecimal digits")]
pub struct BadJoinSecret;

impl JoinSecret {
    /// The secret of these random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The text that is sent and printed.
    #[must_use]
    pub fn reveal(&self) -> String {
        Revealed(self).to_string()
    }
}

struct Revealed<'a>(&'a JoinSecret);

impl fmt::Display for Revealed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal::write(&self.0.0, f)
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(…)")
    }
}

impl FromStr for JoinSecret {
    type Err = BadJoinSecret;

    fn from_str(text: &str) -> Result<Self, BadJoinSecret> {
        hexadecimal::parse(text).map(Self).ok_or(BadJoinSecret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_and_is_never_shown() {
        let secret = JoinSecret::from_bytes([0xa7; 16]);
        let text = secret.reveal();
        assert_eq!(text, "a7".repeat(16));
        assert_eq!(text.parse(), Ok(secret.clone()));
        assert!(!format!("{secret:?}").contains("a7"));
        for other in ["", &text[1..], &text.to_uppercase(), &format!("{text}0")] {
            assert_eq!(other.parse::<JoinSecret>(), Err(BadJoinSecret), "{other}");
        }
    }
}
