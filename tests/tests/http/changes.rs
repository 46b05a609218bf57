//! The log of changes over HTTP, and the stream that says that there is something.

use super::kit::server;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use towline_tests::PATIENCE;
use towline_tests::http_client::HttpClient;

async fn folder(client: &HttpClient, name: &str) {
    client.post("/files", &json!({ "name": name, "kind": "folder" })).await.is(201);
}

async fn delta(client: &HttpClient, query: &str) -> Value {
    client.get(&format!("/delta?{query}")).await.is(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_in_order_and_an_empty_answer_has_the_same_cursor() {
    let (_server, client) = server().await;
    for name in ["a", "b", "c"] {
        folder(&client, name).await;
    }
    let first = delta(&client, "limit=2").await;
    assert_eq!(first["hasMore"], true);
    let rest = delta(&client, &format!("since={}", first["nextCursor"].as_str().unwrap())).await;
    let names: Vec<_> = [&first, &rest]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap().iter())
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names[..3], ["a", "b", "c"]);
    let cursor = rest["nextCursor"].as_str().unwrap();
    let empty = delta(&client, &format!("since={cursor}")).await;
    assert_eq!((&empty["items"], &empty["nextCursor"]), (&json!([]), &json!(cursor)));
    folder(&client, "d").await;
    let one = delta(&client, &format!("since={cursor}")).await;
    let item = &one["items"][0];
    assert_eq!((&item["op"], &item["kind"]), (&json!("CREATE"), &json!("folder")));
    assert_eq!(item["changeId"], one["latestChangeId"]);
    for field in [
        "fileId",
        "changed",
        "parentId",
        "key",
        "versionId",
        "etag",
        "size",
        "at",
        "contentType",
        "checksum",
        "metadata",
        "placeRev",
        "actorDeviceId",
    ] {
        assert!(item.get(field).is_some(), "{field}: {item}");
    }
    for bad in ["since=nonsense", "since=c1.999.1.1", "limit=0", "limit=2001", "wait=56"] {
        let refused = client.get(&format!("/delta?{bad}")).await.is(400);
        assert!(matches!(refused.problem().as_str(), "bad_cursor" | "bad_request"), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_waits_ends_with_the_first_change() {
    let (_server, client) = server().await;
    let cursor = delta(&client, "since=latest").await["nextCursor"].as_str().unwrap().to_owned();
    let query = format!("since={cursor}&wait=55");
    let (waiting, began) = (delta(&client, &query), Instant::now());
    let (found, ()) = tokio::join!(waiting, folder(&client, "new"));
    assert_eq!(found["items"][0]["metadata"]["name"], "new");
    assert!(began.elapsed() < Duration::from_secs(50));
    let cursor = found["nextCursor"].as_str().unwrap();
    let empty = delta(&client, &format!("since={cursor}&wait=1")).await;
    assert_eq!((&empty["items"], &empty["nextCursor"]), (&json!([]), &json!(cursor)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_that_there_is_something_until_the_server_stops() {
    let (mut server, client) = server().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "GET /delta/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        server.user.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    read_until(&mut stream, &mut said, "event: change").await;
    assert!(said.contains("content-type: text/event-stream"), "{said}");
    assert!(said.contains("retry: 3000"), "{said}");
    folder(&client, "new").await;
    let latest = delta(&client, "since=latest").await["latestChangeId"].as_u64().unwrap();
    read_until(&mut stream, &mut said, &format!("\"latestChangeId\":{latest}")).await;
    server.stop().await;
    read_until(&mut stream, &mut said, "event: bye").await;
}

async fn read_until(stream: &mut TcpStream, said: &mut String, text: &str) {
    let mut room = [0; 4096];
    while !said.contains(text) {
        let read = timeout(PATIENCE, stream.read(&mut room)).await.expect("an event in time");
        let count = read.unwrap();
        assert!(count > 0, "the end before {text:?}: {said}");
        said.push_str(&String::from_utf8_lossy(&room[..count]));
    }
}
