//! Which tokens are good.

use super::*;
use towline_testkit::user;

const ID: &str = "5f1c0a9e7b3d42688e21c4f09d6ab735";

fn store() -> Store {
    Store {
        store_id: ID.parse().unwrap(),
        made_at: Timestamp::MIN,
        tokens_without_id_until: None,
        marked_at: None,
    }
}

fn clock(seconds: u64) -> Clock {
    Clock::new(move || Timestamp::from_secs(seconds))
}

fn tokens(folder: &Path, seconds: u64) -> Tokens {
    Tokens::open(folder, &store(), clock(seconds)).unwrap()
}

fn issued(tokens: &Tokens, user: UserId) -> String {
    tokens.issue(user, Timestamp::MIN, Duration::from_secs(60)).unwrap().token
}

/// A token with that header and those claims, signed with the newest key.
fn signed(tokens: &Tokens, header: &Header, claims: &serde_json::Value) -> String {
    jsonwebtoken::encode(header, claims, &tokens.keys().signer().signing).unwrap()
}

fn eddsa() -> Header {
    Header::new(Algorithm::EdDSA)
}

#[test]
fn a_token_is_good_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let issuing = tokens(folder.path(), 1000);
    let Issued { token, identity, row } =
        issuing.issue(user(7), Timestamp::MIN, Duration::from_secs(60)).unwrap();
    assert_eq!((identity.user, identity.issued_at_secs), (user(7), Some(1000)));
    assert_eq!(identity.expires_at, Timestamp::from_secs(1060));
    assert_eq!(identity.issued(), Some(row));
    let checked = tokens(folder.path(), 1059).check(&token).unwrap();
    assert_eq!(checked.user, UserRef::Number(user(7)));
    assert_eq!(checked.of(user(7)), identity);
    let other = issuing.issue(user(7), Timestamp::MIN, Duration::from_secs(60)).unwrap();
    assert_ne!(other.identity.token, identity.token, "each token has an id of its own");
    assert_eq!(tokens(folder.path(), 1060).check(&token), Err(TokenError::Expired));
}

#[test]
fn a_token_of_another_key_or_algorithm_is_bad() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tokens_here = tokens(ours.path(), 1000);
    let foreign = issued(&tokens(theirs.path(), 1000), user(1));
    assert_eq!(tokens_here.check(&foreign), Err(TokenError::UnknownKey));
    let own = issued(&tokens_here, user(1));
    let parts: Vec<_> = own.split('.').collect();
    // {"alg":"none"} and {"alg":"HS256"}
    for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9"] {
        let forged = format!("{header}.{}.{}", parts[1], parts[2]);
        assert_eq!(tokens_here.check(&forged), Err(TokenError::Bad));
        assert_eq!(tokens_here.check(&format!("{header}.{}.", parts[1])), Err(TokenError::Bad));
    }
    for text in ["", ".", "a.b", "a.b.c", &own[1..], &own[..own.len() - 2], &"x".repeat(9000)] {
        assert_eq!(tokens_here.check(text), Err(TokenError::Bad), "{text}");
    }
}

#[test]
fn claims_that_say_too_little_are_bad() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens(folder.path(), 1000);
    for claims in [
        serde_json::json!({"iss": ID, "sub": "1"}),
        serde_json::json!({"iss": ID, "exp": 2000}),
        serde_json::json!({"iss": ID, "sub": "1", "exp": "2000", "iat": 1}),
        serde_json::json!({"iss": ID, "sub": "0", "exp": 2000, "iat": 1}),
        serde_json::json!({"iss": ID, "sub": "1 OR 1=1", "exp": 2000, "iat": 1}),
        serde_json::json!({"iss": ID, "sub": "1", "exp": 2000, "iat": 1, "nbf": 1500}),
        serde_json::json!({"iss": "other", "sub": "1", "exp": 2000, "iat": 1}),
        serde_json::json!({"iss": "", "sub": "1", "exp": 2000, "iat": 1}),
        serde_json::json!({"sub": "1", "exp": 2000, "iat": 1}),
        serde_json::json!({"iss": ID, "sub": "1", "exp": 2000, "iat": 1, "jti": "../../etc"}),
        serde_json::json!({"iss": ID, "sub": "1", "exp": 2000, "iat": 1, "jti": 7}),
        serde_json::json!({"iss": ID, "sub": "+1", "exp": 2000, "iat": 1}),
        serde_json::json!({"iss": ID, "sub": "01", "exp": 2000, "iat": 1}),
    ] {
        let token = signed(&tokens, &eddsa(), &claims);
        assert_eq!(tokens.check(&token), Err(TokenError::Bad), "{claims}");
    }
}

#[test]
fn a_token_is_good_in_the_store_it_was_issued_for_and_in_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let token = issued(&tokens(folder.path(), 1000), user(1));
    let other = Store { store_id: ID.replace('5', "6").parse().unwrap(), ..store() };
    let other = Tokens::open(folder.path(), &other, clock(1000)).unwrap();
    assert_eq!(other.check(&token), Err(TokenError::OtherServer), "the key is the same");
}

#[test]
fn a_token_of_before_is_good_where_the_catalog_is_as_old() {
    let folder = tempfile::tempdir().unwrap();
    let until = Some(Timestamp::from_secs(500));
    let old = Store { tokens_without_id_until: until, ..store() };
    let old = Tokens::open(folder.path(), &old, clock(1000)).unwrap();
    let new = tokens(folder.path(), 1000);
    for (iat, is_good) in [(1, true), (500, true), (501, false)] {
        let claims = serde_json::json!({"sub": "1", "exp": 2000, "iat": iat});
        let token = signed(&old, &eddsa(), &claims);
        assert_eq!(old.check(&token).is_ok(), is_good, "{iat}");
        assert_eq!(new.check(&token), Err(TokenError::Bad));
    }
}

#[test]
fn a_token_is_never_issued_before_its_user_was_created() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens(folder.path(), 1000);
    let created_at = Timestamp::from_secs(4000);
    let token = tokens.issue(user(1), created_at, Duration::from_secs(60)).unwrap();
    let identity = tokens.check(&token.token).unwrap();
    assert_eq!(identity.issued_at_secs, Some(4000));
    assert_eq!(identity.expires_at, Timestamp::from_secs(1060));
}

#[test]
fn a_token_says_which_key_has_signed_it_and_a_retired_key_ends_its_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let server = tokens(folder.path(), 1000);
    let before = issued(&server, user(1));
    let first = server.check(&before).unwrap().key;
    SigningKeys::add(folder.path()).unwrap();
    let command = tokens(folder.path(), 1000);
    let after = issued(&command, user(1));
    assert_eq!(server.check(&after), Err(TokenError::UnknownKey), "it has not read its keys again");
    assert_eq!(server.reload().unwrap(), 2);
    assert_eq!(server.check(&before).unwrap().key, first);
    let second = server.check(&after).unwrap().key;
    assert_ne!(second, first);
    assert_eq!(server.check(&issued(&server, user(1))).unwrap().key, second);
    SigningKeys::find(folder.path()).unwrap().retire(folder.path(), first).unwrap();
    assert!(server.check(&before).is_ok(), "it has not read its keys again");
    assert_eq!(server.reload().unwrap(), 1);
    assert_eq!(server.check(&before), Err(TokenError::UnknownKey));
    assert!(server.check(&after).is_ok());
    assert_eq!((server.has_key(first), server.has_key(second)), (false, true));
}

#[test]
fn keys_that_cannot_be_read_again_stay_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let server = tokens(folder.path(), 1000);
    let token = issued(&server, user(1));
    std::fs::write(folder.path().join("ed25519.pk8"), b"no key").unwrap();
    assert!(matches!(server.reload(), Err(KeyError::Damaged { .. })));
    assert!(server.check(&token).is_ok());
    std::fs::remove_file(folder.path().join("ed25519.pk8")).unwrap();
    assert!(matches!(server.reload(), Err(KeyError::Io(_))));
    assert!(server.check(&token).is_ok());
}

#[test]
fn a_token_of_another_server_is_told_from_one_that_is_forged() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let here = tokens(ours.path(), 1000);
    let there = Store { store_id: ID.replace('5', "6").parse().unwrap(), ..store() };
    let there = Tokens::open(theirs.path(), &there, clock(1000)).unwrap();
    let foreign = issued(&there, user(1));
    assert_eq!(here.check(&foreign), Err(TokenError::OtherServer));
    // One of before, which names no key.
    let claims = |iss: &str| serde_json::json!({"iss": iss, "sub": "1", "exp": 2000, "iat": 1});
    let old = |iss: &str| signed(&there, &eddsa(), &claims(iss));
    assert_eq!(here.check(&old(&ID.replace('5', "6"))), Err(TokenError::OtherServer));
    assert_eq!(here.check(&old(ID)), Err(TokenError::Bad), "it says that it is of this server");
    // A signature that is wrong says nothing about the rest.
    let own = issued(&here, user(1));
    let (own, foreign): (Vec<_>, Vec<_>) = (own.split('.').collect(), foreign.split('.').collect());
    let mixed = format!("{}.{}.{}", own[0], foreign[1], own[2]);
    assert_eq!(here.check(&mixed), Err(TokenError::Bad));
    // What is no id of a key, or of a store, is no token of any server.
    let with_kid = |kid: &str, iss: &str| {
        let header = Header { kid: Some(kid.to_owned()), ..eddsa() };
        here.check(&signed(&there, &header, &claims(iss)))
    };
    let other = ID.replace('5', "6");
    assert_eq!(with_kid("00f1a2b3c4d5e6f7", &other), Err(TokenError::OtherServer));
    assert_eq!(with_kid("../../../dev/null", &other), Err(TokenError::Bad));
    assert_eq!(with_kid("00f1a2b3c4d5e6f7", "http://id.example"), Err(TokenError::Bad));
}

#[test]
fn a_header_that_brings_a_key_or_demands_something_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens(folder.path(), 1000);
    let claims = serde_json::json!({"iss": ID, "sub": "1", "exp": 2000, "iat": 1});
    assert!(tokens.check(&signed(&tokens, &eddsa(), &claims)).is_ok());
    let text = || Some("https://127.0.0.1:1/keys".to_owned());
    for header in [
        Header { jku: text(), ..eddsa() },
        Header { x5u: text(), ..eddsa() },
        Header { x5c: Some(Vec::new()), ..eddsa() },
        Header { crit: Some(vec!["exp".to_owned()]), ..eddsa() },
    ] {
        let token = signed(&tokens, &header, &claims);
        assert_eq!(tokens.check(&token), Err(TokenError::Bad), "{header:?}");
    }
}
