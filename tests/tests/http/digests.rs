//! A digest of the bytes of one request: they count all together, or not at all.

use super::kit::server;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use towline_tests::test_file::TestFile;

fn sha256(bytes: &[u8]) -> String {
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_leaves_the_offset_where_it_was() {
    let (server, client) = server().await;
    let file = TestFile::new(3_000_000, 20);
    let upload = client.begin("a.bin", file.size()).await;
    client.patch(&upload, 0, &file.bytes[..500_000]).await.is(204);
    let rest = &file.bytes[500_000..];
    let right = sha256(rest);
    let wrong = sha256(b"something else");
    for (name, value) in [
        ("digest", format!("sha-256={wrong}")),
        ("content-digest", format!("sha-256=:{wrong}:")),
        ("content-digest", format!("blake3=:{wrong}:")),
    ] {
        let answer = client.patch_with(&upload, 500_000, rest, &[(name, &value)]).await.is(400);
        assert_eq!(answer.problem(), "digest_mismatch", "{name}");
        assert_eq!(answer.upload_offset(), Some(500_000), "{name}");
    }
    let ranges = client.get(&upload.path).await.json()["receivedRanges"].clone();
    assert_eq!(ranges, serde_json::json!([[0, 499_999]]));
    let value = format!("sha-256={right}");
    client.patch_with(&upload, 500_000, rest, &[("digest", &value)]).await.is(204);
    server.site.assert_published(&server.user, "a.bin", &file);
}

/// Nobody can compare the first half of bytes with the digest of all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_a_digest_that_is_cut_off_leaves_nothing() {
    let (server, client) = server().await;
    let file = TestFile::new(3_000_000, 21);
    let upload = client.begin("a.bin", file.size()).await;
    let header = format!("Digest: sha-256={}\r\n", sha256(&file.bytes));
    client.patch_cut(&upload, 0, file.size(), &file.bytes[..2_000_000], &header).await;
    let asked = client.send("HEAD", &upload.path, &[], "").await.is(200);
    assert_eq!((asked.upload_offset(), asked.header("range")), (Some(0), None));
    client.patch(&upload, 0, &file.bytes).await.is(204);
    server.site.assert_published(&server.user, "a.bin", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_cannot_be_read_is_refused_and_an_unknown_one_ignored() {
    let (_server, client) = server().await;
    let upload = client.begin("a.bin", 1000).await;
    for broken in ["sha-256=:xyz:", "sha-256=:AAAA:"] {
        let headers = [("content-digest", broken)];
        client.patch_with(&upload, 0, &[1; 500], &headers).await.is(400);
    }
    let headers = [("digest", "crc32c=00000000")];
    client.patch_with(&upload, 0, &[1; 500], &headers).await.is(204);
}
