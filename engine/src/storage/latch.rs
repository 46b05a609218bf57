//! Whether a store is still to be believed.

use super::StorageError;
use rustix::io::Errno;
use std::sync::atomic::{AtomicBool, Ordering};

/// Closes for good when a sync fails. Measured: on a full device the first fsync
/// failed and the second returned OK with the data gone, so after a failure no
/// answer of the kernel about this volume is worth anything until it is read anew.
#[derive(Debug, Default)]
pub struct Latch(AtomicBool);

impl Latch {
    /// Whether the store takes no change any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Ends all changes until the process starts anew.
    pub fn close(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// To be called before each change.
    ///
    /// # Errors
    /// [`StorageError::ReadOnly`] once the latch is closed.
    pub fn refuse_if_closed(&self) -> Result<(), StorageError> {
        if self.is_closed() { Err(StorageError::ReadOnly) } else { Ok(()) }
    }

    /// Does a sync, and closes where it fails: it is not repeated (P5).
    ///
    /// The kernel reports an error of write-back once per open file, so callers that
    /// share a descriptor must not be in here at the same time: the second would
    /// get OK. Each such descriptor has its own mutex.
    pub(super) fn sync(
        &self,
        sync: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), StorageError> {
        self.refuse_if_closed()?;
        if let Err(errno) = sync() {
            self.close();
            tracing::error!(error = %errno, "a sync failed; the volume takes no change until a restart");
            return Err(StorageError::SyncFailed(errno.into()));
        }
        // Where another file's sync failed meanwhile, this one's OK is doubtful too.
        self.refuse_if_closed()
    }

    /// The same for the names in a folder. To fail closes the volume as well, but it
    /// says nothing against bytes: no upload has to be given up for it.
    pub(super) fn sync_names(
        &self,
        sync: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), StorageError> {
        self.sync(sync).map_err(|_| StorageError::ReadOnly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sync_is_never_asked_again() {
        let latch = Latch::default();
        assert!(latch.sync(|| Ok(())).is_ok());
        let failed = latch.sync(|| Err(Errno::NOSPC));
        assert!(matches!(failed, Err(StorageError::SyncFailed(_))));
        let mut asked = false;
        let again = latch.sync(|| {
            asked = true;
            Ok(())
        });
        assert!(matches!(again, Err(StorageError::ReadOnly)));
        assert!(!asked);
    }

    #[test]
    fn a_folder_that_cannot_be_synced_closes_the_volume_and_fails_no_upload() {
        let latch = Latch::default();
        let failed = latch.sync_names(|| Err(Errno::IO));
        assert!(matches!(failed, Err(StorageError::ReadOnly)), "{failed:?}");
        assert!(latch.is_closed());
    }

    #[test]
    fn a_sync_that_ends_after_anothers_failure_is_not_believed() {
        let latch = Latch::default();
        let answer = latch.sync(|| {
            latch.close();
            Ok(())
        });
        assert!(matches!(answer, Err(StorageError::ReadOnly)));
    }
}
