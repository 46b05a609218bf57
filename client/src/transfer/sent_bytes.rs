//! How many bytes of a file this run has sent, over all connections and attempts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of one file that this run has sent, repetitions included.
#[derive(Debug, Default)]
pub(super) struct SentBytes {
    /// On the main connections of earlier attempts.
    earlier: u64,
    /// On the main connection of this attempt.
    here: u64,
    /// The bytes of other files that the main connection of this attempt had sent before.
    of_other_files: u64,
    /// On extra connections, in all attempts: their tasks count them here.
    extra: Arc<AtomicU64>,
}

impl SentBytes {
    /// An attempt begins on a connection that has sent `payload_bytes` of other files.
    pub(super) fn attempt_begins(&mut self, payload_bytes: u64) {
        // An attempt that was dropped has not ended: its bytes were sent all the same.
        self.attempt_ended();
        self.of_other_files = payload_bytes;
    }

    /// The main connection has sent `payload_bytes` in all.
    pub(super) fn count(&mut self, payload_bytes: u64) {
        self.here = payload_bytes - self.of_other_files;
    }

    /// An attempt has ended. Returns what it has sent on its main connection.
    pub(super) fn attempt_ended(&mut self) -> u64 {
        let here = std::mem::take(&mut self.here);
        self.earlier += here;
        here
    }

    /// The bytes of all attempts.
    pub(super) fn total(&self) -> u64 {
        self.earlier + self.here + self.extra.load(Ordering::Relaxed)
    }

    /// Where the tasks of extra connections count the bytes that they send.
    pub(super) fn extra(&self) -> &Arc<AtomicU64> {
        &self.extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_counts_once_also_of_an_attempt_that_was_dropped() {
        let mut sent = SentBytes::default();
        sent.attempt_begins(100);
        sent.count(105);
        sent.count(130);
        sent.extra().fetch_add(1000, Ordering::Relaxed);
        assert_eq!(sent.total(), 1030);
        // The attempt was dropped, and the next one has a new connection.
        sent.attempt_begins(0);
        assert_eq!(sent.total(), 1030);
        sent.count(7);
        assert_eq!((sent.attempt_ended(), sent.total()), (7, 1037));
    }
}
