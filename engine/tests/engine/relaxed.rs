//! Receipts that come before the sync.

use crate::kit::{
    BLOCK, Call, Crash, Extensions, Scripted, Server, ada, complete, file, hash_of, kind,
    new_upload, offset, soon, stored, without_timed_checkpoints,
};
use towline_engine::{Durability, EngineConfig, Phase, ReadRequest};

const LENGTH: usize = BLOCK + 5;

const DEFERRED: Extensions =
    Extensions { copies: true, deferred: true, renames: true, ..Extensions::NONE };

fn relax(config: &mut EngineConfig) {
    without_timed_checkpoints(config);
    config.durability = Durability::Relaxed;
}

async fn relaxed() -> Server {
    Server::over(Scripted::new(64 << 20, DEFERRED), relax).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_defer_a_sync_is_never_relaxed() {
    let server = Server::over(Scripted::new(64 << 20, Extensions::default()), relax).await;
    assert_eq!(server.engine.config().durability, Durability::Durable);
    assert!(server.put("doc", b"x").await.receipt.is_durable());
    assert!(server.put_whole(new_upload("small", 1), b"x").await.unwrap().receipt.is_durable());
    assert_eq!(relaxed().await.engine.config().durability, Durability::Relaxed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_comes_without_a_sync_and_asking_again_makes_it_durable() {
    for is_whole in [true, false] {
        let server = relaxed().await;
        let bytes = file(if is_whole { 1000 } else { LENGTH }, 1);
        let first = if is_whole {
            server.put_whole(new_upload("a/doc", 1000), &bytes).await.unwrap().receipt
        } else {
            server.put("a/doc", &bytes).await.receipt
        };
        let id = first.document_id();
        if first.is_durable() {
            // Only files that came whole are deferred by this store.
            assert!(!is_whole);
            assert_eq!(server.status(id).await.phase, Phase::Completed);
            continue;
        }
        assert_eq!(server.storage.count(Call::SyncAll), 0);
        assert_eq!(server.storage.count(Call::SyncData), 0);
        assert_eq!(server.status(id).await.phase, Phase::Publishing);
        assert_eq!(server.storage.bytes(ada(), "a/doc").unwrap(), bytes);
        let again = soon(server.account().receipt(id)).await.unwrap().receipt;
        assert!(again.is_durable());
        assert_eq!(again.created_at(), first.created_at());
        assert_eq!((again.hash(), again.path()), (first.hash(), first.path()));
        assert_eq!(server.status(id).await.phase, Phase::Completed);
        let left = server.crash().after_power_cut_with_names_lost();
        assert_eq!(left.read(id).await, bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_becomes_durable_within_seconds_by_itself() {
    let server = relaxed().await;
    let receipt = server.put_whole(new_upload("doc", 4), b"four").await.unwrap().receipt;
    assert!(!receipt.is_durable());
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
    while server.status(receipt.document_id()).await.phase != Phase::Completed {
        assert!(tokio::time::Instant::now() < until);
        tokio::task::yield_now().await;
    }
    let left = server.crash().after_power_cut_with_names_lost();
    assert_eq!(left.storage.bytes(ada(), "doc").unwrap(), b"four");
    assert_eq!(left.status(receipt.document_id()).await.phase, Phase::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sync_is_for_all_that_wait() {
    let server = relaxed().await;
    let mut ids = Vec::new();
    for number in 0..10 {
        let new = new_upload(&format!("{number}"), 4);
        let receipt = server.put_whole(new, b"four").await.unwrap().receipt;
        assert!(!receipt.is_durable());
        ids.push(receipt.document_id());
    }
    assert_eq!(server.storage.count(Call::SyncAll), 0);
    let (folder, storage) = server.stop().await;
    assert_eq!(storage.count(Call::SyncAll), 1);
    let server = Server::over_folder(folder, storage.after_power_cut_with_names_lost()).await;
    for id in ids {
        assert_eq!(server.status(id).await.phase, Phase::Completed);
        assert_eq!(server.read(id).await, b"four");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_makes_all_of_it_durable() {
    let server = relaxed().await;
    let bytes = file(1000, 1);
    let receipt = server.put_whole(new_upload("doc", 1000), &bytes).await.unwrap().receipt;
    assert!(!receipt.is_durable());
    let id = receipt.document_id();
    let (folder, storage) = server.stop().await;
    let server = Server::over_folder(folder, storage.after_power_cut_with_names_lost()).await;
    assert_eq!(server.status(id).await.phase, Phase::Completed);
    assert_eq!(server.read(id).await, bytes);
}

/// What a crash leaves behind a receipt that was not durable.
async fn crash_behind_receipt(bytes: &[u8]) -> (Crash, towline_types::DocumentId) {
    let server = relaxed().await;
    let new = new_upload("a/doc", bytes.len());
    let receipt = server.put_whole(new, bytes).await.unwrap().receipt;
    assert!(!receipt.is_durable());
    (server.crash(), receipt.document_id())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_file_is_read_and_the_document_is_there() {
    let bytes = file(1000, 1);
    let (crash, id) = crash_behind_receipt(&bytes).await;
    let left = crash.after_kill();
    assert_eq!(left.status(id).await.phase, Phase::Completed);
    assert_eq!(left.read(id).await, bytes);
    assert!(soon(left.account().receipt(id)).await.unwrap().receipt.is_durable());
    assert!(left.storage.after_power_cut().bytes(ada(), "a/doc").unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_may_take_it_altogether() {
    let bytes = file(1000, 1);
    let (crash, id) = crash_behind_receipt(&bytes).await;
    let left = crash.after_power_cut_with_names_lost();
    let status = left.status(id).await;
    assert_eq!((status.phase, status.reason.is_some()), (Phase::Failed, true));
    assert_eq!(left.storage.bytes(ada(), "a/doc"), None);
    assert_eq!(kind(soon(left.account().receipt(id)).await), "Failed");
    let mut new = new_upload("a/doc", 1000);
    new.hash = Some(hash_of(&bytes));
    let again = left.put_whole(new, &bytes).await.unwrap();
    assert!(!again.existing && !again.receipt.is_copy());
    assert_eq!(again.receipt.path().to_string(), "a/doc");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_survives_without_its_bytes_is_no_document() {
    let bytes = file(1000, 1);
    let (crash, id) = crash_behind_receipt(&bytes).await;
    assert_eq!(crash.cut.bytes(ada(), "a/doc").unwrap(), b"", "the name alone was kept");
    let left = crash.after_power_cut();
    // A disk has it set aside, and the upload fails; this store has no place for it.
    assert_ne!(left.status(id).await.phase, Phase::Completed);
    assert!(soon(left.account().read(ReadRequest::whole(id))).await.is_err());
    assert!(soon(left.account().receipt(id)).await.is_err());
    let again = left.put_whole(new_upload("a/doc", 1000), &bytes).await.unwrap();
    assert_eq!(again.receipt.path().to_string(), "a/doc (1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_makes_nothing_durable_and_closes_the_store() {
    let server = relaxed().await;
    let receipt = server.put_whole(new_upload("doc", 4), b"four").await.unwrap().receipt;
    server.storage.fail_sync(Call::SyncAll, 1);
    let answer = soon(server.account().receipt(receipt.document_id())).await;
    assert_eq!(kind(answer), "StorageReadOnly");
    assert_eq!(server.status(receipt.document_id()).await.phase, Phase::Publishing);
    assert_eq!(kind(server.put_whole(new_upload("other", 4), b"more").await), "StorageReadOnly");
    let server = server.restart().await;
    assert_eq!(server.status(receipt.document_id()).await.phase, Phase::Completed);
    assert_eq!(server.read(receipt.document_id()).await, b"four");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_durable_yet_has_its_name_all_the_same() {
    let server = relaxed().await;
    let bytes = file(1000, 1);
    let mut new = new_upload("doc", 1000);
    new.hash = Some(hash_of(&bytes));
    let first = server.put_whole(new.clone(), &bytes).await.unwrap().receipt;
    assert!(!first.is_durable());
    // The next document of that name gets a number.
    let other = server.put_whole(new_upload("doc", 1000), &file(1000, 2)).await.unwrap();
    assert_eq!(other.receipt.path().to_string(), "doc (1)");
    // A file that is there already may be answered with or sent again; it is not lost.
    match soon(server.account().begin(new)).await.unwrap() {
        towline_engine::Begun::Uploading(mut upload) => {
            assert_eq!(upload.offset(), offset(0));
            server.write(&mut upload, &bytes, 0..1000).await;
            complete(*upload, None).await.unwrap();
        }
        begun => drop(stored(begun)),
    }
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_offset_is_a_promise_here_too() {
    let server = relaxed().await;
    let bytes = file(LENGTH, 1);
    let mut upload = server.begin("doc", LENGTH).await;
    let id = upload.id();
    server.write(&mut upload, &bytes, 0..BLOCK + 1).await;
    let left = soon(upload.pause()).await.unwrap();
    assert_eq!(left.durable.get(), offset(BLOCK + 1));
    let left = server.crash().after_power_cut_with_names_lost();
    assert_eq!(left.resume(id).await.offset(), offset(BLOCK + 1));
}
