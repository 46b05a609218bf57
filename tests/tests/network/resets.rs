//! A reset, wherever it comes, is no more than the end of a connection.

use std::process::Command;
use towline_protocol::request::{Resume, Upload};
use towline_tests::corpus::{BLOCK, Corpus, chance};
use towline_tests::proxy::FaultProxy;
use towline_tests::server::TestServer;
use towline_tests::speaker::{CHUNK, Speaker, ZERO, position, resume, upload};
use towline_tests::volume::skipped;

/// The head of a chunk frame.
const HEAD: u64 = 17;

#[tokio::test(flavor = "multi_thread")]
async fn at_sixty_places_and_every_border_of_a_frame() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(4 * BLOCK + 99, 110);
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut chance = chance();
    for blocks in [false, true] {
        let name = format!("{blocks}.bin");
        let mut first = server.speaker().await;
        let begin = Upload { blocks, ..upload(&name, &corpus) };
        let document_id = first.upload(begin).await.document_id;
        drop(first);
        let (mut received, mut durable) = (0, 0);
        for number in 0..30 {
            let mut speaker = Speaker::login(proxy.address(), &server.person.token).await;
            let granted = speaker.resume(Resume { blocks, ..resume(document_id) }).await;
            let from = position(granted.offset);
            assert!(from >= durable, "{from} after {durable} were durable");
            assert!(from <= received, "{from}, and only {received} were ever sent");
            // From here on: borders of frames and their neighbours, and any place.
            let frames = chance.u64(0..3);
            let border = frames * (HEAD + CHUNK as u64);
            let place = match number % 5 {
                0 => border,
                1 => border + 1,
                2 => border + HEAD,
                3 => (border + HEAD + CHUNK as u64).saturating_sub(1),
                _ => chance.u64(0..200_000),
            };
            let place = speaker.sent_bytes() + place;
            proxy.link(proxy.connections() - 1).await.change(|faults| {
                faults.reset_after = Some(place);
            });
            let end = (from + 4 * CHUNK).min(corpus.size() - 1);
            received = received.max(end);
            let mut at = from;
            while at < end {
                let next = (at + CHUNK).min(end);
                let head = towline_protocol::frame::chunk_head(
                    ZERO,
                    towline_tests::speaker::offset(at),
                    u32::try_from(next - at).unwrap(),
                );
                let frame = [&head[..], &corpus.bytes[at..next]].concat();
                if speaker.try_send_raw(&frame).await.is_err() {
                    break;
                }
                at = next;
            }
            speaker.ended().await;
            let status = server.speaker().await.status(document_id).await;
            assert!(position(status.durable) >= durable);
            durable = position(status.durable);
        }
        let mut speaker = server.speaker().await;
        let from = position(speaker.resume(Resume { blocks, ..resume(document_id) }).await.offset);
        assert!(from >= durable);
        if blocks {
            let held = speaker.blocks(document_id).await;
            for index in 0..from / BLOCK {
                if !held.contains(&(index, corpus.value(index))) {
                    speaker.announce(ZERO, index, corpus.value(index)).await;
                }
            }
            speaker.blocks_from(ZERO, &corpus, from).await;
        } else {
            speaker.chunks(ZERO, &corpus, from..corpus.size()).await;
        }
        assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
        server.site.assert_published(&server.person, &name, &corpus);
        println!("30 resets, the last resume at {from}");
    }
}

/// The client's own system resets: SO_LINGER 0.
#[tokio::test(flavor = "multi_thread")]
async fn by_the_client_in_the_middle_of_a_chunk() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 111);
    let document_id = server.speaker().await.upload(upload("a.bin", &corpus)).await.document_id;
    let mut received = 0;
    for round in 0..20 {
        let mut speaker = server.speaker().await;
        let from = position(speaker.resume(resume(document_id)).await.offset);
        assert!(from >= received);
        let end = from + 20_000;
        speaker.chunks(ZERO, &corpus, from..end).await;
        // Every second time what was sent has been taken in before.
        if round % 2 == 0 {
            speaker.has_received(document_id, end).await;
            received = end;
        }
        let head = [0, 0, 1, 0, 2, 0, 0];
        speaker.send_raw(&head[..round % head.len()]).await;
        speaker.reset();
    }
    let mut speaker = server.speaker().await;
    let from = position(speaker.resume(resume(document_id)).await.offset);
    assert!(from >= received);
    speaker.chunks(ZERO, &corpus, from..corpus.size()).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "a.bin", &corpus);
}

/// Somebody with root shuts sockets: `ss -K`.
#[tokio::test(flavor = "multi_thread")]
async fn by_the_administrator() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 112);
    let document_id = server.speaker().await.upload(upload("a.bin", &corpus)).await.document_id;
    let mut sent = 0;
    for round in 0..6 {
        let mut speaker = server.speaker().await;
        let granted = speaker.resume(resume(document_id)).await;
        assert_eq!(position(granted.offset), sent, "all of it had been taken in");
        speaker.chunks(ZERO, &corpus, sent..sent + 100_000).await;
        sent += 100_000;
        speaker.has_received(document_id, sent).await;
        let (client, server) = (speaker.local_address().port(), server.address().port());
        // The socket of one side or of the other, and no other than these.
        let (from, to) = if round % 2 == 0 { (client, server) } else { (server, client) };
        let filter = format!("( sport = :{from} and dport = :{to} )");
        let killed =
            Command::new("ss").args(["-K", "-t", "state", "established", &filter]).output();
        match killed {
            Ok(output) if String::from_utf8_lossy(&output.stdout).contains(&to.to_string()) => {}
            other => {
                skipped(&format!("`ss -K` does not shut sockets here: {other:?}"));
                return;
            }
        }
        speaker.ended().await;
    }
    let mut speaker = server.speaker().await;
    speaker.resume(resume(document_id)).await;
    speaker.chunks(ZERO, &corpus, sent..corpus.size()).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "a.bin", &corpus);
}
