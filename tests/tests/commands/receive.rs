//! `towline receive` and `towline put --to LINE`: two people in one room, and nothing else.

use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Outcome, Run, run};
use towline_tests::process::towline;
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// Somebody who receives, and a folder for what comes.
struct Receiver {
    folder: TempDir,
}

impl Receiver {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let name = |entry: Result<fs::DirEntry, _>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries.map(|e| name(e).into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Begins to receive, and reads the line for the sender.
    async fn sit(&self, cli: &CliFixture, more: &[&str]) -> (Run, String) {
        let mut command = towline();
        command.arg("receive").arg(self.folder.path()).args(["--listen", "127.0.0.1:0"]).args(more);
        let mut sitting = cli.start(command);
        let line = sitting.until(|event| event["event"] == "line").await;
        (sitting, line["line"].as_str().unwrap().to_owned())
    }
}

/// Somebody who sends: a home folder of the own.
fn sends(cli: &CliFixture, home: &str, arguments: &[&str]) -> Command {
    let mut command = towline();
    command.args(arguments).current_dir(cli.path("."));
    let home = cli.path(home);
    command.env("XDG_CONFIG_HOME", &home).env("XDG_STATE_HOME", &home);
    command
}

async fn sent(cli: &CliFixture, home: &str, arguments: &[&str]) -> Outcome {
    run(sends(cli, home, arguments)).await
}

async fn desk() -> (Site, CliFixture) {
    let site = Site::new();
    let user = site.add_user("nobody").await;
    let cli = CliFixture::new(&site, &user, "127.0.0.1:9".parse().unwrap());
    (site, cli)
}

fn assert_same(path: &Path, test_file: &TestFile) {
    assert!(fs::read(path).unwrap() == *test_file.bytes, "{}", path.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_a_folder_land_under_their_names_and_nothing_else_is_left() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let [large, small] = [TestFile::new(5 * BLOCK + 3, 990), TestFile::new(100, 991)];
    cli.write("a.bin", &large);
    fs::create_dir_all(cli.path("photos/x")).unwrap();
    cli.write("photos/x/b.bin", &small);
    fs::write(receiver.path("a.bin"), "mine").unwrap();

    let (sitting, line) = receiver.sit(&cli, &["--once"]).await;
    sent(&cli, "home", &["put", "a.bin", "photos", "--to", &line]).await.assert_done();
    let ended = sitting.end().await;
    ended.assert_done();
    assert_same(&receiver.path("a (1).bin"), &large);
    assert_same(&receiver.path("photos/x/b.bin"), &small);
    assert_eq!(fs::read_to_string(receiver.path("a.bin")).unwrap(), "mine");
    assert_eq!(receiver.names(), ["a (1).bin", "a.bin", "photos"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_for_one_sender_and_the_next_one_is_printed() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    cli.write("a.bin", &TestFile::new(100, 992));
    cli.write("b.bin", &TestFile::new(100, 993));
    let (mut sitting, line) = receiver.sit(&cli, &[]).await;
    sent(&cli, "one", &["put", "a.bin", "--to", &line]).await.assert_done();
    let next = sitting.until(|event| event["event"] == "line").await;
    let refused = sent(&cli, "two", &["put", "b.bin", "--to", &line]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("it was used"), "{refused:?}");
    let next = next["line"].as_str().unwrap();
    sent(&cli, "two", &["put", "b.bin", "--to", next]).await.assert_done();
    // The first sender goes on with the first line.
    sent(&cli, "one", &["put", "b.bin", "--folder", "again", "--to", &line]).await.assert_done();
    let other = next.replace(&next[next.rfind('/').unwrap()..], &format!("/{}", "0".repeat(32)));
    sent(&cli, "three", &["put", "b.bin", "--to", &other]).await.assert_code(1);
    sitting.signal(Signal::INT);
    sitting.end().await.assert_done();
    assert_eq!(receiver.names(), ["a.bin", "again", "b.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_sitting_goes_on_with_the_same_upload() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let test_file = TestFile::new(24 * BLOCK, 994);
    cli.write("a.bin", &test_file);
    let (sitting, line) = receiver.sit(&cli, &[]).await;
    let put = sends(&cli, "home", &["put", "a.bin", "--to", &line, "--limit-rate", "4MB"]);
    let mut sending = cli.start(put);
    let is_kept =
        |event: &Value| event["event"] == "progress" && event["durable"].as_u64() > Some(0);
    sending.until(is_kept).await;
    sending.signal(Signal::INT);
    let paused = sending.end().await;
    paused.assert_code(3);
    let durable = paused.event("paused")["durable"].as_u64().unwrap();
    sitting.signal(Signal::INT);
    let ended = sitting.end().await;
    ended.assert_code(3);
    for text in ["not complete", ".towline-receive", "towline receive"] {
        assert!(ended.err.contains(text), "{text}: {ended:?}");
    }
    assert_eq!(receiver.names(), [".towline-receive"]);

    let mut again = towline();
    again.arg("receive").arg(receiver.folder.path()).arg("--once");
    let address = line.strip_prefix("towline://").unwrap().split('/').next().unwrap();
    again.args(["--listen", address]);
    let mut sitting = cli.start(again);
    sitting.until(|event| event["event"] == "line").await;
    let resumed = sent(&cli, "home", &["put", "a.bin", "--to", &line, "--json"]).await;
    let bytes = resumed.assert_done().event("completed")["sent_bytes"].as_u64().unwrap();
    assert_eq!(bytes, test_file.size() as u64 - durable, "not a byte twice");
    sitting.end().await.assert_done();
    assert_same(&receiver.path("a.bin"), &test_file);
    assert_eq!(receiver.names(), ["a.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_has_one_sitting_and_a_folder_that_is_missing_has_none() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let (sitting, _) = receiver.sit(&cli, &[]).await;
    let mut second = towline();
    second.arg("receive").arg(receiver.folder.path()).args(["--listen", "127.0.0.1:0"]);
    run(second).await.assert_code(1);
    sitting.signal(Signal::INT);
    sitting.end().await.assert_done();
    assert_eq!(receiver.names(), [""; 0]);
    let mut missing = towline();
    missing.arg("receive").arg(receiver.path("no"));
    run(missing).await.assert_code(2);
}
