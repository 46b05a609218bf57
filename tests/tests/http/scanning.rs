//! What comes after the last byte: a document is scanned, and until that has found nothing in it, no
//! door gives its bytes out.

use serde_json::{Value, json};
use std::sync::Arc;
use towline_engine::scanning::{Scanning, Unscannable};
use towline_protocol::request::{Move, Remove, Request, Restore, Upload};
use towline_protocol::{Code, Held};
use towline_tests::http_client::{HttpAnswer, HttpClient};
use towline_tests::raw_client::{ZERO, names, read_of, upload};
use towline_tests::server::TestServer;
use towline_tests::stub_scanner::{Mood, StubScanner, UNSCANNABLE, eicar};
use towline_tests::test_file::TestFile;
use towline_types::{DocumentId, OnConflict};

async fn server_that(
    mood: Mood,
    unscannable: Unscannable,
) -> (TestServer, HttpClient, Arc<StubScanner>) {
    let stub = Arc::new(StubScanner::that(mood));
    let scanner = Arc::clone(&stub);
    let (server, client) = super::kit::server_with(move |config| {
        let with = Scanning::with(Arc::clone(&scanner) as _);
        config.engine.scanning = Some(Scanning { unscannable, ..with });
    })
    .await;
    (server, client, stub)
}

/// Uploads a file in one range; the answer names the document.
async fn put(client: &HttpClient, name: &str, bytes: &[u8]) -> DocumentId {
    let upload = client.begin(name, bytes.len()).await;
    client.patch(&upload, 0, bytes).await.is(204);
    upload.id
}

async fn shown(client: &HttpClient, id: DocumentId) -> Value {
    client.get(&format!("/uploads/{id}")).await.is(200).json()
}

async fn content(client: &HttpClient, id: DocumentId) -> HttpAnswer {
    client.get(&format!("/documents/{id}/content")).await
}

/// Waits for a change of the user's tree until the document has that state.
async fn until(client: &HttpClient, id: DocumentId, state: &str) -> Value {
    let mut since = String::new();
    loop {
        let delta = client.get(&format!("/delta?limit=1000{since}")).await.is(200).json();
        since = format!("&wait=20&since={}", delta["nextCursor"].as_str().unwrap());
        if delta["hasMore"] == false {
            let shown = shown(client, id).await;
            if shown["status"] == state {
                return shown;
            }
        }
    }
}

async fn refused_by_both(
    server: &TestServer,
    client: &HttpClient,
    id: DocumentId,
    expected: (u16, &str, Code),
) {
    let (status, word, code) = expected;
    let answer = content(client, id).await;
    assert_eq!((answer.status, answer.problem().as_str()), (status, word));
    let part = [("range", "bytes=0-0")];
    client.send("GET", &format!("/documents/{id}/content"), &part, "").await.is(status);
    client.send("HEAD", &format!("/documents/{id}/content"), &[], "").await.is(status);
    let mut raw = server.client().await;
    assert_eq!(raw.read(read_of(id)).await.unwrap_err().code, code);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_given_out_only_once_it_was_scanned() {
    let (server, client, stub) = server_that(Mood::Waits, Unscannable::Fail).await;
    let file = TestFile::new(3_000_000, 4000);
    let upload = client.begin("a.png", file.size()).await;
    client.patch(&upload, 0, &file.bytes[..1000]).await.is(204);
    client.patch(&upload, 1000, &file.bytes[1000..]).await.is(204);
    let complete = format!("{}/complete", upload.path);
    let receipt = client.send("POST", &complete, &[], "").await.is(200).json();
    assert_eq!(receipt["status"], "SCANNING");
    // The bytes are safe: they lie in their place.
    server.site.assert_published(&server.user, "a.png", &file);
    assert_eq!(shown(&client, upload.id).await["status"], "SCANNING");
    refused_by_both(&server, &client, upload.id, (409, "scanning", Code::Scanning)).await;
    let listed = client.get("/documents").await.is(200).json();
    assert_eq!(listed["items"][0]["status"], "SCANNING");
    let mut raw = server.client().await;
    assert_eq!(raw.stat("a.png").await.node.held, Some(Held::Scanning));
    stub.now(Mood::Works);
    until(&client, upload.id, "AVAILABLE").await;
    assert_eq!(content(&client, upload.id).await.is(200).body, file.bytes);
    assert_eq!(raw.read(read_of(upload.id)).await.unwrap().bytes, file.bytes);
    let document = client.get(&format!("/documents/{}", upload.id)).await.is(200).json();
    assert_eq!(document["status"], "AVAILABLE");
    // By the bytes, and not by the name.
    assert_eq!(document["contentType"], "application/octet-stream");
    assert_eq!(document["sha256"].as_str().unwrap().len(), 64);
    let scan = &document["scan"];
    assert_eq!((&scan["verdict"], &scan["scanner"]), (&json!("clean"), &json!("stub")));
    assert_eq!(scan["signatures"], "stub 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_scanner_a_document_is_there_at_once() {
    let (server, client) = super::kit::server().await;
    let id = put(&client, "e.com", &eicar()).await;
    assert_eq!(shown(&client, id).await["status"], "AVAILABLE");
    assert_eq!(content(&client, id).await.is(200).body, eicar());
    let document = client.get(&format!("/documents/{id}")).await.is(200).json();
    assert_eq!(document.get("scan"), None);
    assert_eq!(server.client().await.stat("e.com").await.node.held, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_infected_goes_into_the_quarantine_and_comes_out_by_no_way() {
    let (server, client, _stub) = server_that(Mood::Works, Unscannable::Fail).await;
    let mut raw = server.client().await;
    raw.mkdir("other").await;
    let id = put(&client, "e.com", &eicar()).await;
    let why = until(&client, id, "QUARANTINED").await;
    assert_eq!(why["reason"], "Eicar-Signature");
    let refused = (403, "quarantined", Code::Quarantined);
    refused_by_both(&server, &client, id, refused).await;
    let isolated = server.site.uploads().join(format!(".quarantine/{}/{id}", server.user.id));
    assert_eq!(std::fs::read(&isolated).unwrap(), eicar());
    assert!(!server.site.document(&server.user, "e.com").exists());
    // Another place, another name, the trash and back: all of it works, and no byte comes out.
    raw.move_node("e.com", "other/f.com").await;
    let node = raw.stat("other/f.com").await.node;
    assert_eq!((node.version, node.held), (Some(id), Some(Held::Quarantined)));
    raw.move_node("other", "moved").await;
    let removed = raw.remove("moved/f.com").await.node.node_id;
    refused_by_both(&server, &client, id, refused).await;
    raw.restore(removed).await;
    raw.remove("moved").await;
    refused_by_both(&server, &client, id, refused).await;
    let last = raw.trash().await.last().unwrap().node_id;
    raw.restore(last).await;
    refused_by_both(&server, &client, id, refused).await;
    // The same bytes in the same place are refused, and not taken again under another name.
    let test_file = TestFile { bytes: eicar() };
    let again = Upload { folder: names("moved"), ..upload("f.com", &test_file) };
    let again = Upload { blake3: Some(test_file.hash()), ..again };
    raw.upload_refused(again.clone(), Code::Quarantined).await;
    // No copy is made of it for another place.
    let copy = Upload { filename: "g.com".to_owned(), ..again };
    raw.upload(copy).await;
    raw.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let success = raw.complete(ZERO).await;
    assert_eq!((success.copied, success.held), (false, Some(Held::Scanning)));
    until(&client, success.document_id, "QUARANTINED").await;
    // A new version takes its name, and the old one is no more readable than before.
    let clean = TestFile::new(500, 4001);
    let on_conflict = OnConflict::Replace;
    let next = Upload { folder: names("moved"), on_conflict, ..upload("f.com", &clean) };
    raw.upload(next).await;
    raw.chunks(ZERO, &clean, 0..clean.size()).await;
    let version = raw.complete(ZERO).await.document_id;
    until(&client, version, "AVAILABLE").await;
    server.site.assert_published(&server.user, "moved/f.com", &clean);
    let versions = raw.versions("moved/f.com").await;
    let held: Vec<_> = versions.iter().map(|version| (version.version, version.held)).collect();
    assert_eq!(held, [(version, None), (id, Some(Held::Quarantined))]);
    refused_by_both(&server, &client, id, refused).await;
    let path = Some(names("moved/f.com"));
    let old = Request::Restore(Restore { path, version: Some(id), ..Restore::default() });
    raw.tree_refused(&old, Code::Quarantined).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_scanned_can_be_moved_replaced_and_removed() {
    let (server, client, stub) = server_that(Mood::Waits, Unscannable::Fail).await;
    let mut raw = server.client().await;
    let moved = put(&client, "moved.com", &eicar()).await;
    let removed = put(&client, "removed.com", &eicar()).await;
    let replaced = put(&client, "replaced.com", &eicar()).await;
    let below = put(&client, "below.com", &eicar()).await;
    raw.mkdir("gone").await;
    raw.move_node("below.com", "gone/below.com").await;
    raw.move_node("moved.com", "here.com").await;
    raw.remove("removed.com").await;
    raw.remove("gone").await;
    let clean = TestFile::new(500, 4002);
    let on_conflict = OnConflict::Replace;
    raw.upload(Upload { on_conflict, ..upload("replaced.com", &clean) }).await;
    raw.chunks(ZERO, &clean, 0..clean.size()).await;
    let next = raw.complete(ZERO).await.document_id;
    for id in [moved, removed, replaced, below] {
        refused_by_both(&server, &client, id, (409, "scanning", Code::Scanning)).await;
    }
    stub.now(Mood::Works);
    until(&client, moved, "QUARANTINED").await;
    until(&client, next, "AVAILABLE").await;
    // Of what no user sees there is no change: the disk says when it is done.
    let folder = server.site.uploads().join(format!(".quarantine/{}", server.user.id));
    for id in [moved, removed, replaced, below] {
        let path = folder.join(id.to_string());
        server.site.state_that("any", |_| path.exists()).await;
        refused_by_both(&server, &client, id, (403, "quarantined", Code::Quarantined)).await;
    }
    server.site.assert_published(&server.user, "replaced.com", &clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_scanner_is_away_nothing_is_given_out_and_later_all_is() {
    let (mut server, client, stub) = server_that(Mood::IsAway, Unscannable::Fail).await;
    let file = TestFile::new(2000, 4003);
    let id = put(&client, "a.bin", &file.bytes).await;
    while stub.asked() < 2 {
        tokio::task::yield_now().await;
        refused_by_both(&server, &client, id, (409, "scanning", Code::Scanning)).await;
    }
    // A restart asks again, and believes nothing else.
    server.restart().await;
    let client = HttpClient::new(server.address(), &server.user.token);
    assert_eq!(shown(&client, id).await["status"], "SCANNING");
    stub.now(Mood::Works);
    until(&client, id, "AVAILABLE").await;
    assert_eq!(content(&client, id).await.is(200).body, file.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_scanned_is_what_the_operator_says() {
    for (policy, state, expected) in [
        (Unscannable::Fail, "FAILED", (403, "unscanned", Code::Unscanned)),
        (Unscannable::Quarantine, "QUARANTINED", (403, "quarantined", Code::Quarantined)),
    ] {
        let (server, client, _stub) = server_that(Mood::Works, policy).await;
        let id = put(&client, "large", UNSCANNABLE).await;
        assert_eq!(until(&client, id, state).await["reason"], "it says so");
        refused_by_both(&server, &client, id, expected).await;
        let document = client.get(&format!("/documents/{id}")).await.is(200).json();
        assert_eq!(document["scan"]["verdict"], "unscannable");
    }
    let (_server, client, _stub) = server_that(Mood::Works, Unscannable::Allow).await;
    let id = put(&client, "large", UNSCANNABLE).await;
    until(&client, id, "AVAILABLE").await;
    assert_eq!(content(&client, id).await.is(200).body, UNSCANNABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_at_which_two_workers_die_has_failed_and_others_go_on() {
    let (server, client, stub) = server_that(Mood::Panics, Unscannable::Fail).await;
    let id = put(&client, "poison", b"poison").await;
    let why = until(&client, id, "FAILED").await;
    assert_eq!(stub.asked(), 2);
    assert_eq!(why["reason"], "2 workers have died at it, or had no time left");
    refused_by_both(&server, &client, id, (403, "unscanned", Code::Unscanned)).await;
    stub.now(Mood::Works);
    let other = put(&client, "other", b"other").await;
    until(&client, other, "AVAILABLE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_no_scanner_any_more_leaves_nothing_waiting() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let has_scanner = Arc::new(AtomicBool::new(true));
    let stub = Arc::new(StubScanner::that(Mood::IsAway));
    let (scanner, has) = (Arc::clone(&stub), Arc::clone(&has_scanner));
    let (mut server, client) = super::kit::server_with(move |config| {
        config.engine.scanning =
            has.load(Ordering::SeqCst).then(|| Scanning::with(Arc::clone(&scanner) as _));
    })
    .await;
    let id = put(&client, "a.bin", b"bytes").await;
    has_scanner.store(false, Ordering::SeqCst);
    server.restart().await;
    let client = HttpClient::new(server.address(), &server.user.token);
    let why = until(&client, id, "FAILED").await;
    assert_eq!(why["reason"], "the server has no scanner");
    refused_by_both(&server, &client, id, (403, "unscanned", Code::Unscanned)).await;
}

/// The log of changes tells of each verdict, so that a client need not ask again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_a_change() {
    let (_server, client, stub) = server_that(Mood::Waits, Unscannable::Fail).await;
    let id = put(&client, "a.bin", b"bytes").await;
    let first = client.get("/delta").await.is(200).json();
    let cursor = first["nextCursor"].as_str().unwrap();
    assert_eq!(first["items"][0]["status"], "SCANNING");
    stub.now(Mood::Works);
    let next = client.get(&format!("/delta?since={cursor}&wait=20")).await.is(200).json();
    let item = &next["items"][0];
    assert_eq!((&item["op"], &item["changed"]), (&json!("UPDATE"), &json!([])));
    assert_eq!((&item["versionId"], &item["status"]), (&json!(id), &json!("AVAILABLE")));
}

/// `remove` and `move` of a document whose state is any leave no way to its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn equal_bytes_are_not_copied_from_what_is_being_scanned() {
    let (server, client, _stub) = server_that(Mood::Waits, Unscannable::Fail).await;
    let file = TestFile::new(2_500_000, 4004);
    put(&client, "a.bin", &file.bytes).await;
    let mut raw = server.client().await;
    let copy = Upload { blake3: Some(file.hash()), ..upload("b.bin", &file) };
    let granted = raw.upload(copy).await;
    assert_eq!(towline_tests::raw_client::position(granted.offset), 0);
    let moving = Move { path: Some(names("a.bin")), to: names("c.bin"), ..Move::default() };
    raw.send(&Request::Move(moving)).await;
    let removal = Remove { path: Some(names("c.bin")), ..Remove::default() };
    raw.send(&Request::Remove(removal)).await;
}
