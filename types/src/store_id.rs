//! The identity of a server's store.

use crate::hexadecimal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const BYTES: usize = 16;

/// The identity of a store: 16 random bytes, made together with the server's catalog.
/// The same store behind another address has the same one, and another store behind the
/// same address has another. On the wire it is `server_id`, 32 lower-case hexadecimal
/// digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreId([u8; BYTES]);

/// The text is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a store is 32 lower-case hexadecimal digits")]
pub struct BadStoreId;

impl FromStr for StoreId {
    type Err = BadStoreId;

    fn from_str(text: &str) -> Result<Self, BadStoreId> {
        hexadecimal::parse(text).map(Self).ok_or(BadStoreId)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal::write(&self.0, f)
    }
}

impl TryFrom<String> for StoreId {
    type Error = BadStoreId;

    fn try_from(text: String) -> Result<Self, BadStoreId> {
        text.parse()
    }
}

impl From<StoreId> for String {
    fn from(id: StoreId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let text = "00f1a2b3c4d5e6f708192a3b4c5d6eff";
        let id: StoreId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<StoreId>(&format!("\"{text}\"")).unwrap(), id);
        for other in
            ["", &text[1..], &text.to_uppercase(), &format!("{text}0"), &text.replace('a', "g")]
        {
            assert_eq!(other.parse::<StoreId>(), Err(BadStoreId), "{other}");
        }
    }
}
