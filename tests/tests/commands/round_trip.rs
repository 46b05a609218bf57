//! A folder that was put comes back as it was.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::local_tree::{self, Entry};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::skipped;

/// A user who is not root.
const NOBODY: u32 = 65_534;

/// The same command with another umask.
fn with_umask(command: &Command, umask: &str) -> Command {
    let command = command.as_std();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("umask {umask}; exec \"$0\" \"$@\""));
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.kill_on_drop(true);
    shell
}

fn get(cli: &CliFixture, name: &str, into: &Path) -> Command {
    std::fs::create_dir_all(into).unwrap();
    let mut get = cli.at_home("get", &cli.path("state"));
    cli.reach(&mut get);
    get.arg(name).arg("-o").arg(into).arg("--json");
    get
}

/// What is not there twice is made once: links and empty folders of `local_tree`.
const MADE: u64 = 8 + 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_comes_back_as_it_was_after_six_cuts() {
    let seed = 0x7031;
    println!("seed {seed}");
    let server = TestServer::start().await;
    let cuts = [30_000, 120_000, 400_000, 900_000, 1_500_000, 2_000_000];
    let proxy = FaultProxy::start(server.address(), cuts.map(Faults::cut_after)).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let proj = cli.path("proj");
    local_tree::make(&proj, seed);

    let mut put = cli.put(&proj);
    put.args(["--parallel", "1", "--retries", "0"]);
    let mut outcome = run(put).await;
    let mut resumed = 0;
    while outcome.code == Some(3) {
        assert_eq!(cli.state().jobs.len(), 1, "{outcome:?}");
        let mut resume = cli.command("resume");
        resume.args(["--parallel", "1", "--retries", "0"]);
        outcome = run(resume).await;
        resumed += 1;
    }
    outcome.assert_done();
    assert_eq!(resumed, cuts.len());
    assert!(cli.state().jobs.is_empty() && cli.state().uploads.is_empty());

    for umask in ["077", "000"] {
        let back = cli.path(&format!("back {umask}"));
        run(with_umask(&get(&cli, "proj", &back), umask)).await.assert_done();
        local_tree::assert_same(&proj, &back.join("proj"));
    }

    // Nothing is new, so nothing is changed on the server.
    let before = changes(&cli).await;
    let mut again = cli.put(&proj);
    again.arg("--json");
    let summary = run(again).await.assert_done().event("summary");
    assert_eq!((&summary["sent"], &summary["made"]), (&0.into(), &0.into()), "{summary}");
    assert_eq!(changes(&cli).await, before);

    // What is new is sent.
    std::fs::create_dir(proj.join("nothing/new")).unwrap();
    std::os::unix::fs::symlink("latest", proj.join("newest")).unwrap();
    std::fs::set_permissions(proj.join("x"), Permissions::from_mode(0o711)).unwrap();
    let mut again = cli.put(&proj);
    again.arg("--json");
    let summary = run(again).await.assert_done().event("summary");
    assert_eq!((&summary["sent"], &summary["made"]), (&0.into(), &2.into()), "{summary}");
    // The folder, the link, and the mode.
    assert_eq!(changes(&cli).await.len(), before.len() + 3);
    let back = cli.path("back again");
    run(get(&cli, "proj", &back)).await.assert_done();
    local_tree::assert_same(&proj, &back.join("proj"));
}

/// The numbers of all changes.
async fn changes(cli: &CliFixture) -> Vec<u64> {
    let mut log = cli.at_home("log", &cli.path("state"));
    cli.reach(&mut log);
    log.args(["--json", "-n", "10000"]);
    let events = run(log).await.assert_done().events();
    events.iter().filter_map(|event| event["change_id"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cut_each_link_and_empty_folder_is_made_once() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    local_tree::make(&cli.path("proj"), 0x7032);
    let mut put = cli.put(&cli.path("proj"));
    put.arg("--json");
    let outcome = run(put).await;
    let summary = outcome.assert_done().event("summary");
    assert_eq!(summary["made"], MADE, "{summary}");
    assert_eq!((&summary["skipped"], &summary["failed"]), (&0.into(), &0.into()), "{summary}");
    let entries = local_tree::entries(&cli.path("proj"));
    let made = outcome.events().iter().filter(|event| event["event"] == "made").count();
    let expected = entries.values().filter(|entry| !matches!(entry, Entry::File(..))).count();
    assert_eq!(made, expected, "each folder and link is an event");

    let listed = {
        let mut dry = cli.put(&cli.path("proj"));
        dry.arg("--dry-run");
        run(dry).await
    };
    let out = &listed.assert_done().out;
    assert!(out.contains("proj/latest  link to README.md\n"), "{out}");
    assert!(out.contains("proj/nothing/in/here  empty folder\n"), "{out}");
    assert!(out.contains("12 links and empty folders; 0 skipped"), "{out}");
}

/// A folder may forbid to write in it. Root may all the same, so this needs another user.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_folder_takes_what_is_missing_in_it() {
    if !rustix::process::getuid().is_root() {
        return skipped(&"needs root, to run commands as another user");
    }
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let proj = cli.path("proj");
    local_tree::make(&proj, 0x7033);
    let mut put = cli.put(&proj);
    put.arg("--json");
    run(put).await.assert_done();

    std::fs::set_permissions(server.site.outside(), Permissions::from_mode(0o711)).unwrap();
    for place in [cli.path("."), cli.path("token")] {
        chown(place, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let back = cli.path("back");
    std::fs::create_dir(&back).unwrap();
    chown(&back, Some(NOBODY), Some(NOBODY)).unwrap();
    let got_to = async |path: &Path| -> Outcome {
        let mut get = cli.at_home("get", &cli.path("state"));
        cli.reach(&mut get);
        get.arg("proj").arg("-o").arg(path).uid(NOBODY).gid(NOBODY);
        run(get).await
    };
    let got = || got_to(&back);
    got().await.assert_done();
    local_tree::assert_same(&proj, &back.join("proj"));
    // What is missing in it comes back, and then the folder is read-only again.
    std::fs::remove_file(back.join("proj/locked/a.txt")).unwrap();
    std::fs::remove_file(back.join("proj/locked/inside/link")).unwrap();
    std::fs::remove_dir(back.join("proj/locked/inside/e")).unwrap();
    got().await.assert_done();
    local_tree::assert_same(&proj, &back.join("proj"));

    // So is the folder that has a mark until all of it is there.
    std::fs::set_permissions(&proj, Permissions::from_mode(0o555)).unwrap();
    run(cli.put(&proj)).await.assert_done();
    let named = back.join("named");
    got_to(&named).await.assert_done();
    local_tree::assert_same(&proj, &named);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_server_keeps_is_counted() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let top = cli.path("proj");
    for name in ["a", "b", "c", "folder/d"] {
        cli.write(&format!("proj/{name}"), &TestFile::new(100, 0x7034));
    }
    std::fs::hard_link(top.join("a"), top.join("folder/a")).unwrap();
    std::os::unix::fs::symlink("a", top.join("link")).unwrap();
    std::fs::set_permissions(top.join("b"), Permissions::from_mode(0o4755)).unwrap();
    std::fs::set_permissions(top.join("folder"), Permissions::from_mode(0o1755)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, top.join("fifo"), fifo, mode, 0).unwrap();
    // Only root can give a file away.
    let is_root = rustix::process::getuid().is_root();
    if is_root {
        chown(top.join("c"), Some(NOBODY), None).unwrap();
        std::os::unix::fs::lchown(top.join("link"), Some(NOBODY), None).unwrap();
    }
    for arguments in [&["--json"][..], &[], &["--dry-run"], &["-v"], &["-v", "--dry-run"]] {
        let mut put = cli.put(&top);
        put.args(arguments);
        let outcome = run(put).await;
        outcome.assert_done();
        if arguments == ["--json"] {
            let summary = outcome.event("summary");
            let owners = if is_root { 2 } else { 0 };
            let others = [("special_bits", 2), ("hard_links", 2), ("times", 3)];
            for (name, count) in [("owners", owners)].into_iter().chain(others) {
                assert_eq!(summary[format!("not_kept_{name}")], count, "{summary}");
            }
            assert_eq!(summary["skipped"], 2, "{summary}");
            continue;
        }
        let out = &outcome.out;
        assert!(out.contains("2 skipped") && out.contains("not kept: "), "{outcome:?}");
        let hard_links = "the hard links of 2 of them, which are separate files now";
        assert!(out.contains(hard_links), "{outcome:?}");
        assert!(out.contains("the setuid, setgid or sticky bit of 2 of them"), "{outcome:?}");
        assert_eq!(out.contains("the owner of 2 of them"), is_root, "{outcome:?}");
        let times = out.contains("the time of modification of 3 folders and links");
        assert_eq!(times, arguments.contains(&"-v"), "{outcome:?}");
    }
    // That the times of folders are not kept is nothing to say with each folder.
    cli.write("plain/a", &TestFile::new(100, 0x7036));
    cli.write("plain/b", &TestFile::new(100, 0x7037));
    let outcome = run(cli.put(&cli.path("plain"))).await;
    assert!(!outcome.assert_done().out.contains("not kept"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_time_or_mode_of_a_file_that_is_there_is_told_once() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let top = cli.path("proj");
    // A small file, which is sent among others, and one that is not.
    let paths = [("a", 100), ("b", 100), ("large", 3 * BLOCK + 5)].map(|(name, size)| {
        cli.write(&format!("proj/{name}"), &TestFile::new(size, 0x7035));
        top.join(name)
    });
    let describe = |seconds: u64, mode: u32| {
        for path in &paths {
            let modified = UNIX_EPOCH + Duration::new(seconds, 987_654_321);
            File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
    };
    let put = async |choice: &str| {
        let mut put = cli.put(&top);
        put.args(["--json", "--on-conflict", choice]);
        let summary = run(put).await.assert_done().event("summary");
        (summary["sent"].as_u64().unwrap(), changes(&cli).await.len())
    };
    describe(1_000_000_000, 0o644);
    // The folder and the files.
    assert_eq!(put("rename").await, (3, 4));
    assert_eq!(put("rename").await, (0, 4));
    for (seconds, mode, choice, changes) in [
        (1_000_000_001, 0o644, "rename", 7),
        (1_000_000_001, 0o755, "replace", 10),
        // What is there stays as it is.
        (1_000_000_002, 0o700, "reject", 10),
        (1_000_000_002, 0o700, "skip", 10),
        (1_000_000_003, 0o640, "rename", 13),
    ] {
        describe(seconds, mode);
        assert_eq!(put(choice).await, (0, changes), "{choice}");
        assert_eq!(put(choice).await, (0, changes), "{choice} again");
    }
    let back = cli.path("back");
    run(get(&cli, "proj", &back)).await.assert_done();
    local_tree::assert_same(&top, &back.join("proj"));
}
