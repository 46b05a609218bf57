//! The tree of a user's files, folders and links: looks at it, changes of it, and what has changed.
//!
//! The catalog has the tree, and decides what is legal; the disk follows. The uploads give files
//! their content (see [`publish`](crate::publish)); everything else about nodes is done here.

mod change;
mod changes;
mod expiry;
mod making;
pub(crate) mod notifier;
mod pieces;
pub(crate) mod place_locks;
pub(crate) mod request;
mod unfinished;
mod version_restored;

pub(crate) use change::recover;
pub use changes::ChangeWatch;
pub(crate) use changes::{delta, watch};
pub use expiry::Swept;
pub(crate) use expiry::{before, sweep, sweep_now};
pub(crate) use making::{make_folder, make_link};
pub(crate) use unfinished::uploads;
pub(crate) use version_restored::restore_version;

use crate::error::Error;
use crate::may_block::MayBlock;
use crate::shared::Shared;
use crate::storage::{Loss, Spot, StorageError};
use crate::uploads;
use change::Changed;
use making::with_free_name;
use pieces::{Piece, in_pieces};
use request::{ListFilter, ListRequest, PAGE_ENTRIES_MAX, PlacedNode};
use towline_state::CatalogError;
use towline_state::catalog::{
    self, FileVersion, ListPage, Located, Node, NodeRef, Refusal, RemovalGuard, TrashPage,
    TrashPosition, Unseen, VersionPage,
};
use towline_types::{ChangeId, DocumentId, FileSize, NodeId, NodeKind, NodePath, UserId};

/// What is known of a node. Blocks.
pub(crate) fn stat(shared: &Shared, user: UserId, node: NodeRef) -> Result<PlacedNode, Error> {
    match shared.catalog.locate(user, node).wait()? {
        Located::Root => Err(Error::OwnFolder),
        Located::Living { node, path } => Ok(PlacedNode { node, path: Some(path), existing: true }),
        Located::InTrash { node, .. } => Ok(PlacedNode { node, path: None, existing: true }),
    }
}

/// A page of what lies in a folder, and the folder; none for the user's own. Blocks.
pub(crate) fn list(
    shared: &Shared,
    user: UserId,
    request: ListRequest,
) -> Result<(Option<Node>, ListPage), Error> {
    let ListRequest { folder, depth, filter, after, limit } = request;
    let (listed, folder) = match shared.catalog.locate(user, folder.clone()).wait()? {
        Located::Root => (None, folder),
        Located::Living { node, .. } | Located::InTrash { node, .. } => {
            // A number means the same folder for the whole page, also where another one gets its
            // name.
            let number = NodeRef::Id(node.node_id);
            (Some(node), number)
        }
    };
    let mut page = ListPage { entries: Vec::new(), next: after };
    if listed.as_ref().is_some_and(|node| node.kind != NodeKind::Folder) {
        return Ok((listed, ListPage { next: None, ..page }));
    }
    page.next = in_pieces(limit.min(PAGE_ENTRIES_MAX), page.next, |after, wanted| {
        let more = shared.catalog.list(user, folder.clone(), depth, after, wanted).wait()?;
        let (rows, before) = (more.entries.len(), page.entries.len());
        page.entries.extend(more.entries.into_iter().filter(|entry| filter.matches(&entry.node)));
        Ok(Piece { rows, shown: page.entries.len() - before, next: more.next })
    })?;
    Ok((listed, page))
}

/// A page of what was removed. Blocks.
pub(crate) fn trash(
    shared: &Shared,
    user: UserId,
    filter: &ListFilter,
    after: Option<TrashPosition>,
    limit: u32,
) -> Result<TrashPage, Error> {
    let mut entries = Vec::new();
    let next = in_pieces(limit.min(PAGE_ENTRIES_MAX), after, |after, wanted| {
        let more = shared.catalog.trash(user, after, wanted).wait()?;
        let (rows, before) = (more.entries.len(), entries.len());
        entries.extend(more.entries.into_iter().filter(|entry| filter.matches(&entry.node)));
        Ok(Piece { rows, shown: entries.len() - before, next: more.next })
    })?;
    Ok(TrashPage { entries, next })
}

/// A page of the versions of a file, and the file. Blocks.
pub(crate) fn versions(
    shared: &Shared,
    user: UserId,
    file: NodeRef,
    after: Option<DocumentId>,
    limit: u32,
) -> Result<(Node, VersionPage), Error> {
    let PlacedNode { node, .. } = stat(shared, user, file)?;
    let file = NodeRef::Id(node.node_id);
    let mut versions: Vec<FileVersion> = Vec::new();
    let next = in_pieces(limit.min(PAGE_ENTRIES_MAX), after, |after, wanted| {
        let more = shared.catalog.versions(user, file.clone(), after, wanted).wait()?;
        let rows = more.versions.len();
        // The version that is listed already as the current one may be an older one by now.
        let first = versions.first().map(|first| first.version.document_id);
        let is_new = |one: &FileVersion| Some(one.version.document_id) != first;
        versions.extend(more.versions.into_iter().filter(is_new));
        Ok(Piece { rows, shown: rows, next: more.next })
    })?;
    Ok((node, VersionPage { versions, next }))
}

/// Moves a node to another folder, or gives it another name. Blocks.
pub(crate) fn move_node(
    shared: &Shared,
    user: UserId,
    node: NodeRef,
    to: &NodePath,
    place_rev: Option<ChangeId>,
    may_block: MayBlock,
) -> Result<PlacedNode, Error> {
    match shared.catalog.locate(user, node.clone()).wait()? {
        Located::Root => return Err(Error::OwnFolder),
        // It is where it is to be, under exactly this name.
        Located::Living { node, path } if path == *to => {
            return Ok(PlacedNode { node, path: Some(path), existing: true });
        }
        _ => {}
    }
    // The log of changes grows by a move.
    uploads::check_room(shared, FileSize::MIN)?;
    let moved = with_free_name(shared, user, to, || {
        change::carry_out(shared, user, may_block, || {
            let now = shared.clock().now();
            Ok(shared.catalog.begin_move(user, node.clone(), to.clone(), place_rev, now).wait()?)
        })
    })?;
    Ok(placed(moved))
}

/// Puts a node, with all that is below it, into the trash. Blocks.
pub(crate) fn remove(
    shared: &Shared,
    user: UserId,
    node: NodeRef,
    mut guard: RemovalGuard,
    may_block: MayBlock,
) -> Result<PlacedNode, Error> {
    match shared.catalog.locate(user, node.clone()).wait()? {
        Located::Root => return Err(Error::OwnFolder),
        // What was removed already is not removed again, and nothing changes by it.
        Located::InTrash { node, .. } => {
            return Ok(PlacedNode { node, path: None, existing: true });
        }
        Located::Living { node, .. } => {
            if let Some(seen) = &mut guard.seen {
                *seen = seen_all(shared, user, node.node_id, *seen)?;
            }
        }
    }
    change::carry_out(shared, user, may_block, || {
        let now = shared.clock().now();
        Ok(shared.catalog.begin_removal(user, node.clone(), guard, now).wait()?)
    })
    .map(placed)
}

/// Looks for changes at or below the node that came after `seen`. Where there is none, the answer
/// is the last change of the user: the transaction of the removal looks at the changes after it.
/// Blocks.
fn seen_all(
    shared: &Shared,
    user: UserId,
    node: NodeId,
    seen: ChangeId,
) -> Result<ChangeId, Error> {
    let mut unseen = Unseen::behind(seen, node);
    loop {
        unseen = shared.catalog.unseen(user, unseen).wait()?;
        match (unseen.seen_all(), unseen.count()) {
            (None, _) => {}
            (Some(seen), 0) => return Ok(seen),
            (Some(_), count) => return Err(CatalogError::Refused(Refusal::Unseen { count }).into()),
        }
    }
}

/// Takes a node out of the trash: back to its folder where that is still there, else to the user's
/// own folder, under a numbered name where its own is taken. A node that is not in the trash stays
/// where it is. Blocks.
pub(crate) fn restore(
    shared: &Shared,
    user: UserId,
    which: NodeRef,
    may_block: MayBlock,
) -> Result<PlacedNode, Error> {
    let (node, removed, is_below) = match removed(shared, user, which)? {
        Removed::Living { node, path } => {
            return Ok(PlacedNode { node, path: Some(path), existing: true });
        }
        Removed::InTrash { node, removed, is_below } => (node, removed, is_below),
    };
    if is_below {
        let place = shared.catalog.removed_from(user, removed.node_id).wait()?;
        return Err(Error::RemovedWithFolder { place, folder: Box::new(removed) });
    }
    let mut first_copy = 0;
    loop {
        let (mut version, mut copy) = (None, 0);
        let restored = change::carry_out(shared, user, may_block, || {
            let now = shared.clock().now();
            let begun = shared.catalog.begin_restore(user, node.node_id, first_copy, now).wait();
            let (intended, chosen) = begun?;
            copy = chosen;
            if let catalog::Spot::Version(document) = intended.from {
                version = Some(document);
                if !intended.is_row_alone {
                    require_kept(shared, user, document, node.node_id)?;
                }
            }
            Ok(intended)
        });
        match (restored, version) {
            // The file of that version is gone, too: the one before it may be there.
            (Err(Error::Storage(StorageError::Lost(loss))), Some(version)) => {
                let (reason, now) = (loss.to_string(), shared.clock().now());
                shared.catalog.lose(version, reason, now).wait()?;
            }
            // Something that no row knows has the name on the disk. It stays (P2), and no
            // client can see it: so the next name is tried, as for an upload.
            (Err(Error::Storage(StorageError::Exists)), _) if copy < COPIES_MAX => {
                first_copy = copy + 1;
            }
            (restored, _) => return restored.map(placed),
        }
    }
}

/// The last number that is tried for the name of a restored node: each try costs a transaction.
const COPIES_MAX: u32 = 1000;

/// Drops the intended move where the file of that version is not there: otherwise something else
/// that has the new name could pass for it (P2).
fn require_kept(
    shared: &Shared,
    user: UserId,
    version: DocumentId,
    node: NodeId,
) -> Result<(), Error> {
    let error = match shared.storage.is_there(user, &Spot::Version(version)) {
        Ok(Some(_)) => return Ok(()),
        Ok(None) => StorageError::Lost(Loss::Missing),
        Err(error) => error,
    };
    shared.catalog.drop_move(node).wait()?;
    Err(error.into())
}

/// What is to be restored.
enum Removed {
    /// Nothing: the node is not in the trash.
    Living { node: Node, path: NodePath },
    /// The node was removed, or a folder above it was.
    InTrash {
        node: Node,
        /// What was removed: the node, or that folder.
        removed: Node,
        is_below: bool,
    },
}

/// Finds what is to be restored. A path leads to what was removed last from there, and only where
/// nothing was, to what lies there: a person who types a path to restore knows that something was
/// removed from it.
fn removed(shared: &Shared, user: UserId, which: NodeRef) -> Result<Removed, Error> {
    let (found, living) = match which {
        NodeRef::Id(_) => (Some(shared.catalog.locate(user, which).wait()?), None),
        NodeRef::Path(ref path) if path.is_root() => return Err(Error::OwnFolder),
        NodeRef::Path(ref path) => {
            (shared.catalog.find_in_trash(user, path.clone()).wait()?, Some(which))
        }
    };
    match found {
        Some(Located::InTrash { node, root, below }) => {
            let is_below = !below.is_empty();
            let removed = match is_below {
                true => stat(shared, user, NodeRef::Id(root))?.node,
                false => node.clone(),
            };
            if !expiry::is_past_its_time(shared, &removed) {
                return Ok(Removed::InTrash { node, removed, is_below });
            }
        }
        Some(Located::Living { node, path }) => return Ok(Removed::Living { node, path }),
        Some(Located::Root) => return Err(Error::OwnFolder),
        None => {}
    }
    let living = living.ok_or(CatalogError::Refused(Refusal::NoSuchNode))?;
    match shared.catalog.locate(user, living).wait()? {
        Located::Living { node, path } => Ok(Removed::Living { node, path }),
        Located::Root | Located::InTrash { .. } => {
            Err(CatalogError::Refused(Refusal::NoSuchNode).into())
        }
    }
}

fn placed(changed: Changed) -> PlacedNode {
    let Changed { node, path } = changed;
    PlacedNode { node, path, existing: false }
}
