//! Tokens that the server refuses: malformed or too long ones; other algorithms than EdDSA and
//! other keys; an expiry in the past, missing or not a number; headers that name a key or a place
//! to get one from. All are answered with `unauthorized` or `auth_expired` and one text for each
//! code, and the server closes the connection. Only a token that looks like one of another server,
//! or like one of a key that was retired, is told so.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use towline_protocol::Code;
use towline_server::token::SigningKeys;
use towline_state::catalog::Peek;
use towline_tests::raw_client::{RawClient, ZERO, upload};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::test_file::TestFile;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The server's own key, for tokens with a valid signature and wrong claims.
fn key(site: &Site) -> Vec<u8> {
    std::fs::read(site.path().join("keys/ed25519.pk8")).unwrap()
}

/// The claim of a valid token about its store.
fn store_id(site: &Site) -> String {
    let store = Peek::at(site.catalog_path()).unwrap().store;
    store.expect("the catalog has an identity").store_id.to_string()
}

fn signed(site: &Site, header: &Header, claims: &serde_json::Value) -> String {
    encode(header, claims, &EncodingKey::from_ed_der(&key(site))).unwrap()
}

/// The text of the refusal.
async fn refused(server: &TestServer, token: &str, code: Code) -> String {
    let mut client = RawClient::connect(server.address()).await;
    client.hello(token).await;
    let error = client.error(code).await;
    assert_eq!(client.closed().await, []);
    error.message
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_are_refused_with_one_text() {
    let server = TestServer::start().await;
    let site = &server.site;
    let before = site.on_disk();
    let eddsa = || Header::new(Algorithm::EdDSA);
    let iss = store_id(site);
    let good = json!({
        "iss": iss, "sub": server.user.id.to_string(), "iat": now(), "exp": now() + 1000
    });
    // A token that is signed with this key is accepted.
    RawClient::login(server.address(), &signed(site, &eddsa(), &good)).await;

    let own = &server.user.token;
    let parts: Vec<&str> = own.split('.').collect();
    let pkcs8 = key(site);
    let public_key = EncodingKey::from_secret(&pkcs8[pkcs8.len() - 32..]);
    let foreign = Site::new();
    let _ = foreign.token(server.user.id, Duration::from_secs(1));
    let with = |change: serde_json::Value| {
        let mut claims = good.clone();
        for (name, value) in change.as_object().unwrap() {
            match value.is_null() {
                true => claims.as_object_mut().unwrap().remove(name),
                false => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        signed(site, &eddsa(), &claims)
    };
    let in_header = |change: fn(&mut Header)| {
        let mut header = eddsa();
        change(&mut header);
        signed(&foreign, &header, &good)
    };
    let bad: Vec<(&str, String)> = vec![
        ("empty", String::new()),
        ("no token", "token".to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{own}.x")),
        ("three parts of nothing", "..".to_owned()),
        ("no base64", "!.!.!".to_owned()),
        ("with white space", format!("{own} ")),
        ("without a signature", format!("{}.{}.", parts[0], parts[1])),
        ("a signature cut short", own[..own.len() - 4].to_owned()),
        ("over 4 KiB", "x".repeat(4097)),
        ("over 4 KiB with dots", format!("{own}.{}", "x".repeat(4096))),
        // {"alg":"none"}, {"alg":"None","typ":"JWT"}
        ("alg none", format!("eyJhbGciOiJub25lIn0.{}.", parts[1])),
        ("alg None", format!("eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0.{}.{}", parts[1], parts[2])),
        ("HS256 with the public key", encode(&Header::default(), &good, &public_key).unwrap()),
        ("another key", signed(&foreign, &eddsa(), &good)),
        ("kid", in_header(|header| header.kid = Some("../../../../dev/null".to_owned()))),
        ("SQL in kid", in_header(|header| header.kid = Some("x' UNION SELECT 'k' --".to_owned()))),
        ("jku", in_header(|header| header.jku = Some("http://127.0.0.1:1/keys".to_owned()))),
        ("iss missing", with(json!({"iss": null}))),
        ("iss upper case", with(json!({"iss": iss.to_uppercase() + " "}))),
        ("iat missing", with(json!({"iat": null}))),
        ("iat before its user", with(json!({"iat": now() - 3600}))),
        ("exp missing", with(json!({"exp": null}))),
        ("exp a text", with(json!({"exp": (now() + 1000).to_string()}))),
        ("exp negative", with(json!({"exp": -1}))),
        ("sub missing", with(json!({"sub": null}))),
        ("sub a number", with(json!({"sub": 1}))),
        ("sub zero", with(json!({"sub": "0"}))),
        ("sub a name", with(json!({"sub": "ada"}))),
        ("sub SQL", with(json!({"sub": "1 OR 1=1"}))),
        ("nbf in an hour", with(json!({"nbf": now() + 3600}))),
        ("jti no id", with(json!({"jti": "../../../../dev/null"}))),
        ("crit", signed(site, &Header { crit: Some(vec!["exp".to_owned()]), ..eddsa() }, &good)),
        ("jku, with a good signature", {
            let jku = Some("http://127.0.0.1:1/keys".to_owned());
            signed(site, &Header { jku, ..eddsa() }, &good)
        }),
        ("its own claims with another signature", {
            let foreign = signed(&foreign, &eddsa(), &good);
            format!("{}.{}.{}", parts[0], parts[1], foreign.rsplit('.').next().unwrap())
        }),
    ];
    let mut texts = Vec::new();
    for (what, token) in &bad {
        println!("{what}");
        texts.push(refused(&server, token, Code::Unauthorized).await);
    }
    // The text does not tell a client without an account which check has failed.
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    // Signed by this server, for a user who does not exist.
    refused(&server, &with(json!({"sub": "424242"})), Code::Unauthorized).await;
    refused(&server, &with(json!({"exp": now() - 1})), Code::AuthExpired).await;
    refused(&server, &with(json!({"exp": 0})), Code::AuthExpired).await;
    assert_eq!(site.on_disk(), before);
    assert!(site.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_server_or_of_a_retired_key_is_told_so() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let told = refused(&server, &other.user.token, Code::Unauthorized).await;
    assert_eq!(told, "this token was issued by another server");
    let keys = server.site.path().join("keys");
    let old = SigningKeys::find(&keys).unwrap().signer().id();
    SigningKeys::add(&keys).unwrap();
    SigningKeys::find(&keys).unwrap().retire(&keys, old).unwrap();
    // The server has not read its keys again.
    RawClient::login(server.address(), &server.user.token).await;
    assert_eq!(server.reload().token_keys.unwrap(), 1);
    let told = refused(&server, &server.user.token, Code::Unauthorized).await;
    assert!(told.contains("is not in use on this server"), "{told}");
    let new = server.site.token(server.user.id, Duration::from_secs(60));
    RawClient::login(server.address(), &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires_by_the_servers_clock() {
    let server = TestServer::start().await;
    let token = server.site.token(server.user.id, Duration::from_secs(3600));
    RawClient::login(server.address(), &token).await;
    server.clock.advance(Duration::from_secs(3601));
    refused(&server, &token, Code::AuthExpired).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_user_opens_nothing_of_anothers() {
    let server = TestServer::start().await;
    let bob = server.site.add_user("bob").await;
    let test_file = TestFile::new(1000, 130);
    let mut client = RawClient::login(server.address(), &bob.token).await;
    client.upload(upload("same.bin", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..1000).await;
    client.complete(ZERO).await;
    server.site.assert_published(&bob, "same.bin", &test_file);
    assert!(!server.site.document(&server.user, "same.bin").exists());
}
