//! Where the bytes of documents lie, and the contract under which they lie there.
//!
//! [`Storage`] holds whole documents, [`Staging`] the bytes of one upload that
//! is not finished. Both speak of files and durability only: no doors, no users'
//! rights, no phases. Everything blocks; callers stand on a blocking thread.
//!
//! What an implementation owes its caller:
//!
//! - **A success is true (P5).** `Ok` from [`Staging::sync`] means that every byte
//!   whose `write_all_at` had returned before survives a power cut, and `Ok` from
//!   [`Storage::publish`] that the file, its name and every folder above it do.
//! - **Nothing is overwritten.** No method replaces what stands at a published
//!   name, and none deletes a file of which it is not told by document id.
//! - **A failed sync is final.** The volume then refuses every further change until
//!   the process starts anew, with [`StorageError::ReadOnly`]; reading goes on. A
//!   second sync is never asked, for it was measured to lie.
//! - **Killed anywhere, asked again.** Each method may be cut off by a crash and be
//!   called again with the same arguments; what it had done already is accepted.
//!
//! What the caller owes in return: one writer to a staging area at a time (the
//! lease sees to that), and no write once verification has begun.

mod contents;
mod copy;
mod directory;
mod disk;
mod error;
mod file;
mod folder;
mod free_name;
mod kept_folders;
mod latch;
mod marker;
mod other_volume;
mod paths;
mod publish;
mod space;
mod staging_file;
mod staging_folder;
mod survey;
mod turns;
mod unnamed;
mod unnamed_file;
mod user_folder;
mod user_folders;
mod volume;
mod volume_sync;

pub use contents::Contents;
pub use disk::DiskStorage;
pub use error::{Denial, Loss, Place, Resource, StorageError};
pub use folder::{DataFolder, Enclosing, FolderError, FolderLock, Look};
pub use marker::{Found, Marker, Part};
pub use survey::{Lying, Survey};

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, Offset, UserId};

/// A volume that keeps documents.
pub trait Storage: Send + Sync + 'static {
    /// Makes the staging area for a new upload and reserves its space.
    ///
    /// The area is empty. Its name is not durable yet: [`Staging::sync`] makes it so
    /// before the first durable offset is promised.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`] with the bytes that are missing, and then nothing is
    /// left behind. [`StorageError::Occupied`] where the id has a staging area.
    fn create(&self, id: DocumentId, filesize: FileSize) -> Result<Arc<dyn Staging>, StorageError>;

    /// Makes the staging area of an upload that is here whole, with its bytes in it, to
    /// be published at once. There need be no row yet: nothing was promised of it, so it
    /// may be [discarded](Self::discard) as long as it is not [opened](Self::open) again,
    /// for whatever reason.
    ///
    /// # Errors
    /// As [`create`](Self::create), and as [`Staging::write_all_at`]; nothing is left
    /// behind.
    fn create_whole(
        &self,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Arc<dyn Publishable>, StorageError>;

    /// The same for bytes that need not be durable before they have their final name. Of
    /// a crash before that nothing need be left.
    ///
    /// # Errors
    /// As [`create_whole`](Self::create_whole).
    fn create_nameless(
        &self,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Arc<dyn Publishable>, StorageError>;

    /// Makes the staging area of an upload as [`create_whole`](Self::create_whole) does, with
    /// the bytes of a file that lies here already: they share their place on the disk
    /// where the file system can do that, else they are copied. What lies in the area
    /// then was read and has that length and hash.
    ///
    /// `goes_on` hears how far it is, after each block, and says whether to go on.
    ///
    /// # Errors
    /// As [`create_whole`](Self::create_whole); nothing is left behind, nor where the
    /// answer is another than [`Copied::Whole`].
    fn create_copy(
        &self,
        id: DocumentId,
        source: &File,
        content: (FileSize, FileHash),
        goes_on: GoesOn<'_>,
    ) -> Result<Copied, StorageError>;

    /// Opens the staging area that an earlier run left. One that was
    /// [made whole](Self::create_whole) is from then on like all others.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where there is none, or no plain file we may use.
    fn open(&self, id: DocumentId) -> Result<Arc<dyn Staging>, StorageError>;

    /// Moves a staging area to its final name, for good.
    ///
    /// The caller has verified size and hash, made the bytes durable
    /// ([`Publishable::sync_data`]) and recorded the intent. On `Ok` the name is there
    /// and survives a power cut (P2, P3). Where the final name is this very file
    /// already, because a crash cut an earlier call off, the rest is done. Where the final
    /// folder is on another file system, the file is copied there, and must have that hash; the
    /// staging area is then still there, and the caller [discards](Self::discard) it when the
    /// row says that the document is completed. `goes_on` hears how far the copy is, before it
    /// begins and after each block, and says whether to go on; without a copy it is not asked.
    ///
    /// # Errors
    /// [`StorageError::Exists`] where another file has the name,
    /// [`StorageError::NotAFolder`] where a file stands in the way of a folder,
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

    /// Opens a published file for reading; nothing where there is none.
    ///
    /// # Errors
    /// [`StorageError::Unsafe`] where something else than a plain file has the name,
    /// [`StorageError::NotAFolder`] where a file stands in the way of a folder, and
    /// [`StorageError::Io`] where the file may not be read.
    fn published(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Published>, StorageError>;

    /// The size of the published file; nothing where there is none.
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

    /// Whether the folder of a document can be, or be made.
    ///
    /// # Errors
    /// [`StorageError::NotAFolder`] where a file stands in the way of it,
    /// [`StorageError::Unsafe`] where a link does.
    fn check_folder(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError>;

    /// Whether a file that is not in its place may be on a disk that is not mounted, or be
    /// hidden below one. `known` is what it was known by when it was last there. Else it was
    /// removed.
    ///
    /// # Errors
    /// Where the system does not say.
    fn may_be_unmounted(
        &self,
        user: UserId,
        path: &DocumentPath,
        known: Option<FileStamp>,
    ) -> Result<bool, StorageError>;

    /// A disk belongs at one of the folders of that document: the user's own, or the one to
    /// which `depth` of its folders lead. Nothing is published there from now on where that
    /// folder is empty and no disk is mounted at it.
    fn note_mount_point(&self, user: UserId, path: &DocumentPath, depth: u16);

    /// Makes a published file durable whose [`publish`](Self::publish) may have been
    /// cut off between the move and its promise. Twice is fine.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where there is no such file.
    fn settle_published(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError>;

    /// Makes everything durable that is on the volume: bytes, names and folders, and
    /// staging areas too. An error that the disk had at any time since the storage was
    /// opened is told, once.
    ///
    /// # Errors
    /// [`StorageError::ReadOnly`]: the volume is closed for changes from now on. What
    /// lies there may not be what was written, whatever memory says of it.
    fn sync_all(&self) -> Result<(), StorageError>;

    /// The same, where files were [renamed](Publishable::rename) to those places before the
    /// call, all of them: that their folders are durable is remembered. Whether the
    /// files are there is not looked at.
    ///
    /// # Errors
    /// As [`sync_all`](Self::sync_all).
    fn settle_all(&self, places: &[(UserId, DocumentPath)]) -> Result<(), StorageError>;

    /// Moves the file of a document that is not what was uploaded out of its place,
    /// and tells where it lies now, seen from the data folder. Nothing is deleted and
    /// nothing overwritten; on `Ok` both names are as they should be for good.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where there is no plain file in that place.
    fn set_damaged_aside(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<PathBuf, StorageError>;

    /// Opens a published file for reading from the device, as
    /// [`Staging::drop_cached`] says; nothing where there is none.
    ///
    /// # Errors
    /// As [`published`](Self::published).
    fn open_published(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<File>, StorageError>;

    /// Forgets a staging area. None there is fine.
    ///
    /// A crash may bring it back; recovery then discards it again.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    fn discard(&self, id: DocumentId) -> Result<(), StorageError>;

    /// The same, but only for one that was [made whole](Self::create_whole) and never
    /// opened since.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    fn discard_whole(&self, id: DocumentId) -> Result<(), StorageError>;

    /// Everything that lies among the staging areas, ours or not, in no order. What
    /// was set aside is not listed.
    ///
    /// # Errors
    /// Where the listing fails.
    fn staged(&self) -> Result<Vec<Staged>, StorageError>;

    /// Moves something from among the staging areas that no row knows out of the
    /// way. Nothing is deleted and nothing overwritten. Tells where it lies now,
    /// seen from the data folder.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where nothing has that name.
    fn set_aside(&self, name: &OsStr) -> Result<PathBuf, StorageError>;

    /// The same for the staging area of an upload; nothing where there is none.
    ///
    /// # Errors
    /// Where it cannot be moved.
    fn set_upload_aside(&self, id: DocumentId) -> Result<Option<PathBuf>, StorageError>;

    /// Whether there are folders of users, and what the highest of their numbers is.
    ///
    /// # Errors
    /// Where the listing fails.
    fn highest_user(&self) -> Result<Option<UserId>, StorageError>;

    /// The bytes an unprivileged process may still fill.
    ///
    /// # Errors
    /// Where the volume does not answer.
    fn free_bytes(&self) -> Result<u64, StorageError>;

    /// Whether a failed sync has closed the volume for changes.
    fn is_read_only(&self) -> bool;

    /// Closes the volume for changes until the process starts anew, as a failed sync
    /// does. For whoever else learns that writes are no longer kept: the catalog.
    fn make_read_only(&self);
}

/// A published file, held open for reading.
#[derive(Debug)]
pub struct Published {
    /// The file.
    pub file: File,
    /// How long it is.
    pub filesize: FileSize,
    /// What it is known by.
    pub stamp: FileStamp,
}

/// Hears how far a copy is, and says whether it goes on.
pub type GoesOn<'a> = &'a mut dyn FnMut(Offset) -> bool;

/// How a [publishing](Storage::publish) ended, where nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The file is in its place, for good.
    InPlace,
    /// It has to be copied, and the copy was not to go on. Nothing of it is left.
    Stopped,
}

/// How making a [copy](Storage::create_copy) ended.
pub enum Copied {
    /// The bytes are there.
    Whole(Arc<dyn Publishable>),
    /// What could be copied are other bytes: the source is damaged, or another file.
    OtherBytes,
    /// It was not to go on.
    Stopped,
}

/// A name that a file has got just now.
pub trait NewName: Send {
    /// Makes it durable, and those of the folders above it (P3). Names in one folder
    /// that were given before share a sync.
    ///
    /// # Errors
    /// [`StorageError::SyncFailed`], [`StorageError::ReadOnly`]: whether it is durable
    /// cannot be known any more.
    fn settle(self: Box<Self>) -> Result<(), StorageError>;
}

/// Bytes that a file can get its final name with.
pub trait Publishable: Send + Sync {
    /// Asks the kernel to begin writing these bytes to the device, so that the sync
    /// to come finds little left to do. Promises nothing.
    fn start_writeback(&self, from: Offset, length_bytes: u64);

    /// What the file is known by, under any name.
    fn inode(&self) -> u64;

    /// The same and when it was last written to: what it is known by from now on, if
    /// nobody writes to it. Nothing where the system does not say.
    fn stamp(&self) -> Option<FileStamp>;

    /// Makes every written byte durable, but not the staging area's name. For the sync
    /// right before [`Storage::publish`], which gives the file a name of its own and
    /// makes that one durable: a small file that is published at once is spared a
    /// sync of the staging folder. Never enough for a durable offset.
    ///
    /// # Errors
    /// As [`Staging::sync`].
    fn sync_data(&self) -> Result<(), StorageError>;

    /// The first step of [`Storage::publish`]: the staging area gets its final name, which
    /// may not survive a power cut before it is [settled](NewName::settle). Nothing where
    /// that is not possible there: then nothing has happened, and there is only
    /// [`publish`](Storage::publish).
    ///
    /// # Errors
    /// As [`Storage::publish`].
    fn rename(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Box<dyn NewName>>, StorageError>;
}

/// The bytes of one upload that is not finished, under one open descriptor from
/// the first write to the publishing: an error of write-back is told only to
/// descriptors that were open when it happened.
pub trait Staging: Publishable {
    /// Writes all the bytes at that position, over whatever was there.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`] with the bytes of this call that found no room. After
    /// an error some of the bytes may have been written: received, not durable.
    fn write_all_at(&self, bytes: &[u8], at: Offset) -> Result<(), StorageError>;

    /// Fills the buffer from that position.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], at: Offset) -> Result<(), StorageError>;

    /// Drops what memory holds of the bytes, as far as they are on the device: what is
    /// read next is what the device has kept. For bytes of an earlier run, whose memory
    /// may vouch for what a failed write-back has lost (P5).
    fn drop_cached(&self);

    /// Makes every written byte durable, and the staging area's name. What a durable
    /// offset rests on (P1): bytes without a name are as lost as bytes unwritten.
    ///
    /// # Errors
    /// [`StorageError::SyncFailed`] once where it was the bytes, and
    /// [`StorageError::ReadOnly`] where it was the name; the volume is then closed for
    /// changes, and any later call says the latter without asking the kernel again.
    fn sync(&self) -> Result<(), StorageError>;

    /// How long the file is now. Never a durable offset: after a power cut it was
    /// measured to be more than what had been synced.
    ///
    /// # Errors
    /// Where the file system does not answer.
    fn length_bytes(&self) -> Result<u64, StorageError>;

    /// Drops everything from that position on. A file that ends there or before is
    /// left as it is, never made longer. Space reserved behind is given back; see
    /// [`reserve`](Self::reserve).
    ///
    /// # Errors
    /// Where the file cannot be cut.
    fn truncate(&self, end: Offset) -> Result<(), StorageError>;

    /// Reserves the space of a whole file of that size, as [`Storage::create`] does,
    /// for an upload that goes on after recovery.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`] with the bytes that are missing; what is there stays.
    fn reserve(&self, filesize: FileSize) -> Result<(), StorageError>;

    /// Verifies that the staging area is still this very file, plain and ours to
    /// read and write, and exactly as long as the finished document.
    ///
    /// # Errors
    /// [`StorageError::Lost`] with the difference.
    fn check(&self, filesize: FileSize) -> Result<(), StorageError>;

    /// As [`check`](Self::check), for an upload under way: at least `durable` bytes.
    ///
    /// # Errors
    /// [`StorageError::Lost`] with the difference.
    fn check_holds(&self, durable: Offset) -> Result<(), StorageError>;
}

/// One thing that lies among the staging areas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its name there.
    pub name: OsString,
    /// Whose staging area it is; nothing where it is not one of ours.
    pub id: Option<DocumentId>,
    /// It was [made whole](Storage::create_whole): nobody was promised anything of it.
    pub is_whole: bool,
    /// How long it is.
    pub length_bytes: u64,
}
