//! The folder of a final file.

use super::StorageError;
use super::directory::Directory;
use super::durable_folders::Moves;
use super::group_sync::{GroupSync, Ticket};
use super::latch::Latch;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of a final file, held open. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct UserFolder {
    pub(super) directory: Arc<Directory>,
    pub(super) path: Arc<Path>,
    /// How many moves there had been before it was opened by that path.
    pub(super) opened: Moves,
    pub(super) parents: Parents,
    /// The syncs of the names in it.
    pub(super) group: Arc<GroupSync>,
    /// Where it is on another file system than the rest: whether that is still to be
    /// believed.
    pub(super) other: Option<Arc<Latch>>,
}

/// What is known of the names on the path to a folder: its own, and those of the folders above.
#[derive(Debug, Clone)]
pub(super) enum Parents {
    /// The names of these were not known to be durable; innermost last.
    Unsynced(Arc<[UnsyncedParent]>),
    /// Some were not known to be durable: to find out which, the path is walked again.
    Unknown,
}

/// A folder's name that is not known to be durable.
#[derive(Debug)]
pub(super) struct UnsyncedParent {
    /// The folder that has the name in it, and is to be synced.
    pub(super) above: Arc<Directory>,
    /// The path of the folder with that name.
    pub(super) path: PathBuf,
}

impl UserFolder {
    /// Whether its name, and those of all folders above it, are known to be durable.
    pub(super) fn is_durable(&self) -> bool {
        matches!(&self.parents, Parents::Unsynced(none) if none.is_empty())
    }

    /// A ticket for the names that are in it now.
    pub(super) fn ticket(&self) -> Ticket {
        self.group.ticket()
    }

    /// Makes the names in it durable that the ticket stands for.
    pub(super) fn sync(&self, ticket: Ticket, latch: &Latch) -> Result<(), StorageError> {
        self.group.sync_names(ticket, &self.directory, self.latch(latch))
    }

    /// Whether the file system that it is on is still to be believed. `usual` is the latch
    /// of the one that the rest is on.
    pub(super) fn latch<'a>(&'a self, usual: &'a Latch) -> &'a Latch {
        self.other.as_deref().unwrap_or(usual)
    }

    /// Whether it is on the same file system as the rest.
    pub(super) fn is_on_usual(&self) -> bool {
        self.other.is_none()
    }

    /// The same without the folders above it, which it may hold open.
    pub(super) fn alone(&self) -> Self {
        let parents = if self.is_durable() { self.parents.clone() } else { Parents::Unknown };
        Self { parents, ..self.clone() }
    }
}
