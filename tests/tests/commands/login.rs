//! `towline login LINE`: a machine joins by one pasted line, and the server has a name from then on.

use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::process::{Launch, ServerProcess, stdout, towline, towlined};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::TestFile;

/// A person whose machine knows no server yet.
pub(crate) struct Person {
    pub(crate) cli: CliFixture,
    pub(crate) home: PathBuf,
}

impl Person {
    pub(crate) fn new(site: &Site, user: &TestUser, server: &ServerProcess, home: &str) -> Self {
        let cli = CliFixture::new(site, user, server.address());
        let home = cli.path(home);
        Self { cli, home }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = towline();
        command.args(arguments).current_dir(self.cli.path("."));
        command.env("XDG_CONFIG_HOME", &self.home).env("XDG_STATE_HOME", &self.home);
        command
    }

    pub(crate) async fn types(&self, arguments: &[&str]) -> Outcome {
        run(self.command(arguments)).await
    }

    pub(crate) fn setting(&self, name: &str) -> PathBuf {
        self.home.join("towline").join(name)
    }
}

pub(crate) async fn line(site: &Site, more: &[&str]) -> String {
    let mut join = towlined();
    join.args(["join", "--user", "ada"]).args(more).arg("--data-dir").arg(site.path());
    stdout(&mut join).await.trim().to_owned()
}

pub(crate) async fn tokens(site: &Site) -> usize {
    let said = stdout(towlined().arg("tokens").arg("--data-dir").arg(site.path())).await;
    said.lines().filter(|line| line.contains(" good ")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pasted_line_is_all_that_a_new_machine_needs() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let person = Person::new(&site, &user, &server, "home");
    let test_file = TestFile::new(100_000, 970);
    person.cli.write("a.bin", &test_file);

    let without = person.types(&["put", "a.bin"]).await;
    without.assert_code(2);
    assert!(without.err.contains("towline login LINE"), "{without:?}");
    let line = line(&site, &[]).await;
    let done = person.types(&["login", &line, "--as", "nas"]).await;
    done.assert_done();
    for text in ["nas", "as ada", "default server", "towline put FILE nas:"] {
        assert!(done.out.contains(text), "{text}: {done:?}");
    }
    for name in ["nas.token", "config.toml"] {
        let mode = fs::metadata(person.setting(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let token = fs::read_to_string(person.setting("nas.token")).unwrap();
    assert!(!done.out.contains(token.trim()) && !done.err.contains(token.trim()));

    for (arguments, place) in [
        (&["put", "a.bin", "nas:"][..], "a.bin"),
        (&["put", "a.bin", "nas:backup/2026"], "backup/2026/a.bin"),
        (&["put", "a.bin", "--to", "nas", "--folder", "b"], "b/a.bin"),
        (&["put", "a.bin", "--folder", "c"], "c/a.bin"),
    ] {
        person.types(arguments).await.assert_done();
        site.assert_published(&user, place, &test_file);
    }
    // The server has a known key now, so that it is spoken to with TLS, also on this machine.
    let known = fs::read_to_string(person.setting("known_servers")).unwrap();
    assert!(known.contains(&server.address().to_string()), "{known}");
    assert_eq!(person.types(&["ls"]).await.assert_done().out, "a.bin\nb/\nbackup/\nc/\n");

    let listed = person.types(&["servers"]).await;
    for text in ["nas  ", "token until", "(default)", &server.address().to_string()] {
        assert!(listed.assert_done().out.contains(text), "{text}: {listed:?}");
    }
    let again = person.types(&["login", &line, "--as", "nas"]).await;
    again.assert_code(1);
    assert!(again.err.contains("it was used"), "{again:?}");
    person.types(&["ls"]).await.assert_done();

    person.types(&["logout", "nas"]).await.assert_done();
    assert!(!person.setting("nas.token").exists());
    person.types(&["logout", "nas"]).await.assert_code(1);
    person.types(&["ls"]).await.assert_code(2);
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_for_another_key_or_with_damage_sends_nothing() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let person = Person::new(&site, &user, &server, "home");
    let line = line(&site, &[]).await;
    let key = &line[line.find("SHA256:").unwrap()..line.rfind('/').unwrap()];
    let other = format!("SHA256:{}", "A".repeat(43));
    let refused = person.types(&["login", &line.replace(key, &other)]).await;
    refused.assert_code(1);
    for text in [key, &other, "nothing was sent", "can still be used"] {
        assert!(refused.err.contains(text), "{text}: {refused:?}");
    }
    let cut = person.types(&["login", &line[..line.len() - 3]]).await;
    cut.assert_code(2);
    assert!(cut.err.contains("not complete"), "{cut:?}");
    person.types(&["login", &line.replace("towline://", "http://")]).await.assert_code(2);
    person.types(&["login", &line, "--as", "a b"]).await.assert_code(2);
    let typed = person.types(&["ls", "--to", &line]).await;
    typed.assert_code(2);
    assert!(typed.err.contains("towline login LINE"), "{typed:?}");
    assert_eq!(tokens(&site).await, 0);
    assert!(!person.home.exists(), "nothing was kept");
    // It was not used up by any of that. A chat has broken it into two words.
    let (front, back) = line.split_at(40);
    person.types(&["login", front, back]).await.assert_done();
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_machines_with_one_line_one_is_let_in() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let [one, other] = ["one", "other"].map(|home| Person::new(&site, &user, &server, home));
    let line = line(&site, &[]).await;
    let typed = ["login", line.as_str()];
    let (one, other) = tokio::join!(one.types(&typed), other.types(&typed));
    let mut codes = [one.code, other.code];
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(1)], "{one:?} {other:?}");
    assert_eq!(tokens(&site).await, 1);
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_leads_nowhere_is_passed_over() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    // Another server, with another key, has the first address.
    let elsewhere = Site::new();
    let other = ServerProcess::start(&elsewhere).await;
    let person = Person::new(&site, &user, &server, "home");
    let [first, right] = [other.address().to_string(), server.address().to_string()];
    let addresses = ["--address", "127.0.0.1:9", "--address", &first, "--address", &right];
    let line = line(&site, &addresses).await;
    person.types(&["login", &line, "--as", "nas"]).await.assert_done();
    let settings = fs::read_to_string(person.setting("config.toml")).unwrap();
    assert!(settings.contains(&right) && !settings.contains(&first), "{settings}");
    assert!(!other.gone().await.concat().contains("a login was refused"));
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_has_one_server_and_a_file_with_a_colon_stays_a_file() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let person = Person::new(&site, &user, &server, "home");
    person.types(&["login", &line(&site, &[]).await, "--as", "nas"]).await.assert_done();
    // Another key is another server; its name is looked at before its address.
    let taken = line(&site, &["--address", "other.example:1"]).await;
    let key = &taken[taken.find("SHA256:").unwrap()..taken.rfind('/').unwrap()];
    let taken = taken.replace(key, &format!("SHA256:{}", "A".repeat(43)));
    let refused = person.types(&["login", &taken, "--as", "nas"]).await;
    refused.assert_code(1);
    assert!(
        refused.err.contains("--as") && refused.err.contains("nothing was sent"),
        "{refused:?}"
    );

    let test_file = TestFile::new(100, 971);
    person.cli.write("nas:b", &test_file);
    person.cli.write("a.bin", &test_file);
    let unclear = person.types(&["put", "a.bin", "nas:b"]).await;
    unclear.assert_code(2);
    assert!(unclear.err.contains("./nas:b") && unclear.err.contains("--to nas"), "{unclear:?}");
    person.types(&["put", "a.bin", "./nas:b"]).await.assert_done();
    site.assert_published(&user, "nas:b", &test_file);
    person.types(&["put", "a.bin", "nas:x", "--to", "nas"]).await.assert_code(2);
    person.types(&["put", "a.bin", "nas:x", "--folder", "y"]).await.assert_code(2);

    let settings = person.setting("config.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}colour = \"red\"\n")).unwrap();
    let refused = person.types(&["ls"]).await;
    refused.assert_code(2);
    for text in ["config.toml", "line ", "colour"] {
        assert!(refused.err.contains(text), "{text}: {refused:?}");
    }
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_named_server_goes_to_that_server_alone() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let person = Person::new(&site, &user, &server, "home");
    person.types(&["login", &line(&site, &[]).await, "--as", "nas"]).await.assert_done();
    let elsewhere = person.types(&["ls", "--to", "127.0.0.1:9"]).await;
    elsewhere.assert_code(2);
    assert!(elsewhere.err.contains("a token is needed"), "{elsewhere:?}");
    // The environment's token is not meant for a server that is named.
    let mut named = person.command(&["ls", "--to", "nas"]);
    named.env("TOWLINE_TOKEN", "not-for-nas");
    run(named).await.assert_done();
    let mut beside = person.command(&["ls"]);
    beside.env("TOWLINE_TOKEN", "x").env("TOWLINE_SERVER", "127.0.0.1:9");
    assert_ne!(run(beside).await.code, Some(0));
    let mut by_variable = person.command(&["ls"]);
    by_variable.env("TOWLINE_SERVER", "nas");
    run(by_variable).await.assert_done();
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_takes_the_line_and_keeps_only_what_a_second_run_needs() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let person = Person::new(&site, &user, &server, "home");
    let test_file = TestFile::new(3_000_000, 972);
    person.cli.write("a.bin", &test_file);
    let line = line(&site, &[]).await;

    // A mistake does not use the line up, and nothing is kept of it.
    let missing = person.types(&["put", "no.bin", "--to", &line]).await;
    missing.assert_code(2);
    assert!(missing.err.contains("can still be used"), "{missing:?}");
    person.types(&["put", "a.bin", "--to", &line[..line.len() - 3]]).await.assert_code(2);
    person.types(&["put", "a.bin", "--to", &line, "--token-file", "x"]).await.assert_code(2);
    person.types(&["put", "a.bin", "--to", &line, "--dry-run"]).await.assert_done();
    assert!(!person.home.join("towline/joined").exists());

    person.types(&["put", "a.bin", "--to", &line]).await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
    let tokens_kept: Vec<_> = fs::read_dir(person.setting("joined"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [token] = tokens_kept.as_slice() else { panic!("{tokens_kept:?}") };
    assert_eq!(fs::metadata(token).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = line.rsplit_once('/').unwrap().1;
    assert!(!token.to_string_lossy().contains(secret), "a path is no secret");
    // There is no named server, and no default one.
    assert!(!person.setting("config.toml").exists());
    person.types(&["ls"]).await.assert_code(2);

    // The same command works again, also with another file: the token is kept.
    person.cli.write("b.bin", &test_file);
    person.types(&["put", "b.bin", "--folder", "x", "--to", &line]).await.assert_done();
    site.assert_published(&user, "x/b.bin", &test_file);
    assert_eq!(tokens(&site).await, 1);
    // Another machine needs another line.
    let other = Person::new(&site, &user, &server, "other");
    let refused = other.types(&["put", "a.bin", "--to", &line]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("it was used"), "{refused:?}");
    assert_eq!(fs::read_dir(other.setting("joined")).unwrap().count(), 0);
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_by_a_line_that_was_interrupted_goes_on_with_the_same_line() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let person = Person::new(&site, &user, &server, "home");
    let test_file = TestFile::new(40_000_000, 973);
    person.cli.write("a.bin", &test_file);
    let line = line(&site, &[]).await;
    let slow = person.command(&["put", "a.bin", "--to", &line, "--limit-rate", "4MB"]);
    let mut sending = person.cli.start(slow);
    let is_progress =
        |event: &Value| event["event"] == "progress" && event["durable"].as_u64() > Some(0);
    sending.until(is_progress).await;
    sending.signal(Signal::INT);
    let paused = sending.end().await;
    paused.assert_code(3);
    let durable = paused.event("paused")["durable"].as_u64().unwrap();
    let address = server.address();
    server.gone().await;
    let server = Launch::over(&site).listen(address).start().await;
    let ended = person.types(&["put", "a.bin", "--to", &line, "--json"]).await;
    let sent = ended.assert_done().event("completed")["sent_bytes"].as_u64().unwrap();
    assert_eq!(sent, test_file.size() as u64 - durable, "not a byte twice");
    site.assert_published(&user, "a.bin", &test_file);
    assert_eq!(tokens(&site).await, 1);
    server.gone().await;
}

/// Whoever has the address of a named server now, and hands out a line for it, gets neither the key of
/// that name nor its token.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_does_not_change_the_key_of_a_named_server() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let person = Person::new(&site, &user, &server, "home");
    person.cli.write("a.bin", &TestFile::new(1000, 978));
    let own = line(&site, &[]).await;
    person.types(&["login", &own, "--as", "nas"]).await.assert_done();
    let known = fs::read_to_string(person.setting("known_servers")).unwrap();
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());

    let others = Site::new();
    others.add_user("ada").await;
    let _other = Launch::over(&others).listen(server.address()).start().await;
    let theirs = line(&others, &[]).await;
    let before = tokens(&others).await;
    for command in [&["put", "a.bin", "--to", &theirs][..], &["resume", "--all", "--to", &theirs]] {
        let refused = person.types(command).await;
        refused.assert_code(1);
        for text in ["nothing was sent", "towline logout nas", "known_servers"] {
            assert!(refused.err.contains(text), "{text}: {refused:?}");
        }
    }
    assert_eq!(tokens(&others).await, before, "the line is still good");
    assert_eq!(fs::read_to_string(person.setting("known_servers")).unwrap(), known);
    person.types(&["put", "a.bin", "--to", "nas"]).await.assert_code(1);
}
