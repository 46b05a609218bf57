//! Durability that comes later: what a server with relaxed durability needs of a store.

use super::{Publishable, StorageError};
use std::sync::Arc;
use towline_types::{DocumentId, DocumentPath, UserId};

/// Names for bytes that are not durable yet.
///
/// The order of the steps, and the promise that each keeps:
///
/// 1. The row says `publishing`, that the bytes may be in memory only, and the file's
///    [number](Publishable::file_number): after a crash the file is read from the device and
///    hashed before it is believed (P2).
/// 2. [`Publishable::rename`] gives the file its name. The receipt says that it is not durable.
/// 3. [`sync_deferred`](Self::sync_deferred) makes bytes and names of many such documents
///    durable (P3).
/// 4. Their rows say `completed`.
pub trait DeferredStorage: Send + Sync {
    /// As [`Storage::create_whole`](super::Storage::create_whole), for bytes that need not be
    /// durable before they have their final name. A crash before that may leave nothing of
    /// them.
    ///
    /// # Errors
    /// As [`Storage::create_whole`](super::Storage::create_whole).
    fn create_unnamed(
        &self,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Arc<dyn Publishable>, StorageError>;

    /// Makes everything durable that is on the volume: bytes, names and folders, and
    /// staging areas too. An error that the disk had at any time since the store was
    /// opened is told, once (P5).
    ///
    /// # Errors
    /// [`StorageError::ReadOnly`]: the volume is closed for changes from now on. What
    /// lies there may not be what was written, whatever memory says of it.
    fn sync_all(&self) -> Result<(), StorageError>;

    /// As [`sync_all`](Self::sync_all), where all these files were
    /// [renamed](Publishable::rename) to their places before the call: that their folders are
    /// durable is remembered, and later names there need no sync of the folders above. Whether
    /// the files are there is not looked at.
    ///
    /// # Errors
    /// As [`sync_all`](Self::sync_all).
    fn sync_deferred(&self, places: &[(UserId, DocumentPath)]) -> Result<(), StorageError>;
}
