//! The uploads that are being written, by document: at most one [`ActiveUpload`] each,
//! whichever connections ask for it.

use super::ActiveUpload;
use super::lock_order::{Held, Rank};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use towline_types::DocumentId;

/// See the module's description.
#[derive(Default)]
pub(crate) struct Registry {
    slots: Mutex<HashMap<DocumentId, Slot>>,
    paused: Mutex<Paused>,
}

/// Uploads that have been paused, in the order of their pauses. Some of them may have been resumed
/// since, or have ended.
#[derive(Default)]
struct Paused {
    order: VecDeque<DocumentId>,
    /// The same numbers, so that each of them is in `order` once.
    known: HashSet<DocumentId>,
}

impl Paused {
    fn push(&mut self, id: DocumentId) {
        if self.known.insert(id) {
            self.order.push_back(id);
        }
    }

    fn pop(&mut self) -> Option<DocumentId> {
        let id = self.order.pop_front()?;
        self.known.remove(&id);
        Some(id)
    }
}

/// The place of one upload. It is locked while the upload is being read back or ended, so that no
/// thread makes a second one in the meantime.
type Slot = Arc<Mutex<Option<Arc<ActiveUpload>>>>;

impl Registry {
    /// The upload, if it is in the registry.
    pub(crate) fn get(&self, id: DocumentId) -> Option<Arc<ActiveUpload>> {
        let slot = lock(&self.slots).get(&id).cloned()?;
        let held = Held::before(Rank::Slot);
        let active = lock(&slot).clone();
        drop(held);
        let active = active.filter(|active| !active.is_over());
        if active.is_none() {
            self.sweep_one(id);
        }
        active
    }

    /// The upload, read back by `load` where it is not in the registry. Blocks.
    pub(crate) fn get_or<E>(
        &self,
        id: DocumentId,
        load: impl FnOnce() -> Result<ActiveUpload, E>,
    ) -> Result<Arc<ActiveUpload>, E> {
        self.with_slot(id, |active| match active {
            Some(active) => Ok(Arc::clone(active)),
            none => Ok(Arc::clone(none.insert(Arc::new(load()?)))),
        })
    }

    /// Does something about an upload, in the registry or not, while no thread can add it or
    /// replace it. Blocks.
    pub(crate) fn exclusively<T>(
        &self,
        id: DocumentId,
        work: impl FnOnce(Option<&Arc<ActiveUpload>>) -> T,
    ) -> T {
        self.with_slot(id, |active| work(active.as_ref()))
    }

    /// Adds a new upload, and calls `announce`, which tells its client, while the slot is locked: a
    /// request that follows at once finds this upload, and cannot end it before it was announced.
    pub(crate) fn begin(&self, active: &Arc<ActiveUpload>, announce: impl FnOnce()) {
        self.with_slot(active.document_id, |slot| {
            *slot = Some(Arc::clone(active));
            announce();
        });
    }

    /// Forgets this upload if it is over. If another thread has its slot just now, that thread does
    /// it when it unlocks the slot. Does not wait.
    pub(crate) fn sweep_one(&self, id: DocumentId) {
        let mut slots = lock(&self.slots);
        if slots.get(&id).is_some_and(is_vacant) {
            slots.remove(&id);
        }
    }

    /// Notes that an upload was paused.
    pub(crate) fn paused(&self, id: DocumentId) {
        lock(&self.paused).push(id);
    }

    /// Retires uploads that were paused, the oldest pause first, until at most `kept` uploads are
    /// in the registry and at most `kept` are on the list of paused ones, or until `looks` of them
    /// have been looked at. Does not wait for a slot.
    pub(crate) fn retire_paused(&self, kept: usize, looks: usize) {
        let looks = looks.min(lock(&self.paused).order.len());
        for _ in 0..looks {
            if self.len() <= kept && lock(&self.paused).order.len() <= kept {
                return;
            }
            let Some(id) = lock(&self.paused).pop() else { return };
            let Some(slot) = lock(&self.slots).get(&id).cloned() else { continue };
            // A locked slot means that the upload is being read back, resumed or ended: it is
            // looked at again later.
            let is_for_later = match slot.try_lock() {
                Ok(active) => active.as_ref().is_some_and(|active| active.retire_if_idle()),
                Err(_) => true,
            };
            drop(slot);
            if is_for_later {
                self.paused(id);
            } else {
                self.sweep_one(id);
            }
        }
    }

    /// All uploads that are in the registry, but for those that are being read back or ended just
    /// now. Does not wait for a slot.
    pub(crate) fn all(&self) -> Vec<Arc<ActiveUpload>> {
        let slots: Vec<Slot> = lock(&self.slots).values().cloned().collect();
        let active = |slot: &Slot| slot.try_lock().ok().and_then(|active| active.clone());
        slots.iter().filter_map(active).collect()
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.slots).len()
    }

    /// Calls `work` with the slot locked; an upload that is over counts as none.
    fn with_slot<T>(
        &self,
        id: DocumentId,
        work: impl FnOnce(&mut Option<Arc<ActiveUpload>>) -> T,
    ) -> T {
        loop {
            let slot = Arc::clone(lock(&self.slots).entry(id).or_default());
            let _held = Held::before(Rank::Slot);
            let mut active = lock(&slot);
            // The slot may have been forgotten while we waited for it.
            if !lock(&self.slots).get(&id).is_some_and(|kept| Arc::ptr_eq(kept, &slot)) {
                continue;
            }
            active.take_if(|active| active.is_over());
            let done = work(&mut active);
            drop(active);
            // Only now, with the slot unlocked. A thread that found it locked has left this to us.
            self.sweep_one(id);
            return done;
        }
    }
}

/// Whether no thread has locked the slot, and the upload in it, if there is one, is over. Does not
/// wait.
fn is_vacant(slot: &Slot) -> bool {
    let active = match slot.try_lock() {
        Ok(active) => active,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    active.as_ref().is_none_or(|active| active.is_over())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
