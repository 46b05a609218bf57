//! A newer version in the place of an older one; see `storage/tree.rs` for which promise each step
//! keeps.

use super::copy_to_volume::{self, Ready, Taken};
use super::directory::is_plain_file;
use super::error::StorageError;
use super::relocate;
use super::rename_no_replace::{
    Moved, add_name, is_same_file, knows_no_links, move_to_free_name, rename_to_free_name,
    replace_name,
};
use super::user_folder::UserFolder;
use super::user_folders::Missing;
use super::volume::Volume;
use super::{GoesOn, Put, paths, rename};
use crate::failpoint;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;
use towline_types::{DocumentId, DocumentPath, FileHash, UserId};

const WHAT: &str = "replace the file";

/// See [`TreeStorage::replace`](super::TreeStorage::replace).
pub(super) fn replace(
    volume: &Volume,
    id: DocumentId,
    (user, path): (UserId, &DocumentPath),
    old: DocumentId,
    (blake3, goes_on): (FileHash, GoesOn<'_>),
) -> Result<Put, StorageError> {
    volume.latch.refuse_if_closed()?;
    rename::require_staged(volume, id)?;
    let opening = |errno| StorageError::opening(WHAT, errno);
    let folder = volume.user_folders.open(user, path, Missing::Make).map_err(opening)?;
    let name = OsStr::new(path.filename().as_str());
    match folder.directory.stat(name) {
        Ok(stat) if is_plain_file(&stat) => {}
        Ok(_) => return Err(StorageError::Exists),
        Err(Errno::NOENT) => return rename::publish(volume, id, user, path, (blake3, goes_on)),
        Err(errno) => return Err(opening(errno)),
    }
    let mount_point = volume.user_folders.mount_points.innermost(&folder.path).map_err(opening)?;
    let versions = paths::versions(&mount_point, user);
    let versions = volume.user_folders.open_folder(&versions, Missing::Make).map_err(opening)?;
    let replacement = Replacement { volume, folder: &folder, name, versions: &versions, old };
    let put = if mount_point == Path::new("") {
        replacement.by_rename(&paths::staging_file(id))?
    } else {
        replacement.by_copy(id, blake3, goes_on)?
    };
    match put {
        Done::Put(put) => Ok(put),
        Done::NotTheOldOne => {
            let aside = rename::set_damaged_aside(volume, old, &paths::final_file(user, path))?;
            tracing::warn!(
                document_id = %old, place = %aside.display(),
                "the file in the place of a document is not the one that was uploaded; it was set aside"
            );
            rename::publish(volume, id, user, path, (blake3, goes_on))
        }
    }
}

struct Replacement<'a> {
    volume: &'a Volume,
    folder: &'a UserFolder,
    name: &'a OsStr,
    versions: &'a UserFolder,
    old: DocumentId,
}

enum Done {
    Put(Put),
    /// The version that is being replaced has its other name already, and in its place is another
    /// file.
    NotTheOldOne,
}

/// What became of the old file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It has both names.
    Linked,
    /// It could have one name only: its place is free.
    Moved,
    NotTheOldOne,
}

impl Replacement<'_> {
    fn by_rename(&self, staged: &str) -> Result<Done, StorageError> {
        let (staging, there) = (&*self.volume.staging.directory, &*self.folder.directory);
        let staged = OsStr::new(staged);
        let new = |errno| StorageError::new(WHAT, errno);
        // On a file system without a journal a power cut may bring the old name of the new file
        // back. The old version was kept before.
        let is_done = is_same_file(staging, staged, there, self.name).map_err(new)?;
        if is_done {
            self.sync_name()?;
            staging.remove(staged).map_err(new)?;
            return Ok(Done::Put(Put::InPlace));
        }
        match self.keep_old()? {
            Kept::NotTheOldOne => return Ok(Done::NotTheOldOne),
            Kept::Linked => {
                replace_name((staging, staged), (there, self.name)).map_err(new)?;
            }
            Kept::Moved => {
                let moved = move_to_free_name(staging, staged, there, self.name);
                if moved.map_err(rename::not_moved)? == Moved::OldNameStays {
                    self.sync_name()?;
                    staging.remove(staged).map_err(new)?;
                }
            }
        }
        failpoint::reach("replace.renamed");
        self.sync_name()?;
        failpoint::reach("replace.folder_synced");
        Ok(Done::Put(Put::InPlace))
    }

    /// As [`copy_to_volume::publish`], over the name of the old file: the staging file stays, and
    /// what a crash leaves is told by the bytes under the name.
    fn by_copy(
        &self,
        id: DocumentId,
        blake3: FileHash,
        goes_on: GoesOn<'_>,
    ) -> Result<Done, StorageError> {
        let there = &*self.folder.directory;
        let (staged, copy) = (paths::staging_file(id), paths::copy_in_final_folder(id));
        let (staged, copy) = (OsStr::new(&staged), OsStr::new(&copy));
        let names = copy_to_volume::Names { old: staged, copy, new: self.name };
        let (volume, folder, over) = (self.volume, self.folder, Taken::Replace);
        let named = match copy_to_volume::ready(volume, folder, names, over, (blake3, goes_on))? {
            Ready::Stopped => return Ok(Done::Put(Put::Stopped)),
            // An earlier call came as far as that; or the new bytes are the old ones, and then the
            // one file is both versions.
            Ready::InPlace => {
                let version = self.old.to_string();
                match self.versions.directory.stat(&version) {
                    Err(Errno::NOENT) => self.keep_old().map(|_| ()),
                    Ok(_) => Ok(()),
                    Err(errno) => Err(StorageError::new(WHAT, errno)),
                }
            }
            Ready::Copied => match self.keep_old() {
                Ok(Kept::NotTheOldOne) => {
                    let _ = there.remove(copy);
                    return Ok(Done::NotTheOldOne);
                }
                Ok(Kept::Linked | Kept::Moved) => replace_name((there, copy), (there, self.name))
                    .map_err(|errno| StorageError::new(WHAT, errno)),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = named {
            // Where the removal fails too, the next try removes it.
            let _ = there.remove(copy);
            return Err(error);
        }
        failpoint::reach("replace.renamed");
        self.sync_name()?;
        failpoint::reach("replace.folder_synced");
        Ok(Done::Put(Put::InPlace))
    }

    /// Gives the old file its name among the versions, and makes that durable.
    fn keep_old(&self) -> Result<Kept, StorageError> {
        let (there, versions) = (&*self.folder.directory, &*self.versions.directory);
        let version = self.old.to_string();
        let version = OsStr::new(&version);
        let new = |errno| StorageError::new(WHAT, errno);
        let kept = match add_name((there, self.name), (versions, version)) {
            Ok(()) => Kept::Linked,
            Err(Errno::EXIST) => {
                if !is_same_file(there, self.name, versions, version).map_err(new)? {
                    return Ok(Kept::NotTheOldOne);
                }
                Kept::Linked
            }
            Err(errno) if knows_no_links(errno) => {
                let moved = rename_to_free_name(there, self.name, versions, version);
                match moved {
                    Err(Errno::EXIST) => return Ok(Kept::NotTheOldOne),
                    moved => moved.map_err(new)?,
                }
                Kept::Moved
            }
            Err(errno) => return Err(new(errno)),
        };
        failpoint::reach("replace.kept");
        relocate::sync(self.volume, self.versions)?;
        self.sync_parents(self.versions)?;
        failpoint::reach("replace.kept_synced");
        Ok(kept)
    }

    fn sync_name(&self) -> Result<(), StorageError> {
        relocate::sync(self.volume, self.folder)?;
        self.sync_parents(self.folder)
    }

    fn sync_parents(&self, folder: &UserFolder) -> Result<(), StorageError> {
        let synced = self.volume.user_folders.sync_parents(folder, &self.volume.latch);
        synced.map_err(|error| relocate::on_its_volume(folder, error))
    }
}
