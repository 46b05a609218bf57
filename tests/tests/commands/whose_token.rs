//! A token goes to the server that it is for, and to no other one: not by a line, not by an address
//! that was typed, and not because another server has the same certificate.

use crate::login::{Person, line, tokens};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use towline_tests::cli_fixture::run;
use towline_tests::process::{Launch, ServerProcess, stdout, towlined};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::{BLOCK, TestFile};

/// A person, the server `nas` that the person uses, and another server with a user of the same name.
struct Two {
    site: Site,
    _user: TestUser,
    server: ServerProcess,
    person: Person,
    others: Site,
}

impl Two {
    async fn make(keys: Keys) -> Self {
        let (site, others) = (Site::new(), Site::new());
        let user = site.add_user("ada").await;
        others.add_user("ada").await;
        let server = ServerProcess::start(&site).await;
        if keys == Keys::OneForBoth {
            let key = Path::new("keys/tls.pem");
            fs::create_dir_all(others.path().join("keys")).unwrap();
            fs::copy(site.path().join(key), others.path().join(key)).unwrap();
        }
        let person = Person::new(&site, &user, &server, "home");
        person.types(&["login", &line(&site, &[]).await, "--as", "nas"]).await.assert_done();
        Self { site, _user: user, server, person, others }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.person.setting(name)).unwrap_or_default()
    }

    /// Sends a file until a part is durable, and pauses. Returns the number of the document.
    async fn paused(&self, name: &str, to: &[&str]) -> String {
        // Files with other bytes: equal ones would be there already.
        let seed = name.bytes().map(u64::from).sum();
        self.person.cli.write(name, &TestFile::new(24 * BLOCK, seed));
        let put = [&["put", name, "--limit-rate", "8MiB"][..], to].concat();
        let mut sending = self.person.cli.start(self.person.command(&put));
        sending.until(|event| event["durable"].as_u64() > Some(0)).await;
        sending.signal(Signal::INT);
        let paused = sending.end().await;
        paused.assert_code(3).event("paused")["document_id"].to_string()
    }

    /// The list of unfinished uploads.
    fn list(&self) -> String {
        fs::read_to_string(self.person.home.join("towline/uploads_state.json")).unwrap()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    OneForBoth,
    OneForEach,
}

/// The other server was told nothing.
async fn assert_no_token_came(other: ServerProcess) {
    let log = other.gone().await.concat();
    assert!(!log.contains("a login was refused") && !log.contains("logged in"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_takes_no_upload_of_another_server() {
    let two = Two::make(Keys::OneForEach).await;
    let number = two.paused("big.bin", &["--to", "nas"]).await;
    let other = Launch::over(&two.others).variable("TOWLINE_LOG", "debug").start().await;
    let theirs = line(&two.others, &[]).await;
    let (list, known) = (two.list(), two.read("known_servers"));
    for what in [&[&*number][..], &["--all"], &["big.bin"], &[]] {
        let command = [&["resume", "--to", &theirs][..], what].concat();
        let refused = two.person.types(&command).await;
        refused.assert_code(1);
        assert_eq!(two.list(), list, "{refused:?}");
    }
    let refused = two.person.types(&["resume", &number, "--to", &theirs]).await;
    for text in ["not begun with the server of the line", "not even the token"] {
        assert!(refused.err.contains(text), "{text}: {refused:?}");
    }
    assert_eq!(two.read("known_servers"), known);
    assert_no_token_came(other).await;
    // The line of its own server takes it.
    let own = line(&two.site, &[]).await;
    two.person.types(&["resume", &number, "--to", &own]).await.assert_done();
}

/// The token is in a file of the person's own, and the server has no name.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_for_the_address_of_an_upload_changes_neither_its_key_nor_gets_its_token() {
    let mut two = Two::make(Keys::OneForEach).await;
    fs::copy(two.person.setting("nas.token"), two.person.cli.path("own.token")).unwrap();
    two.person.types(&["logout", "nas"]).await.assert_done();
    let address = two.server.address();
    let at = address.to_string();
    let number = two.paused("big.bin", &["--to", &at, "--token-file", "own.token"]).await;
    let (list, known) = (two.list(), two.read("known_servers"));
    two.server.signal(Signal::TERM);
    assert!(two.server.ended().await.success());
    let launch = Launch::over(&two.others).listen(address);
    let other = launch.clone().variable("TOWLINE_LOG", "debug").start().await;
    let theirs = line(&two.others, &[]).await;
    for what in [&number, "--all", "big.bin"] {
        two.person.types(&["resume", "--to", &theirs, what]).await.assert_code(1);
    }
    two.person.types(&["resume", &number]).await.assert_code(1);
    assert_eq!((two.list(), two.read("known_servers")), (list, known.clone()));
    assert_no_token_came(other).await;

    // What is sent by the line itself goes on by itself, beside the key that is known.
    let other = launch.start().await;
    let theirs = line(&two.others, &[]).await;
    let number = two.paused("other.bin", &["--to", &theirs]).await;
    assert_eq!(two.read("known_servers"), known);
    two.person.types(&["resume", &number, "--to", &theirs]).await.assert_done();
    let number = two.paused("third.bin", &["--to", &theirs]).await;
    two.person.types(&["resume", &number]).await.assert_done();
    assert_eq!(two.read("known_servers"), known);
    other.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_typed_gets_the_token_of_the_list_only_with_the_right_key() {
    let two = Two::make(Keys::OneForEach).await;
    let number = two.paused("big.bin", &["--to", "nas"]).await;
    let other = Launch::over(&two.others).variable("TOWLINE_LOG", "debug").start().await;
    let at = other.address().to_string();
    let list = two.list();
    let refused = async |more: &[&str], text: &str| {
        let command = [&["resume", &number, "--to", &at][..], more].concat();
        let refused = two.person.types(&command).await;
        refused.assert_code(1);
        assert!(refused.err.contains(text), "{text}: {refused:?}");
        assert!(refused.err.contains("not even the token"), "{refused:?}");
        assert_eq!(two.list(), list);
    };
    // A loopback address as well: the upload was begun with a key.
    refused(&[], "not the server that it has to be").await;
    refused(&["--tls"], "not the server that it has to be").await;
    refused(&["--trust-new"], "not the server that it has to be").await;
    refused(&["--plaintext"], "--token-file").await;
    let theirs = line(&two.others, &["--address", &at]).await;
    let key = &theirs[theirs.find("SHA256:").unwrap()..theirs.rfind('/').unwrap()];
    refused(&["--fingerprint", key], "--token-file").await;
    assert_no_token_came(other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_does_not_change_the_key_of_a_server_with_another_name() {
    let mut two = Two::make(Keys::OneForEach).await;
    let address = two.server.address();
    two.server.signal(Signal::TERM);
    assert!(two.server.ended().await.success());
    let other = Launch::over(&two.others).listen(address).start().await;
    let theirs = line(&two.others, &[]).await;
    let before = ["known_servers", "config.toml", "nas.token"].map(|name| two.read(name));
    for name in ["nas", "friend"] {
        let refused = two.person.types(&["login", &theirs, "--as", name]).await;
        refused.assert_code(1);
        for text in ["can still be used", "towline logout nas", "known_servers"] {
            assert!(refused.err.contains(text), "{text}: {refused:?}");
        }
    }
    let after = ["known_servers", "config.toml", "nas.token"].map(|name| two.read(name));
    assert_eq!(before, after);
    assert_eq!(tokens(&two.others).await, 0, "the line is still good");

    // What the message says works.
    two.person.types(&["logout", "nas"]).await.assert_done();
    let refused = two.person.types(&["login", &theirs, "--as", "nas"]).await;
    refused.assert_code(1);
    assert!(!refused.err.contains("logout"), "{refused:?}");
    let known = two.read("known_servers");
    let others = known.lines().filter(|line| !line.starts_with(&address.to_string()));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    fs::write(two.person.setting("known_servers"), others).unwrap();
    two.person.types(&["login", &theirs, "--as", "nas"]).await.assert_done();
    two.person.types(&["ls"]).await.assert_done();
    other.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_writes_no_token_over_that_of_another_store_or_user() {
    let two = Two::make(Keys::OneForBoth).await;
    let other = ServerProcess::start(&two.others).await;
    let token = two.read("nas.token");
    // The second time it has that name already.
    for more in [&["--as", "nas"][..], &["--as", "nas", "--json"]] {
        let theirs = line(&two.others, &[]).await;
        let done = two.person.types(&[&["login", &theirs][..], more].concat()).await;
        let out = &done.assert_done().out;
        match more.contains(&"--json") {
            true => {
                let said = done.event("login");
                assert_eq!((&said["name"], &said["name_taken"]), (&"nas-2".into(), &"nas".into()));
            }
            false => {
                for text in ["logged in to nas-2", "keeps its token", "towline logout nas"] {
                    assert!(out.contains(text), "{text}: {out}");
                }
            }
        }
        two.person.types(&["ls", "--to", "nas-2"]).await.assert_done();
    }
    // The only server with that key has moved, or it is another one: without `--as`, too.
    two.person.types(&["logout", "nas-2"]).await.assert_done();
    let theirs = line(&two.others, &[]).await;
    let done = two.person.types(&["login", &theirs]).await;
    assert!(!done.assert_done().out.contains("logged in to nas "), "{done:?}");

    // Another user of the same server.
    two.site.add_user("bob").await;
    let mut join = towlined();
    join.args(["join", "--user", "bob", "--data-dir"]).arg(two.site.path());
    let bobs = stdout(&mut join).await.trim().to_owned();
    let done = two.person.types(&["login", &bobs, "--as", "nas"]).await;
    assert!(done.assert_done().out.contains("logged in to nas-2"), "{done:?}");

    // A file of that name that is not a server's.
    let kept = two.person.setting("kept.token");
    fs::write(&kept, &token).unwrap();
    let theirs = line(&two.others, &[]).await;
    let done = two.person.types(&["login", &theirs, "--as", "kept"]).await;
    assert!(done.assert_done().out.contains("logged in to kept-2"), "{done:?}");
    assert_eq!((two.read("nas.token"), fs::read_to_string(&kept).unwrap()), (token.clone(), token));
    two.person.types(&["ls", "--to", "nas"]).await.assert_done();

    // The same user of the same server gets another token, under the same name.
    let own = line(&two.site, &[]).await;
    let done = two.person.types(&["login", &own, "--as", "nas"]).await;
    assert!(done.assert_done().out.contains("logged in to nas ("), "{done:?}");
    two.person.types(&["ls", "--to", "nas"]).await.assert_done();
    other.gone().await;
}

/// A person who edits the address of a named server, or types a new one, is asked about the server
/// there, unless it has proved that it is the one that the token is for.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_any_known_server_is_not_enough() {
    let two = Two::make(Keys::OneForEach).await;
    let other = Launch::over(&two.others).variable("TOWLINE_LOG", "debug").start().await;
    let theirs = line(&two.others, &[]).await;
    two.person.types(&["login", &theirs, "--as", "friend"]).await.assert_done();
    let own = two.read("config.toml");
    // Another name for the address, at which no key is known yet.
    let elsewhere = |server: &ServerProcess| format!("localhost:{}", server.address().port());
    let edit = |to: &str| {
        let address = format!("address = \"{}\"", two.server.address());
        let edited = own.replace(&address, &format!("address = \"{to}\""));
        assert_ne!(edited, own);
        fs::write(two.person.setting("config.toml"), edited).unwrap();
    };
    edit(&elsewhere(&other));
    for more in [&[][..], &["--to", "nas"]] {
        let refused = two.person.types(&[&["ls", "--tls"][..], more].concat()).await;
        refused.assert_code(1);
        assert!(refused.err.contains("is not known yet"), "{refused:?}");
    }
    edit(&elsewhere(&two.server));
    two.person.types(&["ls", "--tls"]).await.assert_done();
    let log = other.gone().await.concat();
    assert!(!log.contains("a login was refused"), "{log}");
}

/// One token for a list with uploads of two servers.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_typed_goes_to_no_server_of_another_store() {
    let two = Two::make(Keys::OneForEach).await;
    let other = Launch::over(&two.others).start().await;
    let theirs = line(&two.others, &[]).await;
    two.person.types(&["login", &theirs, "--as", "friend"]).await.assert_done();
    two.paused("big.bin", &["--to", "nas"]).await;
    let number = two.paused("other.bin", &["--to", "friend"]).await;
    let token = two.person.setting("nas.token");
    let resume = ["resume", "--all", "--token-file", token.to_str().unwrap()];
    let resumed = two.person.types(&resume).await;
    resumed.assert_code(1);
    for text in ["is for another server", "not even the token", "--token-file"] {
        assert!(resumed.err.contains(text), "{text}: {resumed:?}");
    }
    let left = two.list();
    assert!(left.contains("other.bin") && !left.contains("big.bin"), "{left}");
    // A question about that upload, too.
    let at = other.address().to_string();
    let status = ["status", &number, "--to", &at, "--token-file", token.to_str().unwrap()];
    two.person.types(&status).await.assert_code(1);
    two.person.types(&["resume"]).await.assert_done();
    let log = other.gone().await.concat();
    assert!(!log.contains("a login was refused"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_environment_is_not_meant_for_the_server_of_a_line() {
    let two = Two::make(Keys::OneForEach).await;
    let number = two.paused("big.bin", &["--to", "nas"]).await;
    let own = line(&two.site, &[]).await;
    let mut resume = two.person.command(&["resume", &number, "--to", &own]);
    resume.env("TOWLINE_TOKEN", "not-for-nas");
    run(resume).await.assert_done();
}
