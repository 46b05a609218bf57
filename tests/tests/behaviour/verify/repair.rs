//! `--repair`: it loses nothing, at whatever point it is interrupted.

use super::{command, completed, told, verify};
use std::fs;
use towline_protocol::Code;
use towline_protocol::request::{Complete, Find};
use towline_tests::process::output;
use towline_tests::raw_client::{ZERO, find, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::tamper::{contents, cut, flip};
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_document_is_set_aside_and_can_be_uploaded_again() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 5, 320);
    let damaged = completed(&server, "damaged.bin", &test_file).await;
    let missing = completed(&server, "missing.bin", &test_file).await;
    let whole = completed(&server, "whole.bin", &TestFile::new(7, 321)).await;
    server.stop().await;
    let site = &server.site;
    let place = site.document(&server.user, "damaged.bin");
    flip(&place, 3);
    let bytes = fs::read(&place).unwrap();
    fs::remove_file(site.document(&server.user, "missing.bin")).unwrap();
    let stray = site.documents(&server.user).join("stray");
    fs::write(&stray, "somebody's").unwrap();
    fs::write(site.staging_folder().join("note"), "somebody's").unwrap();

    let repaired = verify(site, &["--repair"]).await;
    assert_eq!((repaired.code, repaired.findings.len()), (Some(1), 4));
    let done: Vec<_> = repaired.findings.iter().map(|finding| finding["done"].clone()).collect();
    assert_eq!(done, ["set_aside", "failed", "nothing", "out_of_the_way"]);
    for (finding, kept) in [(0, &bytes[..]), (3, b"somebody's")] {
        let moved_to = repaired.findings[finding]["moved_to"].as_str().unwrap();
        assert_eq!(fs::read(site.path().join(moved_to)).unwrap(), kept);
    }
    assert!(!place.exists(), "nothing lies under a name that is not whole");
    assert_eq!(fs::read_to_string(&stray).unwrap(), "somebody's", "it stays where it is");
    // A second run finds nothing more to repair.
    let again = verify(site, &["--repair"]).await;
    assert_eq!(again.kinds(), ["no_document uploads/1/stray"]);
    fs::remove_file(&stray).unwrap();
    assert!(verify(site, &[]).await.is_well());

    server.start_again().await;
    let mut client = server.client().await;
    for (document_id, name) in [(damaged, "damaged.bin"), (missing, "missing.bin")] {
        // The server does not repeat SUCCESS for bytes that are lost.
        client.resume_refused(resume(document_id), Code::Failed).await;
        let complete = Complete { document_id: Some(document_id), ..Complete::default() };
        client.complete_refused(complete, Code::Failed).await;
        let status = client.status(document_id).await;
        assert_eq!(status.status, "failed");
        let reason = status.reason.unwrap();
        assert!(
            reason.contains(&test_file.hash().to_string()) && reason.contains(name),
            "{reason}"
        );
        let wanted = Find { blake3: Some(test_file.hash()), ..find(name, test_file.filesize()) };
        assert_eq!(client.find(wanted).await.document_id, None);
    }
    for name in ["damaged.bin", "missing.bin"] {
        client.upload(upload(name, &test_file)).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        assert_eq!(client.complete(ZERO).await.filename, name, "its place is free");
        server.site.assert_published(&server.user, name, &test_file);
    }
    assert_eq!(client.status(whole).await.status, "completed");
    assert!(verify(&server.site, &[]).await.is_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_server_nothing_is_repaired() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(100, 322);
    let document_id = completed(&server, "doc.pdf", &test_file).await;
    flip(&server.site.document(&server.user, "doc.pdf"), 0);
    let before = contents(&server.site.uploads());
    let (code, text) = told(&server.site, &["--repair"]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("stop the server first"), "{text}");
    assert_eq!(server.client().await.status(document_id).await.status, "completed");
    assert_eq!(contents(&server.site.uploads()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_killed_is_finished_by_the_next() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(100, 323);
    let document_id = completed(&server, "doc.pdf", &test_file).await;
    server.stop().await;
    let site = &server.site;
    cut(&site.document(&server.user, "doc.pdf"), 50);
    let mut killed = command(site, &["--repair"]);
    killed.env("TOWLINE_FAILPOINTS", "repair.set_aside=kill");
    assert_eq!(output(&mut killed).await.status.code(), None, "killed");
    let aside = site.staging_folder().join("orphans").join(format!("{document_id}.damaged"));
    assert_eq!(fs::read(&aside).unwrap(), test_file.bytes[..50]);
    assert_eq!(verify(site, &[]).await.kinds(), ["missing uploads/1/doc.pdf"]);
    assert_eq!(verify(site, &["--repair"]).await.findings[0]["done"], "failed");
    assert!(verify(site, &[]).await.is_well());
    assert_eq!(fs::read(&aside).unwrap(), test_file.bytes[..50], "it is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_not_mounted_has_lost_nothing() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(100, 324);
    for name in ["a.txt", "b.txt"] {
        completed(&server, name, &test_file).await;
    }
    server.stop().await;
    let site = &server.site;
    let (folder, elsewhere) = (site.documents(&server.user), site.outside().join("disk"));
    fs::rename(&folder, &elsewhere).unwrap();
    let kinds = ["missing uploads/1/a.txt", "missing uploads/1/b.txt"];
    let left = verify(site, &["--repair"]).await;
    assert_eq!(left.kinds(), kinds);
    assert!(left.findings.iter().all(|finding| finding["done"] == "nothing"));
    fs::rename(&elsewhere, &folder).unwrap();
    assert!(verify(site, &[]).await.is_well());
    // Both files were on the file system of the data folder, which cannot be missing on its own: so
    // they were removed, though the folder has no other file.
    for name in ["a.txt", "b.txt"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    let repaired = verify(site, &["--repair"]).await;
    assert_eq!(repaired.kinds(), kinds);
    assert!(repaired.findings.iter().all(|finding| finding["done"] == "failed"));
    assert!(verify(site, &[]).await.is_well());
}
