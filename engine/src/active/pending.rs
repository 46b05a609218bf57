//! Uploads that have a row and are not in the registry yet: those that are just being begun, and
//! files that came whole, until they have their names or are copied to another file system.
//!
//! Their numbers can be guessed, or found, as soon as the row is there. A request for one waits
//! until it is in the registry or has ended: read back from disk meanwhile, it
//! would have two writers, or be taken for lost. A request for another upload does not wait.

use crate::may_block::MayBlock;
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use towline_types::DocumentId;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct PendingUploads {
    begun: Mutex<HashSet<DocumentId>>,
    grown: Condvar,
}

/// While this is held, that upload is being begun.
#[derive(Debug)]
pub(crate) struct PendingGuard {
    pending: Arc<PendingUploads>,
    pub(crate) id: DocumentId,
}

impl PendingUploads {
    /// To be called before the row is committed: so no thread sees the row of an upload that
    /// is not known here.
    pub(crate) fn begin(self: &Arc<Self>, id: DocumentId) -> PendingGuard {
        self.begun().insert(id);
        PendingGuard { pending: Arc::clone(self), id }
    }

    /// Waits, where that upload has a row and is just being begun; says whether it had
    /// to. Blocks.
    pub(crate) fn wait_for(&self, id: DocumentId, _: MayBlock) -> bool {
        let mut waited = false;
        let begun = self.grown.wait_while(self.begun(), |begun| {
            let waits = begun.contains(&id);
            waited |= waits;
            waits
        });
        drop(begun.unwrap_or_else(PoisonError::into_inner));
        waited
    }

    fn begun(&self) -> MutexGuard<'_, HashSet<DocumentId>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.pending.begun().remove(&self.id);
        self.pending.grown.notify_all();
    }
}
