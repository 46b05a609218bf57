//! What a start keeps of files whose uploads do not go on, where the store is a folder that its
//! operator can reach.

use crate::kit::scripted::passing;
use crate::kit::{
    BLOCK, Call, Extensions, Moment, Scripted, Server, ada, complete, edit_catalog, file, hash_of,
    id, kind, logged, new_upload, offset, open_disk, soon, without_timed_checkpoints,
};
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;
use towline_engine::storage::{Staged, Storage as _};
use towline_engine::{Engine, NewUpload, Origin, Phase, ResumeRequest, SendingMode};
use towline_types::OnConflict;

const LENGTH: usize = BLOCK + 5;

const LOCAL: Extensions = Extensions { local: true, ..Extensions::NONE };

async fn local() -> Server {
    Server::over(Scripted::new(64 << 20, LOCAL), without_timed_checkpoints).await
}

/// A stopped server with an upload, number 1, of which 1000 bytes are durable.
async fn paused() -> (Arc<TempDir>, Scripted) {
    let server = local().await;
    let mut upload = server.begin("a/doc", LENGTH).await;
    server.write(&mut upload, &file(LENGTH, 1), 0..1000).await;
    soon(upload.pause()).await;
    let (folder, storage) = server.stop().await;
    (folder, storage.after_kill())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_promised_bytes_is_kept() {
    let (folder, left) = paused().await;
    left.memory().open(id(1)).unwrap().truncate(offset(999)).unwrap();
    let server = Server::over_folder(folder, left).await;
    let status = server.status(id(1)).await;
    assert_eq!((status.phase, status.reason.is_some()), (Phase::Failed, true));
    assert_eq!(server.storage.aside(), [(1, file(LENGTH, 1)[..999].to_vec())]);
    assert_eq!(server.storage.areas(), []);
}

/// Where it cannot be kept, it stays where it is, and the next start tries again.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_aside_stays_for_the_next_start() {
    let (folder, left) = paused().await;
    left.memory().open(id(1)).unwrap().truncate(offset(999)).unwrap();
    left.fail_always(Call::SetAside, passing);
    let server = Server::over_folder(folder, left).await;
    assert_eq!(server.storage.areas(), [(1, false, 999)]);
    let server = server.restart().await;
    assert_eq!(server.status(id(1)).await.phase, Phase::Failed);
    assert_eq!(server.storage.aside(), [(1, file(LENGTH, 1)[..999].to_vec())]);
}

/// An upload that has failed gives no permission to delete its file: it may have failed because
/// that very file was missing.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_an_upload_that_has_failed_is_kept() {
    for extensions in [LOCAL, Extensions::NONE] {
        let server = Server::over(Scripted::new(64 << 20, extensions), |_| {}).await;
        let bytes = file(LENGTH, 1);
        let mut upload = server.begin("a/doc", LENGTH).await;
        server.write(&mut upload, &bytes, 0..LENGTH).await;
        server.storage.fail_always(Call::Discard, passing);
        let wrong = Some(hash_of(&file(LENGTH, 2)));
        assert_eq!(kind(complete(upload, wrong).await), "HashMismatch");
        let area = (1, false, LENGTH as u64);
        assert_eq!(server.storage.areas(), [area]);
        let server = server.restart().await;
        assert_eq!(server.status(id(1)).await.phase, Phase::Failed);
        if extensions.local {
            assert_eq!(
                (server.storage.areas(), server.storage.aside()),
                (vec![], vec![(1, bytes)])
            );
        } else {
            assert_eq!(server.storage.areas(), [area]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_an_upload_that_was_given_up_is_not_kept() {
    let server = local().await;
    let mut upload = server.begin("a/doc", LENGTH).await;
    server.write(&mut upload, &file(LENGTH, 1), 0..1000).await;
    soon(upload.pause()).await;
    server.storage.fail_always(Call::Discard, passing);
    let _ = soon(server.account().cancel(id(1))).await;
    assert_eq!(server.storage.areas(), [(1, false, 1000)]);
    let server = server.restart().await;
    assert_eq!(server.status(id(1)).await.phase, Phase::Cancelled);
    assert_eq!((server.storage.areas(), server.storage.aside()), (vec![], vec![]));
}

/// A copy, or a file that came whole, was cut off beside an upload of the same number: nothing was
/// promised of it, and the upload goes on with its own bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_staging_area_of_an_upload_is_removed_and_counts_for_nothing() {
    let (folder, left) = paused().await;
    left.list_also(Staged { id: id(1), is_whole: true, length_bytes: 5 });
    let server = Server::over_folder(folder, left).await;
    assert_eq!(server.storage.areas(), [(1, false, 1000)]);
    assert_eq!(server.storage.count(Call::DiscardWhole), 1);
    let mut upload = server.resume(id(1)).await;
    assert_eq!(upload.offset(), offset(1000));
    server.write(&mut upload, &file(LENGTH, 1), 1000..LENGTH).await;
    complete(upload, Some(hash_of(&file(LENGTH, 1)))).await.unwrap();
}

/// The new bytes are lost, and the file under the name is the one that was to be replaced: it has
/// the same length, and is not the new document.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_to_be_replaced_by_lost_bytes_stays_what_it_is() {
    let server = local().await;
    let replacing = || NewUpload { on_conflict: OnConflict::Replace, ..new_upload("doc", 3000) };
    server.put_whole(replacing(), &file(3000, 1)).await.unwrap();
    let slot = server.crash_at(Moment::Before, Call::Replace, 1);
    server.put_whole(replacing(), &file(3000, 2)).await.unwrap();
    let crash = slot.take().unwrap();
    crash.killed.memory().discard(id(2)).unwrap();
    let server = crash.after_kill();
    assert_eq!(server.status(id(2)).await.phase, Phase::Failed);
    assert_eq!(server.status(id(1)).await.phase, Phase::Completed);
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), file(3000, 1));
    assert_eq!(server.read(id(1)).await, file(3000, 1));
    // The name is free for the next version.
    let again = server.put_whole(replacing(), &file(3000, 3)).await.unwrap().receipt;
    assert_eq!(again.path().to_string(), "doc");
    assert_eq!(server.storage.bytes(ada(), "doc").unwrap(), file(3000, 3));
}

/// Another program has edited a row. It concerns its owner and no other user: the start says which
/// upload it is, changes neither row nor bytes, and goes on with the others.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_row_cannot_be_read_stays_until_somebody_has_mended_it() {
    let server = local().await;
    for name in ["edited", "whole", "whole too"] {
        let mut upload = server.begin(name, LENGTH).await;
        server.write(&mut upload, &file(LENGTH, 1), 0..1000).await;
        soon(upload.pause()).await;
    }
    let (folder, storage) = server.stop().await;
    let edit = |sql| edit_catalog(folder.path(), sql);
    edit("UPDATE documents SET filename = 'a/b' WHERE document_id = 1");
    let left = storage.after_kill();
    let (server, log) = Server::over_folder_logged(Arc::clone(&folder), left.clone());
    let line = log.lines().find(|line| line.contains("until somebody has mended its row"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("ERROR") && line.contains("document 1 "), "{line}");
    assert!(log.contains("recovered unfinished=3"), "{log}");
    assert_eq!(left.areas(), [1, 2, 3].map(|number| (number, false, 1000)));
    assert_eq!(left.aside(), []);
    let resume = ResumeRequest::of(id(1), SendingMode::PLAIN);
    assert_eq!(kind(soon(server.account().resume(resume)).await), "Failed");
    assert_eq!(server.resume(id(2)).await.offset(), offset(1000));
    let (folder, storage) = server.stop().await;
    edit_catalog(folder.path(), "UPDATE documents SET filename = 'edited' WHERE document_id = 1");
    let server = Server::over_folder(folder, storage.after_kill()).await;
    assert_eq!(server.resume(id(1)).await.offset(), offset(1000));
}

/// The catalog was lost and made anew: the files that users have are kept, and the operator is told
/// what knows them again.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_which_the_catalog_knows_no_document_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let start = || logged(|| open_disk(folder.path(), |_| {}));
    let stop = async |engine: Engine| {
        soon(engine.shut_down(Instant::now() + Duration::from_secs(5))).await.unwrap();
    };
    let warns = |log: &str| log.contains("the catalog knows no document, but users have files");
    let (engine, log) = start();
    assert!(!warns(&log), "a new store: {log}");
    engine.add_user("ada").await.unwrap();
    stop(engine).await;
    let own = folder.path().join("uploads/1");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("doc"), "known to another catalog").unwrap();
    let (engine, log) = start();
    assert!(warns(&log), "{log}");
    assert_eq!(fs::read(own.join("doc")).unwrap(), b"known to another catalog");
    let account = engine.account(ada(), Origin::new("a test"));
    let data = crate::kit::buffer(engine.buffers(), b"new").await;
    let stored = soon(account.put_whole(new_upload("doc", 3), data, None)).await.unwrap();
    assert_eq!(stored.receipt.path().to_string(), "doc (1)");
    drop(account);
    stop(engine).await;
    let (engine, log) = start();
    assert!(!warns(&log), "it knows one: {log}");
    stop(engine).await;
}
