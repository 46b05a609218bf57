//! What arrives is what was sent, or it is noticed: at once with blocks, at the
//! end with a hash.

use towline_protocol::Code;
use towline_protocol::request::{Complete, Resume, Upload};
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::speaker::{CHUNK, Speaker, ZERO, offset, resume, upload};
use towline_types::FileHash;

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_turned_on_the_wire_costs_one_block() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(4 * BLOCK + 77, 60);
    for (broken, within) in [(0, 0), (2, 700_001), (3, BLOCK - 1), (4, 76)] {
        let name = format!("flip {broken}.bin");
        let proxy = FaultProxy::start(server.address(), [Faults::none()]).await;
        let mut speaker = Speaker::login(proxy.address(), &server.person.token).await;
        let begin = Upload { blocks: true, ..upload(&name, &corpus) };
        let document_id = speaker.upload(begin).await.document_id;
        for index in 0..corpus.block_count() {
            if index == broken {
                let heads = (within / CHUNK + 1) as u64 * 17;
                let place = speaker.sent_bytes() + heads + within as u64;
                proxy.link(0).await.change(|faults| faults.flip_at = Some(place));
            }
            speaker.block(ZERO, &corpus, index).await;
        }
        let error = speaker.error(Code::BlockMismatch).await;
        assert_eq!(error.index.unwrap().get(), broken as u64);
        assert_eq!(error.document_id, Some(document_id));
        let held: Vec<usize> = speaker.blocks(document_id).await.iter().map(|b| b.0).collect();
        let others: Vec<usize> = (0..corpus.block_count()).filter(|&i| i != broken).collect();
        assert_eq!(held, others, "the other blocks are untouched");
        let refused = speaker.complete_refused(Complete::default(), Code::Incomplete).await;
        assert_eq!(refused.expected, Some(offset(broken * BLOCK)));
        // That block alone.
        speaker.block(ZERO, &corpus, broken).await;
        assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
        server.site.assert_published(&server.person, &name, &corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_turned_on_the_wire_costs_one_block() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(2 * BLOCK + 1, 61);
    let mut speaker = server.speaker().await;
    speaker.upload(Upload { blocks: true, ..upload("flip.bin", &corpus) }).await;
    speaker.block(ZERO, &corpus, 0).await;
    speaker.announce(ZERO, 1, corpus.value(0)).await;
    speaker.chunks(ZERO, &corpus, BLOCK..2 * BLOCK).await;
    assert_eq!(speaker.error(Code::BlockMismatch).await.index.unwrap().get(), 1);
    speaker.block(ZERO, &corpus, 1).await;
    speaker.block(ZERO, &corpus, 2).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "flip.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_block_announced_with_another_value_is_dropped() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(2 * BLOCK, 62);
    let mut speaker = server.speaker().await;
    let begin = Upload { blocks: true, ..upload("again.bin", &corpus) };
    let document_id = speaker.upload(begin).await.document_id;
    speaker.block(ZERO, &corpus, 0).await;
    speaker.block(ZERO, &corpus, 1).await;
    // The same value again is nothing new.
    speaker.announce(ZERO, 0, corpus.value(0)).await;
    speaker.announce(ZERO, 0, corpus.value(1)).await;
    assert_eq!(speaker.error(Code::BlockMismatch).await.index.unwrap().get(), 0);
    assert_eq!(speaker.blocks(document_id).await, [(1, corpus.value(1))]);
    speaker.block(ZERO, &corpus, 0).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_never_announced_is_not_complete() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(2 * BLOCK, 63);
    let mut speaker = server.speaker().await;
    speaker.upload(Upload { blocks: true, ..upload("mute.bin", &corpus) }).await;
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    speaker.announce(ZERO, 0, corpus.value(0)).await;
    speaker.complete_refused(Complete::default(), Code::Incomplete).await;
    speaker.announce(ZERO, 1, corpus.value(1)).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
}

/// `complete` with that hash fails the upload for good.
async fn fails_for_good(server: &TestServer, speaker: &mut Speaker, name: &str, hash: FileHash) {
    let question = towline_tests::speaker::find(name, Corpus::new(BLOCK + 5000, 0).filesize());
    let unfinished = speaker.find(question.clone()).await.unfinished.unwrap();
    let wrong = Complete { blake3: Some(hash), ..Complete::default() };
    speaker.complete_refused(wrong, Code::HashMismatch).await;
    assert!(!server.site.document(&server.person, name).exists());
    let status = speaker.status(unfinished.document_id).await;
    assert_eq!(status.status, "failed");
    assert!(status.reason.is_some());
    assert_eq!(speaker.find(question).await.unfinished, None);
    speaker.resume_refused(resume(unfinished.document_id), Code::Failed).await;
    let by_number = Complete { document_id: Some(unfinished.document_id), ..Complete::default() };
    speaker.complete_refused(by_number, Code::Failed).await;
    server.site.state_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hash_of_the_whole_fails_the_upload() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK + 5000, 64);
    for blocks in [false, true] {
        let name = format!("whole {blocks}.bin");
        let mut speaker = server.speaker().await;
        speaker.upload(Upload { blocks, ..upload(&name, &corpus) }).await;
        if blocks {
            speaker.blocks_from(ZERO, &corpus, 0).await;
        } else {
            speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        }
        fails_for_good(&server, &mut speaker, &name, Corpus::new(1, 1).hash()).await;
        // The user is free to begin again.
        speaker.upload(upload(&name, &corpus)).await;
        speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        let right = Complete { blake3: Some(corpus.hash()), ..Complete::default() };
        assert_eq!(speaker.complete_with(right).await.filename, name);
        server.site.assert_published(&server.person, &name, &corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_turned_on_the_wire_without_blocks_is_found_by_the_hash() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK + 5000, 65);
    let proxy = FaultProxy::start(server.address(), [Faults::none()]).await;
    let mut speaker = Speaker::login(proxy.address(), &server.person.token).await;
    speaker.upload(upload("flip.bin", &corpus)).await;
    let place = speaker.sent_bytes() + 17 + 12_345;
    proxy.link(0).await.change(|faults| faults.flip_at = Some(place));
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    fails_for_good(&server, &mut speaker, "flip.bin", corpus.hash()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_blocks_are_taken_back_and_sent_anew() {
    let server = TestServer::start().await;
    let old = Corpus::new(5 * BLOCK + 300, 66);
    let mut new = old.clone();
    let other = Corpus::new(old.size(), 67);
    for index in [1, 3, 5] {
        let span = index * BLOCK..old.block_end(index);
        new.bytes[span.clone()].copy_from_slice(&other.bytes[span]);
    }
    let mut speaker = server.speaker().await;
    let begin = Upload { blocks: true, ..upload("changed.bin", &old) };
    let document_id = speaker.upload(begin).await.document_id;
    speaker.blocks_from(ZERO, &old, 0).await;
    speaker.pause().await;

    let mut speaker = server.speaker().await;
    speaker.resume(Resume { blocks: true, ..resume(document_id) }).await;
    let held = speaker.blocks(document_id).await;
    let changed: Vec<usize> =
        held.iter().filter(|(index, value)| new.value(*index) != *value).map(|b| b.0).collect();
    assert_eq!(changed, [1, 3, 5]);
    // A range may reach beyond the last block.
    let granted = speaker.withdraw(ZERO, &[(1, 1), (3, 1), (5, 100)]).await;
    assert_eq!((granted.document_id, granted.offset), (document_id, offset(BLOCK)));
    let left: Vec<usize> = speaker.blocks(document_id).await.iter().map(|b| b.0).collect();
    assert_eq!(left, [0, 2, 4]);
    let status = speaker.status(document_id).await;
    assert_eq!((status.received, status.durable), (offset(BLOCK), offset(BLOCK)));
    for index in [5, 1, 3] {
        speaker.block(ZERO, &new, index).await;
    }
    assert_eq!(speaker.complete(ZERO).await.blake3, new.hash());
    server.site.assert_published(&server.person, "changed.bin", &new);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_stays_withdrawn_after_a_restart() {
    let mut server = TestServer::start().await;
    let corpus = Corpus::new(3 * BLOCK, 68);
    let mut speaker = server.speaker().await;
    let begin = Upload { blocks: true, ..upload("back.bin", &corpus) };
    let document_id = speaker.upload(begin).await.document_id;
    speaker.block(ZERO, &corpus, 0).await;
    speaker.block(ZERO, &corpus, 1).await;
    speaker.withdraw(ZERO, &[(0, 1)]).await;
    server.restart().await;
    let mut speaker = server.speaker().await;
    let granted = speaker.resume(Resume { blocks: true, ..resume(document_id) }).await;
    assert_eq!(granted.offset, offset(0));
    assert_eq!(speaker.blocks(document_id).await, [(1, corpus.value(1))]);
    speaker.block(ZERO, &corpus, 2).await;
    speaker.block(ZERO, &corpus, 0).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "back.bin", &corpus);
}
