//! The uploads that are being worked on, by document: at most one [`Live`] each,
//! whichever connections ask for it.

use crate::live::Live;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_protocol::DocumentId;

/// See the module's description.
#[derive(Default)]
pub(crate) struct Registry {
    slots: Mutex<HashMap<DocumentId, Slot>>,
}

/// Locked while its upload is being read back, so that two connections that ask
/// for the same one get the same one.
type Slot = Arc<Mutex<Option<Arc<Live>>>>;

impl Registry {
    /// The upload, if it is being worked on.
    pub(crate) fn get(&self, id: DocumentId) -> Option<Arc<Live>> {
        let slot = self.slots().get(&id).cloned()?;
        lock(&slot).clone()
    }

    /// The upload, read back by `load` if nobody works on it yet. Blocks.
    pub(crate) fn get_or<E>(
        &self,
        id: DocumentId,
        load: impl FnOnce() -> Result<Live, E>,
    ) -> Result<Arc<Live>, E> {
        let slot = Arc::clone(self.slots().entry(id).or_default());
        let mut live = lock(&slot);
        if let Some(live) = &*live {
            return Ok(Arc::clone(live));
        }
        match load() {
            Ok(loaded) => Ok(Arc::clone(live.insert(Arc::new(loaded)))),
            Err(error) => {
                self.slots().remove(&id);
                Err(error)
            }
        }
    }

    /// A new upload.
    pub(crate) fn insert(&self, live: Arc<Live>) {
        self.slots().insert(live.document_id, Arc::new(Mutex::new(Some(live))));
    }

    /// Forgets an upload that has ended or was retired.
    pub(crate) fn remove(&self, live: &Arc<Live>) {
        let mut slots = self.slots();
        let same = slots.get(&live.document_id).is_some_and(|slot| {
            slot.try_lock()
                .is_ok_and(|kept| kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, live)))
        });
        if same {
            slots.remove(&live.document_id);
        }
    }

    /// Everything that is being worked on.
    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        let slots: Vec<Slot> = self.slots().values().cloned().collect();
        slots.iter().filter_map(|slot| lock(slot).clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots().len()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<DocumentId, Slot>> {
        lock(&self.slots)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
