//! Changes of the tree that somebody else makes at the same time, or that are refused in part, and
//! the log of them.

use std::path::Path;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use towline_tests::PATIENCE;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::process::{output, towlined};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::terminal::Terminal;
use towline_tests::test_file::TestFile;

/// A command about the server.
fn asking(cli: &CliFixture, command: &str, arguments: &[&str]) -> Command {
    let mut asked = cli.at_home(command, &cli.path("state"));
    cli.reach(&mut asked);
    asked.args(arguments).current_dir(cli.path("."));
    asked
}

async fn ask(cli: &CliFixture, command: &str, arguments: &[&str]) -> Outcome {
    run(asking(cli, command, arguments)).await
}

async fn put(cli: &CliFixture, path: &Path) {
    run(cli.put(path)).await.assert_done();
}

/// How the program on the terminal ends.
async fn code(mut terminal: Terminal) -> Option<i32> {
    timeout(PATIENCE, terminal.child.wait()).await.unwrap().unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn rm_removes_what_was_there_when_it_asked_however_long_the_answer_takes() {
    let silence = Duration::from_secs(1);
    let server = TestServer::start_with(move |config| config.timings.silence = silence).await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("my proj/a", &TestFile::new(10, 970));
    put(&cli, &cli.path("my proj")).await;

    let mut terminal = Terminal::run(asking(&cli, "rm", &["my proj"]), 200);
    terminal.shows(|text| text.contains("[y/N]")).await;
    cli.write("my proj/later", &TestFile::new(10, 971));
    put(&cli, &cli.path("my proj")).await;
    terminal.types("y\n");
    let shown = terminal.shows(|text| text.contains("nothing was removed")).await;
    assert!(shown.contains("newer than what you have seen"), "{shown}");
    assert!(shown.contains("run the same command again"), "{shown}");
    assert_eq!(code(terminal).await, Some(1));
    assert_eq!(ask(&cli, "ls", &["my proj"]).await.assert_done().out, "a\nlater\n");

    let mut terminal = Terminal::run(asking(&cli, "rm", &["my proj"]), 200);
    terminal.shows(|text| text.contains("[y/N]")).await;
    // The server closes a connection that says nothing for that long.
    sleep(2 * silence).await;
    terminal.types("y\n");
    terminal.shows(|text| text.contains("`towline restore 'my proj'` brings it back")).await;
    assert_eq!(code(terminal).await, Some(0));
    assert_eq!(ask(&cli, "ls", &[]).await.assert_done().out, "");
    ask(&cli, "restore", &["my proj"]).await.assert_done();
    assert_eq!(ask(&cli, "ls", &[]).await.assert_done().out, "my proj/\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn mkdir_makes_the_others_where_one_is_refused() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    put(&cli, &cli.write("file", &TestFile::new(10, 972))).await;
    let made = ask(&cli, "mkdir", &["file", "file/below", "new", "--json"]).await;
    made.assert_code(1);
    let errors: Vec<_> =
        made.events().into_iter().filter(|event| event["event"] == "error").collect();
    assert_eq!(errors.len(), 2, "{made:?}");
    for error in &errors {
        let advice = error["advice"].as_str().unwrap();
        assert!(!advice.contains("--"), "mkdir has no such option: {advice}");
        assert!(advice.contains("another name"), "{advice}");
    }
    assert_eq!(made.event("created")["path"], "new");
    assert_eq!(ask(&cli, "ls", &[]).await.assert_done().out, "file\nnew/\n");
}

/// Forgets all changes that there are.
async fn forget_changes(site: &Site) {
    let mut expire = towlined();
    expire.arg("expire").args(["--keep-trash", "forever", "--keep-versions", "forever"]);
    expire.args(["--keep-changes", "none", "--data-dir"]).arg(site.path());
    let output = output(&mut expire).await;
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_shows_what_is_left_of_it() {
    let mut server = TestServer::start().await;
    let mut cli = CliFixture::new(&server.site, &server.user, server.address());
    let names: Vec<_> = (0..5).map(|n| format!("old{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    ask(&cli, "mkdir", &names).await.assert_done();
    server.stop().await;
    // The clock goes on: what is kept for no time has to be older than now.
    sleep(Duration::from_millis(20)).await;
    forget_changes(&server.site).await;
    server.start_again().await;
    cli.to = server.address();
    let told = ask(&cli, "log", &[]).await;
    assert_eq!(told.assert_done().out, "");
    assert!(told.err.contains("no longer"), "{told:?}");

    let names: Vec<_> = (0..7).map(|n| format!("new{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    ask(&cli, "mkdir", &names).await.assert_done();
    for number in ["100", "4000000000", "8"] {
        let told = ask(&cli, "log", &["-n", number]).await;
        assert_eq!(told.assert_done().out.lines().count(), 7, "{number}: {told:?}");
        assert!(told.out.contains("  new0/") && told.out.contains(" UTC  "), "{told:?}");
        assert!(told.err.contains("no longer"), "{told:?}");
    }
    let told = ask(&cli, "log", &["-n", "7"]).await;
    assert_eq!(told.assert_done().out.lines().count(), 7, "{told:?}");
    assert!(told.err.is_empty(), "{told:?}");
    // For a program standard output has the changes alone.
    let told = ask(&cli, "log", &["--json"]).await;
    assert_eq!(told.assert_done().events().len(), 7, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_path_of_each_change_however_many_folders_there_are() {
    const FOLDERS: usize = 110;
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let paths: Vec<_> = (0..FOLDERS).map(|n| format!("f{n}/x")).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    ask(&cli, "mkdir", &paths).await.assert_done();
    let told = ask(&cli, "log", &["-n", "10000"]).await;
    assert_eq!(told.assert_done().out.lines().count(), 2 * FOLDERS);
    assert!(!told.out.contains('…'), "{told:?}");
    let told = ask(&cli, "log", &["-n", "10000", "--json"]).await;
    let paths: Vec<_> = told
        .assert_done()
        .events()
        .into_iter()
        .map(|event| event["path"].as_str().expect("a path").to_owned())
        .collect();
    assert_eq!(paths.last().map(String::as_str), Some("f109/x"), "{paths:?}");
}
