//! An upload continues exactly where it stopped, whatever stopped it, and no held byte is
//! overwritten.

use std::time::Duration;
use towline_protocol::request::{Complete, Find, Resume, Upload};
use towline_protocol::{Code, Reply, Request};
use towline_tests::process::ServerProcess;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::{
    CHUNK, RawClient, ZERO, about, chunk_frames, find, offset, position, resume, upload,
};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile, chance};

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_is_granted_at_the_offset_of_the_pause() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 10);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..200_000).await;
    client.pause().await;

    let mut client = server.client().await;
    let wish = Resume {
        offset: Some(offset(200_000)),
        filename: Some("doc.pdf".to_owned()),
        filesize: Some(test_file.filesize()),
        user_id: Some(server.user.id),
        ..resume(document_id)
    };
    let granted = client.resume(wish).await;
    assert_eq!((granted.document_id, granted.offset), (document_id, offset(200_000)));
    assert_eq!(granted.filesize, test_file.filesize());
    client.chunks(ZERO, &test_file, 200_000..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_offset_is_told_the_right_one_and_changes_nothing() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 11);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..200_000).await;
    client.pause().await;

    let mut client = server.client().await;
    for wrong in [0, 1, 199_999, 200_001, BLOCK, BLOCK + 1] {
        let wish = Resume { offset: Some(offset(wrong)), ..resume(document_id) };
        let error = client.resume_refused(wish, Code::OffsetMismatch).await;
        assert_eq!(error.expected, Some(offset(200_000)), "{error:?}");
        assert_eq!(error.document_id, Some(document_id));
    }
    assert!(!client.status(document_id).await.active, "a refused resume takes nothing over");
    let wish = Resume { offset: Some(offset(200_000)), ..resume(document_id) };
    assert_eq!(client.resume(wish).await.offset, offset(200_000));
    client.chunks(ZERO, &test_file, 200_000..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_never_written_over_or_doubled() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 5, 12);
    let other = TestFile::new(BLOCK + 5, 13);
    for blocks in [false, true] {
        let name = format!("doc {blocks}.pdf");
        let mut client = server.client().await;
        let begin = Upload { blocks, ..upload(&name, &test_file) };
        let document_id = client.upload(begin).await.document_id;
        client.chunks(ZERO, &test_file, 0..200_000).await;
        // Before, across and beyond the offset of the upload.
        for wrong in [0..CHUNK, 150_000..210_000, 200_001..200_100, 65_536..65_537] {
            client.chunk(ZERO, wrong.start, &other.bytes[wrong.clone()]).await;
            let error = client.error(Code::OffsetMismatch).await;
            assert_eq!(error.expected, Some(offset(200_000)), "{wrong:?}");
            // The channel is refused, so later messages on it are dropped without an answer.
            client.chunk(ZERO, 200_000, &other.bytes[200_000..200_100]).await;
            client.send(&Request::Complete(Complete::default())).await;
            client.ping().await;
            assert_eq!(client.heard_so_far().iter().filter(|h| is_error(h)).count(), 0);
            let wish = Resume { blocks, offset: Some(offset(200_000)), ..resume(document_id) };
            assert_eq!(client.resume(wish).await.offset, offset(200_000));
        }
        if blocks {
            client.blocks_from(ZERO, &test_file, 200_000).await;
        } else {
            client.chunks(ZERO, &test_file, 200_000..test_file.size()).await;
        }
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &name, &test_file);
    }
}

fn is_error(heard: &towline_tests::raw_client::Heard) -> bool {
    matches!(heard, towline_tests::raw_client::Heard::Reply(Reply::Error(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_paused_uploads_at_once() {
    let server = TestServer::start().await;
    let files: Vec<_> =
        (0..8).map(|i| TestFile::new(BLOCK / 2 + 1000 * i, 20 + i as u64)).collect();
    let mut documents = Vec::new();
    for (i, test_file) in files.iter().enumerate() {
        let mut client = server.client().await;
        let granted = client.upload(upload(&format!("{i}.bin"), test_file)).await;
        client.chunks(ZERO, test_file, 0..50_001 * (i + 1)).await;
        client.pause().await;
        documents.push(granted.document_id);
    }
    for (i, test_file) in files.iter().enumerate().rev() {
        let mut client = server.client().await;
        let from = position(client.resume(resume(documents[i])).await.offset);
        assert_eq!(from, 50_001 * (i + 1));
        client.chunks(ZERO, test_file, from..test_file.size()).await;
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &format!("{i}.bin"), test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_in_good_order_nothing_is_sent_again() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 14);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..BLOCK + 77_777).await;
    client.has_received(document_id, BLOCK + 77_777).await;
    server.restart().await;

    let mut client = server.client().await;
    let from = position(client.resume(resume(document_id)).await.offset);
    assert_eq!(from, BLOCK + 77_777);
    client.chunks(ZERO, &test_file, from..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_what_was_durable_is_there() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    for blocks in [false, true] {
        let test_file = TestFile::new(6 * BLOCK, 15);
        let name = format!("doc {blocks}.pdf");
        let mut client = RawClient::login(server.address(), &user.token).await;
        let begin = Upload { blocks, ..upload(&name, &test_file) };
        let document_id = client.upload(begin).await.document_id;
        let mut sent = 4 * BLOCK + 123_456;
        for index in 0..4 {
            client.chunks(ZERO, &test_file, index * BLOCK..(index + 1) * BLOCK).await;
            if blocks {
                client.announce(ZERO, index, test_file.value(index)).await;
            }
        }
        client.chunks(ZERO, &test_file, 4 * BLOCK..sent).await;
        let durable = client.progress_that("a durable offset", |p| p.durable > offset(0)).await;
        client.chunks(ZERO, &test_file, sent..sent + 1000).await;
        sent += 1000;
        server.kill_and_start_again().await;

        let mut client = RawClient::login(server.address(), &user.token).await;
        let granted = client.resume(Resume { blocks, ..resume(document_id) }).await;
        let from = position(granted.offset);
        println!("durable {}, resumed at {from}, sent {sent}", durable.durable);
        assert!(granted.offset >= durable.durable, "a promise was broken");
        assert!(from <= sent);
        if blocks {
            // A block may have arrived completely and been promised before its value arrived.
            let held = client.blocks(document_id).await;
            for index in held.len()..from / BLOCK {
                client.announce(ZERO, index, test_file.value(index)).await;
            }
            client.blocks_from(ZERO, &test_file, from).await;
        } else {
            client.chunks(ZERO, &test_file, from..test_file.size()).await;
        }
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        site.assert_published(&user, &name, &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_cuts_at_random_bytes() {
    let server = TestServer::start().await;
    // More than 20 times the largest number of bytes before a cut.
    let test_file = TestFile::new(9 * BLOCK + 99, 16);
    let mut chance = chance();
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut client = RawClient::login(proxy.address(), &server.user.token).await;
    let document_id = client.upload(upload("cut.bin", &test_file)).await.document_id;
    let mut from = 0;
    let mut sent_again = 0;
    for round in 0..20 {
        let link = proxy.link(round).await;
        let end = from + chance.usize(1..400_000);
        // In the middle of a frame, in its payload or in its head.
        let place = client.sent_bytes() + (end - from) as u64 + chance.u64(0..40);
        link.change(|faults| match round % 2 {
            0 => faults.cut_after = Some(place),
            _ => faults.reset_after = Some(place),
        });
        let frames = frames(&test_file, from);
        let _ = client.try_send_raw(&frames).await;
        link.ended().await;
        client = RawClient::login(proxy.address(), &server.user.token).await;
        let granted = position(client.resume(resume(document_id)).await.offset);
        assert!(granted >= from, "round {round}: {granted} after {from}");
        assert!(granted <= end + 40, "round {round}: {granted}, sent to {end}");
        sent_again += end.saturating_sub(granted);
        from = granted;
    }
    println!("about {sent_again} bytes sent again in twenty cuts");
    client.chunks(ZERO, &test_file, from..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "cut.bin", &test_file);
}

/// At most ten chunks from this offset on: more bytes than pass before the cut.
fn frames(test_file: &TestFile, from: usize) -> Vec<u8> {
    chunk_frames(ZERO, test_file, from..test_file.size(), CHUNK).take(10).flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_chunk_that_was_cut_counts() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 17);
    let proxy = FaultProxy::start(server.address(), [Faults::none()]).await;
    let mut client = RawClient::login(proxy.address(), &server.user.token).await;
    let document_id = client.upload(upload("cut.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..100_000).await;
    let link = proxy.link(0).await;
    link.change(|faults| faults.cut_after = Some(client.sent_bytes() + 17 + 40_000));
    let _ = client.try_send_raw(&frames(&test_file, 100_000)).await;
    link.ended().await;
    let mut client = server.client().await;
    // The proxy has cut the link; the server notices that, and takes in its last bytes, a little
    // later.
    client.has_received(document_id, 140_000).await;
    assert_eq!(client.resume(resume(document_id)).await.offset, offset(140_000));
    client.chunks(ZERO, &test_file, 140_000..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_pieces_of_one_byte() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(30_011, 18);
    let faults = Faults { segment: Some(1), ..Faults::none() };
    let proxy = FaultProxy::start(server.address(), [faults]).await;
    let mut client = RawClient::login(proxy.address(), &server.user.token).await;
    client.upload(Upload { blocks: true, ..upload("crumbs.bin", &test_file) }).await;
    client.chunks_of(ZERO, &test_file, 0..test_file.size(), 1000).await;
    client.announce(ZERO, 0, test_file.value(0)).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "crumbs.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_lost_its_notes_finds_its_upload() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 19);
    let folder = vec!["lectures".to_owned(), "2024".to_owned()];
    let mut client = server.client().await;
    let begin = Upload { folder: folder.clone(), ..upload("doc.pdf", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    client.chunks(ZERO, &test_file, 0..300_000).await;
    client.pause().await;
    for _ in 0..2 {
        let mut client = server.client().await;
        let question = Find { folder: folder.clone(), ..find("doc.pdf", test_file.filesize()) };
        let unfinished = client.find(question.clone()).await.unfinished.unwrap();
        assert_eq!((unfinished.document_id, unfinished.offset), (document_id, offset(300_000)));
        let another_size = TestFile::new(BLOCK + 1, 19).filesize();
        for other in [
            find("doc.pdf", test_file.filesize()),
            Find { filename: "doc2.pdf".to_owned(), ..question.clone() },
            Find { filesize: another_size, ..question },
        ] {
            assert_eq!(client.find(other).await.unfinished, None);
        }
        server.restart().await;
    }
    let bob = server.site.add_user("bob").await;
    let mut stranger = RawClient::login(server.address(), &bob.token).await;
    let question = Find { folder, ..find("doc.pdf", test_file.filesize()) };
    assert_eq!(stranger.find(question).await.unfinished, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_was_lost_is_given_again() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(70_000, 26);
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut client = RawClient::login(proxy.address(), &server.user.token).await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    let link = proxy.link(0).await;
    link.change(|faults| faults.drop_replies = true);
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.send(&Request::Complete(Complete::default())).await;
    // Another connection is told that the document is completed.
    let mut other = server.client().await;
    let mut status = other.status(document_id).await;
    while status.status != "completed" {
        tokio::task::yield_now().await;
        status = other.status(document_id).await;
    }
    link.cut();
    other.send(&Request::Resume(resume(document_id))).await;
    let receipt = other.success_on(ZERO).await;
    assert_eq!((receipt.blake3, receipt.filename.as_str()), (test_file.hash(), "doc.pdf"));
    let by_number = Complete { document_id: Some(document_id), ..Complete::default() };
    assert_eq!(other.complete_with(by_number.clone()).await, receipt);
    server.restart().await;
    let mut again = server.client().await;
    assert_eq!(again.complete_with(by_number).await, receipt);
    assert_eq!(status.blake3, Some(test_file.hash()));
    assert_eq!(status.created_at, Some(receipt.created_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_blocks_after_without_and_the_other_way_round() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(4 * BLOCK + 5000, 27);
    for first_with in [false, true] {
        let name = format!("{first_with}.bin");
        let mut client = server.client().await;
        let begin = Upload { blocks: first_with, ..upload(&name, &test_file) };
        let document_id = client.upload(begin).await.document_id;
        let middle = 2 * BLOCK + 400_000;
        for index in 0..2 {
            client.chunks(ZERO, &test_file, index * BLOCK..(index + 1) * BLOCK).await;
            if first_with {
                client.announce(ZERO, index, test_file.value(index)).await;
            }
        }
        client.chunks(ZERO, &test_file, 2 * BLOCK..middle).await;
        client.pause().await;
        let mut client = server.client().await;
        let wish = Resume { blocks: !first_with, ..resume(document_id) };
        assert_eq!(client.resume(wish).await.offset, offset(middle));
        let held = client.blocks(document_id).await;
        assert_eq!(held, [(0, test_file.value(0)), (1, test_file.value(1))]);
        if first_with {
            client.chunks(ZERO, &test_file, middle..test_file.size()).await;
        } else {
            client.blocks_from(ZERO, &test_file, middle).await;
        }
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &name, &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_blocks_the_offset_passes_over_blocks_that_are_held() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(4 * BLOCK, 28);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("holes.bin", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    client.block(ZERO, &test_file, 1).await;
    client.block(ZERO, &test_file, 3).await;
    client.pause().await;
    let mut client = server.client().await;
    assert_eq!(client.resume(resume(document_id)).await.offset, offset(0));
    client.chunks(ZERO, &test_file, 0..BLOCK).await;
    client.chunk(ZERO, BLOCK, &test_file.bytes[BLOCK..BLOCK + 100]).await;
    let error = client.error(Code::OffsetMismatch).await;
    assert_eq!(error.expected, Some(offset(2 * BLOCK)));
    let wish = Resume { offset: Some(offset(2 * BLOCK)), ..resume(document_id) };
    client.resume(wish).await;
    client.chunks(ZERO, &test_file, 2 * BLOCK..3 * BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "holes.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_arrived_without_its_announcement_needs_only_that() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 29);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("late.bin", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    client.block(ZERO, &test_file, 0).await;
    // All bytes of block 1, without its value: the offset is at the end of the block.
    client.chunks(ZERO, &test_file, BLOCK..2 * BLOCK).await;
    client.pause().await;

    let mut client = server.client().await;
    let granted = client.resume(Resume { blocks: true, ..resume(document_id) }).await;
    assert_eq!(granted.offset, offset(2 * BLOCK));
    assert_eq!(client.blocks(document_id).await, [(0, test_file.value(0))]);
    client.announce(ZERO, 1, test_file.value(1)).await;
    client.block(ZERO, &test_file, 2).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "late.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seven_days_begin_anew_with_each_byte() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 30);
    let mut client = server.client().await;
    let document_id = client.upload(upload("slow.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..1000).await;
    client.pause().await;
    let six_days = Duration::from_secs(6 * 86_400);
    for step in 1..4 {
        server.clock.advance(six_days);
        let mut client = server.client().await;
        let granted = client.resume(resume(document_id)).await;
        assert_eq!(granted.offset, offset(step * 1000));
        client.chunks(ZERO, &test_file, step * 1000..(step + 1) * 1000).await;
        client.pause().await;
    }
    let mut client = server.client().await;
    client.send(&Request::Status(about(document_id))).await;
    let Reply::Status(status) = client.reply().await else { panic!() };
    let left = status.expires_at.unwrap().since(server.clock.now());
    assert!(left <= Duration::from_secs(7 * 86_400) && left > Duration::from_secs(6 * 86_400));
}
