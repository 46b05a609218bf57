//! A process that is killed right after the length of a file was recorded.

use crate::door::{Door, MIB, bytes, claim, new, offset, size};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command as Process;
use tempfile::TempDir;
use towline_engine::{Command, Length, NewUpload, SendingMode};
use towline_types::DocumentId;

const FOLDER: &str = "TOWLINE_TEST_FOLDER";
const SIGKILL: i32 = 9;

/// The half that is killed. It is run by the test below, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test below runs it, in a process that is killed"]
async fn declares_and_is_killed() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("the test below says where"));
    let mut door = Door::over(&folder);
    door.make().await;
    let mut client = door.client();
    let length = Length::Open { max: size(100 * MIB) };
    let file = bytes(MIB + 10, 8);
    client.begin(1, NewUpload { length, ..new("a", 0, SendingMode::PLAIN) }).await;
    client.send(1, 0, &file[..MIB + 5]).await;
    client.durable(1, MIB + 5).await;
    client.say(1, Command::Declare(size(file.len()))).await;
    client.hear().await;
    unreachable!("the process dies when the length is recorded");
}

/// What was durable stays so (P1), the length is known, and the upload goes on (P4).
#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_was_recorded_outlasts_a_kill() {
    let folder = TempDir::new().unwrap();
    let status = Process::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "killed::declares_and_is_killed"])
        .env(FOLDER, folder.path())
        .env("TOWLINE_FAILPOINTS", "declare.recorded=kill@1")
        .output()
        .unwrap()
        .status;
    assert_eq!(status.signal(), Some(SIGKILL));
    let mut door = Door::over(folder.path());
    door.start().await;
    let mut client = door.client();
    let file = bytes(MIB + 10, 8);
    let id = DocumentId::try_from(1).unwrap();
    let grant = client.resume(1, id, SendingMode::PLAIN).await;
    assert_eq!(grant.offset, offset(MIB + 5));
    assert_eq!(grant.length, Length::Declared(size(file.len())));
    client.send(1, MIB + 5, &file[MIB + 5..]).await;
    client.complete(1, claim(&file)).await;
    assert_eq!(door.read("a"), file);
    client.close().await;
}
