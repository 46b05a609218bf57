//! A mistake in the code costs the command in which it happens: its client is told, what came is
//! kept, and nothing is left of what no client was told of.

use crate::kit::scripted::passing;
use crate::kit::{
    BLOCK, Call, Client, Moment, Server, ada, bob, complete, file, hash_of, id, new_upload, offset,
    soon,
};
use std::process::Command as Process;
use towline_engine::storage::StorageError;
use towline_engine::{Command, Phase, SendingMode};

const LENGTH: usize = BLOCK + 5;

/// What the store does in the place of a call.
fn mistake() -> Result<(), StorageError> {
    panic!("a mistake, as the test wants it");
}

fn begin(place: &str, length: usize) -> Command {
    Command::Begin(Box::new(new_upload(place, length)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_write_panics_is_paused_and_goes_on_where_it_was() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", LENGTH)).await;
    client.data(0, &bytes, 0..1000).await;
    assert_eq!(client.settle(0).await, [""; 0]);
    server.storage.on(Moment::Before, Call::Write, 1, mistake);
    client.data(0, &bytes, 1000..2000).await;
    assert_eq!(client.hear().await, "0: panicked");
    assert!(!server.status(id).await.is_active);
    let mut upload = server.resume(id).await;
    assert_eq!(upload.offset(), offset(1000));
    server.write(&mut upload, &bytes, 1000..LENGTH).await;
    complete(upload, Some(hash_of(&bytes))).await.unwrap();
    assert!(server.read(id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_writers_of_its_lease_are_told_to_begin_anew() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut first = server.client();
    let mut new = new_upload("doc", LENGTH);
    new.mode = SendingMode::RANGES;
    let (id, grant) = first.begin(0, new).await;
    let mut second = server.client();
    second.join(1, id, grant.lease.unwrap()).await;
    server.storage.on(Moment::Before, Call::Write, 1, mistake);
    first.data(0, &bytes, 0..1000).await;
    assert_eq!(first.hear().await, "0: panicked");
    assert_eq!(second.hear().await, format!("1: rejected Internal #{id}"));
    assert!(!server.status(id).await.is_active);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_upload_that_had_not_begun_nothing_is_left() {
    let server = Server::with(|config| config.limits.unfinished_per_user = 1).await;
    let mut client = server.client();
    server.storage.on(Moment::Before, Call::Create, 1, mistake);
    assert_eq!(client.ask(0, begin("doc", 10)).await, "0: panicked");
    check_that_nothing_is_left(&server).await;
    // It takes no place among the unfinished uploads of its user.
    let (number, _) = client.begin(0, new_upload("doc", 10)).await;
    assert_eq!(number, id(2));
}

/// The row of the only upload says how it ended, and no staging file is there.
async fn check_that_nothing_is_left(server: &Server) {
    let status = server.status(id(1)).await;
    assert_eq!((status.phase, status.reason.is_some()), (Phase::Failed, true));
    assert_eq!(server.storage.areas(), []);
}

/// The half whose process has a failpoint. It is run by the test below.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test below runs it, in a process with a failpoint"]
async fn begins_and_panics_behind_its_file() {
    let server = Server::new().await;
    let mut client = server.client();
    assert_eq!(client.ask(0, begin("doc", 10)).await, "0: panicked");
    check_that_nothing_is_left(&server).await;
}

#[test]
fn of_an_upload_that_had_its_file_and_had_not_begun_nothing_is_left_either() {
    let child = Process::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "panicking::begins_and_panics_behind_its_file"])
        .env("TOWLINE_FAILPOINTS", "upload.file_made=panic@1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

/// A small file panics in its sync; or it takes the way of an upload, and that panics.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_leaves_nothing_and_its_other_commands_are_not_done() {
    for call in [Call::SyncData, Call::Create] {
        let server = Server::new().await;
        let mut client = server.client();
        if call == Call::Create {
            server.storage.fail(Call::CreateWhole, 1, passing);
        }
        server.storage.on(Moment::Before, call, 1, mistake);
        let heard = client.whole(0, new_upload("doc", 5), b"small").await;
        assert_eq!(heard, ["0: panicked"], "{call:?}");
        assert_eq!(client.settle(0).await, [""; 0], "{call:?}");
        assert_eq!(server.storage.areas(), [], "{call:?}");
        assert_eq!(server.storage.bytes(ada(), "doc"), None);
        let again = server.put_whole(new_upload("doc", 5), b"small").await.unwrap();
        assert_eq!(again.receipt.path().to_string(), "doc", "{call:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_had_nothing_to_do_with_it_hears_nothing() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut clients = [server.client(), Client::new(&server.engine, &server.account_of(bob()), 8)];
    for (tag, client) in (0..).zip(&mut clients) {
        client.begin(tag, new_upload("doc", LENGTH)).await;
    }
    let mut upload = server.begin("broken", LENGTH).await;
    server.storage.on(Moment::Before, Call::Write, 1, mistake);
    server.write(&mut upload, &bytes, 0..10).await;
    assert!(soon(upload.position()).await.is_err());
    for (tag, mut client) in (0..).zip(clients) {
        client.data(tag, &bytes, 0..LENGTH).await;
        assert!(client.complete(tag).await.starts_with(&format!("{tag}: completed doc ")));
    }
}
