//! Two clients on one upload: the newer one gets it at once, and the older one can never write
//! again.

use std::time::{Duration, Instant};
use towline_protocol::request::{Complete, Resume, Upload};
use towline_protocol::{Channel, Code, Reply, Request, frame};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::{CHUNK, Heard, RawClient, ZERO, offset, position, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::DocumentId;

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_connection_wins_and_the_older_is_told() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 50);
    let garbage = TestFile::new(2 * BLOCK, 51);
    for blocks in [false, true] {
        let name = format!("doc {blocks}.pdf");
        let mut older = server.client().await;
        let begin = Upload { blocks, ..upload(&name, &test_file) };
        let document_id = older.upload(begin).await.document_id;
        older.chunks(ZERO, &test_file, 0..300_000).await;
        older.has_received(document_id, 300_000).await;

        let mut newer = server.client().await;
        let asked = Instant::now();
        let granted = newer.resume(Resume { blocks, ..resume(document_id) }).await;
        let taken = asked.elapsed();
        older.error(Code::Superseded).await;
        println!("takeover granted in {:.1} ms, told in {:.1} ms", ms(taken), ms(asked.elapsed()));
        let from = position(granted.offset);
        assert_eq!(from, 300_000);

        // Late chunks, announcements, withdrawals and `complete` are dropped without an answer.
        older.chunks(ZERO, &garbage, from..from + 2 * CHUNK).await;
        older.announce(ZERO, 0, garbage.value(0)).await;
        older.send_json(r#"{"action":"withdraw","ranges":[[0,2]]}"#).await;
        older.send(&Request::Complete(Complete::default())).await;
        older.ping().await;
        let said = older.heard_so_far();
        assert!(said.iter().all(is_progress), "{said:?}");

        if blocks {
            newer.blocks_from(ZERO, &test_file, from).await;
        } else {
            newer.chunks(ZERO, &test_file, from..test_file.size()).await;
        }
        assert_eq!(newer.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &name, &test_file);
        older.ping().await;
    }
}

fn is_progress(heard: &Heard) -> bool {
    matches!(heard, Heard::Reply(Reply::Progress(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn back_and_forth_between_two_connections() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 52);
    let mut clients = [server.client().await, server.client().await];
    let document_id = clients[1].upload(upload("doc.pdf", &test_file)).await.document_id;
    let mut from = 0;
    let mut slowest = Duration::ZERO;
    for turn in 0..20 {
        let asked = Instant::now();
        let granted = clients[turn % 2].resume(resume(document_id)).await;
        slowest = slowest.max(asked.elapsed());
        assert_eq!(granted.offset, offset(from), "turn {turn}");
        clients[(turn + 1) % 2].error(Code::Superseded).await;
        clients[turn % 2].chunks(ZERO, &test_file, from..from + 50_001).await;
        from += 50_001;
        clients[turn % 2].has_received(document_id, from).await;
    }
    println!("slowest of twenty takeovers: {:.1} ms", ms(slowest));
    clients[1].chunks(ZERO, &test_file, from..test_file.size()).await;
    assert_eq!(clients[1].complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_hangs_blocks_nobody() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 53);
    let garbage = TestFile::new(3 * BLOCK, 54);
    let proxy = FaultProxy::start(server.address(), [Faults::none()]).await;
    let mut hanging = RawClient::login(proxy.address(), &server.user.token).await;
    let document_id = hanging.upload(upload("doc.pdf", &test_file)).await.document_id;
    let link = proxy.link(0).await;
    // The link goes down in the middle of a chunk.
    link.change(|faults| faults.stall_after = Some(hanging.sent_bytes() + 500_000));
    hanging.chunks(ZERO, &test_file, 0..600_000).await;
    link.has_passed(hanging.sent_bytes() - 200_000).await;

    let mut newer = server.client().await;
    let asked = Instant::now();
    let mut granted = newer.resume(resume(document_id)).await;
    println!("takeover from a half-open peer in {:.1} ms", ms(asked.elapsed()));
    // Bytes that had passed the link may still have been on their way into the server.
    let from = position(granted.offset);
    assert!(from < 500_000);
    newer.chunks(ZERO, &test_file, from..2 * BLOCK).await;
    newer.ping().await;
    // The link is back, with all bytes that it held up, and further bytes.
    link.go_on();
    hanging.chunks(ZERO, &garbage, 600_000..900_000).await;
    hanging.ping().await;
    granted = newer.resume(resume(document_id)).await;
    assert_eq!(granted.offset, offset(2 * BLOCK));
    newer.chunks(ZERO, &test_file, 2 * BLOCK..test_file.size()).await;
    assert_eq!(newer.complete(ZERO).await.blake3, test_file.hash());
    // The most important check comes first: no late byte is in the file.
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
    hanging.error(Code::Superseded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_taken_over_while_it_sends_at_full_speed() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK, 55);
    for blocks in [false, true] {
        let name = format!("run {blocks}.bin");
        let mut older = server.client().await;
        let begin = Upload { blocks, ..upload(&name, &test_file) };
        let document_id = older.upload(begin).await.document_id;
        let file = test_file.clone();
        let running = tokio::spawn(async move {
            if blocks {
                older.blocks_from(ZERO, &file, 0).await;
            } else {
                older.chunks(ZERO, &file, 0..file.size()).await;
            }
            older
        });
        let mut newer = server.client().await;
        // Waits until the server has two blocks.
        while newer.status(document_id).await.received < offset(2 * BLOCK) {}
        let asked = Instant::now();
        let granted = newer.resume(Resume { blocks, ..resume(document_id) }).await;
        println!("takeover in full run in {:.1} ms at {}", ms(asked.elapsed()), granted.offset);
        let held = newer.blocks(document_id).await;
        let mut from = position(granted.offset);
        if blocks {
            // A block that lies below the offset and is not held was never announced.
            for index in 0..from / BLOCK {
                if !held.contains(&(index, test_file.value(index))) {
                    newer.announce(ZERO, index, test_file.value(index)).await;
                }
            }
            newer.blocks_from(ZERO, &test_file, from).await;
        } else {
            while from < test_file.size() {
                let end = (from + BLOCK).min(test_file.size());
                newer.chunks_of(ZERO, &test_file, from..end, BLOCK).await;
                from = end;
            }
        }
        assert_eq!(newer.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &name, &test_file);
        let mut older = running.await.unwrap();
        older.error(Code::Superseded).await;
        older.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_takes_over_from_another_of_the_same_connection() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 56);
    let mut client = server.client().await;
    let (one, two) = (Channel(1), Channel(2));
    let begin = Upload { channel: one, ..upload("doc.pdf", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    client.chunks(one, &test_file, 0..100_000).await;
    let granted = client.resume(Resume { channel: two, ..resume(document_id) }).await;
    assert_eq!(granted.offset, offset(100_000));
    client.error_on(one, Code::Superseded).await;
    client.chunks(one, &test_file, 100_000..200_000).await;
    client.chunks(two, &test_file, 100_000..BLOCK).await;
    assert_eq!(client.complete(two).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cancelled_elsewhere() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 57);
    let mut sender = server.client().await;
    let document_id = sender.upload(upload("doc.pdf", &test_file)).await.document_id;
    sender.chunks(ZERO, &test_file, 0..100_000).await;
    sender.ping().await;
    server.client().await.cancel(document_id).await;
    sender.error(Code::Cancelled).await;
    sender.chunks(ZERO, &test_file, 100_000..BLOCK).await;
    sender.send(&Request::Complete(Complete::default())).await;
    sender.ping().await;
    assert!(sender.heard_so_far().iter().all(is_progress));
    assert!(!server.site.document(&server.user, "doc.pdf").exists());
}

/// The server sends the error on each channel of the older client, and keeps none of its later
/// bytes.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_uploads_taken_over_at_once() {
    const COUNT: u32 = 200;
    const SENT: usize = 10_000;
    let server = TestServer::start().await;
    let test_file = TestFile::new(30_000, 58);
    let garbage = TestFile::new(30_000, 59);
    let mut older = server.client().await;
    let mut documents = Vec::new();
    for i in 0..COUNT {
        let channel = Channel(i);
        let begin = Upload { channel, ..upload(&format!("{i}.bin"), &test_file) };
        older.send(&Request::Upload(begin)).await;
        older.chunks(channel, &test_file, 0..SENT).await;
    }
    for i in 0..COUNT {
        let Reply::Upload(granted) = older.reply_on(Channel(i)).await else { panic!("{i}") };
        documents.push(granted.document_id);
    }
    for document_id in &documents {
        older.has_received(*document_id, SENT).await;
    }

    // The uploads are resumed while another connection asks about them.
    let mut curious = server.client().await;
    let looked_at = documents.clone();
    let looking = tokio::spawn(async move {
        for document_id in looked_at.iter().rev().chain(&looked_at) {
            curious.status(*document_id).await;
        }
    });
    let mut newer = server.client().await;
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
        newer.chunks(Channel(i), &test_file, SENT..test_file.size()).await;
        let channel = Channel(i);
        newer.send(&Request::Complete(Complete { channel, ..Complete::default() })).await;
    }
    for i in 0..COUNT {
        assert_eq!(newer.success_on(Channel(i)).await.blake3, test_file.hash(), "channel {i}");
        server.site.assert_published(&server.user, &format!("{i}.bin"), &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn taken_over_as_soon_as_it_is_begun() {
    let server = TestServer::start().await;
    // Several pairs, so that the server is busy.
    let mut pairs = Vec::new();
    for pair in 0..8 {
        let (older, newer) = (server.client().await, server.client().await);
        pairs.push(tokio::spawn(begun_and_taken(pair, older, newer)));
    }
    for pair in pairs {
        pair.await.unwrap();
    }
}

async fn begun_and_taken(pair: u64, mut older: RawClient, mut newer: RawClient) {
    let test_file = TestFile::new(1000, 60 + pair);
    for round in 0..50 {
        let begin = upload(&format!("{pair} {round}.bin"), &test_file);
        let document_id = older.upload(begin).await.document_id;
        newer.resume(resume(document_id)).await;
        older.error(Code::Superseded).await;
        newer.chunks(ZERO, &test_file, 0..test_file.size()).await;
        assert_eq!(newer.complete(ZERO).await.blake3, test_file.hash());
    }
}

/// Document numbers are given in order, so a client can guess the next one. The upload that gets
/// this number must still have only one writer at a time.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_just_being_begun_is_not_taken_up_beside_its_writer() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(1000, 53);
    let mut client = server.client().await;
    let mut last = client.upload(upload("first.pdf", &test_file)).await.document_id.get();
    for round in 0..100 {
        last += 1;
        let guess = DocumentId::try_from(last).expect("a small number");
        let begin = frame::control(&Request::Upload(upload("doc.pdf", &test_file)));
        let guessed = Resume { channel: Channel(1), ..resume(guess) };
        client.send_raw(&[begin, frame::control(&Request::Resume(guessed))].concat()).await;
        let said = [client.reply().await, client.reply().await];
        let taken_over = match &said {
            // The guess came before the upload existed.
            [Reply::Error(error), Reply::Upload(_)] | [Reply::Upload(_), Reply::Error(error)]
                if error.code == Code::NotFound =>
            {
                false
            }
            [Reply::Upload(_), Reply::Error(error)] => error.code == Code::Superseded,
            other => panic!("round {round}: {other:?}"),
        };
        if taken_over {
            assert!(matches!(client.reply_on(Channel(1)).await, Reply::Resume(_)));
        }
        client.cancel(guess).await;
        if taken_over {
            client.error_on(Channel(1), Code::Cancelled).await;
        }
    }
}
