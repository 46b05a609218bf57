//! A file whose length is said only at its end.

use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Code, Request};
use towline_tests::raw_client::{RawClient, ZERO, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// An upload without a length.
fn open(name: &str) -> Upload {
    Upload { filename: name.to_owned(), ..Upload::default() }
}

/// The end of an upload of that file.
fn end_of(test_file: &TestFile) -> Complete {
    let (filesize, blake3) = (Some(test_file.filesize()), Some(test_file.hash()));
    Complete { filesize, blake3, ..Complete::default() }
}

async fn begun(server: &TestServer, name: &str) -> RawClient {
    let mut client = server.client().await;
    client.upload(open(name)).await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_length_is_stored_when_its_length_is_said() {
    let server = TestServer::start().await;
    for size in [0, 1, 70_000, BLOCK, 2 * BLOCK + 7] {
        let (test_file, name) = (TestFile::new(size, 1), format!("{size}.tar"));
        let mut client = begun(&server, &name).await;
        client.chunks(ZERO, &test_file, 0..size).await;
        let success = client.complete_with(end_of(&test_file)).await;
        assert_eq!((success.filesize, success.blake3), (test_file.filesize(), test_file.hash()));
        server.site.assert_published(&server.user, &name, &test_file);
        // As a client says it again whose `SUCCESS` was lost.
        let again = Complete { document_id: Some(success.document_id), ..end_of(&test_file) };
        let receipt = server.client().await.complete_with(again).await;
        assert_eq!(receipt.created_at, success.created_at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_resumed_without_a_length() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK + 9, 2);
    let (first, second) = (BLOCK + 77, 2 * BLOCK + 5);
    let mut client = server.client().await;
    let id = client.upload(open("cut.tar")).await.document_id;
    client.chunks(ZERO, &test_file, 0..first).await;
    let last = client.pause().await;
    assert_eq!(last[0].durable, offset(first));
    assert_eq!(last[0].progress, format!("{first} bytes"));
    for (from, to) in [(first, second), (second, test_file.size())] {
        server.restart().await;
        let mut client = server.client().await;
        assert_eq!(client.resume(resume(id)).await.offset, offset(from));
        client.chunks(ZERO, &test_file, from..to).await;
        if to < test_file.size() {
            client.pause().await;
            continue;
        }
        let named = Complete { document_id: Some(id), ..end_of(&test_file) };
        assert_eq!(client.complete_with(named).await.document_id, id);
    }
    server.site.assert_published(&server.user, "cut.tar", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_has_to_be_the_number_of_the_bytes() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 100, 3);

    let mut client = begun(&server, "short.tar").await;
    client.chunks(ZERO, &test_file, 0..BLOCK).await;
    client.complete_refused(Complete::default(), Code::BadState).await;
    let error = client.complete_refused(end_of(&test_file), Code::Incomplete).await;
    assert_eq!(error.expected, Some(offset(BLOCK)));
    client.chunks(ZERO, &test_file, BLOCK..test_file.size()).await;
    client.complete_with(end_of(&test_file)).await;
    server.site.assert_published(&server.user, "short.tar", &test_file);

    let mut client = server.client().await;
    let id = client.upload(open("long.tar")).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let shorter =
        Complete { filesize: Some(TestFile::new(100, 3).filesize()), ..Complete::default() };
    client.complete_refused(shorter, Code::SizeExceeded).await;
    // The one error is the answer to everything on the channel until the next `resume`.
    client.send(&Request::Complete(Complete::default())).await;
    let status = client.status(id).await;
    assert_eq!((status.status.as_str(), status.active), ("uploading", false));
    assert!(!server.site.document(&server.user, "long.tar").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_is_said_once() {
    let server = TestServer::start().await;
    let (test_file, other) = (TestFile::new(500, 4), TestFile::new(501, 4));
    let mut client = server.client().await;
    let id = client.upload(upload("known.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.complete_refused(end_of(&other), Code::FileChanged).await;
    let granted = client.resume(resume(id)).await;
    assert_eq!(granted.offset, offset(test_file.size()));
    client.complete_with(end_of(&test_file)).await;
    server.site.assert_published(&server.user, "known.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_the_length_cannot_be_said_without_it() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let blocks = Upload { blocks: true, ..open("a.tar") };
    assert_eq!(
        client.upload_refused(blocks, Code::BadRequest).await.field.as_deref(),
        Some("blocks")
    );
    let new_only = Upload { new_only: true, ..open("a.tar") };
    let error = client.upload_refused(new_only, Code::BadRequest).await;
    assert_eq!(error.field.as_deref(), Some("new_only"));
    client.upload(open("a.tar")).await;
}
