//! A reset at any point only ends the connection.

use std::process::Command;
use towline_protocol::request::{Resume, Upload};
use towline_tests::proxy::FaultProxy;
use towline_tests::raw_client::{CHUNK, Heard, RawClient, ZERO, position, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile, chance};
use towline_tests::volume::skipped;

/// The number of bytes of the head of a chunk frame.
const HEAD: u64 = 17;

#[tokio::test(flavor = "multi_thread")]
async fn resets_at_sixty_places_and_every_border_of_a_frame_lose_no_promise() {
    let server = TestServer::start().await;
    // More than all rounds together can send, so that none of them comes to the end of the file.
    let test_file = TestFile::new(7 * BLOCK + 99, 110);
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut chance = chance();
    for blocks in [false, true] {
        let name = format!("{blocks}.bin");
        let mut first = server.client().await;
        let begin = Upload { blocks, ..upload(&name, &test_file) };
        let document_id = first.upload(begin).await.document_id;
        drop(first);
        let (mut received, mut durable, mut resets) = (0, 0, 0);
        for number in 0..30 {
            let mut raw = RawClient::login(proxy.address(), &server.user.token).await;
            let granted = raw.resume(Resume { blocks, ..resume(document_id) }).await;
            let from = position(granted.offset);
            assert!(from >= durable, "{from} after {durable} were durable");
            assert!(from <= received, "{from}, and only {received} were ever sent");
            // Positions from here on: at a border of two frames, just beside one, or anywhere.
            let frames = chance.u64(0..3);
            let border = frames * (HEAD + CHUNK as u64);
            let place = match number % 5 {
                0 => border,
                1 => border + 1,
                2 => border + HEAD,
                3 => (border + HEAD + CHUNK as u64).saturating_sub(1),
                _ => chance.u64(0..200_000),
            };
            let place = raw.sent_bytes() + place;
            proxy.link(proxy.connections() - 1).await.change(|faults| {
                faults.reset_after = Some(place);
            });
            // More than the proxy lets through.
            let end = from + 4 * CHUNK;
            received = received.max(end);
            let sent = raw.try_chunks(ZERO, &test_file, from..end).await;
            let end = raw.ended().await.pop();
            // The system tells of a reset once: to the thread that writes or to the one that reads.
            resets += u32::from(sent.is_err() || matches!(end, Some(Heard::Reset(_))));
            let status = server.client().await.status(document_id).await;
            assert!(position(status.durable) >= durable);
            durable = position(status.durable);
        }
        let mut raw = server.client().await;
        let from = position(raw.resume(Resume { blocks, ..resume(document_id) }).await.offset);
        assert!(from >= durable);
        if blocks {
            let held = raw.blocks(document_id).await;
            for index in 0..from / BLOCK {
                if !held.contains(&(index, test_file.value(index))) {
                    raw.announce(ZERO, index, test_file.value(index)).await;
                }
            }
            raw.blocks_from(ZERO, &test_file, from).await;
        } else {
            raw.chunks(ZERO, &test_file, from..test_file.size()).await;
        }
        assert_eq!(raw.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &name, &test_file);
        assert_eq!(resets, 30, "each connection was reset");
        println!("the last resume at {from}");
    }
}

/// The client's own system sends the reset: `SO_LINGER` 0.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_by_the_client_in_a_chunk_loses_no_promise() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 111);
    let document_id = server.client().await.upload(upload("a.bin", &test_file)).await.document_id;
    let mut received = 0;
    for round in 0..20 {
        let mut raw = server.client().await;
        let from = position(raw.resume(resume(document_id)).await.offset);
        assert!(from >= received);
        let end = from + 20_000;
        raw.chunks(ZERO, &test_file, from..end).await;
        // In every second round the server has received the bytes before the reset.
        if round % 2 == 0 {
            raw.has_received(document_id, end).await;
            received = end;
        }
        let head = [0, 0, 1, 0, 2, 0, 0];
        raw.send_raw(&head[..round % head.len()]).await;
        raw.reset();
    }
    let mut raw = server.client().await;
    let from = position(raw.resume(resume(document_id)).await.offset);
    assert!(from >= received);
    raw.chunks(ZERO, &test_file, from..test_file.size()).await;
    assert_eq!(raw.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

/// A process with root rights closes the sockets: `ss -K`.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_by_the_administrator_loses_no_promise() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 112);
    let document_id = server.client().await.upload(upload("a.bin", &test_file)).await.document_id;
    let mut sent = 0;
    for round in 0..6 {
        let mut raw = server.client().await;
        let granted = raw.resume(resume(document_id)).await;
        assert_eq!(position(granted.offset), sent, "all of it had been taken in");
        raw.chunks(ZERO, &test_file, sent..sent + 100_000).await;
        sent += 100_000;
        raw.has_received(document_id, sent).await;
        let (client, server) = (raw.local_address().port(), server.address().port());
        // The socket of one side or of the other, and no other socket.
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
        raw.ended().await;
    }
    let mut raw = server.client().await;
    raw.resume(resume(document_id)).await;
    raw.chunks(ZERO, &test_file, sent..test_file.size()).await;
    assert_eq!(raw.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "a.bin", &test_file);
}
