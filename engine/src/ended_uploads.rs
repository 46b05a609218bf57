//! Notes that uploads have ended without a document, for the task that forgets the oldest of them.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether there may be more ended uploads than are kept.
#[derive(Debug, Default)]
pub(crate) struct EndedUploads {
    are_more: AtomicBool,
}

impl EndedUploads {
    /// An upload has ended without a document.
    pub(crate) fn add(&self) {
        self.are_more.store(true, Ordering::Relaxed);
    }

    /// Whether one has ended since the last call.
    pub(crate) fn take(&self) -> bool {
        self.are_more.swap(false, Ordering::Relaxed)
    }
}
