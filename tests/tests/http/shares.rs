//! What a client that is slow, or gives up, costs others and itself.

use super::kit::{CHUNK, server, server_with};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use towline_tests::PATIENCE;
use towline_tests::http_client::{HttpClient, HttpUpload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// A request that promises so many bytes from `start` on, and sends none of them.
async fn promised(
    server: &TestServer,
    token: &str,
    upload: &HttpUpload,
    (start, length): (usize, usize),
    headers: &str,
) -> TcpStream {
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Range: {}\r\n\
         Content-Length: {length}\r\n{headers}\r\n",
        upload.path,
        upload.content_range(start, length),
    );
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Each of them sends a few bytes again and again, so that its buffer is never idle: there are more
/// of them than the pool has buffers.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_drip_hold_up_nobody_else() {
    let (server, client) = server().await;
    let mut drips = JoinSet::new();
    for name in ["eve", "mallory"] {
        let user = server.site.add_user(name).await;
        let client = HttpClient::new(server.address(), &user.token);
        for number in 0..60 {
            let upload = client.begin(&format!("{number}"), CHUNK).await;
            let mut stream = promised(&server, &user.token, &upload, (0, CHUNK), "").await;
            drips.spawn(async move {
                let mut beat = interval(Duration::from_millis(40));
                loop {
                    beat.tick().await;
                    if stream.write_all(&[7; 100]).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
    let file = TestFile::new(2 * BLOCK, 90);
    for number in 0..5 {
        let began = Instant::now();
        let upload = client.begin(&format!("honest {number}"), file.size()).await;
        client.patch(&upload, 0, &file.bytes).await.is(204);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    assert!(drips.try_join_next().is_none(), "they still drip");
}

/// A client that pauses its download for longer than a look at its access is good: it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_rests_keeps_its_access() {
    let (server, client) =
        server_with(|config| config.timings.recheck = Duration::from_secs(1)).await;
    let file = TestFile::new(24 << 20, 91);
    let upload = client.begin("a.bin", file.size()).await;
    client.patch(&upload, 0, &file.bytes).await.is(204);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "GET /documents/{}/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Connection: close\r\n\r\n",
        upload.id, server.user.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut read = vec![0; 1000];
    stream.read_exact(&mut read).await.unwrap();
    // The looks go on while nothing is read: a token is looked at three times in this time.
    let mut looks = interval(Duration::from_millis(700));
    for _ in 0..5 {
        looks.tick().await;
    }
    timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("all of it").unwrap();
    assert!(read.ends_with(&file.bytes), "{} bytes came", read.len());
}

/// A user who was removed is cut off though the client takes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_ends_when_its_user_is_removed() {
    use towline_tests::process::{output, towlined};
    let (server, client) =
        server_with(|config| config.timings.recheck = Duration::from_secs(1)).await;
    let file = TestFile::new(48 << 20, 92);
    let upload = client.begin("a.bin", file.size()).await;
    client.patch(&upload, 0, &file.bytes).await.is(204);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "GET /documents/{}/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        upload.id, server.user.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut read = vec![0; 1000];
    stream.read_exact(&mut read).await.unwrap();
    let mut remove = towlined();
    remove.args(["user", "remove", "ada", "--data-dir"]).arg(server.site.path());
    assert!(output(&mut remove).await.status.success());
    client.get("/documents").await.is(401);
    let rest = async {
        let mut looks = interval(Duration::from_millis(500));
        for _ in 0..10 {
            looks.tick().await;
        }
        // An error, or the end before all bytes came.
        let _ = stream.read_to_end(&mut read).await;
    };
    timeout(PATIENCE, rest).await.expect("an end");
    assert!(read.len() < file.size(), "{} bytes came", read.len());
}

/// The retry of a request that hangs takes its bytes over, though nobody vouches for them yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_digest_that_hangs_does_not_keep_its_range() {
    let (server, client) = server().await;
    let file = TestFile::new(2 * BLOCK, 93);
    let upload = client.begin("a.bin", file.size()).await;
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &file.bytes);
    let digest = format!("Content-Digest: sha-256=:{}:\r\n", STANDARD.encode(sum));
    let size = file.size();
    let mut hanging = promised(&server, &server.user.token, &upload, (0, size), &digest).await;
    hanging.write_all(&file.bytes[..BLOCK + 5]).await.unwrap();
    let received = async {
        let mut looks = interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            let ranges = client.get(&upload.path).await.json()["receivedRanges"].clone();
            if ranges == serde_json::json!([[0, BLOCK + 4]]) {
                return;
            }
        }
    };
    timeout(PATIENCE, received).await.expect("the bytes are here");
    let asked = client.send("HEAD", &upload.path, &[], "").await.is(200);
    assert_eq!(asked.upload_offset(), Some(0), "nobody vouches for them");
    client.patch(&upload, 0, &file.bytes).await.is(204);
    server.site.assert_published(&server.user, "a.bin", &file);
    let mut answer = String::new();
    hanging.shutdown().await.unwrap();
    let _ = timeout(PATIENCE, hanging.read_to_string(&mut answer)).await.expect("an end");
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
}

/// A client of tus whose last request was cut off behind its last byte takes the offset for the end:
/// so the document has to be there.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_lacks_only_its_end_is_completed_when_tus_asks() {
    let (server, client) = server().await;
    let file = TestFile::new(300_000, 94);
    let upload = client.begin("a.bin", file.size()).await;
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
         Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        upload.path,
        server.user.token,
        file.size()
    );
    towline_tests::http_client::cut(server.address(), &[head.as_bytes(), &file.bytes].concat())
        .await;
    assert_eq!(client.get(&upload.path).await.json()["status"], "PAUSED");
    let probed = client.send("HEAD", &upload.path, &[("tus-resumable", "1.0.0")], "").await.is(200);
    assert_eq!(probed.upload_offset(), Some(300_000));
    server.site.assert_published(&server.user, "a.bin", &file);
}

/// Bytes that would lie over others are refused before one of them is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_reaches_into_received_bytes_writes_nothing() {
    let (_server, client) = server().await;
    let file = TestFile::new(2 * CHUNK, 95);
    let upload = client.begin("a.bin", file.size()).await;
    client.patch(&upload, CHUNK, &file.bytes[CHUNK..]).await.is(204);
    client.patch(&upload, 0, &file.bytes).await.is(409);
    let tus = [
        ("tus-resumable", "1.0.0"),
        ("content-type", "application/offset+octet-stream"),
        ("upload-offset", "0"),
    ];
    client.send("PATCH", &upload.path, &tus, file.bytes.clone()).await.is(409);
    let shown = client.get(&upload.path).await.json();
    assert_eq!(shown["receivedRanges"], serde_json::json!([[CHUNK, 2 * CHUNK - 1]]));
    assert_eq!(shown["status"], "PAUSED");
}

/// A stranger has the time of a login, and one try for each connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_has_the_time_of_a_login() {
    let (server, _client) =
        server_with(|config| config.timings.login = Duration::from_secs(2)).await;
    let refused = towline_tests::http_client::raw(
        server.address(),
        b"GET /documents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nonsense\r\n\r\n",
    );
    let refused = refused.await;
    assert!(
        refused.starts_with("HTTP/1.1 401") && refused.contains("connection: close"),
        "{refused}"
    );
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let asking = async {
        let mut beat = interval(Duration::from_millis(300));
        let mut answer = [0; 4096];
        loop {
            beat.tick().await;
            let asked = stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await;
            if asked.is_err() || matches!(stream.read(&mut answer).await, Ok(0) | Err(_)) {
                return;
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("the server ends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_handler_looks_at_is_refused() {
    let (server, _client) = server().await;
    for (head, status) in [
        ("GET /documents HTTP/1.1\r\n\r\n", "400"),
        ("GET /documents HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        (
            "PATCH /uploads/1 HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "415",
        ),
        (
            "PATCH /uploads/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
            "501",
        ),
    ] {
        let head = head.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        let answer = towline_tests::http_client::raw(server.address(), head.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {answer}");
    }
}
