//! A server that does not answer: with a wrong name or port the client gives up soon, and for a
//! server that was there before it waits.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::netns_link::NetnsLink;
use towline_tests::process::{Launch, program, towline};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// An address at which no process listens.
fn nowhere() -> SocketAddr {
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    gone.local_addr().unwrap()
}

/// Longer than the few attempts take, and short for a person who has misspelt a name.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_nothing_listens_ends_after_a_few_tries() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let cli = CliFixture::new(&site, &user, nowhere());
    let file = cli.write("a.bin", &TestFile::new(10, 200));
    let mut put = cli.put(&file);
    put.arg("--json");
    let began = Instant::now();
    let outcome = run(put).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    outcome.assert_code(3);
    let message = outcome.event("error")["message"].as_str().unwrap().to_owned();
    for what in [&cli.to.to_string(), "no server listens", "8695", "tried 4 times"] {
        assert!(message.contains(what), "{message}");
    }
    let waits: Vec<_> =
        outcome.events().into_iter().filter(|event| event["event"] == "waiting").collect();
    assert_eq!(waits.len(), 3, "{waits:?}");
    assert_eq!(waits[2]["attempt"], 3);
    assert_eq!(waits[2]["reason"], "connection refused");
    assert!(waits[2]["next_in"].as_f64().is_some_and(|seconds| seconds > 0.0));

    // An explicit `--retries` comes before the usual limit.
    let mut put = cli.put(&file);
    put.args(["--retries", "0", "--json"]);
    let outcome = run(put).await;
    outcome.assert_code(3);
    assert!(!outcome.events().iter().any(|event| event["event"] == "waiting"), "{outcome:?}");
    assert!(outcome.err.contains("no server listens"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_files_the_first_speaks_for_all() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let cli = CliFixture::new(&site, &user, nowhere());
    for name in ["f/a.bin", "f/b.bin", "f/c.bin"] {
        cli.write(name, &TestFile::new(10, 201));
    }
    let began = Instant::now();
    let outcome = run(cli.put(&cli.path("f"))).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    outcome.assert_code(3);
    assert_eq!(outcome.err.matches("no server listens").count(), 1, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_one_ends_and_a_resolver_that_is_away_is_waited_for() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let cli = CliFixture::new(&site, &user, nowhere());
    let file = cli.write("a.bin", &TestFile::new(10, 204));
    let arguments = |command: &mut Command, host: &str| {
        command.arg("put").arg("--state-file").arg(cli.state_path()).arg(&file);
        command.args(["--to", host]).arg("--token-file").arg(cli.path("token"));
    };
    // An empty label is refused without asking a resolver.
    let mut put = towline();
    arguments(&mut put, "nas..lcal");
    let began = Instant::now();
    let outcome = run(put).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    outcome.assert_code(3);
    assert!(outcome.err.contains("no such host: nas..lcal"), "{outcome:?}");

    // The far end has no route to a resolver.
    let Some(link) = NetnsLink::make() else { return };
    let [under, there @ ..] = link.far.under();
    let mut put = Command::new(under);
    put.args(there).arg(program("towline-under-test")).kill_on_drop(true);
    arguments(&mut put, "nas.example");
    let mut waiting = cli.start(put);
    let event = waiting
        .until(|event| event["event"] == "waiting" && event["attempt"].as_u64() > Some(5))
        .await;
    assert_eq!(event["reason"], "the name server does not answer");
    waiting.signal(rustix::process::Signal::INT);
    waiting.end().await.assert_code(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_is_not_there_is_named() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let cli = CliFixture::new(&site, &user, nowhere());
    let mut put = cli.command("put");
    put.arg(cli.write("a.bin", &TestFile::new(10, 202)));
    put.args(["--to", "[fe80::1%nowhere9]:8695", "--retries", "0"]);
    put.arg("--token-file").arg(cli.path("token"));
    let outcome = run(put).await;
    outcome.assert_code(3);
    assert!(outcome.err.contains("fe80::1%nowhere9"), "{outcome:?}");
    assert!(outcome.err.contains("interface"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_there_is_waited_for_and_the_reason_is_told_as_it_changes() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = Launch::over(&site).start().await;
    let address = server.address();
    let test_file = TestFile::new(64 * BLOCK, 203);
    let cli = CliFixture::new(&site, &user, address);
    let file = cli.write("a.bin", &test_file);
    let mut put = cli.put(&file);
    put.args(["--chunk-size", "4KiB", "--parallel", "1"]);
    let mut sending = cli.start(put);
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    server.kill().await;
    // More attempts than the client makes for a server that has never answered.
    let refused = sending
        .until(|event| event["event"] == "waiting" && event["attempt"].as_u64() > Some(5))
        .await;
    assert_eq!(refused["reason"], "connection refused");
    sending.signal(rustix::process::Signal::INT);
    sending.end().await.assert_code(3);

    // A later run knows the server from the list.
    let mut again = cli.start(cli.put(&file));
    again.until(|event| event["event"] == "waiting" && event["attempt"].as_u64() > Some(5)).await;
    let _server = Launch::over(&site).listen(address).start().await;
    again.end().await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
}
