//! The token that a line has brought goes to the server of the line, and to no other one: whatever is
//! typed beside it, and whichever address answers.

use crate::login::{Person, line};
use rustix::process::Signal;
use std::fs;
use towline_tests::process::ServerProcess;
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// A key that no server has.
const OTHER_KEY: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[tokio::test(flavor = "multi_thread")]
async fn no_option_sends_the_token_of_a_line_to_an_unproven_server() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let person = Person::new(&site, &user, &server, "home");
    person.cli.write("big.bin", &TestFile::new(24 * BLOCK, 1201));
    let typed = line(&site, &[]).await;
    let put = ["put", "big.bin", "--to", &typed, "--limit-rate", "8MiB"];
    let mut sending = person.cli.start(person.command(&put));
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    sending.signal(Signal::INT);
    let paused = sending.end().await;
    let number = paused.assert_code(3).event("paused")["document_id"].to_string();

    let joined = person.setting("joined").read_dir().unwrap().next().unwrap().unwrap().path();
    let (joined, at) = (joined.to_str().unwrap(), server.address().to_string());
    let plaintext = "omit --plaintext";
    let fingerprint = "omit --fingerprint";
    for (command, text) in [
        (&["resume", &*number, "--plaintext"][..], plaintext),
        (&["resume", &*number, "--to", &at, "--plaintext"], plaintext),
        (&["resume", "--plaintext"], plaintext),
        (&["ls", "--to", &at, "--token-file", joined, "--plaintext"], plaintext),
        (&["resume", &*number, "--fingerprint", OTHER_KEY], fingerprint),
        (&["resume", &*number, "--to", &at, "--fingerprint", OTHER_KEY], fingerprint),
        (&["ls", "--to", &at, "--token-file", joined, "--fingerprint", OTHER_KEY], fingerprint),
    ] {
        let refused = person.types(command).await;
        refused.assert_code(1);
        for text in [text, "not even the token"] {
            assert!(refused.err.contains(text), "{command:?} {text}: {refused:?}");
        }
    }
    // What the message advises.
    person.types(&["resume", &number]).await.assert_done();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_remembered_for_an_address_that_has_not_proved_it() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let person = Person::new(&site, &user, &server, "home");
    let file = TestFile::new(1000, 1202);
    person.cli.write("a.bin", &file);
    // No server is at the first address of the line.
    let (nobody, at) = ("127.0.0.1:1", server.address().to_string());
    let typed = line(&site, &["--address", nobody, "--address", &at]).await;
    let put = ["put", "a.bin", "--to", &typed, "--retries", "0"];
    person.types(&put).await.assert_done();
    let known = fs::read_to_string(person.setting("known_servers")).unwrap();
    assert!(known.contains(&at) && !known.contains(nobody), "{known}");

    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    person.types(&put).await.assert_code(3);
    assert_eq!(fs::read_to_string(person.setting("known_servers")).unwrap(), known);
    server.start_again().await;
    person.types(&put).await.assert_done();
    assert_eq!(fs::read_to_string(person.setting("known_servers")).unwrap(), known);
}
