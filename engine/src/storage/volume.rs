//! What a storage and all of its staging files share.

use super::error::{Denial, Loss, Place, StorageError};
use super::latch::Latch;
use super::rename_no_replace::{Moved, move_to_free_name};
use super::staging_folder::StagingFolder;
use super::unnamed::UnnamedFiles;
use super::user_folders::UserFolders;
use super::volume_sync::VolumeSync;
use super::{paths, space};
use rustix::io::Errno;
use std::ffi::OsStr;
use towline_types::{DocumentId, DocumentPath, UserId};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) staging: StagingFolder,
    pub(super) sync: VolumeSync,
    pub(super) user_folders: UserFolders,
    pub(super) latch: Latch,
    pub(super) reserve_bytes: u64,
    /// Whether write-back is begun while bytes come.
    pub(super) is_paced: bool,
    pub(super) unnamed: UnnamedFiles,
}

impl Volume {
    /// An error with what its readers have to know besides: where it was, and which
    /// resource is used up.
    pub(super) fn explain(
        &self,
        error: StorageError,
        place: impl FnOnce() -> Place,
    ) -> StorageError {
        match error {
            StorageError::Io { source, .. }
                if Errno::from_io_error(&source) == Some(Errno::NOENT)
                    && let Some(place) = self.removed_folder() =>
            {
                StorageError::FolderRemoved { place, source }
            }
            error => space::name_resource(error, &self.staging.directory).at(place),
        }
    }

    /// The folder that this holds open and that was removed.
    fn removed_folder(&self) -> Option<Place> {
        if self.user_folders.were_removed() {
            Some(Place { path: paths::UPLOADS.into(), document: None })
        } else {
            self.staging.directory.was_removed().then(paths::staging_place)
        }
    }

    /// The same for the place of a document. Where that is on another file system, which
    /// takes no changes, only this place is read-only: the rest is not.
    pub(super) fn explain_final(
        &self,
        error: StorageError,
        user: UserId,
        path: &DocumentPath,
    ) -> StorageError {
        let error = match error {
            StorageError::ReadOnly
                if !self.latch.is_closed() && self.user_folders.is_elsewhere(user, path) =>
            {
                let (place, source) = (Place::default(), Errno::ROFS.into());
                let denial = Denial::ReadOnly;
                StorageError::Refused { what: "publish the file", denial, place, source }
            }
            error => error,
        };
        self.explain(error, || paths::final_place(user, path))
    }

    pub(super) fn remove_staged(&self, name: &str) -> Result<(), StorageError> {
        self.latch.refuse_if_closed()?;
        match self.staging.directory.remove(name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => Err(StorageError::Lost(Loss::NotAFile)),
            Err(errno) => Err(StorageError::new("remove the staging file", errno)),
        }
    }

    /// What came whole and was cut off on its way becomes a staging file like all others, of
    /// which something may be promised. Says whether there was any. To be asked only where
    /// there is no such staging file.
    pub(super) fn adopt_whole(&self, id: DocumentId) -> Result<bool, StorageError> {
        const WHAT: &str = "take up the staging file";
        let staging = &self.staging.directory;
        let (whole, name) = (paths::whole_file(id), paths::staging_file(id));
        match staging.stat(&whole) {
            Err(Errno::NOENT) => return Ok(false),
            answer => answer.map_err(|errno| StorageError::new(WHAT, errno))?,
        };
        self.latch.refuse_if_closed()?;
        let moved = match move_to_free_name(staging, OsStr::new(&whole), staging, OsStr::new(&name))
        {
            Ok(Moved::OldNameStays) => staging.remove(&whole),
            Ok(Moved::Renamed) => Ok(()),
            Err(errno) => Err(errno),
        };
        moved.map_err(|errno| StorageError::new(WHAT, errno))?;
        Ok(true)
    }
}
