//! Folders and links that are made.
//!
//! 1. A look at the catalog refuses what can be refused, before anything is made.
//! 2. The folder is made on the disk, with those above it, durably.
//! 3. The catalog gets the rows: a client that hears of a folder finds it after any crash (P3).
//!
//! Where step 2 fails halfway, or step 3 is refused since the name was taken meanwhile, the folders
//! that are there by then become nodes: see [`made_folders`]. A crash between the steps 2 and 3
//! leaves empty folders on the disk of which no row knows; the next folder or file of that name
//! takes their place (P4). The catalog is not asked first: a row would then tell of a folder that a
//! crash may have kept from the disk, and would cost a second commit for each folder.
//!
//! No move of the same user comes in between these steps ([`PlaceLocks::look`]): the folder
//! that was made would go with the folder above, and the rows would tell of both in the old place.
//!
//! A link is a row alone, and the folders above it are made as for a folder.

use crate::error::Error;
use crate::failpoint;
use crate::made_folders;
use crate::may_block::MayBlock;
use crate::presence;
use crate::shared::Shared;
#[cfg(doc)]
use crate::tree::place_locks::PlaceLocks;
use crate::tree::request::{NewLink, PlacedNode};
use crate::uploads;
use towline_state::CatalogError;
use towline_state::catalog::{Made, Node, NodeRef, Refusal};
use towline_types::{FileSize, NodePath, PermissionBits, UserId};

/// Makes a folder, and those above it that are missing. Blocks.
pub(crate) fn make_folder(
    shared: &Shared,
    user: UserId,
    path: &NodePath,
    mode: Option<PermissionBits>,
    may_block: MayBlock,
) -> Result<PlacedNode, Error> {
    let made = with_free_name(shared, user, path, || {
        let plan = || shared.catalog.plan_folder(user, path.clone()).wait();
        in_folder(shared, user, path, may_block, plan, || {
            let now = shared.clock().now();
            shared.catalog.make_folder(user, path.clone(), mode, now).wait()
        })
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
    may_block: MayBlock,
) -> Result<PlacedNode, Error> {
    let NewLink { path, target, mtime, on_conflict } = link;
    let place = path.to_document().ok_or(Error::OwnFolder)?;
    let folder = path.parent().unwrap_or_default();
    let made = with_free_name(shared, user, path, || {
        let (catalog, on_conflict) = (&shared.catalog, *on_conflict);
        let plan = || catalog.plan_link(user, place.clone(), target.clone(), on_conflict).wait();
        in_folder(shared, user, &folder, may_block, plan, || {
            let (place, target, now) = (place.clone(), target.clone(), shared.clock().now());
            catalog.make_link(user, place, target, *mtime, on_conflict, now).wait()
        })
    })?;
    // Another name may have been chosen, in the same folder.
    let path = path.parent().and_then(|folder| folder.join(made.node.name.clone()).ok());
    Ok(told(shared, user, path.unwrap_or_default(), made))
}

/// Looks whether the node can be made, makes the folder on the disk, and then the rows. Where one
/// of the last two fails, the folders that lie on the disk become nodes all the same.
fn in_folder(
    shared: &Shared,
    user: UserId,
    folder: &NodePath,
    may_block: MayBlock,
    plan: impl FnOnce() -> Result<Option<Node>, CatalogError>,
    make_rows: impl FnOnce() -> Result<Made, CatalogError>,
) -> Result<Made, Error> {
    let places = shared.places.look(user, may_block);
    // This costs no transaction, and it sees only what survives a power cut (P3). A folder that is
    // put again is there, as a rule.
    if let Some(node) = plan()? {
        return Ok(Made { node, existing: true });
    }
    uploads::check_room(shared, FileSize::MIN)?;
    let made = make_on_disk(shared, user, folder).and_then(|()| Ok(make_rows()?));
    drop(places);
    if made.is_err() {
        // No row can be made of a name that a change under way has, so this waits until no change
        // is under way.
        let _settled = shared.places.change(user, may_block);
        made_folders::record(shared, user, folder);
    }
    made
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
    if !made.existing {
        shared.notifier.raise(user);
    }
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
