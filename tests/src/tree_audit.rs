//! Whether three views of a user's tree are one: what `list` shows, what the log of changes leads
//! to from its first entry on, and what lies on the disk.

use crate::raw_client::{RawClient, replayed};
use crate::site::{Site, TestUser};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use towline_protocol::Node;
use towline_protocol::reply::Change;
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
    let changes = all_changes(client, 2).await;
    let same = compare(&tree, &changes, &site.documents(user), has_bytes_of);
    same.unwrap_or_else(|difference| panic!("{difference}"));
    tree
}

/// Compares the three: the entries of `list` by their paths, the log of changes from its first
/// entry on, and the folder of the user's documents. `is_it` compares a file with its node.
///
/// # Errors
/// The first difference.
pub fn compare(
    listed: &BTreeMap<String, Node>,
    changes: &[Change],
    documents: &Path,
    is_it: impl Fn(&Path, &Node) -> bool,
) -> Result<(), String> {
    let replayed = replayed(changes)?;
    for (place, node) in listed {
        let told = Node { folder: Vec::new(), ..node.clone() };
        if replayed.get(place) != Some(&told) {
            let log = replayed.get(place);
            return Err(format!("{place} is {told:?}, and {log:?} by the log"));
        }
    }
    if let Some(place) = replayed.keys().find(|place| !listed.contains_key(*place)) {
        return Err(format!("{place} is there by the log, and is not listed"));
    }
    let mut on_disk = BTreeMap::new();
    walk(documents, "", &mut on_disk);
    for (place, node) in listed {
        let as_listed = match (node.kind, on_disk.remove(place)) {
            // No link is made on the disk. A folder may have been left there, see below.
            (NodeKind::Link, found) => found.is_none_or(|file| file.is_none()),
            (NodeKind::Folder, found) => found == Some(None),
            (NodeKind::File, Some(Some(path))) => is_it(&path, node),
            (NodeKind::File, _) => false,
        };
        if !as_listed {
            return Err(format!("{place} on the disk is not {node:?}"));
        }
    }
    // A folder that was made before its row may be left; a file may not.
    match on_disk.into_iter().find(|(_, file)| file.is_some()) {
        Some((place, _)) => Err(format!("{place} is a file that no list shows")),
        None => Ok(()),
    }
}

/// The log of changes from its first entry on, with at most `limit` changes in an answer.
pub async fn all_changes(client: &mut RawClient, limit: u32) -> Vec<Change> {
    let now = Delta { since: Some("latest".to_owned()), ..Delta::default() };
    let now = client.delta(now).await.cursor;
    client.changes(Some(&before_the_first(&now)), limit).await.0
}

/// The cursor before the first change, made of any cursor of the log.
///
/// # Panics
/// Where that is no cursor.
#[must_use]
pub fn before_the_first(cursor: &str) -> String {
    let (log, _) = cursor.rsplit_once('.').expect("a cursor ends with a number");
    format!("{log}.0")
}

/// Reads and hashes the file.
#[must_use]
pub fn has_bytes_of(path: &Path, node: &Node) -> bool {
    let hash = std::fs::read(path).ok().map(|bytes| blake3::hash(&bytes).to_hex().to_string());
    hash == node.blake3.map(|blake3| blake3.to_string())
}

/// Everything below a folder: of files the path, of folders nothing.
fn walk(folder: &Path, place: &str, found: &mut BTreeMap<String, Option<PathBuf>>) {
    let Ok(entries) = folder.read_dir() else { return };
    // What is gone by now is not there.
    for entry in entries.flatten() {
        let name = entry.file_name().into_string().expect("a name of ours");
        let place = if place.is_empty() { name } else { format!("{place}/{name}") };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.insert(place.clone(), None);
            walk(&entry.path(), &place, found);
        } else {
            found.insert(place, Some(entry.path()));
        }
    }
}
