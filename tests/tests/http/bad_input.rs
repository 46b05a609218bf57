//! Requests that a client must not send. `tests/BAD_INPUT.md` has the whole list, with the test of
//! each row. The rule: what is wrong in the framing of a request ends the connection, as nothing
//! behind it can be trusted; what is wrong in a request is answered.

use super::kit::{server, server_with};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use towline_tests::PATIENCE;
use towline_tests::http_client::{HttpClient, HttpUpload, raw};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;

/// The numbers of the answers in what a server has sent.
fn numbers(said: &str) -> Vec<&str> {
    let heads = said.split("HTTP/1.1 ").skip(1);
    heads.map(|head| head.get(..3).unwrap_or(head)).collect()
}

/// Sends these bytes and no more, and returns what the server says until it closes the connection.
async fn said(server: &TestServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("an end in time");
    String::from_utf8_lossy(&said).into_owned()
}

/// The server still serves, and nothing was made.
async fn assert_nothing_new(client: &HttpClient) {
    let listed = client.get("/documents").await.is(200).json();
    assert_eq!(listed["items"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_refused_before_they_are_kept() {
    let (server, client) = server().await;
    let with = |headers: &str| format!("GET /documents HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let many: String = (0..101).map(|number| format!("X-{number}: y\r\n")).collect();
    let fits: String = (0..90).map(|number| format!("X-{number}: y\r\n")).collect();
    for (what, request, wanted) in [
        ("as many headers as it takes", with(&fits), "401"),
        ("too many headers", with(&many), "431"),
        ("a header that is too long", with(&format!("X-A: {}\r\n", "y".repeat(200 << 10))), "431"),
        ("a name that is too long", with(&format!("{}: y\r\n", "y".repeat(200 << 10))), "431"),
        (
            "an address that is too long",
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(70_000)),
            "414",
        ),
    ] {
        let answer = sent_whole_or_not(&server, request.as_bytes()).await;
        let first = numbers(&answer).first().map(ToString::to_string);
        // A client that is still sending may find the connection closed before it reads the answer.
        let is_cut = first.is_none() && request.len() > 64 << 10;
        assert!(is_cut || first.as_deref() == Some(wanted), "{what}: {answer}");
        assert!(numbers(&answer).len() <= 1, "{what}: {answer}");
    }
    assert_nothing_new(&client).await;
}

/// As [`raw`], where the server may close the connection while the request is being sent.
async fn sent_whole_or_not(server: &TestServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("an end in time");
    String::from_utf8_lossy(&said).into_owned()
}

/// A byte that comes now and then gives the head of a request no more time, also behind a request
/// that was authenticated.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_is_cut_off() {
    let (server, client) =
        server_with(|config| config.timings.login = Duration::from_millis(500)).await;
    let good = format!(
        "GET /documents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        server.user.token
    );
    for before in ["", good.as_str()] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(before.as_bytes()).await.unwrap();
        stream.write_all(b"GET /documents HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let dripping = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(50));
            while writer.write_all(b"y").await.is_ok() {
                beat.tick().await;
            }
        });
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, reader.read_to_end(&mut answer)).await.expect("it is cut off");
        let answer = String::from_utf8_lossy(&answer);
        let served = numbers(&answer).iter().filter(|number| **number == "200").count();
        assert_eq!(served, usize::from(!before.is_empty()), "{answer}");
        dripping.abort();
    }
    assert_nothing_new(&client).await;
}

/// Two programs that do not agree where a request ends are how one request is smuggled behind
/// another: no second request may be read out of any of these.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_end_is_in_doubt_hides_no_other() {
    let (server, client) = server().await;
    let upload = client.begin("a.bin", 1000).await;
    let token = &server.user.token;
    let hidden = format!(
        "DELETE {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n",
        upload.path
    );
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999999",
        "Content-Length:",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding\r\n: chunked",
    ] {
        for body in ["0\r\n\r\n", "abcde"] {
            let request = format!(
                "POST /uploads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: application/json\r\n{framing}\r\n\r\n{body}{hidden}"
            );
            let answer = said(&server, request.as_bytes()).await;
            assert!(!numbers(&answer).contains(&"204"), "{framing:?} {body:?}: {answer}");
            let shown = client.get(&upload.path).await.is(200).json();
            assert_eq!(shown["status"], "INITIATED", "{framing:?} {body:?}: {answer}");
        }
    }
    // Chunks that are none.
    for chunks in [
        "-1\r\n",
        "fffffffffffffffff\r\n",
        "5\r\nabcdefgh\r\n0\r\n\r\n",
        "\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
    ] {
        let request = format!(
            "PATCH {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Range: bytes 0-4/1000\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{hidden}",
            upload.path
        );
        let answer = said(&server, request.as_bytes()).await;
        let shown = client.get(&upload.path).await.is(200).json();
        assert!(shown["status"] != "CANCELLED", "{chunks:?}: {answer}");
    }
}

/// Where a request is meant for is what its first line says, in each of its forms.
#[tokio::test(flavor = "multi_thread")]
async fn targets_of_any_form_lead_nowhere_else() {
    let (server, client) = server().await;
    let auth = format!("Authorization: Bearer {}\r\nConnection: close\r\n", server.user.token);
    for (line, wanted) in [
        ("GET http://x/documents HTTP/1.1", "200"),
        ("GET http://elsewhere.example/documents HTTP/1.1", "200"),
        ("GET http://x/nothing HTTP/1.1", "404"),
        ("CONNECT example.com:443 HTTP/1.1", "4"),
        ("OPTIONS * HTTP/1.1", "4"),
        ("GET * HTTP/1.1", "4"),
        ("GET documents HTTP/1.1", "4"),
        ("GET //documents HTTP/1.1", "404"),
        ("GET /documents/../documents HTTP/1.1", "4"),
        ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1", "404"),
        ("GET /content/%2e%2e/%2e%2e/etc/passwd HTTP/1.1", "4"),
        ("GET /content/..%2f..%2fetc%2fpasswd HTTP/1.1", "4"),
        ("GET /content//etc/passwd HTTP/1.1", "4"),
        ("GET /content/a%00b HTTP/1.1", "4"),
        ("GET /content/a\0b HTTP/1.1", "4"),
        ("GET /content/%ff%fe HTTP/1.1", "4"),
        ("GET /content/%c0%ae%c0%ae/x HTTP/1.1", "4"),
        ("GET /content/%e2%80%ae HTTP/1.1", "4"),
        ("GET /content/a%5cb HTTP/1.1", "4"),
        ("GET /content/a%0d%0aX-Injected:%20y HTTP/1.1", "4"),
        ("GET /documents?folder=%ff HTTP/1.1", "4"),
        ("GET /documents?folder=%00 HTTP/1.1", "4"),
        ("GET /documents?limit=%31%00 HTTP/1.1", "4"),
        ("GET /documents/%31 HTTP/1.1", "404"),
        ("GET /documents/1%00 HTTP/1.1", "404"),
        ("GET /documents HTTP/1.2", "4"),
        ("GET /documents HTTP/3.0", "4"),
        ("GET  /documents HTTP/1.1", "4"),
        ("GET /documents", "4"),
        ("GE\0T /documents HTTP/1.1", "4"),
    ] {
        let request = format!("{line}\r\nHost: x\r\n{auth}\r\n");
        let answer = raw(server.address(), request.as_bytes()).await;
        let first = numbers(&answer).first().map_or(String::new(), ToString::to_string);
        assert!(
            first.starts_with(wanted) || first.is_empty() && wanted == "4",
            "{line:?}: {answer}"
        );
        assert!(numbers(&answer).len() <= 1 && !answer.contains("root:"), "{line:?}: {answer}");
        assert!(!answer.to_ascii_lowercase().contains("\nx-injected"), "{line:?}: {answer}");
    }
    assert_nothing_new(&client).await;
}

/// Numbers that are none, that are negative, or that are larger than any file.
const NO_NUMBERS: [&str; 12] = [
    "-1",
    "+1",
    "1.5",
    "1e3",
    "0x10",
    " ",
    "",
    "1 2",
    "1,2",
    "18446744073709551616",
    "99999999999999999999999999999999",
    "१",
];

/// Positions that are numbers and that no file has.
const BEYOND: [u64; 3] = [u64::MAX, u64::MAX - 1, 1 << 63];

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_none_are_refused_in_every_header() {
    let (_server, client) = server().await;
    let file = TestFile::new(1000, 970);
    let upload = client.begin("a.bin", file.size()).await;
    client.patch(&upload, 0, &file.bytes[..100]).await.is(204);
    let tus = ("tus-resumable", "1.0.0");
    let octets = ("content-type", "application/offset+octet-stream");
    let partial = ("content-type", "application/partial-upload");
    let beyond = BEYOND.map(|number| number.to_string());
    let all = NO_NUMBERS.into_iter().chain(beyond.iter().map(String::as_str));
    for number in all {
        let refused = async |method: &str, path: &str, headers: &[(&str, &str)]| {
            let Ok(answer) = client.try_send(method, path, headers, "x".into()).await else {
                return;
            };
            let shown = format!("{method} {path} {headers:?}: {answer:?}");
            assert!((400..500).contains(&answer.status), "{shown}");
            let _ = answer.problem();
        };
        let is_ascii = number.is_ascii();
        if is_ascii {
            refused("POST", "/files", &[tus, ("upload-length", number)]).await;
            refused("POST", "/files", &[tus, ("upload-defer-length", number)]).await;
            refused("PATCH", &upload.path, &[tus, octets, ("upload-offset", number)]).await;
            let complete = ("upload-complete", "?0");
            refused("PATCH", &upload.path, &[partial, complete, ("upload-offset", number)]).await;
            refused(
                "PATCH",
                &upload.path,
                &[partial, ("upload-offset", "100"), ("upload-complete", number)],
            )
            .await;
            for range in [
                format!("bytes {number}-100/1000"),
                format!("bytes 100-{number}/1000"),
                format!("bytes 100-100/{number}"),
                format!("bytes {number}-{number}/{number}"),
            ] {
                refused("PATCH", &upload.path, &[("content-range", &range)]).await;
            }
        }
        // In an address a plus before a number is one.
        if number == "+1" {
            continue;
        }
        let query: String = number.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for path in [
            format!("/documents?limit={query}&after=x"),
            format!("/delta?limit={query}"),
            format!("/delta?wait={query}&since=latest"),
            format!("/uploads/{query}"),
            format!("/documents/{query}/content"),
            format!("/files/{query}"),
        ] {
            refused("GET", &path, &[]).await;
        }
        let json = ("content-type", "application/json");
        for said in [
            format!("{{\"filename\":\"b\",\"size\":{number}}}"),
            format!("{{\"filename\":\"b\",\"size\":\"{number}\"}}"),
            format!("{{\"filename\":\"b\",\"size\":1,\"fileId\":{number}}}"),
            format!("{{\"filename\":\"b\",\"size\":1,\"mode\":{number}}}"),
        ] {
            // 1e3 and the like are numbers of JSON, and are none here.
            let answer = client.send("POST", "/uploads", &[json], said.clone()).await;
            assert!((400..500).contains(&answer.status), "{said}: {answer:?}");
        }
    }
    is_as_it_was(&client, &upload, &file).await;
}

/// The upload has the 100 bytes that it had, and goes on.
async fn is_as_it_was(client: &HttpClient, upload: &HttpUpload, file: &TestFile) {
    let shown = client.get(&upload.path).await.is(200).json();
    assert_eq!(shown["receivedRanges"], serde_json::json!([[0, 99]]));
    let listed = client.get("/documents").await.is(200).json();
    assert_eq!(listed["items"], serde_json::json!([]));
    let ended = client.patch(upload, 100, &file.bytes[100..]).await.is(204);
    assert!(ended.header("towline-document").is_some(), "{ended:?}");
}

/// A range that is wanted of a document and is none: the whole document comes, or 416.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_are_none_give_no_other_bytes() {
    let (_server, client) = server().await;
    let file = TestFile::new(1000, 971);
    let upload = client.begin("a.bin", file.size()).await;
    client.patch(&upload, 0, &file.bytes).await.is(204);
    let path = format!("/documents/{}/content", upload.id);
    let numbers = NO_NUMBERS.into_iter().filter(|number| number.is_ascii());
    let mut ranges: Vec<String> = numbers
        .flat_map(|number| [format!("bytes={number}-"), format!("bytes=0-{number}x")])
        .collect();
    ranges.extend(BEYOND.iter().flat_map(|number| {
        [format!("bytes={number}-"), format!("bytes={number}-{number}"), format!("bytes=-{number}")]
    }));
    ranges.extend(
        ["bytes=", "bytes=-", "bytes=9-1", "lines=0-1", "bytes=0-0,-", "bytes=-0"]
            .map(str::to_owned),
    );
    ranges.push(format!("bytes={}", vec!["0-0"; 5000].join(",")));
    for range in ranges {
        let answer = client.send("GET", &path, &[("range", &range)], "").await;
        let shown = range.get(..40).unwrap_or(&range).to_owned();
        match answer.status {
            200 => assert!(answer.body[..] == file.bytes, "{shown}"),
            206 => {
                let said = answer.header("content-range").unwrap_or_default().to_owned();
                let length = answer.body.len();
                assert!(file.bytes.ends_with(&answer.body) && length > 0, "{shown}: {said}");
            }
            _ => assert_eq!(answer.status, 416, "{shown}: {answer:?}"),
        }
    }
}

/// Headers with bytes that no text has, and texts that no name may have.
#[tokio::test(flavor = "multi_thread")]
async fn texts_with_nuls_and_bytes_that_are_no_text_are_refused() {
    let (server, client) = server().await;
    let token = &server.user.token;
    let head = |more: &[u8]| {
        let start = format!(
            "POST /files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\nConnection: close\r\n"
        );
        [start.as_bytes(), more, b"\r\n\r\n"].concat()
    };
    for more in [
        &b"Upload-Metadata: filename \xff\xfe"[..],
        b"Upload-Metadata: filename AAAA",
        b"Upload-Metadata: filename YQBi",
        b"Upload-Metadata: filename //79",
        b"Upload-Metadata: filename Li4=",
        b"Upload-Metadata: filename Li4vYQ==",
        b"Upload-Metadata: filename !!!!",
        b"Upload-Metadata: filename YQ==,relativePath Li4vLi4vYQ==",
        b"Upload-Metadata: filename YQ\x00==",
        b"Upload-Metadata: filename YQ==,filename Yg==",
        b"X-A: a\x00b",
        b"X-A: a\rb",
        b"X\x00A: b",
        b"X A: b",
        b": b",
        b"X-A",
        b"X-A: b\r\n folded",
    ] {
        let answer = raw(server.address(), &head(more)).await;
        let first = numbers(&answer).first().map_or(String::new(), ToString::to_string);
        let shown = String::from_utf8_lossy(more);
        assert!(first.starts_with('4'), "{shown:?}: {answer}");
    }
    for name in ["a\0b", "..", "a/b", "", "a\u{202e}b", "\u{1}", "con\\x"] {
        let said = serde_json::json!({ "filename": name, "size": 5 });
        let answer = client.post("/uploads", &said).await;
        assert!((400..500).contains(&answer.status), "{name:?}: {answer:?}");
        let said =
            serde_json::json!({ "filename": "a", "folder": format!("b/{name}/c"), "size": 5 });
        let answer = client.post("/uploads", &said).await;
        // A slash between names is one, and an empty name between two of them is none.
        let is_legal = name.is_empty() || name == "a/b";
        assert!(is_legal || (400..500).contains(&answer.status), "{name:?}: {answer:?}");
    }
    let invalid = b"{\"filename\":\"\xff\",\"size\":5}".to_vec();
    let json = [("content-type", "application/json")];
    assert_eq!(client.send("POST", "/uploads", &json, invalid).await.is(400).problem(), "bad_json");
    assert_nothing_new(&client).await;
}
