//! Death between the steps of a change of the tree: after the next start the change has happened
//! or not, and the list, the log of changes and the disk agree about it.

use std::collections::BTreeMap;
use towline_protocol::request::{Mkdir, Move, Remove, Request, Restore, Upload};
use towline_protocol::{Node, Reply};
use towline_tests::disks::Disks;
use towline_tests::points::{STORE, TREE};
use towline_tests::process::{Launch, ServerProcess, assert_calm};
use towline_tests::raw_client::{Heard, RawClient, ZERO, names, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::TestFile;
use towline_tests::tree_audit::assert_tree_is_one;
use towline_types::OnConflict;

/// A change of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    MakeFolder,
    MoveFile,
    MoveFolder,
    RemoveFile,
    RemoveFolder,
    RestoreFolder,
    Replace,
    RestoreVersion,
}

impl Change {
    const ALL: [Self; 8] = [
        Self::MakeFolder,
        Self::MoveFile,
        Self::MoveFolder,
        Self::RemoveFile,
        Self::RemoveFolder,
        Self::RestoreFolder,
        Self::Replace,
        Self::RestoreVersion,
    ];
}

fn file(seed: u64) -> TestFile {
    TestFile::new(2000, 8000 + seed)
}

async fn put(client: &mut RawClient, place: &str, test_file: &TestFile) {
    let (folder, filename) = place.rsplit_once('/').unwrap_or(("", place));
    let on_conflict = OnConflict::Replace;
    client
        .upload(Upload { folder: names(folder), on_conflict, ..upload(filename, test_file) })
        .await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
}

/// What each change begins with: files, folders, a file with two versions, and a folder in the
/// trash.
async fn prepare(client: &mut RawClient) {
    put(client, "proj/sub/a", &file(1)).await;
    put(client, "proj/b", &file(2)).await;
    put(client, "doc", &file(3)).await;
    put(client, "doc", &file(4)).await;
    client.mkdir("other").await;
    put(client, "gone/c", &file(5)).await;
    client.remove("gone").await;
}

/// Asks for a change of a server that may die of it. Returns whether it was answered.
async fn ask(client: &mut RawClient, change: Change) -> bool {
    let path = |path: &str| Some(names(path));
    let request = match change {
        Change::MakeFolder => {
            Request::Mkdir(Mkdir { path: names("new/folder"), ..Mkdir::default() })
        }
        Change::MoveFile => moving("proj/b", "other/b2"),
        Change::MoveFolder => moving("proj", "other/proj"),
        Change::RemoveFile => Request::Remove(Remove { path: path("proj/b"), ..Remove::default() }),
        Change::RemoveFolder => {
            Request::Remove(Remove { path: path("proj"), recursive: true, ..Remove::default() })
        }
        Change::RestoreFolder => {
            Request::Restore(Restore { path: path("gone"), ..Restore::default() })
        }
        Change::Replace => return replace(client).await,
        Change::RestoreVersion => {
            let versions = client.versions("doc").await;
            let version = versions.last().map(|version| version.version);
            Request::Restore(Restore { path: path("doc"), version, ..Restore::default() })
        }
    };
    client.try_send(&request).await.is_ok() && answered(client).await
}

/// Waits for the answer to a change, or for the end of the server.
async fn answered(client: &mut RawClient) -> bool {
    while let Some(heard) = client.next().await {
        match heard {
            Heard::Reply(Reply::Progress(_) | Reply::Upload(_)) => {}
            Heard::Reply(_) => return true,
            _ => return false,
        }
    }
    false
}

fn moving(from: &str, to: &str) -> Request {
    Request::Move(Move { path: Some(names(from)), to: names(to), ..Move::default() })
}

async fn replace(client: &mut RawClient) -> bool {
    let test_file = file(6);
    let on_conflict = OnConflict::Replace;
    let begin = Request::Upload(Upload { on_conflict, ..upload("doc", &test_file) });
    let complete = Request::Complete(Default::default());
    let _ = client.try_send(&begin).await;
    let _ = client.try_chunks(ZERO, &test_file, 0..test_file.size()).await;
    let _ = client.try_send(&complete).await;
    answered(client).await
}

/// The tree in words that do not depend on the run.
fn shape(tree: &BTreeMap<String, Node>) -> Vec<String> {
    let line = |(place, node): (&String, &Node)| {
        let blake3 = node.blake3.map_or_else(String::new, |blake3| blake3.to_string());
        format!("{place} {blake3}")
    };
    tree.iter().map(line).collect()
}

async fn looks(site: &Site, user: &TestUser, server: &ServerProcess) -> Vec<String> {
    let mut client = server.client(user).await;
    shape(&assert_tree_is_one(site, user, &mut client).await)
}

/// What is there after the change, where nothing disturbs it.
async fn undisturbed(change: Change) -> (Vec<String>, Vec<String>) {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::without_reserve(&site).start().await;
    let mut client = server.client(&user).await;
    prepare(&mut client).await;
    let before = looks(&site, &user, &server).await;
    ask(&mut client, change).await;
    let after = looks(&site, &user, &server).await;
    assert_ne!(before, after, "{change:?}");
    server.assert_calm();
    server.gone().await;
    (before, after)
}

/// Where the data folder lies.
enum Store {
    /// In memory: a death of the server is all that happens.
    Memory(Site),
    /// On disks that lose their power with the death.
    Disks(Disks),
}

impl Store {
    fn site(&self) -> &Site {
        match self {
            Self::Memory(site) => site,
            Self::Disks(disks) => disks.site(),
        }
    }
}

/// The change on a server that dies at that point, and then on the next one. Returns whether it
/// died.
async fn survives(
    mut store: Store,
    (change, point): (Change, &str),
    expected: &(Vec<String>, Vec<String>),
) -> bool {
    let (before, after) = expected;
    let site = store.site();
    let user = site.add_user("ada").await;
    let server = Launch::without_reserve(site).start().await;
    prepare(&mut server.client(&user).await).await;
    server.gone().await;
    let plan = format!("{point}=kill@1");
    let mut server = match Launch::without_reserve(site).failpoints(&plan).try_start().await {
        Ok(server) => server,
        Err(ended) => panic!("nothing is to be recovered: {ended:#?}"),
    };
    if !ask(&mut server.client(&user).await, change).await {
        // Nothing but its death keeps it from an answer.
        server.ended().await;
    }
    let died = server.was_killed().await;
    if let Store::Disks(disks) = &mut store {
        disks.lose_power();
    }
    let site = store.site();
    // The start that finishes it may die as well.
    let again = Launch::without_reserve(site).failpoints("recovery.moved=kill@1");
    match again.try_start().await {
        Ok(server) => drop(server.gone().await),
        Err(ended) => {
            assert_calm(&ended.said);
            assert!(ended.was_killed(), "{ended:#?}");
        }
    }
    let server = Launch::without_reserve(site).start().await;
    let found = looks(site, &user, &server).await;
    assert!(found == *before || found == *after, "{change:?} at {point}: {found:#?}");
    if found == *before {
        ask(&mut server.client(&user).await, change).await;
        assert_eq!(looks(site, &user, &server).await, *after, "{change:?} at {point}");
    }
    server.assert_calm();
    server.gone().await;
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_between_the_steps_of_a_change_has_made_it_or_not() {
    let points = [TREE, STORE].concat();
    let mut never = points.clone();
    for change in Change::ALL {
        let expected = undisturbed(change).await;
        for point in &points {
            let store = Store::Memory(Site::in_memory());
            let died = survives(store, (change, point), &expected).await;
            println!("{change:?} at {point}: {}", if died { "dies" } else { "lives" });
            if died {
                never.retain(|other| other != point);
            }
        }
    }
    assert_eq!(never, [""; 0], "each is a death of some change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_between_the_steps_of_a_change_leaves_it_made_or_not() {
    for change in Change::ALL {
        let expected = undisturbed(change).await;
        for point in [TREE, STORE].concat() {
            let Some(disks) = Disks::two() else { return };
            let died = survives(Store::Disks(disks), (change, point), &expected).await;
            println!("{change:?} at {point}: {}", if died { "dies" } else { "lives" });
        }
    }
}
