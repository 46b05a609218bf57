//! A file that is replaced, its versions, and conflicts.

use towline_protocol::request::{Complete, Request, Upload};
use towline_protocol::{Code, reply::Success};
use towline_tests::raw_client::{RawClient, ZERO, names, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;
use towline_types::{ModifiedTime, OnConflict, PermissionBits};

fn replacing(filename: &str, test_file: &TestFile) -> Upload {
    Upload { on_conflict: OnConflict::Replace, ..upload(filename, test_file) }
}

async fn put(client: &mut RawClient, begin: Upload, test_file: &TestFile) -> Success {
    client.upload(begin).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_file_keeps_its_number_and_its_older_versions() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    // Small enough to come in one piece, one block, and several.
    let files = [TestFile::new(700, 1), TestFile::new(900_000, 2), TestFile::new(3 << 20, 3)];
    let mut successes = Vec::new();
    for test_file in &files {
        successes.push(put(&mut client, replacing("report", test_file), test_file).await);
        server.site.assert_published(&server.user, "report", test_file);
    }
    assert!(successes.iter().all(|success| success.filename == "report" && success.durable));
    let node = client.stat("report").await.node;
    assert!(successes.iter().all(|success| success.node_id == Some(node.node_id)));
    assert_eq!(node.version, Some(successes[2].document_id));
    let versions = client.versions("report").await;
    let numbers: Vec<_> = versions.iter().map(|version| version.version).collect();
    let expected: Vec<_> = successes.iter().rev().map(|success| success.document_id).collect();
    assert_eq!(numbers, expected);
    let current: Vec<_> = versions.iter().map(|version| version.current).collect();
    assert_eq!(current, [true, false, false]);
    for (success, test_file) in successes.iter().zip(&files).take(2) {
        let user = server.user.id;
        let kept = server.site.uploads().join(format!(".versions/{user}/{}", success.document_id));
        assert_eq!(std::fs::read(kept).expect("the version is kept"), test_file.bytes);
    }
    // One of them comes back, as a new version.
    let restored = client.restore_version("report", successes[0].document_id).await;
    server.site.assert_published(&server.user, "report", &files[0]);
    assert_eq!(restored.node.node_id, node.node_id);
    assert!(!expected.contains(&restored.node.version.expect("a version")));
    assert_eq!(client.versions("report").await.len(), 4);
    // One that is the current one is there.
    let current = restored.node.version.expect("a version");
    let again = client.restore_version("report", current).await;
    assert!(again.existing && again.node == restored.node);
    assert_eq!(client.versions("report").await.len(), 4);
    server.restart().await;
    let mut client = server.client().await;
    assert_eq!(client.versions("report").await.len(), 4);
    server.site.assert_published(&server.user, "report", &files[0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_than_the_one_that_was_seen_is_not_replaced() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let files: Vec<_> = (0..4).map(|seed| TestFile::new(2000 + seed, 1)).collect();
    let first = put(&mut client, upload("doc", &files[0]), &files[0]).await.document_id;
    let base = |test_file| Upload { base_version: Some(first), ..replacing("doc", test_file) };
    // Changed on the way: noticed in the moment of publishing.
    client.upload(base(&files[1])).await;
    client.chunks(ZERO, &files[1], 0..files[1].size()).await;
    let mut other = server.client().await;
    let second = put(&mut other, replacing("doc", &files[2]), &files[2]).await.document_id;
    let error = client.complete_refused(Complete::default(), Code::Conflict).await;
    assert_eq!(error.node.and_then(|node| node.version), Some(second), "what is there is told");
    server.site.assert_published(&server.user, "doc", &files[2]);
    // All bytes are kept.
    let on_conflict = Some(OnConflict::Rename);
    let success = client.complete_with(Complete { on_conflict, ..Complete::default() }).await;
    assert_eq!(success.filename, "doc (1)");
    server.site.assert_published(&server.user, "doc (1)", &files[1]);
    // Known from the beginning: no byte is sent.
    let error = client.upload_refused(base(&files[3]), Code::Conflict).await;
    assert_eq!(error.node.and_then(|node| node.version), Some(second));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_replaced_wherever_it_lies_by_then() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let (old, new) = (TestFile::new(1000, 1), TestFile::new(1000, 2));
    put(&mut client, upload("doc", &old), &old).await;
    let node = client.stat("doc").await.node;
    let onto = Upload {
        node_id: Some(node.node_id),
        mtime_ms: Some(ModifiedTime::from_ms(-5)),
        mode: Some(PermissionBits::of_mode(0o640)),
        ..upload("doc", &new)
    };
    client.upload(onto).await;
    client.chunks(ZERO, &new, 0..new.size()).await;
    let mut other = server.client().await;
    other.mkdir("moved").await;
    other.move_node("doc", "moved/other name").await;
    let success = client.complete(ZERO).await;
    assert_eq!((&*success.filename, success.folder), ("other name", names("moved")));
    server.site.assert_published(&server.user, "moved/other name", &new);
    let node = client.stat("moved/other name").await.node;
    assert_eq!(node.version, Some(success.document_id));
    assert_eq!(node.mtime_ms, Some(ModifiedTime::from_ms(-5)));
    assert_eq!(node.mode, Some(PermissionBits::of_mode(0o640)));
    // Into a folder by its number.
    let folder = client.stat("moved").await.node.node_id;
    let into = Upload { parent_id: Some(folder), ..upload("second", &old) };
    let success = put(&mut client, into, &old).await;
    assert_eq!(success.folder, names("moved"));
    let both = Upload { parent_id: Some(folder), folder: names("moved"), ..upload("x", &old) };
    client.upload_refused(both, Code::BadRequest).await;
    server.stop().await;
}

/// What an upload was to go to is removed on its way.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_what_was_removed_meanwhile_can_be_finished() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let mut other = server.client().await;
    let (old, new) = (TestFile::new(1000, 1), TestFile::new(1000, 2));
    let node_id = put(&mut client, upload("doc", &old), &old).await.node_id;
    client.upload(Upload { node_id, ..upload("doc", &new) }).await;
    client.chunks(ZERO, &new, 0..new.size()).await;
    other.remove("doc").await;
    for on_conflict in [None, Some(OnConflict::Replace)] {
        let complete = Complete { on_conflict, ..Complete::default() };
        let error = client.complete_refused(complete, Code::Conflict).await;
        assert!(error.node.is_none(), "it is gone");
    }
    let on_conflict = Some(OnConflict::Rename);
    let success = client.complete_with(Complete { on_conflict, ..Complete::default() }).await;
    assert_eq!((&*success.filename, success.folder), ("doc", names("")));
    assert_ne!(success.node_id, node_id);
    server.site.assert_published(&server.user, "doc", &new);
    // One that is gone before the upload begins.
    let late = Upload { node_id, ..upload("doc", &new) };
    client.upload_refused(late, Code::NotFound).await;

    // A folder, named by its number.
    client.mkdir("a/b").await;
    let parent_id = Some(client.stat("a/b").await.node.node_id);
    client.upload(Upload { parent_id, ..upload("doc", &new) }).await;
    client.chunks(ZERO, &new, 0..new.size()).await;
    other.remove("a").await;
    let success = client.complete(ZERO).await;
    assert_eq!(success.folder, names("a/b"));
    server.site.assert_published(&server.user, "a/b/doc", &new);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_not_replaced_and_skip_keeps_nothing() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(1000, 1);
    client.mkdir("folder").await;
    client.upload_refused(replacing("folder", &test_file), Code::Exists).await;
    client.upload(replacing("folder later", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let mut other = server.client().await;
    other.mkdir("folder later").await;
    client.complete_refused(Complete::default(), Code::Exists).await;
    let skipping = Upload { on_conflict: OnConflict::Skip, ..upload("late", &test_file) };
    let granted = client.upload(skipping.clone()).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    put(&mut other, upload("late", &TestFile::new(1, 1)), &TestFile::new(1, 1)).await;
    client.complete_refused(Complete::default(), Code::Exists).await;
    assert_eq!(client.status(granted.document_id).await.status, "cancelled");
    client.tree_refused(&Request::Upload(skipping), Code::Exists).await;
    server.stop().await;
}
