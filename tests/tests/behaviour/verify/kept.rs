//! What no list shows any more and is kept all the same: older versions and the trash.

use super::{told, verify};
use std::fs;
use std::path::PathBuf;
use towline_protocol::request::Upload;
use towline_tests::raw_client::{RawClient, ZERO, names, upload};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::tamper::{contents, cut, flip};
use towline_tests::test_file::TestFile;
use towline_types::{NodeId, OnConflict};

/// A file of that size, with bytes of its own.
fn file(size: usize) -> TestFile {
    TestFile::new(size, 360 + size as u64)
}

/// Uploads a file, over the one that has its name. Returns the number of the document.
async fn put(client: &mut RawClient, place: &str, size: usize) -> u64 {
    let (folder, filename) = place.rsplit_once('/').unwrap_or(("", place));
    let (test_file, on_conflict) = (file(size), OnConflict::Replace);
    let begin = Upload { folder: names(folder), on_conflict, ..upload(filename, &test_file) };
    client.upload(begin).await;
    client.chunks(ZERO, &test_file, 0..size).await;
    client.complete(ZERO).await.document_id.get()
}

/// `doc` with three older versions, and the removed folder `old` with three files, the removed
/// file `gone`.
struct Kept {
    server: TestServer,
    versions: Vec<u64>,
    old: NodeId,
    gone: NodeId,
}

impl Kept {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let mut client = server.client().await;
        let mut versions = Vec::new();
        for size in [101, 102, 103, 104] {
            versions.push(put(&mut client, "doc", size).await);
        }
        for (place, size) in [("old/a/x", 11), ("old/y", 12), ("old/z", 13), ("gone", 14)] {
            put(&mut client, place, size).await;
        }
        let old = client.remove("old").await.node.node_id;
        let gone = client.remove("gone").await.node.node_id;
        Self { server, versions, old, gone }
    }

    fn site(&self) -> &Site {
        &self.server.site
    }

    fn version(&self, number: usize) -> PathBuf {
        self.site().uploads().join(format!(".versions/1/{}", self.versions[number]))
    }

    fn removed(&self, below: &str) -> PathBuf {
        self.site().uploads().join(format!(".trash/1/{}/{below}", self.old))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_missing_and_unknown_files_among_versions_and_trash_are_named() {
    let kept = Kept::new().await;
    let site = kept.site();
    let well = verify(site, &[]).await;
    assert!(well.is_well(), "{:?}", well.findings);
    assert_eq!(well.summary["documents"], 8, "four versions and four removed files");
    flip(&kept.version(0), 3);
    fs::remove_file(kept.version(1)).unwrap();
    cut(&kept.removed("a/x"), 5);
    fs::remove_file(kept.removed("y")).unwrap();
    let [versions, trash] = [".versions/1", ".trash/1"].map(|below| site.uploads().join(below));
    for stray in [
        versions.join("999"),
        versions.join("note"),
        trash.join("999"),
        kept.removed("a/another program's"),
    ] {
        fs::write(stray, "somebody's").unwrap();
    }
    fs::create_dir(site.uploads().join(".trash/nobody")).unwrap();
    fs::write(site.uploads().join(".trash/nobody/1"), "somebody's").unwrap();
    // A replacement that was given up leaves a second name of the current version.
    fs::hard_link(
        site.document(&kept.server.user, "doc"),
        versions.join(kept.versions[3].to_string()),
    )
    .unwrap();
    let before = contents(&site.uploads());
    let found = verify(site, &[]).await;
    let (first, second, old) = (kept.versions[0], kept.versions[1], kept.old);
    let mut expected = [
        format!("damaged uploads/.trash/1/{old}/a/x"),
        format!("damaged uploads/.versions/1/{first}"),
        format!("missing uploads/.trash/1/{old}/y"),
        format!("missing uploads/.versions/1/{second}"),
        format!("no_document uploads/.trash/1/{old}/a/another program's"),
        "no_document uploads/.trash/1/999".to_owned(),
        "no_document uploads/.trash/nobody/1".to_owned(),
        "no_document uploads/.versions/1/999".to_owned(),
        "no_document uploads/.versions/1/note".to_owned(),
    ];
    expected.sort();
    assert_eq!(found.kinds(), expected);
    let seen = |kind: &str, seen: &str| {
        let mut findings = found.findings.iter();
        findings.any(|finding| finding["kind"] == kind && finding["seen"] == seen)
    };
    for kind in ["damaged", "missing"] {
        assert!(seen(kind, "older_version") && seen(kind, "removed"), "{:?}", found.findings);
    }
    let (code, text) = told(site, &[]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("of ada, user 1, an older version\n"), "{text}");
    assert!(text.contains("of ada, user 1, in the trash\n"), "{text}");
    assert_eq!(contents(&site.uploads()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_sets_damaged_versions_and_removed_files_aside_and_keeps_the_rest() {
    let mut kept = Kept::new().await;
    kept.server.stop().await;
    let site = kept.site();
    let lost = [kept.version(0), kept.removed("a/x")];
    for path in &lost {
        flip(path, 3);
    }
    let bytes = lost.clone().map(|path| fs::read(path).unwrap());
    fs::remove_file(kept.version(1)).unwrap();
    fs::remove_file(kept.removed("y")).unwrap();
    fs::write(kept.removed("stray"), "somebody's").unwrap();
    let (_, text) = told(site, &["--repair"]).await;
    assert_eq!(text.matches("its owner does").count(), 4, "{text}");
    assert!(!text.contains("can be uploaded again"), "{text}");
    for path in &lost {
        assert!(!path.exists());
    }
    let aside = contents(&site.staging_folder().join("orphans"));
    for bytes in bytes {
        assert!(aside.values().any(|kept| *kept == bytes), "a damaged file is the best copy");
    }
    let stray = format!("no_document uploads/.trash/1/{}/stray", kept.old);
    assert_eq!(verify(site, &["--repair"]).await.kinds(), [stray]);
    fs::remove_file(kept.removed("stray")).unwrap();
    assert!(verify(site, &[]).await.is_well());

    kept.server.start_again().await;
    let mut client = kept.server.client().await;
    let left = client.versions("doc").await;
    let left: Vec<_> = left.iter().map(|version| version.version.get()).collect();
    assert_eq!(left, [kept.versions[3], kept.versions[2]]);
    for node in [kept.old, kept.gone] {
        client.restore(node).await;
    }
    let tree = client.tree(10).await;
    let files = tree.iter().filter(|(_, node)| node.blake3.is_some()).map(|(place, _)| place);
    assert_eq!(files.collect::<Vec<_>>(), ["doc", "gone", "old/z"]);
    kept.site().assert_published(&kept.server.user, "old/z", &file(13));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_moved_removed_and_replaced_meanwhile_is_no_finding() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for number in 0..20 {
        put(&mut client, &format!("folder/{number}"), 50 + number).await;
    }
    let busy = tokio::spawn(async move {
        loop {
            put(&mut client, "other/doc", 31).await;
            put(&mut client, "other/doc", 32).await;
            client.move_node("folder", "elsewhere").await;
            let removed = client.remove("elsewhere").await.node.node_id;
            client.restore(removed).await;
            client.move_node("elsewhere", "folder").await;
        }
    });
    for _ in 0..12 {
        let verified = verify(&server.site, &[]).await;
        assert!(verified.is_well(), "{:?}", verified.findings);
    }
    assert!(!busy.is_finished(), "the client goes on");
    busy.abort();
}
