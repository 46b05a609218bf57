//! Two clients on one upload: the newer one has it at once, the older one can
//! never write again.

use std::time::{Duration, Instant};
use towline_protocol::request::{Complete, Resume, Upload};
use towline_protocol::{Channel, Code, Reply, Request, frame};
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::speaker::{CHUNK, Heard, Speaker, ZERO, offset, position, resume, upload};
use towline_types::DocumentId;

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_connection_wins_and_the_older_is_told() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(2 * BLOCK, 50);
    let garbage = Corpus::new(2 * BLOCK, 51);
    for blocks in [false, true] {
        let name = format!("doc {blocks}.pdf");
        let mut older = server.speaker().await;
        let begin = Upload { blocks, ..upload(&name, &corpus) };
        let document_id = older.upload(begin).await.document_id;
        older.chunks(ZERO, &corpus, 0..300_000).await;
        older.has_received(document_id, 300_000).await;

        let mut newer = server.speaker().await;
        let asked = Instant::now();
        let granted = newer.resume(Resume { blocks, ..resume(document_id) }).await;
        let taken = asked.elapsed();
        older.error(Code::Superseded).await;
        println!("takeover granted in {:.1} ms, told in {:.1} ms", ms(taken), ms(asked.elapsed()));
        let from = position(granted.offset);
        assert_eq!(from, 300_000);

        // Late chunks, announcements, withdrawals and an end: dropped without a word.
        older.chunks(ZERO, &garbage, from..from + 2 * CHUNK).await;
        older.announce(ZERO, 0, garbage.value(0)).await;
        older.send_json(r#"{"action":"withdraw","ranges":[[0,2]]}"#).await;
        older.send(&Request::Complete(Complete::default())).await;
        older.ping().await;
        let said = older.heard_so_far();
        assert!(said.iter().all(is_progress), "{said:?}");

        if blocks {
            newer.blocks_from(ZERO, &corpus, from).await;
        } else {
            newer.chunks(ZERO, &corpus, from..corpus.size()).await;
        }
        assert_eq!(newer.complete(ZERO).await.blake3, corpus.hash());
        server.site.assert_published(&server.person, &name, &corpus);
        older.ping().await;
    }
}

fn is_progress(heard: &Heard) -> bool {
    matches!(heard, Heard::Reply(Reply::Progress(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn back_and_forth_between_two_connections() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 52);
    let mut speakers = [server.speaker().await, server.speaker().await];
    let document_id = speakers[1].upload(upload("doc.pdf", &corpus)).await.document_id;
    let mut from = 0;
    let mut slowest = Duration::ZERO;
    for turn in 0..20 {
        let asked = Instant::now();
        let granted = speakers[turn % 2].resume(resume(document_id)).await;
        slowest = slowest.max(asked.elapsed());
        assert_eq!(granted.offset, offset(from), "turn {turn}");
        speakers[(turn + 1) % 2].error(Code::Superseded).await;
        speakers[turn % 2].chunks(ZERO, &corpus, from..from + 50_001).await;
        from += 50_001;
        speakers[turn % 2].has_received(document_id, from).await;
    }
    println!("slowest of twenty takeovers: {:.1} ms", ms(slowest));
    speakers[1].chunks(ZERO, &corpus, from..corpus.size()).await;
    assert_eq!(speakers[1].complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "doc.pdf", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_hangs_blocks_nobody() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(3 * BLOCK, 53);
    let garbage = Corpus::new(3 * BLOCK, 54);
    let proxy = FaultProxy::start(server.address(), [Faults::none()]).await;
    let mut hanging = Speaker::login(proxy.address(), &server.person.token).await;
    let document_id = hanging.upload(upload("doc.pdf", &corpus)).await.document_id;
    let link = proxy.link(0).await;
    // The cable is pulled in the middle of a chunk.
    link.change(|faults| faults.stall_after = Some(hanging.sent_bytes() + 500_000));
    hanging.chunks(ZERO, &corpus, 0..600_000).await;
    link.has_passed(hanging.sent_bytes() - 200_000).await;

    let mut newer = server.speaker().await;
    let asked = Instant::now();
    let mut granted = newer.resume(resume(document_id)).await;
    println!("takeover from a half-open peer in {:.1} ms", ms(asked.elapsed()));
    // What had passed may still have been on its way into the server.
    let from = position(granted.offset);
    assert!(from < 500_000);
    newer.chunks(ZERO, &corpus, from..2 * BLOCK).await;
    newer.ping().await;
    // The cable is back, and with it everything that was held up, and more.
    link.go_on();
    hanging.chunks(ZERO, &garbage, 600_000..900_000).await;
    hanging.ping().await;
    granted = newer.resume(resume(document_id)).await;
    assert_eq!(granted.offset, offset(2 * BLOCK));
    newer.chunks(ZERO, &corpus, 2 * BLOCK..corpus.size()).await;
    assert_eq!(newer.complete(ZERO).await.blake3, corpus.hash());
    // What counts most first: not one of the late bytes is in the file.
    server.site.assert_published(&server.person, "doc.pdf", &corpus);
    hanging.error(Code::Superseded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn taken_over_in_full_run() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(24 * BLOCK, 55);
    for blocks in [false, true] {
        let name = format!("run {blocks}.bin");
        let mut older = server.speaker().await;
        let begin = Upload { blocks, ..upload(&name, &corpus) };
        let document_id = older.upload(begin).await.document_id;
        let file = corpus.clone();
        let running = tokio::spawn(async move {
            if blocks {
                older.blocks_from(ZERO, &file, 0).await;
            } else {
                older.chunks(ZERO, &file, 0..file.size()).await;
            }
            older
        });
        let mut newer = server.speaker().await;
        // Some of it is there.
        while newer.status(document_id).await.received < offset(2 * BLOCK) {}
        let asked = Instant::now();
        let granted = newer.resume(Resume { blocks, ..resume(document_id) }).await;
        println!("takeover in full run in {:.1} ms at {}", ms(asked.elapsed()), granted.offset);
        let held = newer.blocks(document_id).await;
        let mut from = position(granted.offset);
        if blocks {
            // A block that lies below the offset without being held was never announced.
            for index in 0..from / BLOCK {
                if !held.contains(&(index, corpus.value(index))) {
                    newer.announce(ZERO, index, corpus.value(index)).await;
                }
            }
            newer.blocks_from(ZERO, &corpus, from).await;
        } else {
            while from < corpus.size() {
                let end = (from + BLOCK).min(corpus.size());
                newer.chunks_of(ZERO, &corpus, from..end, BLOCK).await;
                from = end;
            }
        }
        assert_eq!(newer.complete(ZERO).await.blake3, corpus.hash());
        server.site.assert_published(&server.person, &name, &corpus);
        let mut older = running.await.unwrap();
        older.error(Code::Superseded).await;
        older.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_takes_over_from_another_of_the_same_connection() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 56);
    let mut speaker = server.speaker().await;
    let (one, two) = (Channel(1), Channel(2));
    let begin = Upload { channel: one, ..upload("doc.pdf", &corpus) };
    let document_id = speaker.upload(begin).await.document_id;
    speaker.chunks(one, &corpus, 0..100_000).await;
    let granted = speaker.resume(Resume { channel: two, ..resume(document_id) }).await;
    assert_eq!(granted.offset, offset(100_000));
    speaker.error_on(one, Code::Superseded).await;
    speaker.chunks(one, &corpus, 100_000..200_000).await;
    speaker.chunks(two, &corpus, 100_000..BLOCK).await;
    assert_eq!(speaker.complete(two).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "doc.pdf", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cancelled_elsewhere() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 57);
    let mut sender = server.speaker().await;
    let document_id = sender.upload(upload("doc.pdf", &corpus)).await.document_id;
    sender.chunks(ZERO, &corpus, 0..100_000).await;
    sender.ping().await;
    server.speaker().await.cancel(document_id).await;
    sender.error(Code::Cancelled).await;
    sender.chunks(ZERO, &corpus, 100_000..BLOCK).await;
    sender.send(&Request::Complete(Complete::default())).await;
    sender.ping().await;
    assert!(sender.heard_so_far().iter().all(is_progress));
    assert!(!server.site.document(&server.person, "doc.pdf").exists());
}

/// Each of the older one's channels is told, and nothing that it says late is kept.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_uploads_taken_over_at_once() {
    const COUNT: u32 = 200;
    const SENT: usize = 10_000;
    let server = TestServer::start().await;
    let corpus = Corpus::new(30_000, 58);
    let garbage = Corpus::new(30_000, 59);
    let mut older = server.speaker().await;
    let mut documents = Vec::new();
    for i in 0..COUNT {
        let channel = Channel(i);
        let begin = Upload { channel, ..upload(&format!("{i}.bin"), &corpus) };
        older.send(&Request::Upload(begin)).await;
        older.chunks(channel, &corpus, 0..SENT).await;
    }
    for i in 0..COUNT {
        let Reply::Upload(granted) = older.reply_on(Channel(i)).await else { panic!("{i}") };
        documents.push(granted.document_id);
    }
    for document_id in &documents {
        older.has_received(*document_id, SENT).await;
    }

    // Resumed while others look at the same uploads.
    let mut curious = server.speaker().await;
    let looked_at = documents.clone();
    let looking = tokio::spawn(async move {
        for document_id in looked_at.iter().rev().chain(&looked_at) {
            curious.status(*document_id).await;
        }
    });
    let mut newer = server.speaker().await;
    let asked = Instant::now();
    for (i, document_id) in documents.iter().enumerate() {
        let channel = Channel(u32::try_from(i).unwrap());
        newer.send(&Request::Resume(Resume { channel, ..resume(*document_id) })).await;
    }
    for i in 0..COUNT {
        match newer.reply_on(Channel(i)).await {
            Reply::Resume(granted) => assert_eq!(granted.offset, offset(SENT), "channel {i}"),
            other => panic!("channel {i}: {other:?}"),
        }
    }
    println!("{COUNT} takeovers in {:.1} ms", ms(asked.elapsed()));
    for i in 0..COUNT {
        older.chunks(Channel(i), &garbage, SENT..20_000).await;
        older.error_on(Channel(i), Code::Superseded).await;
    }
    looking.await.unwrap();
    for i in 0..COUNT {
        newer.chunks(Channel(i), &corpus, SENT..corpus.size()).await;
        let channel = Channel(i);
        newer.send(&Request::Complete(Complete { channel, ..Complete::default() })).await;
    }
    for i in 0..COUNT {
        assert_eq!(newer.success_on(Channel(i)).await.blake3, corpus.hash(), "channel {i}");
        server.site.assert_published(&server.person, &format!("{i}.bin"), &corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn taken_over_as_soon_as_it_is_begun() {
    let server = TestServer::start().await;
    // Several pairs, so that the server has its hands full.
    let mut pairs = Vec::new();
    for pair in 0..8 {
        let (older, newer) = (server.speaker().await, server.speaker().await);
        pairs.push(tokio::spawn(begun_and_taken(pair, older, newer)));
    }
    for pair in pairs {
        pair.await.unwrap();
    }
}

async fn begun_and_taken(pair: u64, mut older: Speaker, mut newer: Speaker) {
    let corpus = Corpus::new(1000, 60 + pair);
    for round in 0..50 {
        let begin = upload(&format!("{pair} {round}.bin"), &corpus);
        let document_id = older.upload(begin).await.document_id;
        newer.resume(resume(document_id)).await;
        older.error(Code::Superseded).await;
        newer.chunks(ZERO, &corpus, 0..corpus.size()).await;
        assert_eq!(newer.complete(ZERO).await.blake3, corpus.hash());
    }
}

/// Numbers are handed out in order, so the next one can be guessed: the upload that gets
/// it still has one writer at a time.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_just_being_begun_is_not_taken_up_beside_its_writer() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(1000, 53);
    let mut speaker = server.speaker().await;
    let mut last = speaker.upload(upload("first.pdf", &corpus)).await.document_id.get();
    for round in 0..100 {
        last += 1;
        let guess = DocumentId::try_from(last).expect("a small number");
        let begin = frame::control(&Request::Upload(upload("doc.pdf", &corpus)));
        let guessed = Resume { channel: Channel(1), ..resume(guess) };
        speaker.send_raw(&[begin, frame::control(&Request::Resume(guessed))].concat()).await;
        let said = [speaker.reply().await, speaker.reply().await];
        let taken_over = match &said {
            // The guess came too early.
            [Reply::Error(error), Reply::Upload(_)] | [Reply::Upload(_), Reply::Error(error)]
                if error.code == Code::NotFound =>
            {
                false
            }
            [Reply::Upload(_), Reply::Error(error)] => error.code == Code::Superseded,
            other => panic!("round {round}: {other:?}"),
        };
        if taken_over {
            assert!(matches!(speaker.reply_on(Channel(1)).await, Reply::Resume(_)));
        }
        speaker.cancel(guess).await;
        if taken_over {
            speaker.error_on(Channel(1), Code::Cancelled).await;
        }
    }
}
