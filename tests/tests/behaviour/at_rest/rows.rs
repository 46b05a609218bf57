//! A row of the catalog that an operator has edited and that the server cannot read.

use super::paused;
use std::fs;
use towline_protocol::Code;
use towline_tests::process::Launch;
use towline_tests::raw_client::{RawClient, ZERO, find, offset, resume, upload};
use towline_tests::site::Site;
use towline_tests::tamper::edit;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_does_not_read_stops_its_own_upload_and_no_other() {
    let site = Site::new();
    let (ada, bob) = (site.add_user("ada").await, site.add_user("bob").await);
    let test_file = TestFile::new(BLOCK, 300);
    let mut server = Launch::over(&site).start().await;
    let mut uploads = Vec::new();
    for name in ["first.bin", "bad.bin", "last.bin"] {
        let client = RawClient::login(server.address(), &ada.token).await;
        uploads.push(paused(client, name, &test_file, 300_000).await);
    }
    server.kill().await;
    let bad = uploads[1];
    edit(&site, &format!("UPDATE documents SET folder = '../..' WHERE document_id = {bad}"));
    let bytes = fs::read(site.staging(bad)).unwrap();

    for _ in 0..2 {
        server.start_again().await;
        let said = server.said().join("\n");
        assert!(said.contains(&format!("document {bad} in the catalog cannot be read")), "{said}");
        // The owner of the upload is told the reason; another user is not told that the upload
        // exists.
        let mut client = RawClient::login(server.address(), &ada.token).await;
        let error = client.resume_refused(resume(bad), Code::Failed).await;
        assert!(error.message.contains("cannot be read"), "{}", error.message);
        let mut other = RawClient::login(server.address(), &bob.token).await;
        other.resume_refused(resume(bad), Code::NotFound).await;
        // The server does not offer the upload for resuming, and the same file can be uploaded
        // anew.
        let found = client.find(find("bad.bin", test_file.filesize())).await;
        assert_eq!(found.unfinished, None);
        let state = site.state_that("the two others", |state| state.uploads.len() == 2).await;
        assert_eq!(state.find(bad, None), None);
        assert_eq!(fs::read(site.staging(bad)).unwrap(), bytes, "the bytes are kept");
        server.kill().await;
    }

    server.start_again().await;
    for (document_id, name) in [(uploads[0], "first.bin"), (uploads[2], "last.bin")] {
        let mut client = RawClient::login(server.address(), &ada.token).await;
        assert_eq!(client.resume(resume(document_id)).await.offset, offset(300_000));
        client.chunks(ZERO, &test_file, 300_000..BLOCK).await;
        assert_eq!(client.complete(ZERO).await.document_id, document_id);
        site.assert_published(&ada, name, &test_file);
    }
    // When the row is repaired, the upload continues where it was.
    server.kill().await;
    edit(&site, &format!("UPDATE documents SET folder = '' WHERE document_id = {bad}"));
    server.start_again().await;
    let mut client = RawClient::login(server.address(), &ada.token).await;
    assert_eq!(client.resume(resume(bad)).await.offset, offset(300_000));
    client.chunks(ZERO, &test_file, 300_000..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_row_that_does_not_read_disturbs_no_upload() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let test_file = TestFile::new(1000, 301);
    let mut server = Launch::over(&site).start().await;
    let mut client = RawClient::login(server.address(), &ada.token).await;
    client.upload(upload("doc.pdf", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..1000).await;
    let bad = client.complete(ZERO).await.document_id;
    server.kill().await;
    edit(&site, &format!("UPDATE documents SET started_at = -1 WHERE document_id = {bad}"));
    // After a power cut the old name may exist beside the new one.
    fs::copy(site.document(&ada, "doc.pdf"), site.staging(bad)).unwrap();
    server.start_again().await;
    assert!(site.staging(bad).exists(), "nobody can say whether it is wanted");
    let mut client = RawClient::login(server.address(), &ada.token).await;
    client.resume_refused(resume(bad), Code::Failed).await;
    client.upload(upload("doc.pdf", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..1000).await;
    assert_eq!(client.complete(ZERO).await.filename, "doc (1).pdf");
    site.assert_published(&ada, "doc.pdf", &test_file);
    site.assert_published(&ada, "doc (1).pdf", &test_file);
}
