//! Uploads that are just being begun: they have a row, and nobody works on them yet.
//!
//! Their numbers can be guessed, or found, as soon as the row is there. Whoever asks for
//! one waits until it is in the registry or has ended: read back from disk meanwhile, it
//! would have two writers, or be taken for lost. Nobody waits for another's disk.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use towline_protocol::DocumentId;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Newborns {
    cradle: Mutex<Cradle>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Cradle {
    /// How many were expected so far.
    expected: u64,
    /// Those whose row is being made, and whose number nobody can tell yet.
    nameless: BTreeSet<u64>,
    named: HashSet<DocumentId>,
}

/// While this is held, a row is being made.
#[derive(Debug)]
pub(crate) struct Expected {
    newborns: Arc<Newborns>,
    turn: u64,
}

/// While this is held, that upload is being begun.
#[derive(Debug)]
pub(crate) struct Birth {
    newborns: Arc<Newborns>,
    pub(crate) id: DocumentId,
}

impl Newborns {
    /// Say this before the row is asked for.
    pub(crate) fn expect(self: &Arc<Self>) -> Expected {
        let mut cradle = self.cradle();
        let turn = cradle.expected;
        cradle.expected += 1;
        cradle.nameless.insert(turn);
        Expected { newborns: Arc::clone(self), turn }
    }

    /// Waits, where that upload has a row and is just being begun. Blocks.
    pub(crate) fn wait_for(&self, id: DocumentId) {
        let cradle = self.cradle();
        // Whoever made the row that was seen was expected before.
        let now = cradle.expected;
        let is_unborn = |cradle: &mut Cradle| {
            cradle.nameless.first().is_some_and(|first| *first < now) || cradle.named.contains(&id)
        };
        drop(self.changed.wait_while(cradle, is_unborn).unwrap_or_else(PoisonError::into_inner));
    }

    fn cradle(&self) -> MutexGuard<'_, Cradle> {
        self.cradle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Expected {
    /// The row is made. Say so before anything slow is done.
    pub(crate) fn named(self, id: DocumentId) -> Birth {
        self.newborns.cradle().named.insert(id);
        Birth { newborns: Arc::clone(&self.newborns), id }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.newborns.cradle().nameless.remove(&self.turn);
        self.newborns.changed.notify_all();
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.newborns.cradle().named.remove(&self.id);
        self.newborns.changed.notify_all();
    }
}
