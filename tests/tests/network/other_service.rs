//! Another service listens where a server of Towline was expected: the client reports that at once,
//! together with the service's answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use towline_protocol::frame;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::process::Launch;
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// Longer than the few attempts take, and short for a person who has mistyped a port.
const SOON: Duration = Duration::from_secs(20);

/// How a service treats a connection.
#[derive(Debug, Clone)]
struct Manners {
    speaks_first: Vec<u8>,
    answers: Vec<u8>,
    closes: bool,
}

impl Manners {
    fn greets(bytes: &[u8]) -> Self {
        Self { speaks_first: bytes.to_vec(), answers: Vec::new(), closes: false }
    }

    fn answers(bytes: &[u8]) -> Self {
        Self { speaks_first: Vec::new(), answers: bytes.to_vec(), closes: true }
    }
}

/// A service with these manners, which runs until the test ends.
async fn service(manners: Manners) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let manners = manners.clone();
            tokio::spawn(async move {
                let mut heard = vec![0; 4096];
                stream.write_all(&manners.speaks_first).await?;
                if stream.read(&mut heard).await? == 0 {
                    return Ok(());
                }
                stream.write_all(&manners.answers).await?;
                while !manners.closes && stream.read(&mut heard).await? > 0 {}
                std::io::Result::Ok(())
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_is_named_with_its_answer_and_not_waited_for() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let http = b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n";
    let long = b"220 mail.example.org ESMTP Postfix (Debian/GNU) ready when you are\r\n";
    for (manners, answer) in [
        (Manners::answers(http), "\"HTTP/1.1 400 Bad Request\""),
        (Manners::greets(b"SSH-2.0-OpenSSH_9.9\r\n"), "\"SSH-2.0-OpenSSH_9.9\""),
        (Manners::greets(long), "\"220 mail.example.org ESMTP Postfix (Debi\""),
        (Manners::greets(b"\x1b[2Jhello\r\n"), "\"[2Jhello\""),
        (Manners::answers(b"\x15\x03\x03\x00\x02\x02\x28"), "in TLS"),
        // A frame with a length that Towline allows, and without a message.
        (Manners::answers(b"\0\0\0\x06\x01nope!"), "\"nope!\""),
    ] {
        let address = service(manners).await;
        let cli = CliFixture::new(&site, &user, address);
        let began = Instant::now();
        let outcome = run(cli.put(&cli.write("a.bin", &TestFile::new(10, 210)))).await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        outcome.assert_code(1);
        for what in ["not a Towline server", &address.to_string(), answer, "8695"] {
            assert!(outcome.err.contains(what), "{what}: {outcome:#?}");
        }
        assert!(!outcome.err.contains("frame"), "{outcome:#?}");
        assert!(!outcome.err.contains('\u{1b}'), "{outcome:#?}");
        // The address may be a typing mistake, so the command stays in the list until it is
        // forgotten.
        assert!(cli.state().uploads.is_empty());
        assert!(outcome.err.contains("--forget"), "{outcome:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_that_is_silent_or_closes_is_asked_about() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    for (manners, word) in
        [(Manners::greets(b""), "does not answer"), (Manners::answers(b""), "closes them")]
    {
        let address = service(manners).await;
        let cli = CliFixture::new(&site, &user, address);
        let mut put = cli.put(&cli.write("a.bin", &TestFile::new(10, 211)));
        // For a first login the client waits 10 s in each attempt.
        if word == "does not answer" {
            put.args(["--retries", "0"]);
        }
        let began = Instant::now();
        let outcome = run(put).await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        outcome.assert_code(3);
        for what in [word, &address.to_string(), "is it a Towline server?"] {
            assert!(outcome.err.contains(what), "{what}: {outcome:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_a_later_version_is_for_a_later_client() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let refusal = serde_json::json!({"action": "error", "channel": 0, "number": 426,
        "code": "version_unsupported", "message": "x", "retry": false, "max": 3});
    let welcome = serde_json::json!({"action": "welcome", "version": 2, "server": "x",
        "user_id": 1, "user": "u", "max_filesize": 1000, "chunk_size": 64,
        "max_chunk_size": 65536, "block_size": 1_048_576, "max_channels": 16, "features": []});
    for reply in [refusal, welcome] {
        let address = service(Manners::answers(&frame::control(&reply))).await;
        let cli = CliFixture::new(&site, &user, address);
        let outcome = run(cli.put(&cli.write("a.bin", &TestFile::new(10, 212)))).await;
        outcome.assert_code(1);
        for what in ["later versions of the protocol", "update towline"] {
            assert!(outcome.err.contains(what), "{what}: {outcome:#?}");
        }
    }
}

/// The client waits for a server that it knows: another service may answer in its place for a while
/// only.
#[tokio::test(flavor = "multi_thread")]
async fn another_service_in_the_place_of_a_known_server_is_told_and_waited_out() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = Launch::over(&site).start().await;
    let address = server.address();
    let test_file = TestFile::new(64 * BLOCK, 213);
    let cli = CliFixture::new(&site, &user, address);
    let mut put = cli.put(&cli.write("a.bin", &test_file));
    put.args(["--chunk-size", "4KiB", "--parallel", "1"]);
    let mut sending = cli.start(put);
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    server.kill().await;
    let portal = loop {
        // Connections that are ending may still use the port.
        if let Ok(listener) = TcpListener::bind(address).await {
            break listener;
        }
        tokio::task::yield_now().await;
    };
    let answering = tokio::spawn(async move {
        while let Ok((mut stream, _)) = portal.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 511 Network Authentication Required\r\n").await;
        }
    });
    let portal_is_named = |event: &serde_json::Value| {
        event["event"] == "waiting"
            && event["attempt"].as_u64() > Some(5)
            && event["reason"].as_str().is_some_and(|reason| reason.contains("HTTP/1.1 511"))
    };
    sending.until(portal_is_named).await;
    answering.abort();
    let _ = answering.await;
    let _server = Launch::over(&site).listen(address).start().await;
    sending.end().await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
}
