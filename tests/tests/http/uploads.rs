//! The life of an upload: created, shown, completed, cancelled.

use super::kit::server;
use serde_json::json;
use std::time::Duration;
use towline_tests::test_file::TestFile;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_tells_its_five_fields_and_its_url_works_as_given() {
    let (server, client) = server().await;
    let file = TestFile::new(1000, 10);
    let said = json!({ "filename": "Bericht é.pdf", "size": 1000, "folder": "a/b" });
    let answer = client.post("/uploads", &said).await.is(201);
    let json = answer.json();
    let id = json["uploadId"].as_u64().unwrap();
    assert_eq!(answer.header("location"), Some(format!("/uploads/{id}").as_str()));
    assert_eq!(answer.upload_offset(), Some(0));
    assert_eq!(json["chunkSize"], 8 << 20);
    assert!(json["expiresAt"].as_str().unwrap().ends_with('Z'), "{json}");
    let url = json["uploadUrl"].as_str().unwrap();
    let path = url.strip_prefix(&format!("http://{}", server.address())).unwrap();
    // Nothing but the URL: no header with a token.
    let nobody = client.with_token("");
    let range = [("content-range", "bytes 0-999/1000")];
    nobody.send("PATCH", path, &range, file.bytes.clone()).await.is(204);
    server.site.assert_published(&server.user, "a/b/Bericht é.pdf", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_through_its_states() {
    let (server, client) = server().await;
    let file = TestFile::new(3000, 11);
    let upload = client.begin("a.bin", file.size()).await;
    let state = async || client.get(&upload.path).await.is(200).json();
    let shown = state().await;
    assert_eq!((&shown["status"], &shown["nextOffset"]), (&json!("INITIATED"), &json!(0)));
    assert_eq!(shown["receivedRanges"], json!([]));
    client.patch(&upload, 0, &file.bytes[..1000]).await.is(204);
    let shown = state().await;
    assert_eq!((&shown["status"], &shown["nextOffset"]), (&json!("PAUSED"), &json!(1000)));
    assert_eq!(shown["receivedRanges"], json!([[0, 999]]));
    assert_eq!(shown["total"], 3000);
    for time in ["createdAt", "expiresAt"] {
        assert!(shown[time].as_str().unwrap().starts_with("20"), "{shown}");
    }
    client.patch(&upload, 1000, &file.bytes[1000..]).await.is(204);
    let shown = state().await;
    assert_eq!(shown["status"], "AVAILABLE");
    assert_eq!(shown["blake3"], file.hash().to_string());
    server.site.assert_published(&server.user, "a.bin", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_complete_is_completed_once_more_with_the_same_answer() {
    let (_server, client) = server().await;
    let file = TestFile::new(3000, 12);
    let upload = client.begin("a.bin", file.size()).await;
    client.patch(&upload, 0, &file.bytes[..2999]).await.is(204);
    let complete = format!("{}/complete", upload.path);
    let early = client.send("POST", &complete, &[], "").await.is(409);
    assert_eq!((early.problem().as_str(), early.upload_offset()), ("incomplete", Some(2999)));
    client.patch(&upload, 2999, &file.bytes[2999..]).await.is(204);
    let first = client.send("POST", &complete, &[], "").await.is(200).json();
    assert_eq!(first["status"], "AVAILABLE");
    assert_eq!(first["size"], 3000);
    let sha256 = sha256_hex(&file.bytes);
    assert_eq!(first["sha256"], sha256);
    let body = json!({ "sha256": sha256, "blake3": file.hash().to_string() });
    assert_eq!(client.post(&complete, &body).await.is(200).json(), first);
    let other = json!({ "sha256": "0".repeat(64) });
    assert_eq!(client.post(&complete, &other).await.is(422).problem(), "hash_mismatch");
}

fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What was said of an upload when it began counts over a restart, and also where the last range
/// ends the upload.
#[tokio::test(flavor = "multi_thread")]
async fn the_hash_that_was_expected_is_compared_and_the_tags_come_back() {
    let (mut server, client) = server().await;
    let file = TestFile::new(2_000_000, 15);
    let of = |sha256: &str| {
        json!({
            "filename": "t.bin", "size": file.size(), "sha256": sha256,
            "tags": ["invoice", "Größe 2"],
        })
    };
    let right = client.begin_with(of(&sha256_hex(&file.bytes))).await;
    let wrong = client.begin_with(of(&"0".repeat(64))).await;
    for upload in [&right, &wrong] {
        client.patch(upload, 0, &file.bytes[..1_000_000]).await.is(204);
    }
    server.restart().await;
    let client = towline_tests::http_client::HttpClient::new(server.address(), &server.user.token);
    let refused = client.patch(&wrong, 1_000_000, &file.bytes[1_000_000..]).await.is(422);
    assert_eq!(refused.problem(), "hash_mismatch");
    client.patch(&right, 1_000_000, &file.bytes[1_000_000..]).await.is(204);
    let shown = client.get(&right.path).await.is(200).json();
    assert_eq!(shown["tags"], json!(["invoice", "Größe 2"]));
    assert_eq!(shown["sha256"], sha256_hex(&file.bytes));
    server.site.assert_published(&server.user, "t.bin", &file);
    for tags in [json!([""]), json!(["a\nb"]), json!(vec!["a"; 65]), json!(["x".repeat(129)])] {
        let said = json!({ "filename": "a", "size": 5, "tags": tags });
        assert_eq!(client.post("/uploads", &said).await.is(400).problem(), "bad_request");
    }
}

/// Without a length, only `complete` ends an upload, and the hash of the client counts.
#[tokio::test(flavor = "multi_thread")]
async fn complete_ends_an_upload_whose_length_was_told_last() {
    let (server, client) = server().await;
    let file = TestFile::new(1_234_567, 13);
    let upload = client.begin_with(json!({ "filename": "open.bin" })).await;
    let headers = [("content-range", "bytes 0-1234566/*")];
    client.send("PATCH", &upload.path, &headers, file.bytes.clone()).await.is(204);
    let complete = format!("{}/complete", upload.path);
    let unknown = client.send("POST", &complete, &[], "").await.is(409);
    assert_eq!(unknown.problem(), "bad_state");
    let body = json!({ "size": 1_234_567, "blake3": file.hash().to_string() });
    let done = client.post(&complete, &body).await.is(201).json();
    assert_eq!(done["documentId"], upload.id.get());
    server.site.assert_published(&server.user, "open.bin", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_complete_at_once() {
    let (server, client) = server().await;
    let upload = client.begin("empty", 0).await;
    assert_eq!(client.get(&upload.path).await.json()["status"], "AVAILABLE");
    server.site.assert_published(&server.user, "empty", &TestFile::new(0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_cancelled_in_every_state_but_the_last() {
    let (server, client) = server().await;
    let file = TestFile::new(3000, 14);
    for begun in [0, 1000] {
        let upload = client.begin("a.bin", file.size()).await;
        if begun > 0 {
            client.patch(&upload, 0, &file.bytes[..begun]).await.is(204);
        }
        client.send("DELETE", &upload.path, &[], "").await.is(204);
        client.send("DELETE", &upload.path, &[], "").await.is(204);
        assert_eq!(client.get(&upload.path).await.json()["status"], "CANCELLED");
        client.send("HEAD", &upload.path, &[], "").await.is(410);
        let gone = client.patch(&upload, begun, &file.bytes[begun..]).await.is(410);
        assert_eq!(gone.problem(), "cancelled");
    }
    let upload = client.begin("a.bin", file.size()).await;
    client.patch(&upload, 0, &file.bytes).await.is(204);
    let late = client.send("DELETE", &upload.path, &[], "").await.is(409);
    assert_eq!(late.problem(), "bad_state");
    server.site.assert_published(&server.user, "a.bin", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_a_byte_for_a_week_is_gone() {
    let (server, client) = server().await;
    let upload = client.begin("a.bin", 5000).await;
    client.patch(&upload, 0, &[1; 1000]).await.is(204);
    server.clock.advance(Duration::from_secs(8 * 24 * 3600));
    let gone = client.patch(&upload, 1000, &[1; 1000]).await;
    assert_eq!((gone.status, gone.problem().as_str()), (410, "expired"));
    client.send("HEAD", &upload.path, &[], "").await.is(410);
    assert_eq!(client.get(&upload.path).await.json()["status"], "CANCELLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_and_nothing_is_begun() {
    let (server, client) = server().await;
    for (said, status, code) in [
        (json!({ "size": 5 }), 400, "bad_json"),
        (json!({ "filename": "a", "size": -5 }), 400, "bad_json"),
        (json!({ "filename": "a", "size": 5, "colour": "red" }), 400, "bad_json"),
        (json!({ "filename": "a/b", "size": 5 }), 422, "bad_name"),
        (json!({ "filename": "..", "size": 5 }), 422, "bad_name"),
        (json!({ "filename": "", "size": 5 }), 422, "bad_name"),
        (json!({ "filename": "a", "size": 5, "folder": "../.." }), 422, "bad_name"),
        (json!({ "filename": "a", "size": 5, "fileId": 1, "folder": "b" }), 400, "bad_request"),
        (json!({ "filename": "a", "size": 5, "baseVersion": 1 }), 400, "bad_request"),
        (json!({ "filename": "a", "size": u64::MAX }), 400, "bad_json"),
        (json!([]), 400, "bad_json"),
    ] {
        let answer = client.post("/uploads", &said).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{said}");
    }
    let text = [("content-type", "text/plain")];
    client.send("POST", "/uploads", &text, "{}").await.is(415);
    let json = [("content-type", "application/json")];
    client.send("POST", "/uploads", &json, "{").await.is(400);
    client.send("POST", "/uploads", &json, vec![b' '; 70_000]).await.is(413);
    client.send("PUT", "/uploads", &json, "{}").await.is(405);
    client.get("/nothing").await.is(404);
    assert!(server.site.staged_names().is_empty());
}
