//! How many files a command has, as far as that is known, and how many folders and links.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module's description. The numbers grow while the walk goes on.
#[derive(Debug, Default)]
pub(in crate::cli) struct FoundFiles {
    count: AtomicU64,
    bytes: AtomicU64,
    folders_and_links: AtomicU64,
    listed: AtomicU64,
    is_all: AtomicBool,
}

impl FoundFiles {
    /// Files that are all known, with their bytes together.
    pub(in crate::cli) fn known(count: u64, bytes: u64) -> Self {
        let (count, bytes) = (count.into(), bytes.into());
        Self { count, bytes, is_all: true.into(), ..Self::default() }
    }

    /// One more folder or link was found.
    pub(in crate::cli) fn add_folder_or_link(&self) {
        self.folders_and_links.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::cli) fn folders_and_links(&self) -> u64 {
        self.folders_and_links.load(Ordering::Relaxed)
    }

    /// The server has listed one more file, folder or link.
    #[cfg(any(unix, test))]
    pub(in crate::cli) fn is_listed(&self) {
        self.listed.fetch_add(1, Ordering::Relaxed);
    }

    /// How much the server has listed so far.
    pub(in crate::cli) fn listed(&self) -> u64 {
        self.listed.load(Ordering::Relaxed)
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
