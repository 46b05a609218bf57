//! A disk that did not keep what was written: nothing is written any more, and what is there is
//! read on.

use crate::kit::scripted::{full, passing};
use crate::kit::{
    BLOCK, Call, Extensions, Scripted, Server, ada, complete, file, kind, new_upload, offset, size,
    soon, without_timed_checkpoints,
};
use towline_engine::storage::StorageError;
use towline_engine::{Length, NewUpload, Phase, RejectionKind, ResumeRequest, SendingMode};

const LENGTH: usize = BLOCK + 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_at_a_checkpoint_fails_the_upload_and_closes_the_store() {
    let server = Server::with(without_timed_checkpoints).await;
    let there = server.put("there", b"bytes").await.receipt.document_id();
    let waiting = server.begin("waiting", LENGTH).await;
    let waiting_id = waiting.id();
    soon(waiting.pause()).await;
    let bytes = file(LENGTH, 1);
    let mut client = server.client();
    let (number, _) = client.begin(0, new_upload("doc", LENGTH)).await;
    client.data(0, &bytes, 0..1000).await;
    client.settle(0).await;
    server.storage.fail_sync(Call::Sync, 1);
    let last = client.close(towline_engine::Client::Listens).await;
    let said = format!("0: rejected StorageFailed #{number}");
    let failed = format!("0: rejected Failed #{number}");
    assert!(last.contains(&said) || last.contains(&failed), "{last:?}");
    // What no sync has confirmed was never said to be durable.
    let read_only = |answer: String| assert_eq!(answer, "StorageReadOnly");
    read_only(kind(soon(server.account().begin(new_upload("new", 10))).await));
    read_only(kind(server.put_whole(new_upload("new", 1), b"x").await));
    let resume = ResumeRequest::of(waiting_id, SendingMode::PLAIN);
    let resumed = soon(server.account().resume(resume)).await;
    if let Ok(begun) = resumed {
        let mut upload = crate::kit::uploading(begun);
        server.write(&mut upload, &bytes, 0..10).await;
        read_only(kind(soon(upload.position()).await));
    }
    // Reading goes on.
    assert_eq!(server.read(there).await, b"bytes");
    assert_eq!(server.status(there).await.phase, Phase::Completed);
    soon(server.account().receipt(there)).await.unwrap();
    // The next process reads the disk anew.
    let server = server.restart().await;
    server.put("new", b"x").await;
    assert_eq!(server.resume(waiting_id).await.offset(), offset(0));
    let status = server.status(number).await;
    assert!(status.phase == Phase::Failed || status.position.durable.get() == offset(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_before_the_name_publishes_nothing() {
    for renames in [false, true] {
        let storage = Scripted::new(64 << 20, Extensions { renames, ..Extensions::default() });
        let server = Server::over(storage, without_timed_checkpoints).await;
        let bytes = file(LENGTH, 1);
        let mut upload = server.begin("doc", LENGTH).await;
        let number = upload.id();
        server.write(&mut upload, &bytes, 0..LENGTH).await;
        server.storage.fail_sync(Call::SyncData, 1);
        server.storage.fail_sync(Call::Sync, 1);
        assert_eq!(kind(complete(upload, None).await), "StorageFailed");
        assert_eq!(server.storage.bytes(ada(), "doc"), None);
        assert_ne!(server.status(number).await.phase, Phase::Completed);
        let server = server.restart().await;
        assert_eq!(server.storage.bytes(ada(), "doc"), None);
        assert_ne!(server.status(number).await.phase, Phase::Completed);
        assert_eq!(server.put("doc", &bytes).await.receipt.path().to_string(), "doc");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_whose_sync_fails_is_not_stored() {
    let server = Server::new().await;
    server.storage.fail_sync(Call::SyncData, 1);
    assert_eq!(kind(server.put_whole(new_upload("doc", 1), b"x").await), "StorageFailed");
    assert_eq!(server.storage.bytes(ada(), "doc"), None);
    assert_eq!(kind(server.put_whole(new_upload("doc", 1), b"x").await), "StorageReadOnly");
    let server = server.restart().await;
    assert_eq!(server.storage.areas(), []);
    assert!(server.put_whole(new_upload("doc", 1), b"x").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_may_not_be_durable_is_no_receipt() {
    let storage = Scripted::new(64 << 20, Extensions { renames: true, ..Extensions::default() });
    let server = Server::over(storage, |_| {}).await;
    let bytes = file(LENGTH, 1);
    let mut upload = server.begin("doc", LENGTH).await;
    let number = upload.id();
    server.write(&mut upload, &bytes, 0..LENGTH).await;
    server.storage.fail_sync(Call::SyncName, 1);
    assert_eq!(kind(complete(upload, None).await), "StorageReadOnly");
    assert_eq!(server.status(number).await.phase, Phase::Publishing);
    assert!(soon(server.account().receipt(number)).await.is_err());
    let server = server.restart().await;
    assert_eq!(server.status(number).await.phase, Phase::Completed);
    assert!(soon(server.account().receipt(number)).await.unwrap().receipt.is_durable());
    assert!(server.read(number).await == bytes);
}

/// Has a write fail with that error, and then continues the upload where it stood. Returns what the
/// client was told of the error.
async fn continued_after(error: fn() -> StorageError) -> RejectionKind {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let mut upload = server.begin("doc", LENGTH).await;
    let number = upload.id();
    server.write(&mut upload, &bytes, 0..1000).await;
    soon(upload.position()).await.unwrap();
    server.storage.fail(Call::Write, 1, error);
    server.write(&mut upload, &bytes, 1000..2000).await;
    let rejection = crate::kit::refused(soon(upload.position()).await);
    let mut upload = server.resume(number).await;
    assert_eq!(upload.offset(), offset(1000));
    server.write(&mut upload, &bytes, 1000..LENGTH).await;
    complete(upload, None).await.unwrap();
    assert!(server.read(number).await == bytes);
    rejection.kind
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_what_came_and_goes_on_when_there_is_room() {
    let kind = continued_after(full).await;
    assert!(matches!(kind, RejectionKind::NoSpace { missing_bytes: Some(_) }), "{kind:?}");
}

/// Of a file whose length is known that is what its rest needs beyond what is free; of any other
/// file only the store knows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_says_how_much_the_file_still_needs() {
    let capacity = 4 * BLOCK;
    for (length, missing_bytes) in [
        (Length::Declared(size(2 * BLOCK)), 1),
        (Length::Declared(size(capacity)), capacity as u64),
        (Length::Open { max: size(capacity) }, 4711),
    ] {
        let storage = Scripted::new(capacity as u64, Extensions::default());
        let server = Server::over(storage, without_timed_checkpoints).await;
        let new = NewUpload { length, ..new_upload("doc", 0) };
        let mut upload = server.begin_new(new).await;
        server.storage.fail(Call::Write, 1, full);
        server.write(&mut upload, &file(BLOCK, 1), 0..1000).await;
        let rejection = crate::kit::refused(soon(upload.position()).await);
        let expected = RejectionKind::NoSpace { missing_bytes: Some(missing_bytes) };
        assert_eq!(rejection.kind, expected, "{length:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_for_a_moment_loses_nothing() {
    assert_eq!(continued_after(passing).await, RejectionKind::Internal);
}
