//! What a client must not say. Each test holds three things: the code of the answer, whether
//! the connection stays open, and that nothing new is on the disk.
//!
//! The rule: broken framing, and anything that is wrong before the login, closes the
//! connection. A request after the login that is wrong in itself is answered, and the
//! connection stays; chunks for the refused channel are read and dropped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use towline_protocol::request::{Complete, Hello, Upload};
use towline_protocol::{Channel, Code, Reply, Request, frame, limits};
use towline_tests::PATIENCE;
use towline_tests::raw_client::{
    CHUNK, Heard, RawClient, ZERO, about, exchange, nobodys_document, offset, resume, upload,
    upload_of_size,
};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{FileSize, Offset};

/// See [`limits::FRAME_STRETCH_BYTES`].
const FRAME_STRETCH: usize = 32 << 10;
const _: () = assert!(FRAME_STRETCH as u64 == limits::FRAME_STRETCH_BYTES);

/// A server whose disk is looked at before and after.
struct Watched {
    server: TestServer,
    before: BTreeMap<PathBuf, u64>,
}

impl Watched {
    async fn start() -> Self {
        Self::over(TestServer::start().await)
    }

    fn over(server: TestServer) -> Self {
        let before = server.site.on_disk();
        Self { server, before }
    }

    async fn stranger(&self) -> RawClient {
        RawClient::connect(self.server.address()).await
    }

    /// Nothing has come of it all, and the server serves.
    async fn assert_nothing_new(mut self) {
        let mut client = self.server.client().await;
        client.ping().await;
        self.server.stop().await;
        assert_eq!(self.server.site.on_disk(), self.before);
        assert!(self.server.site.state().uploads.is_empty());
    }
}

fn hello(token: &str, version: u32) -> Request {
    Request::Hello(Hello { channel: ZERO, version, token: token.to_owned(), client: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beyond_its_cap() {
    let watched = Watched::start().await;
    for length in [1_048_590_u32, 1 << 24, u32::MAX] {
        for logged_in in [false, true] {
            let mut client = match logged_in {
                true => watched.server.client().await,
                false => watched.stranger().await,
            };
            if !logged_in && length.to_be_bytes()[0] != 0 {
                // The first byte is one of no protocol that is served here: see [`another_protocol`].
                continue;
            }
            client.send_raw(&length.to_be_bytes()).await;
            let error = client.error(Code::FrameTooLarge).await;
            assert!(error.max.is_some_and(|max| max <= 1_048_589), "{error:?}");
            assert_eq!(client.closed().await, []);
        }
    }
    // A control message, a hello and a chunk have limits of their own.
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
async fn the_longest_that_is_legal() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let text = br#"{"action":"ping"}"#;
    let padded = [&text[..], &vec![b' '; 32_768 - text.len()]].concat();
    client.send_json(&padded).await;
    assert!(matches!(client.reply().await, Reply::Ping(_)));
    let mut client = RawClient::connect(server.address()).await;
    let mut text = frame::control(&hello(&server.user.token, 1)).split_off(5);
    text.resize(8192, b' ');
    client.send_json(&text).await;
    assert!(matches!(client.reply().await, Reply::Welcome(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_framing() {
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
async fn another_protocol() {
    let watched = Watched::start().await;
    let tls: &[u8] = &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    // What a browser and `curl` say gets an answer that they show to their user.
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
    for bytes in [tls, &[0xff; 4], &[1, 0, 0, 0]] {
        let answer = exchange(watched.server.address(), bytes).await;
        assert!(!answer.is_empty() && answer.len() <= 64, "{answer:?}");
        assert!(answer.is_ascii(), "{answer:?}");
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions() {
    let watched = Watched::start().await;
    let token = watched.server.user.token.clone();
    let mut client = watched.stranger().await;
    client.send(&hello(&token, 0)).await;
    assert_eq!(client.error(Code::VersionUnsupported).await.max, Some(1));
    client.closed().await;
    // A later client is answered with what both speak, on the same connection.
    for version in [1, 2, u32::MAX] {
        let mut client = watched.stranger().await;
        client.send(&hello(&token, version)).await;
        let Reply::Welcome(welcome) = client.reply().await else { panic!("{version}") };
        assert_eq!(welcome.version, 1);
        assert_eq!(welcome.user_id, watched.server.user.id);
        assert_eq!(welcome.user, "ada");
        assert_eq!((welcome.chunk_size, welcome.block_size), (65_536, 1_048_576));
        assert!(welcome.max_chunk_size >= 65_536);
        for feature in ["blocks", "find", "withdraw", "channels"] {
            assert!(welcome.features.iter().any(|f| f == feature), "{feature}");
        }
    }
    watched.assert_nothing_new().await;
}

/// A server in a hurry, one limit at a time.
async fn hurried(tweak: fn(&mut towline_server::Timings)) -> TestServer {
    TestServer::start_with(move |config| tweak(&mut config.timings)).await
}

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn nobody_logs_in() {
    let watched = Watched::over(hurried(|timings| timings.login = SHORT).await);
    // Silent.
    let begun = Instant::now();
    let mut client = watched.stranger().await;
    client.error(Code::AuthTimeout).await;
    client.closed().await;
    assert!(begun.elapsed() >= SHORT);
    // Drop by drop: each byte is in time, the whole is not.
    let mut client = watched.stranger().await;
    let bytes = frame::control(&hello(&watched.server.user.token, 1));
    let mut drops = tokio::time::interval(SHORT / 10);
    let begun = Instant::now();
    for byte in &bytes {
        drops.tick().await;
        if client.try_send_raw(&[*byte]).await.is_err() || begun.elapsed() > 3 * SHORT {
            break;
        }
    }
    client.error(Code::AuthTimeout).await;
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_does_not_end() {
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

/// Row 7 by drips: no byte that comes gives a frame more time, in a chunk as in a control
/// frame.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_trickles() {
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

/// A line of 9,600 baud brings 56 KiB in a minute: its chunks end.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_frame_on_a_slow_line() {
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

/// Where a payload ends is a place in a file too.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_ends_beyond_any_file() {
    let server = TestServer::start().await;
    for (beyond, payload) in [(1, 2), (0, 1), (60_000, 65_536), (0, 1 << 20)] {
        let mut client = server.client().await;
        client.upload(upload("far.bin", &TestFile::new(BLOCK, 114))).await;
        let at = Offset::try_from((1 << 63) - 1 - beyond).unwrap();
        let head = frame::chunk_head(ZERO, at, payload);
        // The head alone is enough.
        client.send_raw(&head).await;
        client.error(Code::BadFrame).await;
        client.closed().await;
    }
    // Up to there it is legal, and beyond the file only.
    let mut client = server.client().await;
    let end = (1 << 63) - 1 - (1 << 20);
    client.upload(upload("near.bin", &TestFile::new(BLOCK, 114))).await;
    client.send_raw(&frame::chunk_head(ZERO, Offset::try_from(end).unwrap(), 1 << 20)).await;
    client.send_raw(&vec![7; 1 << 20]).await;
    client.error(Code::SizeExceeded).await;
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_falls_silent() {
    let server = hurried(|timings| timings.silence = SHORT).await;
    let test_file = TestFile::new(BLOCK, 111);
    let mut client = server.client().await;
    let document_id = client.upload(upload("silent.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..CHUNK).await;
    client.error(Code::TooSlow).await;
    client.closed().await;
    let mut client = server.client().await;
    assert_eq!(client.resume(resume(document_id)).await.offset, offset(CHUNK));
    // One that says ping now and then stays.
    let mut pings = tokio::time::interval(SHORT / 5);
    for _ in 0..12 {
        pings.tick().await;
        client.ping().await;
    }
    assert!(client.status(document_id).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_before_login() {
    let watched = Watched::start().await;
    let chunk = [&frame::chunk_head(ZERO, offset(0), 5)[..], b"hello"].concat();
    let test_file = TestFile::new(1, 1);
    let block = frame::block(ZERO, towline_types::BlockIndex::FIRST, test_file.value(0));
    for (what, bytes) in [
        ("upload", frame::control(&Request::Upload(upload("a", &test_file)))),
        ("ping", frame::control(&Request::Ping(Default::default()))),
        ("status", frame::control(&Request::Status(about(nobodys_document())))),
        ("complete", frame::control(&Request::Complete(Complete::default()))),
        ("a chunk", chunk),
        ("a block", block.to_vec()),
    ] {
        println!("{what}");
        let mut client = watched.stranger().await;
        client.send_raw(&bytes).await;
        client.error(Code::AuthRequired).await;
        assert_eq!(client.closed().await, [], "{what}");
    }
    // No JSON, no action: closed as well, with whatever says it best.
    for text in
        [&b"{"[..], b"[]", b"{}", b"{\"action\":\"fly\"}", b"{\"action\":\"hello\"}", b"\xff"]
    {
        let mut client = watched.stranger().await;
        client.send_json(text).await;
        assert!(matches!(client.reply().await, Reply::Error(_)));
        assert_eq!(client.closed().await, []);
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hello() {
    let server = TestServer::start().await;
    let bob = server.site.add_user("bob").await;
    let test_file = TestFile::new(10, 112);
    let mut client = server.client().await;
    client.send(&hello(&bob.token, 1)).await;
    client.error(Code::BadState).await;
    client.upload(upload("mine.bin", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..10).await;
    client.complete(ZERO).await;
    server.site.assert_published(&server.user, "mine.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_json() {
    let watched = Watched::start().await;
    let mut client = watched.server.client().await;
    let upload = r#""action":"upload","filename":"a.bin","filesize":1"#;
    let deep = |levels: usize| {
        format!(r#"{{"action":"ping","x":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels))
    };
    let texts: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\xff\xfe".to_vec(),
        b"{\"action\":\"upload\",\"filename\":\"\xff\",\"filesize\":1}".to_vec(),
        b"{\"action\":\"ping\"".to_vec(),
        b"{\"action\":\"ping\"} x".to_vec(),
        b"{\"action\":\"ping\"}{}".to_vec(),
        b"{\"action\":\"ping\",}".to_vec(),
        b"{\"action\":\"ping\"}\0".to_vec(),
        b"\xef\xbb\xbf{\"action\":\"ping\"}".to_vec(),
        b"[1]".to_vec(),
        b"7".to_vec(),
        b"null".to_vec(),
        b"\"action\"".to_vec(),
        deep(15).into_bytes(),
        deep(2000).into_bytes(),
        format!(r#"{{{upload},"filename":"b.bin"}}"#).into_bytes(),
        format!(r#"{{{upload},"action":"upload"}}"#).into_bytes(),
        format!(r#"{{{upload},"\u0066ilename":"b.bin"}}"#).into_bytes(),
        format!(r#"{{{upload},"x":{{"y":1,"y":1}}}}"#).into_bytes(),
        br#"{"action":"upload","filename":"\ud800","filesize":1}"#.to_vec(),
    ];
    for text in &texts {
        client.send_json(text).await;
        let error = client.error(Code::BadJson).await;
        assert!(error.message.len() <= 1024, "{error:?}");
    }
    // The same connection is as good as ever.
    client.ping().await;
    for text in &texts {
        let mut stranger = watched.stranger().await;
        stranger.send_json(text).await;
        stranger.error(Code::BadJson).await;
        assert_eq!(stranger.closed().await, []);
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_fields() {
    let watched = Watched::start().await;
    let mut client = watched.server.client().await;
    for (text, field) in [
        (r#"{"filename":"a","filesize":1}"#, "action"),
        (r#"{"action":["upload"]}"#, "action"),
        (r#"{"action":"upload","filesize":1}"#, "filename"),
        (r#"{"action":"upload","filename":"a"}"#, "filesize"),
        (
            r#"{"action":"upload","filename":"a","filesize":1,"on_konflict":"reject"}"#,
            "on_konflict",
        ),
        (
            r#"{"action":"upload","filename":"a","filesize":1,"on_conflict":"overwrite"}"#,
            "on_conflict",
        ),
        (r#"{"action":"upload","filename":["a"],"filesize":1}"#, "filename"),
        (r#"{"action":"upload","filename":"a","filesize":"1"}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":-1}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":1.5}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":1.0}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":1e30}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":9223372036854775808}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":99999999999999999999999}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":9007199254740994.0}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":1,"folder":"b"}"#, "folder"),
        (r#"{"action":"upload","filename":"a","filesize":1,"blocks":1}"#, "blocks"),
        (r#"{"action":"upload","filename":"a","filesize":1,"blake3":"AB"}"#, "blake3"),
        (r#"{"action":"upload","filename":"a","filesize":1,"user_id":0}"#, "user_id"),
        (r#"{"action":"upload","filename":"a","filesize":1,"channel":4294967296}"#, "channel"),
        (r#"{"action":"upload","filename":"a","filesize":1,"channel":-1}"#, "channel"),
        (r#"{"action":"resume"}"#, "document_id"),
        (r#"{"action":"resume","document_id":0}"#, "document_id"),
        (r#"{"action":"resume","document_id":"1"}"#, "document_id"),
        (r#"{"action":"resume","document_id":1,"offset":-1}"#, "offset"),
        (r#"{"action":"status","document_id":1,"x":2}"#, "x"),
        (r#"{"action":"cancel"}"#, "document_id"),
        (r#"{"action":"complete","blake3":null}"#, "blake3"),
        (r#"{"action":"upload","filename":"a","filesize":1,"user_id":null}"#, "user_id"),
        (r#"{"action":"complete","on_conflict":"x"}"#, "on_conflict"),
        (r#"{"action":"find","filename":"a"}"#, "filesize"),
    ] {
        client.send_json(text).await;
        let error = client.error(Code::BadRequest).await;
        assert_eq!(error.field.as_deref(), Some(field), "{text}");
    }
    for text in [r#"{"action":"fly"}"#, r#"{"action":"success"}"#, r#"{"action":"HELLO"}"#] {
        client.send_json(text).await;
        client.error(Code::UnknownAction).await;
    }
    // The answer goes to the channel that asked.
    client.send_json(r#"{"action":"upload","channel":9,"filename":"a"}"#).await;
    client.error_on(Channel(9), Code::BadRequest).await;
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn larger_than_the_server_takes() {
    let server = TestServer::start_with(|config| {
        config.engine.max_filesize = FileSize::try_from(100_000).unwrap();
    })
    .await;
    let watched = Watched::over(server);
    let mut client = watched.server.client().await;
    for size in [100_001, 1 << 40, i64::MAX.cast_unsigned()] {
        let begin = upload_of_size("large.bin", FileSize::try_from(size).unwrap());
        let error = client.upload_refused(begin, Code::SizeLimit).await;
        assert_eq!(error.max, Some(100_000));
    }
    let granted = client.upload(upload("fits.bin", &TestFile::new(100_000, 1))).await;
    client.cancel(granted.document_id).await;
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room() {
    let server = TestServer::start_with(|config| {
        // All of a disk that nobody has.
        config.engine.reserve_bytes = 1 << 60;
        config.engine.max_filesize = FileSize::try_from(1 << 50).unwrap();
    })
    .await;
    let watched = Watched::over(server);
    let mut client = watched.server.client().await;
    let begin = upload_of_size("large.bin", FileSize::try_from(1_000_000).unwrap());
    let error = client.upload_refused(begin, Code::NoSpace).await;
    assert!(error.missing.is_some_and(|missing| missing > 1_000_000), "{error:?}");
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_for_another_user() {
    let watched = Watched::start().await;
    let bob = watched.server.site.add_user("bob").await;
    let mut client = watched.server.client().await;
    let begin = Upload { user_id: Some(bob.id), ..upload("a.bin", &TestFile::new(1, 1)) };
    client.upload_refused(begin, Code::WrongUser).await;
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names() {
    let watched = Watched::start().await;
    let mut client = watched.server.client().await;
    let too_long = "ü".repeat(128);
    let longest = "x".repeat(256);
    let many = "€".repeat(255);
    let names = [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "..\\x",
        "C:\\x",
        "...",
        ".x ",
        "x.",
        "x ",
        " x",
        "\u{a0}x",
        "a\0b",
        "a\nb",
        "a\u{1b}[2Jb",
        "a\u{7f}b",
        "a\u{9b}b",
        "a\u{202e}fdp.exe",
        "a\u{2066}b",
        "a\u{200b}b",
        "a\u{ad}b",
        "a\u{feff}b",
        "\u{2028}a",
        "a\u{e0041}b",
        "CON",
        "con",
        "con.txt",
        "nul.tar.gz",
        "Aux.pdf",
        "COM1",
        "lpt9.doc",
        "COM¹",
        "CONIN$",
        &too_long,
        &longest,
        &many,
    ];
    for name in names {
        let begin = upload(name, &TestFile::new(1, 1));
        let error = client.upload_refused(begin, Code::BadName).await;
        assert!(!error.message.is_empty());
        let begin = Upload {
            folder: vec!["good".to_owned(), name.to_owned()],
            ..upload("a.bin", &TestFile::new(1, 1))
        };
        client.upload_refused(begin, Code::BadName).await;
    }
    // 32 folders are legal, one more is not, and the whole has a cap too.
    for (count, name) in [(33, "f".to_owned()), (20, "f".repeat(110))] {
        let folder = vec![name; count];
        let begin = Upload { folder, ..upload("a.bin", &TestFile::new(1, 1)) };
        client.upload_refused(begin, Code::BadName).await;
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_odd_and_are_legal() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(100, 113);
    let longest = format!("{}.bin", "x".repeat(251));
    for name in [
        "Übung 3.pdf",
        "報告書.pdf",
        "نامه\u{200c}ها.txt",
        "👩\u{200d}🚀.png",
        "a..b",
        ".env",
        "..a",
        ".staging",
        "-rf",
        "~",
        "con1",
        "a:b",
        "conference.pdf",
        "%2e%2e%2fx",
        "a'b\"c;d|e&f$(g)`h`",
        &longest,
    ] {
        client.upload(upload(name, &test_file)).await;
        client.chunks(ZERO, &test_file, 0..100).await;
        assert_eq!(client.complete(ZERO).await.filename, name);
        server.site.assert_published(&server.user, name, &test_file);
    }
    let folder = vec!["f".to_owned(); 32];
    client.upload(Upload { folder: folder.clone(), ..upload("deep.bin", &test_file) }).await;
    client.chunks(ZERO, &test_file, 0..100).await;
    assert_eq!(client.complete(ZERO).await.folder, folder);
    let path = format!("{}/deep.bin", folder.join("/"));
    server.site.assert_published(&server.user, &path, &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_not_there_or_not_yours() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(1000, 114);
    let mut client = server.client().await;
    let done = client.upload(upload("done.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..1000).await;
    client.complete(ZERO).await;
    let open = client.upload(upload("open.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..500).await;
    client.ping().await;

    let bob = server.site.add_user("bob").await;
    let mut bob = RawClient::login(server.address(), &bob.token).await;
    for request in 0..5 {
        let mut texts = Vec::new();
        for document_id in [nobodys_document(), done, open] {
            let complete = Complete { document_id: Some(document_id), ..Complete::default() };
            bob.send(&match request {
                0 => Request::Status(about(document_id)),
                1 => Request::Blocks(about(document_id)),
                2 => Request::Cancel(about(document_id)),
                3 => Request::Complete(complete),
                _ => Request::Resume(resume(document_id)),
            })
            .await;
            let error = bob.error(Code::NotFound).await;
            texts.push((
                error.message.replace(&document_id.to_string(), "N"),
                error.document_id.is_some(),
                error.channel,
            ));
        }
        assert!(texts.iter().all(|text| *text == texts[0]), "{request}: {texts:?}");
    }
    assert!(client.status(open).await.active, "nobody took it over");
    client.chunks(ZERO, &test_file, 500..1000).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_in_the_wrong_place() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 115);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..2 * CHUNK).await;
    // Below, beyond, and the very same chunk again.
    for wrong in [0, 2 * CHUNK + 1, CHUNK, BLOCK - CHUNK] {
        client.chunk(ZERO, wrong, &test_file.bytes[wrong..(wrong + CHUNK).min(BLOCK)]).await;
        let error = client.error(Code::OffsetMismatch).await;
        assert_eq!(error.expected, Some(offset(2 * CHUNK)));
        assert_eq!(client.resume(resume(document_id)).await.offset, offset(2 * CHUNK));
    }
    client.chunks(ZERO, &test_file, 2 * CHUNK..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_blocks() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 116);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("doc.pdf", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    client.block(ZERO, &test_file, 1).await;
    client.chunks(ZERO, &test_file, 0..1000).await;
    // Into a held block, into the middle of one that has not begun, before and
    // beyond the end of an open one.
    for wrong in [BLOCK, BLOCK + 5, 2 * BLOCK + 1, 0, 999, 1001] {
        client.chunk(ZERO, wrong, &test_file.bytes[wrong..wrong + 100]).await;
        client.error(Code::OffsetMismatch).await;
        let wish = towline_protocol::request::Resume { blocks: true, ..resume(document_id) };
        assert_eq!(client.resume(wish).await.offset, offset(1000));
    }
    // A chunk across the border into a held block: the part before is kept.
    client.chunks(ZERO, &test_file, 1000..BLOCK - 100).await;
    client.chunk(ZERO, BLOCK - 100, &test_file.bytes[BLOCK - 100..BLOCK + 100]).await;
    client.error(Code::OffsetMismatch).await;
    let wish = towline_protocol::request::Resume { blocks: true, ..resume(document_id) };
    client.resume(wish).await;
    client.announce(ZERO, 0, test_file.value(0)).await;
    client.block(ZERO, &test_file, 2).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_was_announced() {
    let server = TestServer::start().await;
    for blocks in [false, true] {
        for size in [0, 1, 100_000, BLOCK, BLOCK + 1] {
            let whole = TestFile::new(size + 1, 117);
            let test_file = TestFile { bytes: whole.bytes[..size].to_vec() };
            let name = format!("{blocks} {size}.bin");
            let mut client = server.client().await;
            let begin = Upload { blocks, ..upload(&name, &test_file) };
            let document_id = client.upload(begin).await.document_id;
            client.chunks(ZERO, &whole, 0..size.saturating_sub(100)).await;
            client.chunks(ZERO, &whole, size.saturating_sub(100)..size + 1).await;
            let error = client.error(Code::SizeExceeded).await;
            assert_eq!(error.max, Some(size as u64));
            let wish = towline_protocol::request::Resume { blocks, ..resume(document_id) };
            let from = client.resume(wish).await.offset;
            assert!(from <= offset(size));
            let staged = server.site.staging(document_id).metadata().unwrap().len();
            assert!(staged <= size as u64, "{staged} of {size}");
            let from = towline_tests::raw_client::position(from);
            client.chunks(ZERO, &test_file, from..size).await;
            if blocks {
                for index in 0..test_file.block_count() {
                    client.announce(ZERO, index, test_file.value(index)).await;
                }
            }
            assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
            server.site.assert_published(&server.user, &name, &test_file);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_while_bytes_are_missing() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 118);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    for sent in [0, 1, 300_000, BLOCK - 1] {
        let from = towline_tests::raw_client::position(client.status(document_id).await.received);
        client.chunks(ZERO, &test_file, from..sent).await;
        let error = client.complete_refused(Complete::default(), Code::Incomplete).await;
        assert_eq!(error.expected, Some(offset(sent)));
    }
    // By its number, unbound: it must be resumed first.
    let elsewhere = Complete { document_id: Some(document_id), ..Complete::default() };
    server.client().await.complete_refused(elsewhere, Code::BadState).await;
    // The channel is as it was.
    client.chunks(ZERO, &test_file, BLOCK - 1..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_finished_stays_finished() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(5000, 119);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..5000).await;
    let receipt = client.complete(ZERO).await;
    let by_number = Complete { document_id: Some(document_id), ..Complete::default() };
    for _ in 0..3 {
        assert_eq!(client.complete(ZERO).await, receipt);
        assert_eq!(client.complete_with(by_number.clone()).await, receipt);
    }
    client.send(&Request::Cancel(about(document_id))).await;
    client.error(Code::BadState).await;
    assert_eq!(client.status(document_id).await.status, "completed");
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_uploads() {
    let server =
        TestServer::start_with(|config| config.engine.limits.unfinished_per_user = 3).await;
    let test_file = TestFile::new(100, 120);
    let mut client = server.client().await;
    let channel = |i: u32| Channel(i);
    let mut documents = Vec::new();
    for i in 0..3 {
        let begin = Upload { channel: channel(i), ..upload(&format!("{i}.bin"), &test_file) };
        documents.push(client.upload(begin).await.document_id);
    }
    let fourth = Upload { channel: channel(3), ..upload("3.bin", &test_file) };
    client.upload_refused(fourth.clone(), Code::TooMany).await;
    // Another user has a count of its own.
    let bob = server.site.add_user("bob").await;
    RawClient::login(server.address(), &bob.token).await.upload(fourth.clone()).await;
    client.cancel(documents[1]).await;
    client.error_on(channel(1), Code::Cancelled).await;
    client.upload(fourth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_channels() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(10, 121);
    let mut client = server.client().await;
    for i in 0..1024 {
        let begin = Upload { channel: Channel(i), ..upload(&format!("{i}.bin"), &test_file) };
        client.send(&Request::Upload(begin)).await;
    }
    for i in 0..1024 {
        assert!(matches!(client.reply_on(Channel(i)).await, Reply::Upload(_)), "{i}");
    }
    let one_more = Upload { channel: Channel(5000), ..upload("more.bin", &test_file) };
    client.upload_refused(one_more.clone(), Code::TooMany).await;
    // One that ends makes room.
    client.chunk(Channel(7), 0, &test_file.bytes).await;
    client.complete(Channel(7)).await;
    client.upload(one_more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_open_blocks() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(66 * BLOCK, 122);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("open.bin", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    for index in 0..32 {
        client.chunk(ZERO, index * BLOCK, &test_file.bytes[index * BLOCK..index * BLOCK + 1]).await;
    }
    for index in 32..64 {
        client.announce(ZERO, index, test_file.value(index)).await;
    }
    client.ping().await;
    assert!(client.heard_so_far().iter().all(|h| matches!(h, Heard::Reply(Reply::Progress(_)))));
    client.announce(ZERO, 64, test_file.value(64)).await;
    client.error(Code::TooMany).await;
    let wish = towline_protocol::request::Resume { blocks: true, ..resume(document_id) };
    // What was begun and not held is forgotten; only the bytes that end at the
    // offset stay.
    assert_eq!(client.resume(wish).await.offset, offset(1));
    client.chunk(ZERO, 10 * BLOCK, &test_file.bytes[10 * BLOCK..10 * BLOCK + 10]).await;
    client.ping().await;
    assert!(client.heard_so_far().iter().all(|h| matches!(h, Heard::Reply(Reply::Progress(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections() {
    let server = TestServer::start_with(|config| config.connections = 2).await;
    let one = server.client().await;
    let two = server.client().await;
    // One more waits or is turned away; it is served as soon as there is room.
    let mut third = RawClient::connect(server.address()).await;
    let _ = third.try_send_raw(&frame::control(&hello(&server.user.token, 1))).await;
    drop((one, two));
    let begun = Instant::now();
    loop {
        let mut client = RawClient::connect(server.address()).await;
        let _ = client.try_send_raw(&frame::control(&hello(&server.user.token, 1))).await;
        if matches!(client.heard().await, Heard::Reply(Reply::Welcome(_))) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no room after the others have gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads() {
    let server = hurried(|timings| timings.unread = SHORT).await;
    let test_file = TestFile::new(BLOCK, 123);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let begin = Request::Upload(upload("deaf.bin", &test_file));
    let mut bytes = frame::control(&hello(&server.user.token, 1));
    bytes.extend(frame::control(&begin));
    bytes.extend(frame::chunk_head(ZERO, offset(0), 65_536));
    bytes.extend(&test_file.bytes[..CHUNK]);
    stream.write_all(&bytes).await.unwrap();
    let pings = frame::control(&Request::Ping(Default::default())).repeat(1000);
    let begun = Instant::now();
    let closed = timeout(PATIENCE, async {
        let mut sent = 0;
        while stream.write_all(&pings).await.is_ok() {
            sent += pings.len();
        }
        sent
    });
    let sent = closed.await.expect("the server gives up a client that does not read");
    println!("given up after {sent} bytes of pings and {:?}", begun.elapsed());
    let mut client = server.client().await;
    let found =
        client.find(towline_tests::raw_client::find("deaf.bin", test_file.filesize())).await;
    let granted = client.resume(resume(found.unfinished.unwrap().document_id)).await;
    assert_eq!(granted.offset, offset(CHUNK));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sending_half_closed_right_after_complete() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 124);
    for i in 0..10 {
        let name = format!("{i}.bin");
        let mut client = server.client().await;
        let document_id = client.upload(upload(&name, &test_file)).await.document_id;
        client.chunks_of(ZERO, &test_file, 0..test_file.size(), BLOCK).await;
        client.send(&Request::Complete(Complete::default())).await;
        client.finish_sending().await;
        assert_eq!(client.success_on(ZERO).await.blake3, test_file.hash());
        client.closed().await;
        server.site.assert_published(&server.user, &name, &test_file);
        assert_eq!(server.client().await.status(document_id).await.status, "completed");
    }
}
