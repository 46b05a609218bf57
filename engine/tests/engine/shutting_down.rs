//! The end of sessions and of the engine.

use crate::kit::{
    BLOCK, Call, Moment, Server, file, kind, new_upload, offset, soon, without_timed_checkpoints,
};
use std::time::Duration;
use tokio::time::Instant;
use towline_engine::{Client as Ending, Command, CompleteRequest};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_closes_says_how_far_each_upload_is() {
    let server = Server::with(without_timed_checkpoints).await;
    let mut client = server.client();
    let bytes = file(BLOCK, 1);
    let (one, _) = client.begin(1, new_upload("1", BLOCK)).await;
    let (two, _) = client.begin(2, new_upload("2", BLOCK)).await;
    client.data(1, &bytes, 0..100).await;
    client.data(2, &bytes, 0..200).await;
    let mut last = client.close(Ending::Listens).await;
    last.sort();
    let expected = [
        format!("1: progress 100/100 of {BLOCK} #{one}"),
        format!("2: progress 200/200 of {BLOCK} #{two}"),
    ];
    assert_eq!(last, expected);
    let left = server.crash().after_power_cut();
    assert_eq!(left.resume(one).await.offset(), offset(100));
    assert_eq!(left.resume(two).await.offset(), offset(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_makes_durable_what_came() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(BLOCK, 1);
    let mut upload = server.begin("doc", BLOCK).await;
    let id = upload.id();
    server.write(&mut upload, &bytes, 0..BLOCK - 1).await;
    soon(upload.position()).await.unwrap();
    // The door says that the end is near, closes the session, and stops the engine.
    server.engine.begin_shut_down();
    drop(upload);
    let (folder, storage) = server.stop().await;
    let server = Server::over_folder(folder, storage.after_power_cut()).await;
    assert_eq!(server.resume(id).await.offset(), offset(BLOCK - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_disk_that_hangs() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(BLOCK, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", BLOCK)).await;
    client.data(0, &bytes, 0..1000).await;
    client.settle(0).await;
    let gate = server.storage.hold(Moment::Before, Call::Write, 1);
    client.data(0, &bytes, 1000..2000).await;
    gate.reached().await;
    let (folder, storage) = (std::sync::Arc::clone(&server.folder), server.storage.clone());
    let begun = Instant::now();
    let stop = server.engine.shut_down(Instant::now() + Duration::from_millis(50));
    soon(stop).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8));
    gate.open();
    drop((client, server.storage, server.folder));
    drop((folder, storage, id));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_never_have_one_folder() {
    let server = Server::new().await;
    let storage = server.storage.after_kill();
    let second = Server::try_open_again(&server, storage).await;
    assert!(second.is_none());
    server.put("doc", b"x").await;
    let (folder, storage) = server.stop().await;
    let server = Server::over_folder(folder, storage.after_kill()).await;
    assert_eq!(server.status(crate::kit::id(1)).await.phase.as_str(), "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_under_way_comes_to_its_end_before_the_stop() {
    let server = Server::new().await;
    let bytes = file(BLOCK + 5, 1);
    let mut client = server.client();
    let (id, _) = client.begin(0, new_upload("doc", bytes.len())).await;
    client.data(0, &bytes, 0..bytes.len()).await;
    let gate = server.storage.hold(Moment::Before, Call::Publish, 1);
    client.tell(0, Command::Complete(CompleteRequest::default())).await;
    gate.reached().await;
    server.engine.begin_shut_down();
    gate.open();
    assert_eq!(client.hear().await, format!("0: completed doc ({}) #{id}", bytes.len()));
    client.close(Ending::Listens).await;
    let server = server.restart().await;
    assert!(server.read(id).await == bytes);
    assert_eq!(kind(soon(server.account().cancel(id)).await), "WrongPhase { phase: Completed }");
}

/// As where a program drops what it has when its runtime is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_dropped_outside_of_a_runtime_pauses_its_uploads_too() {
    let server = Server::with(without_timed_checkpoints).await;
    let mut client = server.client();
    let bytes = file(BLOCK, 1);
    let (id, _) = client.begin(0, new_upload("doc", BLOCK)).await;
    client.data(0, &bytes, 0..100).await;
    client.settle(0).await;
    tokio::task::block_in_place(|| std::thread::spawn(move || drop(client)).join().unwrap());
    let is_paused = async {
        while server.status(id).await.is_active {
            tokio::task::yield_now().await;
        }
    };
    soon(is_paused).await;
    assert_eq!(server.resume(id).await.offset(), offset(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_pauses_as_one_that_listens() {
    let server = Server::with(without_timed_checkpoints).await;
    let mut client = server.client();
    let bytes = file(BLOCK, 1);
    let (id, _) = client.begin(0, new_upload("doc", BLOCK)).await;
    client.data(0, &bytes, 0..100).await;
    client.close(Ending::Gone).await;
    let status = server.status(id).await;
    assert!(!status.is_active);
    assert_eq!(status.position.durable.get(), offset(100));
    // And one that is dropped without a word.
    let mut client = server.client();
    client.resume(0, id, towline_engine::SendingMode::PLAIN).await;
    client.data(0, &bytes, 100..200).await;
    client.settle(0).await;
    drop(client);
    let upload = server.resume(id).await;
    assert_eq!(upload.offset(), offset(200));
    soon(upload.pause()).await;
}
