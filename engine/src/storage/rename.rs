//! The move of a staging file to its final name.

use super::copy_to_volume::{self, Names};
use super::directory::{Directory, is_plain_file};
use super::error::{Loss, StorageError};
use super::group_sync::Ticket;
use super::paths;
use super::rename_no_replace::{
    Moved, is_same_file, knows_no_noreplace, move_to_free_name, rename_to_free_name,
};
use super::user_folder::UserFolder;
use super::user_folders::Missing;
use super::volume::Volume;
use super::{GoesOn, NewName, Put};
use crate::failpoint;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use towline_types::{DocumentId, DocumentPath, FileHash, UserId};

/// Moves a staging file to its final name, and returns when it is there for good.
///
/// 1. The folders are opened, or made, each relative to the one above.
/// 2. The file moves, to a name that nothing has (P2: never over another file). A folder that has
///    this name is removed first, where nothing but folders is in it.
/// 3. Its folder is synced. Measured: without, the move is undone by a power cut (P3).
/// 4. The folders on the way are synced, unless this process did it before (P3).
///    Last, because on a journal that is one commit for all of them.
///
/// The staging folder is not synced. On a journal the move is one transaction, so
/// the old name goes when the new one comes. On any other file system a power cut
/// may bring the old name back *beside* the new one, never instead of it: an
/// extra name of a published file. Recovery discards it where the row says `completed`,
/// and comes back here where it still says `publishing`. So P3 needs no sync here.
pub(super) fn publish(
    volume: &Volume,
    id: DocumentId,
    user: UserId,
    path: &DocumentPath,
    (blake3, goes_on): (FileHash, GoesOn<'_>),
) -> Result<Put, StorageError> {
    volume.latch.refuse_if_closed()?;
    require_staged(volume, id)?;
    let staging = &volume.staging.directory;
    let old = paths::staging_file(id);
    let opened = volume.user_folders.open(user, path, Missing::Make);
    let folder = opened.map_err(|errno| StorageError::opening(PUBLISH, errno))?;
    failpoint::reach("publish.folder_made");
    let new = OsStr::new(path.filename().as_str());
    let rename = || move_to_free_name(staging, OsStr::new(&old), &folder.directory, new);
    let mut moved = rename();
    if moved == Err(Errno::EXIST) && volume.user_folders.make_way(&folder, new) {
        moved = rename();
    }
    let moved = match moved {
        Err(Errno::XDEV) => {
            let (old, copy) = (OsStr::new(&old), paths::copy_in_final_folder(id));
            let names = Names { old, copy: OsStr::new(&copy), new };
            return copy_to_volume::publish(volume, &folder, names, blake3, goes_on);
        }
        moved => moved.map_err(not_moved)?,
    };
    failpoint::reach("publish.renamed");
    folder.sync(folder.ticket(), &volume.latch)?;
    failpoint::reach("publish.folder_synced");
    if let Moved::OldNameStays = moved {
        staging.remove(&old).map_err(|errno| StorageError::new(PUBLISH, errno))?;
    }
    volume.user_folders.sync_parents(&folder, &volume.latch)?;
    Ok(Put::InPlace)
}

/// Looks for the staging file of an upload; what came whole becomes one. What moves must be a
/// file: a link under a final name would lead readers out.
pub(super) fn require_staged(volume: &Volume, id: DocumentId) -> Result<(), StorageError> {
    let (staging, name) = (&volume.staging.directory, paths::staging_file(id));
    let stat = match staging.stat(&name) {
        Err(Errno::NOENT) if volume.adopt_whole(id)? => staging.stat(&name),
        answer => answer,
    };
    match stat {
        Ok(stat) if is_plain_file(&stat) => Ok(()),
        Ok(_) => Err(StorageError::Lost(Loss::NotAFile)),
        Err(Errno::NOENT) => Err(StorageError::Lost(Loss::Missing)),
        Err(errno) => Err(StorageError::new(PUBLISH, errno)),
    }
}

/// The first two steps of [`publish`]; [`RenamedFile`] does the rest, or [`sync_deferred`] for
/// many at once, and the bytes. `None` where it was not possible: its folder may be on
/// another file system; or the file would have two names for a while, and after a crash no
/// program could remove the one and be sure that the other is durable.
///
/// `old` is the name of a plain file among the staging files; its holder has looked.
pub(super) fn rename(
    volume: &Arc<Volume>,
    old: &str,
    user: UserId,
    path: &DocumentPath,
) -> Result<Option<Box<dyn NewName>>, StorageError> {
    let (from, old) = (&*volume.staging.directory, OsStr::new(old));
    let is_impossible = Cell::new(false);
    let rename = |to: &Directory, new: &OsStr| {
        let renamed = rename_to_free_name(from, old, to, new);
        is_impossible.set(match renamed {
            Err(Errno::EXIST) => is_same_file(from, old, to, new)?,
            Err(errno) => knows_no_noreplace(errno) || errno == Errno::XDEV,
            Ok(()) => false,
        });
        renamed
    };
    let named = name(volume, rename, user, path);
    if is_impossible.get() { Ok(None) } else { named.map(Some) }
}

/// The same for whatever gives a file its final name, if nothing has that.
pub(super) fn name(
    volume: &Arc<Volume>,
    give_name: impl Fn(&Directory, &OsStr) -> Result<(), Errno>,
    user: UserId,
    path: &DocumentPath,
) -> Result<Box<dyn NewName>, StorageError> {
    volume.latch.refuse_if_closed()?;
    let new = OsStr::new(path.filename().as_str());
    let opened = volume.user_folders.within(user, path, |folder| {
        failpoint::reach("publish.folder_made");
        give_name(folder, new)
    });
    let (folder, mut named) = opened.map_err(|errno| StorageError::opening(PUBLISH, errno))?;
    if named == Err(Errno::EXIST) && volume.user_folders.make_way(&folder, new) {
        named = give_name(&folder.directory, new);
    }
    named.map_err(not_moved)?;
    failpoint::reach("publish.renamed");
    let ticket = folder.ticket();
    Ok(Box::new(RenamedFile { volume: Arc::clone(volume), ticket, folder }))
}

/// A file that was renamed, and whose name is not durable.
struct RenamedFile {
    volume: Arc<Volume>,
    folder: UserFolder,
    /// The name's, in its folder.
    ticket: Ticket,
}

impl NewName for RenamedFile {
    fn sync_name(self: Box<Self>) -> Result<(), StorageError> {
        let Self { volume, folder, ticket } = *self;
        folder.sync(ticket, &volume.latch)?;
        failpoint::reach("publish.folder_synced");
        volume.user_folders.sync_parents(&folder, &volume.latch)
    }
}

const PUBLISH: &str = "publish the file";

pub(super) fn not_moved(errno: Errno) -> StorageError {
    match errno {
        Errno::EXIST => StorageError::Exists,
        _ => StorageError::new(PUBLISH, errno),
    }
}

/// Makes sure that a file which is published already will stay so: the work of
/// [`publish`] that a crash may have cut off.
///
/// The bytes were durable before the row said `publishing`, or were synced and read
/// since; they are synced again only because this is the rare path and the promise (P3)
/// is dear.
pub(super) fn sync_published(
    volume: &Volume,
    user: UserId,
    path: &DocumentPath,
) -> Result<(), StorageError> {
    const WHAT: &str = "make the published file durable";
    volume.latch.refuse_if_closed()?;
    let lost_or = |errno| match errno {
        Errno::NOENT => StorageError::Lost(Loss::Missing),
        _ => StorageError::opening(WHAT, errno),
    };
    let folder = volume.user_folders.open(user, path, Missing::Refuse).map_err(lost_or)?;
    let file = (folder.directory)
        .file(path.filename().as_str(), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
        .map_err(lost_or)?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| StorageError::new(WHAT, errno))?;
    if !is_plain_file(&stat) {
        return Err(StorageError::in_the_way(WHAT));
    }
    // On a user's own disk a failed sync closes that disk alone (P5), not the volume.
    let latch = folder.latch(&volume.latch);
    let synced = latch
        .sync(|| rustix::fs::fsync(&file))
        .and_then(|()| {
            failpoint::reach("recovery.syncing_name");
            latch.sync_names(|| folder.directory.sync())
        })
        .and_then(|()| volume.user_folders.sync_parents(&folder, &volume.latch));
    if folder.is_on_usual() { synced } else { synced.map_err(copy_to_volume::elsewhere) }
}

/// Makes all that is on the volume durable, by one sync: bytes (P2), names and folders
/// (P3) at once.
pub(super) fn sync_all(volume: &Volume) -> Result<(), StorageError> {
    volume.sync.sync(&volume.latch)?;
    failpoint::reach("deferred.synced");
    Ok(())
}

/// The same for what was renamed to those places before. Only of their folders is it
/// known that they were there at the sync: another's may have been made after it.
pub(super) fn sync_deferred(
    volume: &Volume,
    places: &[(UserId, DocumentPath)],
) -> Result<(), StorageError> {
    let folders: HashSet<_> =
        places.iter().map(|(user, path)| paths::final_folder(*user, path)).collect();
    let before_sync = volume.user_folders.before_sync(folders);
    sync_all(volume)?;
    volume.user_folders.all_synced(before_sync);
    Ok(())
}

/// Moves what no row knows out of the way of recovery, and tells where it is now,
/// seen from the data folder.
pub(super) fn set_aside(volume: &Volume, name: &OsStr) -> Result<PathBuf, StorageError> {
    const WHAT: &str = "set a stray file aside";
    volume.latch.refuse_if_closed()?;
    if !paths::is_single(name) || name == paths::ORPHANS {
        return Err(StorageError::in_the_way(WHAT));
    }
    let (orphan, moved) = move_aside(volume, &volume.staging.directory, name, name, WHAT)?;
    if let Moved::OldNameStays = moved {
        volume.staging.directory.remove(name).map_err(|errno| StorageError::new(WHAT, errno))?;
    }
    Ok(orphan)
}

/// Moves a final file that is not what its document was to where no file is served from, and
/// tells where it is now, seen from the data folder.
///
/// 1. The file moves, to a name that nothing has: a damaged file is still the best
///    copy that there may be, so it is neither deleted nor written over. What is
///    left under the final name is nothing (P2). Where its folder is on another file system
///    it stays in it, under a name that no document can have.
/// 2. Its new name is synced, and only then its old folder: a power cut may leave
///    it under both names, never under none.
pub(super) fn set_damaged_aside(
    volume: &Volume,
    id: DocumentId,
    path: &Path,
) -> Result<PathBuf, StorageError> {
    const WHAT: &str = "set a damaged file aside";
    volume.latch.refuse_if_closed()?;
    let lost_or = |errno| match errno {
        Errno::NOENT => StorageError::Lost(Loss::Missing),
        _ => StorageError::opening(WHAT, errno),
    };
    let (above, filename) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    let folder = volume.user_folders.open_folder(above, Missing::Refuse).map_err(lost_or)?;
    let there = &folder.directory;
    if !is_plain_file(&there.stat(filename).map_err(lost_or)?) {
        return Err(StorageError::Lost(Loss::NotAFile));
    }
    let (aside, moved) = match move_aside(volume, there, filename, &paths::damaged(id), WHAT) {
        Err(error) if error.errno() == Some(Errno::XDEV) => {
            let wanted = paths::damaged_in_final_folder(id);
            let (aside, moved) = move_to_numbered(there, filename, there, &wanted)
                .map_err(|errno| StorageError::new(WHAT, errno))?;
            (paths::in_data_folder(path).with_file_name(aside), moved)
        }
        moved => moved?,
    };
    if let Moved::OldNameStays = moved {
        there.remove(filename).map_err(|errno| StorageError::new(WHAT, errno))?;
    }
    // On a user's own disk a failed sync closes that disk alone (P5), not the volume.
    let synced = folder.latch(&volume.latch).sync_names(|| there.sync());
    if folder.is_on_usual() {
        synced?
    } else {
        synced.map_err(copy_to_volume::elsewhere)?
    }
    Ok(aside)
}

/// Moves a file or folder among what was set aside, under that name or the next free one,
/// and makes the new name durable.
pub(super) fn move_aside(
    volume: &Volume,
    from: &Directory,
    name: &OsStr,
    wanted: &OsStr,
    what: &'static str,
) -> Result<(PathBuf, Moved), StorageError> {
    let io = |errno| StorageError::new(what, errno);
    let staging = &volume.staging.directory;
    // Durable, or a power cut could take what is moved into it along.
    if staging.make_folder(paths::ORPHANS, Mode::RWXU).map_err(io)? {
        volume.staging.sync(&volume.latch)?;
    }
    let orphans =
        staging.folder(paths::ORPHANS).map_err(|errno| StorageError::opening(what, errno))?;
    let (orphan, moved) = move_to_numbered(from, name, &orphans, wanted).map_err(|errno| {
        if errno == Errno::NOENT { StorageError::Lost(Loss::Missing) } else { io(errno) }
    })?;
    volume.latch.sync_names(|| orphans.sync())?;
    Ok((paths::orphan_in_data_folder(&orphan), moved))
}

/// Gives a file that name, or the first numbered one that nothing has.
fn move_to_numbered(
    from: &Directory,
    name: &OsStr,
    to: &Directory,
    wanted: &OsStr,
) -> Result<(OsString, Moved), Errno> {
    for attempt in 0..=u32::MAX {
        let numbered = paths::orphan(wanted, attempt);
        match move_to_free_name(from, name, to, &numbered) {
            Err(Errno::EXIST) => {}
            moved => return Ok((numbered, moved?)),
        }
    }
    Err(Errno::EXIST)
}
