//! Staging areas with the bytes of a document that the store has already.

use super::{GoesOn, Publishable, Published, StorageError};
use std::sync::Arc;
use towline_types::{DocumentId, FileHash, FileSize};

/// A store that can make one file from another.
pub trait CopyStorage: Send + Sync {
    /// Makes the staging area of an upload as
    /// [`Storage::create_whole`](super::Storage::create_whole) does, with the bytes of a
    /// published file: they share their place on the disk where the file system can do that,
    /// else they are copied. The bytes in the area are then read, and have that length and hash
    /// (P2): nothing is believed of the source.
    ///
    /// `goes_on` is called with the number of copied bytes after each block, and returns
    /// whether to go on.
    ///
    /// # Errors
    /// As [`Storage::create_whole`](super::Storage::create_whole). Nothing is left behind, nor
    /// where the answer is another than [`Copied::Whole`].
    fn create_copy(
        &self,
        id: DocumentId,
        source: &Published,
        content: (FileSize, FileHash),
        goes_on: GoesOn<'_>,
    ) -> Result<Copied, StorageError>;
}

/// How making a [copy](CopyStorage::create_copy) ended.
pub enum Copied {
    /// The bytes are there.
    Whole(Arc<dyn Publishable>),
    /// What could be copied are other bytes: the source is damaged, or another file.
    OtherBytes,
    /// It was not to go on.
    Stopped,
}
