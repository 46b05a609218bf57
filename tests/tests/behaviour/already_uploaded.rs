//! Bytes that this user has sent before are not sent again.

use std::fs;
use towline_protocol::request::{Find, Upload};
use towline_protocol::{Reply, Request};
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::server::TestServer;
use towline_tests::speaker::{Speaker, ZERO, find, upload};

async fn put(speaker: &mut Speaker, name: &str, corpus: &Corpus) -> towline_protocol::DocumentId {
    let document_id = speaker.upload(upload(name, corpus)).await.document_id;
    speaker.chunks(ZERO, corpus, 0..corpus.size()).await;
    speaker.complete(ZERO).await;
    document_id
}

fn known(name: &str, corpus: &Corpus) -> Upload {
    Upload { blake3: Some(corpus.hash()), ..upload(name, corpus) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_document_is_the_answer_at_once() {
    let mut server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK + 5, 170);
    let mut speaker = server.speaker().await;
    let document_id = put(&mut speaker, "old.bin", &corpus).await;
    for _ in 0..2 {
        let mut speaker = server.speaker().await;
        let before = server.site.on_disk();
        for name in ["old.bin", "new name.bin"] {
            speaker.send(&Request::Upload(known(name, &corpus))).await;
            let success = speaker.success_on(ZERO).await;
            assert!(success.existing && success.durable);
            assert_eq!(success.document_id, document_id);
            assert_eq!((success.filename.as_str(), success.blake3), ("old.bin", corpus.hash()));
        }
        assert_eq!(server.site.on_disk(), before);
        // A client that did not wait: its bytes are dropped, its `complete` gets the receipt.
        speaker.send(&Request::Upload(known("old.bin", &corpus))).await;
        speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        assert!(speaker.success_on(ZERO).await.existing);
        let receipt = speaker.complete(ZERO).await;
        assert_eq!((receipt.document_id, receipt.blake3), (document_id, corpus.hash()));
        server.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn find_tells_size_first_and_bytes_then() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(70_000, 171);
    let other = Corpus::new(70_000, 172);
    let mut speaker = server.speaker().await;
    let question = find("doc.pdf", corpus.filesize());
    assert!(!speaker.find(question.clone()).await.same_size);
    let document_id = put(&mut speaker, "doc.pdf", &corpus).await;
    let found = speaker.find(question.clone()).await;
    assert!(found.same_size && found.document_id.is_none() && found.unfinished.is_none());
    let with = |corpus: &Corpus| Find { blake3: Some(corpus.hash()), ..question.clone() };
    assert_eq!(speaker.find(with(&corpus)).await.document_id, Some(document_id));
    let found = speaker.find(with(&other)).await;
    assert!(found.same_size && found.document_id.is_none());
    let found = speaker.find(find("doc.pdf", Corpus::new(70_001, 1).filesize())).await;
    assert!(!found.same_size);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_gets_nothing_of_it() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(70_000, 173);
    put(&mut server.speaker().await, "doc.pdf", &corpus).await;
    let bob = server.site.add_user("bob").await;
    let mut speaker = Speaker::login(server.address(), &bob.token).await;
    let question = Find { blake3: Some(corpus.hash()), ..find("doc.pdf", corpus.filesize()) };
    let found = speaker.find(question).await;
    assert!(!found.same_size && found.document_id.is_none() && found.unfinished.is_none());
    speaker.upload(known("doc.pdf", &corpus)).await;
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    assert!(!speaker.complete(ZERO).await.existing);
    server.site.assert_published(&bob, "doc.pdf", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_or_changed_is_not_an_answer() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    for how in ["deleted", "cut short"] {
        let corpus = Corpus::new(70_000, 174);
        let name = format!("{how}.bin");
        put(&mut speaker, &name, &corpus).await;
        let path = server.site.document(&server.person, &name);
        match how {
            "deleted" => fs::remove_file(&path).unwrap(),
            _ => fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap(),
        }
        speaker.send(&Request::Upload(known(&name, &corpus))).await;
        match speaker.reply_on(ZERO).await {
            Reply::Upload(_) => {}
            other => panic!("{how}: {other:?}"),
        }
        speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        let success = speaker.complete(ZERO).await;
        assert!(!success.existing);
        server.site.assert_published(&server.person, &success.filename, &corpus);
        // Nothing is left over for the next round.
        fs::remove_file(server.site.document(&server.person, &success.filename)).unwrap();
    }
}
