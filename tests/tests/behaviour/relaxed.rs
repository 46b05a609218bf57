//! `--durability relaxed`: SUCCESS comes before the syncs and says so. The document becomes durable
//! later without a request, and nothing else differs.

use towline_engine::Durability;
use towline_protocol::request::Complete;
use towline_tests::raw_client::{ZERO, offset, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn success_says_that_it_is_not_durable_yet_and_then_it_is() {
    let mut server =
        TestServer::start_with(|config| config.engine.durability = Durability::Relaxed).await;
    let test_file = TestFile::new(2 * BLOCK + 77, 950);
    let mut client = server.client().await;
    let id = client.upload(upload("doc", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let first = client.complete(ZERO).await;
    assert!(!first.durable);
    assert_eq!(first.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc", &test_file);
    // A client that asks for the document waits until it is durable, and gets the same receipt.
    let again = Complete { document_id: Some(id), ..Complete::default() };
    let second = server.client().await.complete_with(again).await;
    assert!(second.durable);
    assert_eq!((second.created_at, &second.filename), (first.created_at, &first.filename));

    // No client asks for the next document.
    let other = TestFile::new(1000, 951);
    let next = client.upload(upload("doc", &other)).await.document_id;
    client.chunks(ZERO, &other, 0..1000).await;
    assert_eq!(client.complete(ZERO).await.filename, "doc (1)");
    server.stop().await;
    server.start_again().await;
    let status = server.client().await.status(next).await;
    assert_eq!((status.status.as_str(), status.blake3), ("completed", Some(other.hash())));
    server.site.assert_published(&server.user, "doc (1)", &other);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_become_durable_together() {
    let mut server =
        TestServer::start_with(|config| config.engine.durability = Durability::Relaxed).await;
    let mut client = server.client().await;
    let files: Vec<_> = (0..20).map(|n| TestFile::new(n * 50, 960 + n as u64)).collect();
    let mut ids = Vec::new();
    for (n, test_file) in files.iter().enumerate() {
        let granted = client.upload(upload(&format!("f{n}"), test_file)).await;
        client.chunks(ZERO, test_file, 0..test_file.size()).await;
        assert!(!client.complete(ZERO).await.durable);
        ids.push(granted.document_id);
    }
    server.stop().await;
    server.start_again().await;
    let mut client = server.client().await;
    for (n, test_file) in files.iter().enumerate() {
        assert_eq!(client.status(ids[n]).await.status, "completed");
        server.site.assert_published(&server.user, &format!("f{n}"), test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_in_part_is_durable_as_a_whole() {
    let server =
        TestServer::start_with(|config| config.engine.durability = Durability::Relaxed).await;
    let test_file = TestFile::new(2 * BLOCK, 952);
    let mut client = server.client().await;
    client.upload(upload("doc", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..BLOCK).await;
    // The pause of one client makes the bytes of all clients durable.
    let mut other = server.client().await;
    other.upload(upload("other", &test_file)).await;
    other.chunks(ZERO, &test_file, 0..1).await;
    other.pause().await;
    client.progress_that("a promise", |progress| progress.durable == offset(BLOCK)).await;
    client.chunks(ZERO, &test_file, BLOCK..2 * BLOCK).await;
    assert!(client.complete(ZERO).await.durable);
    server.site.assert_published(&server.user, "doc", &test_file);
}
