//! `towlined tokens` and `towlined token revoke`: which tokens there are, and the end of one.

use super::{events, failed, run, said};
use tokio::time::timeout;
use towline_protocol::Code;
use towline_tests::PATIENCE;
use towline_tests::process::Launch;
use towline_tests::raw_client::RawClient;
use towline_tests::site::Site;

async fn token(site: &Site, user: &str) -> String {
    said(site, &["token", "--user", user]).await.trim().to_owned()
}

/// The rows of the list, without its head and the lines that name a user.
async fn rows(site: &Site, more: &[&str]) -> Vec<String> {
    let said = said(site, &[&["tokens"], more].concat()).await;
    let is_row = |line: &&str| line.split(' ').next().is_some_and(|word| word.len() == 32);
    said.lines().filter(is_row).map(str::to_owned).collect()
}

fn id(row: &str) -> &str {
    row.split(' ').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_listed_and_revoked_and_is_never_shown_again() {
    let site = Site::new();
    for name in ["ada", "bob"] {
        site.add_user(name).await;
    }
    let server = Launch::over(&site).variable("TOWLINE_LOG", "trace").start().await;
    let (first, second) = (token(&site, "ada").await, token(&site, "ada").await);
    let bobs = token(&site, "bob").await;
    let all = said(&site, &["tokens"]).await;
    for token in [&first, &second, &bobs] {
        let parts = token.split('.').filter(|part| all.contains(*part));
        assert_eq!(parts.count(), 0, "a part of a token is in the list: {all}");
    }
    let listed = rows(&site, &[]).await;
    assert_eq!(listed.len(), 3, "{listed:#?}");
    for row in &listed {
        assert!(row.contains(" good ") && row.ends_with("never"), "{row}");
    }
    let adas = rows(&site, &["--user", "ada"]).await;
    assert_eq!(adas, listed[..2]);

    let mut client = RawClient::login(server.address(), &first).await;
    client.ping().await;
    let used = timeout(PATIENCE, async {
        loop {
            // The catalog is told of a use behind the login.
            let row = rows(&site, &["--user", "ada"]).await.swap_remove(0);
            if !row.ends_with("never") {
                break row;
            }
        }
    });
    let used = used.await.expect("the use is noted");
    assert_eq!(id(&used), id(&adas[0]));
    assert!(used.ends_with('Z'), "{used}");

    let beginning = &id(&adas[0])[..12];
    let revoked = said(&site, &["token", "revoke", beginning]).await;
    assert!(revoked.contains(id(&adas[0])) && revoked.contains("ada (user 1)"), "{revoked}");
    assert!(revoked.contains("within 30 s"), "{revoked}");
    let mut refused = RawClient::connect(server.address()).await;
    refused.hello(&first).await;
    let told = refused.error(Code::Unauthorized).await.message;
    assert!(told.contains("was revoked"), "{told}");
    RawClient::login(server.address(), &second).await.ping().await;
    let adas = rows(&site, &["--user", "ada"]).await;
    assert!(adas[0].contains(" revoked ") && adas[1].contains(" good "), "{adas:#?}");

    for (typed, part) in
        [("", "at least the first 4"), ("0", "at least the first 4"), ("zzzzzz", "tokens")]
    {
        let refused = failed(&site, &["token", "revoke", typed]).await;
        assert!(refused.contains(part), "{typed}: {refused}");
    }
    assert_eq!(run(&site, &["token"]).await.status.code(), Some(2));
    said(&site, &["user", "remove", "bob"]).await;
    let bobs_row = rows(&site, &["--user", "bob"]).await.swap_remove(0);
    assert!(bobs_row.contains("user removed"), "{bobs_row}");
    let (for_programs, summary) = events(&site, &["tokens"]).await;
    assert_eq!(summary["tokens"], 3);
    let states: Vec<_> = for_programs.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["revoked", "good", "user removed"]);
    assert_eq!(for_programs[0]["token_id"], id(&adas[0]));
    assert!(
        for_programs[0]["revoked_at"].is_string() && for_programs[0]["last_used_at"].is_string()
    );
    assert!(for_programs[2].get("last_used_at").is_none(), "{for_programs:#?}");
    let text = format!("{for_programs:?}");
    for token in [&first, &second, &bobs] {
        assert!(!token.split('.').any(|part| text.contains(part)), "a part of a token: {text}");
    }

    // Of a token that came over the wire nothing is in the log, whatever became of it.
    let mut bad = RawClient::connect(server.address()).await;
    bad.hello("eyJhbGciOiJub25lIn0.e30.NotInTheLog").await;
    bad.error(Code::Unauthorized).await;
    drop(client);
    let log = server.gone().await.concat();
    assert!(log.contains("logged in"), "it is a log of everything");
    for token in [&first, &second, &bobs] {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "a token is in the log");
    }
    assert!(!log.contains("NotInTheLog"));
}
