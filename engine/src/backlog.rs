//! How many pieces of a channel have arrived and are not written yet.
//!
//! Whoever takes an upload over waits for them, a moment at the most: what has
//! arrived need not be sent again. A connection that is dead has none, and one
//! that goes on sending does not hold its successor up.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// See the module's description.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pieces: Mutex<usize>,
    changed: Condvar,
}

impl Backlog {
    /// A piece has arrived.
    pub(crate) fn arrived(&self) {
        *self.pieces() += 1;
    }

    /// A piece is written, or dropped.
    pub(crate) fn settled(&self) {
        *self.pieces() -= 1;
        self.0.changed.notify_all();
    }

    /// Waits until there are none, but not for longer than that. Blocks.
    pub(crate) fn wait(&self, patience: Duration) {
        let none = |pieces: &mut usize| *pieces > 0;
        // Poisoned or not, it was only for the best.
        let _ = self.0.changed.wait_timeout_while(self.pieces(), patience, none);
    }

    fn pieces(&self) -> std::sync::MutexGuard<'_, usize> {
        self.0.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
