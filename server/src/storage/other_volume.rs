//! The last step of a document whose folder is on another file system than the staging
//! files: somebody has mounted a disk as the folder of a user, or below it. A rename does
//! not lead there, so the file is copied, by the recipe that all published files get:
//!
//! 1. It is copied into its folder, under a name that no document can have. Of the final
//!    name there is nothing yet (P2).
//! 2. While it is read it is hashed, and must be what was verified (P2, P5).
//! 3. The copy is synced before it has its name (P2).
//! 4. It is renamed to a name that nothing has (P2: never over another file).
//! 5. Its folder is synced, then the folders above it (P3).
//!
//! The staging file stays. The caller records the row as `completed` and discards the
//! staging file then: until that commit the bytes that were promised are where they were
//! promised (P1), also for a start at which the other disk is not mounted.
//!
//! The row says `publishing` from before step 1 to that commit, so that a start behind a
//! crash comes back here (P4). Before step 4 it finds the staging file and the copy: the
//! copy is removed and made anew. Behind step 4 it finds both the staging file and a file
//! with these very bytes under the final name: that one is synced again, and the rest done.
//!
//! A sync that fails there says nothing about the staging files: the other file system
//! takes no more copies until the server is started again, and all else goes on (P5).

use super::directory::{Directory, is_plain_file};
use super::disk::Volume;
use super::error::{Loss, StorageError};
use super::publish::{Moved, move_to_free_name};
use super::staging::{FILE_MODE, write_all_at};
use super::user_folders::UserFolder;
use super::{paths, space};
use crate::failpoint;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use towline_protocol::block::{BLOCK_SIZE_BYTES, hash_block, hash_file};
use towline_protocol::{BlockIndex, ChainingValue, DocumentId, FileHash, FileSize, Offset};

#[expect(clippy::cast_possible_truncation, reason = "a block is 1 MiB")]
const BLOCK_BYTES: usize = BLOCK_SIZE_BYTES as usize;

const WHAT: &str = "copy the file to the file system of its folder";

/// Copies a staging file to its final name; see the module's description. The folders
/// above are settled here too. The staging file is the caller's to discard.
pub(super) fn publish(
    volume: &Volume,
    id: DocumentId,
    old: &OsStr,
    folder: &UserFolder,
    new: &OsStr,
    blake3: FileHash,
) -> Result<(), StorageError> {
    let staging = &volume.staging.directory;
    let there = &*folder.directory;
    let from = staging
        .file(old, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
        .map_err(|errno| StorageError::opening(WHAT, errno))?;
    let stat = rustix::fs::fstat(&from).map_err(|errno| StorageError::new(WHAT, errno))?;
    let filesize =
        FileSize::from_i64(stat.st_size).map_err(|_| StorageError::new(WHAT, Errno::OVERFLOW))?;
    let copy_name = paths::copy_in_final_folder(id);
    let copy_name = OsStr::new(&copy_name);
    let mut moved = None;
    match look(there, new, filesize, blake3)? {
        InPlace::Nothing => {
            let copied = copy(volume, &from, filesize, folder, copy_name, blake3).and_then(|()| {
                failpoint::reach("publish.copied");
                move_to_free_name(there, copy_name, there, new).map_err(|errno| match errno {
                    Errno::EXIST => StorageError::Exists,
                    errno => StorageError::new(WHAT, errno),
                })
            });
            // Where the removal fails too, the next try removes it.
            moved = Some(copied.inspect_err(|_| {
                let _ = there.remove(copy_name);
            })?);
        }
        // An earlier call came as far as that.
        InPlace::Same(file) => {
            folder.latch(&volume.latch).sync(|| rustix::fs::fsync(&file)).map_err(elsewhere)?;
        }
        InPlace::Other => return Err(StorageError::Exists),
    }
    failpoint::reach("publish.copy_named");
    let synced = folder.sync(folder.ticket(), &volume.latch).map_err(elsewhere);
    let settled = synced.and_then(|()| volume.user_folders.settle(folder, &volume.latch));
    if let Err(error) = settled {
        // Nobody was told of what was named just now, and the staging file is still there.
        if moved.is_some() {
            let _ = there.remove(new);
        }
        return Err(error);
    }
    failpoint::reach("publish.copy_settled");
    // The document is in its place for good. A start removes what cannot be removed now.
    if moved == Some(Moved::OldNameStays) {
        let _ = there.remove(copy_name);
    }
    Ok(())
}

/// Steps 1 to 3.
fn copy(
    volume: &Volume,
    from: &OwnedFd,
    filesize: FileSize,
    folder: &UserFolder,
    name: &OsStr,
    blake3: FileHash,
) -> Result<(), StorageError> {
    let there = &*folder.directory;
    let make = || {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        there.file(name, flags, FILE_MODE)
    };
    let made = match make() {
        // What an earlier call left that was cut off. Nobody else works on this document.
        Err(Errno::EXIST) => there.remove(name).and_then(|()| make()),
        answer => answer,
    };
    let full = |error| space::name_resource(error, there);
    let to = made.map_err(|errno| full(StorageError::opening(WHAT, errno)))?;
    space::reserve(&to, filesize).map_err(full)?;
    let hash = read_all(from, filesize, |bytes, at| {
        write_all_at(&to, bytes, at).map_err(|error| match error {
            // How much is missing in all is not known here.
            StorageError::NoSpace { resource, .. } => {
                StorageError::NoSpace { resource, missing_bytes: None }
            }
            error => error,
        })
    })?;
    if hash != blake3 {
        return Err(StorageError::Lost(Loss::Altered));
    }
    folder.latch(&volume.latch).sync(|| rustix::fs::fdatasync(&to)).map_err(elsewhere)
}

/// What has the final name.
enum InPlace {
    Nothing,
    /// A file with the very bytes of the document, held open.
    Same(OwnedFd),
    Other,
}

fn look(
    there: &Directory,
    name: &OsStr,
    filesize: FileSize,
    blake3: FileHash,
) -> Result<InPlace, StorageError> {
    let stat = match there.stat(name) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(InPlace::Nothing),
        Err(errno) => return Err(StorageError::new(WHAT, errno)),
    };
    if !is_plain_file(&stat) || stat.st_size != filesize.to_i64() {
        return Ok(InPlace::Other);
    }
    let Ok(file) = there.file(name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) else {
        return Ok(InPlace::Other);
    };
    match read_all(&file, filesize, |_, _| Ok(())) {
        Ok(hash) if hash == blake3 => Ok(InPlace::Same(file)),
        _ => Ok(InPlace::Other),
    }
}

/// Reads a file of that size block by block, hands each on and tells the hash of all.
fn read_all(
    file: impl AsFd,
    filesize: FileSize,
    mut take: impl FnMut(&[u8], Offset) -> Result<(), StorageError>,
) -> Result<FileHash, StorageError> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut values: Vec<ChainingValue> = Vec::new();
    let mut index = BlockIndex::FIRST;
    let mut at = 0;
    while at < filesize.get() {
        let length = usize::try_from(filesize.get() - at).unwrap_or(usize::MAX).min(block.len());
        let bytes = &mut block[..length];
        let mut filled = 0;
        while filled < length {
            match rustix::io::pread(&file, &mut bytes[filled..], at + filled as u64) {
                Ok(0) => {
                    let (expected_bytes, found_bytes) = (filesize.get(), at + filled as u64);
                    return Err(StorageError::Lost(Loss::Length { expected_bytes, found_bytes }));
                }
                Ok(read) => filled += read,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(StorageError::new(WHAT, errno)),
            }
        }
        values.push(hash_block(index, filesize, bytes));
        take(bytes, Offset::try_from(at).unwrap_or(Offset::ZERO))?;
        at += length as u64;
        index = index.next();
    }
    Ok(hash_file(filesize, values))
}

/// A failed sync of another file system is no failure of the staging files' own.
pub(super) fn elsewhere(error: StorageError) -> StorageError {
    match error {
        StorageError::SyncFailed(_) | StorageError::ReadOnly => {
            StorageError::new("make the file durable on the file system of its folder", Errno::IO)
        }
        error => error,
    }
}
