//! `PATCH` with `Content-Range`, one range after another.

use super::kit::{CHUNK, server};
use towline_tests::test_file::{TestFile, chance};

#[tokio::test(flavor = "multi_thread")]
async fn ranges_in_order_become_the_document() {
    let (server, client) = server().await;
    let file = TestFile::new(2 * CHUNK + 12_345, 1);
    let upload = client.begin("a.bin", file.size()).await;
    let mut tags = Vec::new();
    for start in (0..file.size()).step_by(CHUNK) {
        let end = (start + CHUNK).min(file.size());
        let answer = client.patch(&upload, start, &file.bytes[start..end]).await.is(204);
        assert_eq!(answer.upload_offset(), Some(end as u64));
        tags.push(answer.header("etag").unwrap().to_owned());
        let document = answer.header("towline-document").map(str::to_owned);
        assert_eq!(document, (end == file.size()).then(|| upload.id.to_string()));
    }
    assert_eq!(tags[2], format!("\"b3-{}\"", file.hash()));
    assert!(tags[0] != tags[1] && tags[0].starts_with("W/\"cv-"), "{tags:?}");
    server.site.assert_published(&server.user, "a.bin", &file);
    let shown = client.get(&upload.path).await.is(200).json();
    assert_eq!(shown["status"], "AVAILABLE", "{shown}");
    assert_eq!(shown["documentId"], upload.id.get());
}

/// The same bytes have the same tag, in whatever ranges they came.
#[tokio::test(flavor = "multi_thread")]
async fn the_tag_of_an_upload_says_which_bytes_are_there() {
    let (_server, client) = server().await;
    let file = TestFile::new(3 << 20, 2);
    let (one, other) = (client.begin("a", file.size()).await, client.begin("b", file.size()).await);
    let tag = async |upload, from: usize, to: usize| {
        let answer = client.patch(upload, from, &file.bytes[from..to]).await.is(204);
        answer.header("etag").unwrap().to_owned()
    };
    let (small, large) = (1_500_000, 2_500_000);
    assert_eq!(tag(&one, 0, small).await, tag(&other, 0, small).await);
    let whole = tag(&one, small, large).await;
    tag(&other, small, 2_000_001).await;
    assert_eq!(tag(&other, 2_000_001, large).await, whole);
    let asked = client.send("HEAD", &one.path, &[], "").await.is(200);
    assert_eq!(asked.header("etag"), Some(whole.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_does_not_fit_is_refused_with_the_right_offset() {
    let (server, client) = server().await;
    let file = TestFile::new(CHUNK + 1000, 3);
    let upload = client.begin("a.bin", file.size()).await;
    client.patch(&upload, 0, &file.bytes[..1000]).await.is(204);
    let range = async |range: &str, length: usize| {
        client.send("PATCH", &upload.path, &[("content-range", range)], vec![7; length]).await
    };
    let total = file.size();
    for (text, length, status, code) in [
        // It begins elsewhere than at the first missing byte.
        (format!("bytes 1001-1010/{total}"), 10, 409, "offset_mismatch"),
        (format!("bytes 0-9/{total}"), 10, 409, "offset_mismatch"),
        (format!("bytes 999-1010/{total}"), 12, 409, "offset_mismatch"),
        (format!("bytes 1048576-1048585/{total}"), 10, 409, "offset_mismatch"),
        // It is no range of this file.
        (format!("bytes 1000-1009/{}", total + 1), 10, 416, "range"),
        (format!("bytes 1000-{total}/{total}"), total - 999, 416, "range"),
        (format!("bytes {total}-{total}/{total}"), 1, 416, "range"),
    ] {
        let answer = range(&text, length).await.is(status);
        assert_eq!(answer.problem(), code, "{text}");
        assert_eq!(answer.upload_offset(), Some(1000), "{text}");
        assert_eq!(answer.json()["expected-offset"], 1000, "{text}");
    }
    for (text, length) in [
        ("bytes 1000-1009/100".to_owned(), 10),
        (format!("bytes 1000-999/{total}"), 1),
        (format!("1000-1009/{total}"), 10),
        (format!("bytes 1000-1009/{total}"), 11),
        (format!("bytes 1000-1009/{total}"), 9),
        ("bytes a-b/c".to_owned(), 1),
        (format!("bytes=1000-1009/{total}"), 10),
    ] {
        let answer = range(&text, length).await;
        assert!((400..=416).contains(&answer.status), "{text}: {answer:?}");
        assert!(matches!(answer.problem().as_str(), "bad_request" | "range"), "{text}");
    }
    let missing = client.send("PATCH", &upload.path, &[], "x").await.is(400);
    assert_eq!(missing.problem(), "bad_request");
    client.patch(&upload, 1000, &file.bytes[1000..]).await.is(204);
    server.site.assert_published(&server.user, "a.bin", &file);
    // What is complete takes nothing more.
    let again = client.patch(&upload, 0, &file.bytes[..10]).await.is(409);
    assert_eq!(again.upload_offset(), Some(total as u64));
}

/// A client that lost its connection anywhere in a body goes on where the server says, and sends no
/// byte again that the server has.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_off_counts_as_far_as_it_came() {
    let (server, client) = server().await;
    let (mut chance, file) = (chance(), TestFile::new(CHUNK, 4));
    let upload = client.begin("cut.bin", file.size()).await;
    let mut offset = 0;
    for _ in 0..20 {
        let count = chance.usize(1..400_000);
        let rest = file.size() - offset;
        client.patch_cut(&upload, offset, rest, &file.bytes[offset..offset + count], "").await;
        let asked = client.send("HEAD", &upload.path, &[], "").await.is(200);
        assert_eq!(asked.upload_offset(), Some((offset + count) as u64));
        offset += count;
        assert_eq!(asked.header("range"), Some(format!("bytes=0-{}", offset - 1).as_str()));
        assert_eq!(asked.header("cache-control"), Some("no-store"));
    }
    client.patch(&upload, offset, &file.bytes[offset..]).await.is(204);
    server.site.assert_published(&server.user, "cut.bin", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_2xx_says_survives_a_crash() {
    use towline_tests::http_client::HttpClient;
    use towline_tests::process::ServerProcess;
    use towline_tests::site::Site;
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let file = TestFile::new(3 << 20, 5);
    let upload = {
        let client = HttpClient::new(server.address(), &user.token);
        let upload = client.begin("kept.bin", file.size()).await;
        let answer = client.patch(&upload, 0, &file.bytes[..1_700_000]).await.is(204);
        assert_eq!(answer.upload_offset(), Some(1_700_000));
        upload
    };
    server.kill_and_start_again().await;
    let client = HttpClient::new(server.address(), &user.token);
    let asked = client.send("HEAD", &upload.path, &[], "").await.is(200);
    assert_eq!(asked.upload_offset(), Some(1_700_000));
    client.patch(&upload, 1_700_000, &file.bytes[1_700_000..]).await.is(204);
    site.assert_published(&user, "kept.bin", &file);
}

/// `Content-Range: bytes */TOTAL` without a body asks where to go on.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_range_is_a_question() {
    let (_server, client) = server().await;
    let upload = client.begin("a", 5000).await;
    client.patch(&upload, 0, &[1; 700]).await.is(204);
    let ask = async |range: &str| {
        client.send("PATCH", &upload.path, &[("content-range", range)], "").await
    };
    assert_eq!(ask("bytes */5000").await.is(204).upload_offset(), Some(700));
    assert_eq!(ask("bytes */5001").await.is(416).upload_offset(), Some(700));
}

/// Without a length at the beginning, the first range that says one declares it.
#[tokio::test(flavor = "multi_thread")]
async fn the_length_may_be_told_late() {
    let (server, client) = server().await;
    let file = TestFile::new(2_000_000, 6);
    let upload = client.begin_with(serde_json::json!({ "filename": "late.bin" })).await;
    let range = async |range: &str, from: usize, to: usize| {
        let headers = [("content-range", range)];
        client.send("PATCH", &upload.path, &headers, file.bytes[from..to].to_vec()).await
    };
    assert_eq!(
        range("bytes 0-999999/*", 0, 1_000_000).await.is(204).upload_offset(),
        Some(1_000_000)
    );
    assert!(client.get(&upload.path).await.json()["total"].is_null());
    let last = range("bytes 1000000-1999999/2000000", 1_000_000, 2_000_000).await.is(204);
    assert!(last.header("towline-document").is_some(), "{last:?}");
    server.site.assert_published(&server.user, "late.bin", &file);
}
