//! Reading, writing and making files: what all files of the storage have in common.

use super::directory::stamp;
use super::error::{Loss, StorageError};
use super::{FileLook, ReadAt};
use rustix::fs::{Advice, Mode, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use towline_state::catalog::FileStamp;
use towline_types::Offset;

/// A published file keeps this mode: its owner writes, its group reads, less what the
/// process' umask takes. Until then the staging folder itself shuts everyone out.
/// Set at once and not at publish, where a power cut could undo it (P2).
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP);

/// What the system was asked to do, where a file is made.
pub(super) const MAKE: &str = "make the staging file";

/// Begins write-back by `POSIX_FADV_DONTNEED`, since nothing safe offers `sync_file_range`: in
/// the kernel both begin with the same call, write-back without waiting, and the pages just
/// written stay in the cache because they are then under write-back.
///
/// No errors: those of the device stay with the descriptor until its sync, which this, unlike
/// a waiting call, does not take from it.
pub(super) fn start_writeback(file: impl AsFd, from: Offset, length_bytes: u64) {
    if let Some(length) = NonZeroU64::new(length_bytes) {
        let _ = rustix::fs::fadvise(&file, from.get(), Some(length), Advice::DontNeed);
    }
}

/// A published file of a disk, held open for reading.
#[derive(Debug)]
pub(super) struct DiskFile(pub(super) File);

impl AsFd for DiskFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ReadAt for DiskFile {
    fn read_at(&self, buffer: &mut [u8], at: Offset) -> Result<usize, StorageError> {
        loop {
            match rustix::io::pread(&self.0, &mut *buffer, at.get()) {
                Ok(read) => return Ok(read),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(StorageError::unreadable(errno.into())),
            }
        }
    }

    fn look(&self) -> Result<FileLook, StorageError> {
        let stat = rustix::fs::fstat(&self.0)
            .map_err(|errno| StorageError::new("look at the open file", errno))?;
        let FileStamp { inode, modified_ns, .. } = stamp(&stat);
        Ok(FileLook { length_bytes: length_bytes(&stat), inode, modified_ns })
    }

    fn drop_cached(&self) {
        drop_cached(&self.0);
    }
}

/// Fills the buffer from that position of a file.
pub(super) fn read_exact_at(
    file: impl AsFd,
    buffer: &mut [u8],
    at: Offset,
    what: &'static str,
) -> Result<(), StorageError> {
    let expected_bytes = at.get() + buffer.len() as u64;
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let found_bytes = at.get() + filled as u64;
        match rustix::io::pread(&file, rest, found_bytes) {
            Ok(0) => {
                return Err(StorageError::Lost(Loss::Length { expected_bytes, found_bytes }));
            }
            Ok(read) => filled += read,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(StorageError::new(what, errno)),
        }
    }
    Ok(())
}

/// Writes all the bytes at that position of a file.
pub(super) fn write_all_at(file: &OwnedFd, bytes: &[u8], at: Offset) -> Result<(), StorageError> {
    const WHAT: &str = "write to the staging file";
    let mut rest = bytes;
    let mut at = at.get();
    while !rest.is_empty() {
        match rustix::io::pwrite(file, rest, at) {
            Ok(0) => return Err(StorageError::new(WHAT, Errno::IO)),
            Ok(written) => {
                rest = rest.get(written..).unwrap_or_default();
                at += written as u64;
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::NOSPC) => return Err(StorageError::no_room(rest.len() as u64)),
            Err(errno) => return Err(StorageError::new(WHAT, errno)),
        }
    }
    Ok(())
}

/// Drops what memory holds of a file, as far as it is on the device.
pub(super) fn drop_cached(file: impl AsFd) {
    // Advice: where it is not taken, the bytes are read from memory and may be better
    // than the disk's.
    let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
}

/// The length of a file in bytes.
pub(super) fn length_bytes(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
