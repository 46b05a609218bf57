//! The server accepts no token except those that it issued, compared byte by byte. Tokens that are
//! signed with its key and have other claims are checked against what `server/src/token.rs` says
//! about claims.

use super::input::Input;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;
use towline_engine::Clock;
use towline_protocol::Request;
use towline_protocol::request::Hello;
use towline_server::token::{Identity, TokenError, Tokens};
use towline_state::catalog::{Store, UserRef};
use towline_types::{Timestamp, UserId};

/// A key that is not secret: the corpus has tokens signed with it. PKCS#8 around the bytes 1 to 32.
const KEY: &[u8; 48] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20\
    \x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\
    \x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x20";

/// The present time for all tokens, in seconds since 1970.
const NOW: u64 = 1_750_000_000;

/// The header of the server's tokens, before it is encoded.
const HEADER: &[u8] = br#"{"typ":"JWT","alg":"EdDSA"}"#;

struct Desk {
    tokens: Tokens,
    key: EncodingKey,
    /// Every token that was issued, and the result of checking it.
    issued: BTreeMap<String, Result<Identity, TokenError>>,
}

static DESK: LazyLock<Desk> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("ed25519.pk8"), KEY).expect("a key to read");
    // A store that accepts also tokens without the id of a store: most inputs have no id.
    let store = Store {
        store_id: "5f1c0a9e7b3d42688e21c4f09d6ab735".parse().expect("an id"),
        made_at: Timestamp::MIN,
        tokens_without_id_until: Some(Timestamp::from_secs(u64::MAX)),
        marked_at: None,
    };
    let tokens_at = |seconds| {
        let clock = Clock::new(move || Timestamp::from_secs(seconds));
        Tokens::open(folder.path(), &store, clock).expect("a good key")
    };
    let key = EncodingKey::from_ed_der(KEY);
    let mut all = BTreeMap::new();
    for (user, at, ttl) in [
        (1, NOW, 3600),
        (2, NOW - 10, 11),
        (u64::MAX >> 1, NOW, 1 << 40),
        (1, NOW - 7200, 3600),
        (3, NOW - 10, 10),
    ] {
        let user = UserId::try_from(user).expect("a legal number");
        let issued =
            tokens_at(at).issue(user, Timestamp::MIN, Duration::from_secs(ttl)).expect("a token");
        let good_for =
            |identity| if at + ttl > NOW { Ok(identity) } else { Err(TokenError::Expired) };
        // A token as an earlier server issued it: without the id of a store.
        let earlier = format!(r#"{{"sub":"{user}","iat":{at},"exp":{}}}"#, at + ttl);
        let earlier = signed(&key, HEADER, earlier.as_bytes());
        let token = Tokens::id_of_text(&earlier);
        let identity = Identity { token: Some(token), says_id: false, ..issued.identity };
        all.insert(earlier, good_for(identity));
        all.insert(issued.token, good_for(issued.identity));
    }
    Desk { tokens: tokens_at(NOW), key, issued: all }
});

/// The first byte of the input chooses: the rest is a token, or edits of an issued token, or claims
/// or a header that are signed with the right key.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 4 {
        0 => check(&String::from_utf8_lossy(input.rest())),
        1 => check(&String::from_utf8_lossy(&edited(input))),
        2 => check_claims(input.rest()),
        _ => check_header(input.rest()),
    }
}

/// Checks a token of a client, in the `hello` that carries it.
fn check(token: &str) {
    let hello = Hello::with_token(token);
    let json = serde_json::to_vec(&Request::Hello(hello.clone())).expect("a message is JSON");
    assert_eq!(Request::parse(&json), Ok(Request::Hello(hello.clone())), "the token arrives");
    let found = checked(token);
    match DESK.issued.get(token) {
        Some(expected) => assert_eq!(found, *expected, "{token:?}"),
        None => assert!(is_refused(found), "{token:?}: {found:?}"),
    }
}

/// The check of a token, for the user that it names by number.
fn checked(token: &str) -> Result<Identity, TokenError> {
    DESK.tokens.check(token).map(|found| match found.user {
        UserRef::Number(user) => found.of(user),
        UserRef::Name(_) => panic!("the server's own tokens name no user by name"),
    })
}

/// Whether a token is answered as one that was never good.
fn is_refused(found: Result<Identity, TokenError>) -> bool {
    matches!(found, Err(TokenError::Bad | TokenError::OtherServer | TokenError::UnknownKey))
}

/// An issued token, edited as the input says: an operation, a position, a byte.
fn edited(mut input: Input<'_>) -> Vec<u8> {
    let tokens: Vec<_> = DESK.issued.keys().map(String::as_bytes).collect();
    let mut token = tokens[usize::from(input.byte()) % tokens.len()].to_vec();
    while !input.is_empty() {
        let (operation, at) = (input.byte(), input.short() % (token.len() + 1));
        let other = tokens[usize::from(operation / 8) % tokens.len()];
        match operation % 8 {
            0 if at < token.len() => token[at] = input.byte(),
            1 if at < token.len() => token[at] ^= 1 << (input.byte() % 8),
            2 if at < token.len() => drop(token.remove(at)),
            3 => token.insert(at, input.byte()),
            4 => token.truncate(at),
            5 => token.rotate_left(at),
            6 => token.splice(at.., other.iter().skip(at).copied()).for_each(drop),
            7 => token.extend_from_slice(other),
            _ => {}
        }
        token.truncate(8 << 10);
    }
    token
}

fn signed(key: &EncodingKey, header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", base64(header), base64(claims));
    let signature = sign(message.as_bytes(), key, Algorithm::EdDSA).expect("a good key");
    format!("{message}.{signature}")
}

/// Checks claims that are signed with the right key.
fn check_claims(claims: &[u8]) {
    let found = checked(&signed(&DESK.key, HEADER, claims));
    if is_refused(found) {
        return;
    }
    // A field that is no claim of ours is ignored, and need not even be UTF-8.
    let Ok(said) = serde_json::from_slice::<Value>(claims) else { return };
    let exp = said["exp"].as_u64().expect("an end");
    let Ok(identity) = found else { return assert!(exp <= NOW, "{said}") };
    let sub = said["sub"].as_str().and_then(|sub| sub.parse().ok());
    assert_eq!(sub, Some(identity.user.get()), "{said}");
    assert_eq!(identity.expires_at, Timestamp::from_secs(exp), "{said}");
    assert!(exp > NOW && said["nbf"].as_u64().unwrap_or(0) <= NOW, "{said}");
}

/// Checks a header over good claims that are signed with the right key.
fn check_header(header: &[u8]) {
    let claims = format!(r#"{{"sub":"1","iat":{NOW},"exp":{}}}"#, NOW + 1);
    if DESK.tokens.check(&signed(&DESK.key, header, claims.as_bytes())).is_ok() {
        let header = serde_json::from_slice::<Value>(header);
        assert!(header.is_err() || header.is_ok_and(|header| header["alg"] == "EdDSA"));
    } else {
        assert_ne!(header, HEADER, "our own header is good");
    }
}

/// Base64 as RFC 7515 requires: the alphabet for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            (0..3).fold(0, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..=three.len() {
            text.push(char::from(DIGITS[bits >> (18 - 6 * at) & 63]));
        }
    }
    text
}
