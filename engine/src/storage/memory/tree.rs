//! Which file or folder has which name.

use super::File;
use crate::storage::error::Loss;
use crate::storage::{Spot, StorageError};
use std::collections::BTreeMap;
use std::sync::Arc;
use towline_types::{DocumentPath, Name, UserId};

/// The names of all users. What was removed or replaced has a name that no document can have: it
/// begins with a space.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<(UserId, String), Node>);

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Arc<File>),
    Folder,
}

impl Node {
    pub(super) fn file(&self) -> Option<&Arc<File>> {
        match self {
            Self::File(file) => Some(file),
            Self::Folder => None,
        }
    }
}

/// The name of that spot.
pub(super) fn key(spot: &Spot) -> String {
    match spot {
        Spot::Living(path) => path.to_string(),
        Spot::Trash(node) => format!(" trash/{node}"),
        Spot::BelowTrash { root, below } => key_below(&key(&Spot::Trash(*root)), below),
        Spot::Version(document) => format!(" versions/{document}"),
        Spot::Quarantine(document) => format!(" quarantine/{document}"),
    }
}

/// The name of what lies that many names below another.
pub(super) fn key_below(key: &str, below: &[Name]) -> String {
    let names = std::iter::once(key).chain(below.iter().map(Name::as_str));
    names.collect::<Vec<_>>().join("/")
}

/// The names of the folders above that one, outermost first.
fn above(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('/').filter_map(|(end, _)| key.get(..end))
}

impl Tree {
    pub(super) fn get(&self, user: UserId, key: &str) -> Option<&Node> {
        self.0.get(&(user, key.to_owned()))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&(UserId, String), &Node)> {
        self.0.iter()
    }

    /// What has that name or lies below it: the name, and the names from there.
    pub(super) fn within(&self, user: UserId, key: &str) -> Vec<(String, Node)> {
        let below = format!("{key}/");
        let behind = self.0.range((user, key.to_owned())..);
        behind
            .take_while(|((owner, name), _)| *owner == user && name.starts_with(key))
            .filter(|((_, name), _)| name == key || name.starts_with(&below))
            .map(|((_, name), node)| (name.clone(), node.clone()))
            .collect()
    }

    pub(super) fn insert(&mut self, user: UserId, key: String, node: Node) {
        self.0.insert((user, key), node);
    }

    pub(super) fn remove(&mut self, user: UserId, key: &str) {
        self.0.remove(&(user, key.to_owned()));
    }

    /// Refuses a place where a file has the name of one of the folders.
    pub(super) fn check_folder(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<(), StorageError> {
        self.check_above(user, &path.to_string())
    }

    fn check_above(&self, user: UserId, key: &str) -> Result<(), StorageError> {
        if above(key).any(|folder| matches!(self.get(user, folder), Some(Node::File(_)))) {
            return Err(StorageError::NotAFolder);
        }
        Ok(())
    }

    /// Gives a free name to a file or folder, and makes the folders above it. A folder that has the
    /// name makes way, where nothing but folders is in it.
    pub(super) fn add(&mut self, user: UserId, key: &str, node: Node) -> Result<(), StorageError> {
        self.check_above(user, key)?;
        let there = self.within(user, key);
        if there.iter().any(|(_, node)| matches!(node, Node::File(_))) {
            return Err(StorageError::Exists);
        }
        there.iter().for_each(|(name, _)| self.remove(user, name));
        for folder in above(key) {
            self.0.entry((user, folder.to_owned())).or_insert(Node::Folder);
        }
        self.insert(user, key.to_owned(), node);
        Ok(())
    }

    /// See [`TreeStorage::relocate`](crate::storage::TreeStorage::relocate).
    pub(super) fn relocate(
        &mut self,
        user: UserId,
        from: &str,
        to: &str,
    ) -> Result<(), StorageError> {
        const WHAT: &str = "move the file or folder";
        if above(to).any(|folder| folder == from) {
            return Err(StorageError::into_itself(WHAT));
        }
        let Some(node) = self.get(user, from).cloned() else {
            let is_done = self.get(user, to).is_some();
            return if is_done { Ok(()) } else { Err(StorageError::Lost(Loss::Missing)) };
        };
        if from == to {
            return Ok(());
        }
        self.add(user, to, node)?;
        for (name, node) in self.within(user, from) {
            self.remove(user, &name);
            let below = name.get(from.len()..).unwrap_or_default();
            self.insert(user, format!("{to}{below}"), node);
        }
        Ok(())
    }
}
