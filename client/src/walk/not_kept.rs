//! What no server keeps of the files, folders and links that are sent.

use serde::Serialize;
use std::fs::Metadata;
use std::ops::AddAssign;

/// How many of them have something that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct NotKept {
    /// Files, folders and links of another owner than the user who runs the command.
    #[serde(rename = "not_kept_owners")]
    pub owners: u64,
    /// Files and folders with setuid, setgid or sticky bits.
    #[serde(rename = "not_kept_special_bits")]
    pub special_bits: u64,
    /// Files with a second name (hard links): each name becomes a file of its own.
    #[serde(rename = "not_kept_hard_links")]
    pub hard_links: u64,
    /// Folders and links, whose times of modification are not kept: all that are sent.
    #[serde(rename = "not_kept_times")]
    pub times: u64,
}

impl NotKept {
    /// Whether all is kept.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The same without the times of folders and links. They are never kept, and a line about them
    /// with each folder would hide the others.
    pub(crate) fn unusual(self) -> Self {
        Self { times: 0, ..self }
    }

    /// What is not kept of one of them.
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        const SPECIAL_BITS: u32 = 0o7000;
        let is_others = metadata.uid() != rustix::process::geteuid().as_raw();
        let is_special = metadata.mode() & SPECIAL_BITS != 0;
        let is_linked = metadata.is_file() && metadata.nlink() > 1;
        Self {
            owners: is_others.into(),
            special_bits: is_special.into(),
            hard_links: is_linked.into(),
            times: has_no_time(metadata).into(),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { times: has_no_time(metadata).into(), ..Self::default() }
    }
}

/// Whether a server keeps no time of it: only files have one there.
fn has_no_time(metadata: &Metadata) -> bool {
    !metadata.is_file()
}

impl AddAssign for NotKept {
    fn add_assign(&mut self, other: Self) {
        self.owners += other.owners;
        self.special_bits += other.special_bits;
        self.hard_links += other.hard_links;
        self.times += other.times;
    }
}
