//! Counts the uploads that have ended without a document, for the task that forgets the oldest of
//! them.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many uploads have ended since the last look.
#[derive(Debug, Default)]
pub(crate) struct EndedUploads(AtomicU32);

impl EndedUploads {
    /// An upload has ended without a document.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether at least `count` have ended since the last call that has returned true.
    pub(crate) fn take(&self, count: u32) -> bool {
        let is_due = self.0.load(Ordering::Relaxed) >= count;
        if is_due {
            self.0.store(0, Ordering::Relaxed);
        }
        is_due
    }
}
