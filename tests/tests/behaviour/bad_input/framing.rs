//! Bytes that are no frame, frames that are too long, and frames that do not end.

use super::{SHORT, Watched, hurried};
use std::time::{Duration, Instant};
use towline_protocol::{Code, Reply, frame, limits};
use towline_tests::PATIENCE;
use towline_tests::raw_client::{
    CHUNK, Heard, RawClient, ZERO, exchange, hello, offset, resume, upload,
};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::Offset;

/// See [`limits::FRAME_STRETCH_BYTES`].
const FRAME_STRETCH: usize = 32 << 10;
const _: () = assert!(FRAME_STRETCH as u64 == limits::FRAME_STRETCH_BYTES);

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_longer_than_its_limit_is_refused_by_its_head() {
    let watched = Watched::start().await;
    for length in [1_048_590_u32, 1 << 24, u32::MAX] {
        for logged_in in [false, true] {
            let mut client = match logged_in {
                true => watched.server.client().await,
                false => watched.stranger().await,
            };
            if !logged_in && length.to_be_bytes()[0] != 0 {
                // This first byte belongs to a protocol that gets an answer of its own: see
                // [`another_protocol_is_answered_in_its_own_words`].
                continue;
            }
            client.send_raw(&length.to_be_bytes()).await;
            let error = client.error(Code::FrameTooLarge).await;
            assert!(error.max.is_some_and(|max| max <= 1_048_589), "{error:?}");
            assert_eq!(client.closed().await, []);
        }
    }
    // A control message, a `hello` and a chunk have different limits.
    let mut client = watched.stranger().await;
    client.send_raw(&8194_u32.to_be_bytes()).await;
    client.send_raw(&[1]).await;
    client.error(Code::FrameTooLarge).await;
    client.closed().await;
    for (length, kind) in [(32_770_u32, 1), (1_048_589, 1)] {
        let mut client = watched.server.client().await;
        client.send_raw(&length.to_be_bytes()).await;
        client.send_raw(&[kind]).await;
        client.error(Code::FrameTooLarge).await;
        client.closed().await;
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_legal_frames_are_served() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let text = br#"{"action":"ping"}"#;
    let padded = [&text[..], &vec![b' '; 32_768 - text.len()]].concat();
    client.send_json(&padded).await;
    assert!(matches!(client.reply().await, Reply::Ping(_)));
    let mut client = RawClient::connect(server.address()).await;
    let mut text = frame::control(&hello(&server.user.token)).split_off(5);
    text.resize(8192, b' ');
    client.send_json(&text).await;
    assert!(matches!(client.reply().await, Reply::Welcome(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_framing_closes_the_connection() {
    let watched = Watched::start().await;
    let position = |kind: u8, position: u64, rest: &[u8]| {
        let length = u32::try_from(13 + rest.len()).unwrap();
        let position = position.to_be_bytes();
        [&length.to_be_bytes()[..], &[kind, 0, 0, 0, 0], &position, rest].concat()
    };
    let broken: Vec<(&str, Vec<u8>)> = vec![
        ("length 0", vec![0; 4]),
        ("kind 0", vec![0, 0, 0, 2, 0, 0]),
        ("kind 5", vec![0, 0, 0, 2, 5, 0]),
        ("kind 255", vec![0, 0, 0, 2, 255, 0]),
        ("a block list", position(4, 0, &[0; 32])),
        ("a chunk without payload", position(2, 0, &[])),
        ("a chunk without a whole head", vec![0, 0, 0, 3, 2, 0, 0]),
        ("a block too short", position(3, 0, &[0; 31])),
        ("a block too long", position(3, 0, &[0; 33])),
        ("an offset beyond any file", position(2, 1 << 63, b"x")),
        ("an index beyond any file", position(3, 1 << 43, &[0; 32])),
    ];
    for (what, bytes) in &broken {
        println!("{what}");
        let mut client = watched.server.client().await;
        client.send_raw(bytes).await;
        let is_too_long = *what == "a block too long";
        client.error(if is_too_long { Code::FrameTooLarge } else { Code::BadFrame }).await;
        assert_eq!(client.closed().await, [], "{what}");
    }
    for (what, bytes) in &broken[..4] {
        println!("{what} before login");
        let mut client = watched.stranger().await;
        client.send_raw(bytes).await;
        client.error(Code::BadFrame).await;
        assert_eq!(client.closed().await, [], "{what}");
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_answered_in_its_own_words() {
    let watched = Watched::start().await;
    let tls: &[u8] = &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    // The request of a browser or of `curl` gets an answer that it shows to its user.
    for request in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"POST /uploads HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ] {
        let answer = exchange(watched.server.address(), request).await;
        assert!(answer.is_ascii() && answer.len() <= 512, "{answer:?}");
        let answer = String::from_utf8(answer.to_vec()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("Towline") && body.contains("towline put"), "{body}");
    }
    // A handshake of TLS that no client makes is answered with an alert of TLS.
    let alert = exchange(watched.server.address(), &[0x16, 3, 1, 0, 4, 9, 0, 0, 0]).await;
    assert!(alert.starts_with(&[0x15, 3]) && alert.len() <= 64, "{alert:?}");
    // One that ends too soon has no answer.
    assert!(exchange(watched.server.address(), tls).await.is_empty());
    for bytes in [&[0xff; 4], &[1, 0, 0, 0]] {
        let answer = exchange(watched.server.address(), bytes).await;
        assert!(!answer.is_empty() && answer.len() <= 64, "{answer:?}");
        assert!(answer.is_ascii(), "{answer:?}");
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_does_not_end_is_cut_off_and_its_bytes_count() {
    let server = hurried(|timings| timings.frame = SHORT).await;
    let test_file = TestFile::new(BLOCK, 110);
    let mut client = server.client().await;
    let document_id = client.upload(upload("slow.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..CHUNK).await;
    let head = frame::chunk_head(ZERO, offset(CHUNK), 65_536);
    client.send_raw(&head).await;
    client.send_raw(&test_file.bytes[CHUNK..CHUNK + 1000]).await;
    client.error(Code::TooSlow).await;
    client.closed().await;
    let mut client = server.client().await;
    let granted = client.resume(resume(document_id)).await;
    assert_eq!(granted.offset, offset(CHUNK + 1000), "what came of it counts");
}

/// Row 7 with single bytes: a byte that arrives does not extend the time of its frame, in a chunk
/// as in a control frame.
#[tokio::test(flavor = "multi_thread")]
async fn a_byte_now_and_then_gives_a_frame_no_more_time() {
    let server = hurried(|timings| timings.frame = SHORT).await;
    let test_file = TestFile::new(BLOCK, 112);
    let chunk = frame::chunk_head(ZERO, offset(0), 65_536).to_vec();
    let control = [0, 0, 0x80, 1, 1, b'{'].to_vec();
    for (name, head) in [("chunk", chunk), ("control", control)] {
        let mut client = server.client().await;
        let document_id = client.upload(upload("drips.bin", &test_file)).await.document_id;
        let began = Instant::now();
        client.send_raw(&head).await;
        let mut clock = tokio::time::interval(SHORT / 20);
        let mut sent = 0;
        let is_told = |heard: &Heard| matches!(heard, Heard::Reply(Reply::Error(error)) if error.code == Code::TooSlow);
        while !client.heard_so_far().iter().any(is_told) {
            clock.tick().await;
            let drip = if name == "chunk" { test_file.bytes[sent] } else { b' ' };
            if client.try_send_raw(&[drip]).await.is_err() {
                break;
            }
            sent += 1;
            assert!(began.elapsed() < PATIENCE, "{name}: {sent} bytes and no end");
        }
        println!("{name}: {sent} bytes in {:?}", began.elapsed());
        let mut client = server.client().await;
        let kept = client.resume(resume(document_id)).await.offset;
        assert!(
            kept <= offset(sent) && (name == "control" || kept > offset(0)),
            "{kept} of {sent}"
        );
    }
}

/// A line of 9,600 baud carries 56 KiB in a minute: the chunks end in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_frame_on_a_slow_line_is_served() {
    const TIME: Duration = Duration::from_secs(2);
    let server = hurried(|timings| timings.frame = TIME).await;
    let test_file = TestFile::new(4 * FRAME_STRETCH, 113);
    let mut client = server.client().await;
    client.upload(upload("modem.bin", &test_file)).await;
    let began = Instant::now();
    let length = u32::try_from(test_file.size()).unwrap();
    client.send_raw(&frame::chunk_head(ZERO, offset(0), length)).await;
    let mut clock = tokio::time::interval(TIME / 32);
    for piece in test_file.bytes.chunks(FRAME_STRETCH / 16) {
        clock.tick().await;
        client.send_raw(piece).await;
    }
    assert!(began.elapsed() > TIME + TIME / 2, "longer than a frame may stand still");
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

/// The end of a payload is a position in a file, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_ends_beyond_any_file_is_refused_by_its_head() {
    let server = TestServer::start().await;
    for (beyond, payload) in [(1, 2), (0, 1), (60_000, 65_536), (0, 1 << 20)] {
        let mut client = server.client().await;
        client.upload(upload("far.bin", &TestFile::new(BLOCK, 114))).await;
        let at = Offset::try_from((1 << 63) - 1 - beyond).unwrap();
        let head = frame::chunk_head(ZERO, at, payload);
        // The head is enough for the refusal; no payload is needed.
        client.send_raw(&head).await;
        client.error(Code::BadFrame).await;
        client.closed().await;
    }
    // A chunk that ends at the limit is legal, though it is beyond the end of this file.
    let mut client = server.client().await;
    let end = (1 << 63) - 1 - (1 << 20);
    client.upload(upload("near.bin", &TestFile::new(BLOCK, 114))).await;
    client.send_raw(&frame::chunk_head(ZERO, Offset::try_from(end).unwrap(), 1 << 20)).await;
    client.send_raw(&vec![7; 1 << 20]).await;
    client.error(Code::SizeExceeded).await;
    client.ping().await;
}
