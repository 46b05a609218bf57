//! Whether three views of a user's tree are one: what `list` shows, what the log of changes leads
//! to from its first entry on, and what lies on the disk.

use crate::raw_client::{RawClient, replayed};
use crate::site::{Site, TestUser};
use std::collections::BTreeMap;
use std::path::Path;
use towline_protocol::Node;
use towline_protocol::request::Delta;
use towline_types::NodeKind;

/// Compares the three, and returns the tree by its paths.
///
/// # Panics
/// Where they differ.
pub async fn assert_tree_is_one(
    site: &Site,
    user: &TestUser,
    client: &mut RawClient,
) -> BTreeMap<String, Node> {
    let tree = client.tree(3).await;
    let beginning = before_the_first(client).await;
    let (changes, _) = client.changes(Some(&beginning), 2).await;
    let replayed = replayed(&changes);
    for (place, node) in &tree {
        let told = Node { folder: Vec::new(), ..node.clone() };
        assert_eq!(replayed.get(place), Some(&told), "{place}, as the log tells it");
    }
    assert_eq!(tree.len(), replayed.len(), "the log tells of {:?}", replayed.keys());
    let mut on_disk = BTreeMap::new();
    walk(&site.documents(user), "", &mut on_disk);
    for (place, node) in &tree {
        let found = on_disk.remove(place);
        match node.kind {
            NodeKind::Link => assert_eq!(found, None, "{place}: no link is made on the disk"),
            NodeKind::Folder => assert_eq!(found, Some(None), "{place}"),
            NodeKind::File => {
                let blake3 = node.blake3.map(|blake3| blake3.to_string());
                assert_eq!(found, Some(blake3), "{place}");
            }
        }
    }
    // A folder that was made before its row may be left; a file may not.
    on_disk.retain(|_, file| file.is_some());
    assert!(on_disk.is_empty(), "files that no list shows: {on_disk:?}");
    tree
}

/// The cursor before the first change.
async fn before_the_first(client: &mut RawClient) -> String {
    let now = Delta { since: Some("latest".to_owned()), ..Delta::default() };
    let now = client.delta(now).await.cursor;
    let (log, _) = now.rsplit_once('.').expect("a cursor ends with a number");
    format!("{log}.0")
}

/// Everything below a folder: of files the hash, of folders nothing.
fn walk(folder: &Path, place: &str, found: &mut BTreeMap<String, Option<String>>) {
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name of ours");
        let place = if place.is_empty() { name } else { format!("{place}/{name}") };
        if entry.file_type().expect("a type").is_dir() {
            found.insert(place.clone(), None);
            walk(&entry.path(), &place, found);
        } else {
            let bytes = std::fs::read(entry.path()).expect("a file");
            found.insert(place, Some(blake3::hash(&bytes).to_hex().to_string()));
        }
    }
}
