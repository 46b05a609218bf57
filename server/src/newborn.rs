//! Uploads that are just being begun: they have a row, and nobody works on them yet.
//!
//! Their numbers can be guessed, or found, as soon as the row is there. Whoever asks for
//! one waits until it is in the registry or has ended: read back from disk meanwhile, it
//! would have two writers, or be taken for lost. Nobody waits for another's disk.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use towline_protocol::DocumentId;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Newborns {
    /// Shared while a row is being made whose number is not known yet.
    nameless: RwLock<()>,
    named: Mutex<HashSet<DocumentId>>,
    grown: Condvar,
}

/// While this is held, that upload is being begun.
#[derive(Debug)]
pub(crate) struct Birth<'a> {
    newborns: &'a Newborns,
    pub(crate) id: DocumentId,
}

impl Newborns {
    /// Makes a row.
    pub(crate) fn begin<E>(
        &self,
        make_row: impl FnOnce() -> Result<DocumentId, E>,
    ) -> Result<Birth<'_>, E> {
        let _nameless = self.nameless.read().unwrap_or_else(PoisonError::into_inner);
        let id = make_row()?;
        self.named().insert(id);
        Ok(Birth { newborns: self, id })
    }

    /// Waits, where that upload has a row and is just being begun. Blocks.
    pub(crate) fn wait_for(&self, id: DocumentId) {
        // Whoever made the row that was seen has told its number behind this.
        drop(self.nameless.write().unwrap_or_else(PoisonError::into_inner));
        let named = self.grown.wait_while(self.named(), |named| named.contains(&id));
        drop(named.unwrap_or_else(PoisonError::into_inner));
    }

    fn named(&self) -> MutexGuard<'_, HashSet<DocumentId>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Birth<'_> {
    fn drop(&mut self) {
        self.newborns.named().remove(&self.id);
        self.newborns.grown.notify_all();
    }
}
