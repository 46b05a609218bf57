//! How many segments of data have arrived for a writer and are not written yet.
//!
//! A writer that takes the upload over waits for them, at most for the time that it names: what
//! has arrived need not be sent again. A dead connection has none, and a connection that goes on
//! sending does not hold its successor up.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// See the module's description.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    pieces: Mutex<usize>,
    changed: Condvar,
}

impl InFlight {
    /// A piece has arrived.
    pub(crate) fn arrived(&self) {
        *self.pieces() += 1;
    }

    /// A piece is written, or dropped.
    pub(crate) fn done(&self) {
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
