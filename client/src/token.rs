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
    /// A token from its text; space around it is not part of it.
    ///
    /// # Errors
    /// Where it cannot be a token.
    pub fn new(text: &str) -> Result<Self, BadToken> {
        let text = text.trim();
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
        Self::new(std::str::from_utf8(&text).map_err(|_| BadToken::NoToken)?)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
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
        assert!(matches!(Token::new(" \n"), Err(BadToken::Empty)));
        assert!(matches!(Token::new("a b"), Err(BadToken::NoToken)));
        assert!(matches!(Token::new(&"a".repeat(5000)), Err(BadToken::TooLong)));
    }
}
