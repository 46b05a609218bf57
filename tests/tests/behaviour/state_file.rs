//! The server's `uploads_state.json`: what people and tools read in it, in the schema that the user
//! has defined, and what the server does with a damaged file.

use serde_json::Value;
use std::fs;
use towline_engine::OpenError;
use towline_protocol::request::Upload;
use towline_server::RunError;
use towline_state::state_file::EntryStatus;
use towline_tests::raw_client::{ZERO, position, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::Offset;

#[tokio::test(flavor = "multi_thread")]
async fn three_paused_uploads_in_the_users_schema() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(5 * BLOCK, 180);
    let began = server.clock.now().as_secs();
    let mut documents = Vec::new();
    for (i, name) in ["lecture_notes.pdf", "project.zip", "third.bin"].into_iter().enumerate() {
        let mut client = server.client().await;
        let begin = Upload { chunk_size: Some(65_536), ..upload(name, &test_file) };
        let document_id = client.upload(begin).await.document_id;
        let sent = BLOCK * (i + 1) + 1234;
        client.chunks(ZERO, &test_file, 0..sent).await;
        client.pause().await;
        documents.push((document_id, name, sent));
    }
    server
        .site
        .state_that("three paused uploads", |state| {
            // The file is a copy of the catalog: it may be written between the end of a connection
            // and the checkpoint of its pause.
            state.uploads.len() == 3
                && state
                    .uploads
                    .values()
                    .all(|entry| entry.status == EntryStatus::Paused && entry.offset > Offset::ZERO)
        })
        .await;
    let text = fs::read(server.site.state_path()).unwrap();
    let json: Value = serde_json::from_slice(&text).unwrap();
    let uploads = json["uploads"].as_object().unwrap();
    assert_eq!(uploads.len(), 3);
    for (document_id, name, sent) in &documents {
        let entry = &uploads[&document_id.to_string()];
        assert_eq!(entry["filename"], *name);
        assert_eq!(entry["total_size"], 5 * BLOCK);
        assert_eq!(entry["offset"], *sent);
        assert_eq!(entry["chunk_size"], 65_536);
        assert_eq!(entry["user_id"], server.user.id.get());
        assert_eq!(entry["status"], "paused");
        // Unix time in seconds.
        for time in ["start_time", "last_chunk_time"] {
            let seconds = entry[time].as_u64().unwrap();
            assert!((began - 1..began + 600).contains(&seconds), "{time}: {seconds}");
        }
        assert!(entry["last_chunk_time"].as_u64() >= entry["start_time"].as_u64());
    }

    let mut client = server.client().await;
    client.resume(resume(documents[0].0)).await;
    let key = documents[0].0.to_string();
    server
        .site
        .state_that("one is uploading", |state| {
            state.uploads[&key].status == EntryStatus::Uploading
        })
        .await;
    drop(client);
    for (document_id, name, _) in &documents {
        let mut client = server.client().await;
        let from = position(client.resume(resume(*document_id)).await.offset);
        client.chunks(ZERO, &test_file, from..test_file.size()).await;
        client.complete(ZERO).await;
        server.site.assert_published(&server.user, name, &test_file);
    }
    server.site.state_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_leaves_everything_paused() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 181);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..300_000).await;
    client.has_received(document_id, 300_000).await;
    server.stop().await;
    let state = server.site.state();
    let (_, entry) = state.find(document_id, None).unwrap();
    assert_eq!((entry.status, entry.offset.get()), (EntryStatus::Paused, 300_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_set_aside_and_made_anew() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 182);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..300_000).await;
    client.pause().await;
    server.stop().await;
    let whole = fs::read(server.site.state_path()).unwrap();
    let folder = server.site.state_path().parent().unwrap().to_owned();
    let set_aside = || {
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<_> = names
            .filter(|path| path.to_string_lossy().contains(".corrupt-"))
            .map(|path| fs::read(path).unwrap())
            .collect();
        found.sort();
        found
    };
    let damaged: Vec<Vec<u8>> = vec![
        whole[..whole.len() / 2].to_vec(),
        b"{".to_vec(),
        b"\0\0\0\0".to_vec(),
        br#"{"uploads":7}"#.to_vec(),
        b"rubbish".to_vec(),
    ];
    for bytes in &damaged {
        fs::write(server.site.state_path(), bytes).unwrap();
        let before = set_aside();
        server.start_again().await;
        server
            .site
            .state_that("the upload again", |state| {
                state.find(document_id, None).is_some_and(|(_, e)| e.offset.get() == 300_000)
            })
            .await;
        assert_eq!(set_aside().len(), before.len() + 1, "the evidence is kept");
        assert!(set_aside().contains(bytes));
        server.stop().await;
    }
    // An empty or missing file has nothing to keep, and is made anew as well.
    for bytes in [Some(&b""[..]), None] {
        match bytes {
            Some(bytes) => fs::write(server.site.state_path(), bytes).unwrap(),
            None => fs::remove_file(server.site.state_path()).unwrap(),
        }
        server.start_again().await;
        server
            .site
            .state_that("the upload again", |state| state.find(document_id, None).is_some())
            .await;
        server.stop().await;
    }
    server.start_again().await;
    let mut client = server.client().await;
    let from = position(client.resume(resume(document_id)).await.offset);
    assert_eq!(from, 300_000);
    client.chunks(ZERO, &test_file, from..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_decides_and_not_the_file() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 183);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..300_000).await;
    client.pause().await;
    server.stop().await;
    let text = fs::read_to_string(server.site.state_path()).unwrap();
    assert!(text.contains("300000"), "{text}");
    fs::write(server.site.state_path(), text.replace("300000", "999999")).unwrap();
    server.start_again().await;
    let mut client = server.client().await;
    let from = position(client.resume(resume(document_id)).await.offset);
    assert_eq!(from, 300_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_later_version_is_not_touched() {
    let mut server = TestServer::start().await;
    server.stop().await;
    let later = br#"{"version":2,"uploads":{"7":{"shape":"unknown"}}}"#;
    fs::write(server.site.state_path(), later).unwrap();
    let refused = server.try_start().await.unwrap_err();
    println!("{refused:?}");
    assert!(matches!(refused, RunError::Open(OpenError::StateFile(_))));
    assert_eq!(fs::read(server.site.state_path()).unwrap(), later);
}
