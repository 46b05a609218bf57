//! What a start makes of each thing that a crash left.

use crate::kit::scripted::passing;
use crate::kit::{
    BLOCK, Call, Extensions, Moment, Scripted, Server, ada, complete, file, hash_of, id, kind,
    offset, path, soon, without_timed_checkpoints,
};
use towline_engine::storage::{MemoryStorage, Storage as _};
use towline_engine::{Phase, ResumeRequest, SendingMode};
use towline_types::DocumentId;

const LENGTH: usize = BLOCK + 5;

/// A data folder with an upload of which that many bytes are durable, and its store.
async fn paused(sent: usize) -> (std::sync::Arc<tempfile::TempDir>, MemoryStorage, DocumentId) {
    let server = Server::with(without_timed_checkpoints).await;
    let mut upload = server.begin("a/doc", LENGTH).await;
    server.write(&mut upload, &file(LENGTH, 1), 0..sent).await;
    let id = upload.id();
    soon(upload.pause()).await;
    let (folder, storage) = server.stop().await;
    (folder, storage.memory().after_kill(), id)
}

async fn over(folder: std::sync::Arc<tempfile::TempDir>, memory: &MemoryStorage) -> Server {
    Server::over_folder(folder, Scripted::of(memory.clone(), Extensions::default())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_the_promise_are_dropped_and_sent_again() {
    let (folder, memory, id) = paused(1000).await;
    memory.open(id).unwrap().write_all_at(&[7; 500], offset(1000)).unwrap();
    let server = over(folder, &memory).await;
    assert_eq!(server.storage.areas(), [(id.get(), false, 1000)]);
    let mut upload = server.resume(id).await;
    assert_eq!(upload.offset(), offset(1000));
    server.write(&mut upload, &file(LENGTH, 1), 1000..LENGTH).await;
    complete(upload, Some(hash_of(&file(LENGTH, 1)))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_bytes_than_promised_fail_the_upload() {
    for left in [0, 999] {
        let (folder, memory, id) = paused(1000).await;
        memory.open(id).unwrap().truncate(offset(left)).unwrap();
        let server = over(folder, &memory).await;
        let status = server.status(id).await;
        assert_eq!((status.phase, status.reason.is_some()), (Phase::Failed, true), "{left}");
        assert_eq!(
            kind(soon(server.account().resume(ResumeRequest::of(id, SendingMode::PLAIN))).await),
            "Failed"
        );
        // The name is free, and the next upload is a new one.
        server.put("a/doc", &file(LENGTH, 2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_bytes_are_gone_has_failed() {
    let (folder, memory, id) = paused(1000).await;
    memory.discard(id).unwrap();
    let server = over(folder, &memory).await;
    assert_eq!(server.status(id).await.phase, Phase::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_which_nothing_was_promised_begins_at_zero() {
    let server = Server::with(without_timed_checkpoints).await;
    let mut upload = server.begin("a/doc", LENGTH).await;
    let id = upload.id();
    server.write(&mut upload, &file(LENGTH, 1), 0..1000).await;
    soon(upload.position()).await.unwrap();
    let left = server.crash().after_power_cut();
    assert_eq!(left.status(id).await.phase, Phase::Uploading);
    let mut upload = left.resume(id).await;
    assert_eq!(upload.offset(), offset(0));
    left.write(&mut upload, &file(LENGTH, 1), 0..LENGTH).await;
    complete(upload, Some(hash_of(&file(LENGTH, 1)))).await.unwrap();
    assert!(left.read(id).await == file(LENGTH, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staging_area_that_was_made_whole_and_has_no_row_is_removed() {
    let (folder, memory, id) = paused(10).await;
    memory.create_whole(crate::kit::id(50), b"whole").unwrap();
    let server = over(folder, &memory).await;
    assert_eq!(server.storage.areas(), [(id.get(), false, 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_staging_area_of_an_upload_that_has_ended_is_removed() {
    let server = Server::with(without_timed_checkpoints).await;
    let mut upload = server.begin("a/doc", LENGTH).await;
    let id = upload.id();
    server.write(&mut upload, &file(LENGTH, 1), 0..1000).await;
    soon(upload.pause()).await;
    server.storage.fail_always(Call::Discard, passing);
    let _ = soon(server.account().cancel(id)).await;
    assert_eq!(server.status(id).await.phase, Phase::Cancelled);
    assert_eq!(server.storage.areas(), [(id.get(), false, 1000)]);
    let server = server.restart().await;
    assert_eq!(server.storage.areas(), []);
    assert_eq!(server.status(id).await.phase, Phase::Cancelled);
}

/// The state between the row `publishing` and the end, as a crash leaves it.
#[tokio::test(flavor = "multi_thread")]
async fn a_publishing_that_was_cut_off_is_finished() {
    for renames in [false, true] {
        for moment in [Moment::Before, Moment::After] {
            for is_promised in [false, true] {
                for is_cut in [false, true] {
                    cut_off(renames, moment, is_promised, is_cut).await;
                }
            }
        }
    }
}

async fn cut_off(renames: bool, moment: Moment, is_promised: bool, is_cut: bool) {
    let at = format!("{renames} {moment:?} {is_promised} {is_cut}");
    let extensions = Extensions { renames, ..Extensions::default() };
    let storage = Scripted::new(64 << 20, extensions);
    let server = Server::over(storage, without_timed_checkpoints).await;
    let bytes = file(LENGTH, 1);
    let step = if renames { Call::Rename } else { Call::Publish };
    let crash = server.crash_at(moment, step, 1);
    let mut upload = server.begin("a/doc", LENGTH).await;
    let id = upload.id();
    server.write(&mut upload, &bytes, 0..LENGTH).await;
    if is_promised {
        soon(upload.pause()).await;
        upload = server.resume(id).await;
    }
    let receipt = complete(upload, None).await.unwrap().receipt;
    let crash = crash.take().unwrap();
    let left = if is_cut { crash.after_power_cut() } else { crash.after_kill() };
    let status = left.status(id).await;
    assert_eq!(left.storage.areas(), [], "{at}");
    if moment == Moment::Before && is_cut && !is_promised && renames {
        // Nothing had been promised, and the staging area's name was not durable. A store that
        // cannot rename may have to copy, which takes long: there it is durable before.
        assert_eq!(status.phase, Phase::Failed, "{at}");
        assert_eq!(left.storage.bytes(ada(), "a/doc"), None, "{at}");
        return;
    }
    assert_eq!(status.phase, Phase::Completed, "{at}: {:?}", status.reason);
    assert!(left.storage.bytes(ada(), "a/doc").unwrap() == bytes);
    let again = soon(left.account().receipt(id)).await.unwrap().receipt;
    assert_eq!(again.hash(), receipt.hash());
    assert!(again.is_durable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publishing_whose_name_was_taken_meanwhile_gets_another_name() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(LENGTH, 1);
    let crash = server.crash_at(Moment::Before, Call::Publish, 1);
    let id = server.put("a/doc", &bytes).await.receipt.document_id();
    let crash = crash.take().unwrap();
    let memory = crash.killed.memory();
    memory.create_whole(crate::kit::id(900), b"stray").unwrap().sync_data().unwrap();
    memory
        .publish(crate::kit::id(900), ada(), &path("a/doc"), hash_of(b"stray"), &mut |_| true)
        .unwrap();
    let left = crash.after_kill();
    assert_eq!(left.storage.bytes(ada(), "a/doc").unwrap(), b"stray");
    match soon(left.account().receipt(id)).await {
        Ok(completion) => assert_eq!(completion.receipt.path().to_string(), "a/doc (1)"),
        Err(_) => {
            let upload = left.resume(id).await;
            assert_eq!(upload.offset(), offset(LENGTH));
            let completion = complete(upload, None).await.unwrap();
            assert_eq!(completion.receipt.path().to_string(), "a/doc (1)");
        }
    }
    assert!(left.storage.bytes(ada(), "a/doc (1)").unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publishing_whose_bytes_are_gone_has_failed() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(LENGTH, 1);
    let crash = server.crash_at(Moment::Before, Call::Publish, 1);
    let id = server.put("a/doc", &bytes).await.receipt.document_id();
    let crash = crash.take().unwrap();
    crash.killed.memory().discard(id).unwrap();
    let left = crash.after_kill();
    let status = left.status(id).await;
    assert_eq!((status.phase, status.reason.is_some()), (Phase::Failed, true));
    assert_eq!(left.storage.bytes(ada(), "a/doc"), None);
    assert_eq!(left.put("a/doc", &bytes).await.receipt.path().to_string(), "a/doc");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publishing_whose_bytes_have_another_length_has_failed() {
    let server = Server::with(without_timed_checkpoints).await;
    let bytes = file(LENGTH, 1);
    let crash = server.crash_at(Moment::Before, Call::Publish, 1);
    let id = server.put("a/doc", &bytes).await.receipt.document_id();
    let crash = crash.take().unwrap();
    crash.killed.memory().open(id).unwrap().truncate(offset(LENGTH - 1)).unwrap();
    let left = crash.after_kill();
    assert_eq!(left.status(id).await.phase, Phase::Failed);
    assert_eq!(left.storage.bytes(ada(), "a/doc"), None, "a name is whole or absent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_cut_off_is_done_again() {
    let (folder, memory, id) = paused(1000).await;
    memory.open(id).unwrap().write_all_at(&[7; 500], offset(1000)).unwrap();
    memory.create_whole(crate::kit::id(50), b"whole").unwrap();
    for (call, nth) in [
        (Call::Staged, 1),
        (Call::Open, 1),
        (Call::Truncate, 1),
        (Call::DiscardWhole, 1),
        (Call::Discard, 1),
    ] {
        let copy = crate::kit::scratch();
        crate::kit::copy_folder(folder.path(), copy.path());
        let storage = Scripted::of(memory.after_kill(), Extensions::default());
        storage.fail(call, nth, passing);
        let copy = std::sync::Arc::new(copy);
        // It opens or it does not; the next one does, and nothing is lost.
        let first = Server::try_over_folder(std::sync::Arc::clone(&copy), storage.clone()).await;
        if let Some(server) = first {
            drop(server.stop().await);
        }
        storage.heal();
        let server = Server::over_folder(copy, storage.after_kill()).await;
        assert_eq!(server.resume(id).await.offset(), offset(1000), "{call:?}");
        assert_eq!(server.storage.areas(), [(id.get(), false, 1000)], "{call:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_complete_stays_complete_over_every_kind_of_end() {
    let mut server = Server::new().await;
    let large = server.put("large", &file(LENGTH, 1)).await.receipt;
    let small =
        server.put_whole(crate::kit::new_upload("small", 10), &file(10, 1)).await.unwrap().receipt;
    for end in 0..3 {
        server = match end {
            0 => server.restart().await,
            1 => server.kill().await,
            _ => server.cut_power().await,
        };
        assert!(server.read(large.document_id()).await == file(LENGTH, 1));
        assert!(server.read(small.document_id()).await == file(10, 1));
        let again = soon(server.account().receipt(large.document_id())).await.unwrap().receipt;
        assert_eq!(again.created_at(), large.created_at());
    }
    // Numbers are given once, also those of uploads that came to nothing.
    assert_eq!(server.begin("next", 1).await.id(), id(3));
}
