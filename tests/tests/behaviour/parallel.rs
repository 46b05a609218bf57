//! Several connections send one file, under one lease.

use towline_protocol::request::{Complete, DocumentRef, Join, Resume, Upload};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::{CHUNK, Heard, RawClient, ZERO, join, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::Offset;

/// The `upload` of a writer that announces its blocks.
fn in_blocks(name: &str, test_file: &TestFile) -> Upload {
    Upload { blocks: true, ..upload(name, test_file) }
}

fn is_progress(heard: &Heard) -> bool {
    matches!(heard, Heard::Reply(Reply::Progress(_)))
}

/// The numbers of the held blocks.
async fn held(client: &mut RawClient, document_id: towline_types::DocumentId) -> Vec<usize> {
    client.blocks(document_id).await.into_iter().map(|(index, _)| index).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_connections_and_their_blocks_in_turn() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(9 * BLOCK + 4567, 600);
    let mut first = server.client().await;
    let granted = first.upload(in_blocks("doc.bin", &test_file)).await;
    let document_id = granted.document_id;
    let (mut second, mut third) = (server.client().await, server.client().await);
    let joined = second.join(join(&granted)).await;
    assert_eq!((joined.document_id, joined.offset), (document_id, Offset::ZERO));
    assert_eq!((joined.filesize, joined.lease), (test_file.filesize(), granted.lease));
    let channel = Channel(5);
    third.join(Join { channel, ..join(&granted) }).await;

    // The blocks are sent from the last to the first, and no connection sends two in a row; the
    // chunks of three blocks at a time interleave.
    let count = test_file.block_count();
    for round in (0..count).collect::<Vec<_>>().chunks(3).rev() {
        for step in 0..BLOCK / CHUNK {
            for (turn, &index) in round.iter().enumerate() {
                let start = index * BLOCK + step * CHUNK;
                let range =
                    start.min(test_file.size())..(start + CHUNK).min(test_file.block_end(index));
                match turn {
                    0 => third.chunks(channel, &test_file, range).await,
                    1 => first.chunks(ZERO, &test_file, range).await,
                    _ => second.chunks(ZERO, &test_file, range).await,
                }
            }
        }
        for (turn, &index) in round.iter().enumerate() {
            let value = test_file.value(index);
            match turn {
                0 => third.announce(channel, index, value).await,
                1 => first.announce(ZERO, index, value).await,
                _ => second.announce(ZERO, index, value).await,
            }
        }
    }
    // The answer to `status` shows that the server has handled everything before it.
    first.status(document_id).await;
    second.status(document_id).await;
    third.send(&Request::Status(DocumentRef { channel, document_id })).await;
    assert!(matches!(third.reply_on(channel).await, Reply::Status(_)));
    assert_eq!(held(&mut first, document_id).await, (0..count).collect::<Vec<_>>());
    // Each connection gets the progress reports.
    let whole = offset(test_file.size());
    for (client, channel) in [(&mut first, ZERO), (&mut second, ZERO), (&mut third, channel)] {
        let said = client.progress_that("a promise", |p| p.durable == whole).await;
        assert_eq!(said.channel, channel);
    }
    // Any of the connections may send `complete`.
    assert_eq!(second.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    // Later messages of the others are dropped without an answer.
    first.chunk(ZERO, 0, &[0; 100]).await;
    first.announce(ZERO, 0, test_file.value(1)).await;
    assert_eq!(first.status(document_id).await.status, "completed");
    assert!(first.heard_so_far().iter().all(is_progress));
    server.site.assert_published(&server.user, "doc.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_may_not_join_takes_nothing_over() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 601);
    let mut owner = server.client().await;
    let stale = owner.upload(in_blocks("doc.bin", &test_file)).await;
    let document_id = stale.document_id;
    let again = Resume { blocks: true, ..resume(document_id) };
    let granted = owner.resume(again).await;
    assert!(granted.lease > stale.lease, "a lease has a number of its own");

    let mut late = server.client().await;
    late.join_refused(join(&stale), Code::Superseded).await;
    // The bytes on the refused channel are dropped and never written.
    late.block(ZERO, &TestFile::new(2 * BLOCK, 602), 1).await;
    late.status(document_id).await;
    assert!(late.heard_so_far().iter().all(is_progress));

    let other = server.site.add_user("bob").await;
    let mut stranger = RawClient::login(server.address(), &other.token).await;
    let refusal = stranger.join_refused(join(&granted), Code::NotFound).await;
    assert_eq!(refusal.document_id, Some(document_id));

    // The owner of the upload has received no error.
    owner.block(ZERO, &test_file, 0).await;
    assert_eq!(owner.status(document_id).await.received, offset(BLOCK));
    let said = owner.heard_so_far();
    assert!(said.iter().all(is_progress), "{said:?}");

    // At most 16 connections send one upload.
    let mut channels: Vec<RawClient> = Vec::new();
    for _ in 1..16 {
        let mut client = server.client().await;
        client.join(join(&granted)).await;
        channels.push(client);
    }
    assert_eq!(late.join_refused(join(&granted), Code::TooMany).await.max, Some(16));
    channels.pop().unwrap().pause().await;
    late.join(join(&granted)).await;
    late.pause().await;
    drop(channels);

    // After a pause no lease is in force.
    owner.pause().await;
    let mut late = server.client().await;
    while late.status(document_id).await.active {}
    late.join_refused(join(&granted), Code::Superseded).await;
    assert!(!late.status(document_id).await.active);

    // An upload in order has one sender.
    let mut owner = server.client().await;
    let alone = owner.resume(resume(document_id)).await;
    late.join_refused(join(&alone), Code::BadState).await;
    owner.chunks(ZERO, &test_file, BLOCK..2 * BLOCK).await;
    assert_eq!(owner.complete(ZERO).await.blake3, test_file.hash());
    late.join_refused(join(&alone), Code::BadState).await;
    server.site.assert_published(&server.user, "doc.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_supersedes_all_who_had_joined() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(6 * BLOCK, 603);
    let garbage = TestFile::new(6 * BLOCK, 604);
    let mut first = server.client().await;
    let granted = first.upload(in_blocks("doc.bin", &test_file)).await;
    let document_id = granted.document_id;
    let (mut second, mut third) = (server.client().await, server.client().await);
    second.join(join(&granted)).await;
    third.join(join(&granted)).await;
    for (index, client) in [&mut first, &mut second, &mut third].into_iter().enumerate() {
        client.block(ZERO, &test_file, index).await;
        client.status(document_id).await;
    }
    // Each connection is in the middle of a block.
    second.chunks(ZERO, &test_file, 3 * BLOCK..3 * BLOCK + 2 * CHUNK).await;
    third.chunks(ZERO, &test_file, 4 * BLOCK..4 * BLOCK + 2 * CHUNK).await;
    second.status(document_id).await;
    third.status(document_id).await;

    let mut newer = server.client().await;
    let resumed = newer.resume(Resume { blocks: true, ..resume(document_id) }).await;
    assert_eq!(resumed.offset, offset(3 * BLOCK + 2 * CHUNK));
    for client in [&mut first, &mut second, &mut third] {
        client.error(Code::Superseded).await;
        for index in 3..6 {
            client.block(ZERO, &garbage, index).await;
        }
        client.chunks(ZERO, &garbage, 3 * BLOCK + 2 * CHUNK..4 * BLOCK).await;
        client.send_json(r#"{"action":"withdraw","ranges":[[0,3]]}"#).await;
        client.send(&Request::Complete(Complete::default())).await;
        client.status(document_id).await;
        let said = client.heard_so_far();
        assert!(said.iter().all(is_progress), "{said:?}");
    }
    assert_eq!(held(&mut newer, document_id).await, [0, 1, 2]);
    // With the old lease the two cannot join again, neither now nor after a restart.
    second.join_refused(join(&granted), Code::Superseded).await;
    newer.blocks_from(ZERO, &test_file, 3 * BLOCK + 2 * CHUNK).await;
    newer.status(document_id).await;
    newer.pause().await;
    server.restart().await;
    let mut newer = server.client().await;
    newer.resume(Resume { blocks: true, ..resume(document_id) }).await;
    for old in [&granted, &resumed] {
        server.client().await.join_refused(join(old), Code::Superseded).await;
    }
    assert_eq!(newer.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_cut_and_only_its_block_travels_again() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(8 * BLOCK, 605);
    let proxy = FaultProxy::start(server.address(), [Faults::none(), Faults::none()]).await;
    let mut first = RawClient::login(proxy.address(), &server.user.token).await;
    let mut second = RawClient::login(proxy.address(), &server.user.token).await;
    let granted = first.upload(in_blocks("doc.bin", &test_file)).await;
    let document_id = granted.document_id;
    second.join(join(&granted)).await;

    // The second connection sends the blocks 0 and 1, and is cut in the middle of block 1.
    second.block(ZERO, &test_file, 0).await;
    second.chunks(ZERO, &test_file, BLOCK..BLOCK + 300_000).await;
    let half = offset(BLOCK + 300_000);
    // The half block may be promised durable, because it follows the bytes without a gap.
    first.progress_that("a promise", |p| p.durable == half).await;
    let (one, two) = (proxy.link(0).await, proxy.link(1).await);
    two.cut();
    second.ended().await;
    // The first connection continues undisturbed.
    for index in 2..8 {
        first.block(ZERO, &test_file, index).await;
    }
    first.status(document_id).await;
    assert_eq!(held(&mut first, document_id).await, [0, 2, 3, 4, 5, 6, 7]);
    // A begun block continues at its last byte, or is withdrawn and sent from its first byte.
    let withdrawn = first.withdraw(ZERO, &[(1, 1)]).await;
    assert_eq!(withdrawn.offset, offset(BLOCK));
    first.block(ZERO, &test_file, 1).await;
    assert_eq!(first.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    let passed = one.passed() + two.passed();
    let again = passed - test_file.size() as u64;
    println!("{again} bytes beyond the file, framing and all");
    assert!(again < 300_000 + 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_begun_block_is_gone_on_with_by_another() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 606);
    let mut first = server.client().await;
    let granted = first.upload(in_blocks("doc.bin", &test_file)).await;
    let document_id = granted.document_id;
    let mut second = server.client().await;
    second.join(join(&granted)).await;
    // The block does not follow the bytes without a gap, so it is known only under this lease.
    second.chunks(ZERO, &test_file, BLOCK..BLOCK + 5 * CHUNK).await;
    second.pause().await;
    first.chunks(ZERO, &test_file, BLOCK + 5 * CHUNK..2 * BLOCK).await;
    first.announce(ZERO, 1, test_file.value(1)).await;
    for index in [0, 2] {
        first.block(ZERO, &test_file, index).await;
    }
    first.status(document_id).await;
    assert_eq!(first.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_may_leave_and_the_last_pauses() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(4 * BLOCK, 607);
    let mut first = server.client().await;
    let granted = first.upload(in_blocks("doc.bin", &test_file)).await;
    let document_id = granted.document_id;
    let (mut second, mut third) = (server.client().await, server.client().await);
    second.join(join(&granted)).await;
    first.block(ZERO, &test_file, 0).await;
    // One connection under the lease is enough for others to join.
    let last = first.pause().await;
    assert_eq!(last[0].durable, offset(BLOCK), "a pause makes durable and says so");
    third.join(join(&granted)).await;
    second.block(ZERO, &test_file, 2).await;
    third.block(ZERO, &test_file, 1).await;
    assert!(second.status(document_id).await.active);
    third.status(document_id).await;
    // The error about a damaged block goes to the connection that has sent the block.
    let wrong = TestFile::new(4 * BLOCK, 608);
    third.chunks(ZERO, &wrong, 3 * BLOCK..4 * BLOCK).await;
    third.announce(ZERO, 3, test_file.value(3)).await;
    assert_eq!(third.error(Code::BlockMismatch).await.index.map(|i| i.get()), Some(3));
    second.status(document_id).await;
    let said = second.heard_so_far();
    assert!(said.iter().all(is_progress), "{said:?}");
    third.pause().await;
    second.pause().await;
    let mut fourth = server.client().await;
    while fourth.status(document_id).await.active {}
    fourth.join_refused(join(&granted), Code::Superseded).await;
    let resumed = fourth.resume(Resume { blocks: true, ..resume(document_id) }).await;
    assert_eq!(resumed.offset, offset(3 * BLOCK));
    fourth.block(ZERO, &test_file, 3).await;
    assert_eq!(fourth.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_upload_is_told_to_every_joined_connection() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 609);
    let mut first = server.client().await;
    let granted = first.upload(in_blocks("doc.bin", &test_file)).await;
    let mut others = [server.client().await, server.client().await];
    for other in &mut others {
        other.join(join(&granted)).await;
    }
    server.client().await.cancel(granted.document_id).await;
    for client in others.iter_mut().chain([&mut first]) {
        client.error(Code::Cancelled).await;
    }
}
