//! The end of what was removed or replaced: the only place that deletes files which have been
//! published. See `storage/tree.rs` for which promise each step keeps.

use super::directory::{Directory, is_folder, is_plain_file};
use super::error::{Loss, StorageError};
use super::relocate;
use super::spots::{self, Location};
use super::tree::Judge;
use super::user_folders::Missing;
use super::volume::Volume;
use super::{Deleted, Spot, Verdict, paths, rename};
use crate::failpoint;
use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;
use towline_types::limits::FOLDER_DEPTH;
use towline_types::{DocumentId, Name, NodeId, UserId};

const WHAT: &str = "delete what was removed";

/// See [`TreeStorage::delete_trash`](super::TreeStorage::delete_trash).
pub(super) fn trash(
    volume: &Volume,
    user: UserId,
    node: NodeId,
    judge: Judge<'_>,
) -> Result<Deleted, StorageError> {
    volume.latch.refuse_if_closed()?;
    let (folders, spot) = (&volume.user_folders, Spot::Trash(node));
    let Some((location, stat)) = spots::find(folders, user, &spot)? else {
        // An earlier call may have been cut off before its sync.
        for location in spots::locations(folders, user, &spot) {
            sync(volume, &location)?;
        }
        return Ok(Deleted::All);
    };
    let opened = folders.open_folder(&location.folder, Missing::Refuse);
    let held = opened.map_err(|errno| StorageError::opening(WHAT, errno))?;
    let mut deletion = Deletion { judge, below: Vec::new() };
    let left = deletion.entry(&held.directory, &location.name, &stat);
    let kept = match left.map_err(|errno| StorageError::opening(WHAT, errno))? {
        Left::Nothing => Deleted::All,
        Left::Stopped => return Ok(Deleted::Stopped),
        Left::Kept => keep(volume, node, &held.directory, &location)?,
    };
    failpoint::reach("delete.done");
    sync(volume, &location)?;
    Ok(kept)
}

/// Sets aside what is left of a removed thing. On another file system than that of the staging
/// files it stays where it is, for nothing moves there.
fn keep(
    volume: &Volume,
    node: NodeId,
    trash: &Directory,
    location: &Location,
) -> Result<Deleted, StorageError> {
    let wanted = paths::trash_leftover(node);
    let aside = match rename::move_aside(volume, trash, &location.name, &wanted, WHAT) {
        Ok((aside, _)) => aside,
        Err(error) if error.errno() == Some(Errno::XDEV) => paths::in_data_folder(&location.path()),
        Err(error) => return Err(error),
    };
    Ok(Deleted::Kept(aside))
}

/// Makes the names in the folder of a deleted thing durable, where there is that folder.
fn sync(volume: &Volume, location: &Location) -> Result<(), StorageError> {
    match volume.user_folders.open_folder(&location.folder, Missing::Refuse) {
        Ok(held) => relocate::sync(volume, &held),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(StorageError::opening(WHAT, errno)),
    }
}

/// See [`TreeStorage::delete_versions`](super::TreeStorage::delete_versions).
pub(super) fn versions(
    volume: &Volume,
    user: UserId,
    versions: &[DocumentId],
) -> Result<(), StorageError> {
    volume.latch.refuse_if_closed()?;
    let folders = &volume.user_folders;
    let points = folders.mount_points.of(user);
    let mut is_found = vec![false; versions.len()];
    let points = std::iter::once(Path::new("")).chain(points.iter().map(|point| point.as_path()));
    // A file goes from the versions into the quarantine, so it is looked for there last.
    let folders_of = |point| [paths::versions(point, user), paths::quarantine(point, user)];
    for folder in points.flat_map(folders_of) {
        let held = match folders.open_folder(&folder, Missing::Refuse) {
            Ok(held) => held,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(StorageError::opening(WHAT, errno)),
        };
        for (version, is_found) in versions.iter().zip(&mut is_found) {
            match held.directory.remove(version.to_string()) {
                Ok(()) => *is_found = true,
                Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => return Err(StorageError::Lost(Loss::NotAFile)),
                Err(errno) => return Err(StorageError::new(WHAT, errno)),
            }
        }
        failpoint::reach("delete.done");
        relocate::sync(volume, &held)?;
    }
    if is_found.contains(&false) {
        let away = folders.mount_points.refuse_if_any_is_away(user);
        away.map_err(|errno| StorageError::opening(WHAT, errno))?;
    }
    Ok(())
}

/// What is left of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Kept,
    Stopped,
}

struct Deletion<'a> {
    judge: Judge<'a>,
    /// The names from the removed thing to the folder that is being emptied.
    below: Vec<Name>,
}

impl Deletion<'_> {
    /// Deletes that entry and what lies below it, as far as that may be.
    fn entry(&mut self, folder: &Directory, name: &OsStr, stat: &Stat) -> Result<Left, Errno> {
        if is_folder(stat) {
            return self.folder(folder, name);
        }
        if !is_plain_file(stat) {
            return Ok(Left::Kept);
        }
        match (self.judge)(&self.below) {
            Verdict::Delete => gone(folder.remove(name)),
            Verdict::Keep => Ok(Left::Kept),
            Verdict::Stop => Ok(Left::Stopped),
        }
    }

    fn folder(&mut self, above: &Directory, name: &OsStr) -> Result<Left, Errno> {
        let folder = match above.folder(name) {
            Err(Errno::NOENT) => return Ok(Left::Nothing),
            folder => folder?,
        };
        // A listing that was begun before names went may miss some that are still there, so it
        // is begun again until a folder is empty, or nothing went any more.
        loop {
            let (mut is_any_gone, mut is_any_kept) = (false, false);
            for entry in folder.entries()? {
                match self.below(&folder, &entry?)? {
                    Left::Nothing => is_any_gone = true,
                    Left::Kept => is_any_kept = true,
                    Left::Stopped => return Ok(Left::Stopped),
                }
            }
            if is_any_kept {
                return Ok(Left::Kept);
            }
            match rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) if is_any_gone => {}
                // Another program puts files here, or a disk is mounted here.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => return Ok(Left::Kept),
                removed => return gone(removed),
            }
        }
    }

    /// An entry of a folder that is being emptied. Where no document can have such a name, or lie
    /// so deep, the entry is another program's.
    fn below(&mut self, folder: &Directory, name: &OsStr) -> Result<Left, Errno> {
        let known = name.to_str().and_then(|name| Name::recorded(name).ok());
        let Some(known) = known.filter(|_| self.below.len() <= FOLDER_DEPTH) else {
            return Ok(Left::Kept);
        };
        let stat = match folder.stat(name) {
            Err(Errno::NOENT) => return Ok(Left::Nothing),
            stat => stat?,
        };
        self.below.push(known);
        let left = self.entry(folder, name, &stat);
        self.below.pop();
        left
    }
}

fn gone(removed: Result<(), Errno>) -> Result<Left, Errno> {
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(Left::Nothing),
        Err(errno) => Err(errno),
    }
}
