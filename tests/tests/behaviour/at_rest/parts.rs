//! A part of the data folder that is missing, empty or belongs to another store, because a disk is
//! not mounted or the wrong one is. The server gives up no upload for that.

use super::paused;
use std::fs;
use std::path::Path;
use towline_protocol::Code;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{RawClient, ZERO, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::site::{MARKER, Site, TestUser};
use towline_tests::tamper::{contents, edit};
use towline_tests::test_file::{BLOCK, TestFile};

const PARTS: [&str; 4] = ["uploads/.staging", "uploads", "state", "keys"];

async fn put(server: &ServerProcess, user: &TestUser, name: &str, test_file: &TestFile) {
    let mut client = server.client(user).await;
    client.upload(upload(name, test_file)).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
}

/// Checks that the start is refused, with a message that names the folder and what to do.
async fn refused(site: &Site, folder: &Path) -> String {
    let before = contents(site.path());
    let ended = Launch::over(site).try_start().await.expect_err("the server does not start");
    assert_eq!(ended.status.and_then(|status| status.code()), Some(1));
    let said = ended.said.join("\n");
    assert!(said.contains(&folder.display().to_string()), "{said}");
    assert!(said.contains("Nothing was changed"), "{said}");
    assert!(said.contains("--adopt-folders"), "{said}");
    assert_eq!(contents(site.path()), before, "nothing was changed: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_a_part_of_the_data_folder_is_refused_and_changes_nothing() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let (done, left) = (TestFile::new(2000, 400), TestFile::new(BLOCK, 401));
    let mut server = Launch::over(&site).start().await;
    put(&server, &ada, "done.txt", &done).await;
    let id = paused(server.client(&ada).await, "left.bin", &left, 5000).await;
    server.kill().await;
    for part in PARTS {
        let (folder, away) = (site.path().join(part), site.outside().join("away"));
        for how in ["missing", "empty", "lost+found", "unmarked", "of another store"] {
            fs::rename(&folder, &away).unwrap();
            match how {
                "missing" => {}
                "empty" => fs::create_dir(&folder).unwrap(),
                "lost+found" => fs::create_dir_all(folder.join("lost+found")).unwrap(),
                "unmarked" => {
                    fs::create_dir(&folder).unwrap();
                    fs::write(folder.join("notes"), "of somebody").unwrap();
                }
                _ => {
                    fs::create_dir(&folder).unwrap();
                    let marker = fs::read_to_string(away.join(MARKER)).unwrap();
                    let (head, rest) = marker.split_at(marker.find("store_id ").unwrap() + 9);
                    let other = format!("{head}{}{}", "0".repeat(32), &rest[32..]);
                    fs::write(folder.join(MARKER), other).unwrap();
                }
            }
            let said = refused(&site, &folder).await;
            println!("{part} {how}: {said}\n");
            let _ = fs::remove_dir_all(&folder);
            fs::rename(&away, &folder).unwrap();
        }
    }
    // Two parts are mounted in each other's place.
    let (keys, state) = (site.path().join("keys"), site.path().join("state"));
    let marker = fs::read(keys.join(MARKER)).unwrap();
    fs::copy(state.join(MARKER), keys.join(MARKER)).unwrap();
    refused(&site, &keys).await;
    fs::write(keys.join(MARKER), marker).unwrap();
    // All parts are there again, and no upload was given up.
    server.start_again().await;
    site.assert_published(&ada, "done.txt", &done);
    let mut client = server.client(&ada).await;
    assert_eq!(client.resume(resume(id)).await.offset, offset(5000));
    client.chunks(ZERO, &left, 5000..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, left.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_for_good_is_left_behind_when_that_is_said_once() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let left = TestFile::new(BLOCK, 402);
    let mut server = Launch::over(&site).start().await;
    let id = paused(server.client(&ada).await, "left.bin", &left, 5000).await;
    server.kill().await;
    fs::remove_dir_all(site.staging_folder()).unwrap();
    refused(&site, &site.staging_folder()).await;
    let adopting = Launch::over(&site).arguments(&["--adopt-folders"]).start().await;
    let mut client = adopting.client(&ada).await;
    client.resume_refused(resume(id), Code::Failed).await;
    put(&adopting, &ada, "new.bin", &left).await;
    adopting.gone().await;
    let again = Launch::over(&site).start().await;
    site.assert_published(&ada, "new.bin", &left);
    again.gone().await;
}

/// Makes the store look like one of an earlier version of Towline, which wrote no markers.
fn unmark(site: &Site) {
    for part in PARTS.iter().chain([&""]) {
        fs::remove_file(site.path().join(part).join(MARKER)).unwrap();
    }
    edit(site, "UPDATE store SET marked_at = NULL");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_markers_gets_them_where_its_folders_look_right() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let (done, left) = (TestFile::new(2000, 403), TestFile::new(BLOCK, 404));
    let mut server = Launch::over(&site).start().await;
    put(&server, &ada, "done.txt", &done).await;
    let id = paused(server.client(&ada).await, "left.bin", &left, 5000).await;
    server.kill().await;
    unmark(&site);
    // The server does not adopt a store that lacks a folder which its documents or uploads must
    // have.
    let away = site.outside().join("away");
    for folder in [site.documents(&ada), site.staging_folder()] {
        fs::rename(&folder, &away).unwrap();
        refused(&site, &folder).await;
        fs::rename(&away, &folder).unwrap();
    }
    server.start_again().await;
    for part in PARTS.iter().chain([&""]) {
        assert!(site.path().join(part).join(MARKER).exists(), "{part}");
    }
    let mut client = server.client(&ada).await;
    assert_eq!(client.resume(resume(id)).await.offset, offset(5000));
    assert!(!site.documents(&ada).join(MARKER).exists(), "in no user's folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_users_without_a_catalog_are_no_first_start() {
    let site = Site::new();
    fs::create_dir_all(site.uploads().join("7/photos")).unwrap();
    refused(&site, &site.uploads()).await;
    Launch::over(&site).arguments(&["--adopt-folders"]).start().await.gone().await;
    Launch::over(&site).start().await.gone().await;
    // An empty folder, an empty mount point, and folders that cannot belong to users count as no
    // store.
    let site = Site::new();
    for folder in ["lost+found", "uploads/lost+found", "uploads/7", "uploads/photos"] {
        fs::create_dir_all(site.path().join(folder)).unwrap();
    }
    Launch::over(&site).start().await.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_which_nothing_was_promised_goes_on_at_0_without_its_file() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 5, 405);
    for stopped in [true, false] {
        let name = format!("stopped {stopped}");
        let mut client = server.client().await;
        let id = client.upload(upload(&name, &test_file)).await.document_id;
        client.pause().await;
        server.stop().await;
        // The state after a power cut in which the name was not durable yet.
        if stopped {
            fs::remove_file(server.site.staging(id)).unwrap();
        }
        server.start_again().await;
        assert_eq!(fs::metadata(server.site.staging(id)).unwrap().len(), 0);
        if !stopped {
            fs::remove_file(server.site.staging(id)).unwrap();
        }
        let mut client = server.client().await;
        assert_eq!(client.status(id).await.status, "uploading");
        assert_eq!(client.resume(resume(id)).await.offset, offset(0));
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &name, &test_file);
    }
}

/// Whether any file under `uploads` has these bytes.
fn are_kept(site: &Site, bytes: &[u8]) -> bool {
    contents(&site.uploads()).into_values().any(|kept| kept == bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn received_bytes_of_a_failed_upload_are_kept_and_those_of_a_cancelled_one_are_not() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 406);
    let received = &test_file.bytes[..5000];
    let failed = paused(server.client().await, "failed.bin", &test_file, 5000).await;
    let short = paused(server.client().await, "short.bin", &test_file, 6000).await;
    let cancelled = paused(server.client().await, "cancelled.bin", &test_file, 7000).await;
    server.stop().await;
    let path = server.site.staging(failed);
    // The file is longer than the bytes, because the server has reserved space.
    let bytes = fs::read(&path).unwrap()[..5000].to_vec();
    assert_eq!(bytes, received);
    fs::remove_file(&path).unwrap();
    fs::write(server.site.staging(short), &test_file.bytes[..5500]).unwrap();
    let kept_of_cancelled = fs::read(server.site.staging(cancelled)).unwrap();
    server.start_again().await;
    let mut client = server.client().await;
    for id in [failed, short] {
        assert_eq!(client.status(id).await.status, "failed");
    }
    assert!(are_kept(&server.site, &test_file.bytes[..5500]), "what is there of a promise");
    client.cancel(cancelled).await;
    // The disk is back, and after a power cut another file has reappeared.
    server.stop().await;
    fs::write(&path, received).unwrap();
    fs::write(server.site.staging(cancelled), &kept_of_cancelled).unwrap();
    server.start_again().await;
    assert!(are_kept(&server.site, received), "they may be wanted");
    assert!(!path.exists(), "the number's place is free");
    assert!(!server.site.staging(cancelled).exists());
    assert!(!are_kept(&server.site, &kept_of_cancelled), "its owner has given it up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_documents_staging_file_is_deleted_only_beside_its_document() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(3000, 407);
    for is_there in [true, false] {
        let name = format!("{is_there}.bin");
        let mut client = server.client().await;
        let id = client.upload(upload(&name, &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..3000).await;
        client.complete(ZERO).await;
        server.stop().await;
        let document = server.site.document(&server.user, &name);
        fs::copy(&document, server.site.staging(id)).unwrap();
        if !is_there {
            fs::remove_file(&document).unwrap();
        }
        server.start_again().await;
        assert!(!server.site.staging(id).exists());
        let orphan = server.site.staging_folder().join(format!("orphans/{id}.tmp"));
        assert_eq!(orphan.exists(), !is_there, "the last copy is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_catalog_that_was_lost_opens_nothing_of_the_next() {
    let site = Site::new();
    let (_, bob) = (site.add_user("ada").await, site.add_user("bob").await);
    let server = Launch::over(&site).start().await;
    server.gone().await;
    fs::remove_dir_all(site.path().join("state")).unwrap();
    let server = Launch::over(&site).arguments(&["--adopt-folders"]).start().await;
    // A user who gets bob's number now is not bob.
    let carol = site.add_user("carol").await;
    assert_ne!(carol.token, bob.token);
    let mut client = RawClient::connect(server.address()).await;
    client.hello(&bob.token).await;
    let error = client.error(Code::Unauthorized).await;
    assert!(error.message.contains("issued by another server"), "{}", error.message);
    drop(server.client(&carol).await);
}
