//! Bytes that may be in the page cache only: where durability is relaxed, a start believes none of
//! them before the volume is synced and they were read from the disk.

use crate::kit::scripted::{damage, passing};
use crate::kit::{
    BLOCK, Call, Crash, Extensions, Moment, Scripted, Server, ada, complete, file, id, new_upload,
    offset, soon, without_timed_checkpoints,
};
use std::sync::Arc;
use std::time::Duration;
use towline_engine::storage::Storage as _;
use towline_engine::{Clock, Durability, EngineConfig, Phase};
use towline_types::Timestamp;

const LENGTH: usize = BLOCK + 5;

const DEFERRED: Extensions =
    Extensions { deferred: true, renames: true, local: true, ..Extensions::NONE };

fn relax(config: &mut EngineConfig) {
    without_timed_checkpoints(config);
    config.durability = Durability::Relaxed;
}

async fn relaxed() -> Server {
    Server::over(Scripted::new(64 << 20, DEFERRED), relax).await
}

/// What a kill leaves of a small file behind its receipt, which was not durable.
async fn behind_receipt(bytes: &[u8]) -> Crash {
    let server = relaxed().await;
    let new = new_upload("a/doc", bytes.len());
    let receipt = server.put_whole(new, bytes).await.unwrap().receipt;
    assert!(!receipt.is_durable());
    server.crash()
}

/// What a kill leaves of an upload whose row says that it is being published, and whose file has
/// not got its name yet.
async fn before_rename(bytes: &[u8]) -> Crash {
    let server = relaxed().await;
    let slot = server.crash_at(Moment::Before, Call::Rename, 1);
    assert!(!server.put("a/doc", bytes).await.receipt.is_durable());
    slot.take().unwrap()
}

async fn start(crash: Crash) -> Server {
    Server::over_folder(Arc::new(crash.folder), crash.killed).await
}

/// Of no byte of it a start knows, and its name is free.
async fn assert_failed(server: &Server) {
    let status = server.status(id(1)).await;
    assert_eq!((status.phase, status.reason.is_some()), (Phase::Failed, true));
    let again = server.put("a/doc", b"again").await.receipt;
    assert_eq!(again.path().to_string(), "a/doc");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_wrote_them_does_not_read_them() {
    let server = relaxed().await;
    let receipt = server.put_whole(new_upload("doc", 1000), &file(1000, 1)).await.unwrap().receipt;
    assert!(!receipt.is_durable());
    server.storage.take_calls();
    assert!(
        soon(server.account().receipt(receipt.document_id())).await.unwrap().receipt.is_durable()
    );
    assert_eq!(server.storage.count(Call::ReadPublished), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_syncs_the_volume_and_then_reads_them() {
    for is_named in [true, false] {
        let bytes = file(LENGTH, 1);
        let crash = if is_named {
            behind_receipt(&bytes[..1000]).await
        } else {
            before_rename(&bytes).await
        };
        let server = start(crash).await;
        let calls = server.storage.take_calls();
        let reading = if is_named { Call::ReadPublished } else { Call::Read };
        let first = |wanted| calls.iter().position(|call| *call == wanted).unwrap();
        assert!(first(Call::SyncAll) < first(reading), "{calls:?}");
        assert_eq!(server.status(id(1)).await.phase, Phase::Completed);
        let expected = if is_named { &bytes[..1000] } else { &bytes[..] };
        assert!(server.storage.bytes(ada(), "a/doc").unwrap() == expected);
        assert!(server.storage.after_power_cut().bytes(ada(), "a/doc").unwrap() == expected);
        assert_eq!(server.storage.aside(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_reads_nothing_of_what_is_durable() {
    for moment in [Moment::Before, Moment::After] {
        let server =
            Server::over(Scripted::new(64 << 20, DEFERRED), without_timed_checkpoints).await;
        let bytes = file(LENGTH, 1);
        let mut unfinished = server.begin("other", LENGTH).await;
        server.write(&mut unfinished, &bytes, 0..1000).await;
        soon(unfinished.pause()).await;
        let slot = server.crash_at(moment, Call::Rename, 1);
        assert!(server.put("a/doc", &bytes).await.receipt.is_durable());
        let server = start(slot.take().unwrap()).await;
        assert_eq!(server.status(id(2)).await.phase, Phase::Completed);
        assert_eq!(server.status(id(1)).await.position.durable.get(), offset(1000));
        for call in [Call::SyncAll, Call::Read, Call::ReadPublished] {
            assert_eq!(server.storage.count(call), 0, "{moment:?} {call:?}");
        }
    }
}

/// Without a sync nothing can be known of the bytes: nothing is read, and nothing given up.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_volume_cannot_be_synced_a_start_decides_nothing() {
    for is_gone in [false, true] {
        let bytes = file(1000, 1);
        let Crash { folder, killed, .. } = behind_receipt(&bytes).await;
        if is_gone {
            killed.take_away(ada(), "a/doc");
        }
        killed.fail_sync(Call::SyncAll, 1);
        let server = Server::over_folder(Arc::new(folder), killed).await;
        assert_eq!(server.status(id(1)).await.phase, Phase::Publishing, "{is_gone}");
        assert_eq!(server.storage.count(Call::ReadPublished), 0);
        let server = server.restart().await;
        let expected = if is_gone { Phase::Failed } else { Phase::Completed };
        assert_eq!(server.status(id(1)).await.phase, expected);
    }
}

/// The disk has kept the name and other bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_whole_is_set_aside() {
    let server = relaxed().await;
    let memory = server.storage.memory().clone();
    server.storage.on(Moment::Before, Call::Rename, 1, move || {
        memory.open(id(1))?.write_all_at(b"other", offset(100))
    });
    let mut bytes = file(1000, 1);
    server.put_whole(new_upload("a/doc", 1000), &bytes).await.unwrap();
    let server = start(server.crash()).await;
    assert_eq!(server.storage.bytes(ada(), "a/doc"), None, "a name is whole or absent");
    bytes[100..105].copy_from_slice(b"other");
    assert_eq!(server.storage.aside(), [(1, bytes)]);
    assert_failed(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_program_is_not_the_document_and_stays() {
    let crash = behind_receipt(&file(1000, 1)).await;
    crash.killed.take_away(ada(), "a/doc");
    crash.killed.put_stranger(ada(), "a/doc", &file(1000, 2));
    let server = start(crash).await;
    assert_eq!(server.status(id(1)).await.phase, Phase::Failed);
    assert_eq!(server.storage.bytes(ada(), "a/doc").unwrap(), file(1000, 2));
    assert_eq!(server.storage.aside(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_the_disk_does_not_give_out_are_kept_aside() {
    for is_named in [true, false] {
        let bytes = file(if is_named { 1000 } else { LENGTH }, 1);
        let crash =
            if is_named { behind_receipt(&bytes).await } else { before_rename(&bytes).await };
        let reading = if is_named { Call::ReadPublished } else { Call::Read };
        crash.killed.fail_always(reading, damage);
        let server = start(crash).await;
        assert_eq!(server.storage.aside(), [(1, bytes)]);
        assert_eq!(server.storage.areas(), []);
        server.storage.heal();
        assert_failed(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_passes_is_no_proof_against_them() {
    for is_named in [true, false] {
        let bytes = file(if is_named { 1000 } else { LENGTH }, 1);
        let crash =
            if is_named { behind_receipt(&bytes).await } else { before_rename(&bytes).await };
        let reading = if is_named { Call::ReadPublished } else { Call::Read };
        crash.killed.fail(reading, 1, passing);
        let server = start(crash).await;
        assert_eq!(server.status(id(1)).await.phase, Phase::Publishing);
        assert_eq!(server.storage.aside(), []);
        let server = server.restart().await;
        assert_eq!(server.status(id(1)).await.phase, Phase::Completed);
        assert!(server.storage.bytes(ada(), "a/doc").unwrap() == bytes);
    }
}

/// Nothing of them was promised, so they are not kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_staging_area_that_is_not_whole_is_removed() {
    let crash = before_rename(&file(LENGTH, 1)).await;
    let staging = crash.killed.memory().open(id(1)).unwrap();
    staging.write_all_at(b"other", offset(100)).unwrap();
    drop(staging);
    let server = start(crash).await;
    assert_eq!(server.storage.bytes(ada(), "a/doc"), None);
    assert_eq!((server.storage.areas(), server.storage.aside()), (vec![], vec![]));
    assert_failed(&server).await;
}

/// A byte that was promised must not depend on what a power cut leaves of the others.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_which_bytes_were_promised_is_durable_before_its_receipt() {
    for is_promised in [true, false] {
        let server = relaxed().await;
        let bytes = file(LENGTH, 1);
        let mut upload = server.begin("a/doc", LENGTH).await;
        let number = upload.id();
        server.write(&mut upload, &bytes, 0..1000).await;
        if is_promised {
            soon(upload.pause()).await;
            upload = server.resume(number).await;
        }
        server.write(&mut upload, &bytes, 1000..LENGTH).await;
        let receipt = complete(upload, None).await.unwrap().receipt;
        assert_eq!(receipt.is_durable(), is_promised);
        let expected = if is_promised { Phase::Completed } else { Phase::Publishing };
        assert_eq!(server.status(number).await.phase, expected);
    }
}

/// The receipt that came before the sync has said when: a start keeps that moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_keeps_the_moment_of_its_receipt() {
    let then = || Timestamp::try_from(1_700_000_000_000).unwrap();
    for is_named in [true, false] {
        let server = Server::over(Scripted::new(64 << 20, DEFERRED), move |config| {
            relax(config);
            config.clock = Clock::with_steady(then, || Duration::from_secs(5));
        })
        .await;
        let slot = server.crash_at(Moment::Before, Call::Rename, 1);
        let bytes = file(LENGTH, 1);
        let (receipt, crash) = if is_named {
            let whole = server.put_whole(new_upload("a/doc", 1000), &bytes[..1000]).await.unwrap();
            (whole.receipt, server.crash())
        } else {
            (server.put("a/doc", &bytes).await.receipt, slot.take().unwrap())
        };
        assert_eq!((receipt.created_at(), receipt.is_durable()), (then(), false));
        let server = start(crash).await;
        let again = soon(server.account().receipt(id(1))).await.unwrap().receipt;
        assert_eq!((again.created_at(), again.is_durable()), (then(), true));
    }
}
