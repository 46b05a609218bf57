//! The server's state file is cut at any byte, emptied, or older than the catalog: it is a copy,
//! and the server writes it anew from the catalog.

use super::paused;
use std::fs;
use std::path::PathBuf;
use towline_tests::process::Launch;
use towline_tests::raw_client::{RawClient, ZERO, offset, resume};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// The files that were set aside beside the state file.
fn set_aside(site: &Site) -> Vec<PathBuf> {
    let names = fs::read_dir(site.state_path().parent().unwrap()).unwrap();
    let paths = names.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains(".json.corrupt-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_cut_at_any_byte_is_made_anew() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 370);
    let document_id = paused(server.client().await, "doc.pdf", &test_file, 300_000).await;
    server.stop().await;
    let whole = fs::read(server.site.state_path()).unwrap();
    let truth = server.site.state();
    assert!(truth.find(document_id, None).is_some());
    for length in 0..whole.len() {
        fs::write(server.site.state_path(), &whole[..length]).unwrap();
        server.start_again().await;
        server.stop().await;
        assert_eq!(server.site.state(), truth, "cut at {length}");
        // The damaged file is kept. An empty file, and a file that lacks only its last line break,
        // are not damaged, so they are not kept.
        let aside = set_aside(&server.site);
        let is_damaged = length > 0 && length + 1 < whole.len();
        assert_eq!(aside.len(), usize::from(is_damaged), "cut at {length}");
        for path in aside {
            assert_eq!(fs::read(&path).unwrap(), whole[..length]);
            fs::remove_file(path).unwrap();
        }
    }
    server.start_again().await;
    let mut client = server.client().await;
    assert_eq!(client.resume(resume(document_id)).await.offset, offset(300_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_that_differs_from_the_catalog_is_warned_of() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let test_file = TestFile::new(BLOCK, 371);
    let mut server = Launch::over(&site).start().await;
    let login = async |address| RawClient::login(address, &ada.token).await;
    let document_id = paused(login(server.address()).await, "doc.pdf", &test_file, 1000).await;
    let state = site.state_that("an upload", |state| state.uploads.len() == 1).await;
    let older = fs::read(site.state_path()).unwrap();
    let mut client = login(server.address()).await;
    client.resume(resume(document_id)).await;
    client.chunks(ZERO, &test_file, 1000..300_000).await;
    client.pause().await;
    drop(state);
    let of_nobody = String::from_utf8(older.clone()).unwrap();
    let of_nobody = of_nobody.replace(&format!("\"{document_id}\""), "\"999\"").into_bytes();
    for (what, bytes, warning) in [
        ("older", older, "does not say what the catalog says"),
        ("empty", Vec::new(), "does not say what the catalog says"),
        ("another's", of_nobody, "does not say what the catalog says"),
        ("torn", b"{\"version\":".to_vec(), "was set aside and is written anew"),
    ] {
        server.kill().await;
        fs::write(site.state_path(), &bytes).unwrap();
        server.start_again().await;
        let said = server.said().join("\n");
        assert!(said.contains(warning), "{what}: {said}");
        let state = site.state_that("what is true", |state| {
            state.find(document_id, None).is_some_and(|(_, entry)| entry.offset == offset(300_000))
        });
        assert_eq!(state.await.uploads.len(), 1, "{what}");
        let mut client = login(server.address()).await;
        assert_eq!(client.resume(resume(document_id)).await.offset, offset(300_000), "{what}");
        client.pause().await;
    }
    // A state file that is right is not set aside.
    site.state_that("paused", |state| {
        state.find(document_id, None).is_some_and(|(_, entry)| entry.offset == offset(300_000))
    })
    .await;
    server.kill().await;
    server.start_again().await;
    let said = server.said().join("\n");
    assert!(!said.contains("state file"), "{said}");
}
