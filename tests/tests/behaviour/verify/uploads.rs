//! Bytes of unfinished uploads that have changed on the disk.

use super::verify;
use std::fs;
use towline_protocol::request::{Resume, Upload};
use towline_tests::process::Launch;
use towline_tests::raw_client::{RawClient, ZERO, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::tamper::{cut, flip};
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_found_and_asked_for_again() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(4 * BLOCK, 330);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("doc.bin", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    for index in 0..3 {
        client.block(ZERO, &test_file, index).await;
    }
    client.pause().await;
    assert!(verify(&server.site, &[]).await.is_well());
    flip(&server.site.staging(document_id), BLOCK + 17);
    let found = verify(&server.site, &[]).await;
    assert_eq!(found.kinds(), ["upload_damaged uploads/.staging/1.tmp"]);
    assert_eq!(found.findings[0]["blocks"], serde_json::json!([[1, 1]]));
    server.stop().await;
    assert_eq!(verify(&server.site, &["--repair"]).await.findings[0]["done"], "withdrawn");
    assert!(verify(&server.site, &[]).await.is_well());

    server.start_again().await;
    let mut client = server.client().await;
    let granted = client.resume(Resume { blocks: true, ..resume(document_id) }).await;
    assert_eq!(granted.offset, offset(BLOCK));
    let held: Vec<_> = client.blocks(document_id).await.iter().map(|block| block.0).collect();
    assert_eq!(held, [0, 2], "that block alone");
    client.block(ZERO, &test_file, 1).await;
    client.block(ZERO, &test_file, 3).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    assert!(verify(&server.site, &[]).await.is_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staging_file_that_is_too_short_is_found() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 331);
    let mut documents = Vec::new();
    for name in ["shorter", "gone", "unpromised"] {
        let mut client = server.client().await;
        documents.push(client.upload(upload(name, &test_file)).await.document_id);
        if name != "unpromised" {
            client.chunks(ZERO, &test_file, 0..BLOCK + 5).await;
        }
        client.pause().await;
    }
    server.stop().await;
    let site = &server.site;
    cut(&site.staging(documents[0]), BLOCK + 4);
    fs::remove_file(site.staging(documents[1])).unwrap();
    fs::remove_file(site.staging(documents[2])).unwrap();
    let found = verify(site, &["--repair"]).await;
    let short = ["upload_short uploads/.staging/1.tmp", "upload_short uploads/.staging/2.tmp"];
    assert_eq!(found.kinds(), short);
    assert_eq!(found.findings[0]["done"], "nothing", "the start gives it up");
    server.start_again().await;
    assert_eq!(server.client().await.status(documents[0]).await.status, "failed");
    assert!(verify(&server.site, &[]).await.is_well());
}

/// A document whose server was killed at this point of its publishing.
async fn killed_while_publishing(site: &Site, point: &str, test_file: &TestFile) -> (u64, String) {
    let user = site.add_user("ada").await;
    let plan = format!("{point}=kill");
    let mut server = Launch::over(site).failpoints(&plan).start().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    let document_id = client.upload(upload("doc.bin", test_file)).await.document_id;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.progress_that("durable", |now| now.durable == offset(test_file.size())).await;
    let complete = towline_protocol::request::Complete::default();
    client.send(&towline_protocol::Request::Complete(complete)).await;
    server.ended().await;
    (document_id.get(), user.token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_on_its_way_to_its_name_is_verified_under_either() {
    let test_file = TestFile::new(2 * BLOCK, 332);
    for (point, at) in [
        ("publish.row_publishing", "uploads/.staging/1.tmp"),
        ("publish.renamed", "uploads/1/doc.bin"),
    ] {
        let site = Site::new();
        let (id, token) = killed_while_publishing(&site, point, &test_file).await;
        assert!(verify(&site, &[]).await.is_well(), "{point}");
        flip(&site.path().join(at), BLOCK);
        let found = verify(&site, &[]).await;
        assert_eq!((found.findings.len(), found.findings[0]["path"].as_str()), (1, Some(at)));
        verify(&site, &["--repair"]).await;
        assert!(verify(&site, &[]).await.is_well(), "{point}");

        let server = Launch::over(&site).start().await;
        let mut client = RawClient::login(server.address(), &token).await;
        let status = client.status(id.try_into().unwrap()).await;
        let from = if at.ends_with(".tmp") {
            // The server asks only for the damaged block.
            assert_eq!(status.status, "uploading");
            client.resume(resume(status.document_id)).await.offset.get()
        } else {
            assert_eq!(status.status, "failed");
            client.upload(upload("doc.bin", &test_file)).await;
            0
        };
        assert_eq!(from, if at.ends_with(".tmp") { BLOCK as u64 } else { 0 });
        let from = usize::try_from(from).unwrap();
        client.chunks(ZERO, &test_file, from..test_file.size()).await;
        let success = client.complete(ZERO).await;
        assert_eq!((success.filename.as_str(), success.blake3), ("doc.bin", test_file.hash()));
        assert!(verify(&site, &[]).await.is_well(), "{point}");
    }
}
