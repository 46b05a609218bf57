//! What a person sees on a terminal during an upload.

use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;
use tokio::time::timeout;
use towline_tests::PATIENCE;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::terminal::Terminal;
use towline_tests::test_file::{BLOCK, TestFile};

/// The lines that were drawn, without the sequences that move the cursor.
fn frames(shown: &str) -> Vec<String> {
    let mut frames = vec![String::new()];
    let mut chars = shown.chars();
    while let Some(c) = chars.next() {
        match c {
            // ESC [ … letter
            '\u{1b}' => {
                chars.find(char::is_ascii_alphabetic);
            }
            '\r' | '\n' => frames.push(String::new()),
            c => frames.last_mut().unwrap().push(c),
        }
    }
    frames.retain(|frame| !frame.trim().is_empty());
    frames
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_seen_and_ctrl_c_leaves_no_bar_behind() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), [Faults::stall_after(5 << 20)]).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK, 240);
    let mut terminal = Terminal::run(cli.put(&cli.write("two.bin", &test_file)), 80);
    let shown = terminal.shows(|text| text.contains("stalled for 4 s")).await;
    let stalled = frames(&shown).pop().unwrap();
    for part in ["two.bin", "%", "Ctrl-C pauses"] {
        assert!(stalled.contains(part), "{stalled:?}");
    }
    assert!(!stalled.contains("MiB/s"), "nothing moves: {stalled:?}");
    let id = terminal.child.id().and_then(|id| i32::try_from(id).ok()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
    let shown = terminal.shows(|text| text.contains("towline resume")).await;
    let last = shown.rfind("stalled for").unwrap();
    let erased = shown[last..].find("\u{1b}[").unwrap();
    let paused = shown[last..].find("paused at").unwrap();
    assert!(erased < paused, "the bar is erased before the last words: {shown:?}");
    let ended = timeout(PATIENCE, terminal.child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(3));
}

/// At the first contact there is no upload yet, so no line of an upload can show the state.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_seen_not_to_be_there() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 242);
    // No process listens on the first port, and on the second one no process answers.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (address, reason) in
        [(gone, "connection refused"), (silent.local_addr().unwrap(), "waiting for the server")]
    {
        let cli = CliFixture::new(&server.site, &server.user, address);
        let mut terminal = Terminal::run(cli.put(&cli.write("two.bin", &test_file)), 120);
        let shown =
            terminal.shows(|text| frames(text).iter().any(|frame| frame.contains(reason))).await;
        let frame = frames(&shown).into_iter().find(|frame| frame.contains(reason)).unwrap();
        assert!(frame.contains("Ctrl-C pauses"), "{frame:?}");
        if address == gone {
            assert!(frame.contains("two.bin") && frame.contains("attempt 1"), "{frame:?}");
        }
        let id = terminal.child.id().and_then(|id| i32::try_from(id).ok()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
        let ended = timeout(PATIENCE, terminal.child.wait()).await.unwrap().unwrap();
        assert_eq!(ended.code(), Some(3));
        // At the end the line on the screen is erased.
        let said = "before anything was sent";
        terminal.shows(|text| text.contains(said) && text.ends_with("\u{1b}[2K")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bar_is_as_wide_as_the_terminal_and_follows_it() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { delay: Duration::from_millis(20), ..Faults::none() });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(40 * BLOCK, 241);
    let mut terminal = Terminal::run(cli.put(&cli.write("日本語.bin", &test_file)), 70);
    let bar = |frame: &str| frame.chars().filter(|c| "━╸─".contains(*c)).count();
    let has_bar = |range: std::ops::Range<usize>| {
        move |text: &str| frames(text).iter().any(|frame| range.contains(&bar(frame)))
    };
    let shown = terminal.shows(has_bar(1..40)).await;
    for frame in frames(&shown).iter().filter(|frame| frame.contains("日本語")) {
        // Each of the three characters takes two columns. Where a terminal writes `^C` after
        // Ctrl-C, with the spaces behind the line, no new line begins.
        assert!(frame.chars().count() + 3 + 3 <= 70, "{frame:?}");
        assert!(frame.contains('%'), "{frame:?}");
    }
    terminal.resize(140);
    terminal.shows(has_bar(60..140)).await;
    terminal.resize(40);
    terminal
        .shows(|text| {
            let last = frames(text).pop().unwrap_or_default();
            last.contains("日本語") && last.chars().count() + 3 <= 40 && last.contains('%')
        })
        .await;
    let ended = timeout(PATIENCE, terminal.child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
    let shown = terminal.shows(|text| text.contains("verified")).await;
    let last = frames(&shown).pop().unwrap();
    assert!(last.contains("verified"), "no bar is left behind: {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_and_the_job_have_a_line_each() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { delay: Duration::from_millis(20), ..Faults::none() });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for name in ["d/a.bin", "d/b.bin"] {
        cli.write(name, &TestFile::new(20 * BLOCK, 243));
    }
    let mut terminal = Terminal::run(cli.put(&cli.path("d")), 80);
    let shown = terminal
        .shows(|text| frames(text).iter().any(|frame| frame.starts_with("0 of 2 files, 1")))
        .await;
    let has_file = |frame: &String| frame.contains("MiB/s");
    assert!(frames(&shown).iter().filter(|frame| has_file(frame)).count() > 0, "{shown:?}");
    for frame in frames(&shown) {
        assert!(!(has_file(&frame) && frame.contains("of 2 files")), "two lines: {frame:?}");
    }
    let ended = timeout(PATIENCE, terminal.child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
}

/// Lines that are drawn again and again; a line of the end may be longer than the terminal is wide.
fn drawn(shown: &str) -> Vec<String> {
    let mut drawn = frames(shown);
    drawn.retain(|frame| frame.contains('%'));
    drawn
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_and_what_is_followed_fit_a_narrow_terminal() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults::slow(6 << 20));
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let file = cli.write("a film of a holiday.mkv", &TestFile::new(24 * BLOCK, 244));
    let mut watch = cli.at_home("watch", &cli.path("state"));
    cli.reach(&mut watch);
    let mut watching = Terminal::run(watch, 40);
    watching.shows(|text| text.contains("no upload is running")).await;
    let put = tokio::spawn(run(cli.put(&file)));
    watching.shows(|text| drawn(text).iter().any(|frame| frame.contains("MiB/s"))).await;
    put.await.unwrap().assert_done();
    let shown = watching.shows(|text| text.contains("complete, document 1")).await;
    let id = watching.child.id().and_then(|id| i32::try_from(id).ok()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
    let ended = timeout(PATIENCE, watching.child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));

    let mut get = cli.at_home("get", &cli.path("state"));
    cli.reach(&mut get);
    get.arg("a film of a holiday.mkv").arg("-o").arg(cli.path("back.mkv"));
    let mut getting = Terminal::run(get, 40);
    getting.shows(|text| drawn(text).iter().any(|frame| frame.contains("MiB/s"))).await;
    let fetched = getting.shows(|text| text.contains("verified")).await;
    for frame in drawn(&shown).iter().chain(&drawn(&fetched)) {
        assert!(frame.chars().count() <= 40 - 3, "{frame:?}");
    }
    assert!(drawn(&fetched).iter().any(|frame| frame.contains(" left")), "{fetched:?}");
    let ended = timeout(PATIENCE, getting.child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
}
