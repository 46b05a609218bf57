//! A folder is one command: after an interruption it is continued as a whole.

use rustix::process::Signal;
use std::time::Duration;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Run, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// Files that are sent one after another, and take some time on a slow link.
fn files(cli: &CliFixture, folder: &str, count: usize, seed: u64) -> Vec<(String, TestFile)> {
    (0..count)
        .map(|n| {
            let name = format!("{folder}/f{n}.bin");
            let test_file = TestFile::new(12 * BLOCK + n, seed + n as u64);
            cli.write(&name, &test_file);
            (name, test_file)
        })
        .collect()
}

fn slowly() -> Faults {
    Faults { delay: Duration::from_millis(10), ..Faults::none() }
}

/// Waits until the first file is done and the second has begun.
async fn one_and_a_bit(sending: &mut Run) {
    sending.until(|event| event["event"] == "completed").await;
    sending
        .until(|event| event["event"] == "progress" && event["received"].as_u64() > Some(0))
        .await;
}

/// A `put` of a folder with three files that is stopped during the second one.
async fn interrupted(cli: &CliFixture, proxy: &FaultProxy, put: Command, signal: Signal) -> String {
    proxy.otherwise(slowly());
    let mut sending = cli.start(put);
    one_and_a_bit(&mut sending).await;
    sending.signal(signal);
    let outcome = sending.end().await;
    if signal == Signal::INT {
        outcome.assert_code(3);
    }
    proxy.otherwise(Faults::none());
    outcome.err
}

fn assert_all_there(server: &TestServer, files: &[(String, TestFile)]) {
    for (name, test_file) in files {
        server.site.assert_published(&server.user, name, test_file);
    }
}

fn assert_nothing_remembered(cli: &CliFixture) {
    let state = cli.state();
    assert!(state.uploads.is_empty() && state.jobs.is_empty(), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_finishes_all_that_was_named() {
    for signal in [Signal::INT, Signal::KILL] {
        let server = TestServer::start().await;
        let proxy = FaultProxy::start(server.address(), []).await;
        let cli = CliFixture::new(&server.site, &server.user, proxy.address());
        let files = files(&cli, "photos", 3, 600);
        let err = interrupted(&cli, &proxy, cli.put(&cli.path("photos")), signal).await;
        assert_eq!(cli.state().jobs.len(), 1);
        if signal == Signal::INT {
            assert!(err.contains("1 of 3 files done, 1 begun, 1 to go"), "{err}");
            assert!(err.contains("`towline resume --state-file"), "{err}");
            assert!(!err.contains("towline resume 2"), "one file alone is not the job: {err}");
            let listed = run(cli.command("uploads")).await;
            let out = &listed.assert_done().out;
            assert!(out.contains("1 of 3 files done, 1 begun, 1 to go"), "{listed:?}");
            assert!(out.contains("photos"), "{listed:?}");
        }
        let mut resume = cli.command("resume");
        resume.arg("--json");
        let resumed = run(resume).await;
        let summary = resumed.assert_done().event("summary");
        assert_eq!(summary["paused"], 0, "{summary}");
        assert_all_there(&server, &files);
        assert_nothing_remembered(&cli);
        let listed = run(cli.command("uploads")).await;
        assert!(listed.assert_done().out.contains("no unfinished uploads"), "{listed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_finishes_it_too() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let files = files(&cli, "photos", 3, 610);
    interrupted(&cli, &proxy, cli.put(&cli.path("photos")), Signal::INT).await;
    // After a second interruption it is still one command; files that an earlier run has begun
    // count as begun.
    let err = interrupted_at_once(&cli, &proxy).await;
    assert!(err.contains("of 3 files done, 1 begun"), "{err}");
    assert_eq!(cli.state().jobs.len(), 1);
    run(cli.put(&cli.path("photos"))).await.assert_done();
    assert_all_there(&server, &files);
    assert_nothing_remembered(&cli);
}

/// A second run of the same `put`, stopped during the file that the first run had begun.
async fn interrupted_at_once(cli: &CliFixture, proxy: &FaultProxy) -> String {
    proxy.otherwise(slowly());
    let mut sending = cli.start(cli.put(&cli.path("photos")));
    sending.until(|event| event["event"] == "resumed").await;
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    outcome.assert_code(3);
    proxy.otherwise(Faults::none());
    outcome.err
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upload_of_it_can_be_resumed_alone() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let files = files(&cli, "photos", 3, 620);
    interrupted(&cli, &proxy, cli.put(&cli.path("photos")), Signal::INT).await;
    let mut resume = cli.command("resume");
    resume.arg("2");
    run(resume).await.assert_done();
    assert_all_there(&server, &files[..2]);
    assert!(!server.site.document(&server.user, &files[2].0).exists());
    run(cli.command("resume")).await.assert_done();
    assert_all_there(&server, &files);
    assert_nothing_remembered(&cli);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_another_upload_the_advice_is_to_resume_all() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let alone = TestFile::new(24 * BLOCK, 630);
    proxy.otherwise(slowly());
    let mut sending = cli.start(cli.put(&cli.write("alone.bin", &alone)));
    sending
        .until(|event| event["event"] == "progress" && event["received"].as_u64() > Some(0))
        .await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);

    let files = files(&cli, "photos", 3, 631);
    let mut put = cli.put(&cli.path("photos"));
    put.args(["--folder", "backup", "--on-conflict", "reject"]);
    let err = interrupted(&cli, &proxy, put, Signal::INT).await;
    assert!(err.contains("`towline resume --all"), "{err}");
    run(cli.command("resume")).await.assert_code(2);
    let mut resume = cli.command("resume");
    resume.arg("--all");
    run(resume).await.assert_done();
    server.site.assert_published(&server.user, "alone.bin", &alone);
    for (name, test_file) in &files {
        server.site.assert_published(&server.user, &format!("backup/{name}"), test_file);
    }
    assert_nothing_remembered(&cli);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_named_and_counted() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("papers/a.txt", &TestFile::new(1000, 640));
    cli.write("papers/b.txt", &TestFile::new(1001, 641));
    cli.write("papers/con", &TestFile::new(10, 642));
    std::fs::create_dir(cli.path("papers/empty")).unwrap();
    std::os::unix::fs::symlink("a.txt", cli.path("papers/link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(cli.path("papers/socket")).unwrap();
    let put = |more: &[&str]| {
        let mut put = cli.put(&cli.path("papers"));
        put.args(more);
        put
    };
    let outcome = run(put(&["--json"])).await;
    outcome.assert_code(1);
    let summary = outcome.event("summary");
    assert_eq!((&summary["sent"], &summary["skipped"]), (&2.into(), &3.into()), "{summary}");
    assert_eq!((&summary["refused"], &summary["failed"]), (&1.into(), &0.into()), "{summary}");
    for (name, what) in [("link", "symbolic link"), ("socket", "socket"), ("empty", "empty folder")]
    {
        let line = outcome.err.lines().find(|line| line.contains(&format!("papers/{name}")));
        assert!(line.is_some_and(|line| line.contains(what)), "{name}: {outcome:?}");
    }
    assert_nothing_remembered(&cli);

    // Files whose names are refused can be left out, and then the run does not fail.
    let outcome = run(put(&["--skip-refused", "--json"])).await;
    let summary = outcome.assert_done().event("summary");
    assert_eq!((&summary["existing"], &summary["skipped"]), (&2.into(), &4.into()), "{summary}");
    assert_eq!((&summary["refused"], &summary["failed"]), (&0.into(), &0.into()), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_nothing_in_it_says_so() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    std::fs::create_dir_all(cli.path("hollow/deep")).unwrap();
    let outcome = run(cli.put(&cli.path("hollow"))).await;
    outcome.assert_done();
    assert!(outcome.err.contains("nothing in it to upload"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_refused_by_its_kind_and_the_rest_goes_on() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let test_file = TestFile::new(1000, 650);
    let fifo = cli.path("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut put = cli.put(&cli.write("a.bin", &test_file));
    put.arg("-").arg(&fifo).arg("/dev/null");
    let outcome = run(put).await;
    outcome.assert_code(1);
    for what in ["standard input", "named pipe", "a device"] {
        let line = outcome.err.lines().find(|line| line.contains(what));
        assert!(line.is_some_and(|line| line.contains("to a file")), "{what}: {outcome:?}");
    }
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_has_come_to_its_end_leaves_nothing_in_the_list() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for (name, seed) in [("a.bin", 660), ("photos/b.bin", 661), ("photos/c.bin", 662)] {
        cli.write(name, &TestFile::new(1000, seed));
    }
    // One path was mistyped: the other files are uploaded, and a later run has nothing more to do.
    let mut put = cli.put(&cli.path("a.bin"));
    put.arg(cli.path("photos")).arg(cli.path("typo.bin"));
    run(put).await.assert_code(1);
    server.site.assert_published(&server.user, "a.bin", &TestFile::new(1000, 660));
    assert_nothing_remembered(&cli);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_away_is_said_once_and_waited_for() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let files = files(&cli, "photos", 3, 670);
    interrupted(&cli, &proxy, cli.put(&cli.path("photos")), Signal::INT).await;
    std::fs::rename(cli.path("photos"), cli.path("away")).unwrap();
    let outcome = run(cli.command("resume")).await;
    outcome.assert_code(3);
    assert_eq!(outcome.err.matches("is not there now").count(), 1, "{outcome:?}");
    assert_eq!(cli.state().jobs.len(), 1);
    std::fs::rename(cli.path("away"), cli.path("photos")).unwrap();
    run(cli.command("resume")).await.assert_done();
    assert_all_there(&server, &files);
    assert_nothing_remembered(&cli);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_gone_for_good_can_be_forgotten() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    files(&cli, "photos", 3, 680);
    interrupted(&cli, &proxy, cli.put(&cli.path("photos")), Signal::INT).await;
    std::fs::remove_dir_all(cli.path("photos")).unwrap();
    let mut forget = cli.command("uploads");
    forget.arg("--forget").arg(cli.path("photos"));
    run(forget).await.assert_done();
    assert_nothing_remembered(&cli);
    run(cli.command("resume")).await.assert_done();
}
