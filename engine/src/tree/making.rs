//! Folders and links that are made.
//!
//! A folder is made on the disk first, durably, and then in the catalog: a client that hears of it
//! finds it after any crash (P3). Cut off in between, an empty folder lies on the disk of which no
//! row knows; the next upload or folder of that name takes it over (P4). A link is a row alone, and
//! the folders above it are made as for a folder.

use crate::error::Error;
use crate::failpoint;
use crate::presence;
use crate::shared::Shared;
use crate::tree::request::{NewLink, PlacedNode};
use towline_state::CatalogError;
use towline_state::catalog::{Made, NodeRef, Refusal};
use towline_types::{NodePath, PermissionBits, UserId};

/// Makes a folder, and those above it that are missing. Blocks.
pub(crate) fn make_folder(
    shared: &Shared,
    user: UserId,
    path: &NodePath,
    mode: Option<PermissionBits>,
) -> Result<PlacedNode, Error> {
    let made = with_free_name(shared, user, path, || {
        let planned = shared.catalog.plan_folder(user, path.clone()).wait()?;
        if planned.is_none() {
            make_on_disk(shared, user, path)?;
        }
        let now = shared.clock().now();
        Ok(shared.catalog.make_folder(user, path.clone(), mode, now).wait()?)
    })?;
    if made.existing && mode.is_some() && mode != made.node.mode {
        let (node_id, now) = (made.node.node_id, shared.clock().now());
        shared.catalog.set_metadata(user, node_id, None, mode, now).wait()?;
        shared.notifier.raise(user);
        let placed = super::stat(shared, user, NodeRef::Id(node_id))?;
        return Ok(PlacedNode { existing: true, ..placed });
    }
    Ok(told(shared, user, path.clone(), made))
}

/// Makes a link, and the folders above it that are missing. Blocks.
pub(crate) fn make_link(
    shared: &Shared,
    user: UserId,
    link: &NewLink,
) -> Result<PlacedNode, Error> {
    let NewLink { path, target, mtime, on_conflict } = link;
    let made = with_free_name(shared, user, path, || {
        if let Some(folder) = path.parent() {
            make_on_disk(shared, user, &folder)?;
        }
        let place = path.to_document().ok_or(Error::OwnFolder)?;
        let (target, now) = (target.clone(), shared.clock().now());
        Ok(shared.catalog.make_link(user, place, target, *mtime, *on_conflict, now).wait()?)
    })?;
    // Another name may have been chosen, in the same folder.
    let path = path.parent().and_then(|folder| folder.join(made.node.name.clone()).ok());
    Ok(told(shared, user, path.unwrap_or_default(), made))
}

fn make_on_disk(shared: &Shared, user: UserId, folder: &NodePath) -> Result<(), Error> {
    // The user's own folder is made with the first thing in it.
    if let Some(folder) = folder.to_document() {
        shared.storage.make_folder(user, &folder)?;
        failpoint::reach("mkdir.made");
    }
    Ok(())
}

fn told(shared: &Shared, user: UserId, path: NodePath, made: Made) -> PlacedNode {
    shared.notifier.raise(user);
    PlacedNode { node: made.node, path: Some(path), existing: made.existing }
}

/// Does something for which a name must be free. Where the name, or that of a folder above it, is
/// taken by documents whose files were removed by hand, these documents end first: the disk decides
/// whether a name is free.
pub(super) fn with_free_name<T>(
    shared: &Shared,
    user: UserId,
    path: &NodePath,
    work: impl Fn() -> Result<T, Error>,
) -> Result<T, Error> {
    match work() {
        Err(Error::Catalog(CatalogError::Refused(
            Refusal::Exists { .. } | Refusal::PathTaken | Refusal::FolderTaken,
        ))) if path
            .to_document()
            .is_some_and(|path| presence::fail_missing_at(shared, user, &path, 1)) =>
        {
            work()
        }
        done => done,
    }
}
