//! A second server over the same data folder.

use towline_engine::OpenError;
use towline_engine::storage::FolderError;
use towline_server::RunError;
use towline_tests::process::Launch;
use towline_tests::raw_client::{RawClient, ZERO, upload};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::tamper::contents;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_is_refused_at_its_start_and_the_first_goes_on() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let test_file = TestFile::new(BLOCK, 390);
    let mut first = Launch::over(&site).start().await;
    let mut client = RawClient::login(first.address(), &ada.token).await;
    let document_id = client.upload(upload("doc.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..5000).await;
    client.has_received(document_id, 5000).await;
    client.progress_that("durable", |now| now.durable == now.received).await;
    site.state_that("the upload", |state| state.find(document_id, None).is_some()).await;

    let before = contents(&site.uploads());
    let ended = Launch::over(&site).try_start().await.unwrap_err();
    assert_eq!(ended.status.and_then(|status| status.code()), Some(1));
    let said = ended.said.join("\n");
    assert!(said.contains("is in use by another server"), "{said}");
    assert!(said.contains(&site.path().display().to_string()), "{said}");
    assert_eq!(contents(&site.uploads()), before, "nothing was touched");

    client.chunks(ZERO, &test_file, 5000..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    // The system releases the lock when the process ends, however it ends.
    first.kill().await;
    drop(Launch::over(&site).start().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_in_the_same_process_is_refused() {
    let mut server = TestServer::start().await;
    let second = towline_server::Server::open(server.config()).await.err();
    assert!(
        matches!(second, Some(RunError::Open(OpenError::Folder(FolderError::InUse { .. })))),
        "{second:?}"
    );
    server.stop().await;
    server.start_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_is_refused_where_the_lock_file_was_removed() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let test_file = TestFile::new(BLOCK, 391);
    let mut first = Launch::over(&site).start().await;
    let mut client = RawClient::login(first.address(), &ada.token).await;
    let document_id = client.upload(upload("doc.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..5000).await;
    client.has_received(document_id, 5000).await;
    std::fs::remove_file(site.path().join("towlined.lock")).unwrap();
    let ended = Launch::over(&site).try_start().await.unwrap_err();
    assert!(ended.said.join("\n").contains("is in use by another server"), "{:?}", ended.said);
    // A server without its lock file cannot know whether another server has started.
    assert_eq!(first.ended().await.code(), Some(1));
    first.says("was removed, so the server has stopped").await;
    let again = Launch::over(&site).start().await;
    let mut client = RawClient::login(again.address(), &ada.token).await;
    let granted = client.resume(towline_tests::raw_client::resume(document_id)).await;
    assert_eq!(granted.offset, towline_tests::raw_client::offset(5000), "what came was paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_another_program_has_locked_is_waited_for_with_a_word() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    Launch::over(&site).start().await.gone().await;
    let backup = rusqlite::Connection::open(site.catalog_path()).unwrap();
    backup.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let starting = tokio::spawn({
        let launch = Launch::over(&site);
        async move { launch.start().await }
    });
    // The server prints its first message about the wait after a shorter time than this.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    backup.execute_batch("COMMIT").unwrap();
    drop(backup);
    let server = starting.await.unwrap();
    let said = server.said().join("\n");
    assert!(said.contains("another program has locked"), "{said}");
    assert!(said.contains("catalog.db"), "{said}");
    drop(server.client(&ada).await);
}
