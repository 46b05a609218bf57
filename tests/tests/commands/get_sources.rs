//! What `towline get` is asked for: several things of which some are missing, versions by their
//! numbers, standard output, and folders that take long.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{Permissions, read, set_permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

fn back(cli: &CliFixture) -> PathBuf {
    let back = cli.path("back");
    std::fs::create_dir_all(&back).unwrap();
    back
}

fn getting(cli: &CliFixture, arguments: &[&str]) -> Command {
    let mut get = cli.at_home("get", &cli.path("state"));
    cli.reach(&mut get);
    get.args(arguments).current_dir(back(cli));
    get
}

async fn get(cli: &CliFixture, arguments: &[&str]) -> Outcome {
    run(getting(cli, arguments)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_missing_does_not_stop_the_others() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = TestFile::new(1000, 990);
    run(cli.put(&cli.write("real", &file))).await.assert_done();
    for sources in [["missing", "real"], ["real", "missing"], ["77", "real"]] {
        let outcome = get(&cli, &sources).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("you have nothing of that name"), "{outcome:?}");
        assert!(read(back(&cli).join("real")).unwrap() == file.bytes, "{sources:?}");
        std::fs::remove_file(back(&cli).join("real")).unwrap();
    }
    let outcome = get(&cli, &["missing", "77", "--json"]).await;
    outcome.assert_code(1);
    let errors = outcome.events().into_iter().filter(|event| event["event"] == "error").count();
    assert_eq!(errors, 2, "{outcome:?}");
    assert_eq!(outcome.event("summary")["exit"], 1);
    // What concerns all of them is said once.
    let mut nobody = CliFixture::at(cli.path("nobody"), &server.user, server.address());
    nobody.to = "127.0.0.1:1".parse().unwrap();
    let outcome = get(&nobody, &["missing", "real", "--retries", "0"]).await;
    outcome.assert_code(3);
    assert_eq!(outcome.err.matches("no server listens").count(), 1, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_by_its_number_has_its_time_and_mode() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let mut numbers = Vec::new();
    for (seed, days) in [(991, 10_000), (992, 20_000)] {
        let path = cli.write("proj/report", &TestFile::new(100, seed));
        set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(days * 86_400);
        std::fs::File::open(&path).unwrap().set_modified(time).unwrap();
        let mut put = cli.put(&cli.path("proj"));
        put.args(["--on-conflict", "replace", "--json"]);
        let completed = run(put).await.assert_done().event("completed");
        numbers.push(completed["document_id"].to_string());
    }
    for (number, days) in numbers.iter().zip([10_000, 20_000]) {
        get(&cli, &[number, "-o", number]).await.assert_done();
        let metadata = back(&cli).join(number).metadata().unwrap();
        assert_eq!(metadata.mtime(), days * 86_400, "{number}");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o640, "{number}");
    }
    // Where it lies elsewhere now, it is there all the same.
    let mut moving = cli.at_home("mv", &cli.path("state"));
    cli.reach(&mut moving);
    moving.args(["proj/report", "other"]);
    run(moving).await.assert_done();
    get(&cli, &[&numbers[1], "-o", "moved"]).await.assert_done();
    assert!(read(back(&cli).join("moved")).unwrap() == TestFile::new(100, 992).bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_was_interrupted_is_said_to_be_of_no_use() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    run(cli.put(&cli.write("a", &TestFile::new(8 * BLOCK, 993)))).await.assert_done();
    let is_honest = |outcome: &Outcome| {
        outcome.assert_code(3);
        assert!(outcome.err.contains("is not the whole file"), "{outcome:?}");
        assert!(!outcome.err.contains("again to continue"), "{outcome:?}");
        assert!(!outcome.err.contains("is kept"), "{outcome:?}");
    };
    proxy.otherwise(Faults { cut_after_replies: Some(3_000_000), ..Faults::none() });
    let mut cut = getting(&cli, &["a", "-o", "-", "--retries", "0"]);
    cut.stdout(std::process::Stdio::null());
    let output = cut.stderr(std::process::Stdio::piped()).output().await.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    is_honest(&Outcome { code: output.status.code(), out: String::new(), err });

    proxy.otherwise(Faults::slow(1 << 20));
    let mut slow = getting(&cli, &["a", "-o", "-"]);
    slow.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let before = proxy.connections();
    let child = slow.spawn().unwrap();
    // The first connection asks what there is, and the bytes come over the second.
    proxy.link(before + 1).await.has_delivered(1 << 20).await;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    is_honest(&Outcome { code: output.status.code(), out: String::new(), err });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_does_not_count_as_made() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for (name, seed) in [("proj/a", 994), ("proj/sub/b", 995)] {
        cli.write(name, &TestFile::new(100, seed));
    }
    std::os::unix::fs::symlink("a", cli.path("proj/link")).unwrap();
    run(cli.put(&cli.path("proj"))).await.assert_done();
    let counts = async |arguments: &[&str]| {
        let outcome = get(&cli, &[arguments, &["--json"]].concat()).await;
        let summary = outcome.assert_done().event("summary");
        let new = outcome.events().into_iter().filter(|event| event["existing"] == false).count();
        let count = |field: &str| summary[field].as_u64().unwrap();
        assert_eq!(new as u64, count("fetched") + count("made"), "{outcome:?}");
        [count("fetched"), count("made"), count("existing")]
    };
    for arguments in [&["proj"][..], &["proj", "-o", "new"]] {
        assert_eq!(counts(arguments).await, [2, 3, 0], "{arguments:?}");
    }
    assert_eq!(counts(&["proj"]).await, [0, 0, 5]);
    std::fs::remove_file(back(&cli).join("proj/link")).unwrap();
    std::fs::remove_dir_all(back(&cli).join("proj/sub")).unwrap();
    assert_eq!(counts(&["proj"]).await, [1, 2, 2]);
    // Two sources of one name make one folder.
    std::fs::remove_dir_all(back(&cli).join("proj")).unwrap();
    assert_eq!(counts(&["proj", "proj"]).await, [2, 3, 5]);
}

/// The connection that lists rests while the files of its last part come.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_folder_comes_whole_without_a_second_attempt() {
    let server =
        TestServer::start_with(|config| config.timings.silence = Duration::from_secs(2)).await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut cli = CliFixture::new(&server.site, &server.user, server.address());
    for number in 0..1500u64 {
        cli.write(&format!("many/{number}"), &TestFile::new(4000, number));
    }
    run(cli.put(&cli.path("many"))).await.assert_done();
    proxy.otherwise(Faults::slow(1 << 20));
    cli.to = proxy.address();
    let outcome = get(&cli, &["many", "--retries", "0", "--no-sync", "--json"]).await;
    let summary = outcome.assert_done().event("summary");
    assert_eq!(summary["fetched"], 1500, "{summary}");
    assert!(!outcome.out.contains("\"waiting\""), "{outcome:?}");
}
