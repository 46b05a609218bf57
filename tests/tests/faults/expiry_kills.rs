//! Death while what is kept no longer is deleted: files go before the rows that know them, so the
//! next pass finds what is left, and nothing else is lost.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use towline_protocol::request::Upload;
use towline_tests::disks::Disks;
use towline_tests::points::SWEEP;
use towline_tests::process::{Launch, assert_calm, output, towlined};
use towline_tests::raw_client::{RawClient, ZERO, names, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::tamper::contents;
use towline_tests::test_file::TestFile;
use towline_tests::tree_audit::assert_tree_is_one;
use towline_types::OnConflict;

/// The points of the pass, and the one within the store.
fn points() -> Vec<&'static str> {
    [SWEEP, &["delete.done"]].concat()
}

/// Nothing is kept that no user sees.
const NOTHING: [&str; 4] = ["--keep-trash", "none", "--keep-versions", "none"];

async fn put(client: &mut RawClient, place: &str, seed: u64) {
    let (folder, filename) = place.rsplit_once('/').unwrap_or(("", place));
    let (test_file, on_conflict) = (TestFile::new(2000, 8500 + seed), OnConflict::Replace);
    let begin = Upload { folder: names(folder), on_conflict, ..upload(filename, &test_file) };
    client.upload(begin).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
}

/// Two removed things, one of them a folder with a file that had another version; two files with
/// older versions.
async fn prepare(site: &Site, user: &TestUser) -> BTreeMap<String, String> {
    let server = Launch::without_reserve(site).start().await;
    let mut client = server.client(user).await;
    for (seed, place) in (0..)
        .zip(["stays", "stays", "stays", "proj/a", "proj/a", "old/x", "old/x", "old/b/y", "gone"])
    {
        put(&mut client, place, seed).await;
    }
    client.remove("old").await;
    client.remove("gone").await;
    let tree = living(site, user, &mut client).await;
    drop(server.gone().await);
    tree
}

async fn living(site: &Site, user: &TestUser, client: &mut RawClient) -> BTreeMap<String, String> {
    let tree = assert_tree_is_one(site, user, client).await;
    let line = |(place, node): (String, towline_protocol::Node)| {
        (place, node.blake3.map_or_else(String::new, |blake3| blake3.to_string()))
    };
    tree.into_iter().map(line).collect()
}

/// `towlined expire`, which may die at a point. Returns whether it did.
async fn expire(site: &Site, plan: Option<&str>) -> bool {
    let mut command = towlined();
    let config = site.settings("reserve = '0B'");
    command.arg("expire").args(NOTHING).arg("--config").arg(config);
    command.arg("--data-dir").arg(site.path());
    if let Some(plan) = plan {
        command.env("TOWLINE_FAILPOINTS", plan);
    }
    let output = output(&mut command).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_calm(std::slice::from_ref(&said));
    let died = output.status.signal() == Some(9);
    assert!(died || output.status.success(), "{}: {said}", output.status);
    died
}

/// How many files lie among what was removed or replaced.
fn kept(site: &Site) -> usize {
    let folders = [".trash", ".versions"].map(|name| site.uploads().join(name));
    let files = folders.iter().filter(|folder| folder.exists()).flat_map(|at| contents(at));
    files.filter(|(path, _)| path.is_file()).count()
}

/// What is true behind any death: users see what they saw, and the next pass deletes the rest.
async fn goes_on(site: &Site, user: &TestUser, tree: &BTreeMap<String, String>, what: &str) {
    let server = Launch::without_reserve(site).start().await;
    let mut client = server.client(user).await;
    assert_eq!(living(site, user, &mut client).await, *tree, "{what}");
    drop(server.gone().await);
    assert!(!expire(site, None).await);
    assert_eq!(kept(site), 0, "{what}");
    let verified = output(towlined().arg("verify").arg("--data-dir").arg(site.path())).await;
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{what}: {said}");
    let server = Launch::without_reserve(site).start().await;
    let mut client = server.client(user).await;
    assert_eq!(living(site, user, &mut client).await, *tree, "{what}");
    assert_eq!(client.trash().await.len(), 0);
    assert_eq!(client.versions("stays").await.len(), 1);
    server.assert_calm();
    drop(server.gone().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_killed_is_finished_by_the_next_and_takes_nothing_else() {
    for point in points() {
        let mut deaths = 0;
        for time in 1.. {
            let site = Site::in_memory();
            let user = site.add_user("ada").await;
            let tree = prepare(&site, &user).await;
            assert_eq!(kept(&site), 7);
            let what = format!("{point}@{time}");
            let died = expire(&site, Some(&format!("{point}=kill@{time}"))).await;
            println!("{what}: {}", if died { "dies" } else { "lives" });
            goes_on(&site, &user, &tree, &what).await;
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 0, "{point} is never reached");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_power_is_cut_is_finished_by_the_next_and_takes_nothing_else() {
    for point in points() {
        for time in 1..=2 {
            let Some(mut disks) = Disks::two() else { return };
            let user = disks.site().add_user("ada").await;
            let tree = prepare(disks.site(), &user).await;
            let died = expire(disks.site(), Some(&format!("{point}=kill@{time}"))).await;
            disks.lose_power();
            goes_on(disks.site(), &user, &tree, &format!("{point}@{time}")).await;
            if !died {
                break;
            }
        }
    }
}

/// The hourly pass of a server dies as well, and the server that follows finishes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_its_own_pass_finishes_it_at_the_next_start() {
    for point in points() {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let tree = prepare(&site, &user).await;
        let launch = Launch::without_reserve(&site).arguments(&NOTHING);
        match launch.clone().failpoints(&format!("{point}=kill@1")).try_start().await {
            // It dies behind its first words.
            Ok(mut server) => drop(server.ended().await),
            Err(ended) => assert!(ended.was_killed(), "{point}: {ended:#?}"),
        }
        let server = launch.start().await;
        server.says("what is kept no longer was deleted").await;
        assert_eq!(kept(&site), 0, "{point}");
        let mut client = server.client(&user).await;
        assert_eq!(living(&site, &user, &mut client).await, tree, "{point}");
        server.assert_calm();
        drop(server.gone().await);
    }
}
