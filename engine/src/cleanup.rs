//! `towlined expire`: deletes at once what is kept no longer, or lists what it would delete.
//!
//! The deletion is the sweep that a server does every hour ([`crate::tree`]), with the same
//! promises, but without the wait until the clock is trusted: the operator answers for the clock.
//! No server may have the data folder meanwhile, because the locks that keep restorations and
//! deletions apart are in the memory of one process. The deletion begins as a start of the server
//! does, so what a crash has left is put in order first (P4). Unfinished uploads are left to the
//! server, which gives their owners time to come back.

use crate::config::{EngineConfig, Keep};
use crate::engine::{self, OpenError, ShutdownError};
use crate::identity::{self, IdentityError};
use crate::storage::{DataFolder, FolderError};
use crate::tree::{self, Swept};
use std::io;
use std::path::Path;
use std::time::Duration;
use towline_state::CatalogError;
use towline_state::catalog::{
    Catalog, Document, Located, NodeRef, Refusal, Sum, TrashEntry, TrashPosition,
};
use towline_types::{NodePath, Timestamp, UserId};

/// Why nothing was deleted or told, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// The data folder cannot be opened, or not put in order.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data folder cannot be found.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The data folder is not the whole store.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The deletion stopped before its end. What was deleted until then is gone, from the disk and
    /// from the catalog. The next deletion goes on.
    #[error("the deletion was not finished; what is left is deleted by the next one")]
    Unfinished(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The catalog was not closed in good order.
    #[error(transparent)]
    ShutDown(#[from] ShutdownError),
    /// What was found cannot be shown.
    #[error("cannot write to standard output")]
    Show(#[source] io::Error),
}

/// One thing that is kept no longer.
#[derive(Debug)]
pub enum Due {
    /// Something that was removed.
    Removed {
        /// The removed node, and where it lay.
        entry: Box<TrashEntry>,
        /// The files in it, earlier versions included.
        files: Sum,
    },
    /// An earlier version of a file.
    Version {
        /// The version.
        document: Box<Document>,
        /// Where the file lies now; `None` where it is in the trash.
        place: Option<NodePath>,
    },
}

/// The number of rows in memory at a time.
const PAGE: u32 = 256;

/// Deletes what is kept no longer. Blocks.
///
/// # Errors
/// A server has the data folder, or it is not the whole store: then nothing was changed. A failure
/// in the middle of the deletion is [`CleanupError::Unfinished`].
pub fn delete_now(config: EngineConfig) -> Result<Swept, CleanupError> {
    let shared = engine::open_for_work(config)?;
    let swept = tree::sweep_now(&shared);
    engine::close(&shared)?;
    swept.map_err(|error| CleanupError::Unfinished(Box::new(error)))
}

/// Tells what [`delete_now`] would delete at that time, one by one. A server may run meanwhile;
/// nothing is changed. Blocks.
///
/// # Errors
/// The data folder is not the whole store, its catalog cannot be read, or `show` failed.
pub fn preview(
    data_dir: &Path,
    keep: Keep,
    now: Timestamp,
    show: &mut dyn FnMut(&Due) -> io::Result<()>,
) -> Result<Swept, CleanupError> {
    identity::require(data_dir)?;
    let catalog = Catalog::open_to_look(DataFolder::find(data_dir)?.catalog_path())?;
    let mut preview = Preview { catalog, keep, now, show, swept: Swept::default() };
    let users: Vec<_> = preview.catalog.users().wait()?.into_iter().flatten().collect();
    for user in &users {
        preview.trash(user.user_id)?;
    }
    preview.versions()?;
    for user in &users {
        if let Some(moment) = preview.before(keep.changes) {
            preview.swept.changes += preview.catalog.changes_before(user.user_id, moment).wait()?;
        }
    }
    preview.catalog.close().wait()?;
    Ok(preview.swept)
}

struct Preview<'a> {
    catalog: Catalog,
    keep: Keep,
    now: Timestamp,
    show: &'a mut dyn FnMut(&Due) -> io::Result<()>,
    swept: Swept,
}

impl Preview<'_> {
    /// The moment before which something is kept no longer.
    fn before(&self, kept_for: Duration) -> Option<Timestamp> {
        tree::before(self.now, kept_for)
    }

    fn is_kept_no_longer(&self, removed_at: Option<Timestamp>) -> bool {
        let moment = self.before(self.keep.trash);
        removed_at.is_some_and(|at| moment.is_some_and(|moment| at < moment))
    }

    fn trash(&mut self, user: UserId) -> Result<(), CleanupError> {
        let mut after: Option<TrashPosition> = None;
        loop {
            let page = self.catalog.trash(user, after, PAGE).wait()?;
            for entry in page.entries {
                // The entries come in the order of their removals, so all later ones are kept.
                if !self.is_kept_no_longer(entry.node.deleted_at) {
                    return Ok(());
                }
                let size = self.catalog.removed_size(user, entry.node.node_id).wait()?;
                let files = size.0.and(size.1);
                self.swept.removed += 1;
                self.swept.bytes += files.bytes;
                (self.show)(&Due::Removed { entry: Box::new(entry), files })
                    .map_err(CleanupError::Show)?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn versions(&mut self) -> Result<(), CleanupError> {
        let mut after = None;
        loop {
            let retention = self.keep.versions;
            let page = self.catalog.expired_versions(after, retention, self.now, PAGE).wait()?;
            for (user, version) in page.versions {
                let Some(document) = self.catalog.document(version).wait()? else { continue };
                let place = match self.place(user, &document)? {
                    Place::Living(path) => Some(path),
                    Place::Trash { goes: false } => None,
                    // The version is deleted with its removed file, and was counted with it.
                    Place::Trash { goes: true } => continue,
                };
                self.swept.versions += 1;
                self.swept.bytes += document.filesize.get();
                let document = Box::new(document);
                (self.show)(&Due::Version { document, place }).map_err(CleanupError::Show)?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn place(&self, user: UserId, document: &Document) -> Result<Place, CleanupError> {
        let Some(node) = document.node_id else { return Ok(Place::Trash { goes: false }) };
        let root = match self.catalog.locate(user, NodeRef::Id(node)).wait() {
            Ok(Located::Living { path, .. }) => return Ok(Place::Living(path)),
            Ok(Located::InTrash { root, .. }) => root,
            Ok(Located::Root) | Err(CatalogError::Refused(Refusal::NoSuchNode)) => {
                return Ok(Place::Trash { goes: false });
            }
            Err(error) => return Err(error.into()),
        };
        let removed = self.catalog.locate(user, NodeRef::Id(root)).wait()?;
        let at = match removed {
            Located::InTrash { node, .. } => node.deleted_at,
            Located::Root | Located::Living { .. } => None,
        };
        Ok(Place::Trash { goes: self.is_kept_no_longer(at) })
    }
}

/// Where the file of a version lies.
enum Place {
    Living(NodePath),
    /// In the trash. `goes`: the removed thing is kept no longer either.
    Trash {
        goes: bool,
    },
}
