//! How many segments of data have arrived for a writer and are not written yet.
//!
//! A writer that takes the upload over waits until they are written, because what has arrived need
//! not be sent again, but at most for the time that it names. A dead connection has no such
//! segments, and a connection that goes on sending cannot delay the takeover for longer than that.

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
    /// A segment has arrived.
    pub(crate) fn arrived(&self) {
        *self.pieces() += 1;
    }

    /// A segment is written, or dropped.
    pub(crate) fn done(&self) {
        *self.pieces() -= 1;
        self.0.changed.notify_all();
    }

    /// A guard for a segment that is being written. When the guard is dropped, also by a panic, the
    /// segment counts as written: nothing else would tell a takeover that it need not wait for the
    /// segment.
    pub(crate) fn until_dropped(&self) -> Written {
        Written(self.clone())
    }

    /// Waits until no segment is in flight, at most for `patience`. Blocks.
    pub(crate) fn wait(&self, patience: Duration) {
        let are_left = |pieces: &mut usize| *pieces > 0;
        // Timeout and poisoned lock change nothing: the wait only saves the client a second
        // transfer.
        let _ = self.0.changed.wait_timeout_while(self.pieces(), patience, are_left);
    }

    fn pieces(&self) -> std::sync::MutexGuard<'_, usize> {
        self.0.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`InFlight::until_dropped`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Written(InFlight);

impl Drop for Written {
    fn drop(&mut self) {
        self.0.done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;
    use std::time::Instant;

    #[test]
    fn nothing_is_waited_for_behind_a_write_that_panics() {
        let in_flight = InFlight::default();
        in_flight.arrived();
        let writer = in_flight.clone();
        let written = catch_unwind(move || {
            let _written = writer.until_dropped();
            panic!("a mistake, as the test wants it");
        });
        assert!(written.is_err());
        let began = Instant::now();
        in_flight.wait(Duration::from_secs(60));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
