//! A wall clock that is wrong or is set: the server measures waiting times by another clock, and
//! gives up no upload by a wall clock that it does not trust yet.

use super::paused;
use std::time::Duration;
use towline_protocol::Code;
use towline_tests::raw_client::{RawClient, ZERO, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::DocumentId;

const HOUR: Duration = Duration::from_secs(3600);
const DAY_MS: i64 = 86_400_000;
const TEN_YEARS_MS: i64 = 3653 * DAY_MS;

/// A connection whose token stays valid at every jump of the clock.
async fn client(server: &TestServer) -> RawClient {
    let token = server.site.token(server.user.id, HOUR * 24 * 365 * 30);
    RawClient::login(server.address(), &token).await
}

/// Three uploads that are paused.
async fn three_paused(server: &TestServer, test_file: &TestFile) -> Vec<DocumentId> {
    let mut documents = Vec::new();
    for name in ["a.bin", "b.bin", "c.bin"] {
        documents.push(paused(server.client().await, name, test_file, 1000).await);
    }
    documents
}

async fn assert_kept(server: &TestServer, documents: &[DocumentId]) {
    let mut client = client(server).await;
    for document_id in documents {
        assert_eq!(client.status(*document_id).await.status, "uploading");
        assert_eq!(client.resume(resume(*document_id)).await.offset, offset(1000));
    }
    client.pause().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ten_years_ahead_ends_nothing() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 340);
    let documents = three_paused(&server, &test_file).await;
    // The clock is wrong at the start …
    server.stop().await;
    server.clock.set(TEN_YEARS_MS);
    for _ in 0..3 {
        // A server that has stopped has finished the expiry run of its start.
        server.start_again().await;
        assert_kept(&server, &documents).await;
        server.stop().await;
    }
    server.clock.set(-TEN_YEARS_MS);
    server.start_again().await;
    assert_kept(&server, &documents).await;
    // … or it is set while the server runs, after it was right for a long time.
    server.clock.advance(24 * HOUR);
    server.clock.set(TEN_YEARS_MS);
    assert_kept(&server, &documents).await;
    server.clock.set(-TEN_YEARS_MS);
    let mut client = client(&server).await;
    for document_id in documents {
        client.resume(resume(document_id)).await;
        client.chunks(ZERO, &test_file, 1000..BLOCK).await;
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_off_longer_than_uploads_may_wait_keeps_them_half_a_day_more() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 341);
    let documents = three_paused(&server, &test_file).await;
    server.stop().await;
    server.clock.advance(24 * 10 * HOUR);
    server.start_again().await;
    let mut client = client(&server).await;
    client.resume(resume(documents[0])).await;
    client.chunks(ZERO, &test_file, 1000..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.clock.advance(11 * HOUR);
    assert_eq!(client.resume(resume(documents[1])).await.offset, offset(1000));
    server.clock.advance(HOUR);
    client.resume_refused(resume(documents[2]), Code::Expired).await;
    assert_eq!(client.status(documents[2]).await.status, "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_the_clock_ends_no_connection() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 342);
    let mut client = client(&server).await;
    let document_id = client.upload(upload("doc.bin", &test_file)).await.document_id;
    // The clock jumps forward and back by a day, then to a time that 32 bits of seconds cannot
    // hold, and back.
    let to_2038 = 2_147_483_648_000 - i64::try_from(server.clock.now().get()).unwrap();
    let jumps = [DAY_MS, -2 * DAY_MS, DAY_MS, to_2038, DAY_MS, -to_2038 - DAY_MS];
    let piece = test_file.size() / jumps.len();
    for (number, &jump) in jumps.iter().enumerate() {
        server.clock.set(jump);
        client.chunks(ZERO, &test_file, number * piece..(number + 1) * piece).await;
        client.has_received(document_id, (number + 1) * piece).await;
        // Every second time, the client reconnects and resumes.
        if number % 2 == 1 {
            client.pause().await;
            client = self::client(&server).await;
            let at = client.resume(resume(document_id)).await.offset;
            assert_eq!(at, offset((number + 1) * piece));
        }
    }
    client.chunks(ZERO, &test_file, jumps.len() * piece..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.bin", &test_file);
}
