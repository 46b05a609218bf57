//! Bytes inside of JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Bytes that stand in JSON as base64 (RFC 4648, section 4, with padding). The same bytes have one
/// spelling: another one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EncodedBytes(pub Vec<u8>);

/// The text is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("base64 was expected")]
pub struct BadBase64;

impl TryFrom<String> for EncodedBytes {
    type Error = BadBase64;

    fn try_from(text: String) -> Result<Self, BadBase64> {
        STANDARD.decode(text).map(Self).map_err(|_| BadBase64)
    }
}

impl From<EncodedBytes> for String {
    fn from(bytes: EncodedBytes) -> Self {
        STANDARD.encode(bytes.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_have_one_spelling() {
        let bytes = EncodedBytes(vec![0xfb, 0xff]);
        assert_eq!(serde_json::to_string(&bytes).unwrap(), "\"+/8=\"");
        assert_eq!(serde_json::from_str::<EncodedBytes>("\"+/8=\"").unwrap(), bytes);
        for other in ["+/8", "-_8=", "+/9=", "+/8=\\n", " +/8=", "+/8=="] {
            assert!(
                serde_json::from_str::<EncodedBytes>(&format!("\"{other}\"")).is_err(),
                "{other}"
            );
        }
    }
}
