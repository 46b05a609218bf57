//! Every size that could be special arrives as it was sent, however it was sent.

use towline_protocol::request::{Resume, Upload};
use towline_tests::corpus::{BLOCK, Corpus, chance};
use towline_tests::server::TestServer;
use towline_tests::speaker::{CHUNK, ZERO, offset, position, resume, upload};

const SIZES: [usize; 9] = [0, 1, 1023, 1024, 1025, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7];

#[tokio::test(flavor = "multi_thread")]
async fn every_size_without_blocks() {
    let server = TestServer::start().await;
    for size in SIZES {
        let corpus = Corpus::new(size, 1);
        let name = format!("plain {size}.bin");
        let mut speaker = server.speaker().await;
        let granted = speaker.upload(upload(&name, &corpus)).await;
        assert_eq!((granted.offset, granted.filesize), (offset(0), corpus.filesize()));
        speaker.chunks(ZERO, &corpus, 0..size).await;
        let success = speaker.complete(ZERO).await;
        assert_eq!(success.document_id, granted.document_id);
        assert_eq!(success.blake3, corpus.hash(), "size {size}");
        assert_eq!((success.filename.as_str(), success.filesize), (&*name, corpus.filesize()));
        assert!(success.durable && !success.existing);
        server.site.assert_published(&server.person, &name, &corpus);
        assert!(!server.site.staging(granted.document_id).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_with_blocks() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    for size in SIZES {
        let corpus = Corpus::new(size, 2);
        let name = format!("blocks {size}.bin");
        let granted = speaker.upload(Upload { blocks: true, ..upload(&name, &corpus) }).await;
        speaker.blocks_from(ZERO, &corpus, 0).await;
        let held = speaker.blocks(granted.document_id).await;
        let reference: Vec<_> = (0..corpus.block_count()).map(|i| (i, corpus.value(i))).collect();
        assert_eq!(held, reference, "size {size}");
        let success = speaker.complete(ZERO).await;
        assert_eq!(success.blake3, corpus.hash(), "size {size}");
        server.site.assert_published(&server.person, &name, &corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_cut_in_the_middle_and_resumed() {
    let server = TestServer::start().await;
    for size in SIZES.into_iter().filter(|size| *size > 0) {
        for blocks in [false, true] {
            let corpus = Corpus::new(size, 3);
            let name = format!("cut {blocks} {size}.bin");
            let middle = size / 2;
            let mut speaker = server.speaker().await;
            let granted = speaker.upload(Upload { blocks, ..upload(&name, &corpus) }).await;
            for index in 0..middle / BLOCK {
                speaker.chunks(ZERO, &corpus, index * BLOCK..(index + 1) * BLOCK).await;
                if blocks {
                    speaker.announce(ZERO, index, corpus.value(index)).await;
                }
            }
            speaker.chunks(ZERO, &corpus, middle / BLOCK * BLOCK..middle).await;
            let last = speaker.pause().await;
            assert_eq!(last.len(), 1, "one last progress");
            assert_eq!((last[0].received, last[0].durable), (offset(middle), offset(middle)));

            let mut speaker = server.speaker().await;
            let wish = Resume { blocks, ..resume(granted.document_id) };
            let from = position(speaker.resume(wish).await.offset);
            assert_eq!(from, middle, "size {size}, blocks {blocks}");
            if blocks {
                speaker.blocks_from(ZERO, &corpus, from).await;
            } else {
                speaker.chunks(ZERO, &corpus, from..size).await;
            }
            let success = speaker.complete(ZERO).await;
            assert_eq!(success.blake3, corpus.hash(), "size {size}, blocks {blocks}");
            server.site.assert_published(&server.person, &name, &corpus);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_in_any_order() {
    let server = TestServer::start().await;
    let mut chance = chance();
    for size in [BLOCK + 1, 3 * BLOCK + 7, 7 * BLOCK, 9 * BLOCK + 1024] {
        let corpus = Corpus::new(size, 4);
        let name = format!("shuffled {size}.bin");
        let mut order: Vec<usize> = (0..corpus.block_count()).collect();
        chance.shuffle(&mut order);
        println!("{order:?}");
        let mut speaker = server.speaker().await;
        let granted = speaker.upload(Upload { blocks: true, ..upload(&name, &corpus) }).await;
        let (first, rest) = order.split_at(order.len() / 2);
        for &index in first {
            // The announcement may come before the bytes as well.
            if chance.bool() {
                speaker.announce(ZERO, index, corpus.value(index)).await;
                let span = index * BLOCK..corpus.block_end(index);
                speaker.chunks(ZERO, &corpus, span).await;
            } else {
                speaker.block(ZERO, &corpus, index).await;
            }
        }
        let mut held = first.to_vec();
        held.sort_unstable();
        let listed = speaker.blocks(granted.document_id).await;
        assert_eq!(listed, held.iter().map(|&i| (i, corpus.value(i))).collect::<Vec<_>>());
        drop(speaker);

        let mut speaker = server.speaker().await;
        let wish = Resume { blocks: true, ..resume(granted.document_id) };
        speaker.resume(wish).await;
        let listed = speaker.blocks(granted.document_id).await;
        assert_eq!(listed, held.iter().map(|&i| (i, corpus.value(i))).collect::<Vec<_>>());
        for &index in rest {
            speaker.block(ZERO, &corpus, index).await;
        }
        assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
        server.site.assert_published(&server.person, &name, &corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_blocks_by_turns_and_chunks_of_odd_lengths() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(3 * BLOCK + 7, 5);
    let mut chance = chance();
    let mut speaker = server.speaker().await;
    speaker.upload(Upload { blocks: true, ..upload("turns.bin", &corpus) }).await;
    let mut at: Vec<usize> = (0..corpus.block_count()).map(|index| index * BLOCK).collect();
    while let Some(index) = {
        let open: Vec<_> = (0..at.len()).filter(|&i| at[i] < corpus.block_end(i)).collect();
        chance.choice(open)
    } {
        let end = (at[index] + chance.usize(1..3 * CHUNK)).min(corpus.block_end(index));
        speaker.chunk(ZERO, at[index], &corpus.bytes[at[index]..end]).await;
        at[index] = end;
        if end == corpus.block_end(index) {
            speaker.announce(ZERO, index, corpus.value(index)).await;
        }
    }
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "turns.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_mebibytes_and_thirteen_bytes() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(100 * BLOCK + 13, 6);
    let mut speaker = server.speaker().await;
    let granted = speaker.upload(Upload { blocks: true, ..upload("large.bin", &corpus) }).await;
    let middle = 41 * BLOCK + 333_333;
    for index in 0..41 {
        let span = index * BLOCK..corpus.block_end(index);
        speaker.chunks_of(ZERO, &corpus, span, BLOCK).await;
        speaker.announce(ZERO, index, corpus.value(index)).await;
    }
    speaker.chunks(ZERO, &corpus, 41 * BLOCK..middle).await;
    let last = speaker.pause().await;
    assert_eq!(last[0].durable, offset(middle));

    let mut speaker = server.speaker().await;
    let wish = Resume { blocks: true, offset: Some(offset(middle)), ..resume(granted.document_id) };
    assert_eq!(speaker.resume(wish).await.offset, offset(middle));
    speaker.blocks_from(ZERO, &corpus, middle).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "large.bin", &corpus);
}
