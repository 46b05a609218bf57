//! A bit that turns on the disk.
//!
//! What has arrived was hashed as it arrived, and is not read again: `complete`
//! needs no second pass by design. So what turns *afterwards* in a block that was
//! whole is found by nobody but `towlined verify`, before the document is published
//! or after. Only the one block that was open is read back, by a resume after the
//! server was restarted.

use crate::verify::{completed, verify};
use towline_protocol::Code;
use towline_protocol::request::{Complete, Resume, Upload};
use towline_tests::by_hand::flip;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::server::TestServer;
use towline_tests::speaker::{ZERO, offset, resume, upload};

#[tokio::test(flavor = "multi_thread")]
async fn in_a_block_that_was_whole_it_is_found_by_verify_alone() {
    let mut server = TestServer::start().await;
    let corpus = Corpus::new(2 * BLOCK, 360);
    for restarted in [false, true] {
        let name = format!("restarted {restarted}.bin");
        let mut speaker = server.speaker().await;
        let begin = Upload { blocks: true, ..upload(&name, &corpus) };
        let document_id = speaker.upload(begin).await.document_id;
        speaker.block(ZERO, &corpus, 0).await;
        speaker.pause().await;
        flip(&server.site.staging(document_id), 77);
        if restarted {
            server.restart().await;
        }
        let found = verify(&server.site, &[]).await;
        let kind = format!("upload_damaged uploads/.staging/{document_id}.tmp");
        assert!(found.kinds().contains(&kind), "{:?}", found.kinds());

        let mut speaker = server.speaker().await;
        speaker.resume(Resume { blocks: true, ..resume(document_id) }).await;
        speaker.block(ZERO, &corpus, 1).await;
        let complete = Complete { blake3: Some(corpus.hash()), ..Complete::default() };
        let success = speaker.complete_with(complete).await;
        // The hash of what arrived, and not of what the disk has made of it.
        assert_eq!(success.blake3, corpus.hash());
        let published = std::fs::read(server.site.document(&server.person, &name)).unwrap();
        assert_ne!(published, corpus.bytes);
        let found = verify(&server.site, &[]).await;
        let kind = format!("damaged uploads/1/{name}");
        assert!(found.kinds().contains(&kind), "{:?}", found.kinds());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_open_block_it_is_found_by_the_next_run_of_the_server() {
    let mut server = TestServer::start().await;
    let corpus = Corpus::new(2 * BLOCK, 361);
    for blocks in [true, false] {
        let name = format!("blocks {blocks}.bin");
        let mut speaker = server.speaker().await;
        let begin = Upload { blocks, ..upload(&name, &corpus) };
        let document_id = speaker.upload(begin).await.document_id;
        speaker.chunks(ZERO, &corpus, 0..BLOCK).await;
        if blocks {
            speaker.announce(ZERO, 0, corpus.value(0)).await;
        }
        speaker.chunks(ZERO, &corpus, BLOCK..BLOCK + 5000).await;
        speaker.pause().await;
        server.stop().await;
        flip(&server.site.staging(document_id), BLOCK + 4999);
        server.start_again().await;
        let mut speaker = server.speaker().await;
        let granted = speaker.resume(Resume { blocks, ..resume(document_id) }).await;
        assert_eq!(granted.offset, offset(BLOCK + 5000));
        speaker.chunks(ZERO, &corpus, BLOCK + 5000..corpus.size()).await;
        if blocks {
            // Named, and sent again alone.
            speaker.announce(ZERO, 1, corpus.value(1)).await;
            assert_eq!(speaker.error(Code::BlockMismatch).await.index.unwrap().get(), 1);
            speaker.block(ZERO, &corpus, 1).await;
            assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
            server.site.assert_published(&server.person, &name, &corpus);
        } else {
            let complete = Complete { blake3: Some(corpus.hash()), ..Complete::default() };
            speaker.complete_refused(complete, Code::HashMismatch).await;
            assert!(!server.site.document(&server.person, &name).exists());
        }
    }
    assert!(verify(&server.site, &[]).await.is_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_published_document_every_byte_counts() {
    let server = TestServer::start().await;
    for size in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
        let corpus = Corpus::new(size, 362);
        let name = format!("{size}.bin");
        completed(&server, &name, &corpus).await;
        let path = server.site.document(&server.person, &name);
        for at in [0, size / 2, size - 1] {
            flip(&path, at);
            let found = verify(&server.site, &[]).await;
            assert_eq!(found.kinds(), [format!("damaged uploads/1/{name}")], "{at}");
            flip(&path, at);
        }
    }
    assert!(verify(&server.site, &[]).await.is_well());
}
