//! tus 1.0.0: each test is a sentence or two of the protocol.

use super::kit::{server, server_with};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use towline_tests::http_client::{HttpAnswer, HttpClient, raw};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::FileSize;

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
const BYTES: (&str, &str) = ("content-type", "application/offset+octet-stream");

async fn create(client: &HttpClient, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
    client.send("POST", "/files", &[&[TUS], headers].concat(), body.to_vec()).await
}

/// The path of an upload of that length.
async fn begun(client: &HttpClient, length: usize, filename: &str) -> String {
    let metadata = format!("filename {}", STANDARD.encode(filename));
    let headers =
        [("upload-length", length.to_string().leak() as &str), ("upload-metadata", &metadata)];
    let created = create(client, &headers, b"").await.is(201);
    created.location()
}

async fn patch(
    client: &HttpClient,
    path: &str,
    offset: usize,
    bytes: &[u8],
    more: &[(&str, &str)],
) -> HttpAnswer {
    let offset = offset.to_string();
    let headers = [&[TUS, BYTES, ("upload-offset", &offset)], more].concat();
    client.send("PATCH", path, &headers, bytes.to_vec()).await
}

async fn head(client: &HttpClient, path: &str) -> HttpAnswer {
    client.send("HEAD", path, &[TUS], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_what_it_can_do_to_everybody() {
    let max = FileSize::try_from(5000).unwrap();
    let (_server, client) = server_with(move |config| config.engine.max_filesize = max).await;
    for path in ["/files", "/uploads", "/uploads/1"] {
        let other = [("tus-resumable", "9.9.9")];
        let answer = client.with_token("").send("OPTIONS", path, &other, "").await.is(204);
        assert_eq!(answer.header("tus-version"), Some("1.0.0"));
        assert_eq!(answer.header("tus-max-size"), Some("5000"));
        assert!(answer.header("tus-checksum-algorithm").unwrap().contains("sha1"), "{answer:?}");
        let extensions: Vec<_> = answer.header("tus-extension").unwrap().split(',').collect();
        for wanted in ["creation", "creation-with-upload", "checksum", "termination", "expiration"]
        {
            assert!(extensions.contains(&wanted), "{wanted}: {extensions:?}");
        }
    }
    let refused = create(&client, &[("upload-length", "5001")], b"").await.is(413);
    assert_eq!(refused.problem(), "size_limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_or_none_is_refused() {
    let (_server, client) = server().await;
    for headers in
        [vec![("tus-resumable", "0.2.0"), ("upload-length", "10")], vec![("upload-length", "10")]]
    {
        let answer = client.send("POST", "/files", &headers, "").await.is(412);
        assert_eq!(answer.header("tus-version"), Some("1.0.0"));
        assert_eq!(answer.header("tus-resumable"), Some("1.0.0"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_created_probed_and_filled() {
    let (server, client) = server().await;
    let file = TestFile::new(2 * BLOCK + 5, 60);
    let path = begun(&client, file.size(), "a.bin").await;
    let probed = head(&client, &path).await.is(200);
    assert_eq!(probed.upload_offset(), Some(0));
    assert_eq!(probed.header("upload-length"), Some(file.size().to_string().as_str()));
    assert_eq!(probed.header("cache-control"), Some("no-store"));
    assert_eq!(probed.header("tus-resumable"), Some("1.0.0"));
    assert!(probed.header("upload-expires").unwrap().ends_with("GMT"), "{probed:?}");

    let first = patch(&client, &path, 0, &file.bytes[..700_000], &[]).await.is(204);
    assert_eq!(first.upload_offset(), Some(700_000));
    assert_eq!(first.header("tus-resumable"), Some("1.0.0"));
    assert!(first.header("upload-expires").is_some(), "{first:?}");
    for wrong in [0, 699_999, 700_001] {
        let refused = patch(&client, &path, wrong, &file.bytes[..10], &[]).await.is(409);
        assert_eq!(
            (refused.problem().as_str(), refused.upload_offset()),
            ("offset_mismatch", Some(700_000))
        );
    }
    let last = patch(&client, &path, 700_000, &file.bytes[700_000..], &[]).await.is(204);
    assert_eq!(last.upload_offset(), Some(file.size() as u64));
    server.site.assert_published(&server.user, "a.bin", &file);
    let probed = head(&client, &path).await.is(200);
    assert_eq!(probed.upload_offset(), Some(file.size() as u64));
    // A client that did not hear the last answer says nothing more, at the end.
    let again = patch(&client, &path, file.size(), b"", &[]).await.is(204);
    assert_eq!(again.upload_offset(), Some(file.size() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_cut_counts() {
    let (server, client) = server().await;
    let file = TestFile::new(BLOCK, 61);
    let path = begun(&client, file.size(), "cut.bin").await;
    let head_of_request = format!(
        "PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
         Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n\
         Content-Length: {}\r\n\r\n",
        server.user.token,
        file.size()
    );
    towline_tests::http_client::cut(
        server.address(),
        &[head_of_request.as_bytes(), &file.bytes[..300_001]].concat(),
    )
    .await;
    assert_eq!(head(&client, &path).await.is(200).upload_offset(), Some(300_001));
    patch(&client, &path, 300_001, &file.bytes[300_001..], &[]).await.is(204);
    server.site.assert_published(&server.user, "cut.bin", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_bytes_may_come_with_the_creation() {
    let (server, client) = server().await;
    let file = TestFile::new(100_000, 62);
    let length = ("upload-length", "100000");
    let named = |name: &str| format!("filename {}", STANDARD.encode(name));
    let whole = [length, BYTES, ("upload-metadata", &named("whole"))];
    let created = create(&client, &whole, &file.bytes).await.is(201);
    assert_eq!(created.upload_offset(), Some(100_000));
    server.site.assert_published(&server.user, "whole", &file);

    let part = [length, BYTES, ("upload-metadata", &named("part"))];
    let created = create(&client, &part, &file.bytes[..60_000]).await.is(201);
    assert_eq!(created.upload_offset(), Some(60_000));
    let path = created.location();
    patch(&client, &path, 60_000, &file.bytes[60_000..], &[]).await.is(204);
    server.site.assert_published(&server.user, "part", &file);

    let text = [length, ("content-type", "text/plain")];
    create(&client, &text, b"some text").await.is(415);
    let short = [("upload-length", "5"), BYTES];
    create(&client, &short, b"more than five").await.is(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_may_be_deferred_and_is_told_once() {
    let (server, client) = server().await;
    let file = TestFile::new(100_000, 63);
    let created = create(&client, &[("upload-defer-length", "1"), BYTES], &file.bytes[..10]).await;
    let path = created.is(201).location();
    let probed = head(&client, &path).await.is(200);
    assert_eq!((probed.upload_offset(), probed.header("upload-length")), (Some(10), None));
    assert_eq!(probed.header("upload-defer-length"), Some("1"));
    let length = [("upload-length", "100000")];
    patch(&client, &path, 10, &file.bytes[10..5000], &length).await.is(204);
    let probed = head(&client, &path).await.is(200);
    assert_eq!(probed.header("upload-length"), Some("100000"));
    assert_eq!(probed.header("upload-defer-length"), None);
    patch(&client, &path, 5000, &[1; 10], &[("upload-length", "100001")]).await.is(409);
    patch(&client, &path, 5000, &file.bytes[5000..], &length).await.is(204);
    server.site.assert_published(&server.user, "upload", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_makes_no_sense_is_refused() {
    let (server, client) = server().await;
    for headers in [
        vec![],
        vec![("upload-defer-length", "2")],
        vec![("upload-length", "-10")],
        vec![("upload-length", "ten")],
        vec![("upload-length", "10"), ("upload-defer-length", "1")],
        vec![("upload-length", "10"), ("upload-metadata", "filename %%%")],
    ] {
        create(&client, &headers, b"").await.is(400);
    }
    let climbing = format!("filename {}", STANDARD.encode("../../a"));
    create(&client, &[("upload-length", "10"), ("upload-metadata", &climbing)], b"").await.is(422);
    assert!(server.site.staged_names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_needs_no_bytes() {
    let (server, client) = server().await;
    let path = begun(&client, 0, "empty").await;
    let probed = head(&client, &path).await.is(200);
    assert_eq!((probed.upload_offset(), probed.header("upload-length")), (Some(0), Some("0")));
    server.site.assert_published(&server.user, "empty", &TestFile::new(0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_comes_back_as_it_was_sent() {
    let (mut server, client) = server().await;
    let metadata = format!(
        "filename {},relativePath {},is_confidential",
        STANDARD.encode("Ü.txt"),
        STANDARD.encode("a/b/Ü.txt")
    );
    let headers = [("upload-length", "3"), ("upload-metadata", metadata.as_str())];
    let created = create(&client, &headers, b"").await.is(201);
    let path = created.location();
    server.restart().await;
    let client = HttpClient::new(server.address(), &server.user.token);
    assert_eq!(
        head(&client, &path).await.is(200).header("upload-metadata"),
        Some(metadata.as_str())
    );
    patch(&client, &path, 0, b"abc", &[]).await.is(204);
    let file = TestFile { bytes: b"abc".to_vec() };
    server.site.assert_published(&server.user, "a/b/Ü.txt", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_is_compared_before_the_bytes_count() {
    let (server, client) = server().await;
    let file = TestFile::new(200_000, 64);
    let path = begun(&client, file.size(), "a.bin").await;
    let sha1 = |bytes: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
        format!("sha1 {}", STANDARD.encode(digest))
    };
    let (first, rest) = file.bytes.split_at(100_000);
    patch(&client, &path, 0, first, &[("upload-checksum", &sha1(rest))]).await.is(460);
    for unknown in ["md5 AAAA", "unknown_algo AAAA"] {
        patch(&client, &path, 0, first, &[("upload-checksum", unknown)]).await.is(400);
    }
    assert_eq!(head(&client, &path).await.upload_offset(), Some(0));
    patch(&client, &path, 0, first, &[("upload-checksum", &sha1(first))]).await.is(204);

    // Behind the bytes.
    let request = |sum: &str| {
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n\
             Upload-Offset: 100000\r\nTransfer-Encoding: chunked\r\nTrailer: Upload-Checksum\r\n\
             Connection: close\r\n\r\n{:x}\r\n",
            server.user.token,
            rest.len()
        );
        let tail = format!("\r\n0\r\nUpload-Checksum: {sum}\r\n\r\n");
        [head.as_bytes(), rest, tail.as_bytes()].concat()
    };
    let answer = raw(server.address(), &request(&sha1(first))).await;
    assert!(answer.starts_with("HTTP/1.1 460"), "{answer}");
    assert_eq!(head(&client, &path).await.upload_offset(), Some(100_000));
    let answer = raw(server.address(), &request(&sha1(rest))).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    server.site.assert_published(&server.user, "a.bin", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_terminated_also_when_it_is_complete() {
    let (server, client) = server().await;
    for complete in [false, true] {
        let path = begun(&client, 3, "a.bin").await;
        if complete {
            patch(&client, &path, 0, b"abc", &[]).await.is(204);
        }
        client.send("DELETE", &path, &[TUS], "").await.is(204);
        head(&client, &path).await.is(410);
        patch(&client, &path, 0, b"abc", &[]).await.is(410);
    }
    assert!(!server.site.document(&server.user, "a.bin").exists());
    head(&client, "/uploads/4711").await.is(404);
    client.send("DELETE", "/uploads/4711", &[TUS], "").await.is(404);
    patch(&client, "/uploads/none", 0, b"abc", &[]).await.is(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_wrong_changes_nothing() {
    let (_server, client) = server().await;
    let path = begun(&client, 30, "a.bin").await;
    let text = [TUS, ("upload-offset", "0"), ("content-type", "text/plain")];
    client.send("PATCH", &path, &text, "abc").await.is(415);
    client.send("PATCH", &path, &[TUS, BYTES], "abc").await.is(400);
    patch(&client, &path, 0, &[1; 50], &[]).await.is(413);
    assert_eq!(head(&client, &path).await.upload_offset(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_method_may_stand_in_a_header() {
    let (_server, client) = server().await;
    let path = begun(&client, 100, "a.bin").await;
    let headers = [TUS, BYTES, ("upload-offset", "0"), ("x-http-method-override", "PATCH")];
    let answer = client.send("POST", &path, &headers, vec![1; 40]).await.is(204);
    assert_eq!(answer.upload_offset(), Some(40));
    let headers = [TUS, ("x-http-method-override", "HEAD")];
    assert_eq!(client.send("POST", &path, &headers, "").await.is(200).upload_offset(), Some(40));
}

/// An upload goes on in each dialect, whoever has begun it.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_changes_its_dialect() {
    let (server, client) = server().await;
    let file = TestFile::new(3 * BLOCK, 65);
    let upload = client.begin("one.bin", file.size()).await;
    client.patch(&upload, 0, &file.bytes[..BLOCK + 1]).await.is(204);
    patch(&client, &upload.path, BLOCK + 1, &file.bytes[BLOCK + 1..2 * BLOCK], &[]).await.is(204);
    let mut tcp = server.client().await;
    let granted = tcp.resume(towline_tests::raw_client::resume(upload.id)).await;
    assert_eq!(granted.offset.get(), 2 * BLOCK as u64);
    let zero = towline_tests::raw_client::ZERO;
    tcp.chunks(zero, &file, 2 * BLOCK..2 * BLOCK + 999).await;
    tcp.pause().await;
    let at = 2 * BLOCK + 999;
    patch(&client, &upload.path, at, &file.bytes[at..], &[]).await.is(204);
    server.site.assert_published(&server.user, "one.bin", &file);
}
