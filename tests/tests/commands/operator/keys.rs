//! `towlined key`: the keys that sign tokens are replaced one after the other, and no user is shut
//! out.

use super::{events, failed, said};
use rustix::process::Signal;
use serde_json::json;
use std::path::Path;
use towline_protocol::Code;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::RawClient;
use towline_tests::site::Site;

async fn token(site: &Site) -> String {
    said(site, &["token", "--user", "ada"]).await.trim().to_owned()
}

async fn is_refused(server: &ServerProcess, token: &str) -> String {
    let mut client = RawClient::connect(server.address()).await;
    client.hello(token).await;
    client.error(Code::Unauthorized).await.message
}

/// The ids of the keys, with what each does.
async fn list(site: &Site) -> Vec<(String, String)> {
    let said = said(site, &["key", "list"]).await;
    let words = said.lines().map(|line| line.split_whitespace());
    words.map(|mut words| (words.next().unwrap().into(), words.next().unwrap().into())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replaced_without_shutting_a_user_out() {
    let site = Site::new();
    site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let before = token(&site).await;
    let [(old, signs)] = &list(&site).await[..] else { panic!("one key") };
    assert_eq!(signs, "signs");

    let added = said(&site, &["key", "add"]).await;
    assert!(added.contains("SIGHUP"), "{added}");
    let [(first, checks), (new, signs)] = &list(&site).await[..] else { panic!("two keys") };
    assert_eq!((first, checks.as_str(), signs.as_str()), (old, "checks", "signs"));
    assert!(added.contains(new.as_str()), "{added}");
    let after = token(&site).await;
    server.signal(Signal::HUP);
    server.says_in_one_line(&["the keys of tokens were read again", "count=2"]).await;
    for token in [&before, &after] {
        RawClient::login(server.address(), token).await.ping().await;
    }

    let refused = failed(&site, &["key", "retire", new]).await;
    assert!(refused.contains("signs new tokens") && refused.contains("key add"), "{refused}");
    // A token of the old key is still good.
    let kept = failed(&site, &["key", "retire", old]).await;
    assert!(kept.contains("1 good token, until") && kept.contains("--now"), "{kept}");
    let listed = said(&site, &["key", "list"]).await;
    assert_eq!(listed.matches("1 good token, until").count(), 2, "{listed}");
    let (keys, summary) = events(&site, &["key", "list"]).await;
    assert_eq!(summary["keys"], 2);
    let told: Vec<_> = keys.iter().map(|key| (&key["key_id"], &key["signs"])).collect();
    assert_eq!(told, [(&json!(old), &json!(false)), (&json!(new), &json!(true))]);
    assert_eq!((&keys[0]["good_tokens"], keys[0]["good_until"].is_string()), (&json!(1), true));
    let ids = said(&site, &["tokens"]).await;
    assert_eq!(ids.matches(" good ").count(), 2, "{ids}");
    let retired = said(&site, &["key", "retire", old, "--now"]).await;
    assert!(retired.contains("SIGHUP"), "{retired}");
    let refused = failed(&site, &["key", "retire", old]).await;
    assert!(refused.contains("there is no key") && refused.contains("key list"), "{refused}");
    server.signal(Signal::HUP);
    server.says_in_one_line(&["the keys of tokens were read again", "count=1"]).await;
    let told = is_refused(&server, &before).await;
    assert!(told.contains("not in use on this server"), "{told}");
    RawClient::login(server.address(), &after).await.ping().await;

    // A file that is no key changes nothing.
    let path = site.path().join("keys/ed25519-2.pk8");
    let key = std::fs::read(&path).unwrap();
    std::fs::write(&path, "half of it").unwrap();
    server.signal(Signal::HUP);
    server.says_in_one_line(&["the keys of tokens were not read again", "ed25519-2.pk8"]).await;
    RawClient::login(server.address(), &after).await.ping().await;
    std::fs::write(&path, key).unwrap();
    let said = server.gone().await;
    for token in [before, after] {
        assert!(!said.iter().any(|line| line.contains(&token)), "a token is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_identity_provider_are_read_at_the_start_and_at_sighup() {
    let site = Site::new();
    site.add_user("ada").await;
    let fixture = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/provider_tokens").join(name)
    };
    let keys = site.outside().join("keys.json");
    let typed = keys.display().to_string();
    let start = async |arguments: &[&str]| {
        let ended =
            Launch::over(&site).arguments(arguments).try_start().await.expect_err("refused");
        (ended.status.and_then(|status| status.code()), ended.said.join("\n"))
    };
    let (code, said) = start(&["--token-issuer", "https://id.example"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("token_keys"), "{said}");
    let (code, said) = start(&["--token-keys", &typed]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&typed), "{said}");
    std::fs::copy(fixture("weak_key.json"), &keys).unwrap();
    let (code, said) = start(&["--token-keys", &typed]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1024 bits"), "{said}");

    std::fs::copy(fixture("keys.json"), &keys).unwrap();
    let settings = site.settings(&format!(
        "token_keys = {typed:?}\ntoken_issuer = \"https://id.example\"\ntoken_audience = \"towline\""
    ));
    let server = Launch::over(&site).settings(&settings).start().await;
    server.signal(Signal::HUP);
    server.says_in_one_line(&["identity provider were read again", "count=4"]).await;
    std::fs::write(&keys, "half of it").unwrap();
    server.signal(Signal::HUP);
    server.says_in_one_line(&["identity provider were not read again", &typed]).await;
    server.gone().await;
}
