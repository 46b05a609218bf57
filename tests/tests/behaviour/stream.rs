//! One upload that arrives as fast as the machine allows, so that its lane reads from the connection
//! itself: other requests on the connection do not wait for the end of the upload.

use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Channel, Code};
use towline_tests::raw_client::{ZERO, position, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_the_middle_of_a_stream_is_answered() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK + 9, 500);
    let small = TestFile::new(3 * BLOCK + 1, 501);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("large.bin", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    let other = Channel(3);
    let begin = Upload { channel: other, ..upload("small.bin", &small) };
    client.upload(begin).await;
    for index in 0..test_file.block_count() {
        client.block(ZERO, &test_file, index).await;
        if index % 5 == 4 {
            let status = client.status(document_id).await;
            assert!(status.received <= test_file.filesize().end(), "{status:?}");
        }
        if index % 7 == 6 {
            // A block of another upload, on the same connection.
            let number = index / 7;
            client.chunk(other, number * BLOCK, small.block(number)).await;
        }
    }
    client.chunk(other, 3 * BLOCK, small.block(3)).await;
    let complete = Complete { channel: other, ..Complete::default() };
    assert_eq!(client.complete_with(complete).await.blake3, small.hash());
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "large.bin", &test_file);
    server.site.assert_published(&server.user, "small.bin", &small);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_taken_over_in_its_middle() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK, 502);
    let garbage = TestFile::new(24 * BLOCK, 503);
    let mut older = server.client().await;
    let mut newer = server.client().await;
    let document_id = older.upload(upload("doc.bin", &test_file)).await.document_id;
    older.chunks(ZERO, &test_file, 0..12 * BLOCK).await;
    let from = position(newer.resume(resume(document_id)).await.offset);
    assert!(from <= 12 * BLOCK);
    // Later bytes of the older client are dropped.
    older.chunks(ZERO, &garbage, 12 * BLOCK..24 * BLOCK).await;
    older.error(Code::Superseded).await;
    newer.chunks(ZERO, &test_file, from..24 * BLOCK).await;
    assert_eq!(newer.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    older.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_bytes_before_the_end_of_a_stream_count() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(16 * BLOCK, 504);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.bin", &test_file)).await.document_id;
    let sent = 9 * BLOCK + 300_001;
    client.chunks(ZERO, &test_file, 0..sent).await;
    client.finish_sending().await;
    client.closed().await;
    let mut client = server.client().await;
    let granted = client.resume(resume(document_id)).await;
    assert_eq!(position(granted.offset), sent);
    client.chunks(ZERO, &test_file, sent..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_cores_all_arrive() {
    let server = TestServer::start().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let test_file = TestFile::new(12 * BLOCK + 1, 510 + number);
        let mut client = server.client().await;
        tasks.spawn(async move {
            let name = format!("{number}.bin");
            client.upload(upload(&name, &test_file)).await;
            client.chunks(ZERO, &test_file, 0..test_file.size()).await;
            assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
            (name, test_file)
        });
    }
    while let Some(done) = tasks.join_next().await {
        let (name, test_file) = done.unwrap();
        server.site.assert_published(&server.user, &name, &test_file);
    }
}
