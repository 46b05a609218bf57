//! `--durability relaxed`: the server or the machine dies between SUCCESS and the sync. Afterwards
//! a document is absent or complete, and a document that was complete is kept.

use std::path::Path;
use towline_protocol::reply::Success;
use towline_protocol::request::Complete;
use towline_protocol::{Code, Request};
use towline_tests::PATIENCE;
use towline_tests::disks::Disks;
use towline_tests::points::RELAXED;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{RawClient, ZERO, about, resume, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::strace::Strace;
use towline_tests::tamper::{cut, flip};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::{self, Volume};
use towline_types::DocumentId;

fn relaxed(site: &Site) -> Launch {
    Launch::without_reserve(site).arguments(&["--durability", "relaxed"])
}

/// Uploads a document to a server that is killed on the way, and waits until it has ended.
async fn put_and_die(launch: &Launch, user: &TestUser, test_file: &TestFile) -> DocumentId {
    let mut server = launch.start().await;
    let mut client = server.client(user).await;
    let id = client.upload(upload("doc", test_file)).await.document_id;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.send(&Request::Complete(Complete::default())).await;
    server.ended().await;
    assert!(server.was_killed().await);
    id
}

async fn put(client: &mut RawClient, test_file: &TestFile) -> (DocumentId, Success) {
    let id = client.upload(upload("doc", test_file)).await.document_id;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    (id, client.complete(ZERO).await)
}

/// The request of a client that has lost its receipt.
fn again(id: DocumentId) -> Complete {
    Complete { document_id: Some(id), ..Complete::default() }
}

/// The number of files that were set aside.
fn orphans(site: &Site) -> usize {
    std::fs::read_dir(site.staging_folder().join("orphans")).map_or(0, Iterator::count)
}

async fn started(site: &Site) -> ServerProcess {
    relaxed(site).start().await
}

#[tokio::test]
async fn a_kill_loses_nothing() {
    let test_file = TestFile::new(BLOCK + 5, 970);
    for point in RELAXED {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let launch = relaxed(&site).failpoints(&format!("{point}=kill"));
        let id = put_and_die(&launch, &user, &test_file).await;
        let server = started(&site).await;
        let status = server.client(&user).await.status(id).await;
        assert_eq!(status.status, "completed", "{point}");
        site.assert_published(&user, "doc", &test_file);
        server.assert_calm();
        server.gone().await;
    }
}

#[tokio::test]
async fn bytes_that_did_not_get_to_the_disk_are_not_served() {
    let test_file = TestFile::new(BLOCK + 5, 971);
    // The states of a file after a power cut, where it was never synced.
    let damages: [fn(&Path); 3] =
        [|path| flip(path, 70), |path| cut(path, 1000), |path| cut(path, 0)];
    for damage in damages {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let launch = relaxed(&site).failpoints("publish.named=kill");
        let id = put_and_die(&launch, &user, &test_file).await;
        damage(&site.document(&user, "doc"));
        let server = started(&site).await;
        assert!(!site.document(&user, "doc").exists(), "absent, or whole");
        let mut client = server.client(&user).await;
        assert_eq!(client.status(id).await.status, "failed");
        client.resume_refused(resume(id), Code::Failed).await;
        // The damaged file is kept, because it may be the best copy that exists, and its name is
        // free.
        assert_eq!(orphans(&site), 1);
        assert_eq!(put(&mut client, &test_file).await.1.filename, "doc");
        server.assert_calm();
        server.gone().await;
        site.assert_published(&user, "doc", &test_file);
    }
}

#[tokio::test]
async fn a_power_cut_leaves_a_name_absent_or_whole() {
    let test_file = TestFile::new(BLOCK + 5, 972);
    for point in RELAXED {
        for disks in [Disks::one, Disks::two] {
            let Some(mut disks) = disks() else { return };
            let user = disks.site().add_user("ada").await;
            let launch = relaxed(disks.site()).failpoints(&format!("{point}=kill"));
            let id = put_and_die(&launch, &user, &test_file).await;
            disks.lose_power();
            let server = started(disks.site()).await;
            let mut client = server.client(&user).await;
            let status = client.status(id).await.status;
            let path = disks.site().document(&user, "doc");
            println!("{point}: {status}, {}", if path.exists() { "there" } else { "absent" });
            match status.as_str() {
                "completed" => disks.site().assert_published(&user, "doc", &test_file),
                "failed" => assert!(!path.exists()),
                other => panic!("{point}: {other}"),
            }
            server.assert_calm();
            server.gone().await;
        }
    }
}

/// A sync of another file makes the name durable, and not the bytes.
#[tokio::test]
async fn a_name_that_survives_its_bytes_is_taken_back() {
    let test_file = TestFile::new(BLOCK + 5, 981);
    let Some(mut disks) = Disks::one() else { return };
    let user = disks.site().add_user("ada").await;
    let launch = relaxed(disks.site()).failpoints("publish.named=kill");
    let id = put_and_die(&launch, &user, &test_file).await;
    let neighbour = std::fs::File::create(disks.data().path().join("neighbour")).unwrap();
    neighbour.sync_all().unwrap();
    drop(neighbour);
    disks.lose_power();
    let site = disks.site();
    let document = site.document(&user, "doc");
    assert!(std::fs::metadata(&document).unwrap().len() < test_file.size() as u64);
    let server = started(site).await;
    assert!(!document.exists(), "absent, or whole");
    assert_eq!(orphans(site), 1);
    assert_eq!(server.client(&user).await.status(id).await.status, "failed");
    server.assert_calm();
    server.gone().await;
}

/// A disk that cannot read the bytes: the server neither serves nor deletes the file.
#[tokio::test]
async fn what_cannot_be_read_is_set_aside() {
    if !volume::has("strace") {
        return;
    }
    let test_file = TestFile::new(BLOCK + 5, 983);
    for (named, staged) in [(true, false), (false, true), (true, true)] {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let launch = relaxed(&site).failpoints("publish.named=kill");
        let id = put_and_die(&launch, &user, &test_file).await;
        let (document, staging) = (site.document(&user, "doc"), site.staging(id));
        if staged {
            std::fs::hard_link(&document, &staging).unwrap();
        }
        if !named {
            std::fs::remove_file(&document).unwrap();
        }
        let strace = Strace::inject(&site.outside().join("log"), "pread64", "error=EIO")
            .about([document.clone(), staging.clone()]);
        let server = relaxed(&site).under(&strace.words()).start().await;
        assert!(strace.has_fired());
        assert!(!document.exists(), "absent, or whole");
        assert!(!staging.exists());
        assert_eq!(orphans(&site), usize::from(named) + usize::from(staged));
        assert_eq!(server.client(&user).await.status(id).await.status, "failed");
        server.assert_calm();
        server.gone().await;
    }
}

/// After a power cut without a journal, the old name may exist beside the new one.
#[tokio::test]
async fn a_damaged_file_with_both_names_keeps_neither() {
    let test_file = TestFile::new(BLOCK + 5, 973);
    let damages: [fn(&Path); 2] = [|path| flip(path, 70), |path| cut(path, 1000)];
    for damage in damages {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let launch = relaxed(&site).failpoints("publish.named=kill");
        let id = put_and_die(&launch, &user, &test_file).await;
        let document = site.document(&user, "doc");
        std::fs::hard_link(&document, site.staging(id)).unwrap();
        damage(&document);
        let server = started(&site).await;
        assert!(!document.exists(), "absent, or whole");
        assert!(!site.staging(id).exists());
        assert_eq!(orphans(&site), 1);
        assert_eq!(server.client(&user).await.status(id).await.status, "failed");
        server.assert_calm();
        server.gone().await;
    }
}

/// The name of a staging file that was never synced is gone after a power cut, and the row names a
/// place at which the file never arrived.
#[tokio::test]
async fn a_file_of_another_program_in_its_place_is_left_alone() {
    let test_file = TestFile::new(BLOCK + 5, 974);
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let launch = relaxed(&site).failpoints("publish.row_publishing=kill");
    let document = site.document(&user, "doc");
    std::fs::create_dir_all(document.parent().unwrap()).unwrap();
    std::fs::write(&document, "mine").unwrap();
    let id = put_and_die(&launch, &user, &test_file).await;
    std::fs::remove_file(site.staging(id)).unwrap();
    let server = started(&site).await;
    assert_eq!(server.client(&user).await.status(id).await.status, "failed");
    assert_eq!(std::fs::read(&document).unwrap(), b"mine");
    server.gone().await;
}

/// After a failed write-back, the page cache has bytes that the disk has not.
#[tokio::test]
async fn memory_does_not_vouch_for_what_the_disk_has_lost() {
    let test_file = TestFile::new(BLOCK + 5, 975);
    let Some(disks) = Disks::one() else { return };
    let (site, user) = (disks.site(), disks.site().add_user("ada").await);
    for undone in [false, true] {
        let launch = relaxed(site).failpoints("publish.named=kill");
        let id = put_and_die(&launch, &user, &test_file).await;
        let document = site.document(&user, "doc");
        std::fs::File::open(&document).unwrap().sync_all().unwrap();
        disks.data().rot(&test_file.bytes[..100]);
        let bytes = std::fs::read(&document).unwrap();
        assert!(bytes == test_file.bytes, "memory has them still");
        if undone {
            std::fs::rename(&document, site.staging(id)).unwrap();
        }
        let server = started(site).await;
        assert_eq!(server.client(&user).await.status(id).await.status, "failed");
        assert!(!document.exists(), "absent, or whole");
        server.assert_calm();
        server.gone().await;
    }
}

#[tokio::test]
async fn a_sync_that_fails_completes_nothing() {
    if !volume::has("strace") {
        return;
    }
    let test_file = TestFile::new(BLOCK + 5, 976);
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let strace = Strace::inject(&site.outside().join("log"), "syncfs", "error=EIO");
    let server = relaxed(&site).under(&strace.words()).start().await;
    let mut client = server.client(&user).await;
    let (id, first) = put(&mut client, &test_file).await;
    assert!(!first.durable);
    server.says("not durable").await;
    let mut other = server.client(&user).await;
    other.complete_refused(again(id), Code::StorageReadOnly).await;
    other.upload_refused(upload("other", &test_file), Code::StorageReadOnly).await;
    assert_eq!(other.status(id).await.status, "publishing");
    server.gone().await;
    assert_eq!(strace.seen().len(), 1, "asked once and never again: {:?}", strace.seen());

    // The server does not sync the file again at its start, either; and the start works without an
    // operator.
    let server = relaxed(&site).under(&strace.words()).start().await;
    let mut client = server.client(&user).await;
    assert_eq!(client.status(id).await.status, "publishing");
    client.complete_refused(again(id), Code::StorageReadOnly).await;
    server.gone().await;

    let server = started(&site).await;
    let receipt = server.client(&user).await.complete_with(again(id)).await;
    assert_eq!((receipt.durable, receipt.created_at), (true, first.created_at));
    site.assert_published(&user, "doc", &test_file);
}

/// Where a file would have two names for a while, `SUCCESS` waits for the disk.
#[tokio::test]
async fn a_move_in_two_steps_is_made_durable() {
    if !volume::has("strace") {
        return;
    }
    let test_file = TestFile::new(BLOCK + 5, 977);
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let strace = Strace::inject(&site.outside().join("log"), "renameat2", "error=EINVAL");
    let server = relaxed(&site).under(&strace.words()).start().await;
    let (_, receipt) = put(&mut server.client(&user).await, &test_file).await;
    assert!(receipt.durable && strace.has_fired());
    site.assert_published(&user, "doc", &test_file);
    assert_eq!(site.staged_names(), [""; 0]);
    server.gone().await;
}

/// Another file system keeps what is written there, and its errors may not be reported to the
/// server.
#[tokio::test]
async fn a_volume_that_may_keep_errors_to_itself_is_made_durable() {
    let Some(volume) = Volume::overlay() else { return };
    let test_file = TestFile::new(BLOCK + 5, 980);
    let site = Site::on(&volume);
    let user = site.add_user("ada").await;
    let server = started(&site).await;
    server.says("durability cannot be relaxed").await;
    let (_, receipt) = put(&mut server.client(&user).await, &test_file).await;
    assert!(receipt.durable);
    site.assert_published(&user, "doc", &test_file);
    server.gone().await;
}

/// Every later receipt has the time of the first `SUCCESS`, also where the power cut has removed
/// the name.
#[tokio::test]
async fn the_moment_of_success_stays() {
    let test_file = TestFile::new(BLOCK + 5, 978);
    for undone in [false, true] {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let launch = relaxed(&site).failpoints("deferred.synced=kill");
        let mut server = launch.start().await;
        let (id, first) = put(&mut server.client(&user).await, &test_file).await;
        server.ended().await;
        if undone {
            std::fs::rename(site.document(&user, "doc"), site.staging(id)).unwrap();
        }
        let server = started(&site).await;
        let receipt = server.client(&user).await.complete_with(again(id)).await;
        assert_eq!((receipt.durable, receipt.created_at), (true, first.created_at));
        site.assert_published(&user, "doc", &test_file);
        server.gone().await;
    }
}

/// The owner cancels by an older look at the row, and `SUCCESS` is sent in between.
#[tokio::test]
async fn what_was_told_success_is_not_cancelled() {
    let test_file = TestFile::new(BLOCK + 5, 982);
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    // The row says `publishing` for longer than the cancellation waits.
    let plan = "end.decided=wait:1500,deferred.recording=wait:1500";
    let server = relaxed(&site).failpoints(plan).start().await;
    let mut client = server.client(&user).await;
    let id = client.upload(upload("doc", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.has_received(id, test_file.size()).await;
    let mut other = server.client(&user).await;
    other.send(&Request::Cancel(about(id))).await;
    server.says("a failpoint waits").await;
    let first = client.complete(ZERO).await;
    assert!(!first.durable);
    other.error(Code::BadState).await;
    let receipt = other.complete_with(again(id)).await;
    assert_eq!((receipt.durable, receipt.created_at), (true, first.created_at));
    site.assert_published(&user, "doc", &test_file);
    server.assert_calm();
    server.gone().await;
}

/// Waits until the document is durable, without a request that would make it so.
async fn completed(client: &mut RawClient, id: DocumentId) {
    let look = async { while client.status(id).await.status != "completed" {} };
    tokio::time::timeout(PATIENCE, look).await.expect("it becomes durable by itself");
}

#[tokio::test]
async fn what_could_not_be_recorded_is_recorded_later() {
    let test_file = TestFile::new(BLOCK + 5, 984);
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = relaxed(&site).failpoints("deferred.recording=wait:1000@1").start().await;
    let mut client = server.client(&user).await;
    let (id, first) = put(&mut client, &test_file).await;
    server.says("a failpoint waits").await;
    // Another process writes to the catalog, for longer than the server waits.
    let somebody = rusqlite::Connection::open(site.catalog_path()).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    server.says("not recorded as complete").await;
    assert_eq!(client.status(id).await.status, "publishing");
    somebody.execute_batch("ROLLBACK").unwrap();
    completed(&mut client, id).await;
    assert_eq!(client.complete_with(again(id)).await.created_at, first.created_at);
    server.assert_calm();
    server.gone().await;
}

#[tokio::test]
async fn a_panic_while_all_are_settled_leaves_none_behind() {
    let test_file = TestFile::new(BLOCK + 5, 985);
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = relaxed(&site).failpoints("deferred.recording=panic@1").start().await;
    let mut client = server.client(&user).await;
    let (id, _) = put(&mut client, &test_file).await;
    server.says("a deferred sync did not come to its end").await;
    completed(&mut client, id).await;
    server.gone().await;
}

/// The log line of a server that waits at this point.
fn waits_at(point: &str) -> String {
    format!("\"{point}\"")
}

/// Another client asks for a document that is just being published, and by that makes it durable.
#[tokio::test]
async fn success_does_not_wait_for_the_sync_of_another_upload() {
    let test_file = TestFile::new(BLOCK + 5, 986);
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let plan = "publish.named=wait:1000,deferred.synced=wait:2000,publish.in_place=wait:1";
    let server = relaxed(&site).failpoints(plan).start().await;
    let mut client = server.client(&user).await;
    let id = client.upload(upload("doc", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.send(&Request::Complete(Complete::default())).await;
    server.says(&waits_at("publish.named")).await;
    let mut other = server.client(&user).await;
    other.send(&Request::Complete(again(id))).await;
    server.says(&waits_at("deferred.synced")).await;
    assert!(!client.success_on(ZERO).await.durable);
    let is_through = server.said().iter().any(|line| line.contains(&waits_at("publish.in_place")));
    assert!(!is_through, "it has waited for the other");
    assert!(other.success_on(ZERO).await.durable);
    server.assert_calm();
    server.gone().await;
}

#[tokio::test]
async fn a_request_during_the_deferred_sync_gets_the_receipt() {
    let test_file = TestFile::new(BLOCK + 5, 979);
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    // Each wait is longer than a published document waits for others that share its sync.
    for plan in ["publish.in_place=wait:1500", "deferred.recording=wait:500"] {
        let server = relaxed(&site).failpoints(plan).start().await;
        let mut client = server.client(&user).await;
        let (id, first) = put(&mut client, &test_file).await;
        if plan.starts_with("deferred") {
            server.says("a failpoint waits").await;
        }
        let receipt = server.client(&user).await.complete_with(again(id)).await;
        assert_eq!((receipt.durable, receipt.created_at), (true, first.created_at));
        server.assert_calm();
        server.gone().await;
    }
}
