//! `towlined backup` while the server works, and a restore by the steps of the backup's README.

use crate::verify::verify;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use towline_protocol::request::Upload;
use towline_tests::process::{Launch, ServerProcess, output, towlined};
use towline_tests::raw_client::{ZERO, offset, resume, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::tamper::contents;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::OnConflict;

async fn backup(site: &Site, into: &Path) -> Output {
    output(towlined().arg("backup").arg(into).arg("--data-dir").arg(site.path())).await
}

async fn put(server: &ServerProcess, user: &TestUser, name: &str, test_file: &TestFile) -> u64 {
    let mut client = server.client(user).await;
    client.upload(upload(name, test_file)).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await.document_id.get()
}

/// The steps of the backup's README, as shell commands.
fn put_back(from: &Path, site: &Site) {
    let copied = Command::new("cp").arg("-a").arg(from.join("state")).arg(site.path()).status();
    assert!(copied.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_catalog_is_put_back_and_knows_documents_users_and_tokens() {
    let site = Site::new();
    let (ada, bob) = (site.add_user("ada").await, site.add_user("bob").await);
    let server = Launch::over(&site).start().await;
    let (before, after) = (TestFile::new(3000, 500), TestFile::new(4000, 501));
    put(&server, &ada, "before.txt", &before).await;
    // An unfinished upload with promised bytes, and an upload that continues while the backup is
    // made.
    let left = TestFile::new(2 * BLOCK, 502);
    let mut client = server.client(&ada).await;
    let id = client.upload(upload("left.bin", &left)).await.document_id;
    client.chunks(ZERO, &left, 0..5000).await;
    client.pause().await;
    let busy = {
        let mut client = server.client(&bob).await;
        tokio::spawn(async move {
            for number in 0.. {
                let small = TestFile::new(100, 503);
                client.upload(upload(&format!("{number}.txt"), &small)).await;
                client.chunks(ZERO, &small, 0..100).await;
                client.complete(ZERO).await;
            }
        })
    };
    let into = site.outside().join("backup");
    let made = backup(&site, &into).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    busy.abort();
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(said.contains("documents themselves are not in it"), "{said}");
    let explained = fs::read_to_string(into.join("README.txt")).unwrap();
    assert!(explained.contains("Move what is left of state/ in the data folder away"));
    let made_at = explained.split(" made at ").nth(1).and_then(|rest| rest.split(' ').next());
    let shape: String =
        made_at.unwrap().chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00Z", "{explained}");
    let listed = fs::read_to_string(into.join("documents.b3sum")).unwrap();
    assert!(listed.contains(&format!("{}  uploads/1/before.txt\n", before.hash())), "{listed}");
    for (path, _) in contents(&into) {
        let mode = path.metadata().unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{}", path.display());
    }
    let late = put(&server, &ada, "after.txt", &after).await;
    server.gone().await;

    // The disk with the catalog is lost.
    fs::remove_dir_all(site.path().join("state")).unwrap();
    let ended = Launch::over(&site).try_start().await.unwrap_err();
    assert!(ended.said.join("\n").contains("put state/ back from a backup"), "{:?}", ended.said);
    put_back(&into, &site);
    let server = Launch::over(&site).start().await;
    let mut client = server.client(&ada).await;
    assert_eq!(client.resume(resume(id)).await.offset, offset(5000));
    client.chunks(ZERO, &left, 5000..left.size()).await;
    client.complete(ZERO).await;
    drop(server.client(&bob).await);
    for (name, test_file) in [("before.txt", &before), ("left.bin", &left), ("after.txt", &after)] {
        site.assert_published(&ada, name, test_file);
    }
    // A file that was uploaded after the backup belongs to no document, and no new document gets
    // its number.
    let kinds = verify(&site, &[]).await.kinds();
    assert!(kinds.contains(&"no_document uploads/1/after.txt".to_owned()), "{kinds:?}");
    assert!(!kinds.iter().any(|kind| kind.contains("before.txt") || kind.contains("left.bin")));
    assert!(put(&server, &ada, "new.txt", &TestFile::new(10, 504)).await > late + 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_and_the_trash_are_listed_where_they_lie() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let server = Launch::over(&site).start().await;
    let mut client = server.client(&ada).await;
    for (seed, name) in [(1, "doc"), (2, "doc"), (3, "gone")] {
        let test_file = TestFile::new(1000, 510 + seed);
        let begin = Upload { on_conflict: OnConflict::Replace, ..upload(name, &test_file) };
        client.upload(begin).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        client.complete(ZERO).await;
    }
    client.remove("gone").await;
    let into = site.outside().join("backup");
    assert!(backup(&site, &into).await.status.success());
    let listed = fs::read_to_string(into.join("documents.b3sum")).unwrap();
    let mut below = Vec::new();
    for line in listed.lines() {
        let (hash, path) = line.split_once("  ").unwrap();
        let bytes = fs::read(site.path().join(path)).unwrap();
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), hash, "{path}");
        below.push(path.split('/').nth(1).unwrap());
    }
    below.sort_unstable();
    assert_eq!(below, [".trash", ".versions", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_into_a_new_or_empty_folder_outside_the_data_folder() {
    let site = Site::new();
    site.add_user("ada").await;
    Launch::over(&site).start().await.gone().await;
    let empty = site.outside().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(backup(&site, &empty).await.status.success(), "also while no server runs");
    let before = contents(&empty);
    for (into, why) in [
        (empty.clone(), "is not empty"),
        (site.path().join("backup"), "lies in the data folder"),
        (site.outside().join("no/such"), "cannot make"),
    ] {
        let refused = backup(&site, &into).await;
        assert_eq!(refused.status.code(), Some(1), "{why}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(why) && said.contains(into.to_str().unwrap()), "{said}");
        assert!(into == empty || !into.exists(), "{why}: nothing is left of it");
    }
    // A link that leads into the data folder is refused as well.
    let link = site.outside().join("link");
    std::os::unix::fs::symlink(site.path(), &link).unwrap();
    assert!(!backup(&site, &link.join("backup")).await.status.success());
    assert!(!site.path().join("backup").exists());
    assert_eq!(contents(&empty), before);
    // Where there is no store, no file is made.
    let nowhere = site.outside().join("nowhere");
    let refused = output(
        towlined().arg("backup").arg(site.outside().join("x")).arg("--data-dir").arg(&nowhere),
    )
    .await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(!nowhere.exists() && !site.outside().join("x").exists());
}
