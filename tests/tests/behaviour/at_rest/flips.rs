//! A bit that turns on the disk.
//!
//! The server hashes bytes as they arrive and does not read them again: by design `complete` needs
//! no second pass. So a bit that turns *later*, in a block that was complete, is found only by
//! `towlined verify`, before the document is published or after. Only the one block that was not
//! complete is read back, by a resume after a restart of the server.

use crate::verify::{completed, verify};
use towline_protocol::Code;
use towline_protocol::request::{Complete, Resume, Upload};
use towline_tests::raw_client::{ZERO, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::tamper::flip;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_in_a_block_that_was_whole_is_found_by_verify_alone() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 360);
    for restarted in [false, true] {
        let name = format!("restarted {restarted}.bin");
        let mut client = server.client().await;
        let begin = Upload { blocks: true, ..upload(&name, &test_file) };
        let document_id = client.upload(begin).await.document_id;
        client.block(ZERO, &test_file, 0).await;
        client.pause().await;
        flip(&server.site.staging(document_id), 77);
        if restarted {
            server.restart().await;
        }
        let found = verify(&server.site, &[]).await;
        let kind = format!("upload_damaged uploads/.staging/{document_id}.tmp");
        assert!(found.kinds().contains(&kind), "{:?}", found.kinds());

        let mut client = server.client().await;
        client.resume(Resume { blocks: true, ..resume(document_id) }).await;
        client.block(ZERO, &test_file, 1).await;
        let complete = Complete { blake3: Some(test_file.hash()), ..Complete::default() };
        let success = client.complete_with(complete).await;
        // The hash of the bytes that arrived, not of the bytes that the disk has now.
        assert_eq!(success.blake3, test_file.hash());
        let published = std::fs::read(server.site.document(&server.user, &name)).unwrap();
        assert_ne!(published, test_file.bytes);
        let found = verify(&server.site, &[]).await;
        let kind = format!("damaged uploads/1/{name}");
        assert!(found.kinds().contains(&kind), "{:?}", found.kinds());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_in_the_open_block_is_found_by_the_next_run_of_the_server() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 361);
    for blocks in [true, false] {
        let name = format!("blocks {blocks}.bin");
        let mut client = server.client().await;
        let begin = Upload { blocks, ..upload(&name, &test_file) };
        let document_id = client.upload(begin).await.document_id;
        client.chunks(ZERO, &test_file, 0..BLOCK).await;
        if blocks {
            client.announce(ZERO, 0, test_file.value(0)).await;
        }
        client.chunks(ZERO, &test_file, BLOCK..BLOCK + 5000).await;
        client.pause().await;
        server.stop().await;
        flip(&server.site.staging(document_id), BLOCK + 4999);
        server.start_again().await;
        let mut client = server.client().await;
        let granted = client.resume(Resume { blocks, ..resume(document_id) }).await;
        assert_eq!(granted.offset, offset(BLOCK + 5000));
        client.chunks(ZERO, &test_file, BLOCK + 5000..test_file.size()).await;
        if blocks {
            // The error names the block, and only this block is sent again.
            client.announce(ZERO, 1, test_file.value(1)).await;
            assert_eq!(client.error(Code::BlockMismatch).await.index.unwrap().get(), 1);
            client.block(ZERO, &test_file, 1).await;
            assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
            server.site.assert_published(&server.user, &name, &test_file);
        } else {
            let complete = Complete { blake3: Some(test_file.hash()), ..Complete::default() };
            client.complete_refused(complete, Code::HashMismatch).await;
            assert!(!server.site.document(&server.user, &name).exists());
        }
    }
    assert!(verify(&server.site, &[]).await.is_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_of_any_byte_of_a_published_document_is_found() {
    let server = TestServer::start().await;
    for size in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
        let test_file = TestFile::new(size, 362);
        let name = format!("{size}.bin");
        completed(&server, &name, &test_file).await;
        let path = server.site.document(&server.user, &name);
        for at in [0, size / 2, size - 1] {
            flip(&path, at);
            let found = verify(&server.site, &[]).await;
            assert_eq!(found.kinds(), [format!("damaged uploads/1/{name}")], "{at}");
            flip(&path, at);
        }
    }
    assert!(verify(&server.site, &[]).await.is_well());
}
