//! The document has the bytes that were sent, or the difference is found: at once with blocks, at
//! the end with a hash.

use towline_protocol::Code;
use towline_protocol::request::{Complete, Resume, Upload};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::{CHUNK, RawClient, ZERO, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::FileHash;

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_turned_on_the_wire_costs_one_block() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(4 * BLOCK + 77, 60);
    for (broken, within) in [(0, 0), (2, 700_001), (3, BLOCK - 1), (4, 76)] {
        let name = format!("flip {broken}.bin");
        let proxy = FaultProxy::start(server.address(), [Faults::none()]).await;
        let mut client = RawClient::login(proxy.address(), &server.user.token).await;
        let begin = Upload { blocks: true, ..upload(&name, &test_file) };
        let document_id = client.upload(begin).await.document_id;
        for index in 0..test_file.block_count() {
            if index == broken {
                let heads = (within / CHUNK + 1) as u64 * 17;
                let place = client.sent_bytes() + heads + within as u64;
                proxy.link(0).await.change(|faults| faults.flip_at = Some(place));
            }
            client.block(ZERO, &test_file, index).await;
        }
        let error = client.error(Code::BlockMismatch).await;
        assert_eq!(error.index.unwrap().get(), broken as u64);
        assert_eq!(error.document_id, Some(document_id));
        let held: Vec<usize> = client.blocks(document_id).await.iter().map(|b| b.0).collect();
        let others: Vec<usize> = (0..test_file.block_count()).filter(|&i| i != broken).collect();
        assert_eq!(held, others, "the other blocks are untouched");
        let refused = client.complete_refused(Complete::default(), Code::Incomplete).await;
        assert_eq!(refused.expected, Some(offset(broken * BLOCK)));
        // Only this block is sent again.
        client.block(ZERO, &test_file, broken).await;
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &name, &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_turned_on_the_wire_costs_one_block() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK + 1, 61);
    let mut client = server.client().await;
    client.upload(Upload { blocks: true, ..upload("flip.bin", &test_file) }).await;
    client.block(ZERO, &test_file, 0).await;
    client.announce(ZERO, 1, test_file.value(0)).await;
    client.chunks(ZERO, &test_file, BLOCK..2 * BLOCK).await;
    assert_eq!(client.error(Code::BlockMismatch).await.index.unwrap().get(), 1);
    client.block(ZERO, &test_file, 1).await;
    client.block(ZERO, &test_file, 2).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "flip.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_block_announced_with_another_value_is_dropped() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 62);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("again.bin", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    client.block(ZERO, &test_file, 0).await;
    client.block(ZERO, &test_file, 1).await;
    // The same value again changes nothing.
    client.announce(ZERO, 0, test_file.value(0)).await;
    client.announce(ZERO, 0, test_file.value(1)).await;
    assert_eq!(client.error(Code::BlockMismatch).await.index.unwrap().get(), 0);
    assert_eq!(client.blocks(document_id).await, [(1, test_file.value(1))]);
    client.block(ZERO, &test_file, 0).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_never_announced_is_not_complete() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 63);
    let mut client = server.client().await;
    client.upload(Upload { blocks: true, ..upload("mute.bin", &test_file) }).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.announce(ZERO, 0, test_file.value(0)).await;
    client.complete_refused(Complete::default(), Code::Incomplete).await;
    client.announce(ZERO, 1, test_file.value(1)).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

/// Checks that `complete` with this hash fails the upload for good.
async fn fails_for_good(server: &TestServer, client: &mut RawClient, name: &str, hash: FileHash) {
    let question = towline_tests::raw_client::find(name, TestFile::new(BLOCK + 5000, 0).filesize());
    let unfinished = client.find(question.clone()).await.unfinished.unwrap();
    let wrong = Complete { blake3: Some(hash), ..Complete::default() };
    client.complete_refused(wrong, Code::HashMismatch).await;
    assert!(!server.site.document(&server.user, name).exists());
    let status = client.status(unfinished.document_id).await;
    assert_eq!(status.status, "failed");
    assert!(status.reason.is_some());
    assert_eq!(client.find(question).await.unfinished, None);
    client.resume_refused(resume(unfinished.document_id), Code::Failed).await;
    let by_number = Complete { document_id: Some(unfinished.document_id), ..Complete::default() };
    client.complete_refused(by_number, Code::Failed).await;
    server.site.state_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hash_of_the_whole_fails_the_upload() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 5000, 64);
    for blocks in [false, true] {
        let name = format!("whole {blocks}.bin");
        let mut client = server.client().await;
        client.upload(Upload { blocks, ..upload(&name, &test_file) }).await;
        if blocks {
            client.blocks_from(ZERO, &test_file, 0).await;
        } else {
            client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        }
        fails_for_good(&server, &mut client, &name, TestFile::new(1, 1).hash()).await;
        // The user may begin again.
        client.upload(upload(&name, &test_file)).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        let right = Complete { blake3: Some(test_file.hash()), ..Complete::default() };
        assert_eq!(client.complete_with(right).await.filename, name);
        server.site.assert_published(&server.user, &name, &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_turned_on_the_wire_without_blocks_is_found_by_the_hash() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 5000, 65);
    let proxy = FaultProxy::start(server.address(), [Faults::none()]).await;
    let mut client = RawClient::login(proxy.address(), &server.user.token).await;
    client.upload(upload("flip.bin", &test_file)).await;
    let place = client.sent_bytes() + 17 + 12_345;
    proxy.link(0).await.change(|faults| faults.flip_at = Some(place));
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    fails_for_good(&server, &mut client, "flip.bin", test_file.hash()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_blocks_are_taken_back_and_sent_anew() {
    let server = TestServer::start().await;
    let old = TestFile::new(5 * BLOCK + 300, 66);
    let mut new = old.clone();
    let other = TestFile::new(old.size(), 67);
    for index in [1, 3, 5] {
        let span = index * BLOCK..old.block_end(index);
        new.bytes[span.clone()].copy_from_slice(&other.bytes[span]);
    }
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("changed.bin", &old) };
    let document_id = client.upload(begin).await.document_id;
    client.blocks_from(ZERO, &old, 0).await;
    client.pause().await;

    let mut client = server.client().await;
    client.resume(Resume { blocks: true, ..resume(document_id) }).await;
    let held = client.blocks(document_id).await;
    let changed: Vec<usize> =
        held.iter().filter(|(index, value)| new.value(*index) != *value).map(|b| b.0).collect();
    assert_eq!(changed, [1, 3, 5]);
    // A range may reach beyond the last block.
    let granted = client.withdraw(ZERO, &[(1, 1), (3, 1), (5, 100)]).await;
    assert_eq!((granted.document_id, granted.offset), (document_id, offset(BLOCK)));
    let left: Vec<usize> = client.blocks(document_id).await.iter().map(|b| b.0).collect();
    assert_eq!(left, [0, 2, 4]);
    let status = client.status(document_id).await;
    assert_eq!((status.received, status.durable), (offset(BLOCK), offset(BLOCK)));
    for index in [5, 1, 3] {
        client.block(ZERO, &new, index).await;
    }
    assert_eq!(client.complete(ZERO).await.blake3, new.hash());
    server.site.assert_published(&server.user, "changed.bin", &new);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_stays_withdrawn_after_a_restart() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 68);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("back.bin", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    client.block(ZERO, &test_file, 0).await;
    client.block(ZERO, &test_file, 1).await;
    client.withdraw(ZERO, &[(0, 1)]).await;
    server.restart().await;
    let mut client = server.client().await;
    let granted = client.resume(Resume { blocks: true, ..resume(document_id) }).await;
    assert_eq!(granted.offset, offset(0));
    assert_eq!(client.blocks(document_id).await, [(1, test_file.value(1))]);
    client.block(ZERO, &test_file, 2).await;
    client.block(ZERO, &test_file, 0).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "back.bin", &test_file);
}
