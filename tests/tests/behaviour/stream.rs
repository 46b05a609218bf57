//! One upload that comes as fast as the machine can, when its lane draws from the
//! connection itself: whatever else happens on the connection is not kept waiting.

use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Channel, Code};
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::server::TestServer;
use towline_tests::speaker::{ZERO, position, resume, upload};

#[tokio::test(flavor = "multi_thread")]
async fn words_in_its_midst_are_heard() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(24 * BLOCK + 9, 500);
    let small = Corpus::new(3 * BLOCK + 1, 501);
    let mut speaker = server.speaker().await;
    let begin = Upload { blocks: true, ..upload("large.bin", &corpus) };
    let document_id = speaker.upload(begin).await.document_id;
    let other = Channel(3);
    let begin = Upload { channel: other, ..upload("small.bin", &small) };
    speaker.upload(begin).await;
    for index in 0..corpus.block_count() {
        speaker.block(ZERO, &corpus, index).await;
        if index % 5 == 4 {
            let status = speaker.status(document_id).await;
            assert!(status.received <= corpus.filesize().end(), "{status:?}");
        }
        if index % 7 == 6 {
            // A block of another upload, in the same stream.
            let number = index / 7;
            speaker.chunk(other, number * BLOCK, small.block(number)).await;
        }
    }
    speaker.chunk(other, 3 * BLOCK, small.block(3)).await;
    let complete = Complete { channel: other, ..Complete::default() };
    assert_eq!(speaker.complete_with(complete).await.blake3, small.hash());
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "large.bin", &corpus);
    server.site.assert_published(&server.person, "small.bin", &small);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_taken_over_in_its_midst() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(24 * BLOCK, 502);
    let garbage = Corpus::new(24 * BLOCK, 503);
    let mut older = server.speaker().await;
    let mut newer = server.speaker().await;
    let document_id = older.upload(upload("doc.bin", &corpus)).await.document_id;
    older.chunks(ZERO, &corpus, 0..12 * BLOCK).await;
    let from = position(newer.resume(resume(document_id)).await.offset);
    assert!(from <= 12 * BLOCK);
    // What the older one still says is for nobody.
    older.chunks(ZERO, &garbage, 12 * BLOCK..24 * BLOCK).await;
    older.error(Code::Superseded).await;
    newer.chunks(ZERO, &corpus, from..24 * BLOCK).await;
    assert_eq!(newer.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "doc.bin", &corpus);
    older.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_came_before_its_end_counts() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(16 * BLOCK, 504);
    let mut speaker = server.speaker().await;
    let document_id = speaker.upload(upload("doc.bin", &corpus)).await.document_id;
    let sent = 9 * BLOCK + 300_001;
    speaker.chunks(ZERO, &corpus, 0..sent).await;
    speaker.finish_sending().await;
    speaker.closed().await;
    let mut speaker = server.speaker().await;
    let granted = speaker.resume(resume(document_id)).await;
    assert_eq!(position(granted.offset), sent);
    speaker.chunks(ZERO, &corpus, sent..corpus.size()).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "doc.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_of_them_than_cores_all_arrive() {
    let server = TestServer::start().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let corpus = Corpus::new(12 * BLOCK + 1, 510 + number);
        let mut speaker = server.speaker().await;
        tasks.spawn(async move {
            let name = format!("{number}.bin");
            speaker.upload(upload(&name, &corpus)).await;
            speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
            assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
            (name, corpus)
        });
    }
    while let Some(done) = tasks.join_next().await {
        let (name, corpus) = done.unwrap();
        server.site.assert_published(&server.person, &name, &corpus);
    }
}
