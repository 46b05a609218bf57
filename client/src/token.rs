//! The token that tells the server who its user is.

mod source;

pub(crate) use source::{TokenSource, TokenWatch};

use crate::moment;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use towline_protocol::limits::TOKEN_BYTES_MAX;
use towline_types::StoreId;

/// A JSON web token. It is never shown, not even by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a token cannot be used. The text never contains the token.
#[derive(Debug, thiserror::Error)]
pub enum BadToken {
    /// The text is empty.
    #[error("the token is empty")]
    Empty,
    /// The text is longer than any server reads.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes; is this the right file?")]
    TooLong,
    /// The text is not one word of printable ASCII characters.
    #[error("this is no token: a token is one word of letters, digits and . - _")]
    NoToken,
    /// The file cannot be read.
    #[error("the token file cannot be read: {}", crate::system::in_words(.0))]
    Unreadable(#[from] io::Error),
}

/// What a client reads of a token.
#[derive(serde::Deserialize)]
struct Claims {
    exp: Option<u64>,
    iss: Option<String>,
    sub: Option<String>,
}

impl Token {
    /// A token from its text, without the space and the quotes around it.
    ///
    /// # Errors
    ///
    /// Where it cannot be a token.
    pub fn new(text: &str) -> Result<Self, BadToken> {
        let text = unquoted(text.trim().trim_matches('\u{feff}').trim());
        match text {
            "" => Err(BadToken::Empty),
            _ if text.len() > TOKEN_BYTES_MAX => Err(BadToken::TooLong),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(BadToken::NoToken),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// No token, for a client that has none yet.
    pub(crate) const fn none() -> Self {
        Self(String::new())
    }

    /// Reads a token from a file. Blocks.
    ///
    /// # Errors
    /// Where the file cannot be read or holds no token.
    pub fn from_file(path: &Path) -> Result<Self, BadToken> {
        use io::Read as _;
        let mut text = Vec::new();
        // A wrong path may name a file without an end.
        std::fs::File::open(path)?.take(4 * TOKEN_BYTES_MAX as u64).read_to_end(&mut text)?;
        Self::new(&decoded(&text).ok_or(BadToken::NoToken)?)
    }

    /// When the token expires, for people: `2026-11-28 at 11:00 UTC`; nothing where the token has
    /// no such time. Only the server can tell whether the time is right.
    pub(crate) fn expires_at(&self) -> Option<String> {
        let when = UNIX_EPOCH.checked_add(self.ends_at()?)?;
        let text = moment::in_seconds(when)?;
        let (day, time) = text.split_once('T')?;
        Some(format!("{day} at {} UTC", time.get(..5)?))
    }

    /// When the token says that it ends, since 1970.
    pub(crate) fn ends_at(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.claims()?.exp?))
    }

    /// The store that the token says it is for; nothing for a token of an identity provider.
    pub(crate) fn store(&self) -> Option<StoreId> {
        self.claims()?.iss?.parse().ok()
    }

    /// Whether both are tokens of one user of one store, as far as they say. A token that does not say
    /// which store it is for is like no other one.
    pub(crate) fn has_user_of(&self, other: &Self) -> bool {
        let (here, there) = (self.claims(), other.claims());
        here.zip(there).is_some_and(|(here, there)| {
            let store = here.iss.and_then(|issuer| issuer.parse::<StoreId>().ok());
            let other = there.iss.and_then(|issuer| issuer.parse::<StoreId>().ok());
            store.is_some() && store == other && here.sub.is_some() && here.sub == there.sub
        })
    }

    /// What the token says. Only the server can tell whether it is true.
    fn claims(&self) -> Option<Claims> {
        let claims = self.0.split('.').nth(1)?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
        serde_json::from_slice(&claims).ok()
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// The text without the quotes that an editor or a shell has put around it.
fn unquoted(text: &str) -> &str {
    let pairs = [('"', '"'), ('\'', '\''), ('\u{201c}', '\u{201d}')];
    let inside = |(open, close)| text.strip_prefix(open)?.strip_suffix(close);
    pairs.into_iter().find_map(inside).map_or(text, str::trim)
}

/// The text of a file in UTF-8 or UTF-16, with or without a byte order mark.
fn decoded(bytes: &[u8]) -> Option<String> {
    let from_utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok()
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok().map(str::to_owned),
        [0xff, 0xfe, rest @ ..] => from_utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => from_utf16(rest, u16::from_be_bytes),
        // In UTF-16, a character of ASCII has a zero as its other byte.
        [_, 0, ..] => from_utf16(bytes, u16::from_le_bytes),
        [0, _, ..] => from_utf16(bytes, u16::from_be_bytes),
        _ => std::str::from_utf8(bytes).ok().map(str::to_owned),
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
        for text in ["\"abc.def\"", "'abc.def'\r\n", "\u{feff}abc.def\r\n"] {
            assert_eq!(Token::new(text).unwrap().reveal(), "abc.def", "{text:?}");
        }
        assert!(matches!(Token::new(" \n"), Err(BadToken::Empty)));
        assert!(matches!(Token::new("a b"), Err(BadToken::NoToken)));
        assert!(matches!(Token::new(&"a".repeat(5000)), Err(BadToken::TooLong)));
    }

    #[test]
    fn a_file_is_read_however_it_was_saved() {
        let utf16 = |unit: fn(u16) -> [u8; 2], text: &str| -> Vec<u8> {
            text.encode_utf16().flat_map(unit).collect()
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        for bytes in [
            b"abc.def".to_vec(),
            b"abc.def\r\n\r\n".to_vec(),
            b"\n\n  abc.def\n".to_vec(),
            b"\"abc.def\"\n".to_vec(),
            b"'abc.def'".to_vec(),
            b"\xef\xbb\xbfabc.def\r\n".to_vec(),
            utf16(u16::to_le_bytes, "\u{feff}abc.def\r\n"),
            utf16(u16::to_be_bytes, "\u{feff}abc.def\r\n"),
            utf16(u16::to_le_bytes, "abc.def\n"),
            utf16(u16::to_be_bytes, "\"abc.def\""),
        ] {
            std::fs::write(file.path(), &bytes).unwrap();
            assert_eq!(Token::from_file(file.path()).unwrap().reveal(), "abc.def", "{bytes:?}");
        }
        for bytes in [&b"a b"[..], b"\xff\xff\xff", b"\xff\xfe\x00\xd8"] {
            std::fs::write(file.path(), bytes).unwrap();
            assert!(matches!(Token::from_file(file.path()), Err(BadToken::NoToken)), "{bytes:?}");
        }
        for bytes in [&b""[..], b"\xef\xbb\xbf\r\n", b"\"\""] {
            std::fs::write(file.path(), bytes).unwrap();
            assert!(matches!(Token::from_file(file.path()), Err(BadToken::Empty)), "{bytes:?}");
        }
    }

    #[test]
    fn a_token_tells_when_it_expires() {
        let token = |claims: &str| {
            let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
            Token::new(&format!("eyJ9.{claims}.c2ln")).unwrap().expires_at()
        };
        assert_eq!(token(r#"{"exp":1795863600,"sub":"1"}"#).unwrap(), "2026-11-28 at 11:00 UTC");
        for claims in [r#"{"sub":"1"}"#, "{", r#"{"exp":-1}"#, r#"{"exp":18446744073709551615}"#] {
            assert_eq!(token(claims), None, "{claims}");
        }
        assert_eq!(Token::new("opaque").unwrap().expires_at(), None);
    }

    #[test]
    fn two_tokens_have_one_user_where_store_and_user_are_the_same() {
        let token = |claims: &str| {
            Token::new(&format!("e.{}.s", BASE64_URL_SAFE_NO_PAD.encode(claims))).unwrap()
        };
        let [store, other] = ["1", "2"].map(|digit| digit.repeat(32));
        let of = |store: &str, user: &str| {
            token(&format!(r#"{{"iss":"{store}","sub":"{user}","exp":{}}}"#, user.len()))
        };
        assert!(of(&store, "1").has_user_of(&of(&store, "1")));
        for (one, another) in [
            (of(&store, "1"), of(&other, "1")),
            (of(&store, "1"), of(&store, "2")),
            // The tokens of an identity provider do not say which store they are for.
            (of("https://id.example", "1"), of("https://id.example", "1")),
            (token(r#"{"sub":"1"}"#), token(r#"{"sub":"1"}"#)),
            (token(&format!(r#"{{"iss":"{store}"}}"#)), token(&format!(r#"{{"iss":"{store}"}}"#))),
            (Token::new("opaque").unwrap(), Token::new("opaque").unwrap()),
        ] {
            assert!(!one.has_user_of(&another) && !another.has_user_of(&one));
        }
    }
}
