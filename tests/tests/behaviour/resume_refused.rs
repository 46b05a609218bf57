//! The conditions of a resume, each broken alone, and the server's answer.

use std::time::Duration;
use towline_protocol::request::{Complete, Resume, Upload};
use towline_protocol::{Code, Reply, Request};
use towline_tests::raw_client::{RawClient, ZERO, nobodys_document, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::DocumentId;

const SENT: usize = 200_000;

/// An upload of 1 MiB of which 200,000 bytes are there and durable.
async fn paused(server: &TestServer, name: &str, test_file: &TestFile) -> DocumentId {
    let mut client = server.client().await;
    let document_id = client.upload(upload(name, test_file)).await.document_id;
    client.chunks(ZERO, test_file, 0..SENT).await;
    let last = client.pause().await;
    assert_eq!(last[0].durable, offset(SENT));
    document_id
}

/// Checks that the upload can still be completed, with the bytes that were sent.
async fn finishes(server: &TestServer, document_id: DocumentId, name: &str, test_file: &TestFile) {
    let mut client = server.client().await;
    let granted = client.resume(resume(document_id)).await;
    assert_eq!(granted.offset, offset(SENT));
    client.chunks(ZERO, test_file, SENT..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, name, test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_document_is_refused_in_the_words_for_none() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 40);
    let document_id = paused(&server, "doc.pdf", &test_file).await;
    let bob = server.site.add_user("bob").await;
    let mut bob = RawClient::login(server.address(), &bob.token).await;
    let theirs = bob.resume_refused(resume(document_id), Code::NotFound).await;
    let nobodys = bob.resume_refused(resume(nobodys_document()), Code::NotFound).await;
    let plain = |text: &str, id: DocumentId| text.replace(&id.to_string(), "N");
    assert_eq!(plain(&theirs.message, document_id), plain(&nobodys.message, nobodys_document()),);
    assert_eq!(theirs.document_id.is_some(), nobodys.document_id.is_some());
    // The answers do not differ for a wrong size, name or offset, either.
    let guess =
        Resume { filename: Some("x".to_owned()), offset: Some(offset(1)), ..resume(document_id) };
    assert_eq!(bob.resume_refused(guess, Code::NotFound).await.message, theirs.message);
    finishes(&server, document_id, "doc.pdf", &test_file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_size_or_name_is_another_file() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 41);
    let document_id = paused(&server, "doc.pdf", &test_file).await;
    let mut client = server.client().await;
    let longer = TestFile::new(BLOCK + 1, 41).filesize();
    let wish = Resume { filesize: Some(longer), ..resume(document_id) };
    client.resume_refused(wish, Code::FileChanged).await;
    let wish = Resume { filename: Some("doc2.pdf".to_owned()), ..resume(document_id) };
    client.resume_refused(wish, Code::FileChanged).await;
    let bob = server.site.add_user("bob").await;
    let wish = Resume { user_id: Some(bob.id), ..resume(document_id) };
    client.resume_refused(wish, Code::WrongUser).await;
    finishes(&server, document_id, "doc.pdf", &test_file).await;
}

/// So that no client takes the receipt of another file for its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_completed_document_is_held_against_size_and_name_as_well() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3, 43);
    let mut client = server.client().await;
    for got in ["doc.pdf", "doc (1).pdf"] {
        let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..3).await;
        assert_eq!(client.complete(ZERO).await.filename, got);
        let longer = Some(TestFile::new(4, 43).filesize());
        let named = |name: &str| Resume { filename: Some(name.to_owned()), ..resume(document_id) };
        for wish in [
            Resume { filesize: longer, ..resume(document_id) },
            Resume { filesize: longer, ..named("doc.pdf") },
            named("other.pdf"),
            named("doc (2).pdf"),
        ] {
            client.resume_refused(wish, Code::FileChanged).await;
        }
        for wish in [resume(document_id), named("doc.pdf"), named(got)] {
            let wish = Resume { filesize: Some(test_file.filesize()), ..wish };
            client.send(&Request::Resume(wish)).await;
            assert_eq!(client.success_on(ZERO).await.document_id, document_id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_resumes_nothing() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 42);
    let document_id = paused(&server, "doc.pdf", &test_file).await;
    let short = server.site.token(server.user.id, Duration::from_secs(60));
    server.clock.advance(Duration::from_secs(61));
    for (token, code) in
        [(short.as_str(), Code::AuthExpired), ("no.good.token", Code::Unauthorized)]
    {
        let mut client = RawClient::connect(server.address()).await;
        client.hello(token).await;
        client.error(code).await;
        client.closed().await;
    }
    finishes(&server, document_id, "doc.pdf", &test_file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seven_days_without_a_byte() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 43);
    let early = paused(&server, "early.pdf", &test_file).await;
    let late = paused(&server, "late.pdf", &test_file).await;
    let day = Duration::from_secs(86_400);
    server.clock.advance(7 * day - Duration::from_secs(600));
    finishes(&server, early, "early.pdf", &test_file).await;
    server.clock.advance(Duration::from_secs(601));
    for restarted in [false, true] {
        let mut client = server.client().await;
        client.resume_refused(resume(late), Code::Expired).await;
        let status = client.status(late).await;
        assert_eq!((status.status.as_str(), status.active), ("expired", false), "{restarted}");
        assert!(status.reason.is_some());
        server.restart().await;
    }
    assert!(!server.site.staging(late).exists(), "its bytes are given away");
    server.site.state_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_given_up() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 44);
    let document_id = paused(&server, "doc.pdf", &test_file).await;
    let mut client = server.client().await;
    assert_eq!(client.cancel(document_id).await.status, "cancelled");
    assert_eq!(client.cancel(document_id).await.status, "cancelled");
    client.resume_refused(resume(document_id), Code::Cancelled).await;
    assert_eq!(client.status(document_id).await.status, "cancelled");
    let by_number = Complete { document_id: Some(document_id), ..Complete::default() };
    client.complete_refused(by_number, Code::Cancelled).await;
    drop(client);
    assert!(!server.site.staging(document_id).exists());
    // The new upload begins at 0.
    let mut client = server.client().await;
    assert_eq!(client.upload(upload("doc.pdf", &test_file)).await.offset, offset(0));
}

/// Changes a staging file without the server, in one of several ways.
fn harm(server: &TestServer, document_id: DocumentId, how: &str) {
    let path = server.site.staging(document_id);
    match how {
        "deleted" => std::fs::remove_file(path).unwrap(),
        "cut short" => {
            std::fs::File::options().write(true).open(path).unwrap().set_len(100_000).unwrap();
        }
        "emptied" => {
            std::fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
        }
        "replaced" => {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, vec![0; 1000]).unwrap();
        }
        other => unreachable!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_gone_while_the_upload_is_paused() {
    let server = TestServer::start().await;
    for how in ["deleted", "cut short", "emptied", "replaced"] {
        let name = format!("{how}.pdf");
        let test_file = TestFile::new(BLOCK, 45);
        let document_id = paused(&server, &name, &test_file).await;
        harm(&server, document_id, how);
        is_failed_for_good(&server, document_id, &name, &test_file, how).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_gone_while_the_server_is_stopped() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 46);
    let mut documents = Vec::new();
    for how in ["deleted", "cut short", "emptied", "replaced"] {
        let name = format!("{how}.pdf");
        documents.push((how, name.clone(), paused(&server, &name, &test_file).await));
    }
    server.stop().await;
    for (how, _, document_id) in &documents {
        harm(&server, *document_id, how);
    }
    server.start_again().await;
    for (how, name, document_id) in &documents {
        is_failed_for_good(&server, *document_id, name, &test_file, how).await;
    }
}

async fn is_failed_for_good(
    server: &TestServer,
    document_id: DocumentId,
    name: &str,
    test_file: &TestFile,
    how: &str,
) {
    let mut client = server.client().await;
    client.send(&Request::Resume(resume(document_id))).await;
    match client.reply_on(ZERO).await {
        Reply::Error(error) if error.code == Code::Failed => {}
        other => panic!("{how}: continued with {other:?}"),
    }
    let status = client.status(document_id).await;
    assert_eq!(status.status, "failed", "{how}");
    assert!(status.reason.is_some(), "{how}");
    client.resume_refused(resume(document_id), Code::Failed).await;
    // A new upload from the first byte on works.
    let again = client.upload(upload(name, test_file)).await;
    assert_ne!(again.document_id, document_id);
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, name, test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staging_file_deleted_while_the_upload_is_under_way() {
    is_noticed_under_way("deleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staging_file_cut_short_while_the_upload_is_under_way() {
    is_noticed_under_way("cut short").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staging_file_emptied_while_the_upload_is_under_way() {
    is_noticed_under_way("emptied").await;
}

/// Whatever happens to the bytes between two chunks, the server sends no `SUCCESS`.
async fn is_noticed_under_way(how: &str) {
    let server = TestServer::start().await;
    let mut unnoticed = Vec::new();
    for blocks in [false, true] {
        let name = format!("{how} {blocks}.pdf");
        let test_file = TestFile::new(BLOCK, 47);
        let mut client = server.client().await;
        let begin = Upload { blocks, ..upload(&name, &test_file) };
        let document_id = client.upload(begin).await.document_id;
        client.chunks(ZERO, &test_file, 0..SENT).await;
        client.progress_that("durable", |p| p.durable == offset(SENT)).await;
        harm(&server, document_id, how);
        client.chunks(ZERO, &test_file, SENT..test_file.size()).await;
        if blocks {
            client.announce(ZERO, 0, test_file.value(0)).await;
        }
        client.send(&Request::Complete(Complete::default())).await;
        match client.reply_on(ZERO).await {
            Reply::Error(error) => {
                let is_said = matches!(error.code, Code::Failed | Code::StorageFailed);
                assert!(is_said, "{how}: {error:?}");
                assert!(!server.site.document(&server.user, &name).exists(), "{how}");
                let mut other = server.client().await;
                let status = other.status(document_id).await;
                assert_eq!(status.status, "failed", "{how}: after {error:?}: {status:?}");
                // Only one upload was harmed; the next one is not affected.
                let again = other.upload(upload(&name, &test_file)).await;
                other.cancel(again.document_id).await;
            }
            Reply::Success(success) => {
                let published = std::fs::read(server.site.document(&server.user, &name)).unwrap();
                let is_right = published == test_file.bytes;
                unnoticed.push(format!("blocks {blocks}: right {is_right}, {success:?}"));
            }
            other => panic!("{how}, blocks {blocks}: {other:?}"),
        }
    }
    assert!(unnoticed.is_empty(), "SUCCESS although the staging file was {how}: {unnoticed:#?}");
}
