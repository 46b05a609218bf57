//! `towline receive` and `towline put --to LINE`: two people in one room, and nothing else.

mod moved;
mod places;

use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::{fs, io};
use tempfile::TempDir;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Outcome, Run, run};
use towline_tests::process::towline;
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::skipped;

/// A person who receives, and a folder for what comes.
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
        names_in(self.folder.path())
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = towline();
        command.arg("receive").arg(self.folder.path()).args(more);
        command
    }

    /// Begins to receive, and reads the line for the sender.
    async fn sit(&self, cli: &CliFixture, more: &[&str]) -> (Run, String) {
        let mut command = self.command(more);
        command.args(["--listen", "127.0.0.1:0"]);
        begun(cli.start(command)).await
    }

    /// Goes on with a sitting: on the same port, so that the lines of before lead there.
    async fn go_on(&self, cli: &CliFixture, more: &[&str]) -> (Run, String) {
        begun(cli.start(self.command(more))).await
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let name = |entry: Result<fs::DirEntry, _>| entry.unwrap().file_name();
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| name(e).into_string().unwrap()).collect();
    names.sort();
    names
}

async fn begun(mut sitting: Run) -> (Run, String) {
    let line = sitting.until(|event| event["event"] == "line").await;
    (sitting, line["line"].as_str().unwrap().to_owned())
}

/// A person who sends, with a home folder of the own.
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

fn has_landed(name: &'static str) -> impl FnMut(&Value) -> bool {
    move |event| event["event"] == "landed" && event["path"].as_str().unwrap().ends_with(name)
}

fn is_durable(event: &Value) -> bool {
    event["event"] == "progress" && event["durable"].as_u64() > Some(0)
}

/// Ends a sitting, as Ctrl-C does.
async fn ctrl_c(sitting: Run) -> Outcome {
    sitting.signal(Signal::INT);
    sitting.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_a_folder_land_under_their_names_and_nothing_else_is_left() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let [large, small] = [TestFile::new(5 * BLOCK + 3, 990), TestFile::new(100, 991)];
    cli.write("a.bin", &large);
    cli.write(".profile", &small);
    cli.write("photos/x/b.bin", &small);
    let script = cli.write("photos/run.sh", &small);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o510)).unwrap();
    fs::create_dir_all(cli.path("photos/empty/inner")).unwrap();
    symlink("../run.sh", cli.path("photos/x/inside")).unwrap();
    symlink("../a.bin", cli.path("photos/outside")).unwrap();
    fs::write(receiver.path("a.bin"), "mine").unwrap();
    fs::create_dir(receiver.path("photos")).unwrap();

    let (sitting, line) = receiver.sit(&cli, &["--once"]).await;
    sent(&cli, "home", &["put", "a.bin", ".profile", "photos", "--to", &line]).await.assert_done();
    let ended = sitting.end().await;
    ended.assert_done();
    assert_same(&receiver.path("a (1).bin"), &large);
    assert_same(&receiver.path("_profile"), &small);
    assert_same(&receiver.path("photos (1)/x/b.bin"), &small);
    assert_eq!(
        fs::read_link(receiver.path("photos (1)/x/inside")).unwrap(),
        Path::new("../run.sh")
    );
    assert_eq!(names_in(&receiver.path("photos (1)")), ["empty", "run.sh", "x"]);
    assert_eq!(names_in(&receiver.path("photos (1)/empty")), ["inner"]);
    assert_eq!(ended.event("skipped")["path"], "photos/outside", "a link that leads out is told");
    let script = receiver.path("photos (1)/run.sh").metadata().unwrap();
    assert_eq!(script.mode() & 0o700, 0o700, "its sender may not write it, and its owner here may");
    let times = |path: PathBuf| path.metadata().unwrap().mtime();
    assert_eq!(times(receiver.path("a (1).bin")), times(cli.path("a.bin")));
    // What the person has stays as it was.
    assert_eq!(fs::read_to_string(receiver.path("a.bin")).unwrap(), "mine");
    assert!(names_in(&receiver.path("photos")).is_empty());
    assert_eq!(receiver.names(), ["_profile", "a (1).bin", "a.bin", "photos", "photos (1)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_land_all_of_them() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let names: Vec<_> = (0..450).map(|number| format!("{number:03}")).collect();
    for name in &names {
        cli.write(&format!("many/{name}"), &TestFile::new(10, 992));
    }
    let (sitting, line) = receiver.sit(&cli, &[]).await;
    sent(&cli, "home", &["put", "many", "--to", &line]).await.assert_done();
    // Nothing is waited for: what was told as stored lands before the store goes.
    ctrl_c(sitting).await.assert_done();
    assert_eq!(names_in(&receiver.path("many")), names);
    assert_eq!(receiver.names(), ["many"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_for_one_sender_who_sees_nothing_of_another() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let [ones, twos] = [TestFile::new(100, 993), TestFile::new(100, 994)];
    cli.write("one/a.bin", &ones);
    cli.write("two/a.bin", &twos);
    let (mut sitting, line) = receiver.sit(&cli, &[]).await;
    sent(&cli, "home1", &["put", "one/a.bin", "--to", &line]).await.assert_done();
    let next = sitting.until(|event| event["event"] == "line").await;
    let refused = sent(&cli, "home2", &["put", "two/a.bin", "--to", &line]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("it was used"), "{refused:?}");
    let next = next["line"].as_str().unwrap();
    sent(&cli, "home2", &["login", next, "--as", "desk"]).await.assert_done();
    let listed = sent(&cli, "home2", &["ls", "--to", "desk"]).await;
    assert!(listed.assert_done().out.is_empty(), "{listed:?}");
    sent(&cli, "home2", &["put", "two/a.bin", "--to", "desk"]).await.assert_done();
    // The first sender goes on with the first line.
    sent(&cli, "home1", &["put", "one", "--to", &line]).await.assert_done();
    let other = next.replace(&next[next.rfind('/').unwrap()..], &format!("/{}", "0".repeat(32)));
    sent(&cli, "home3", &["put", "one", "--to", &other]).await.assert_code(1);
    ctrl_c(sitting).await.assert_done();
    assert_eq!(receiver.names(), ["a (1).bin", "a.bin", "one"]);
    assert_same(&receiver.path("a.bin"), &ones);
    assert_same(&receiver.path("a (1).bin"), &twos);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_sitting_goes_on_with_the_same_upload() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let test_file = TestFile::new(24 * BLOCK, 995);
    cli.write("a.bin", &test_file);
    let (sitting, line) = receiver.sit(&cli, &[]).await;
    let put = sends(&cli, "home", &["put", "a.bin", "--to", &line, "--limit-rate", "4MB"]);
    let mut sending = cli.start(put);
    sending.until(is_durable).await;
    let paused = ctrl_c(sending).await;
    paused.assert_code(3);
    let durable = paused.event("paused")["durable"].as_u64().unwrap();
    let ended = ctrl_c(sitting).await;
    ended.assert_code(3);
    for text in ["not complete", ".towline-receive", "towline receive"] {
        assert!(ended.err.contains(text), "{text}: {ended:?}");
    }
    assert_eq!(receiver.names(), [".towline-receive"]);

    let (sitting, _) = receiver.go_on(&cli, &["--once"]).await;
    let resumed = sent(&cli, "home", &["put", "a.bin", "--to", &line, "--json"]).await;
    let bytes = resumed.assert_done().event("completed")["sent_bytes"].as_u64().unwrap();
    assert_eq!(bytes, test_file.size() as u64 - durable, "not a byte twice");
    sitting.end().await.assert_done();
    assert_same(&receiver.path("a.bin"), &test_file);
    assert_eq!(receiver.names(), ["a.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_was_killed_comes_again_and_a_sitting_that_was_killed_too() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let [large, small] = [TestFile::new(24 * BLOCK, 996), TestFile::new(100, 997)];
    cli.write("large.bin", &large);
    cli.write("small.bin", &small);
    let (mut sitting, line) = receiver.sit(&cli, &["--once"]).await;
    let put = ["put", "small.bin", "large.bin", "--to", &line, "--limit-rate", "4MB"];
    let mut sending = cli.start(sends(&cli, "home", &put));
    sending.until(is_durable).await;
    sitting.until(has_landed("small.bin")).await;
    sending.signal(Signal::KILL);
    assert_eq!(sending.end().await.code, None);
    // The person has taken it away already: it does not land again.
    fs::rename(receiver.path("small.bin"), cli.path("taken")).unwrap();

    let mut sending = cli.start(sends(&cli, "home", &put));
    sending.until(is_durable).await;
    sitting.signal(Signal::KILL);
    assert_eq!(sitting.end().await.code, None);
    // The sender is still at it, and finds the next sitting at the same place.
    let (sitting, _) = receiver.go_on(&cli, &["--once"]).await;
    sending.end().await.assert_done();
    sitting.end().await.assert_done();
    assert_same(&receiver.path("large.bin"), &large);
    assert_eq!(receiver.names(), ["large.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_a_kill_lands_at_the_next_start_and_once() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let files: Vec<_> = (0..40).map(|salt| TestFile::new(1000, 1000 + salt)).collect();
    for (number, file) in files.iter().enumerate() {
        cli.write(&format!("d/{number}"), file);
    }
    let (sitting, line) = receiver.sit(&cli, &[]).await;
    sent(&cli, "home", &["put", "d", "--to", &line]).await.assert_done();
    // Some of them have landed by now, or none, or all.
    sitting.signal(Signal::KILL);
    assert_eq!(sitting.end().await.code, None);
    // A kill, or a power cut, may also have come before it was written down that they have landed.
    fs::write(receiver.path(".towline-receive/landed"), "file 999\nfil").unwrap();
    let (sitting, _) = receiver.go_on(&cli, &[]).await;
    ctrl_c(sitting).await.assert_done();
    assert_eq!(receiver.names(), ["d"]);
    for (number, file) in files.iter().enumerate() {
        assert_same(&receiver.path(&format!("d/{number}")), file);
    }
    assert_eq!(names_in(&receiver.path("d")).len(), files.len(), "nothing is here twice");
}

/// A folder in which nothing can be made, until this is dropped: a test that fails leaves none that
/// cannot be removed.
struct Closed(PathBuf);

impl Closed {
    /// Nothing where the system cannot do that, which is printed.
    fn make(folder: PathBuf) -> Option<Self> {
        match set_closed(&folder, true) {
            Ok(()) => Some(Self(folder)),
            Err(why) => {
                skipped(&format!("no folder can be closed to root here: {why}"));
                None
            }
        }
    }

    fn open(self) {
        set_closed(&self.0, false).unwrap();
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let _ = set_closed(&self.0, false);
    }
}

/// Nothing can be made in the folder, or something can again.
fn set_closed(folder: &Path, is_closed: bool) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        let mode = if is_closed { 0o500 } else { 0o700 };
        return fs::set_permissions(folder, fs::Permissions::from_mode(mode));
    }
    // Root may write everywhere else.
    let flag = if is_closed { "+i" } else { "-i" };
    let changed = std::process::Command::new("chattr").arg(flag).arg(folder).output()?;
    let said = String::from_utf8_lossy(&changed.stderr).trim().to_owned();
    changed.status.success().then_some(()).ok_or_else(|| io::Error::other(said))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_land_is_told_and_kept_and_lands_later() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let file = TestFile::new(100, 1050);
    cli.write("d/a", &file);
    let (mut sitting, line) = receiver.sit(&cli, &["--once"]).await;
    sent(&cli, "home", &["put", "d", "--to", &line]).await.assert_done();
    sitting.until(has_landed("d/a")).await;
    let Some(closed) = Closed::make(receiver.path("d")) else { return };
    cli.write("d/b", &file);
    sent(&cli, "home", &["put", "d", "--to", &line]).await.assert_done();
    // It counts for `--once`, although it could not land.
    let ended = sitting.end().await;
    closed.open();
    ended.assert_code(1);
    for text in ["d/b has arrived whole and gets no name", "arrived whole and without a name in"] {
        assert!(ended.err.contains(text), "{text}: {ended:?}");
    }
    assert_eq!(ended.err.matches("d/b").count(), 1, "once: {ended:?}");
    assert_eq!(receiver.names(), [".towline-receive", "d"]);

    let (sitting, _) = receiver.go_on(&cli, &["--once"]).await;
    sitting.end().await.assert_done();
    assert_same(&receiver.path("d/b"), &file);
    assert_eq!(names_in(&receiver.path("d")), ["a", "b"]);
    assert_eq!(receiver.names(), ["d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_reaches_nothing_that_the_person_has_made_in_a_received_folder() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let file = TestFile::new(100, 1053);
    cli.write("d/a", &file);
    let (mut sitting, line) = receiver.sit(&cli, &[]).await;
    sent(&cli, "home", &["put", "d", "--to", &line]).await.assert_done();
    sitting.until(has_landed("d/a")).await;
    let hooks = receiver.path("d/.git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for path in [&hooks, &receiver.path("d/.git")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::write(receiver.path("d/notes"), "mine").unwrap();
    let hook = cli.write("d/.git/hooks/pre-commit", &file);
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    cli.write("d/notes/b", &file);
    sent(&cli, "home", &["put", "d", "--to", &line]).await.assert_done();
    ctrl_c(sitting).await.assert_done();
    // The person's own are as they were, with their permissions.
    assert!(names_in(&hooks).is_empty());
    for path in [&hooks, &receiver.path("d/.git")] {
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
    }
    assert_eq!(fs::read_to_string(receiver.path("d/notes")).unwrap(), "mine");
    // What was sent has a place of its own.
    assert_same(&receiver.path("d/.git (1)/hooks/pre-commit"), &file);
    assert_same(&receiver.path("d/notes (1)/b"), &file);
    assert_eq!(receiver.names(), ["d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_was_used_for_nothing_is_followed_by_another_one() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let file = TestFile::new(100, 1054);
    cli.write("a.bin", &file);
    let (mut sitting, line) = receiver.sit(&cli, &["--once"]).await;
    sent(&cli, "home1", &["login", &line, "--as", "desk"]).await.assert_done();
    let next = sitting.until(|event| event["event"] == "line").await;
    let next = next["line"].as_str().unwrap();
    sent(&cli, "home2", &["put", "a.bin", "--to", next]).await.assert_done();
    sitting.end().await.assert_done();
    assert_same(&receiver.path("a.bin"), &file);
    assert_eq!(receiver.names(), ["a.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_place_of_a_folder_leads_nothing_out_of_dir() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let outside = tempfile::tempdir().unwrap();
    let file = TestFile::new(100, 1051);
    cli.write("d/a", &file);
    let (mut sitting, line) = receiver.sit(&cli, &[]).await;
    sent(&cli, "home", &["put", "d", "--to", &line]).await.assert_done();
    sitting.until(has_landed("d/a")).await;
    fs::remove_dir_all(receiver.path("d")).unwrap();
    symlink(outside.path(), receiver.path("d")).unwrap();
    cli.write("d/b", &file);
    sent(&cli, "home", &["put", "d", "--to", &line]).await.assert_done();
    ctrl_c(sitting).await.assert_done();
    assert_same(&receiver.path("d (1)/b"), &file);
    assert!(names_in(outside.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_by_itself_is_told_and_everything_is_kept() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    cli.write("a.bin", &TestFile::new(100, 1052));
    let (mut sitting, line) = receiver.sit(&cli, &[]).await;
    sent(&cli, "home", &["put", "a.bin", "--to", &line]).await.assert_done();
    sitting.until(has_landed("a.bin")).await;
    let store = receiver.path(".towline-receive/store");
    let lock = names_in(&store).into_iter().find(|name| name.contains("lock")).unwrap();
    fs::remove_file(store.join(lock)).unwrap();
    let ended = sitting.end().await;
    ended.assert_code(1);
    assert!(ended.err.contains("the server has ended by itself: the lock file"), "{ended:?}");
    assert_eq!(receiver.names(), [".towline-receive", "a.bin"]);
    let (sitting, _) = receiver.go_on(&cli, &[]).await;
    ctrl_c(sitting).await.assert_done();
    assert_eq!(receiver.names(), ["a.bin"]);
}
