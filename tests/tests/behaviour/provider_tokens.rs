//! Tokens of an identity provider, made by PyJWT and by hand (`fixtures/provider_tokens/make.py`):
//! each algorithm is taken with its own key alone, and what RFC 8725 warns of is refused.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use towline_engine::Clock;
use towline_protocol::Code;
use towline_server::TrustedProvider;
use towline_server::token::{ProviderKeysError, TokenError, Tokens};
use towline_state::catalog::{Store, UserRef};
use towline_tests::raw_client::{RawClient, ZERO};
use towline_tests::server::TestServer;
use towline_types::Timestamp;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/provider_tokens").join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// The clock of the tokens.
fn clock() -> Clock {
    let now = json("tokens.json")["now"].as_u64().unwrap();
    Clock::new(move || Timestamp::from_secs(now))
}

fn provider(keys: PathBuf) -> TrustedProvider {
    let tokens = json("tokens.json");
    let text = |name: &str| tokens[name].as_str().map(str::to_owned);
    TrustedProvider { keys, issuer: text("issuer"), audience: text("audience") }
}

/// A token of the file by what it is.
fn token(what: &str) -> String {
    let tokens = json("tokens.json");
    let mut all = tokens["tokens"].as_array().unwrap().iter();
    let found = all.find(|token| token["what"] == what).unwrap_or_else(|| panic!("{what}"));
    found["token"].as_str().unwrap().to_owned()
}

/// What checks tokens by those keys, in a folder with a key of its own.
fn checker(folder: &Path, keys: PathBuf) -> Result<Tokens, ProviderKeysError> {
    let store = Store {
        store_id: "5f1c0a9e7b3d42688e21c4f09d6ab735".parse().unwrap(),
        made_at: Timestamp::MIN,
        tokens_without_id_until: None,
        marked_at: None,
    };
    Tokens::open(folder, &store, clock()).unwrap().trusting(provider(keys))
}

#[test]
fn each_algorithm_is_taken_with_its_own_key_and_forged_tokens_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = checker(folder.path(), fixture("keys.json")).unwrap();
    let file = json("tokens.json");
    let all = file["tokens"].as_array().unwrap();
    let mut counts = [0, 0, 0];
    for entry in all {
        let (what, token) = (&entry["what"], entry["token"].as_str().unwrap());
        let found = tokens.check(token);
        let kind = match entry["answer"].as_str().unwrap() {
            "good" => {
                let user = found.unwrap_or_else(|error| panic!("{what}: {error}")).user;
                let named = match user {
                    UserRef::Number(number) => number.to_string(),
                    UserRef::Name(name) => name,
                };
                assert_eq!(named, entry["user"].as_str().unwrap(), "{what}");
                0
            }
            "expired" => {
                assert_eq!(found, Err(TokenError::Expired), "{what}");
                1
            }
            _ => {
                assert_eq!(found, Err(TokenError::Bad), "{what}");
                2
            }
        };
        counts[kind] += 1;
    }
    assert!(counts[0] >= 10 && counts[1] >= 2 && counts[2] >= 120, "{counts:?}");
}

#[test]
fn each_key_alone_takes_the_tokens_of_its_own_algorithm() {
    let folder = tempfile::tempdir().unwrap();
    let all = json("keys.json");
    let algorithms = [("rsa", "RS256"), ("ec", "ES256"), ("ed", "EdDSA"), ("oct", "HS256")];
    for (kid, _) in algorithms {
        let mut one = all.clone();
        one["keys"].as_array_mut().unwrap().retain(|key| key["kid"] == kid);
        let path = folder.path().join("keys.json");
        std::fs::write(&path, one.to_string()).unwrap();
        let tokens = checker(folder.path(), path).unwrap();
        for (other, algorithm) in algorithms {
            let found = tokens.check(&token(&format!("{algorithm} with its key")));
            assert_eq!(found.is_ok(), kid == other, "{kid}: {algorithm}");
        }
    }
}

#[test]
fn a_key_that_is_not_safe_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let refused = checker(folder.path(), fixture("weak_key.json")).map(drop).unwrap_err();
    let refused = refused.to_string();
    assert!(refused.contains("weak_key.json") && refused.contains("1024 bits"), "{refused}");
    let missing = checker(folder.path(), fixture("no.json")).map(drop).unwrap_err().to_string();
    assert!(missing.contains("no.json"), "{missing}");
}

async fn told(server: &TestServer, token: &str, code: Code) -> String {
    let mut client = RawClient::connect(server.address()).await;
    client.hello(token).await;
    client.error(code).await.message
}

/// A server that trusts the keys at that path.
async fn server(keys: PathBuf) -> TestServer {
    TestServer::start_with(move |config| {
        config.provider = Some(provider(keys.clone()));
        config.engine.clock = clock();
        config.timings.recheck = Duration::from_secs(2);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_provider_is_a_user_who_exists() {
    let server = server(fixture("keys.json")).await;
    for what in ["RS256 with its key", "a user by number", "without iat"] {
        let mut client = RawClient::login(server.address(), &token(what)).await;
        client.ping().await;
    }
    let bad = "HS256 by the RSA public key, PEM SubjectPublicKeyInfo";
    let text = told(&server, &token(bad), Code::Unauthorized).await;
    assert_eq!(text, told(&server, &token("alg 'none'"), Code::Unauthorized).await);
    told(&server, &token("ended now"), Code::AuthExpired).await;
    let catalog = towline_state::Catalog::open(server.site.catalog_path()).unwrap();
    let listed = catalog.tokens(None).await.unwrap();
    assert_eq!(listed.len(), 0, "only the server's own tokens are listed: {listed:?}");
    catalog.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_read_again_and_a_key_that_is_gone_ends_its_connections() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::copy(fixture("keys.json"), &path).unwrap();
    let server = server(path.clone()).await;
    let rsa = token("RS256 with its key");
    let mut client = RawClient::login(server.address(), &rsa).await;
    std::fs::copy(fixture("weak_key.json"), &path).unwrap();
    let refused = server.reload().provider_keys.unwrap().unwrap_err().to_string();
    assert!(refused.contains("1024 bits"), "{refused}");
    client.ping().await;
    RawClient::login(server.address(), &rsa).await;
    let mut others = json("keys.json");
    others["keys"].as_array_mut().unwrap().retain(|key| key["kid"] != "rsa");
    std::fs::write(&path, others.to_string()).unwrap();
    assert_eq!(server.reload().provider_keys.unwrap().unwrap(), 3);
    client.error_on(ZERO, Code::Unauthorized).await;
    told(&server, &rsa, Code::Unauthorized).await;
    RawClient::login(server.address(), &token("ES256 with its key")).await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_user_without_an_account_says_so() {
    let server = server(fixture("keys.json")).await;
    let text = told(&server, &token("a user without an account"), Code::Unauthorized).await;
    assert!(text.contains("has no account") && text.contains("user add"), "{text}");
    let catalog = towline_state::Catalog::open(server.site.catalog_path()).unwrap();
    catalog.remove_user(server.user.id, server.clock.now()).await.unwrap();
    catalog.close().await.unwrap();
    let text = told(&server, &token("RS256 with its key"), Code::Unauthorized).await;
    assert!(text.contains("was removed"), "{text}");
}
