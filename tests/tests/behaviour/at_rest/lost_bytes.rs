//! A staging file that another program has deleted, cut or made longer. `resume_refused.rs` has the
//! cases between chunks, while the upload is paused, and while the server is stopped. This file has
//! the cases just before `complete`, and a file that has become longer.

use super::paused;
use std::fs;
use std::io::Write as _;
use towline_protocol::Code;
use towline_protocol::request::{Complete, Resume};
use towline_tests::raw_client::{ZERO, offset, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::tamper::{contents, cut};
use towline_tests::test_file::{BLOCK, TestFile};

/// Writes random bytes behind the end of a file.
fn extend(path: &std::path::Path, bytes: usize) {
    let mut file = fs::File::options().append(true).open(path).unwrap();
    file.write_all(&vec![0xaa; bytes]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_gone_at_complete_fail_the_upload() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 5, 350);
    for how in ["deleted", "cut", "emptied", "longer", "replaced", "locked"] {
        let mut client = server.client().await;
        let document_id = client.upload(upload(how, &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        client.progress_that("durable", |now| now.durable == offset(test_file.size())).await;
        let staging = server.site.staging(document_id);
        match how {
            "deleted" => fs::remove_file(&staging).unwrap(),
            "cut" => cut(&staging, test_file.size() - 1),
            "emptied" => cut(&staging, 0),
            "longer" => extend(&staging, 1),
            "replaced" => {
                fs::remove_file(&staging).unwrap();
                fs::write(&staging, &test_file.bytes).unwrap();
            }
            _ => {
                use std::os::unix::fs::PermissionsExt as _;
                fs::set_permissions(&staging, fs::Permissions::from_mode(0o000)).unwrap();
            }
        }
        let error = client.complete_refused(Complete::default(), Code::Failed).await;
        assert!(error.message.contains("the stored bytes were lost"), "{how}: {}", error.message);
        assert_eq!(client.status(document_id).await.status, "failed", "{how}");
        assert!(!server.site.document(&server.user, how).exists(), "{how}");
        // The server deletes no bytes that a person may still need.
        let kept = server.site.staging_folder().join(format!("orphans/{document_id}.tmp"));
        let length = fs::symlink_metadata(&kept).ok().map(|about| about.len());
        let expected = match how {
            "deleted" => None,
            "cut" => Some(test_file.size() - 1),
            "emptied" => Some(0),
            "longer" => Some(test_file.size() + 1),
            _ => Some(test_file.size()),
        };
        assert_eq!(length, expected.map(|bytes| bytes as u64), "{how}");
        assert!(!staging.exists(), "{how}");
        // The upload does not silently continue at 0: the client has to begin a new one.
        client.resume_refused(resume(document_id), Code::Failed).await;
        let again = client.upload(upload(how, &test_file)).await;
        assert_ne!(again.document_id, document_id);
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_the_recorded_end_are_overwritten_or_cut_off_and_never_counted() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 351);
    for (name, bytes) in [("within.bin", 5000), ("beyond.bin", 2 * BLOCK)] {
        // Between two chunks.
        let mut client = server.client().await;
        let document_id = client.upload(upload(name, &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..BLOCK + 1000).await;
        client.has_received(document_id, BLOCK + 1000).await;
        if bytes < BLOCK {
            extend(&server.site.staging(document_id), bytes);
        }
        client.chunks(ZERO, &test_file, BLOCK + 1000..BLOCK + 2000).await;
        client.pause().await;
        // While the client is paused, and while the server is stopped.
        for stopped in [false, true] {
            if stopped {
                server.stop().await;
            }
            if bytes < BLOCK || stopped {
                extend(&server.site.staging(document_id), bytes);
            }
            if stopped {
                server.start_again().await;
            }
            let mut client = server.client().await;
            assert_eq!(client.resume(resume(document_id)).await.offset, offset(BLOCK + 2000));
            client.pause().await;
        }
        let mut client = server.client().await;
        client.resume(Resume { offset: Some(offset(BLOCK + 2000)), ..resume(document_id) }).await;
        client.chunks(ZERO, &test_file, BLOCK + 2000..test_file.size()).await;
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, name, &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_bytes_of_one_upload_leave_the_others_as_they_are() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 352);
    let lost = paused(server.client().await, "lost.bin", &test_file, 1000).await;
    let kept = paused(server.client().await, "kept.bin", &test_file, 1000).await;
    fs::remove_file(server.site.staging(lost)).unwrap();
    let before = contents(&server.site.staging_folder());
    let mut client = server.client().await;
    client.resume_refused(resume(lost), Code::Failed).await;
    assert_eq!(contents(&server.site.staging_folder()), before);
    assert_eq!(client.resume(resume(kept)).await.offset, offset(1000));
}
