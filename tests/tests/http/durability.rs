//! A server whose durability is relaxed says of which documents it does not vouch for the disk yet.

use super::kit::server_with;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use towline_engine::Durability;
use towline_tests::http_client::HttpAnswer;
use towline_tests::test_file::{BLOCK, TestFile};

/// Whether the answer says that a power cut may take back what it says.
fn is_provisional(answer: &HttpAnswer) -> bool {
    match answer.header("towline-durable") {
        None => false,
        Some("?0") => true,
        Some(other) => panic!("{other}: {answer:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_the_disk_does_not_have_yet_is_told_so_in_every_dialect() {
    let (server, client) =
        server_with(|config| config.engine.durability = Durability::Relaxed).await;
    let file = TestFile::new(2 * BLOCK + 77, 960);
    let upload = client.begin("a", file.size()).await;
    let stored = client.patch(&upload, 0, &file.bytes).await.is(204);
    assert!(stored.header("towline-document").is_some(), "{stored:?}");
    assert!(is_provisional(&stored), "{stored:?}");
    // Whoever asks for the receipt waits for the disk.
    let complete = format!("{}/complete", upload.path);
    assert!(!is_provisional(&client.send("POST", &complete, &[], "").await.is(200)));
    assert!(!is_provisional(&client.send("HEAD", &upload.path, &[], "").await.is(200)));

    let size = file.size().to_string();
    let metadata = format!("filename {}", STANDARD.encode("b"));
    let octets = "application/offset+octet-stream";
    let tus = [
        ("tus-resumable", "1.0.0"),
        ("upload-length", size.as_str()),
        ("upload-metadata", metadata.as_str()),
        ("content-type", octets),
    ];
    let stored = client.send("POST", "/files", &tus, file.bytes.clone()).await.is(201);
    assert!(is_provisional(&stored), "{stored:?}");
    let whole = [("upload-complete", "?1")];
    let stored = client.send("POST", "/uploads?filename=c", &whole, file.bytes.clone()).await;
    assert!(is_provisional(&stored.is(201)));

    server.site.assert_published(&server.user, "a", &file);
}

/// Of an upload of which bytes were called durable, the document is durable at once (P1).
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_with_durable_bytes_ends_with_a_durable_document() {
    let (_server, client) =
        server_with(|config| config.engine.durability = Durability::Relaxed).await;
    let file = TestFile::new(BLOCK + 77, 961);
    let upload = client.begin("a", file.size()).await;
    let part = client.patch(&upload, 0, &file.bytes[..1000]).await.is(204);
    assert!(!is_provisional(&part) && part.upload_offset() == Some(1000), "{part:?}");
    let stored = client.patch(&upload, 1000, &file.bytes[1000..]).await.is(204);
    assert!(stored.header("towline-document").is_some() && !is_provisional(&stored), "{stored:?}");
}
