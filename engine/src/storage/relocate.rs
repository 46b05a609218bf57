//! The move of a file or of a whole folder, by one rename; see `storage/tree.rs` for which promise
//! each step keeps.

use super::directory::{is_folder, is_plain_file};
use super::error::{Loss, StorageError};
use super::rename_no_replace::{Moved, move_entry_to_free_name};
use super::spots::{self, Location};
use super::user_folder::UserFolder;
use super::user_folders::Missing;
use super::volume::Volume;
use super::{Spot, copy_to_volume};
use crate::failpoint;
use rustix::io::Errno;
use std::path::Path;
use towline_types::UserId;

const WHAT: &str = "move the file or folder";

/// See [`TreeStorage::relocate`](super::TreeStorage::relocate).
pub(super) fn relocate(
    volume: &Volume,
    user: UserId,
    from: &Spot,
    to: &Spot,
) -> Result<(), StorageError> {
    volume.latch.refuse_if_closed()?;
    if is_below(from, to) {
        return Err(StorageError::into_itself(WHAT));
    }
    let folders = &volume.user_folders;
    let Some((source, stat)) = spots::find(folders, user, from)? else {
        return settle(volume, user, from, to);
    };
    if from == to {
        return Ok(());
    }
    if is_folder(&stat) {
        folders.mount_points.refuse_to_move(user, &source.path())?;
    } else if !is_plain_file(&stat) {
        return Err(StorageError::in_the_way(WHAT));
    }
    let opening = |errno| StorageError::opening(WHAT, errno);
    let mount_point = folders.mount_points.innermost(&source.folder).map_err(opening)?;
    let target = spots::location(user, to, &mount_point);
    let old = folders.open_folder(&source.folder, Missing::Refuse).map_err(opening)?;
    let new = folders.open_folder(&target.folder, Missing::Make).map_err(opening)?;
    folders.sync_parents(&new, &volume.latch).map_err(|error| on_its_volume(&new, error))?;
    failpoint::reach("relocate.folders_made");
    let forget = || [&source, &target].into_iter().for_each(|at| folders.forget(&at.path()));
    forget();
    let rename = || {
        move_entry_to_free_name(
            (&old.directory, &source.name),
            (&new.directory, &target.name),
            &stat,
        )
    };
    let mut moved = rename();
    if let Err(Errno::EXIST | Errno::NOTEMPTY) = moved
        && folders.make_way(&new, &target.name)
    {
        moved = rename();
    }
    forget();
    let moved = moved.map_err(not_moved)?;
    failpoint::reach("relocate.renamed");
    sync_move(volume, &new)?;
    failpoint::reach("relocate.new_name_synced");
    if moved == Moved::OldNameStays {
        old.directory.remove(&source.name).map_err(|errno| StorageError::new(WHAT, errno))?;
    }
    if moved == Moved::OldNameStays || old.path != new.path {
        sync_move(volume, &old)?;
    }
    failpoint::reach("relocate.settled");
    Ok(())
}

/// Nothing has the old name. Where an earlier call has moved it, both names are made durable again.
fn settle(volume: &Volume, user: UserId, from: &Spot, to: &Spot) -> Result<(), StorageError> {
    let folders = &volume.user_folders;
    let Some((target, _)) = spots::find(folders, user, to)? else {
        return Err(StorageError::Lost(Loss::Missing));
    };
    let opening = |errno| StorageError::opening(WHAT, errno);
    let mount_point = folders.mount_points.innermost(&target.folder).map_err(opening)?;
    let source = spots::location(user, from, &mount_point);
    for Location { folder, .. } in [target, source] {
        match folders.open_folder(&folder, Missing::Refuse) {
            Ok(held) => {
                sync(volume, &held)?;
                folders
                    .sync_parents(&held, &volume.latch)
                    .map_err(|error| on_its_volume(&held, error))?;
            }
            // The folder of the old name may have been moved or removed since.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(opening(errno)),
        }
    }
    Ok(())
}

/// Whether the second spot lies below the first one, where that is a folder.
fn is_below(from: &Spot, to: &Spot) -> bool {
    let (Spot::Living(from), Spot::Living(to)) = (from, to) else { return false };
    let (from, to) = (from.to_string(), to.to_string());
    from != to && Path::new(&to).starts_with(&from)
}

/// Makes durable what a move has changed in a folder (P3). The crash test leaves this out once, to
/// show that it would notice.
fn sync_move(volume: &Volume, folder: &UserFolder) -> Result<(), StorageError> {
    if failpoint::is_faked("sync.move") {
        return Ok(());
    }
    sync(volume, folder)
}

/// Makes the names in a folder durable.
pub(super) fn sync(volume: &Volume, folder: &UserFolder) -> Result<(), StorageError> {
    let synced = folder.sync(folder.ticket(), &volume.latch);
    synced.map_err(|error| on_its_volume(folder, error))
}

/// On a user's own disk a failed sync closes that disk alone (P5), not the volume.
pub(super) fn on_its_volume(folder: &UserFolder, error: StorageError) -> StorageError {
    if folder.is_on_usual() { error } else { copy_to_volume::elsewhere(error) }
}

fn not_moved(errno: Errno) -> StorageError {
    match errno {
        Errno::EXIST | Errno::NOTEMPTY => StorageError::Exists,
        Errno::NOENT => StorageError::Lost(Loss::Missing),
        // The second where a disk is mounted at the folder that was to move.
        Errno::XDEV | Errno::BUSY => StorageError::other_file_system(WHAT),
        errno => StorageError::new(WHAT, errno),
    }
}
