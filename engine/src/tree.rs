//! The tree of a user's files, folders and links: looks at it, changes of it, and what has changed.
//!
//! The catalog has the tree, and decides what is legal; the disk follows. The uploads give files
//! their content (see [`publish`](crate::publish)); everything else about nodes is done here.

mod change;
mod changes;
mod expiry;
mod making;
pub(crate) mod notifier;
pub(crate) mod place_locks;
pub(crate) mod request;
mod version_restored;

pub(crate) use change::recover;
pub use changes::ChangeWatch;
pub(crate) use changes::{delta, watch};
pub(crate) use expiry::{Swept, sweep};
pub(crate) use making::{make_folder, make_link};
pub(crate) use version_restored::restore_version;

use crate::error::Error;
use crate::may_block::MayBlock;
use crate::shared::Shared;
use change::Changed;
use making::with_free_name;
use request::{ListRequest, PAGE_ENTRIES_MAX, PlacedNode};
use towline_state::CatalogError;
use towline_state::catalog::{
    ListPage, Located, Node, NodeRef, Refusal, RemovalGuard, TrashPage, TrashPosition, VersionPage,
};
use towline_types::{ChangeId, DocumentId, NodeKind, NodePath, UserId};

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
    let ListRequest { folder, depth, after, limit } = request;
    let listed = match shared.catalog.locate(user, folder.clone()).wait()? {
        Located::Root => None,
        Located::Living { node, .. } | Located::InTrash { node, .. } => Some(node),
    };
    if listed.as_ref().is_some_and(|node| node.kind != NodeKind::Folder) {
        return Ok((listed, ListPage { entries: Vec::new(), next: None }));
    }
    let page = shared.catalog.list(user, folder, depth, after, limit.min(PAGE_ENTRIES_MAX));
    Ok((listed, page.wait()?))
}

/// A page of what was removed. Blocks.
pub(crate) fn trash(
    shared: &Shared,
    user: UserId,
    after: Option<TrashPosition>,
    limit: u32,
) -> Result<TrashPage, Error> {
    Ok(shared.catalog.trash(user, after, limit.min(PAGE_ENTRIES_MAX)).wait()?)
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
    let limit = limit.min(PAGE_ENTRIES_MAX);
    let page = shared.catalog.versions(user, NodeRef::Id(node.node_id), after, limit).wait()?;
    Ok((node, page))
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
    let moved = with_free_name(shared, user, to, || {
        change::carry_out(shared, user, may_block, || {
            let now = shared.clock().now();
            shared.catalog.begin_move(user, node.clone(), to.clone(), place_rev, now)
        })
    })?;
    Ok(placed(moved))
}

/// Puts a node, with all that is below it, into the trash. Blocks.
pub(crate) fn remove(
    shared: &Shared,
    user: UserId,
    node: NodeRef,
    guard: RemovalGuard,
    may_block: MayBlock,
) -> Result<PlacedNode, Error> {
    match shared.catalog.locate(user, node.clone()).wait()? {
        Located::Root => return Err(Error::OwnFolder),
        // What was removed already is not removed again, and nothing changes by it.
        Located::InTrash { node, .. } => {
            return Ok(PlacedNode { node, path: None, existing: true });
        }
        Located::Living { .. } => {}
    }
    change::carry_out(shared, user, may_block, || {
        shared.catalog.begin_removal(user, node.clone(), guard, shared.clock().now())
    })
    .map(placed)
}

/// Takes a node out of the trash: back to its folder where that is still there, else to the user's
/// own folder, under a numbered name where its own is taken. A node that is not in the trash stays
/// where it is. Blocks.
pub(crate) fn restore(
    shared: &Shared,
    user: UserId,
    node: NodeRef,
    may_block: MayBlock,
) -> Result<PlacedNode, Error> {
    let node = match node {
        NodeRef::Id(node) => node,
        NodeRef::Path(path) if path.is_root() => return Err(Error::OwnFolder),
        NodeRef::Path(path) => {
            let removed = shared.catalog.find_in_trash(user, path).wait()?;
            removed.ok_or(CatalogError::Refused(Refusal::NoSuchNode))?.node_id
        }
    };
    match shared.catalog.locate(user, NodeRef::Id(node)).wait()? {
        Located::Root => return Err(Error::OwnFolder),
        Located::Living { node, path } => {
            return Ok(PlacedNode { node, path: Some(path), existing: true });
        }
        Located::InTrash { root, below, .. } if !below.is_empty() => {
            let removed = stat(shared, user, NodeRef::Id(root))?.node;
            return Err(Error::RemovedWithFolder(Box::new(removed)));
        }
        Located::InTrash { node, .. } if expiry::is_past_its_time(shared, &node) => {
            return Err(CatalogError::Refused(Refusal::NoSuchNode).into());
        }
        Located::InTrash { .. } => {}
    }
    change::carry_out(shared, user, may_block, || {
        shared.catalog.begin_restore(user, node, shared.clock().now())
    })
    .map(placed)
}

fn placed(changed: Changed) -> PlacedNode {
    let Changed { node, path } = changed;
    PlacedNode { node, path, existing: false }
}
