//! Links: one document for whoever has the address, for a time.

use super::kit::server;
use serde_json::{Value, json};
use std::time::Duration;
use towline_tests::http_client::{HttpClient, HttpUpload};
use towline_tests::process::{output, towlined};
use towline_tests::server::TestServer;

async fn document(client: &HttpClient, name: &str, bytes: &[u8]) -> HttpUpload {
    let upload = client.begin(name, bytes.len()).await;
    client.patch(&upload, 0, bytes).await.is(204);
    upload
}

/// The path and the query of a new link.
async fn link(server: &TestServer, client: &HttpClient, wanted: &Value) -> String {
    let answer = client.post("/download-url", wanted).await.is(201).json();
    let url = answer["url"].as_str().unwrap();
    let origin = format!("http://{}", server.address());
    url.strip_prefix(&origin).unwrap_or_else(|| panic!("{url}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_link_fetches_that_document_and_nothing_else() {
    let (server, client) = server().await;
    let film = document(&client, "Bøker & \"x\".txt", b"Call me Ishmael.").await;
    let other = document(&client, "other", b"another").await;
    let stranger = client.with_token("");
    let file = client.get("/content/other").await.is(200);
    assert_eq!(file.body, "another");
    for wanted in [json!({ "documentId": film.id }), json!({ "path": "Bøker & \"x\".txt" })] {
        let path = link(&server, &client, &wanted).await;
        assert!(
            path.starts_with(&format!("/d/{}/B%C3%B8ker%20%26%20%22x%22.txt?", film.id)),
            "{path}"
        );
        let answer = stranger.get(&path).await.is(200);
        assert_eq!(answer.body, "Call me Ishmael.");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        let part = stranger.send("GET", &path, &[("range", "bytes=8-")], "").await.is(206);
        assert_eq!(part.body, "Ishmael.");
        stranger.send("HEAD", &path, &[], "").await.is(200);
        // The name in the address is for programs that save by it, and means nothing.
        let (_, query) = path.split_once('?').unwrap();
        stranger.get(&format!("/d/{}/y?{query}", film.id)).await.is(200);
        stranger.get(&format!("/documents/{}/content?{query}", film.id)).await.is(200);
        for (method, path) in [
            ("GET", format!("/d/{}/other", other.id)),
            ("GET", format!("/documents/{}/content", other.id)),
            ("GET", format!("/documents/{}", film.id)),
            ("GET", "/documents".to_owned()),
            ("GET", "/content/other".to_owned()),
            ("GET", format!("/uploads/{}", film.id)),
            ("DELETE", format!("/uploads/{}", film.id)),
            ("POST", format!("/uploads/{}/token", film.id)),
            ("GET", "/delta".to_owned()),
        ] {
            let answer = stranger.send(method, &format!("{path}?{query}"), &[], "").await.is(403);
            assert_eq!(answer.problem(), "forbidden", "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_with_its_time_or_with_the_token_that_asked_for_it() {
    let (server, client) = server().await;
    let film = document(&client, "a", b"Call me Ishmael.").await;
    let wanted = json!({ "documentId": film.id, "expiresIn": 60 });
    let (short, long) = (
        link(&server, &client, &wanted).await,
        link(&server, &client, &json!({ "documentId": film.id, "expiresIn": 2_592_000 })).await,
    );
    let stranger = client.with_token("");
    stranger.get(&short).await.is(200);
    server.clock.advance(Duration::from_secs(61));
    assert_eq!(stranger.get(&short).await.is(401).problem(), "auth_expired");
    stranger.get(&long).await.is(200);
    let mut remove = towlined();
    remove.args(["user", "remove", "ada", "--data-dir"]).arg(server.site.path());
    assert!(output(&mut remove).await.status.success());
    stranger.get(&long).await.is(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_removed_file_is_dead_until_the_file_comes_back() {
    let (server, client) = server().await;
    let film = document(&client, "a", b"Call me Ishmael.").await;
    let path = link(&server, &client, &json!({ "documentId": film.id })).await;
    let stranger = client.with_token("");
    let file = client.get(&film.path).await.json()["fileId"].as_u64().unwrap();
    client.send("DELETE", &format!("/files/{file}"), &[], "").await.is(200);
    assert_eq!(stranger.get(&path).await.is(410).problem(), "removed");
    client.send("POST", &format!("/files/{file}/restore"), &[], "").await.is(200);
    stranger.get(&path).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_a_complete_document_of_ones_own() {
    let (server, client) = server().await;
    let film = document(&client, "a", b"Call me Ishmael.").await;
    let unfinished = client.begin("b", 100).await;
    let eve = server.site.add_user("eve").await;
    let eve = HttpClient::new(server.address(), &eve.token);
    let none = film.id.get() + 1000;
    let said = |id: u64| json!({ "documentId": id });
    let there = eve.post("/download-url", &said(film.id.get())).await.is(404);
    let nowhere = eve.post("/download-url", &said(none)).await.is(404);
    assert_eq!(there.json()["detail"], nowhere.json()["detail"]);
    client.post("/download-url", &said(unfinished.id.get())).await.is(409);
    for wrong in [
        json!({}),
        json!({ "documentId": film.id, "path": "a" }),
        json!({ "documentId": film.id, "expiresIn": 0 }),
        json!({ "documentId": film.id, "expiresIn": 2_592_001 }),
        json!({ "documentId": film.id, "more": 1 }),
    ] {
        client.post("/download-url", &wrong).await.is(400);
    }
    client.with_token(&unfinished.token).post("/download-url", &said(film.id.get())).await.is(403);
}
