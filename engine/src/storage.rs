//! Where the bytes of documents lie, and the contract under which they lie there.
//!
//! [`Storage`] holds whole documents, [`Staging`] the bytes of one upload that is not
//! finished, and [`Published`] is a document that is held open for reading. They speak of
//! bytes and durability only: no doors, no rights of users, no phases. Every method blocks;
//! callers are on a thread that may block.
//!
//! # The contract and its extensions
//!
//! A store implements [`Storage`] with [`TreeStorage`], [`Staging`] and [`Publishable`]. Methods with a body are
//! right for every store, and a store overrides them where it can do better. What not every
//! store can do is a trait of its own, which the store hands out:
//!
//! | trait | reached by | without it |
//! | --- | --- | --- |
//! | [`DeferredStorage`] | [`Storage::deferred`] | durability is never relaxed: a name is given to durable bytes only |
//! | [`CopyStorage`] | [`Storage::copies`] | a client sends bytes that the store has under another name once more |
//! | [`LocalDisk`] | [`Storage::local_disk`] | nothing lies in the store but what was put there by this contract: there is nothing to set aside, and no disk that could be missing |
//!
//! [`DiskStorage`] has all of them. [`MemoryStorage`] has none, and is the shortest complete
//! implementation.
//!
//! # What an implementation promises
//!
//! - **A success is true (P5).** `Ok` from [`Staging::sync`] means that every byte
//!   whose `write_all_at` had returned before survives a power cut, and `Ok` from
//!   [`Storage::publish`] that the file, its name and every folder above it do (P2, P3). A
//!   checkpoint can only be recorded with the [`Synced`] that [`Synced::by_sync_of`] makes by such
//!   a sync (P1).
//! - **Nothing is overwritten.** No method but [`TreeStorage::replace`] gives a name that is taken,
//!   and that one keeps the file that had the name. None deletes a file of which the caller has not
//!   said that it knows it.
//! - **A failed sync is final.** The [`Latch`] of the store closes: every further change is
//!   refused with [`StorageError::ReadOnly`] until the process starts anew; reading goes on. A
//!   sync that failed is never repeated, for the second was measured to say OK of lost data.
//! - **Killed anywhere, called again (P4).** A crash may cut off each method, and the next run
//!   may call it again with the same arguments; what was done already is accepted.
//!
//! What the caller promises in return: one writer to a staging area at a time (the lease
//! ensures that), no write once verification has begun, and no move of a folder while a document in
//! it [gets its name](self::tree).
//!
//! The bodies of the tests in `storage/contract/` hold every implementation to this.

mod contents;
#[cfg(test)]
mod contract;
mod copies;
mod copy;
mod copy_to_volume;
mod deferred;
mod delete;
mod directory;
mod disk;
mod durable_folders;
mod error;
mod file;
mod folder;
mod group_sync;
mod history_file;
mod latch;
mod local_disk;
mod make_folder;
mod marker;
mod memory;
mod mount_list;
mod mount_points;
mod path_error;
mod paths;
mod published;
mod recent_folders;
mod relocate;
mod rename;
mod rename_no_replace;
mod replace;
mod reserved_space;
pub(crate) mod rights;
mod scan;
mod space;
mod spots;
mod staging;
mod staging_file;
mod staging_folder;
mod synced;
mod tree;
mod unnamed;
mod unnamed_file;
mod user_folder;
mod user_folders;
mod volume;
mod volume_sync;

pub use contents::Contents;
pub use copies::{Copied, CopyStorage};
pub use deferred::DeferredStorage;
pub use disk::DiskStorage;
pub use error::{Denial, Loss, Place, Resource, StorageError};
pub use folder::{DataFolder, Enclosing, FolderError, FolderLock, Look};
pub(crate) use history_file::SeenHistory;
pub use latch::Latch;
pub use local_disk::{LocalDisk, Stray};
pub use marker::{Found, Marker, Part};
pub use memory::MemoryStorage;
pub use path_error::PathError;
pub use published::{FileLook, Published, RangeReader, ReadAt};
pub use rights::{OutsideFile, RightsFault, RightsFaultKind};
pub use scan::{DataFolderScan, FoundFile, FoundPlace};
pub(crate) use space::wanted_bytes;
pub use staging::{NewName, Publishable, Staging};
pub use staging_folder::StagedEntry;
pub use synced::Synced;
pub use tree::{Deleted, Entry, Judge, Spot, TreeStorage, Verdict};

use std::ops::Range;
use std::sync::Arc;
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, Offset, UserId};

/// A store that keeps documents.
pub trait Storage: TreeStorage + Send + Sync + 'static {
    /// Makes the staging area for a new upload, where there is room for a file of that size now.
    /// A store may reserve space as bytes come, and never much more than has come (P6): the rest
    /// may be taken by others meanwhile.
    ///
    /// The area is empty. Its name is not durable yet: [`Staging::sync`] makes it so
    /// before the first durable offset is promised (P1).
    ///
    /// # Errors
    /// [`StorageError::NoSpace`] with the bytes that are missing, and then nothing is
    /// left behind. [`StorageError::Occupied`] where the id has a staging area.
    fn create(&self, id: DocumentId, filesize: FileSize) -> Result<Arc<dyn Staging>, StorageError>;

    /// Makes the staging area of an upload whose bytes are all here, with these bytes in it, to
    /// be published at once. There need be no row yet: nothing was promised of it, so it may be
    /// [discarded](Self::discard_whole) as long as it is not [opened](Self::open) again.
    ///
    /// # Errors
    /// As [`create`](Self::create), and as [`Staging::write_all_at`]; nothing is left
    /// behind.
    fn create_whole(
        &self,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Arc<dyn Publishable>, StorageError>;

    /// Opens the staging area that an earlier run left. One that was
    /// [made whole](Self::create_whole) is from then on like all others.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where there is none, or where it is not the plain file that was
    /// made.
    fn open(&self, id: DocumentId) -> Result<Arc<dyn Staging>, StorageError>;

    /// Moves a staging area to its final name, for good.
    ///
    /// The caller has verified size and hash, made the bytes durable
    /// ([`Publishable::sync_data`]) and recorded the intent. On `Ok` the name is there
    /// and survives a power cut (P2, P3). Where the final name is this very file
    /// already, because a crash cut an earlier call off, the rest is done.
    ///
    /// A store may have to copy the bytes to where documents lie (a disk does where another disk
    /// is mounted there). The copy must have the hash `blake3`; the staging area is then still
    /// there, and the caller [discards](Self::discard) it when the row says that the document is
    /// completed (P1). `goes_on` is called with the number of copied bytes, before the copy
    /// begins and after each block, and returns whether to go on; without a copy it is not
    /// called.
    ///
    /// # Errors
    /// [`StorageError::Exists`] where another file has the name,
    /// [`StorageError::NotAFolder`] where a file has the name of one of the folders,
    /// [`StorageError::Lost`] where the staging area is gone. In each of these the
    /// staging area, if there, is untouched and another name may be tried.
    fn publish(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        blake3: FileHash,
        goes_on: GoesOn<'_>,
    ) -> Result<Put, StorageError>;

    /// Opens a published file for reading; `None` where there is none. What the store holds in
    /// memory of it stays there.
    ///
    /// # Errors
    /// [`StorageError::Unsafe`] where something else than a plain file has the name,
    /// [`StorageError::NotAFolder`] where a file has the name of one of the folders, and
    /// [`StorageError::Io`] where the file may not be read.
    fn published(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Published>, StorageError>;

    /// Makes a published file durable, with its name and the folders above it, after a crash
    /// that may have cut off its [`publish`](Self::publish) between the move and the syncs.
    /// Calling it twice is fine.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where there is no such file, [`StorageError::SyncFailed`] and
    /// [`StorageError::ReadOnly`] as for [`Staging::sync`].
    fn sync_published(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError>;

    /// Deletes a staging area, however it was made. That there is none is fine. A crash may
    /// bring it back; recovery then discards it again.
    ///
    /// # Errors
    /// Where it cannot be removed.
    fn discard(&self, id: DocumentId) -> Result<(), StorageError>;

    /// Deletes a staging area that was [made whole](Self::create_whole) and never opened
    /// since; one of which something may have been promised stays (P1).
    ///
    /// # Errors
    /// Where it cannot be removed.
    fn discard_whole(&self, id: DocumentId) -> Result<(), StorageError>;

    /// All staging areas, in no order. An id may be there twice, once
    /// [made whole](Self::create_whole) and once not.
    ///
    /// # Errors
    /// Where the listing fails.
    fn staged(&self) -> Result<Vec<Staged>, StorageError>;

    /// The bytes that can still be written to the store.
    ///
    /// # Errors
    /// Where the store does not answer.
    fn free_bytes(&self) -> Result<u64, StorageError>;

    /// The latch that ends all changes. A failed sync closes it, and so does the engine where
    /// the catalog learns that writes are not kept any more (P5).
    fn latch(&self) -> &Latch;

    /// Whether a document can be put into its folder, as far as can be told before its bytes
    /// come: [`publish`](Self::publish) decides.
    ///
    /// # Errors
    /// [`StorageError::NotAFolder`] where a file has the name of one of the folders,
    /// [`StorageError::Unsafe`] where a link does.
    fn check_folder(&self, _user: UserId, _path: &DocumentPath) -> Result<(), StorageError> {
        Ok(())
    }

    /// The bytes of a published file from the beginning of `range` to its end, or to the end of
    /// the file where that comes first; `None` where there is no such file.
    ///
    /// # Errors
    /// As [`published`](Self::published). The reader itself fails where the bytes cannot be
    /// read.
    fn read(
        &self,
        user: UserId,
        path: &DocumentPath,
        range: Range<Offset>,
    ) -> Result<Option<RangeReader>, StorageError> {
        Ok(self.published(user, path)?.map(|published| published.into_reader(range)))
    }

    /// The size of the published file; `None` where there is none.
    ///
    /// # Errors
    /// As [`published`](Self::published).
    fn published_size(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<FileSize>, StorageError> {
        Ok(self.published(user, path)?.map(|published| published.filesize))
    }

    /// Names for bytes that are not durable yet, where the store can make them durable later.
    fn deferred(&self) -> Option<&dyn DeferredStorage> {
        None
    }

    /// Staging areas made from published files, where the store can do that.
    fn copies(&self) -> Option<&dyn CopyStorage> {
        None
    }

    /// What there is only where the store is a folder that other programs can reach.
    fn local_disk(&self) -> Option<&dyn LocalDisk> {
        None
    }
}

/// Is called with the number of bytes that are copied, and returns whether the copy goes on.
pub type GoesOn<'a> = &'a mut dyn FnMut(Offset) -> bool;

/// How a [publishing](Storage::publish) ended, where nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The file is in its place, for good.
    InPlace,
    /// It has to be copied, and the copy was not to go on. Nothing of the copy is left.
    Stopped,
}

/// A staging area in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Staged {
    /// The upload that it belongs to.
    pub id: DocumentId,
    /// It was [made whole](Storage::create_whole): nothing was promised of it.
    pub is_whole: bool,
    /// How many bytes long it is.
    pub length_bytes: u64,
}
