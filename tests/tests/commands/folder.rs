//! A folder is one command: after an interruption it is continued as a whole.

use rustix::process::Signal;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Run, run};
use towline_tests::local_tree;
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
            assert!(err.contains("1 of 3 files done, 1 begun, 1 not begun"), "{err}");
            assert!(err.contains("`towline resume --state-file"), "{err}");
            assert!(!err.contains("towline resume 2"), "one file alone is not the job: {err}");
            let listed = run(cli.command("uploads")).await;
            let out = &listed.assert_done().out;
            assert!(out.contains("1 of 3 files done, 1 begun, 1 not begun"), "{listed:?}");
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
    assert_eq!((&summary["sent"], &summary["skipped"]), (&2.into(), &1.into()), "{summary}");
    assert_eq!((&summary["refused"], &summary["failed"]), (&1.into(), &0.into()), "{summary}");
    assert_eq!(summary["made"], 2, "{summary}");
    let line = outcome.err.lines().find(|line| line.contains("papers/socket"));
    assert!(line.is_some_and(|line| line.contains("socket; skipped")), "{outcome:?}");
    assert_nothing_remembered(&cli);

    // Files whose names are refused can be left out, and then the run does not fail.
    let outcome = run(put(&["--skip-refused", "--json"])).await;
    let summary = outcome.assert_done().event("summary");
    assert_eq!((&summary["existing"], &summary["skipped"]), (&2.into(), &2.into()), "{summary}");
    assert_eq!((&summary["refused"], &summary["failed"]), (&0.into(), &0.into()), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_no_server_takes_is_refused_by_name() {
    use std::os::unix::ffi::OsStrExt as _;
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("papers/a.txt", &TestFile::new(1000, 645));
    for (name, target) in [("bell", b"a\x07b".to_vec()), ("raw", b"\xff".to_vec())] {
        let target = std::ffi::OsStr::from_bytes(&target);
        std::os::unix::fs::symlink(target, cli.path("papers").join(name)).unwrap();
    }
    let mut put = cli.put(&cli.path("papers"));
    put.arg("--json");
    let outcome = run(put).await;
    outcome.assert_code(1);
    let summary = outcome.event("summary");
    assert_eq!((&summary["sent"], &summary["refused"]), (&1.into(), &2.into()), "{summary}");
    for (name, why) in [("bell", "control characters"), ("raw", "not Unicode")] {
        let line = outcome.err.lines().find(|line| line.contains(&format!("papers/{name}")));
        assert!(line.is_some_and(|line| line.contains(why)), "{name}: {outcome:?}");
    }
    assert_nothing_remembered(&cli);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_whose_name_is_taken_follows_the_choice() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("papers/a.txt", &TestFile::new(1000, 646));
    let link = cli.path("papers/link");
    let point_to = |target: &str| {
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(target, &link).unwrap();
    };
    let put = async |choice: &str| {
        let mut put = cli.put(&cli.path("papers"));
        put.args(["--json", "--on-conflict", choice]);
        run(put).await
    };
    point_to("a.txt");
    put("rename").await.assert_done();
    point_to("b.txt");
    put("reject").await.assert_code(1);
    let summary = put("skip").await.assert_done().event("summary");
    assert_eq!((&summary["skipped"], &summary["made"]), (&1.into(), &0.into()), "{summary}");
    for made in [1, 0] {
        let outcome = put("rename").await;
        let summary = outcome.assert_done().event("summary");
        assert_eq!(summary["made"], made, "{summary}");
        assert_eq!(outcome.err.contains("stored as \"link (1)\""), made == 1, "{outcome:?}");
    }
    point_to("c.txt");
    put("replace").await.assert_done();
    let mut list = cli.at_home("ls", &cli.path("state"));
    cli.reach(&mut list);
    list.args(["--json", "papers"]);
    let listed = run(list).await.assert_done().events();
    let links: Vec<_> = listed
        .iter()
        .filter(|node| node["kind"] == "link")
        .map(|node| (node["name"].as_str().unwrap(), node["target"].as_str().unwrap()))
        .collect();
    assert_eq!(links, [("link", "c.txt"), ("link (1)", "b.txt")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_folders_that_an_interruption_left_are_made_by_resume() {
    const COUNT: usize = 2000;
    for signal in [Signal::INT, Signal::KILL] {
        let server = TestServer::start().await;
        let proxy = FaultProxy::start(server.address(), []).await;
        let cli = CliFixture::new(&server.site, &server.user, proxy.address());
        let top = cli.path("tree");
        for n in 0..COUNT / 2 {
            std::fs::create_dir_all(top.join(format!("{n}/empty"))).unwrap();
            std::os::unix::fs::symlink("empty", top.join(format!("{n}/link"))).unwrap();
        }
        proxy.otherwise(Faults::slow(100_000));
        let mut sending = cli.start(cli.put(&top));
        sending.until(|event| event["path"].as_str().unwrap_or("").ends_with("link")).await;
        sending.signal(signal);
        let outcome = sending.end().await;
        if signal == Signal::INT {
            outcome.assert_code(3);
            let summary = outcome.event("summary");
            assert!(summary["unmade"].as_u64() > Some(0) && summary["paused"] == 0, "{summary}");
            assert!(outcome.err.contains("folders and links"), "{outcome:?}");
        }
        assert_eq!(cli.state().jobs.len(), 1);
        proxy.otherwise(Faults::none());
        let mut resume = cli.command("resume");
        resume.arg("--json");
        let resumed = run(resume).await;
        let summary = resumed.assert_done().event("summary");
        assert!(summary["made"].as_u64() > Some(0) && summary["unmade"] == 0, "{summary}");
        assert_nothing_remembered(&cli);
        let mut get = cli.at_home("get", &cli.path("state"));
        cli.reach(&mut get);
        get.arg("tree").arg("-o").arg(cli.path("back"));
        run(get).await.assert_done();
        local_tree::assert_same(&top, &cli.path("back"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_whose_names_count_as_the_same_stay_apart_where_files_are_in_them() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for (n, name) in ["proj/Docs/a", "proj/docs/b", "proj/DOCS/in/c"].iter().enumerate() {
        cli.write(name, &TestFile::new(1000, 647 + n as u64));
    }
    let top = cli.path("proj");
    for (name, mode) in [("docs", 0o700), ("Docs", 0o711), ("DOCS/in", 0o750)] {
        std::fs::set_permissions(top.join(name), Permissions::from_mode(mode)).unwrap();
    }
    run(cli.put(&top)).await.assert_done();
    let mut get = cli.at_home("get", &cli.path("state"));
    cli.reach(&mut get);
    get.arg("proj").arg("-o").arg(cli.path("back"));
    run(get).await.assert_done();
    local_tree::assert_same(&top, &cli.path("back"));

    // A folder without files is made by its own name alone, and that one counts as taken.
    std::fs::create_dir(top.join("DOCs")).unwrap();
    let outcome = run(cli.put(&top)).await;
    outcome.assert_code(1);
    let line = outcome.err.lines().find(|line| line.contains("proj/DOCs"));
    assert!(line.is_some_and(|line| line.contains("counts as the same")), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_nothing_that_was_asked_for_says_so() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    std::fs::create_dir_all(cli.path("hollow/deep")).unwrap();
    let mut put = cli.put(&cli.path("hollow"));
    put.args(["--include", "*.jpg"]);
    let outcome = run(put).await;
    outcome.assert_done();
    assert!(outcome.err.contains("nothing that can be sent"), "{outcome:?}");
    let outcome = run(cli.put(&cli.path("hollow"))).await;
    assert!(outcome.assert_done().out.contains("1 link or empty folder made"), "{outcome:?}");
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
    for (what, advice) in [
        ("standard input", "put - --name NAME"),
        ("named pipe", "in a regular file"),
        ("a device", "in a regular file"),
    ] {
        let line = outcome.err.lines().find(|line| line.contains(what));
        assert!(line.is_some_and(|line| line.contains(advice)), "{what}: {outcome:?}");
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
    assert_eq!(outcome.err.matches("is missing now").count(), 1, "{outcome:?}");
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
