//! The folder of a final file.

use super::StorageError;
use super::directory::Directory;
use super::latch::Latch;
use super::turns::{Ticket, Turns};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of a final file, held open. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct UserFolder {
    pub(super) directory: Arc<Directory>,
    pub(super) path: Arc<Path>,
    pub(super) way: Way,
    /// Whoever syncs the names in it.
    pub(super) turns: Arc<Turns>,
    /// Where it is on another file system than the rest: whether that is still to be
    /// believed.
    pub(super) other: Option<Arc<Latch>>,
}

/// What is known of the folders on the way to one.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// The names of these were not known to be durable; innermost last.
    Unsettled(Arc<[Unsettled]>),
    /// Some were not: whoever wants to know goes the way again.
    Forgotten,
}

#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) above: Arc<Directory>,
    pub(super) path: PathBuf,
}

impl UserFolder {
    /// Whether its name, and those of all folders above it, are known to be durable.
    pub(super) fn is_settled(&self) -> bool {
        matches!(&self.way, Way::Unsettled(none) if none.is_empty())
    }

    /// A ticket for the names that are in it now.
    pub(super) fn ticket(&self) -> Ticket {
        self.turns.ticket()
    }

    /// Makes the names in it durable that the ticket stands for.
    pub(super) fn sync(&self, ticket: Ticket, latch: &Latch) -> Result<(), StorageError> {
        self.turns.sync_names(ticket, &self.directory, self.latch(latch))
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
        let way = if self.is_settled() { self.way.clone() } else { Way::Forgotten };
        Self { way, ..self.clone() }
    }
}
