//! Documents on a local file system.

use super::error::{Loss, StorageError};
use super::file::DiskFile;
use super::folder::FolderLock;
use super::latch::Latch;
use super::staging_file::StagingFile;
use super::staging_folder::StagingFolder;
use super::unnamed::UnnamedFiles;
use super::unnamed_file::UnnamedFile;
use super::user_folders::UserFolders;
use super::volume::Volume;
use super::volume_sync::{self, VolumeSync};
use super::{
    Copied, CopyStorage, DeferredStorage, Deleted, Entry, GoesOn, Judge, LocalDisk, Publishable,
    Published, Put, Spot, Staged, Staging, Storage, Stray, TreeStorage,
};
use super::{copy, delete, make_folder, paths, relocate, rename, replace, space, spots};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, Name, NodeId, UserId};

/// Documents in the data folder of a local file system.
#[derive(Debug)]
pub struct DiskStorage {
    volume: Arc<Volume>,
}

/// When written bytes go to the device.
#[derive(Clone, Copy)]
enum Pace {
    /// While they come, so that the next checkpoint finds little left to do.
    Ours,
    /// When the kernel likes: durability is relaxed.
    Kernel,
}

impl DiskStorage {
    /// Keeps documents in the locked folder. New uploads leave `reserve_bytes` of the
    /// volume free: the catalog must be able to grow on a disk full of files.
    ///
    /// The lock is shown and not taken: it must outlive the storage *and* the catalog.
    #[must_use]
    pub fn new(lock: &FolderLock, reserve_bytes: u64) -> Self {
        Self::over(lock, reserve_bytes, Pace::Ours)
    }

    /// The same, but when written bytes go to the device is left to the kernel: for a
    /// server that does not promise durability at once and wants the page cache's speed.
    #[must_use]
    pub fn unpaced(lock: &FolderLock, reserve_bytes: u64) -> Self {
        Self::over(lock, reserve_bytes, Pace::Kernel)
    }

    /// Whether many files can be [made durable](DeferredStorage::sync_deferred) by one sync there: it
    /// takes a kernel and a file system that tell of every error, and that rename
    /// without replacing. Else durability cannot be relaxed.
    #[must_use]
    pub fn can_defer_sync(lock: &FolderLock) -> bool {
        volume_sync::is_believed(&lock.folder().staging())
    }

    fn explain_staged(&self, error: StorageError, name: &str) -> StorageError {
        self.volume.explain(error, || paths::staged_place(OsStr::new(name)))
    }

    fn over(lock: &FolderLock, reserve_bytes: u64, pace: Pace) -> Self {
        let folder = lock.folder();
        let (is_paced, unnamed) = match pace {
            Pace::Ours => (true, UnnamedFiles::none()),
            Pace::Kernel => (false, UnnamedFiles::wanted()),
        };
        Self {
            volume: Arc::new(Volume {
                staging: StagingFolder::new(folder.staging()),
                sync: VolumeSync::over(folder.staging()),
                user_folders: UserFolders::new(folder.uploads()),
                latch: Latch::default(),
                reserve_bytes,
                is_paced,
                unnamed,
            }),
        }
    }
}

fn published((file, filesize, stamp): (File, FileSize, FileStamp)) -> Published {
    Published::new(filesize, stamp, Box::new(DiskFile(file)))
}

impl Storage for DiskStorage {
    fn create(&self, id: DocumentId, filesize: FileSize) -> Result<Arc<dyn Staging>, StorageError> {
        let made = StagingFile::create(&self.volume, id, filesize);
        Ok(Arc::new(made.map_err(|error| self.explain_staged(error, &paths::staging_file(id)))?))
    }

    fn create_whole(
        &self,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Arc<dyn Publishable>, StorageError> {
        let made = StagingFile::create_whole(&self.volume, id, bytes);
        Ok(Arc::new(made.map_err(|error| self.explain_staged(error, &paths::whole_file(id)))?))
    }

    fn open(&self, id: DocumentId) -> Result<Arc<dyn Staging>, StorageError> {
        let opened = StagingFile::open(&self.volume, id);
        Ok(Arc::new(opened.map_err(|error| self.explain_staged(error, &paths::staging_file(id)))?))
    }

    fn publish(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        blake3: FileHash,
        goes_on: GoesOn<'_>,
    ) -> Result<Put, StorageError> {
        let published = rename::publish(&self.volume, id, user, path, (blake3, goes_on));
        published.map_err(|error| self.volume.explain_final(error, user, path))
    }

    fn published(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Published>, StorageError> {
        let found = self.volume.user_folders.published(user, path);
        let found = found.map_err(|error| error.at(|| paths::final_place(user, path)))?;
        Ok(found.map(published))
    }

    fn sync_published(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError> {
        rename::sync_published(&self.volume, user, path)
            .map_err(|error| error.at(|| paths::final_place(user, path)))
    }

    fn discard(&self, id: DocumentId) -> Result<(), StorageError> {
        self.discard_whole(id)?;
        self.volume.remove_staged(&paths::staging_file(id))
    }

    fn discard_whole(&self, id: DocumentId) -> Result<(), StorageError> {
        self.volume.remove_staged(&paths::whole_file(id))
    }

    fn staged(&self) -> Result<Vec<Staged>, StorageError> {
        self.volume.staging.all(|entry| entry.upload)
    }

    fn free_bytes(&self) -> Result<u64, StorageError> {
        space::free_bytes(&self.volume.staging.directory)
    }

    fn latch(&self) -> &Latch {
        &self.volume.latch
    }

    fn check_folder(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError> {
        let checked = self.volume.user_folders.check(user, path);
        checked.map_err(|error| error.at(|| paths::final_place(user, path)))
    }

    fn deferred(&self) -> Option<&dyn DeferredStorage> {
        Some(self)
    }

    fn copies(&self) -> Option<&dyn CopyStorage> {
        Some(self)
    }

    fn local_disk(&self) -> Option<&dyn LocalDisk> {
        Some(self)
    }
}

impl TreeStorage for DiskStorage {
    fn make_folder(&self, user: UserId, folder: &DocumentPath) -> Result<(), StorageError> {
        make_folder::make(&self.volume, user, folder)
            .map_err(|error| self.volume.explain_final(error, user, folder))
    }

    fn replace(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        old: DocumentId,
        blake3: FileHash,
        goes_on: GoesOn<'_>,
    ) -> Result<Put, StorageError> {
        let put = replace::replace(&self.volume, id, (user, path), old, (blake3, goes_on));
        put.map_err(|error| self.volume.explain_final(error, user, path))
    }

    fn relocate(&self, user: UserId, from: &Spot, to: &Spot) -> Result<(), StorageError> {
        let place = if let Spot::Living(_) = to { to } else { from };
        relocate::relocate(&self.volume, user, from, to)
            .map_err(|error| self.volume.explain(error, || spots::place(user, place)))
    }

    fn is_there(&self, user: UserId, spot: &Spot) -> Result<Option<Entry>, StorageError> {
        let found = spots::entry(&self.volume.user_folders, user, spot);
        found.map_err(|error| error.at(|| spots::place(user, spot)))
    }

    fn open_spot(
        &self,
        user: UserId,
        spot: &Spot,
        below: &[Name],
    ) -> Result<Option<Published>, StorageError> {
        let opened = spots::open(&self.volume.user_folders, user, spot, below);
        let found = opened.map_err(|error| error.at(|| spots::place(user, spot)))?;
        Ok(found.map(published))
    }

    fn delete_trash(
        &self,
        user: UserId,
        node: NodeId,
        judge: Judge<'_>,
    ) -> Result<Deleted, StorageError> {
        let place = || spots::place(user, &Spot::Trash(node));
        delete::trash(&self.volume, user, node, judge)
            .map_err(|error| self.volume.explain(error, place))
    }

    fn delete_versions(&self, user: UserId, versions: &[DocumentId]) -> Result<(), StorageError> {
        let place = || paths::kept_place(&paths::versions(Path::new(""), user));
        delete::versions(&self.volume, user, versions)
            .map_err(|error| self.volume.explain(error, place))
    }
}

/// Also where durability is not relaxed: an earlier run, with another setting, may have left
/// documents whose bytes are not durable.
impl DeferredStorage for DiskStorage {
    fn create_unnamed(
        &self,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Arc<dyn Publishable>, StorageError> {
        match self.volume.unnamed.link_method(&self.volume.staging.directory) {
            Some(method) => {
                let made = UnnamedFile::create(&self.volume, method, bytes);
                let explained = |error| self.volume.explain(error, paths::staging_place);
                Ok(Arc::new(made.map_err(explained)?))
            }
            None => self.create_whole(id, bytes),
        }
    }

    fn sync_all(&self) -> Result<(), StorageError> {
        rename::sync_all(&self.volume)
    }

    fn sync_deferred(&self, places: &[(UserId, DocumentPath)]) -> Result<(), StorageError> {
        rename::sync_deferred(&self.volume, places)
    }
}

impl CopyStorage for DiskStorage {
    fn create_copy(
        &self,
        id: DocumentId,
        source: &Published,
        content: (FileSize, FileHash),
        goes_on: GoesOn<'_>,
    ) -> Result<Copied, StorageError> {
        let copied = copy::create(&self.volume, id, source, content, goes_on);
        copied.map_err(|error| self.explain_staged(error, &paths::whole_file(id)))
    }
}

impl LocalDisk for DiskStorage {
    fn strays(&self) -> Result<Vec<Stray>, StorageError> {
        self.volume.staging.all(|entry| match entry.upload {
            Some(_) => None,
            None => Some(Stray { name: entry.name }),
        })
    }

    fn set_stray_aside(&self, stray: &Stray) -> Result<PathBuf, StorageError> {
        rename::set_aside(&self.volume, &stray.name)
    }

    fn set_upload_aside(&self, id: DocumentId) -> Result<Option<PathBuf>, StorageError> {
        for name in [paths::staging_file(id), paths::whole_file(id)] {
            // Where there is nothing to move, no folder is made for it.
            if let Err(Errno::NOENT) = self.volume.staging.directory.stat(&name) {
                continue;
            }
            match rename::set_aside(&self.volume, OsStr::new(&name)) {
                Err(StorageError::Lost(Loss::Missing)) => {}
                set_aside => return set_aside.map(Some),
            }
        }
        Ok(None)
    }

    fn set_damaged_aside(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<PathBuf, StorageError> {
        rename::set_damaged_aside(&self.volume, id, &paths::final_file(user, path))
    }

    fn set_damaged_kept_aside(
        &self,
        id: DocumentId,
        user: UserId,
        spot: &Spot,
        below: &[Name],
    ) -> Result<PathBuf, StorageError> {
        let found = spots::find(&self.volume.user_folders, user, spot)?;
        let (location, _) = found.ok_or(StorageError::Lost(Loss::Missing))?;
        let mut path = location.path();
        path.extend(below.iter().map(Name::as_str));
        rename::set_damaged_aside(&self.volume, id, &path)
    }

    fn may_be_unmounted(
        &self,
        user: UserId,
        path: &DocumentPath,
        known: Option<FileStamp>,
    ) -> Result<bool, StorageError> {
        self.volume.user_folders.may_be_unmounted(user, path, known)
    }

    fn note_mount_point(&self, user: UserId, path: &DocumentPath, depth: u16) {
        self.volume.user_folders.note_mount_point(user, path, depth);
    }

    fn highest_user(&self) -> Result<Option<UserId>, StorageError> {
        self.volume.user_folders.highest()
    }
}

#[cfg(test)]
mod tests;
