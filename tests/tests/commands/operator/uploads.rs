//! `towlined uploads`: the unfinished uploads of users, and those that the operator ends.

use super::{events, failed, said};
use serde_json::json;
use towline_protocol::Code;
use towline_tests::process::Launch;
use towline_tests::raw_client::{ZERO, upload};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_are_listed_and_cancelled_beside_a_server() {
    let site = Site::new();
    let (ada, bob) = (site.add_user("ada").await, site.add_user("bob").await);
    assert_eq!(said(&site, &["uploads"]).await, "no unfinished uploads\n");
    let server = Launch::over(&site).start().await;
    let test_file = TestFile::new(2 * BLOCK, 4000);
    let mut client = server.client(&ada).await;
    let id = client.upload(upload("long.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..BLOCK).await;
    client.has_durable(id, BLOCK).await;
    let mut other = server.client(&bob).await;
    let kept = other.upload(upload("kept.bin", &test_file)).await.document_id;

    let text = said(&site, &["uploads", "--user", "ada"]).await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines.len()), ("ada (user 1)", 3), "{text}");
    assert!(lines[1].contains("1.0 MiB of 2.0 MiB") && lines[1].ends_with("  long.bin"), "{text}");
    assert_eq!(lines[2], "1 upload, 1.0 MiB durable", "{text}");
    let (listed, summary) = events(&site, &["uploads"]).await;
    assert_eq!(listed.len(), 2);
    assert_eq!(
        (&listed[0]["document_id"], &listed[0]["durable"], &listed[0]["filesize"]),
        (&json!(id), &json!(BLOCK), &json!(2 * BLOCK))
    );
    assert_eq!(summary, json!({"event": "summary", "uploads": 2, "durable": BLOCK}));

    let wrong = failed(&site, &["uploads", "cancel", "999"]).await;
    assert!(wrong.contains("there is no upload 999; `towlined uploads` shows"), "{wrong}");
    let done = said(&site, &["uploads", "cancel", &id.to_string()]).await;
    assert!(done.starts_with("1 upload cancelled"), "{done}");
    let told = client.error(Code::Cancelled).await;
    println!("{}", told.message);
    let status = client.status(id).await;
    assert_eq!(status.status, "cancelled");
    let reason = status.reason.unwrap_or_default();
    assert!(reason.contains("the server's operator has cancelled it"), "{reason}");
    assert!(!site.staging(id).exists(), "its bytes are gone");
    assert_eq!(other.status(kept).await.status, "uploading");
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_user_leaves_no_unfinished_upload() {
    let site = Site::new();
    let (ada, bob) = (site.add_user("ada").await, site.add_user("bob").await);
    let server = Launch::over(&site).start().await;
    let test_file = TestFile::new(2 * BLOCK, 4001);
    let mut client = server.client(&ada).await;
    let id = client.upload(upload("a.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..BLOCK).await;
    client.has_durable(id, BLOCK).await;
    let mut other = server.client(&bob).await;
    let kept = other.upload(upload("b.bin", &test_file)).await.document_id;
    other.chunks(ZERO, &test_file, 0..BLOCK).await;
    other.has_durable(kept, BLOCK).await;
    server.gone().await;

    // Without a server the next start does it.
    said(&site, &["user", "remove", "ada"]).await;
    let cancelled = said(&site, &["uploads", "cancel", &kept.to_string()]).await;
    assert!(cancelled.contains("the next start"), "{cancelled}");
    assert!(site.staging(id).exists() && site.staging(kept).exists());
    let server = Launch::over(&site).start().await;
    server.says_in_one_line(&["cancelled", "its user was removed"]).await;
    server.says_in_one_line(&["cancelled", "the server's operator has cancelled it"]).await;
    server.gone().await;
    assert!(!site.staging(id).exists() && !site.staging(kept).exists());
    assert_eq!(said(&site, &["uploads"]).await, "no unfinished uploads\n");
}
