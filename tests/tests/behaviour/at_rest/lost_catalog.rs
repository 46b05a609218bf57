//! The catalog is lost and the files are there: the server deletes and overwrites no file, and no
//! user gets the files of another one.

use super::paused;
use crate::verify::verify;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use towline_protocol::Code;
use towline_tests::process::{Launch, stdout, towlined};
use towline_tests::raw_client::{RawClient, ZERO, resume, upload};
use towline_tests::site::{MARKER, Site};
use towline_tests::tamper::contents;
use towline_tests::test_file::{BLOCK, TestFile};

/// The content of all files under `uploads`, without their names.
fn kept(site: &Site) -> Vec<Vec<u8>> {
    let files: BTreeMap<PathBuf, Vec<u8>> = contents(&site.uploads());
    let files = files.into_iter().filter(|(path, _)| !path.ends_with(MARKER));
    let mut bytes: Vec<_> =
        files.map(|(_, bytes)| bytes).filter(|bytes| !bytes.is_empty()).collect();
    bytes.sort();
    bytes
}

fn lose_the_catalog(site: &Site) {
    for suffix in ["", "-wal", "-shm"] {
        let path = site.catalog_path().with_extension(format!("db{suffix}"));
        let removed = fs::remove_file(path);
        assert!(removed.is_ok() || !suffix.is_empty());
    }
}

async fn put(client: &mut RawClient, name: &str, test_file: &TestFile) -> String {
    client.upload(upload(name, test_file)).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await.filename
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_the_catalog_keeps_and_lists_every_file() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let (old, new) = (TestFile::new(2000, 380), TestFile::new(3000, 381));
    let mut server = Launch::over(&site).start().await;
    let mut client = RawClient::login(server.address(), &ada.token).await;
    for name in ["a.txt", "b.txt"] {
        put(&mut client, name, &old).await;
    }
    let left = TestFile::new(BLOCK, 382);
    let unfinished = paused(client, "left.bin", &left, 5000).await;
    site.state_that("it", |state| state.find(unfinished, None).is_some()).await;
    server.kill().await;
    let rescued = fs::read(site.catalog_path()).unwrap();
    let journal = fs::read(site.catalog_path().with_extension("db-wal")).unwrap();
    let before = kept(&site);
    lose_the_catalog(&site);

    // The server does not do that by default, because the catalog's disk may only not be mounted.
    let ended = Launch::over(&site).try_start().await.unwrap_err();
    let said = ended.said.join("\n");
    assert_eq!(said.matches("there is no catalog in").count(), 1, "said once: {said}");
    assert!(!site.catalog_path().exists());
    let mut server = Launch::over(&site).arguments(&["--adopt-folders"]).start().await;
    // The operator creates the same user with the same number. Document numbers begin at 1 again.
    let mut add = towlined();
    add.args(["user", "add", "ada", "--id", "1", "--data-dir"]).arg(site.path());
    assert!(stdout(&mut add).await.contains("user 1"));
    let token = site.token(ada.id, Duration::from_secs(3600));
    let said = server.said().join("\n");
    assert!(said.contains("the catalog knows no document, but users have files"), "{said}");
    assert!(said.contains(&format!("{unfinished}.tmp")), "{said}");
    assert_eq!(kept(&site), before, "nothing is deleted or changed");
    // Only the copy of the catalog tells which upload the files belong to that were set aside.
    let copy = fs::read_dir(site.state_path().parent().unwrap()).unwrap();
    let mut copy = copy.map(|entry| entry.unwrap().path());
    let copy = copy.find(|path| path.to_string_lossy().contains(".json.orphaned-")).unwrap();
    assert!(fs::read_to_string(copy).unwrap().contains("left.bin"));
    let found = verify(&site, &[]).await;
    let named = ["no_document uploads/1/a.txt", "no_document uploads/1/b.txt"];
    assert_eq!(found.kinds(), named);

    let mut client = RawClient::login(server.address(), &token).await;
    client.resume_refused(resume(unfinished), Code::NotFound).await;
    for (name, given) in [("a.txt", "a (1).txt"), ("b.txt", "b (1).txt"), ("c.txt", "c.txt")] {
        assert_eq!(put(&mut client, name, &new).await, given);
        site.assert_published(&ada, given, &new);
    }
    for name in ["a.txt", "b.txt"] {
        site.assert_published(&ada, name, &old);
    }
    // Another upload gets the number of the unfinished one, and has its own bytes.
    let third = paused(client, "third.bin", &left, 7000).await;
    assert_eq!(third.get(), 4);
    let after = kept(&site);
    assert!(before.iter().all(|bytes| after.contains(bytes)), "all of it is still there");

    // When the old catalog is put back, the files are at the paths that it has.
    server.kill().await;
    lose_the_catalog(&site);
    fs::write(site.catalog_path(), rescued).unwrap();
    fs::write(site.catalog_path().with_extension("db-wal"), journal).unwrap();
    // The folders belong to the catalog that was made meanwhile.
    let ended = Launch::over(&site).try_start().await.unwrap_err();
    assert!(ended.said.join("\n").contains("belongs to store"), "{:?}", ended.said);
    Launch::over(&site).arguments(&["--adopt-folders"]).start().await.gone().await;
    let found = verify(&site, &[]).await;
    assert!(
        !found.kinds().iter().any(|kind| named.contains(&kind.as_str())),
        "{:?}",
        found.kinds()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_does_not_inherit_the_folder_or_the_tokens_of_another() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let test_file = TestFile::new(2000, 383);
    let mut server = Launch::over(&site).start().await;
    let mut client = RawClient::login(server.address(), &ada.token).await;
    put(&mut client, "a.txt", &test_file).await;
    server.kill().await;
    lose_the_catalog(&site);
    // For the server this is a first start, so it makes a user.
    let server = Launch::over(&site).arguments(&["--adopt-folders"]).start().await;
    let mut list = towlined();
    list.args(["user", "list", "--data-dir"]).arg(site.path());
    let listed = stdout(&mut list).await;
    assert!(listed.starts_with("     2  ") && listed.lines().count() == 1, "{listed}");
    let mut add = towlined();
    add.args(["user", "add", "eve", "--data-dir"]).arg(site.path());
    assert_eq!(stdout(&mut add).await, "added eve as user 3\n");
    let mut client = RawClient::connect(server.address()).await;
    client.hello(&ada.token).await;
    client.error(Code::Unauthorized).await;
}
