//! Folders on the disk that were made on the way to something that was refused then.
//!
//! A folder is made on the disk before a row tells of it (P3). In between, the thing that it was
//! made for may be refused: the disk is full, or the name was taken. Such a folder becomes a node.
//! Without a node no client could see or remove it, and the next file of that name would get
//! another name. The folder is not deleted instead: another upload may have found it and be about
//! to put a file into it.

use crate::log;
use crate::shared::Shared;
use crate::storage::{Entry, Spot};
use towline_state::CatalogError;
use towline_state::catalog::Refusal::{Busy, FolderTaken};
use towline_state::catalog::{Located, NodeRef};
use towline_types::{DocumentId, NodePath, UserId};

/// Records those of the folders on the way to `folder`, itself included, that lie on the disk. The
/// caller keeps the places of the user as they are: a folder that was moved away between the look
/// at the disk and the row would be a row without a folder.
///
/// Where a folder cannot be recorded, it stays like one that a crash has left: the next thing that
/// gets its name takes its place. Blocks.
pub(crate) fn record(shared: &Shared, user: UserId, folder: &NodePath) {
    let mut rest = Some(folder.clone());
    while let Some(path) = rest.take().filter(|path| !path.is_root()) {
        let known = shared.catalog.locate(user, NodeRef::Path(path.clone())).wait();
        if let Ok(Located::Living { .. }) = known {
            return;
        }
        if is_durable(shared, user, &path) {
            let now = shared.clock().now();
            match shared.catalog.record_folders(user, path.clone(), now).wait() {
                Ok(()) => return shared.notifier.raise(user),
                // A file has got the name, or the folder is being moved. The folders above it may
                // have no node all the same.
                Err(CatalogError::Refused(FolderTaken | Busy)) => {}
                Err(error) => {
                    let error = log::chain(&error);
                    tracing::warn!(%user, error, "a folder that was made on the way was not recorded");
                    return;
                }
            }
        }
        rest = path.parent();
    }
}

/// The same for the folders of a document that does not get its name, while its row still says
/// which name that is. Where a place of the user is just being changed, nothing is recorded: a
/// batch of uploads does not wait for that. Blocks.
pub(crate) fn record_of(shared: &Shared, id: DocumentId) {
    let row = shared.catalog.document(id).wait().ok().flatten();
    if let Some(row) = row
        && let Some(path) = row.file_path
        && let Some(folder) = NodePath::from(path).parent()
        && let Some(_places) = shared.places.try_look(row.user_id)
    {
        record(shared, row.user_id, &folder);
    }
}

/// Whether a folder lies there. On return it is durable (P3).
fn is_durable(shared: &Shared, user: UserId, folder: &NodePath) -> bool {
    let Some(place) = folder.to_document() else { return false };
    let found = shared.storage.is_there(user, &Spot::Living(place.clone()));
    matches!(found, Ok(Some(Entry::Folder))) && shared.storage.make_folder(user, &place).is_ok()
}
