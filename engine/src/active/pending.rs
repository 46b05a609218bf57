//! Uploads that have a row and are not in the registry yet: those that are just being begun, and
//! files that came whole, until they have their names or their copy to another file system begins.
//!
//! The number of such an upload can be guessed, or found in a list, as soon as its row is there. A
//! request that names it waits until the upload is in the registry or has ended: if the request
//! read the upload back from disk before, the upload would have two writers, or would seem to have
//! lost its file. A request for another upload does not wait.

use crate::may_block::MayBlock;
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use towline_types::DocumentId;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct PendingUploads {
    begun: Mutex<HashSet<DocumentId>>,
    taken_out: Condvar,
}

/// While this is held, that upload is being begun.
#[derive(Debug)]
pub(crate) struct PendingGuard {
    pending: Arc<PendingUploads>,
    pub(crate) id: DocumentId,
}

impl PendingUploads {
    /// To be called before the row is committed, so that no thread can see the row of an upload
    /// that is not known here.
    pub(crate) fn begin(self: &Arc<Self>, id: DocumentId) -> PendingGuard {
        self.begun().insert(id);
        PendingGuard { pending: Arc::clone(self), id }
    }

    /// Waits while that upload is just being begun, and returns whether it had to wait. Blocks.
    pub(crate) fn wait_for(&self, id: DocumentId, _: MayBlock) -> bool {
        let mut waited = false;
        let begun = self.taken_out.wait_while(self.begun(), |begun| {
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
        self.pending.taken_out.notify_all();
    }
}
