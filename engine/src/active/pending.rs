//! Uploads that are just being begun: they have a row, and nobody works on them yet. And
//! those that came whole, until they have their places or are copied to another file system:
//! no other thread works on them at all.
//!
//! Their numbers can be guessed, or found, as soon as the row is there. Whoever asks for
//! one waits until it is in the registry or has ended: read back from disk meanwhile, it
//! would have two writers, or be taken for lost. Nobody waits for another's disk.

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
    /// To be said before the row is committed: nobody can see the row of an upload that
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
