//! What the server logs, and that nothing waits for the log: one line at the start, one at the end
//! of each upload, no colours in a pipe, and no line that a client without an account can repeat
//! without limit.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use towline_protocol::Code;
use towline_tests::PATIENCE;
use towline_tests::process::{Launch, towlined};
use towline_tests::raw_client::{RawClient, ZERO, upload};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_a_plain_line_for_the_start_and_for_each_end() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let mut server = Launch::over(&site).arguments(&["--max-file-size", "500MB"]).start().await;
    let mut client = server.client(&user).await;
    let (large, small) = (TestFile::new(2 * BLOCK, 990), TestFile::new(1000, 991));
    client.upload(upload("large 'x'.bin", &large)).await;
    client.chunks(ZERO, &large, 0..large.size()).await;
    client.complete(ZERO).await;
    client.upload(upload("small", &small)).await;
    client.chunks(ZERO, &small, 0..small.size()).await;
    client.complete(ZERO).await;
    let cancelled = client.upload(upload("cancelled", &large)).await.document_id;
    client.cancel(cancelled).await;
    let paused = client.upload(upload("paused", &large)).await.document_id;
    client.chunks(ZERO, &large, 0..1000).await;
    client.has_received(paused, 1000).await;
    client.pause().await;
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());

    let said = server.said();
    let line = |words: &[&str]| {
        let found = said.iter().find(|line| words.iter().all(|word| line.contains(word)));
        found.unwrap_or_else(|| panic!("no line has {words:?}: {said:#?}")).clone()
    };
    let address = server.address().to_string();
    let data_dir = site.path().display().to_string();
    line(&["serving", env!("CARGO_PKG_VERSION"), &address, &data_dir, "500 MB", "uid="]);
    for (outcome, name) in [("completed", "large 'x'.bin"), ("completed", "small")] {
        let line = line(&[outcome, name, "user=1", "bytes=", "seconds=", "rate=", "peer="]);
        assert!(line.contains("INFO"), "{line}");
    }
    line(&["paused", "\"paused\"", "bytes=1000"]);
    line(&["cancelled", "\"cancelled\"", "reason="]);
    line(&["stopping"]);
    assert!(!said.iter().any(|line| line.contains('\x1b')), "no colours in a pipe: {said:#?}");
    let ends = said.iter().filter(|line| line.contains("outcome=")).count();
    assert_eq!(ends, 4, "one line for each: {said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_one_json_object_a_line_where_asked_for() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let launch = Launch::over(&site).arguments(&["--log-format", "json"]);
    let mut server = launch.start().await;
    let mut client = server.client(&user).await;
    let (test_file, name) = (TestFile::new(1000, 993), "a \"quoted\" e\u{301}.bin");
    client.upload(upload(name, &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
    let refused = launch.try_start().await.expect_err("it is in use");
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    let objects = |said: Vec<String>| -> Vec<Value> {
        let outputs = ["listening on ", "towlined 0.", "key SHA256:"];
        let is_output = |line: &&String| outputs.iter().any(|output| line.starts_with(output));
        let lines = said.iter().filter(|line| !is_output(line));
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    };
    let said = objects(server.said());
    for object in &said {
        for key in ["timestamp", "level", "message", "target"] {
            assert!(object[key].is_string(), "{key}: {object}");
        }
    }
    let of = |message: &str| {
        let found = said.iter().find(|object| object["message"] == message);
        found.unwrap_or_else(|| panic!("{message}: {said:#?}"))
    };
    assert_eq!(of("serving")["version"], env!("CARGO_PKG_VERSION"));
    let end = of("upload");
    assert_eq!((&end["outcome"], &end["user"]), (&"completed".into(), &"1".into()));
    assert_eq!((&end["bytes"], &end["level"]), (&1000.into(), &"INFO".into()));
    assert!(end["path"].as_str().unwrap().contains("quoted"), "{end}");
    of("stopping");
    // The error that ends a start is an object, too, on one line.
    let said = objects(refused.said);
    let last = said.last().expect("it says why");
    assert_eq!(last["level"], "ERROR");
    assert!(last["message"].as_str().unwrap().contains("in use by another server"), "{last}");

    let file = site.settings("log_format = 'json'");
    let server = Launch::over(&site).settings(&file).start().await;
    server.says("\"message\":\"serving\"").await;
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_sums_up_refused_logins() {
    let site = Site::in_memory();
    let mut server = Launch::over(&site).start().await;
    let began = Instant::now();
    for _ in 0..200 {
        let mut stranger = RawClient::connect(server.address()).await;
        stranger.hello("no.good.token").await;
        stranger.error(Code::Unauthorized).await;
    }
    let seconds = began.elapsed().as_secs() + 1;
    // The summary counts every refused login.
    server.says("logins were refused within the last second").await;
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    let said = server.said();
    let lines = said.iter().filter(|line| line.contains("refused")).count() as u64;
    assert!(lines <= seconds + 2, "{lines} lines in {seconds} s: {said:#?}");
    assert!(said.iter().any(|line| line.contains("127.0.0.0/24")), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_filter_that_is_not_understood_is_named() {
    let site = Site::in_memory();
    let server = Launch::over(&site).variable("TOWLINE_LOG", "verbose").start().await;
    server.says("TOWLINE_LOG=\"verbose\" is not understood").await;
    server.says("serving").await;
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_mean_no_end_are_passed_over() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let mut server = Launch::over(&site).start().await;
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::XFSZ, Signal::PIPE] {
        server.signal(signal);
    }
    for name in ["SIGUSR1", "SIGUSR2", "SIGXFSZ"] {
        server.says(name).await;
    }
    let mut client = server.client(&user).await;
    let test_file = TestFile::new(1000, 992);
    client.upload(upload("doc", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
}

/// For this time, clients send bad logins, about 2,000 per second.
const FLOOD: Duration = Duration::from_secs(4);

/// How many connections send bad logins at the same time.
const STRANGERS: u32 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_read_delays_no_upload() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    // Everything is logged, and no process reads the log.
    let mut command = towlined();
    command.arg("--data-dir").arg(site.path()).args(["--listen", "127.0.0.1:0"]);
    command.env("TOWLINE_LOG", "trace").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let unread = server.stderr.take().unwrap();
    let mut out = BufReader::new(server.stdout.take().unwrap()).lines();
    let first = timeout(PATIENCE, out.next_line()).await.unwrap().unwrap().unwrap();
    let address = first.strip_prefix("listening on ").unwrap().parse().unwrap();

    let strangers = || async move {
        let (began, mut sent) = (Instant::now(), 0_u32);
        while began.elapsed() < FLOOD {
            let mut stranger = RawClient::connect(address).await;
            stranger.hello("no.good.token").await;
            stranger.error(Code::Unauthorized).await;
            sent += 1;
            let due = Duration::from_secs(1) * sent * STRANGERS / 2000;
            tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
        }
        f64::from(sent) / began.elapsed().as_secs_f64()
    };
    let flood: Vec<_> = (0..STRANGERS).map(|_| tokio::spawn(strangers())).collect();
    let mut logins = Vec::new();
    while !flood.iter().all(JoinHandle::is_finished) {
        let began = Instant::now();
        let mut honest = RawClient::login(address, &user.token).await;
        honest.ping().await;
        logins.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut rate = 0.0;
    for stranger in flood {
        rate += stranger.await.unwrap();
    }
    logins.sort();
    let p95 = logins[logins.len() * 95 / 100];
    println!("{rate:.0} bad logins a second; {} honest ones, p95 {p95:?}", logins.len());
    assert!(p95 < Duration::from_secs(1), "{logins:?}");

    // An upload works meanwhile.
    let mut client = RawClient::login(address, &user.token).await;
    let test_file = TestFile::new(3 * BLOCK, 993);
    client.upload(upload("doc", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
    site.assert_published(&user, "doc", &test_file);

    let id = i32::try_from(server.id().unwrap()).ok().and_then(Pid::from_raw).unwrap();
    let began = Instant::now();
    kill_process(id, Signal::TERM).unwrap();
    let status = timeout(PATIENCE, server.wait()).await.expect("it ends").unwrap();
    println!("SIGTERM to the end: {:?}", began.elapsed());
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_reader_is_gone_ends_no_server() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let mut command = towlined();
    command.arg("--data-dir").arg(site.path()).args(["--listen", "127.0.0.1:0"]);
    command.env("TOWLINE_LOG", "debug").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    drop(server.stderr.take());
    let mut out = BufReader::new(server.stdout.take().unwrap()).lines();
    let first = timeout(PATIENCE, out.next_line()).await.unwrap().unwrap().unwrap();
    let address = first.strip_prefix("listening on ").unwrap().parse().unwrap();
    for number in 0..20 {
        let mut client = RawClient::login(address, &user.token).await;
        let test_file = TestFile::new(1000, 994 + number);
        client.upload(upload(&format!("{number}"), &test_file)).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        client.complete(ZERO).await;
    }
    assert!(server.try_wait().unwrap().is_none());
    server.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_whose_state_file_cannot_be_written_is_warned_of() {
    let site = Site::in_memory();
    let mut server = Launch::over(&site).start().await;
    server.says("serving").await;
    // A folder at the path of the state file: the file that is written beside it cannot be renamed
    // to it.
    let _ = std::fs::remove_file(site.state_path());
    std::fs::create_dir_all(site.state_path().join("in the way")).unwrap();
    server.signal(Signal::TERM);
    let status = server.ended().await;
    let said = server.said();
    assert!(status.success(), "{status}: {said:#?}");
    let warned = said.iter().any(|line| line.contains("WARN") && line.contains("state file"));
    assert!(warned, "{said:#?}");
}
