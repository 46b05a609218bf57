//! `towline get` of one document by its number: it comes back whole, whatever the link and the
//! local disk do.

use rustix::process::Signal;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

async fn put(cli: &CliFixture, name: &str, test_file: &TestFile) -> u64 {
    let mut put = cli.put(&cli.write(name, test_file));
    put.arg("--json");
    let completed = run(put).await.assert_done().event("completed");
    completed["document_id"].as_u64().unwrap()
}

/// `towline get` of that document into the folder `back`.
fn get(cli: &CliFixture, document: u64, more: &[&str]) -> Command {
    let back = back(cli);
    std::fs::create_dir_all(&back).unwrap();
    let mut get = cli.at_home("get", &cli.path("state"));
    cli.reach(&mut get);
    get.arg(document.to_string()).current_dir(back).args(more);
    get
}

fn back(cli: &CliFixture) -> PathBuf {
    cli.path("back")
}

fn names(cli: &CliFixture) -> Vec<String> {
    let entries = std::fs::read_dir(back(cli)).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn assert_is(cli: &CliFixture, name: &str, test_file: &TestFile) {
    let found = std::fs::read(back(cli).join(name)).unwrap();
    assert!(found == test_file.bytes, "{name} is another file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_comes_back_and_is_not_fetched_twice() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for (name, size) in [("empty.bin", 0), ("a.bin", 5), ("b.bin", BLOCK), ("c.bin", 5 * BLOCK + 7)]
    {
        let test_file = TestFile::new(size, 800);
        let document = put(&cli, name, &test_file).await;
        let fetched = run(get(&cli, document, &["--json"])).await;
        let summary = fetched.assert_done().event("summary");
        assert_eq!(summary["fetched"], 1, "{summary}");
        assert_eq!(summary["fetched_bytes"].as_u64(), Some(size as u64), "{summary}");
        assert_is(&cli, name, &test_file);
        let again = run(get(&cli, document, &["--json"])).await;
        let summary = again.assert_done().event("summary");
        assert_eq!((&summary["fetched"], &summary["existing"]), (&0.into(), &1.into()));
        assert_eq!(summary["fetched_bytes"], 0, "{summary}");
    }
    // Nothing but the files is left.
    assert_eq!(names(&cli), ["a.bin", "b.bin", "c.bin", "empty.bin"]);
    let mode = back(&cli).join("a.bin").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o700, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_slash_at_its_end_is_a_new_folder() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let test_file = TestFile::new(5, 801);
    let document = put(&cli, "a.bin", &test_file).await;
    run(get(&cli, document, &["-o", "new/"])).await.assert_done();
    assert_is(&cli, "new/a.bin", &test_file);
    // It is there now, and that makes no difference.
    run(get(&cli, document, &["-o", "new/"])).await.assert_done();
    assert_eq!(names(&cli), ["new"]);
    run(get(&cli, document, &["a.bin", "-o", "both/"])).await.assert_done();
    assert_is(&cli, "both/a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_replaced_only_where_that_was_asked_for() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let theirs = TestFile::new(3 * BLOCK, 810);
    let document = put(&cli, "a.bin", &theirs).await;
    let mine = TestFile::new(3 * BLOCK, 811);
    let with = async |choice: &str| -> Outcome {
        run(get(&cli, document, &["--on-conflict", choice])).await
    };
    run(get(&cli, document, &["-o", "new.bin"])).await.assert_done();
    assert_is(&cli, "new.bin", &theirs);
    std::fs::write(back(&cli).join("a.bin"), &mine.bytes).unwrap();
    for (choice, code) in [("reject", 1), ("skip", 0)] {
        with(choice).await.assert_code(code);
        assert_is(&cli, "a.bin", &mine);
    }
    with("rename").await.assert_done();
    assert_is(&cli, "a.bin", &mine);
    assert_is(&cli, "a (1).bin", &theirs);
    with("replace").await.assert_done();
    assert_is(&cli, "a.bin", &theirs);
    assert_eq!(names(&cli), ["a (1).bin", "a.bin", "new.bin"]);
    with("overwrite").await.assert_code(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_copy_gets_the_time_and_the_permissions_of_the_server() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let describe = |path: &Path, seconds: u64, mode: u32| {
        let time = UNIX_EPOCH + Duration::new(seconds, 123_456_789);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let described = |path: &Path| {
        let metadata = path.metadata().unwrap();
        let time = metadata.modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
        (time, metadata.permissions().mode() & 0o7777)
    };
    let (theirs, other) = (TestFile::new(2 * BLOCK, 812), TestFile::new(2 * BLOCK, 813));
    describe(&cli.write("a.bin", &theirs), 1_000_000, 0o640);
    let completed = run(cli.put(&cli.path("a.bin"))).await;
    completed.assert_done();
    let mut status = cli.at_home("ls", &cli.path("state"));
    cli.reach(&mut status);
    status.args(["--json", "a.bin"]);
    let document = run(status).await.assert_done().event("entry")["version"].as_u64().unwrap();
    let here = back(&cli).join("a.bin");
    let as_there = (Duration::new(1_000_000, 123_000_000), 0o640);
    for choice in ["reject", "skip", "rename", "replace"] {
        let command = get(&cli, document, &["--on-conflict", choice, "--json"]);
        std::fs::write(&here, &theirs.bytes).unwrap();
        describe(&here, 2_000_000, 0o600);
        let summary = run(command).await.assert_done().event("summary");
        assert_eq!((&summary["fetched"], &summary["existing"]), (&0.into(), &1.into()));
        assert_eq!(described(&here), as_there, "{choice}");
    }
    // A time that is the same to the millisecond stays as it is.
    describe(&here, 1_000_000, 0o640);
    run(get(&cli, document, &[])).await.assert_done();
    assert_eq!(described(&here), (Duration::new(1_000_000, 123_456_789), 0o640));
    // Neither another file is touched, nor one that a link leads to.
    std::fs::write(&here, &other.bytes).unwrap();
    describe(&here, 2_000_000, 0o600);
    let before = described(&here);
    for (choice, code) in [("reject", 1), ("skip", 0)] {
        run(get(&cli, document, &["--on-conflict", choice])).await.assert_code(code);
        assert_eq!(described(&here), before, "{choice}");
    }
    let elsewhere = cli.write("elsewhere", &theirs);
    describe(&elsewhere, 2_000_000, 0o600);
    std::fs::remove_file(&here).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &here).unwrap();
    run(get(&cli, document, &["--on-conflict", "skip"])).await.assert_done();
    assert_eq!(described(&elsewhere), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_goes_to_standard_output() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let text = "line\n".repeat(500_000);
    let document = put(&cli, "a.txt", &TestFile { bytes: text.clone().into_bytes() }).await;
    let outcome = run(get(&cli, document, &["-o", "-"])).await;
    assert!(outcome.assert_done().out == text, "{} bytes", outcome.out.len());
    assert!(names(&cli).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_do_not_come_between_the_bytes_of_a_file() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let text = "line\n".repeat(500_000);
    let document = put(&cli, "a.txt", &TestFile { bytes: text.clone().into_bytes() }).await;
    let outcome = run(get(&cli, document, &["-o", "-", "--json"])).await;
    assert!(outcome.assert_done().out == text, "{} bytes", outcome.out.len());
    // Standard error has the events, and nothing else.
    let events = Outcome { out: outcome.err.clone(), ..outcome };
    assert_eq!(events.event("fetched")["filesize"], text.len());
    assert_eq!(events.events().last().unwrap()["event"], "summary");
    for (sources, code) in [(vec!["nothing"], 1), (vec!["one", "two"], 2)] {
        let mut get = cli.at_home("get", &cli.path("state"));
        cli.reach(&mut get);
        get.args(sources).args(["-o", "-", "--json"]).current_dir(back(&cli));
        let outcome = run(get).await;
        assert_eq!(outcome.assert_code(code).out, "");
        let events = Outcome { out: outcome.err.clone(), ..outcome };
        assert_eq!(events.event("error")["exit"], code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_nothing_is_refused() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let outcome = run(get(&cli, 77, &[])).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("77"), "{outcome:?}");
    assert!(names(&cli).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_and_a_killed_client_fetch_nothing_twice() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK + 9, 820);
    let document = put(&cli, "a.bin", &test_file).await;
    let mut fetched_bytes = 0;
    for signal in [Signal::KILL, Signal::INT] {
        proxy.otherwise(Faults::slow(4 << 20));
        let mut fetching = cli.start(get(&cli, document, &[]));
        for _ in 0..2 {
            let before = fetched_bytes;
            let event = fetching
                .until(|event| {
                    let bytes = event["fetched"].as_u64().unwrap_or(0);
                    event["event"] == "fetching" && bytes > before + 2 * BLOCK as u64
                })
                .await;
            fetched_bytes = event["fetched"].as_u64().unwrap();
            proxy.link(proxy.connections() - 1).await.cut();
        }
        fetching.signal(signal);
        let outcome = fetching.end().await;
        if signal == Signal::INT {
            outcome.assert_code(3);
        }
    }
    proxy.otherwise(Faults::none());
    let last = run(get(&cli, document, &["--json"])).await;
    let summary = last.assert_done().event("summary");
    let left = test_file.bytes.len() as u64 - fetched_bytes;
    let again = summary["fetched_bytes"].as_u64().unwrap();
    assert!(again <= left + BLOCK as u64, "{again} bytes were fetched, {left} were missing");
    assert_is(&cli, "a.bin", &test_file);
    assert_eq!(names(&cli), ["a.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_no_question_about_the_program() {
    let mut get = towline_tests::process::towline();
    get.args(["get", "report.csv", "--version", "3"]);
    let refused = run(get).await;
    refused.assert_code(2);
    assert_eq!(refused.out, "");
}
