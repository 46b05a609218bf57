//! Files and folders over HTTP: lists, moves, removals, versions.

use super::kit::server;
use serde_json::{Value, json};
use towline_tests::http_client::{HttpAnswer, HttpClient};
use towline_tests::test_file::TestFile;

async fn stored(client: &HttpClient, said: Value, file: &TestFile) -> u64 {
    let mut said = said;
    said["size"] = json!(file.size());
    let upload = client.begin_with(said).await;
    client.patch(&upload, 0, &file.bytes).await.is(204);
    upload.id.get()
}

async fn patch(client: &HttpClient, file: u64, tag: &str, to: Value) -> HttpAnswer {
    let headers = [("if-match", tag), ("content-type", "application/json")];
    client.send("PATCH", &format!("/files/{file}"), &headers, to.to_string()).await
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_listed_in_pages_and_with_a_filter() {
    let (_server, client) = server().await;
    let file = TestFile::new(100, 70);
    for name in ["b.txt", "a.txt", "c.pdf"] {
        stored(&client, json!({ "filename": name, "folder": "x/y", "tags": ["t"] }), &file).await;
    }
    let root = client.get("/documents").await.is(200).json();
    assert_eq!(names(&root), ["x"]);
    assert_eq!(root["items"][0]["kind"], "folder");
    let below = client.get("/documents?folder=x/y&limit=2").await.is(200).json();
    assert_eq!(names(&below), ["a.txt", "b.txt"]);
    assert_eq!(below["items"][0]["folder"], "x/y");
    let next = below["next"].as_str().unwrap().replace('/', "%2F").replace('\\', "%5C");
    let last = client.get(&format!("/documents?folder=x/y&after={next}")).await.is(200).json();
    assert_eq!((names(&last), &last["next"]), (vec!["c.pdf"], &Value::Null));
    let all = client.get("/documents?recursive=true&kind=file&name=*.txt").await.is(200).json();
    assert_eq!(names(&all), ["a.txt", "b.txt"]);
    let item = &all["items"][0];
    assert_eq!(item["size"], 100);
    assert_eq!(item["checksum"]["blake3"], file.hash().to_string());
    for bad in ["limit=0", "limit=5000000", "colour=red", "after=%25", "folder=a%00b", "kind=x"] {
        let answer = client.get(&format!("/documents?{bad}")).await;
        assert!(matches!(answer.status, 400 | 422), "{bad}: {answer:?}");
        assert!(!answer.problem().is_empty());
    }
    assert_eq!(client.get("/documents?folder=none").await.is(404).problem(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_shown_with_its_tags_and_its_bytes_are_found_by_place_and_number() {
    let (_server, client) = server().await;
    let file = TestFile::new(3000, 71);
    let said = json!({ "filename": "Ä b.txt", "folder": "x", "tags": ["one", "two"] });
    let id = stored(&client, said, &file).await;
    let shown = client.get(&format!("/documents/{id}")).await.is(200).json();
    assert_eq!(shown["tags"], json!(["one", "two"]));
    assert_eq!((&shown["size"], &shown["folder"]), (&json!(3000), &json!("x")));
    let node = shown["fileId"].as_u64().unwrap();
    for path in [
        format!("/documents/{id}/content"),
        format!("/files/{node}/content"),
        "/content/x/%C3%84%20b.txt".to_owned(),
    ] {
        assert!(client.get(&path).await.is(200).body == file.bytes, "{path}");
    }
    client.get("/content/x/none").await.is(404);
    assert_eq!(client.get("/content/x").await.is(409).problem(), "bad_state");
    let item = client.get(&format!("/files/{node}")).await.is(200).json();
    assert_eq!((&item["name"], &item["versionId"]), (&json!("Ä b.txt"), &json!(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_made_and_a_file_is_moved_into_it() {
    let (server, client) = server().await;
    let file = TestFile::new(500, 72);
    let id = stored(&client, json!({ "filename": "a.txt" }), &file).await;
    let node = client.get(&format!("/documents/{id}")).await.json()["fileId"].as_u64().unwrap();
    let folder = json!({ "name": "new", "kind": "folder" });
    let made = client.post("/files", &folder).await.is(201).json();
    let twice = client.post("/files", &folder).await.is(409);
    assert_eq!(
        (twice.problem().as_str(), &twice.json()["current"]["fileId"]),
        ("exists", &made["fileId"])
    );
    let rev = client.get(&format!("/files/{node}")).await.json()["placeRev"].as_u64().unwrap();
    let to = json!({ "parentId": made["fileId"], "name": "b.txt" });
    let (path, headers) = (format!("/files/{node}"), [("content-type", "application/json")]);
    client.send("PATCH", &path, &headers, to.to_string()).await.is(428);
    let stale = patch(&client, node, &format!("\"p{}\"", rev + 1000), to.clone()).await.is(409);
    assert_eq!(
        (stale.problem().as_str(), &stale.json()["current"]["name"]),
        ("conflict", &json!("a.txt"))
    );
    let moved = patch(&client, node, &format!("\"p{rev}\""), to).await.is(200).json();
    assert_eq!((&moved["folder"], &moved["name"]), (&json!("new"), &json!("b.txt")));
    server.site.assert_published(&server.user, "new/b.txt", &file);
    // Back into the user's own folder, under the name that it has.
    let back = patch(&client, node, "*", json!({ "parentId": null })).await.is(200).json();
    assert_eq!((&back["folder"], &back["name"]), (&json!(""), &json!("b.txt")));
    let cycle = made["fileId"].as_u64().unwrap();
    let into_itself = patch(&client, cycle, "*", json!({ "parentId": cycle })).await.is(409);
    assert_eq!(into_itself.problem(), "cycle");
    patch(&client, node, "*", json!({ "name": "../x" })).await.is(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_comes_back() {
    let (server, client) = server().await;
    let file = TestFile::new(500, 73);
    let id = stored(&client, json!({ "filename": "a.txt", "folder": "x" }), &file).await;
    let node = client.get(&format!("/documents/{id}")).await.json()["fileId"].as_u64().unwrap();
    let path = format!("/files/{node}");
    let wrong = client.send("DELETE", &path, &[("if-match", "\"v4711\"")], "").await.is(409);
    assert_eq!(wrong.problem(), "conflict");
    let tag = format!("\"v{id}\"");
    client.send("DELETE", &path, &[("if-match", &tag)], "").await.is(200);
    client.send("DELETE", &path, &[], "").await.is(200);
    assert!(!server.site.document(&server.user, "x/a.txt").exists());
    assert_eq!(names(&client.get("/trash").await.is(200).json()), ["a.txt"]);
    client.send("POST", &format!("{path}/restore"), &[], "").await.is(200);
    server.site.assert_published(&server.user, "x/a.txt", &file);

    let folder = client.get("/documents").await.json()["items"][0]["fileId"].as_u64().unwrap();
    let folder = format!("/files/{folder}");
    assert_eq!(client.send("DELETE", &folder, &[], "").await.is(409).problem(), "not_empty");
    let cursor =
        client.get("/delta?since=latest").await.json()["nextCursor"].as_str().unwrap().to_owned();
    stored(&client, json!({ "filename": "newer.txt", "folder": "x" }), &file).await;
    let unseen = client.send("DELETE", &format!("{folder}?cursor={cursor}"), &[], "").await.is(409);
    assert_eq!((unseen.problem().as_str(), &unseen.json()["count"]), ("unseen", &json!(1)));
    let cursor =
        client.get("/delta?since=latest").await.json()["nextCursor"].as_str().unwrap().to_owned();
    client.send("DELETE", &format!("{folder}?cursor={cursor}"), &[], "").await.is(200);
    assert_eq!(names(&client.get("/documents").await.json()), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_versions_and_an_older_one_comes_back() {
    let (server, client) = server().await;
    let (old, new) = (TestFile::new(500, 74), TestFile::new(600, 75));
    let first = stored(&client, json!({ "filename": "a.txt" }), &old).await;
    let node = client.get(&format!("/documents/{first}")).await.json()["fileId"].as_u64().unwrap();
    let next = json!({ "filename": "a.txt", "fileId": node, "baseVersion": first });
    let second = stored(&client, next.clone(), &new).await;
    server.site.assert_published(&server.user, "a.txt", &new);
    // The base is another one by now: refused before a byte is sent.
    let mut stale = next;
    stale["size"] = json!(5);
    let stale = client.post("/uploads", &stale).await.is(409);
    assert_eq!(
        (stale.problem().as_str(), &stale.json()["current"]["versionId"]),
        ("conflict", &json!(second))
    );
    let versions = client.get(&format!("/files/{node}/versions")).await.is(200).json();
    let ids: Vec<_> = versions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["versionId"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [second, first]);
    assert!(client.get(&format!("/documents/{first}/content")).await.is(200).body == old.bytes);
    let restored =
        client.post(&format!("/files/{node}/restore"), &json!({ "versionId": first })).await;
    assert!(restored.is(200).json()["versionId"].as_u64().unwrap() > second);
    server.site.assert_published(&server.user, "a.txt", &old);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_what_belongs_to_another_user() {
    let (server, client) = server().await;
    let file = TestFile::new(500, 76);
    let id = stored(&client, json!({ "filename": "a.txt" }), &file).await;
    let node = client.get(&format!("/documents/{id}")).await.json()["fileId"].as_u64().unwrap();
    let eve = server.site.add_user("eve").await;
    let eve = HttpClient::new(server.address(), &eve.token);
    for (method, path) in [
        ("GET", format!("/files/{node}")),
        ("GET", format!("/files/{node}/content")),
        ("GET", format!("/files/{node}/versions")),
        ("DELETE", format!("/files/{node}")),
        ("POST", format!("/files/{node}/restore")),
        ("GET", format!("/documents/{id}")),
        ("GET", "/content/a.txt".to_owned()),
    ] {
        eve.send(method, &path, &[], "").await.is(404);
    }
    patch(&eve, node, "*", json!({ "name": "b" })).await.is(404);
    assert_eq!(names(&eve.get("/documents").await.is(200).json()), Vec::<&str>::new());
    server.site.assert_published(&server.user, "a.txt", &file);
}
