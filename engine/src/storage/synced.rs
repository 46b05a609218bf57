//! The proof that a staging area was synced.

use super::{Staging, StorageError};

/// Every byte that was in a staging area when [`Staging::sync`] was called is durable, and so is
/// the area's name.
///
/// It is only made by [`Synced::by_sync_of`], which calls that method of a store: any crate can
/// implement a store, and none can make this proof without a sync. What records a checkpoint takes
/// one for each upload: so no offset can be recorded, and none told as durable, without a sync
/// before (P1). It is used up there: the next checkpoint needs the next sync.
///
/// ```compile_fail
/// use towline_engine::storage::Synced;
///
/// let synced = Synced { file_number: 1 };
/// ```
///
/// ```compile_fail
/// use towline_engine::storage::Synced;
///
/// fn twice(synced: Synced) -> (Synced, Synced) {
///     (synced.clone(), synced)
/// }
/// ```
///
/// A sync of the bytes alone is no proof, for the name may be lost with them:
///
/// ```compile_fail
/// use towline_engine::storage::{Staging, StorageError, Synced};
///
/// fn sync(staging: &dyn Staging) -> Result<Synced, StorageError> {
///     staging.sync_data()
/// }
/// ```
///
/// ```
/// use towline_engine::storage::{Staging, StorageError, Synced};
///
/// fn sync(staging: &dyn Staging) -> Result<Synced, StorageError> {
///     Synced::by_sync_of(staging)
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a checkpoint can be recorded with it"]
pub struct Synced {
    /// That of the staging area; see [`Publishable::file_number`](super::Publishable).
    file_number: u64,
}

impl Synced {
    /// Syncs a staging area and its name.
    ///
    /// # Errors
    /// As [`Staging::sync`].
    pub fn by_sync_of(staging: &dyn Staging) -> Result<Self, StorageError> {
        staging.sync()?;
        Ok(Self { file_number: staging.file_number() })
    }

    /// Whether it was this file that was synced.
    #[must_use]
    pub const fn is_of(&self, file_number: u64) -> bool {
        self.file_number == file_number
    }
}
