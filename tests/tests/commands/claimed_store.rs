//! A server says of itself which store it has. That is no proof: the token of that store goes to it only
//! after a question.

use crate::login::Person;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use towline_state::catalog::Peek;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::site::Site;
use towline_tests::tamper;

/// The key by which the hostile server knows tokens of an identity provider.
const SECRET: [u8; 32] = *b"abcdefghijklmnopqrstuvwxyz012345";

fn store_of(site: &Site) -> String {
    Peek::at(site.catalog_path()).unwrap().store.unwrap().store_id.to_string()
}

/// The store of `site` says from now on that it is that other one.
fn pretend(site: &Site, other: &str) {
    let own = store_of(site);
    for part in ["", "state", "uploads", "uploads/.staging"] {
        let marker = site.path().join(part).join(".towline-store");
        if let Ok(text) = fs::read_to_string(&marker) {
            fs::write(marker, text.replace(&own, other)).unwrap();
        }
    }
    tamper::edit(site, &format!("UPDATE store SET store_id = '{other}'"));
}

/// The file with the provider's key, which a server takes.
fn provider_keys(site: &Site) -> PathBuf {
    let path = site.outside().join("provider.json");
    let key = BASE64_URL_SAFE_NO_PAD.encode(SECRET);
    let key = json!({"kty": "oct", "kid": "provider", "alg": "HS256", "use": "sig", "k": key});
    fs::write(&path, json!({"keys": [key]}).to_string()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A token that says nothing of a store.
fn provider_token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = Header { kid: Some("provider".to_owned()), ..Header::new(Algorithm::HS256) };
    let claims = json!({"iss": "https://id.example", "sub": "ada", "iat": now, "exp": now + 1000});
    encode(&header, &claims, &EncodingKey::from_secret(&SECRET)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_it_has_a_store_does_not_get_the_token_of_that_store() {
    let (site, others) = (Site::new(), Site::new());
    let user = site.add_user("ada").await;
    others.add_user("ada").await;
    pretend(&others, &store_of(&site));
    let server = ServerProcess::start(&site).await;
    let keys = provider_keys(&others);
    let launch = Launch::over(&others).arguments(&["--token-keys", keys.to_str().unwrap()]);
    let hostile = launch.variable("TOWLINE_LOG", "debug").start().await;
    // The person has the token of the store in a file, and has not used it on this machine.
    let person = Person::new(&site, &user, &server, "home");
    fs::write(person.cli.path("provider.token"), provider_token()).unwrap();
    let at = hostile.address().to_string();
    let typed = ["ls", "--tls", "--trust-new", "--to", &at, "--token-file", "provider.token"];
    person.types(&typed).await.assert_done();

    // Under a name of before, the hostile server answers.
    let elsewhere = format!("localhost:{}", hostile.address().port());
    let refused = person.types(&["ls", "--tls", "--to", &elsewhere, "--token-file", "token"]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("is not known yet"), "{refused:?}");
    let log = hostile.gone().await.concat();
    assert!(!log.contains("a login was refused"), "{log}");

    // The server that takes a token of the store has proved more: it has that token already.
    let at = server.address().to_string();
    let typed = ["ls", "--tls", "--trust-new", "--to", &at, "--token-file", "token"];
    person.types(&typed).await.assert_done();
    let elsewhere = format!("localhost:{}", server.address().port());
    let again = person.types(&["ls", "--tls", "--to", &elsewhere, "--token-file", "token"]).await;
    again.assert_done();
}
