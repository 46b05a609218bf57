//! A folder is one job: interrupted, it is gone on with as a whole.

use rustix::process::Signal;
use std::time::Duration;
use tokio::process::Command;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::desk::{Desk, Run, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;

/// Files that go one after another, and take a while on a slow link.
fn files(desk: &Desk, folder: &str, count: usize, seed: u64) -> Vec<(String, Corpus)> {
    (0..count)
        .map(|n| {
            let name = format!("{folder}/f{n}.bin");
            let corpus = Corpus::new(12 * BLOCK + n, seed + n as u64);
            desk.write(&name, &corpus);
            (name, corpus)
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

/// A put of a folder of three that is stopped in its second file.
async fn interrupted(desk: &Desk, proxy: &FaultProxy, put: Command, signal: Signal) -> String {
    proxy.otherwise(slowly());
    let mut sending = desk.start(put);
    one_and_a_bit(&mut sending).await;
    sending.signal(signal);
    let outcome = sending.end().await;
    if signal == Signal::INT {
        outcome.assert_code(3);
    }
    proxy.otherwise(Faults::none());
    outcome.err
}

fn assert_all_there(server: &TestServer, files: &[(String, Corpus)]) {
    for (name, corpus) in files {
        server.site.assert_published(&server.person, name, corpus);
    }
}

fn assert_nothing_remembered(desk: &Desk) {
    let state = desk.state();
    assert!(state.uploads.is_empty() && state.jobs.is_empty(), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_finishes_all_that_was_named() {
    for signal in [Signal::INT, Signal::KILL] {
        let server = TestServer::start().await;
        let proxy = FaultProxy::start(server.address(), []).await;
        let desk = Desk::new(&server.site, &server.person, proxy.address());
        let files = files(&desk, "photos", 3, 600);
        let err = interrupted(&desk, &proxy, desk.put(&desk.path("photos")), signal).await;
        assert_eq!(desk.state().jobs.len(), 1);
        if signal == Signal::INT {
            assert!(err.contains("1 of 3 files done, 1 begun, 1 to go"), "{err}");
            assert!(err.contains("`towline resume --state-file"), "{err}");
            assert!(!err.contains("towline resume 2"), "one file alone is not the job: {err}");
            let listed = run(desk.command("uploads")).await;
            let out = &listed.assert_done().out;
            assert!(out.contains("1 of 3 files done, 1 begun, 1 to go"), "{listed:?}");
            assert!(out.contains("photos"), "{listed:?}");
        }
        let mut resume = desk.command("resume");
        resume.arg("--json");
        let resumed = run(resume).await;
        let summary = resumed.assert_done().event("summary");
        assert_eq!(summary["paused"], 0, "{summary}");
        assert_all_there(&server, &files);
        assert_nothing_remembered(&desk);
        let listed = run(desk.command("uploads")).await;
        assert!(listed.assert_done().out.contains("no unfinished uploads"), "{listed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_finishes_it_too() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    let files = files(&desk, "photos", 3, 610);
    interrupted(&desk, &proxy, desk.put(&desk.path("photos")), Signal::INT).await;
    // Interrupted again, it is one command still; what an earlier run has begun counts so.
    let err = interrupted_at_once(&desk, &proxy).await;
    assert!(err.contains("of 3 files done, 1 begun"), "{err}");
    assert_eq!(desk.state().jobs.len(), 1);
    run(desk.put(&desk.path("photos"))).await.assert_done();
    assert_all_there(&server, &files);
    assert_nothing_remembered(&desk);
}

/// A second run of the same put that is stopped in the file that the first had begun.
async fn interrupted_at_once(desk: &Desk, proxy: &FaultProxy) -> String {
    proxy.otherwise(slowly());
    let mut sending = desk.start(desk.put(&desk.path("photos")));
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
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    let files = files(&desk, "photos", 3, 620);
    interrupted(&desk, &proxy, desk.put(&desk.path("photos")), Signal::INT).await;
    let mut resume = desk.command("resume");
    resume.arg("2");
    run(resume).await.assert_done();
    assert_all_there(&server, &files[..2]);
    assert!(!server.site.document(&server.person, &files[2].0).exists());
    run(desk.command("resume")).await.assert_done();
    assert_all_there(&server, &files);
    assert_nothing_remembered(&desk);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_another_upload_the_advice_is_to_resume_all() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    let alone = Corpus::new(24 * BLOCK, 630);
    proxy.otherwise(slowly());
    let mut sending = desk.start(desk.put(&desk.write("alone.bin", &alone)));
    sending
        .until(|event| event["event"] == "progress" && event["received"].as_u64() > Some(0))
        .await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);

    let files = files(&desk, "photos", 3, 631);
    let mut put = desk.put(&desk.path("photos"));
    put.args(["--folder", "backup", "--on-conflict", "reject"]);
    let err = interrupted(&desk, &proxy, put, Signal::INT).await;
    assert!(err.contains("`towline resume --all"), "{err}");
    run(desk.command("resume")).await.assert_code(2);
    let mut resume = desk.command("resume");
    resume.arg("--all");
    run(resume).await.assert_done();
    server.site.assert_published(&server.person, "alone.bin", &alone);
    for (name, corpus) in &files {
        server.site.assert_published(&server.person, &format!("backup/{name}"), corpus);
    }
    assert_nothing_remembered(&desk);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_named_and_counted() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    desk.write("papers/a.txt", &Corpus::new(1000, 640));
    desk.write("papers/b.txt", &Corpus::new(1001, 641));
    desk.write("papers/con", &Corpus::new(10, 642));
    std::fs::create_dir(desk.path("papers/empty")).unwrap();
    std::os::unix::fs::symlink("a.txt", desk.path("papers/link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(desk.path("papers/socket")).unwrap();
    let put = |more: &[&str]| {
        let mut put = desk.put(&desk.path("papers"));
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
    assert_nothing_remembered(&desk);

    // The names that are refused can be left out, and that is no failure.
    let outcome = run(put(&["--skip-refused", "--json"])).await;
    let summary = outcome.assert_done().event("summary");
    assert_eq!((&summary["existing"], &summary["skipped"]), (&2.into(), &4.into()), "{summary}");
    assert_eq!((&summary["refused"], &summary["failed"]), (&0.into(), &0.into()), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_nothing_in_it_says_so() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    std::fs::create_dir_all(desk.path("hollow/deep")).unwrap();
    let outcome = run(desk.put(&desk.path("hollow"))).await;
    outcome.assert_done();
    assert!(outcome.err.contains("nothing in it to upload"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_refused_by_its_kind_and_the_rest_goes_on() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    let corpus = Corpus::new(1000, 650);
    let fifo = desk.path("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut put = desk.put(&desk.write("a.bin", &corpus));
    put.arg("-").arg(&fifo).arg("/dev/null");
    let outcome = run(put).await;
    outcome.assert_code(1);
    for what in ["standard input", "named pipe", "a device"] {
        let line = outcome.err.lines().find(|line| line.contains(what));
        assert!(line.is_some_and(|line| line.contains("to a file")), "{what}: {outcome:?}");
    }
    server.site.assert_published(&server.person, "a.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_has_come_to_its_end_leaves_nothing_in_the_list() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    for (name, seed) in [("a.bin", 660), ("photos/b.bin", 661), ("photos/c.bin", 662)] {
        desk.write(name, &Corpus::new(1000, seed));
    }
    // One path was mistyped: what is there arrives, and no later run can do more.
    let mut put = desk.put(&desk.path("a.bin"));
    put.arg(desk.path("photos")).arg(desk.path("typo.bin"));
    run(put).await.assert_code(1);
    server.site.assert_published(&server.person, "a.bin", &Corpus::new(1000, 660));
    assert_nothing_remembered(&desk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_away_is_said_once_and_waited_for() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    let files = files(&desk, "photos", 3, 670);
    interrupted(&desk, &proxy, desk.put(&desk.path("photos")), Signal::INT).await;
    std::fs::rename(desk.path("photos"), desk.path("away")).unwrap();
    let outcome = run(desk.command("resume")).await;
    outcome.assert_code(3);
    assert_eq!(outcome.err.matches("is not there now").count(), 1, "{outcome:?}");
    assert_eq!(desk.state().jobs.len(), 1);
    std::fs::rename(desk.path("away"), desk.path("photos")).unwrap();
    run(desk.command("resume")).await.assert_done();
    assert_all_there(&server, &files);
    assert_nothing_remembered(&desk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_gone_for_good_can_be_forgotten() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    files(&desk, "photos", 3, 680);
    interrupted(&desk, &proxy, desk.put(&desk.path("photos")), Signal::INT).await;
    std::fs::remove_dir_all(desk.path("photos")).unwrap();
    let mut forget = desk.command("uploads");
    forget.arg("--forget").arg(desk.path("photos"));
    run(forget).await.assert_done();
    assert_nothing_remembered(&desk);
    run(desk.command("resume")).await.assert_done();
}
