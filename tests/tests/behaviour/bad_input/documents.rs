//! Requests about documents: of other users, finished, or not complete.

use towline_protocol::request::Complete;
use towline_protocol::{Code, Request};
use towline_tests::raw_client::{
    RawClient, ZERO, about, nobodys_document, offset, position, resume, upload,
};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_other_users_look_like_documents_that_do_not_exist() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(1000, 114);
    let mut client = server.client().await;
    let done = client.upload(upload("done.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..1000).await;
    client.complete(ZERO).await;
    let open = client.upload(upload("open.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..500).await;
    client.ping().await;

    let bob = server.site.add_user("bob").await;
    let mut bob = RawClient::login(server.address(), &bob.token).await;
    for request in 0..5 {
        let mut texts = Vec::new();
        for document_id in [nobodys_document(), done, open] {
            let complete = Complete { document_id: Some(document_id), ..Complete::default() };
            bob.send(&match request {
                0 => Request::Status(about(document_id)),
                1 => Request::Blocks(about(document_id)),
                2 => Request::Cancel(about(document_id)),
                3 => Request::Complete(complete),
                _ => Request::Resume(resume(document_id)),
            })
            .await;
            let error = bob.error(Code::NotFound).await;
            texts.push((
                error.message.replace(&document_id.to_string(), "N"),
                error.document_id.is_some(),
                error.channel,
            ));
        }
        assert!(texts.iter().all(|text| *text == texts[0]), "{request}: {texts:?}");
    }
    assert!(client.status(open).await.active, "nobody took it over");
    client.chunks(ZERO, &test_file, 500..1000).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_while_bytes_are_missing_says_how_many_are_there() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 118);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    for sent in [0, 1, 300_000, BLOCK - 1] {
        let from = position(client.status(document_id).await.received);
        client.chunks(ZERO, &test_file, from..sent).await;
        let error = client.complete_refused(Complete::default(), Code::Incomplete).await;
        assert_eq!(error.expected, Some(offset(sent)));
    }
    // By its number on a channel without the upload: the upload must be resumed first.
    let elsewhere = Complete { document_id: Some(document_id), ..Complete::default() };
    server.client().await.complete_refused(elsewhere, Code::BadState).await;
    // The channel has not changed.
    client.chunks(ZERO, &test_file, BLOCK - 1..BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_document_gives_the_same_receipt_and_is_not_cancelled() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(5000, 119);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..5000).await;
    let receipt = client.complete(ZERO).await;
    let by_number = Complete { document_id: Some(document_id), ..Complete::default() };
    for _ in 0..3 {
        assert_eq!(client.complete(ZERO).await, receipt);
        assert_eq!(client.complete_with(by_number.clone()).await, receipt);
    }
    client.send(&Request::Cancel(about(document_id))).await;
    client.error(Code::BadState).await;
    assert_eq!(client.status(document_id).await.status, "completed");
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sending_half_closed_right_after_complete_loses_nothing() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 124);
    for i in 0..10 {
        let name = format!("{i}.bin");
        let mut client = server.client().await;
        let document_id = client.upload(upload(&name, &test_file)).await.document_id;
        client.chunks_of(ZERO, &test_file, 0..test_file.size(), BLOCK).await;
        client.send(&Request::Complete(Complete::default())).await;
        client.finish_sending().await;
        assert_eq!(client.success_on(ZERO).await.blake3, test_file.hash());
        client.closed().await;
        server.site.assert_published(&server.user, &name, &test_file);
        assert_eq!(server.client().await.status(document_id).await.status, "completed");
    }
}
