//! What tells one file from another.

use serde::{Deserialize, Serialize};
use std::fs::Metadata;

/// What tells one file from another, and a changed file from its earlier content where the time of
/// modification was set back. Not every system has all fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// When content, name or rights last changed; no program can set this time.
    pub(crate) changed_ns: Option<i64>,
    pub(crate) device: Option<u64>,
    pub(crate) inode: Option<u64>,
}

impl Identity {
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let nanoseconds = metadata.ctime().checked_mul(1_000_000_000);
        Self {
            changed_ns: nanoseconds.and_then(|ns| ns.checked_add(metadata.ctime_nsec())),
            device: Some(metadata.dev()),
            inode: Some(metadata.ino()),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &Metadata) -> Self {
        Self::default()
    }
}
