//! `--durability relaxed`: SUCCESS comes before the syncs and says so; the document
//! becomes durable by itself, and nothing else is different.

use towline_engine::Durability;
use towline_protocol::request::Complete;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::server::TestServer;
use towline_tests::speaker::{ZERO, offset, upload};

#[tokio::test(flavor = "multi_thread")]
async fn success_says_that_it_is_not_durable_yet_and_then_it_is() {
    let mut server =
        TestServer::start_with(|config| config.engine.durability = Durability::Relaxed).await;
    let corpus = Corpus::new(2 * BLOCK + 77, 950);
    let mut speaker = server.speaker().await;
    let id = speaker.upload(upload("doc", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    let first = speaker.complete(ZERO).await;
    assert!(!first.durable);
    assert_eq!(first.blake3, corpus.hash());
    server.site.assert_published(&server.person, "doc", &corpus);
    // Whoever asks for the document waits until it is durable: the same receipt.
    let again = Complete { document_id: Some(id), ..Complete::default() };
    let second = server.speaker().await.complete_with(again).await;
    assert!(second.durable);
    assert_eq!((second.created_at, &second.filename), (first.created_at, &first.filename));

    // Of the next nobody asks.
    let other = Corpus::new(1000, 951);
    let next = speaker.upload(upload("doc", &other)).await.document_id;
    speaker.chunks(ZERO, &other, 0..1000).await;
    assert_eq!(speaker.complete(ZERO).await.filename, "doc (1)");
    server.stop().await;
    server.start_again().await;
    let status = server.speaker().await.status(next).await;
    assert_eq!((status.status.as_str(), status.blake3), ("completed", Some(other.hash())));
    server.site.assert_published(&server.person, "doc (1)", &other);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_become_durable_together() {
    let mut server =
        TestServer::start_with(|config| config.engine.durability = Durability::Relaxed).await;
    let mut speaker = server.speaker().await;
    let files: Vec<_> = (0..20).map(|n| Corpus::new(n * 50, 960 + n as u64)).collect();
    let mut ids = Vec::new();
    for (n, corpus) in files.iter().enumerate() {
        let granted = speaker.upload(upload(&format!("f{n}"), corpus)).await;
        speaker.chunks(ZERO, corpus, 0..corpus.size()).await;
        assert!(!speaker.complete(ZERO).await.durable);
        ids.push(granted.document_id);
    }
    server.stop().await;
    server.start_again().await;
    let mut speaker = server.speaker().await;
    for (n, corpus) in files.iter().enumerate() {
        assert_eq!(speaker.status(ids[n]).await.status, "completed");
        server.site.assert_published(&server.person, &format!("f{n}"), corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_in_part_is_durable_as_a_whole() {
    let server =
        TestServer::start_with(|config| config.engine.durability = Durability::Relaxed).await;
    let corpus = Corpus::new(2 * BLOCK, 952);
    let mut speaker = server.speaker().await;
    speaker.upload(upload("doc", &corpus)).await;
    speaker.chunks(ZERO, &corpus, 0..BLOCK).await;
    // Somebody's pause makes everybody's bytes durable.
    let mut other = server.speaker().await;
    other.upload(upload("other", &corpus)).await;
    other.chunks(ZERO, &corpus, 0..1).await;
    other.pause().await;
    speaker.progress_that("a promise", |progress| progress.durable == offset(BLOCK)).await;
    speaker.chunks(ZERO, &corpus, BLOCK..2 * BLOCK).await;
    assert!(speaker.complete(ZERO).await.durable);
    server.site.assert_published(&server.person, "doc", &corpus);
}
