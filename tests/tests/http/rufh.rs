//! Resumable uploads of the IETF.

use super::kit::{server, server_with};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use towline_tests::http_client::{HttpAnswer, HttpClient};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::FileSize;

const WHOLE: (&str, &str) = ("upload-complete", "?1");
const PART: (&str, &str) = ("upload-complete", "?0");
const PARTIAL: (&str, &str) = ("content-type", "application/partial-upload");

async fn create(client: &HttpClient, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
    client.send("POST", "/uploads", headers, body.to_vec()).await
}

async fn begun(client: &HttpClient, length: Option<usize>) -> String {
    let text = length.map(|length| length.to_string()).unwrap_or_default();
    let length = [PART, ("upload-length", text.as_str())];
    let headers = if text.is_empty() { &length[..1] } else { &length[..] };
    let created = create(client, headers, b"").await.is(201);
    assert_eq!(created.header("upload-complete"), Some("?0"));
    assert_eq!(created.header("upload-limit"), Some("min-size=0"));
    created.header("location").unwrap().to_owned()
}

async fn append(
    client: &HttpClient,
    path: &str,
    offset: usize,
    bytes: &[u8],
    more: &[(&str, &str)],
) -> HttpAnswer {
    let offset = offset.to_string();
    let headers = [&[PARTIAL, ("upload-offset", offset.as_str())], more].concat();
    client.send("PATCH", path, &headers, bytes.to_vec()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_request_becomes_an_upload_that_can_go_on() {
    let (server, client) = server().await;
    let file = TestFile::new(BLOCK + 17, 80);
    let sha256 =
        STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &file.bytes));
    let (named, digest) = ("inline; filename=\"whole.bin\"", format!("sha-256=:{sha256}:"));
    for name in ["content-digest", "repr-digest"] {
        let headers = [WHOLE, ("content-disposition", named), (name, &digest)];
        let answer = create(&client, &headers, &file.bytes).await.is(201);
        assert_eq!(answer.header("upload-complete"), Some("?1"));
        assert_eq!(answer.json()["blake3"], file.hash().to_string());
    }
    server.site.assert_published(&server.user, "whole.bin", &file);
    server.site.assert_published(&server.user, "whole (1).bin", &file);
    let wrong = format!("sha-256=:{}:", STANDARD.encode([0; 32]));
    create(&client, &[WHOLE, ("content-digest", &wrong)], &file.bytes).await.is(400);
    create(&client, &[WHOLE, ("repr-digest", &wrong)], &file.bytes).await.is(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_created_filled_and_ended_by_a_request_that_says_so() {
    let (server, client) = server().await;
    let file = TestFile::new(BLOCK, 81);
    let path = begun(&client, Some(file.size())).await;
    for method in ["HEAD", "GET"] {
        let probed = client.send(method, &path, &[], "").await.is(200);
        assert_eq!(
            (probed.upload_offset(), probed.header("upload-complete")),
            (Some(0), Some("?0"))
        );
        assert_eq!(probed.header("upload-length"), Some(BLOCK.to_string().as_str()));
        assert_eq!(probed.header("cache-control"), Some("no-store"));
        assert!(probed.header("upload-limit").is_some(), "{probed:?}");
    }
    let first = append(&client, &path, 0, &file.bytes[..1000], &[PART]).await.is(204);
    assert_eq!((first.upload_offset(), first.header("upload-complete")), (Some(1000), Some("?0")));
    let stale = append(&client, &path, 5, &file.bytes[5..10], &[PART]).await.is(409);
    assert_eq!((stale.upload_offset(), stale.header("upload-complete")), (Some(1000), Some("?0")));
    let json = stale.json();
    assert_eq!((&json["expected-offset"], &json["provided-offset"]), (&1000.into(), &5.into()));
    let kind = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";
    assert_eq!(json["type"], kind);
    // All bytes are here, but nobody has said that they are all.
    append(&client, &path, 1000, &file.bytes[1000..], &[PART]).await.is(204);
    assert_eq!(client.get(&path).await.json()["status"], "PAUSED");
    let last = append(&client, &path, BLOCK, b"", &[WHOLE]).await.is(200);
    assert_eq!(last.header("upload-complete"), Some("?1"));
    server.site.assert_published(&server.user, "upload", &file);
    let again = append(&client, &path, BLOCK, b"", &[WHOLE]).await.is(409);
    assert!(again.json()["type"].as_str().unwrap().ends_with("#completed-upload"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_request_says_the_length() {
    let (server, client) = server().await;
    let file = TestFile::new(5000, 82);
    let path = begun(&client, None).await;
    assert_eq!(client.send("HEAD", &path, &[], "").await.header("upload-length"), None);
    append(&client, &path, 0, &file.bytes[..2000], &[PART]).await.is(204);
    append(&client, &path, 2000, &file.bytes[2000..], &[WHOLE]).await.is(200);
    let probed = client.send("HEAD", &path, &[], "").await.is(200);
    assert_eq!(
        (probed.header("upload-length"), probed.header("upload-complete")),
        (Some("5000"), Some("?1"))
    );
    server.site.assert_published(&server.user, "upload", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_do_not_agree_are_refused() {
    let (_server, client) = server().await;
    let refused = create(&client, &[WHOLE, ("upload-length", "100")], b"12345").await.is(400);
    assert!(refused.json()["type"].as_str().unwrap().ends_with("#inconsistent-upload-length"));
    let path = begun(&client, Some(100)).await;
    append(&client, &path, 0, &[1; 32], &[PART, ("upload-length", "50")]).await.is(400);
    append(&client, &path, 0, &[1; 32], &[WHOLE]).await.is(400);
    assert_eq!(client.send("HEAD", &path, &[], "").await.upload_offset(), Some(0));
    // More than the file has: it is another file, and the upload ends.
    append(&client, &path, 0, &[1; 101], &[PART]).await.is(409);
    client.send("HEAD", &path, &[], "").await.is(410);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_no_sense_changes_nothing() {
    let max = FileSize::try_from(1024).unwrap();
    let (_server, client) = server_with(move |config| config.engine.max_filesize = max).await;
    let created = create(&client, &[PART], b"").await.is(201);
    assert_eq!(created.header("upload-limit"), Some("max-size=1024"));
    let path = created.header("location").unwrap();
    let large = create(&client, &[WHOLE, ("upload-length", "1025")], &[1; 1025]).await.is(413);
    assert_eq!(large.header("upload-limit"), Some("max-size=1024"));
    for headers in [
        vec![PARTIAL, ("upload-offset", "0")],
        vec![PARTIAL, PART],
        vec![PARTIAL, PART, ("upload-offset", "abc")],
        vec![PARTIAL, ("upload-complete", "true"), ("upload-offset", "0")],
    ] {
        client.send("PATCH", path, &headers, "abc").await.is(400);
    }
    let text = [("content-type", "text/plain"), PART, ("upload-offset", "0")];
    client.send("PATCH", path, &text, "abc").await.is(415);
    for header in [("upload-offset", "0"), PART] {
        client.send("HEAD", path, &[header], "").await.is(400);
    }
    assert_eq!(client.send("HEAD", path, &[], "").await.is(200).upload_offset(), Some(0));
    client.send("DELETE", path, &[], "").await.is(204);
    client.send("HEAD", path, &[], "").await.is(410);
}
