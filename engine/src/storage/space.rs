//! Space: asked for before an upload begins, and reserved, so that a full disk is told at the
//! start and not in the middle of a file.

use super::directory::Directory;
use super::error::{Resource, StorageError};
use rustix::fs::{FallocateFlags, Stat};
use rustix::io::Errno;
use std::os::fd::AsFd;
use towline_types::FileSize;
use towline_types::block::BLOCK_SIZE_BYTES;

/// What the kernel counts `st_blocks` in, whatever the file system's own block.
const STAT_BLOCK_BYTES: u64 = 512;

/// The bytes an unprivileged process may still fill.
pub(super) fn free_bytes(volume: &Directory) -> Result<u64, StorageError> {
    let stat = rustix::fs::fstatvfs(volume)
        .map_err(|errno| StorageError::new("read the free space", errno))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether the file system has no room for one more file, whatever its size. Some count no
/// files, and say that there is room for none.
fn has_no_files_left(folder: &Directory) -> bool {
    rustix::fs::fstatvfs(folder).is_ok_and(|stat| stat.f_files > 0 && stat.f_favail == 0)
}

/// Says what is used up, where the system has only said that something is: it has one
/// word for bytes and files.
pub(super) fn name_resource(error: StorageError, folder: &Directory) -> StorageError {
    match error {
        StorageError::NoSpace { resource: Resource::Bytes, missing_bytes: None, place }
            if has_no_files_left(folder) =>
        {
            StorageError::NoSpace { resource: Resource::Files, missing_bytes: None, place }
        }
        error => error,
    }
}

/// Refuses a file for which the volume, less `reserve_bytes`, has no room.
/// `held_bytes` of it are on the volume already.
pub(super) fn require(
    volume: &Directory,
    reserve_bytes: u64,
    filesize: FileSize,
    held_bytes: u64,
) -> Result<(), StorageError> {
    let wanted_bytes = filesize.get().saturating_sub(held_bytes);
    // An empty file takes nothing, and must not fail for a reserve that is gone.
    if wanted_bytes == 0 {
        return Ok(());
    }
    let missing_bytes =
        wanted_bytes.saturating_add(reserve_bytes).saturating_sub(free_bytes(volume)?);
    if missing_bytes > 0 { Err(StorageError::no_room(missing_bytes)) } else { Ok(()) }
}

/// The bytes a file takes on the volume, reserved ones included.
pub(super) fn held_bytes(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(STAT_BLOCK_BYTES)
}

/// Reserves room for the whole file, and leaves its length alone: a length says
/// nothing here but how far bytes were written.
///
/// A file of one block or less is not worth the call: it is mostly published before
/// its space would have been reserved. Where the file system cannot reserve, writes
/// may find the disk full later, and say so.
pub(super) fn reserve(file: impl AsFd, filesize: FileSize) -> Result<(), StorageError> {
    if filesize.get() <= BLOCK_SIZE_BYTES {
        return Ok(());
    }
    loop {
        match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, filesize.get()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(StorageError::new("reserve space", errno)),
        }
    }
}
