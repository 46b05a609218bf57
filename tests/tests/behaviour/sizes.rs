//! A file of each special size arrives with the bytes that were sent, in each way of sending it.

use towline_protocol::request::{Resume, Upload};
use towline_tests::raw_client::{CHUNK, ZERO, offset, position, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile, chance};

const SIZES: [usize; 9] = [0, 1, 1023, 1024, 1025, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7];

#[tokio::test(flavor = "multi_thread")]
async fn every_size_without_blocks() {
    let server = TestServer::start().await;
    for size in SIZES {
        let test_file = TestFile::new(size, 1);
        let name = format!("plain {size}.bin");
        let mut client = server.client().await;
        let granted = client.upload(upload(&name, &test_file)).await;
        assert_eq!((granted.offset, granted.filesize), (offset(0), test_file.filesize()));
        client.chunks(ZERO, &test_file, 0..size).await;
        let success = client.complete(ZERO).await;
        assert_eq!(success.document_id, granted.document_id);
        assert_eq!(success.blake3, test_file.hash(), "size {size}");
        assert_eq!((success.filename.as_str(), success.filesize), (&*name, test_file.filesize()));
        assert!(success.durable && !success.existing);
        server.site.assert_published(&server.user, &name, &test_file);
        assert!(!server.site.staging(granted.document_id).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_with_blocks() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for size in SIZES {
        let test_file = TestFile::new(size, 2);
        let name = format!("blocks {size}.bin");
        let granted = client.upload(Upload { blocks: true, ..upload(&name, &test_file) }).await;
        client.blocks_from(ZERO, &test_file, 0).await;
        let held = client.blocks(granted.document_id).await;
        let reference: Vec<_> =
            (0..test_file.block_count()).map(|i| (i, test_file.value(i))).collect();
        assert_eq!(held, reference, "size {size}");
        let success = client.complete(ZERO).await;
        assert_eq!(success.blake3, test_file.hash(), "size {size}");
        server.site.assert_published(&server.user, &name, &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_cut_in_the_middle_and_resumed() {
    let server = TestServer::start().await;
    for size in SIZES.into_iter().filter(|size| *size > 0) {
        for blocks in [false, true] {
            let test_file = TestFile::new(size, 3);
            let name = format!("cut {blocks} {size}.bin");
            let middle = size / 2;
            let mut client = server.client().await;
            let granted = client.upload(Upload { blocks, ..upload(&name, &test_file) }).await;
            for index in 0..middle / BLOCK {
                client.chunks(ZERO, &test_file, index * BLOCK..(index + 1) * BLOCK).await;
                if blocks {
                    client.announce(ZERO, index, test_file.value(index)).await;
                }
            }
            client.chunks(ZERO, &test_file, middle / BLOCK * BLOCK..middle).await;
            let last = client.pause().await;
            assert_eq!(last.len(), 1, "one last progress");
            assert_eq!((last[0].received, last[0].durable), (offset(middle), offset(middle)));

            let mut client = server.client().await;
            let wish = Resume { blocks, ..resume(granted.document_id) };
            let from = position(client.resume(wish).await.offset);
            assert_eq!(from, middle, "size {size}, blocks {blocks}");
            if blocks {
                client.blocks_from(ZERO, &test_file, from).await;
            } else {
                client.chunks(ZERO, &test_file, from..size).await;
            }
            let success = client.complete(ZERO).await;
            assert_eq!(success.blake3, test_file.hash(), "size {size}, blocks {blocks}");
            server.site.assert_published(&server.user, &name, &test_file);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_in_any_order() {
    let server = TestServer::start().await;
    let mut chance = chance();
    for size in [BLOCK + 1, 3 * BLOCK + 7, 7 * BLOCK, 9 * BLOCK + 1024] {
        let test_file = TestFile::new(size, 4);
        let name = format!("shuffled {size}.bin");
        let mut order: Vec<usize> = (0..test_file.block_count()).collect();
        chance.shuffle(&mut order);
        println!("{order:?}");
        let mut client = server.client().await;
        let granted = client.upload(Upload { blocks: true, ..upload(&name, &test_file) }).await;
        let (first, rest) = order.split_at(order.len() / 2);
        for &index in first {
            // The announcement may also come before the bytes.
            if chance.bool() {
                client.announce(ZERO, index, test_file.value(index)).await;
                let span = index * BLOCK..test_file.block_end(index);
                client.chunks(ZERO, &test_file, span).await;
            } else {
                client.block(ZERO, &test_file, index).await;
            }
        }
        let mut held = first.to_vec();
        held.sort_unstable();
        let listed = client.blocks(granted.document_id).await;
        assert_eq!(listed, held.iter().map(|&i| (i, test_file.value(i))).collect::<Vec<_>>());
        drop(client);

        let mut client = server.client().await;
        let wish = Resume { blocks: true, ..resume(granted.document_id) };
        client.resume(wish).await;
        let listed = client.blocks(granted.document_id).await;
        assert_eq!(listed, held.iter().map(|&i| (i, test_file.value(i))).collect::<Vec<_>>());
        for &index in rest {
            client.block(ZERO, &test_file, index).await;
        }
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &name, &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_blocks_by_turns_and_chunks_of_odd_lengths() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK + 7, 5);
    let mut chance = chance();
    let mut client = server.client().await;
    client.upload(Upload { blocks: true, ..upload("turns.bin", &test_file) }).await;
    let mut at: Vec<usize> = (0..test_file.block_count()).map(|index| index * BLOCK).collect();
    while let Some(index) = {
        let open: Vec<_> = (0..at.len()).filter(|&i| at[i] < test_file.block_end(i)).collect();
        chance.choice(open)
    } {
        let end = (at[index] + chance.usize(1..3 * CHUNK)).min(test_file.block_end(index));
        client.chunk(ZERO, at[index], &test_file.bytes[at[index]..end]).await;
        at[index] = end;
        if end == test_file.block_end(index) {
            client.announce(ZERO, index, test_file.value(index)).await;
        }
    }
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "turns.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_mebibytes_and_thirteen_bytes() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100 * BLOCK + 13, 6);
    let mut client = server.client().await;
    let granted = client.upload(Upload { blocks: true, ..upload("large.bin", &test_file) }).await;
    let middle = 41 * BLOCK + 333_333;
    for index in 0..41 {
        let span = index * BLOCK..test_file.block_end(index);
        client.chunks_of(ZERO, &test_file, span, BLOCK).await;
        client.announce(ZERO, index, test_file.value(index)).await;
    }
    client.chunks(ZERO, &test_file, 41 * BLOCK..middle).await;
    let last = client.pause().await;
    assert_eq!(last[0].durable, offset(middle));

    let mut client = server.client().await;
    let wish = Resume { blocks: true, offset: Some(offset(middle)), ..resume(granted.document_id) };
    assert_eq!(client.resume(wish).await.offset, offset(middle));
    client.blocks_from(ZERO, &test_file, middle).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "large.bin", &test_file);
}
