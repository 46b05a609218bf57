//! ext4's shutdown: the only system call of the kit that has no safe function.

#![expect(unsafe_code, reason = "an ioctl that no crate wraps; see the comment at the call")]

use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl};
use std::fs::File;
use std::io;
use std::path::Path;

/// `EXT4_IOC_SHUTDOWN`, of `linux/fs/ext4/ext4.h`: `_IOR('X', 125, __u32)`.
const EXT4_IOC_SHUTDOWN: u32 = 0x8004_587d;

/// Neither journal nor data is flushed before, as at a power cut.
const EXT4_GOING_FLAGS_NOLOGFLUSH: u32 = 2;

/// Ends all writing to the ext4 file system mounted there, as a power cut would.
pub(super) fn shutdown(mount_point: &Path) -> io::Result<()> {
    let folder = File::open(mount_point)?;
    // SAFETY: the call reads one u32 through the pointer that `Setter` makes of the
    // value it owns, and writes nothing.
    let done: Result<(), Errno> = unsafe {
        ioctl(&folder, Setter::<{ EXT4_IOC_SHUTDOWN }, u32>::new(EXT4_GOING_FLAGS_NOLOGFLUSH))
    };
    Ok(done?)
}
