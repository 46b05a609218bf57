//! What was begun is continued: exactly where it stopped, never over what is
//! there, after whatever stopped it.

use std::time::Duration;
use towline_protocol::request::{Complete, Find, Resume, Upload};
use towline_protocol::{Code, Reply, Request};
use towline_tests::corpus::{BLOCK, Corpus, chance};
use towline_tests::process::ServerProcess;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::speaker::{CHUNK, Speaker, ZERO, about, find, offset, position, resume, upload};

#[tokio::test(flavor = "multi_thread")]
async fn granted_where_everything_is_as_it_was() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 10);
    let mut speaker = server.speaker().await;
    let document_id = speaker.upload(upload("doc.pdf", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..200_000).await;
    speaker.pause().await;

    let mut speaker = server.speaker().await;
    let wish = Resume {
        offset: Some(offset(200_000)),
        filename: Some("doc.pdf".to_owned()),
        filesize: Some(corpus.filesize()),
        user_id: Some(server.person.id),
        ..resume(document_id)
    };
    let granted = speaker.resume(wish).await;
    assert_eq!((granted.document_id, granted.offset), (document_id, offset(200_000)));
    assert_eq!(granted.filesize, corpus.filesize());
    speaker.chunks(ZERO, &corpus, 200_000..BLOCK).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "doc.pdf", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_offset_is_told_the_right_one_and_changes_nothing() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 11);
    let mut speaker = server.speaker().await;
    let document_id = speaker.upload(upload("doc.pdf", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..200_000).await;
    speaker.pause().await;

    let mut speaker = server.speaker().await;
    for wrong in [0, 1, 199_999, 200_001, BLOCK, BLOCK + 1] {
        let wish = Resume { offset: Some(offset(wrong)), ..resume(document_id) };
        let error = speaker.resume_refused(wish, Code::OffsetMismatch).await;
        assert_eq!(error.expected, Some(offset(200_000)), "{error:?}");
        assert_eq!(error.document_id, Some(document_id));
    }
    assert!(!speaker.status(document_id).await.active, "a refused resume takes nothing over");
    let wish = Resume { offset: Some(offset(200_000)), ..resume(document_id) };
    assert_eq!(speaker.resume(wish).await.offset, offset(200_000));
    speaker.chunks(ZERO, &corpus, 200_000..BLOCK).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_never_written_over_or_doubled() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK + 5, 12);
    let other = Corpus::new(BLOCK + 5, 13);
    for blocks in [false, true] {
        let name = format!("doc {blocks}.pdf");
        let mut speaker = server.speaker().await;
        let begin = Upload { blocks, ..upload(&name, &corpus) };
        let document_id = speaker.upload(begin).await.document_id;
        speaker.chunks(ZERO, &corpus, 0..200_000).await;
        // Before, across and behind the place where it goes on.
        for wrong in [0..CHUNK, 150_000..210_000, 200_001..200_100, 65_536..65_537] {
            speaker.chunk(ZERO, wrong.start, &other.bytes[wrong.clone()]).await;
            let error = speaker.error(Code::OffsetMismatch).await;
            assert_eq!(error.expected, Some(offset(200_000)), "{wrong:?}");
            // Refused: what follows is dropped without a word.
            speaker.chunk(ZERO, 200_000, &other.bytes[200_000..200_100]).await;
            speaker.send(&Request::Complete(Complete::default())).await;
            speaker.ping().await;
            assert_eq!(speaker.heard_so_far().iter().filter(|h| is_error(h)).count(), 0);
            let wish = Resume { blocks, offset: Some(offset(200_000)), ..resume(document_id) };
            assert_eq!(speaker.resume(wish).await.offset, offset(200_000));
        }
        if blocks {
            speaker.blocks_from(ZERO, &corpus, 200_000).await;
        } else {
            speaker.chunks(ZERO, &corpus, 200_000..corpus.size()).await;
        }
        assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
        server.site.assert_published(&server.person, &name, &corpus);
    }
}

fn is_error(heard: &towline_tests::speaker::Heard) -> bool {
    matches!(heard, towline_tests::speaker::Heard::Reply(Reply::Error(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_paused_uploads_at_once() {
    let server = TestServer::start().await;
    let files: Vec<_> = (0..8).map(|i| Corpus::new(BLOCK / 2 + 1000 * i, 20 + i as u64)).collect();
    let mut documents = Vec::new();
    for (i, corpus) in files.iter().enumerate() {
        let mut speaker = server.speaker().await;
        let granted = speaker.upload(upload(&format!("{i}.bin"), corpus)).await;
        speaker.chunks(ZERO, corpus, 0..50_001 * (i + 1)).await;
        speaker.pause().await;
        documents.push(granted.document_id);
    }
    for (i, corpus) in files.iter().enumerate().rev() {
        let mut speaker = server.speaker().await;
        let from = position(speaker.resume(resume(documents[i])).await.offset);
        assert_eq!(from, 50_001 * (i + 1));
        speaker.chunks(ZERO, corpus, from..corpus.size()).await;
        assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
        server.site.assert_published(&server.person, &format!("{i}.bin"), corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_in_good_order_nothing_is_sent_again() {
    let mut server = TestServer::start().await;
    let corpus = Corpus::new(2 * BLOCK, 14);
    let mut speaker = server.speaker().await;
    let document_id = speaker.upload(upload("doc.pdf", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..BLOCK + 77_777).await;
    speaker.has_received(document_id, BLOCK + 77_777).await;
    server.restart().await;

    let mut speaker = server.speaker().await;
    let from = position(speaker.resume(resume(document_id)).await.offset);
    assert_eq!(from, BLOCK + 77_777);
    speaker.chunks(ZERO, &corpus, from..corpus.size()).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "doc.pdf", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_what_was_durable_is_there() {
    let site = Site::new();
    let person = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    for blocks in [false, true] {
        let corpus = Corpus::new(6 * BLOCK, 15);
        let name = format!("doc {blocks}.pdf");
        let mut speaker = Speaker::login(server.address(), &person.token).await;
        let begin = Upload { blocks, ..upload(&name, &corpus) };
        let document_id = speaker.upload(begin).await.document_id;
        let mut sent = 4 * BLOCK + 123_456;
        for index in 0..4 {
            speaker.chunks(ZERO, &corpus, index * BLOCK..(index + 1) * BLOCK).await;
            if blocks {
                speaker.announce(ZERO, index, corpus.value(index)).await;
            }
        }
        speaker.chunks(ZERO, &corpus, 4 * BLOCK..sent).await;
        let durable = speaker.progress_that("a durable offset", |p| p.durable > offset(0)).await;
        speaker.chunks(ZERO, &corpus, sent..sent + 1000).await;
        sent += 1000;
        server.kill_and_start_again().await;

        let mut speaker = Speaker::login(server.address(), &person.token).await;
        let granted = speaker.resume(Resume { blocks, ..resume(document_id) }).await;
        let from = position(granted.offset);
        println!("durable {}, resumed at {from}, sent {sent}", durable.durable);
        assert!(granted.offset >= durable.durable, "a promise was broken");
        assert!(from <= sent);
        if blocks {
            // One may have arrived whole and been promised before its value came.
            let held = speaker.blocks(document_id).await;
            for index in held.len()..from / BLOCK {
                speaker.announce(ZERO, index, corpus.value(index)).await;
            }
            speaker.blocks_from(ZERO, &corpus, from).await;
        } else {
            speaker.chunks(ZERO, &corpus, from..corpus.size()).await;
        }
        assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
        site.assert_published(&person, &name, &corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_cuts_at_random_bytes() {
    let server = TestServer::start().await;
    // More than twenty times the longest way to a cut.
    let corpus = Corpus::new(9 * BLOCK + 99, 16);
    let mut chance = chance();
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut speaker = Speaker::login(proxy.address(), &server.person.token).await;
    let document_id = speaker.upload(upload("cut.bin", &corpus)).await.document_id;
    let mut from = 0;
    let mut sent_again = 0;
    for round in 0..20 {
        let link = proxy.link(round).await;
        let end = from + chance.usize(1..400_000);
        // In the middle of a frame, in its payload or in its head.
        let place = speaker.sent_bytes() + (end - from) as u64 + chance.u64(0..40);
        link.change(|faults| match round % 2 {
            0 => faults.cut_after = Some(place),
            _ => faults.reset_after = Some(place),
        });
        let frames = frames(&corpus, from);
        let _ = speaker.try_send_raw(&frames).await;
        link.ended().await;
        speaker = Speaker::login(proxy.address(), &server.person.token).await;
        let granted = position(speaker.resume(resume(document_id)).await.offset);
        assert!(granted >= from, "round {round}: {granted} after {from}");
        assert!(granted <= end + 40, "round {round}: {granted}, sent to {end}");
        sent_again += end.saturating_sub(granted);
        from = granted;
    }
    println!("about {sent_again} bytes sent again in twenty cuts");
    speaker.chunks(ZERO, &corpus, from..corpus.size()).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "cut.bin", &corpus);
}

/// The chunks from there on, at most so many as a cut will let through.
fn frames(corpus: &Corpus, from: usize) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut at = from;
    while at < corpus.size() && frames.len() < 600_000 {
        let end = (at + CHUNK).min(corpus.size());
        let length = u32::try_from(end - at).unwrap();
        frames.extend(towline_protocol::frame::chunk_head(ZERO, offset(at), length));
        frames.extend(&corpus.bytes[at..end]);
        at = end;
    }
    frames
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_chunk_that_was_cut_counts() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 17);
    let proxy = FaultProxy::start(server.address(), [Faults::none()]).await;
    let mut speaker = Speaker::login(proxy.address(), &server.person.token).await;
    let document_id = speaker.upload(upload("cut.bin", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..100_000).await;
    let link = proxy.link(0).await;
    link.change(|faults| faults.cut_after = Some(speaker.sent_bytes() + 17 + 40_000));
    let _ = speaker.try_send_raw(&frames(&corpus, 100_000)).await;
    link.ended().await;
    let mut speaker = server.speaker().await;
    // The proxy has cut; the server's session sees it, and hands its piece on, later.
    speaker.has_received(document_id, 140_000).await;
    assert_eq!(speaker.resume(resume(document_id)).await.offset, offset(140_000));
    speaker.chunks(ZERO, &corpus, 140_000..BLOCK).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_pieces_of_one_byte() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(30_011, 18);
    let faults = Faults { segment: Some(1), ..Faults::none() };
    let proxy = FaultProxy::start(server.address(), [faults]).await;
    let mut speaker = Speaker::login(proxy.address(), &server.person.token).await;
    speaker.upload(Upload { blocks: true, ..upload("crumbs.bin", &corpus) }).await;
    speaker.chunks_of(ZERO, &corpus, 0..corpus.size(), 1000).await;
    speaker.announce(ZERO, 0, corpus.value(0)).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "crumbs.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_lost_its_notes_finds_its_upload() {
    let mut server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 19);
    let folder = vec!["lectures".to_owned(), "2024".to_owned()];
    let mut speaker = server.speaker().await;
    let begin = Upload { folder: folder.clone(), ..upload("doc.pdf", &corpus) };
    let document_id = speaker.upload(begin).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..300_000).await;
    speaker.pause().await;
    for _ in 0..2 {
        let mut speaker = server.speaker().await;
        let question = Find { folder: folder.clone(), ..find("doc.pdf", corpus.filesize()) };
        let unfinished = speaker.find(question.clone()).await.unfinished.unwrap();
        assert_eq!((unfinished.document_id, unfinished.offset), (document_id, offset(300_000)));
        let another_size = Corpus::new(BLOCK + 1, 19).filesize();
        for other in [
            find("doc.pdf", corpus.filesize()),
            Find { filename: "doc2.pdf".to_owned(), ..question.clone() },
            Find { filesize: another_size, ..question },
        ] {
            assert_eq!(speaker.find(other).await.unfinished, None);
        }
        server.restart().await;
    }
    let bob = server.site.add_user("bob").await;
    let mut stranger = Speaker::login(server.address(), &bob.token).await;
    let question = Find { folder, ..find("doc.pdf", corpus.filesize()) };
    assert_eq!(stranger.find(question).await.unfinished, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_was_lost_is_given_again() {
    let mut server = TestServer::start().await;
    let corpus = Corpus::new(70_000, 26);
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut speaker = Speaker::login(proxy.address(), &server.person.token).await;
    let document_id = speaker.upload(upload("doc.pdf", &corpus)).await.document_id;
    let link = proxy.link(0).await;
    link.change(|faults| faults.drop_replies = true);
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    speaker.send(&Request::Complete(Complete::default())).await;
    // Another connection sees it done.
    let mut other = server.speaker().await;
    let mut status = other.status(document_id).await;
    while status.status != "completed" {
        tokio::task::yield_now().await;
        status = other.status(document_id).await;
    }
    link.cut();
    other.send(&Request::Resume(resume(document_id))).await;
    let receipt = other.success_on(ZERO).await;
    assert_eq!((receipt.blake3, receipt.filename.as_str()), (corpus.hash(), "doc.pdf"));
    let by_number = Complete { document_id: Some(document_id), ..Complete::default() };
    assert_eq!(other.complete_with(by_number.clone()).await, receipt);
    server.restart().await;
    let mut again = server.speaker().await;
    assert_eq!(again.complete_with(by_number).await, receipt);
    assert_eq!(status.blake3, Some(corpus.hash()));
    assert_eq!(status.created_at, Some(receipt.created_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_blocks_after_without_and_the_other_way_round() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(4 * BLOCK + 5000, 27);
    for first_with in [false, true] {
        let name = format!("{first_with}.bin");
        let mut speaker = server.speaker().await;
        let begin = Upload { blocks: first_with, ..upload(&name, &corpus) };
        let document_id = speaker.upload(begin).await.document_id;
        let middle = 2 * BLOCK + 400_000;
        for index in 0..2 {
            speaker.chunks(ZERO, &corpus, index * BLOCK..(index + 1) * BLOCK).await;
            if first_with {
                speaker.announce(ZERO, index, corpus.value(index)).await;
            }
        }
        speaker.chunks(ZERO, &corpus, 2 * BLOCK..middle).await;
        speaker.pause().await;
        let mut speaker = server.speaker().await;
        let wish = Resume { blocks: !first_with, ..resume(document_id) };
        assert_eq!(speaker.resume(wish).await.offset, offset(middle));
        let held = speaker.blocks(document_id).await;
        assert_eq!(held, [(0, corpus.value(0)), (1, corpus.value(1))]);
        if first_with {
            speaker.chunks(ZERO, &corpus, middle..corpus.size()).await;
        } else {
            speaker.blocks_from(ZERO, &corpus, middle).await;
        }
        assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
        server.site.assert_published(&server.person, &name, &corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_blocks_the_offset_passes_over_blocks_that_are_held() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(4 * BLOCK, 28);
    let mut speaker = server.speaker().await;
    let begin = Upload { blocks: true, ..upload("holes.bin", &corpus) };
    let document_id = speaker.upload(begin).await.document_id;
    speaker.block(ZERO, &corpus, 1).await;
    speaker.block(ZERO, &corpus, 3).await;
    speaker.pause().await;
    let mut speaker = server.speaker().await;
    assert_eq!(speaker.resume(resume(document_id)).await.offset, offset(0));
    speaker.chunks(ZERO, &corpus, 0..BLOCK).await;
    speaker.chunk(ZERO, BLOCK, &corpus.bytes[BLOCK..BLOCK + 100]).await;
    let error = speaker.error(Code::OffsetMismatch).await;
    assert_eq!(error.expected, Some(offset(2 * BLOCK)));
    let wish = Resume { offset: Some(offset(2 * BLOCK)), ..resume(document_id) };
    speaker.resume(wish).await;
    speaker.chunks(ZERO, &corpus, 2 * BLOCK..3 * BLOCK).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "holes.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_arrived_without_its_announcement_needs_only_that() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(3 * BLOCK, 29);
    let mut speaker = server.speaker().await;
    let begin = Upload { blocks: true, ..upload("late.bin", &corpus) };
    let document_id = speaker.upload(begin).await.document_id;
    speaker.block(ZERO, &corpus, 0).await;
    // All of block 1, not announced: it ends at the offset.
    speaker.chunks(ZERO, &corpus, BLOCK..2 * BLOCK).await;
    speaker.pause().await;

    let mut speaker = server.speaker().await;
    let granted = speaker.resume(Resume { blocks: true, ..resume(document_id) }).await;
    assert_eq!(granted.offset, offset(2 * BLOCK));
    assert_eq!(speaker.blocks(document_id).await, [(0, corpus.value(0))]);
    speaker.announce(ZERO, 1, corpus.value(1)).await;
    speaker.block(ZERO, &corpus, 2).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "late.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seven_days_begin_anew_with_each_byte() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 30);
    let mut speaker = server.speaker().await;
    let document_id = speaker.upload(upload("slow.bin", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..1000).await;
    speaker.pause().await;
    let six_days = Duration::from_secs(6 * 86_400);
    for step in 1..4 {
        server.clock.advance(six_days);
        let mut speaker = server.speaker().await;
        let granted = speaker.resume(resume(document_id)).await;
        assert_eq!(granted.offset, offset(step * 1000));
        speaker.chunks(ZERO, &corpus, step * 1000..(step + 1) * 1000).await;
        speaker.pause().await;
    }
    let mut speaker = server.speaker().await;
    speaker.send(&Request::Status(about(document_id))).await;
    let Reply::Status(status) = speaker.reply().await else { panic!() };
    let left = status.expires_at.unwrap().since(server.clock.now());
    assert!(left <= Duration::from_secs(7 * 86_400) && left > Duration::from_secs(6 * 86_400));
}
