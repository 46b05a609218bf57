//! A data folder that another version of Towline has written.
//!
//! [`make_the_fixture`] made `fixtures/v1` with the first version. Each new schema adds one folder,
//! and no folder is ever made again.

use super::paused;
use std::path::{Path, PathBuf};
use towline_protocol::request::{Complete, Resume, Upload};
use towline_state::catalog::{Bytes, Catalog};
use towline_testkit::id;
use towline_tests::process::Launch;
use towline_tests::raw_client::{RawClient, ZERO, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::site::{Site, TestUser};
use towline_tests::tamper::{contents, edit};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{FileHash, OnConflict};

/// The folder with the fixture of a schema version.
fn fixture(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/v{version}"))
}

/// A file with the same bytes in every run.
fn test_file(size: usize) -> TestFile {
    let bytes = (0..size).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect();
    TestFile { bytes }
}

/// The file of which one block and a thousand bytes were sent.
fn unfinished() -> TestFile {
    test_file(BLOCK + 5000)
}

fn done() -> TestFile {
    test_file(300)
}

fn publishing() -> TestFile {
    test_file(70_000)
}

fn ada(site: &Site) -> TestUser {
    let user = 1.try_into().unwrap();
    let token = site.token(user, std::time::Duration::from_secs(3600));
    TestUser { id: user, name: "ada".to_owned(), token }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes the fixture of a new schema; run by hand, once"]
async fn make_the_fixture() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("unfinished.bin", &unfinished()) };
    assert_eq!(client.upload(begin).await.document_id, id(1));
    client.block(ZERO, &unfinished(), 0).await;
    client.chunks(ZERO, &unfinished(), BLOCK..BLOCK + 1000).await;
    client.pause().await;
    let mut client = server.client().await;
    assert_eq!(client.upload(upload("done.txt", &done())).await.document_id, id(2));
    client.chunks(ZERO, &done(), 0..done().size()).await;
    client.complete(ZERO).await;
    let size = publishing().size();
    let third = paused(client, "publishing.bin", &publishing(), size).await;
    assert_eq!(third, id(3));
    server.stop().await;
    // The state after a kill between the row and the rename.
    let catalog = Catalog::open(server.site.catalog_path()).unwrap();
    let (hash, now) = (publishing().hash(), server.clock.now());
    catalog.begin_publish(third, hash, Bytes::Synced, OnConflict::Rename, 0, now).await.unwrap();
    catalog.close().await.unwrap();

    let made = fixture(1);
    assert!(!made.exists(), "{} is there already", made.display());
    for name in ["state/catalog.db", "state/uploads_state.json", "uploads/1/done.txt"]
        .into_iter()
        .map(str::to_owned)
        .chain([1, 3].map(|number| format!("uploads/.staging/{number}.tmp")))
    {
        std::fs::create_dir_all(made.join(&name).parent().unwrap()).unwrap();
        std::fs::copy(server.site.path().join(&name), made.join(&name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_version_left_goes_on() {
    let site = Site::copy_of(&fixture(1));
    let server = Launch::over(&site).start().await;
    let user = ada(&site);
    let mut client = RawClient::login(server.address(), &user.token).await;

    // The completed document is still completed, and its receipt is the same.
    let again = Complete { document_id: Some(id(2)), ..Complete::default() };
    let receipt = client.complete_with(again).await;
    assert_eq!((receipt.filename.as_str(), receipt.blake3), ("done.txt", done().hash()));
    site.assert_published(&user, "done.txt", &done());
    // The start has finished the publishing.
    let status = client.status(id(3)).await;
    assert_eq!((status.status.as_str(), status.blake3), ("completed", Some(publishing().hash())));
    site.assert_published(&user, "publishing.bin", &publishing());
    // The unfinished upload continues at the same byte.
    let granted = client.resume(Resume { blocks: true, ..resume(id(1)) }).await;
    assert_eq!(granted.offset, offset(BLOCK + 1000));
    assert_eq!(client.blocks(id(1)).await, [(0, unfinished().value(0))]);
    client.chunks(ZERO, &unfinished(), BLOCK + 1000..unfinished().size()).await;
    client.announce(ZERO, 1, unfinished().value(1)).await;
    let whole: FileHash = unfinished().hash();
    let complete = Complete { blake3: Some(whole), ..Complete::default() };
    assert_eq!(client.complete_with(complete).await.filename, "unfinished.bin");
    site.assert_published(&user, "unfinished.bin", &unfinished());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_version_left_is_refused_before_anything_is_written() {
    let site = Site::copy_of(&fixture(1));
    let mut server = Launch::over(&site).start().await;
    // While the server has the catalog open, the change stays in the journal.
    edit(
        &site,
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
         VALUES (1000, 'of_the_future', 'whenever', 'what')",
    );
    server.kill().await;
    let journal = site.catalog_path().with_extension("db-wal");
    for was_killed in [true, false] {
        if !was_killed {
            // After an orderly close, the journal is gone.
            edit(&site, "UPDATE refinery_schema_history SET name = 'later' WHERE version = 1000");
        }
        assert_eq!(journal.exists(), was_killed);
        let before = contents(site.path());
        let ended = Launch::over(&site).try_start().await.unwrap_err();
        assert_eq!(ended.status.and_then(|status| status.code()), Some(1));
        let said = ended.said.join("\n");
        assert!(said.contains("catalog.db has schema 1000"), "{said}");
        assert!(said.contains("this Towline knows none above "), "{said}");
        assert_eq!(contents(site.path()), before, "killed: {was_killed}");
    }
}
