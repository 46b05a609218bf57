//! `towline put -`: what comes through a pipe, once, arrives whole or not at all.

use rustix::process::Signal;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::process::ServerProcess;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile, chance};

/// `towline put - --name NAME`, with these bytes in its pipe.
fn put(cli: &CliFixture, name: &str, test_file: &TestFile) -> Command {
    let (command, mut writer) = put_open(cli, name);
    let bytes = test_file.bytes.clone();
    // It ends at the latest with the command, which has the other end.
    std::thread::spawn(move || writer.write_all(&bytes));
    command
}

/// The same with a pipe that the test writes to.
fn put_open(cli: &CliFixture, name: &str) -> (Command, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut put = cli.put(Path::new("-"));
    put.args(["--name", name]).stdin(Stdio::from(reader));
    (put, writer)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_through_a_pipe_arrives_whole() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for size in [0, 1, 70_000, BLOCK, 5 * BLOCK + 7] {
        let (test_file, name) = (TestFile::new(size, 1100), format!("{size}.tar"));
        let mut put = put(&cli, &name, &test_file);
        put.args(["--folder", "backup/2026"]);
        let outcome = run(put).await;
        let size = test_file.filesize().to_string();
        let hash = test_file.hash().to_string();
        assert!(outcome.assert_done().out.contains(&format!("backup/2026/{name}")), "{outcome:?}");
        server.site.assert_published(&server.user, &format!("backup/2026/{name}"), &test_file);
        let mut list = cli.at_home("ls", &cli.path("state"));
        cli.reach(&mut list);
        list.args(["--json", &format!("backup/2026/{name}")]);
        let listed = run(list).await.assert_done().event("entry");
        assert_eq!((listed["size"].to_string(), listed["blake3"].as_str()), (size, Some(&*hash)));
    }
    // Nothing is left to be continued.
    assert!(!cli.state_path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_and_killed_servers_cost_no_byte_of_the_pipe() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { delay: Duration::from_millis(2), ..Faults::none() });
    let cli = CliFixture::new(&site, &user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK + 99, 1110);
    let mut sending = cli.start(put(&cli, "backup.tar", &test_file));
    let mut chance = chance();
    let mut durable = 0;
    for number in 0..6 {
        let link = proxy.link(number).await;
        link.has_passed(chance.u64(2000..3_000_000)).await;
        if number % 2 == 0 {
            link.cut();
        } else {
            server.kill().await;
            server.start_again().await;
        }
        let resumed = sending
            .until(|event| {
                durable = durable.max(event["durable"].as_u64().unwrap_or(0));
                // Before the server has granted anything, it begins anew.
                event["event"] == "resumed" || (event["event"] == "started" && number == 0)
            })
            .await;
        assert_eq!(resumed["open"], true, "{resumed}");
        assert!(resumed["received"].as_u64() >= Some(durable), "{durable}: {resumed}");
    }
    sending.end().await.assert_done();
    site.assert_published(&user, "backup.tar", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_is_interrupted_leaves_nothing_and_says_so() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let (command, mut writer) = put_open(&cli, "backup.tar");
    writer.write_all(&TestFile::new(60_000, 1120).bytes).unwrap();
    let mut sending = cli.start(command);
    let progress = sending.until(|event| event["durable"].as_u64() == Some(60_000)).await;
    assert_eq!((&progress["open"], &progress["filesize"]), (&true.into(), &60_000.into()));
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    outcome.assert_code(3);
    let said = "cannot be continued; run the whole command again";
    assert!(outcome.err.contains(said), "{outcome:?}");
    assert!(outcome.event("error")["advice"].as_str().unwrap().contains(said), "{outcome:?}");
    assert!(!cli.state_path().exists());
    let mut status = cli.at_home("status", &cli.path("state"));
    cli.reach(&mut status);
    status.arg(progress["document_id"].to_string()).arg("--json");
    let status = run(status).await.assert_done().event("status");
    assert_eq!(status["status"], "cancelled", "{status}");
    drop(writer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_follows_the_choice() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let files = [1130, 1131, 1132].map(|seed| TestFile::new(1000, seed));
    run(put(&cli, "a.tar", &files[0])).await.assert_done();
    for (choice, code) in [("reject", 1), ("skip", 0)] {
        let mut again = put(&cli, "a.tar", &files[1]);
        again.args(["--on-conflict", choice]);
        run(again).await.assert_code(code);
        server.site.assert_published(&server.user, "a.tar", &files[0]);
    }
    let outcome = run(put(&cli, "a.tar", &files[1])).await;
    assert!(outcome.assert_done().out.contains("stored as \"a (1).tar\""), "{outcome:?}");
    let mut replacing = put(&cli, "a.tar", &files[2]);
    replacing.args(["--on-conflict", "replace"]);
    run(replacing).await.assert_done();
    server.site.assert_published(&server.user, "a.tar", &files[2]);
    server.site.assert_published(&server.user, "a (1).tar", &files[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_has_a_name_and_is_sent_alone() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let outcome = run(cli.put(Path::new("-"))).await;
    outcome.assert_code(2);
    assert!(outcome.err.contains("towline put - --name NAME"), "{outcome:?}");
    let file = cli.write("a.bin", &TestFile::new(10, 1140));
    for name in ["a/b", "con", "", "a\u{7}b"] {
        let outcome = run(put(&cli, name, &TestFile::new(10, 1141))).await;
        outcome.assert_code(2);
        assert_eq!(outcome.err.contains("--folder a --name b"), name == "a/b", "{outcome:?}");
        assert!(outcome.err.contains("--name"), "{outcome:?}");
    }
    let mut named = cli.put(&file);
    named.args(["--name", "b.bin"]);
    run(named).await.assert_code(2);
    // Among others it is refused, and the others go on.
    let mut among = cli.put(&file);
    among.arg("-");
    let outcome = run(among).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("`towline put - --name NAME`"), "{outcome:?}");
    server.site.assert_published(&server.user, "a.bin", &TestFile::new(10, 1140));

    let mut dry = put(&cli, "b.tar", &TestFile::new(10, 1142));
    dry.arg("--dry-run");
    let outcome = run(dry).await;
    assert!(outcome.assert_done().out.contains("standard input -> b.tar"), "{outcome:?}");
    let mut dry = put(&cli, "b.tar", &TestFile::new(10, 1142));
    dry.args(["--dry-run", "--json"]);
    let outcome = run(dry).await;
    let planned = outcome.assert_done().event("planned");
    assert_eq!((&planned["path"], &planned["to"]), (&"-".into(), &"b.tar".into()), "{planned}");
    assert_eq!(outcome.event("plan")["files"], 1);
    assert!(!server.site.document(&server.user, "b.tar").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_brings_nothing_is_given_up_after_the_timeout_alone() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let (mut command, mut writer) = put_open(&cli, "slow.tar");
    writer.write_all(b"first").unwrap();
    command.args(["--timeout", "1"]);
    let outcome = run(command).await;
    outcome.assert_code(3);
    assert!(outcome.err.contains("no progress for 1 s; giving up (--timeout)"), "{outcome:?}");
    assert!(outcome.err.contains("cannot be continued"), "{outcome:?}");
}

/// The client has no connection when it is ended: it waits for the next attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_is_ended_without_a_connection_is_cancelled_or_the_command_for_that_is_named() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for is_reachable in [true, false] {
        let before = proxy.connections();
        let (command, mut writer) = put_open(&cli, "backup.tar");
        writer.write_all(&TestFile::new(60_000, 1150).bytes).unwrap();
        let mut sending = cli.start(command);
        let progress = sending.until(|event| event["durable"].as_u64() == Some(60_000)).await;
        proxy.otherwise(Faults::reset_after(0));
        proxy.link(before).await.cut();
        sending.until(|event| event["event"] == "waiting").await;
        if is_reachable {
            proxy.otherwise(Faults::none());
        }
        sending.signal(Signal::TERM);
        let outcome = sending.end().await;
        outcome.assert_code(3);
        proxy.otherwise(Faults::none());
        let number = progress["document_id"].to_string();
        let named = format!("towline cancel {number} --to {}", cli.to);
        assert_eq!(outcome.err.contains(&named), !is_reachable, "{outcome:?}");
        if !is_reachable {
            let mut cancel = cli.at_home("cancel", &cli.path("state"));
            cancel.arg(&number);
            cli.reach(&mut cancel);
            run(cancel).await.assert_done();
        }
        let mut status = cli.at_home("status", &cli.path("state"));
        cli.reach(&mut status);
        status.arg(&number).arg("--json");
        let status = run(status).await.assert_done().event("status");
        assert_eq!(status["status"], "cancelled", "{status}");
        drop(writer);
    }
}
