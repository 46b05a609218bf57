//! A sync that fails: of an upload's bytes, of a folder, of the catalog, of a disk that has less
//! room than it reports. The server makes no promise that it cannot keep, never syncs that file
//! again, and after a restart all earlier promises hold.

use std::path::PathBuf;
use towline_protocol::request::{Complete, Find, Upload};
use towline_protocol::{Code, Reply, Request};
use towline_tests::disks::Disks;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{Heard, ZERO, errors, find, offset, position, resume, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::strace::Strace;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::{self, Volume};

/// A data folder with a user, and a `strace` that makes this call fail on the file that `path`
/// names. `None`, with a message, where there is no `strace`.
async fn site_with_failing(
    call: &str,
    path: impl FnOnce(&Site, &TestUser) -> PathBuf,
) -> Option<(Site, TestUser, Strace)> {
    if !volume::has("strace") {
        return None;
    }
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let log = site.outside().join("log");
    let strace = Strace::inject(&log, call, "error=EIO").about([path(&site, &user)]);
    Some((site, user, strace))
}

/// A second sync of the same file would succeed, although its bytes are lost.
fn assert_asked_once(strace: &Strace) {
    assert_eq!(strace.seen().len(), 1, "asked once and never again: {:?}", strace.seen());
}

/// A server whose disk has failed makes no changes, and still answers questions.
async fn assert_reads_only(server: &ServerProcess, user: &TestUser, test_file: &TestFile) {
    let mut other = server.client(user).await;
    let refused = other.upload_refused(upload("other", test_file), Code::StorageReadOnly).await;
    println!("a new upload: {} {}", refused.code, refused.message);
    other.find(find("other", test_file.filesize())).await;
    other.ping().await;
}

#[tokio::test]
async fn a_failed_sync_of_an_uploads_bytes_fails_that_upload_and_stops_the_others() {
    let path = |site: &Site, _: &TestUser| site.staging_folder().join("1.tmp");
    let Some((site, user, strace)) = site_with_failing("fdatasync", path).await else { return };
    let server = Launch::without_reserve(&site).under(&strace.words()).start().await;
    let test_file = TestFile::new(BLOCK + 1000, 910);
    let mut failing = server.client(&user).await;
    let failing_id = failing.upload(upload("failing", &test_file)).await.document_id;
    assert_eq!(failing_id.get(), 1, "strace aims at it");
    let mut healthy = server.client(&user).await;
    let healthy_id = healthy.upload(upload("healthy", &test_file)).await.document_id;
    healthy.chunks(ZERO, &test_file, 0..BLOCK).await;
    let promised = healthy.progress_that("a promise", |p| p.durable == offset(BLOCK)).await.durable;

    failing.chunks(ZERO, &test_file, 0..BLOCK).await;
    let told = failing.error(Code::StorageFailed).await;
    println!("the writer: {} {}", told.code, told.message);
    let was_promised = failing
        .heard_so_far()
        .into_iter()
        .any(|heard| matches!(heard, Heard::Reply(Reply::Progress(p)) if p.durable > offset(0)));
    assert!(!was_promised, "nothing is promised of bytes that were not synced");
    failing.resume_refused(resume(failing_id), Code::Failed).await;

    // The whole volume counts as failed: the other upload is stopped and loses no byte.
    healthy.chunks(ZERO, &test_file, BLOCK..test_file.size()).await;
    let told = healthy.error(Code::StorageReadOnly).await;
    println!("the other writer: {} {}", told.code, told.message);
    assert_eq!(healthy.status(healthy_id).await.durable, promised);
    assert_reads_only(&server, &user, &test_file).await;
    server.gone().await;
    assert_asked_once(&strace);

    let server = Launch::without_reserve(&site).start().await;
    let mut again = server.client(&user).await;
    again.resume_refused(resume(failing_id), Code::Failed).await;
    let from = again.resume(resume(healthy_id)).await.offset;
    assert!(from >= promised);
    again.chunks(ZERO, &test_file, position(from)..test_file.size()).await;
    again.complete(ZERO).await;
    site.assert_published(&user, "healthy", &test_file);
    // The received bytes of the upload that failed are kept.
    assert_eq!(site.staged_names(), ["orphans"]);
}

/// The sync that comes before the catalog records the publishing. No checkpoint has synced the
/// bytes before, because the only checkpoint waits for another upload.
#[tokio::test]
async fn a_failed_sync_at_complete_fails_the_upload() {
    let path = |site: &Site, _: &TestUser| site.staging_folder().join("2.tmp");
    let Some((site, user, strace)) = site_with_failing("fdatasync", path).await else { return };
    let stalls = "sync.data=wait:600000@1";
    let server =
        Launch::without_reserve(&site).failpoints(stalls).under(&strace.words()).start().await;
    let test_file = TestFile::new(5000, 914);
    let mut stalled = server.client(&user).await;
    stalled.upload(upload("stalled", &test_file)).await;
    stalled.chunks(ZERO, &test_file, 0..1000).await;
    server.says("a failpoint waits").await;

    let mut writer = server.client(&user).await;
    let id = writer.upload(upload("doc", &test_file)).await.document_id;
    assert_eq!(id.get(), 2, "strace aims at it");
    writer.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let told = writer.complete_refused(Complete::default(), Code::StorageFailed).await;
    println!("the writer: {} {}", told.code, told.message);
    assert_eq!(writer.status(id).await.status, "failed");
    let again = Complete { document_id: Some(id), ..Complete::default() };
    writer.complete_refused(again, Code::Failed).await;
    assert_reads_only(&server, &user, &test_file).await;
    server.gone().await;
    assert_asked_once(&strace);
    assert!(!site.document(&user, "doc").exists());

    let server = Launch::without_reserve(&site).start().await;
    server.client(&user).await.resume_refused(resume(id), Code::Failed).await;
    server.gone().await;
}

/// A client that pauses in good order gets the error, whether the sync failed before the upload was
/// released or after that.
#[tokio::test]
async fn a_failed_sync_at_a_pause_is_told_to_the_client() {
    let path = |site: &Site, _: &TestUser| site.staging_folder().join("1.tmp");
    let Some((site, user, strace)) = site_with_failing("fdatasync", path).await else { return };
    let server = Launch::without_reserve(&site).under(&strace.words()).start().await;
    let test_file = TestFile::new(BLOCK, 917);
    let mut writer = server.client(&user).await;
    let id = writer.upload(upload("doc", &test_file)).await.document_id;
    assert_eq!(id.get(), 1, "strace aims at it");
    writer.chunks(ZERO, &test_file, 0..1000).await;
    writer.finish_sending().await;
    let heard = writer.ended().await;
    assert!(
        matches!(errors(&heard)[..], [(Code::StorageFailed | Code::Failed, Some(failed))] if failed == id),
        "{heard:?}"
    );
    server.gone().await;
}

/// Without this sync, the file of an upload may be gone after a power cut, together with its
/// promised bytes.
#[tokio::test]
async fn a_failed_sync_of_the_staging_folder_promises_nothing() {
    let path = |site: &Site, _: &TestUser| site.staging_folder();
    let Some((site, user, strace)) = site_with_failing("fsync", path).await else { return };
    // The first start syncs the marker in the folder.
    Launch::without_reserve(&site).start().await.gone().await;
    let server = Launch::without_reserve(&site).under(&strace.words()).start().await;
    let test_file = TestFile::new(2 * BLOCK, 915);
    let mut writer = server.client(&user).await;
    let id = writer.upload(upload("doc", &test_file)).await.document_id;
    writer.chunks(ZERO, &test_file, 0..BLOCK).await;
    server.says("a sync failed").await;
    writer.chunks(ZERO, &test_file, BLOCK..test_file.size()).await;
    writer.error(Code::StorageReadOnly).await;
    let status = writer.status(id).await;
    assert_eq!((status.status.as_str(), status.durable), ("uploading", offset(0)));
    let was_promised = writer
        .heard_so_far()
        .into_iter()
        .any(|heard| matches!(heard, Heard::Reply(Reply::Progress(p)) if p.durable > offset(0)));
    assert!(!was_promised, "nothing is promised of a file whose name was not synced");
    assert_reads_only(&server, &user, &test_file).await;
    server.gone().await;
    assert_asked_once(&strace);

    let server = Launch::without_reserve(&site).start().await;
    let mut again = server.client(&user).await;
    let from = position(again.resume(resume(id)).await.offset);
    again.chunks(ZERO, &test_file, from..test_file.size()).await;
    again.complete(ZERO).await;
    site.assert_published(&user, "doc", &test_file);
    server.gone().await;
}

/// The file has its name, but the row does not say so. A request finishes the publishing that was
/// cut off, and the sync of the file fails on the way.
#[tokio::test]
async fn a_failed_sync_of_a_named_file_leaves_it_publishing_until_the_next_start() {
    let path = |site: &Site, user: &TestUser| site.document(user, "doc");
    let Some((site, user, strace)) = site_with_failing("fsync", path).await else { return };
    let cut_off = "publish.folder_synced=panic@1";
    let server =
        Launch::without_reserve(&site).failpoints(cut_off).under(&strace.words()).start().await;
    let test_file = TestFile::new(5000, 916);
    let mut writer = server.client(&user).await;
    let id = writer.upload(upload("doc", &test_file)).await.document_id;
    writer.chunks(ZERO, &test_file, 0..test_file.size()).await;
    writer.complete_refused(Complete::default(), Code::Internal).await;

    let again = || Complete { document_id: Some(id), ..Complete::default() };
    let mut writer = server.client(&user).await;
    let told = writer.complete_refused(again(), Code::StorageReadOnly).await;
    println!("the writer: {} {}", told.code, told.message);
    assert!(strace.has_fired());
    assert_eq!(writer.status(id).await.status, "publishing");
    assert_reads_only(&server, &user, &test_file).await;
    server.gone().await;

    let server = Launch::without_reserve(&site).start().await;
    let receipt = server.client(&user).await.complete_with(again()).await;
    assert_eq!(receipt.blake3, test_file.hash());
    site.assert_published(&user, "doc", &test_file);
    server.gone().await;
}

/// An operator has put the file of a document back without a sync. The server gives a receipt for
/// it only after a sync, and gives none where that sync fails.
#[tokio::test]
async fn a_failed_sync_of_a_file_that_was_put_back_does_not_vouch_for_it() {
    if !volume::has("strace") {
        return;
    }
    for size in [70_000, BLOCK + 5] {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let test_file = TestFile::new(size, 917);
        let path = site.document(&user, "doc");
        let known = || Upload { blake3: Some(test_file.hash()), ..upload("doc", &test_file) };
        let server = Launch::without_reserve(&site).start().await;
        let mut writer = server.client(&user).await;
        writer.upload(upload("doc", &test_file)).await;
        writer.chunks(ZERO, &test_file, 0..test_file.size()).await;
        writer.complete(ZERO).await;
        server.gone().await;
        std::fs::write(path.with_extension("new"), &test_file.bytes).unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();

        let strace =
            Strace::inject(&site.outside().join("log"), "fsync", "error=EIO").about([path.clone()]);
        let server = Launch::without_reserve(&site).under(&strace.words()).start().await;
        let mut writer = server.client(&user).await;
        writer.upload_refused(known(), Code::StorageFailed).await;
        assert!(strace.has_fired());
        let question = Find { blake3: Some(test_file.hash()), ..find("doc", test_file.filesize()) };
        assert_eq!(writer.find(question).await.document_id, None);
        writer.upload_refused(known(), Code::StorageReadOnly).await;
        assert_asked_once(&strace);
        server.gone().await;

        let server = Launch::without_reserve(&site).start().await;
        let mut writer = server.client(&user).await;
        writer.send(&Request::Upload(known())).await;
        assert!(writer.success_on(ZERO).await.existing);
        server.gone().await;
    }
}

#[tokio::test]
async fn a_failed_sync_of_the_users_folder_gives_no_receipt() {
    of_the_users_folder(&[]).await;
}

/// This sync is the last one. The file has its name by then, and the name may be lost together with
/// the folder.
#[tokio::test]
async fn a_failed_sync_of_the_folder_above_a_new_one_gives_no_receipt() {
    of_the_users_folder(&["deep"]).await;
}

async fn of_the_users_folder(below: &[&str]) {
    let folder: Vec<_> = below.iter().map(ToString::to_string).collect();
    let path = |site: &Site, user: &TestUser| site.documents(user);
    let Some((site, user, strace)) = site_with_failing("fsync", path).await else { return };
    let server = Launch::without_reserve(&site).under(&strace.words()).start().await;
    let test_file = TestFile::new(5000, 911);
    let mut writer = server.client(&user).await;
    let id = writer.upload(Upload { folder, ..upload("doc", &test_file) }).await.document_id;
    writer.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let told = writer.complete_refused(Complete::default(), Code::StorageReadOnly).await;
    println!("the writer: {} {}", told.code, told.message);
    assert_eq!(writer.status(id).await.status, "publishing");
    // The same request again gets no SUCCESS, because the server cannot know what is on the disk.
    let again = Complete { document_id: Some(id), ..Complete::default() };
    writer.complete_refused(again, Code::StorageReadOnly).await;
    assert_reads_only(&server, &user, &test_file).await;
    server.gone().await;
    assert_asked_once(&strace);

    let server = Launch::without_reserve(&site).start().await;
    let again = Complete { document_id: Some(id), ..Complete::default() };
    let success = server.client(&user).await.complete_with(again).await;
    assert_eq!(success.blake3, test_file.hash());
    site.assert_published(&user, &[below, &["doc"]].concat().join("/"), &test_file);
    server.gone().await;
}

#[tokio::test]
async fn a_failed_sync_or_write_of_the_catalog_breaks_no_promise() {
    if !volume::has("strace") {
        return;
    }
    // The first calls sync SQLite's journal, the last one writes it.
    for call in ["fdatasync,fsync", "pwrite64"] {
        let mut fired = 0;
        for n in 1..=6 {
            let site = Site::in_memory();
            let user = site.add_user("ada").await;
            let wal = PathBuf::from(format!("{}-wal", site.catalog_path().display()));
            let log = site.outside().join("log");
            let strace = Strace::inject(&log, call, "error=EIO").when(format!("{n}+")).about([wal]);
            let test_file = TestFile::new(5000, 912);
            let mut succeeded = false;
            if let Ok(server) =
                Launch::without_reserve(&site).under(&strace.words()).try_start().await
            {
                let told = say_all(&server, &user, &test_file).await;
                println!("{call} {n}: {told:?}");
                succeeded = told.is_empty();
                if strace.has_fired() {
                    fired += 1;
                    assert!(told.iter().all(|code| *code != Code::StorageFailed), "{told:?}");
                    assert_reads_only(&server, &user, &test_file).await;
                }
                server.gone().await;
            } else {
                println!("{call} {n}: does not start");
            }
            let server = Launch::without_reserve(&site).start().await;
            let mut again = server.client(&user).await;
            again.upload(upload("after", &test_file)).await;
            again.chunks(ZERO, &test_file, 0..test_file.size()).await;
            again.complete(ZERO).await;
            site.assert_published(&user, "after", &test_file);
            if succeeded {
                site.assert_published(&user, "doc", &test_file);
                assert_eq!(again.status(1.try_into().unwrap()).await.status, "completed");
            }
        }
        assert!(fired > 0, "{call}: no running server met it");
    }
}

/// Sends a whole upload without waiting. Returns the errors that came.
async fn say_all(server: &ServerProcess, user: &TestUser, test_file: &TestFile) -> Vec<Code> {
    let mut writer = server.client(user).await;
    writer.send(&Request::Upload(upload("doc", test_file))).await;
    writer.chunks(ZERO, test_file, 0..test_file.size()).await;
    writer.send(&Request::Complete(Complete::default())).await;
    writer.finish_sending().await;
    let heard = writer.ended().await;
    let is_done = heard.iter().any(|heard| matches!(heard, Heard::Reply(Reply::Success(_))));
    let errors: Vec<_> = errors(&heard).into_iter().map(|(code, _)| code).collect();
    assert_eq!(is_done, errors.is_empty(), "SUCCESS, or an error that says why not: {heard:?}");
    errors
}

/// Measured: on such a disk the first sync failed and the second one succeeded, with the data lost.
#[tokio::test]
async fn a_disk_that_is_full_only_at_the_sync_breaks_no_promise() {
    let Some(room) = Volume::memory(24 << 20) else { return };
    let Some(thin) = Volume::ext4_in(128 << 20, room.path()) else { return };
    let Some(state) = Volume::memory(16 << 20) else { return };
    let mut disks = Disks::of(thin, Some(state));
    let user = disks.site().add_user("ada").await;
    let server = Launch::without_reserve(disks.site()).start().await;
    let test_file = TestFile::new(40 << 20, 913);
    let mut writer = server.client(&user).await;
    let id = writer.upload(upload("doc", &test_file)).await.document_id;
    writer.chunks(ZERO, &test_file, 0..test_file.size()).await;
    writer.send(&Request::Complete(Complete::default())).await;
    writer.finish_sending().await;
    let heard = writer.ended().await;
    let mut promised = offset(0);
    let mut errors = Vec::new();
    for heard in heard {
        match heard {
            Heard::Reply(Reply::Error(error)) => errors.push(error.code),
            Heard::Reply(Reply::Progress(progress)) => promised = promised.max(progress.durable),
            Heard::Reply(Reply::Success(_)) => panic!("it cannot be durable"),
            _ => {}
        }
    }
    println!("the writer: {errors:?}, {promised} bytes were promised");
    // Which error it is depends on which call reaches the disk first: a sync, or a write after the
    // sync of another file.
    assert!(
        matches!(errors[..], [Code::StorageFailed | Code::StorageReadOnly]),
        "one error that says what it is: {errors:?}"
    );
    assert_reads_only(&server, &user, &test_file).await;
    server.gone().await;

    // The operator makes room and starts the server again.
    room.remount("size=256m");
    disks.mount_data_again();
    let site = disks.site();
    let server = Launch::without_reserve(site).start().await;
    let mut again = server.client(&user).await;
    again.send(&Request::Resume(resume(id))).await;
    let from = match again.reply_on(ZERO).await {
        Reply::Resume(granted) => {
            assert!(granted.offset >= promised, "{granted:?}");
            position(granted.offset)
        }
        Reply::Error(error) if error.code == Code::Failed => {
            position(again.upload(upload("doc", &test_file)).await.offset)
        }
        other => panic!("{other:?}"),
    };
    again.chunks(ZERO, &test_file, from..test_file.size()).await;
    assert_eq!(again.complete(ZERO).await.blake3, test_file.hash());
    site.assert_published(&user, "doc", &test_file);
}
