//! What a server's public key is recognised by.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::str::FromStr;

/// The SHA-256 digest of a server's public key in the form `SubjectPublicKeyInfo` of RFC 5280,
/// section 4.1. People see it as `SHA256:` and 43 characters of base64 (RFC 4648, section 5), which
/// no shell takes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// The text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is SHA256: and 43 letters, digits, - and _, as the server prints it")]
pub struct BadFingerprint;

const PREFIX: &str = "SHA256:";

impl Fingerprint {
    /// The fingerprint with these bytes.
    #[must_use]
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let digest = text.strip_prefix(PREFIX).ok_or(BadFingerprint)?;
        let digest = URL_SAFE_NO_PAD.decode(digest).map_err(|_| BadFingerprint)?;
        digest.try_into().map(Self).map_err(|_| BadFingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_and_nothing_else_reads() {
        let fingerprint = Fingerprint::from_bytes([0xfb; 32]);
        let text = fingerprint.to_string();
        assert_eq!(text, "SHA256:-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
        assert_eq!(text.parse(), Ok(fingerprint));
        for bad in
            ["", "SHA256:", &text[1..], &text[..text.len() - 1], &format!("{text}A"), "MD5:00"]
        {
            assert_eq!(bad.parse::<Fingerprint>(), Err(BadFingerprint), "{bad}");
        }
    }
}
