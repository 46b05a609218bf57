//! One sync for everything that a volume holds: what relaxed durability rests on, where
//! it can be believed.

use super::StorageError;
use super::directory::Directory;
use super::latch::Latch;
use rustix::fs::FsWord;
use std::sync::{Arc, Mutex, PoisonError};

/// The sync of a whole volume, over a descriptor that is as old as the server: an error
/// of write-back is told to descriptors that were open when it happened, of
/// whichever file, however long ago (P5).
#[derive(Debug)]
pub(super) struct VolumeSync {
    held: Arc<Directory>,
    /// The kernel tells an error once, so a second sync beside a failing one would be
    /// told OK (P5).
    syncing: Mutex<()>,
}

/// File systems of the kernel's own over a disk, by what `statfs` calls them: they tell
/// the errors of a disk, and rename in one step without replacing. Of one that is not
/// here (on the network, of a user's process, over another one) that is not known.
const BELIEVED: &[FsWord] = &[
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683E, // btrfs
    0xF2F5_2010, // F2FS
    0x0102_1994, // tmpfs, which a power cut takes altogether
];

/// Before, `syncfs` said OK of bytes that it could not write.
const TELLS_ERRORS: (u32, u32) = (5, 8);

impl VolumeSync {
    pub(super) fn over(held: Arc<Directory>) -> Self {
        Self { held, syncing: Mutex::default() }
    }

    /// Makes all bytes and names durable that are on the volume now. To fail closes the
    /// volume, and fails no upload: it is not known which bytes were lost.
    pub(super) fn sync(&self, latch: &Latch) -> Result<(), StorageError> {
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        latch.sync_names(|| rustix::fs::syncfs(&*self.held))
    }
}

/// Whether a sync of that whole volume tells what it could not keep.
pub(super) fn is_believed(folder: &Directory) -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    rustix::fs::fstatfs(folder).is_ok_and(|about| is_one_of_those(about.f_type, &release))
}

fn is_one_of_those(file_system: FsWord, release: &str) -> bool {
    BELIEVED.contains(&file_system) && version(release).is_some_and(|found| found >= TELLS_ERRORS)
}

/// The first two numbers of `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXT4: FsWord = 0xEF53;
    const FUSE: FsWord = 0x6573_5546;
    const NFS: FsWord = 0x6969;
    const OVERLAY: FsWord = 0x794C_7630;

    #[test]
    fn only_what_tells_every_error_is_believed() {
        assert!(is_one_of_those(EXT4, "6.1.0-18-amd64"));
        assert!(is_one_of_those(EXT4, "5.8-rc1"));
        for old in ["5.7.19", "4.19.0", "", "x", "6"] {
            assert!(!is_one_of_those(EXT4, old), "{old}");
        }
        for other in [FUSE, NFS, OVERLAY] {
            assert!(!is_one_of_those(other, "6.1.0"), "{other:#x}");
        }
    }
}
