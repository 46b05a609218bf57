//! Links that a client of frames asks for: the rules are those of `POST /download-url`.

use super::kit::{server, server_with};
use serde_json::json;
use std::time::Duration;
use towline_protocol::reply::DownloadUrl as Address;
use towline_protocol::request::{DownloadUrl, Mkdir, Reauth};
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_tests::http_client::HttpClient;
use towline_tests::process::{output, towlined};
use towline_tests::raw_client::{RawClient, ZERO, nobodys_document, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::DocumentId;

const SIDE: Channel = Channel(7);

async fn ask(client: &mut RawClient, wanted: DownloadUrl) -> Result<Address, ErrorReply> {
    client.send(&Request::DownloadUrl(DownloadUrl { channel: SIDE, ..wanted })).await;
    match client.reply_on(SIDE).await {
        Reply::DownloadUrl(address) => Ok(address),
        Reply::Error(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn of_path(path: &[&str]) -> DownloadUrl {
    let path = path.iter().map(|name| (*name).to_owned()).collect();
    DownloadUrl { path: Some(path), ..DownloadUrl::default() }
}

fn of_document(id: DocumentId) -> DownloadUrl {
    DownloadUrl { document_id: Some(id), ..DownloadUrl::default() }
}

/// A complete document of the client, by frames.
async fn document(client: &mut RawClient, name: &str, file: &TestFile) -> DocumentId {
    client.upload(upload(name, file)).await;
    client.chunks(ZERO, file, 0..file.size()).await;
    client.complete(ZERO).await.document_id
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_link_fetches_that_document() {
    let (server, http) = server().await;
    let stranger = http.with_token("");
    let mut client = server.client().await;
    let file = TestFile::new(BLOCK + 5, 60);
    let id = document(&mut client, "Bøker & \"x\".txt", &file).await;
    for wanted in [of_path(&["Bøker & \"x\".txt"]), of_document(id)] {
        let address = ask(&mut client, wanted).await.unwrap();
        assert_eq!((address.document_id, address.origin, address.port), (id, None, None));
        let begin = format!("/d/{id}/B%C3%B8ker%20%26%20%22x%22.txt?token=");
        assert!(address.path.starts_with(&begin), "{}", address.path);
        let left = address.expires_at.as_secs() - server.clock.now().as_secs();
        assert!((3590..=3600).contains(&left), "{left}");
        let answer = stranger.get(&address.path).await.is(200);
        assert!(answer.body == file.bytes, "the bytes of the document");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_a_complete_document_of_ones_own() {
    let (server, _) = server().await;
    let mut client = server.client().await;
    let file = TestFile::new(3000, 61);
    let id = document(&mut client, "a.bin", &file).await;
    client.send(&Request::Mkdir(Mkdir { path: vec!["d".into()], ..Mkdir::default() })).await;
    let Reply::Mkdir(_) = client.reply_on(ZERO).await else { panic!("a folder") };
    let unfinished = client.upload(upload("b.bin", &file)).await.document_id;
    let eve = server.site.add_user("eve").await;
    let mut eve = RawClient::login(server.address(), &eve.token).await;
    let refused = |error: ErrorReply| (error.code, error.channel, error.message.clone());
    let there = refused(ask(&mut eve, of_document(id)).await.unwrap_err());
    let nowhere = refused(ask(&mut eve, of_document(nobodys_document())).await.unwrap_err());
    assert_eq!(there, nowhere);
    assert_eq!((there.0, there.1), (Code::NotFound, SIDE));
    for (wanted, code, field) in [
        (of_path(&["nothing"]), Code::NotFound, None),
        // An upload has no place yet.
        (of_path(&["b.bin"]), Code::NotFound, None),
        (of_document(unfinished), Code::BadState, None),
        (of_path(&["d"]), Code::BadState, None),
        (of_path(&[]), Code::BadState, None),
        (of_path(&[".."]), Code::BadName, None),
        (DownloadUrl::default(), Code::BadRequest, Some("path")),
        (
            DownloadUrl { document_id: Some(id), ..of_path(&["a.bin"]) },
            Code::BadRequest,
            Some("path"),
        ),
        (
            DownloadUrl { expires_in: Some(0), ..of_document(id) },
            Code::BadRequest,
            Some("expires_in"),
        ),
        (
            DownloadUrl { expires_in: Some(2_592_001), ..of_document(id) },
            Code::BadRequest,
            Some("expires_in"),
        ),
    ] {
        let error = ask(&mut client, wanted.clone()).await.unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (code, field), "{wanted:?}: {error:?}");
    }
    // The connection, and the upload on it, go on.
    client.chunks(ZERO, &file, 0..file.size()).await;
    client.complete(ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_with_its_time_or_with_the_token_of_the_connection() {
    let (server, http) = server().await;
    let stranger = http.with_token("");
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    let mut client =
        RawClient::login(server.address(), &server.site.token(server.user.id, hours(2))).await;
    let id = document(&mut client, "a", &TestFile::new(30, 62)).await;
    let wanted = |seconds| DownloadUrl { expires_in: Some(seconds), ..of_document(id) };
    let short = ask(&mut client, wanted(60)).await.unwrap();
    // Ten hours are asked for, and the token has two.
    let long = ask(&mut client, wanted(36_000)).await.unwrap();
    let left = long.expires_at.as_secs() - server.clock.now().as_secs();
    assert!(left <= 7200, "{left}");
    // After a later token it has as much as that one.
    let token = server.site.token(server.user.id, hours(20));
    client.send(&Request::Reauth(Reauth { channel: SIDE, token })).await;
    let Reply::Reauth(_) = client.reply_on(SIDE).await else { panic!("a later token") };
    let longest = ask(&mut client, wanted(36_000)).await.unwrap();
    server.clock.advance(Duration::from_secs(61));
    assert_eq!(stranger.get(&short.path).await.is(401).problem(), "auth_expired");
    stranger.get(&long.path).await.is(200);
    server.clock.advance(hours(2));
    stranger.get(&long.path).await.is(401);
    stranger.get(&longest.path).await.is(200);
    let mut remove = towlined();
    remove.args(["user", "remove", "ada", "--data-dir"]).arg(server.site.path());
    assert!(output(&mut remove).await.status.success());
    stranger.get(&longest.path).await.is(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_says_by_which_name_others_reach_the_server() {
    let (server, http) =
        server_with(|config| config.http.url = Some("https://Files.example.com/".parse().unwrap()))
            .await;
    let mut client = server.client().await;
    let id = document(&mut client, "a", &TestFile::new(30, 63)).await;
    let address = ask(&mut client, of_document(id)).await.unwrap();
    assert_eq!(address.origin.as_deref(), Some("https://files.example.com"));
    http.with_token("").get(&address.path).await.is(200);
    // The other door says the same, whatever host a request names.
    let link = http.post("/download-url", &json!({ "documentId": id })).await.is(201).json();
    let begin = format!("https://files.example.com/d/{id}/a?token=");
    assert!(link["url"].as_str().unwrap().starts_with(&begin), "{link}");
    let said = json!({ "filename": "b", "size": 5 });
    let begun = http.post("/uploads", &said).await.is(201).json();
    let url = begun["uploadUrl"].as_str().unwrap();
    assert!(url.starts_with("https://files.example.com/uploads/"), "{url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_http_makes_no_links() {
    let server = TestServer::start().await;
    let token = &server.user.token;
    let mut client = RawClient::connect(server.address()).await;
    client.hello(token).await;
    let Reply::Welcome(welcome) = client.reply().await else { panic!("a welcome") };
    assert!(!welcome.features.iter().any(|word| word == "download_url"), "{welcome:?}");
    let error = ask(&mut client, of_document(nobodys_document())).await.unwrap_err();
    assert_eq!(error.code, Code::UnknownAction);
    client.ping().await;

    let (server, _) = super::kit::server().await;
    let mut client = RawClient::connect(server.address()).await;
    client.hello(&server.user.token).await;
    let Reply::Welcome(welcome) = client.reply().await else { panic!("a welcome") };
    assert!(welcome.features.iter().any(|word| word == "download_url"), "{welcome:?}");
    HttpClient::new(server.address(), "").get("/documents").await.is(401);
}
