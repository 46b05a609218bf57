//! Files that a client of tus sends in parts, at the same time.

use super::kit::server;
use towline_tests::http_client::{HttpAnswer, HttpClient};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;

const V1: (&str, &str) = ("tus-resumable", "1.0.0");
const BYTES: (&str, &str) = ("content-type", "application/offset+octet-stream");
const PARTIAL: (&str, &str) = ("upload-concat", "partial");

/// `filename film.mkv`.
const FILM: (&str, &str) = ("upload-metadata", "filename ZmlsbS5ta3Y=");

fn bytes_of(length: usize, seed: u64) -> Vec<u8> {
    TestFile::new(length, seed).bytes
}

/// A part without bytes; returns its address.
async fn part(client: &HttpClient, length: usize) -> String {
    let length = length.to_string();
    let headers = [V1, PARTIAL, ("upload-length", length.as_str())];
    let answer = client.send("POST", "/files", &headers, "").await.is(201);
    answer.location()
}

async fn send(client: &HttpClient, path: &str, offset: usize, bytes: &[u8]) -> HttpAnswer {
    let offset = offset.to_string();
    let headers = [V1, BYTES, ("upload-offset", offset.as_str())];
    client.send("PATCH", path, &headers, bytes.to_vec()).await
}

async fn assemble(client: &HttpClient, parts: &[String]) -> HttpAnswer {
    let list = format!("final;{}", parts.join(" "));
    client.send("POST", "/files", &[V1, FILM, ("upload-concat", &list)], "").await
}

async fn listed(client: &HttpClient) -> usize {
    client.get("/documents?recursive=true").await.json()["items"].as_array().unwrap().len()
}

/// Parts that are sent at the same time, of lengths that are no multiples of anything.
async fn sent_parts(client: &HttpClient, pieces: &[Vec<u8>]) -> Vec<String> {
    let send_one = |piece: &Vec<u8>| {
        let (client, piece) = (client.clone(), piece.clone());
        tokio::spawn(async move {
            let path = part(&client, piece.len()).await;
            let half = piece.len() / 2;
            send(&client, &path, 0, &piece[..half]).await.is(204);
            send(&client, &path, half, &piece[half..]).await.is(204);
            path
        })
    };
    let sending: Vec<_> = pieces.iter().map(send_one).collect();
    let mut paths = Vec::new();
    for sent in sending {
        paths.push(sent.await.unwrap());
    }
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_one_file_and_are_gone_then() {
    let (mut server, client) = server().await;
    let pieces: Vec<_> = [1_500_001, 1_048_576, 1, 2_097_153, 700]
        .into_iter()
        .zip(1..)
        .map(|(length, seed)| bytes_of(length, seed))
        .collect();
    let parts = sent_parts(&client, &pieces).await;
    for (path, piece) in parts.iter().zip(&pieces) {
        let part = client.send("HEAD", path, &[V1], "").await.is(200);
        assert_eq!(part.header("upload-concat"), Some("partial"));
        assert_eq!(part.header("upload-offset"), Some(piece.len().to_string().as_str()));
        assert_eq!(part.header("upload-length"), Some(piece.len().to_string().as_str()));
    }
    assert_eq!(listed(&client).await, 0, "a part is no document");
    server.restart().await;
    let client = HttpClient::new(server.address(), &server.user.token);
    let made = assemble(&client, &parts).await.is(201);
    let path = made.location();
    let whole = pieces.concat();
    assert_eq!(made.header("upload-offset"), Some(whole.len().to_string().as_str()));
    let about = client.send("HEAD", &path, &[V1], "").await.is(200);
    assert_eq!(about.header("upload-concat"), Some(format!("final;{}", parts.join(" ")).as_str()));
    assert_eq!(about.header("upload-length"), Some(whole.len().to_string().as_str()));
    assert_eq!(about.header("upload-metadata"), Some(FILM.1));
    let answer = client.get("/content/film.mkv").await.is(200);
    assert!(answer.body == whole, "the parts stand in their order");
    let document = client.get(&path).await.is(200).json();
    assert_eq!(document["blake3"], blake3::hash(&whole).to_hex().as_str());
    for part in &parts {
        client.send("HEAD", part, &[V1], "").await.is(410);
    }
    // A client that has not heard the answer hears of the same file.
    assert_eq!(assemble(&client, &parts).await.is(201).location(), path);
    assert_eq!(listed(&client).await, 1);
    assert_eq!(server.site.staged_names(), Vec::<String>::new());
    // The file takes no more bytes.
    send(&client, &path, 0, b"x").await.is(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_part_may_stand_twice_and_an_empty_one_adds_nothing() {
    let (_server, client) = server().await;
    let (empty, part) = (part(&client, 0).await, part(&client, 5).await);
    send(&client, &part, 0, b"hello").await.is(204);
    assemble(&client, &[part.clone(), empty, part]).await.is(201);
    assert_eq!(client.get("/content/film.mkv").await.is(200).body, "hellohello");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_together_is_refused_and_stays() {
    let (server, client) = server().await;
    let (whole, cut) = (part(&client, 5).await, part(&client, 5).await);
    send(&client, &whole, 0, b"hello").await.is(204);
    send(&client, &cut, 0, b"hel").await.is(204);
    let refused = assemble(&client, &[whole.clone(), cut.clone()]).await.is(409);
    assert_eq!(refused.problem(), "incomplete");
    let none = "/uploads/4711".to_owned();
    assemble(&client, &[whole.clone(), none.clone()]).await.is(404);
    let eve = server.site.add_user("eve").await;
    let eve = HttpClient::new(server.address(), &eve.token);
    let foreign = assemble(&eve, std::slice::from_ref(&whole)).await.is(404);
    let nowhere = assemble(&eve, &[none]).await.is(404);
    assert_eq!(foreign.json()["detail"], nowhere.json()["detail"]);
    let list = format!("final;{whole}");
    for headers in [
        vec![V1, ("upload-concat", list.as_str()), ("upload-length", "5")],
        vec![V1, ("upload-concat", "final;")],
        vec![V1, ("upload-concat", "final;/files/1")],
        vec![V1, ("upload-concat", "whole"), ("upload-length", "5")],
    ] {
        client.send("POST", "/files", &headers, "").await.is(400);
    }
    assert_eq!(listed(&client).await, 0);
    send(&client, &cut, 3, b"lo").await.is(204);
    assemble(&client, &[whole, cut]).await.is(201);
    assert_eq!(client.get("/content/film.mkv").await.is(200).body, "hellohello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_the_disk_has_damaged_becomes_no_file() {
    let (server, client) = server().await;
    let part = part(&client, 5).await;
    send(&client, &part, 0, b"hello").await.is(204);
    damage(&server, &part);
    let refused = assemble(&client, std::slice::from_ref(&part)).await.is(500);
    assert_eq!(refused.problem(), "damaged");
    assert_eq!(listed(&client).await, 0);
    client.send("HEAD", &part, &[V1], "").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_requests_for_one_file_make_one() {
    let (_server, client) = server().await;
    let pieces = [bytes_of(3_000_000, 1), bytes_of(3_000_000, 2)];
    let parts = sent_parts(&client, &pieces).await;
    let (one, other) = tokio::join!(assemble(&client, &parts), assemble(&client, &parts));
    assert_eq!(one.is(201).location(), other.is(201).location());
    assert_eq!(listed(&client).await, 1);
}

/// The addresses of parts may have tokens in them, which are kept nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_of_a_part_is_kept() {
    let (server, client) = server().await;
    let part = part(&client, 5).await;
    send(&client, &part, 0, b"hello").await.is(204);
    let address = format!("http://{}{part}?token=secret", server.address());
    let made = assemble(&client, &[address]).await.is(201);
    let about = client.send("HEAD", &made.location(), &[V1], "").await.is(200);
    assert_eq!(about.header("upload-concat"), Some(format!("final;{part}").as_str()));
}

/// Changes a byte of the part on the disk.
fn damage(server: &TestServer, part: &str) {
    let id = part.rsplit('/').next().unwrap();
    let path = server.site.path().join("uploads/.staging").join(format!("{id}.tmp"));
    std::fs::write(path, b"jello").unwrap();
}
