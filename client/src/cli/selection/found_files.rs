//! How many files a command has, as far as that is known.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module's description. The numbers grow while files are being looked for.
#[derive(Debug, Default)]
pub(in crate::cli) struct FoundFiles {
    count: AtomicU64,
    bytes: AtomicU64,
    is_all: AtomicBool,
}

impl FoundFiles {
    /// Files that are all known, with their bytes together.
    pub(in crate::cli) fn known(count: u64, bytes: u64) -> Self {
        Self { count: count.into(), bytes: bytes.into(), is_all: true.into() }
    }

    pub(in crate::cli) fn add(&self, bytes: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(in crate::cli) fn are_all(&self) {
        self.is_all.store(true, Ordering::Release);
    }

    pub(in crate::cli) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(in crate::cli) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether no more will be found.
    pub(in crate::cli) fn is_all(&self) -> bool {
        self.is_all.load(Ordering::Acquire)
    }
}
