//! Chunks in the wrong place, and more bytes than were announced.

use towline_protocol::Code;
use towline_protocol::request::{Resume, Upload};
use towline_tests::raw_client::{CHUNK, ZERO, offset, position, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn chunks_in_the_wrong_place_are_refused_with_the_right_one() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 115);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..2 * CHUNK).await;
    // Below the offset, beyond it, and the same chunk again.
    for wrong in [0, 2 * CHUNK + 1, CHUNK, BLOCK - CHUNK] {
        client.chunk(ZERO, wrong, &test_file.bytes[wrong..(wrong + CHUNK).min(BLOCK)]).await;
        let error = client.error(Code::OffsetMismatch).await;
        assert_eq!(error.expected, Some(offset(2 * CHUNK)));
        assert_eq!(client.resume(resume(document_id)).await.offset, offset(2 * CHUNK));
    }
    client.chunks(ZERO, &test_file, 2 * CHUNK..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_blocks_a_chunk_must_continue_a_block_or_begin_one() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 116);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("doc.pdf", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    client.block(ZERO, &test_file, 1).await;
    client.chunks(ZERO, &test_file, 0..1000).await;
    // Into a held block, into the middle of a block that has not begun, and before and beyond the
    // end of a block that has begun.
    for wrong in [BLOCK, BLOCK + 5, 2 * BLOCK + 1, 0, 999, 1001] {
        client.chunk(ZERO, wrong, &test_file.bytes[wrong..wrong + 100]).await;
        client.error(Code::OffsetMismatch).await;
        let wish = Resume { blocks: true, ..resume(document_id) };
        assert_eq!(client.resume(wish).await.offset, offset(1000));
    }
    // A chunk that reaches from a begun block into a held one: its first part is kept.
    client.chunks(ZERO, &test_file, 1000..BLOCK - 100).await;
    client.chunk(ZERO, BLOCK - 100, &test_file.bytes[BLOCK - 100..BLOCK + 100]).await;
    client.error(Code::OffsetMismatch).await;
    let wish = Resume { blocks: true, ..resume(document_id) };
    client.resume(wish).await;
    client.announce(ZERO, 0, test_file.value(0)).await;
    client.block(ZERO, &test_file, 2).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_beyond_the_announced_size_are_not_written() {
    let server = TestServer::start().await;
    for blocks in [false, true] {
        for size in [0, 1, 100_000, BLOCK, BLOCK + 1] {
            let whole = TestFile::new(size + 1, 117);
            let test_file = TestFile { bytes: whole.bytes[..size].to_vec() };
            let name = format!("{blocks} {size}.bin");
            let mut client = server.client().await;
            let begin = Upload { blocks, ..upload(&name, &test_file) };
            let document_id = client.upload(begin).await.document_id;
            client.chunks(ZERO, &whole, 0..size.saturating_sub(100)).await;
            client.chunks(ZERO, &whole, size.saturating_sub(100)..size + 1).await;
            let error = client.error(Code::SizeExceeded).await;
            assert_eq!(error.max, Some(size as u64));
            let wish = Resume { blocks, ..resume(document_id) };
            let from = client.resume(wish).await.offset;
            assert!(from <= offset(size));
            let staged = server.site.staging(document_id).metadata().unwrap().len();
            assert!(staged <= size as u64, "{staged} of {size}");
            let from = position(from);
            client.chunks(ZERO, &test_file, from..size).await;
            if blocks {
                for index in 0..test_file.block_count() {
                    client.announce(ZERO, index, test_file.value(index)).await;
                }
            }
            assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
            server.site.assert_published(&server.user, &name, &test_file);
        }
    }
}
