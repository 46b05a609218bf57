//! The token that says who somebody is.

use std::fmt;
use std::io;
use std::path::Path;
use towline_protocol::limits::TOKEN_BYTES_MAX;

/// A JSON web token. Never shown, not even by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a token cannot be used; never says what it was.
#[derive(Debug, thiserror::Error)]
pub enum BadToken {
    /// Nothing there.
    #[error("the token is empty")]
    Empty,
    /// Longer than any server reads.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes; is this the right file?")]
    TooLong,
    /// Something other than one word of plain characters.
    #[error("this is no token: a token is one word of letters, digits and . - _")]
    NoToken,
    /// The file cannot be read.
    #[error("the token file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Token {
    /// A token from its text; space around it is not part of it, nor are quotes.
    ///
    /// # Errors
    /// Where it cannot be a token.
    pub fn new(text: &str) -> Result<Self, BadToken> {
        // Programs that copy a value keep its quotes; a token has none.
        let text = text.trim().trim_matches('\u{feff}').trim();
        let unquoted = ['"', '\'']
            .into_iter()
            .find_map(|quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
        let text = unquoted.unwrap_or(text).trim();
        match text {
            "" => Err(BadToken::Empty),
            _ if text.len() > TOKEN_BYTES_MAX => Err(BadToken::TooLong),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(BadToken::NoToken),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// Reads a token from a file. Blocks.
    ///
    /// # Errors
    /// Where the file cannot be read or holds no token.
    pub fn from_file(path: &Path) -> Result<Self, BadToken> {
        use io::Read as _;
        let mut text = Vec::new();
        // A wrong path may name something endless.
        std::fs::File::open(path)?.take(2 * TOKEN_BYTES_MAX as u64).read_to_end(&mut text)?;
        Self::new(&decode(&text).ok_or(BadToken::NoToken)?)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// The text of a file as editors write it: UTF-8, or UTF-16 with a byte-order mark, as
/// redirected output has it on Windows.
fn decode(bytes: &[u8]) -> Option<String> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return std::str::from_utf8(bytes).ok().map(str::to_owned),
    };
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
    String::from_utf16(&units).ok()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_trimmed_and_never_shown() {
        let token = Token::new(" abc.def \n").unwrap();
        assert_eq!(token.reveal(), "abc.def");
        assert!(!format!("{token:?}").contains("abc"));
        for text in ["\"abc.def\"", "'abc.def'\r\n", "\u{feff}abc.def\r\n"] {
            assert_eq!(Token::new(text).unwrap().reveal(), "abc.def", "{text:?}");
        }
        assert!(matches!(Token::new(" \n"), Err(BadToken::Empty)));
        assert!(matches!(Token::new("a b"), Err(BadToken::NoToken)));
        assert!(matches!(Token::new(&"a".repeat(5000)), Err(BadToken::TooLong)));
    }

    #[test]
    fn a_token_file_may_be_of_any_editor() {
        let text = "\u{feff}abc.def\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [text.as_bytes().to_vec(), little, big] {
            let decoded = decode(&bytes).unwrap();
            assert_eq!(Token::new(&decoded).unwrap().reveal(), "abc.def", "{bytes:?}");
        }
        assert_eq!(decode(&[0xff, 0xfe, 0x00, 0xd8]), None, "half a character");
    }
}
