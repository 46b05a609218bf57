//! Space: asked for before an upload begins, so that a full disk is told at the start and not in the
//! middle of a file.

use super::directory::Directory;
use super::error::{self, StorageError};
use rustix::fs::Stat;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use towline_types::FileSize;

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
        StorageError::NoSpace { resource: error::Resource::Bytes, missing_bytes: None, place }
            if has_no_files_left(folder) =>
        {
            StorageError::NoSpace { resource: error::Resource::Files, missing_bytes: None, place }
        }
        error => error,
    }
}

/// What a new file, folder or link takes of the disk besides its bytes: a name, a number of the file
/// system and rows of the catalog, rounded up. Without it the catalog's room could be used up by
/// empty files (P6).
const NEW_ENTRY_BYTES: u64 = 16 << 10;

/// Refuses what takes that many bytes more, where the volume, less `reserve_bytes`, has no room for
/// it.
pub(super) fn require(
    volume: &Directory,
    reserve_bytes: u64,
    wanted_bytes: u64,
) -> Result<(), StorageError> {
    let missing_bytes =
        wanted_bytes.saturating_add(reserve_bytes).saturating_sub(free_bytes(volume)?);
    if wanted_bytes > 0 && missing_bytes > 0 {
        return Err(StorageError::no_room(missing_bytes));
    }
    Ok(())
}

/// The same for a new file of that size.
pub(super) fn require_new(
    volume: &Directory,
    reserve_bytes: u64,
    filesize: FileSize,
) -> Result<(), StorageError> {
    refuse_beyond_limit(filesize)?;
    require(volume, reserve_bytes, wanted_bytes(filesize, reserve_bytes))
}

/// How many bytes a new file of that size takes. What it takes besides its bytes counts where there
/// is a reserve, which is kept for the catalog.
pub(crate) const fn wanted_bytes(filesize: FileSize, reserve_bytes: u64) -> u64 {
    match reserve_bytes {
        0 => filesize.get(),
        _ => filesize.get().saturating_add(NEW_ENTRY_BYTES),
    }
}

/// Refuses a file that is longer than this process may write (`ulimit -f`), before a byte of it has
/// come.
pub(super) fn refuse_beyond_limit(filesize: FileSize) -> Result<(), StorageError> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if filesize.get() > limit => {
            Err(StorageError::new("make a file of that length", Errno::FBIG))
        }
        _ => Ok(()),
    }
}

/// The bytes a file takes on the volume, reserved ones included.
pub(super) fn held_bytes(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(STAT_BLOCK_BYTES)
}
