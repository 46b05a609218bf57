//! The bytes of one upload: what a store does with them until they are published.

use super::StorageError;
use super::error::Loss;
use towline_state::catalog::FileStamp;
use towline_types::{DocumentPath, FileSize, Offset, UserId};

/// Bytes that a file can get its final name with.
pub trait Publishable: Send + Sync {
    /// A number that stays with these bytes under any name, and that no other file of the store
    /// has at the same time. On a disk it is the inode number.
    fn file_number(&self) -> u64;

    /// What the published file is known by from now on, as long as it is not written to;
    /// `None` where the store does not say.
    fn stamp(&self) -> Option<FileStamp>;

    /// Makes every written byte durable, but not the staging area's name. For the sync right
    /// before [`Storage::publish`](super::Storage::publish), which gives the file a name of its
    /// own and makes that durable (P2): a small file that is published at once is spared the
    /// sync of the staging area's name. Never enough for a durable offset, so no [`Synced`] is
    /// returned.
    ///
    /// # Errors
    /// As [`Staging::sync`].
    fn sync_data(&self) -> Result<(), StorageError>;

    /// Has the store begin to write these bytes to the device, so that the sync to come finds
    /// little left to do. Promises nothing.
    fn start_writeback(&self, _from: Offset, _length_bytes: u64) {}

    /// The first step of [`Storage::publish`](super::Storage::publish) alone: the bytes get
    /// their final name, which may not survive a power cut before [`NewName::sync_name`]. So
    /// many new names share a sync. `None` where the store cannot do that for this place: then
    /// nothing has happened, and the caller uses [`Storage::publish`](super::Storage::publish).
    ///
    /// # Errors
    /// As [`Storage::publish`](super::Storage::publish).
    fn rename(
        &self,
        _user: UserId,
        _path: &DocumentPath,
    ) -> Result<Option<Box<dyn NewName>>, StorageError> {
        Ok(None)
    }
}

/// A name that a file has got just now.
pub trait NewName: Send {
    /// Makes the name durable, and those of the folders above it (P3). Names that were given in
    /// the same folder before share the sync.
    ///
    /// # Errors
    /// [`StorageError::SyncFailed`], [`StorageError::ReadOnly`]: whether the name is durable
    /// cannot be known any more.
    fn sync_name(self: Box<Self>) -> Result<(), StorageError>;
}

/// The bytes of one upload that is not finished. The store holds them open from the first write
/// to the publishing: a disk tells an error of write-back only to descriptors that were open
/// when it happened (P5).
pub trait Staging: Publishable {
    /// Writes all the bytes at that position, over what was there.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`] with the bytes of this call that found no room. After
    /// an error some of the bytes may have been written: received, not durable.
    fn write_all_at(&self, bytes: &[u8], at: Offset) -> Result<(), StorageError>;

    /// Fills the buffer from that position.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where the staging area ends before.
    fn read_exact_at(&self, buffer: &mut [u8], at: Offset) -> Result<(), StorageError>;

    /// Makes every written byte durable, and the staging area's name. A durable offset rests on
    /// both (P1): bytes without a name are as lost as bytes that were not written. To record such
    /// an offset takes the proof that [`Synced::by_sync_of`](super::Synced::by_sync_of) makes by
    /// this call.
    ///
    /// # Errors
    /// [`StorageError::SyncFailed`] once where it was the bytes, and
    /// [`StorageError::ReadOnly`] where it was the name; the store is then closed for
    /// changes, and any later call says the latter without another try.
    fn sync(&self) -> Result<(), StorageError>;

    /// How many bytes long the staging area is now. Never a durable offset: after a power cut
    /// it was measured to be more than what had been synced.
    ///
    /// # Errors
    /// Where the store does not answer.
    fn length_bytes(&self) -> Result<u64, StorageError>;

    /// Drops everything from that position on. A staging area that ends there or before is
    /// left as it is, never made longer. Space that was reserved
    /// behind is given back where something is cut off.
    ///
    /// # Errors
    /// Where it cannot be cut.
    fn truncate(&self, end: Offset) -> Result<(), StorageError>;

    /// Sees to it that there is room for a whole file of that size now, as
    /// [`Storage::create`](super::Storage::create) does, for an upload that goes on, or whose size
    /// is another one from now on.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`] with the bytes that are missing; what is there stays.
    fn require_room(&self, filesize: FileSize) -> Result<(), StorageError>;

    /// Gives back the space that is reserved behind the last byte. For an upload of which no byte
    /// comes for a while; no other thread writes to it meanwhile.
    fn give_back_room(&self) {}

    /// Drops what memory holds of the bytes, as far as they are on the device: what is
    /// read next is what the device has kept. For bytes of an earlier run, whose memory
    /// may hold what a failed write-back has lost (P5).
    fn drop_cached(&self) {}

    /// Finds the staging area under its name again, and says how many bytes long it is.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where the name does not lead to these very bytes any more, or
    /// they may not be read and written.
    fn find_again(&self) -> Result<u64, StorageError>;

    /// Verifies that the staging area is still these very bytes, and exactly as long as the
    /// finished document.
    ///
    /// # Errors
    /// [`StorageError::Lost`] with the difference.
    fn check(&self, filesize: FileSize) -> Result<(), StorageError> {
        let (found_bytes, expected_bytes) = (self.find_again()?, filesize.get());
        if found_bytes != expected_bytes {
            return Err(StorageError::Lost(Loss::Length { expected_bytes, found_bytes }));
        }
        Ok(())
    }

    /// As [`check`](Self::check), for an upload under way: at least `durable` bytes.
    ///
    /// # Errors
    /// [`StorageError::Lost`] with the difference.
    fn check_holds(&self, durable: Offset) -> Result<(), StorageError> {
        let (found_bytes, expected_bytes) = (self.find_again()?, durable.get());
        if found_bytes < expected_bytes {
            return Err(StorageError::Lost(Loss::Length { expected_bytes, found_bytes }));
        }
        Ok(())
    }
}
