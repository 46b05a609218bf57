//! The last step of a document whose folder is on another file system than the staging
//! files: a disk is mounted at the folder of a user, or below it. A rename does not lead
//! there, so the file is copied, by the recipe that all published files get:
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
//! The row says `publishing` from before step 1 to that commit, so that a start after a
//! crash comes back here (P4). Before step 4 it finds the staging file and the copy: the
//! copy is removed and made anew. Behind step 4 it finds both the staging file and a file
//! with these very bytes under the final name: that one is synced again, and the rest done.
//!
//! Reading, copying and comparing may take minutes, so the caller is asked before the first
//! block and after each whether to go on. Where the answer is no, the half copy is removed,
//! and the row goes on saying `publishing`: it is as after a crash before step 4.
//!
//! A sync that fails there says nothing about the staging files: the other file system
//! takes no more copies until the server is started again, and all else goes on (P5).

use super::directory::{Directory, is_plain_file};
use super::error::{Loss, StorageError};
use super::file::{FILE_MODE, read_exact_at, start_writeback, write_all_at};
use super::rename_no_replace::{Moved, move_to_free_name};
use super::user_folder::UserFolder;
use super::volume::Volume;
use super::{GoesOn, Put, reserved_space, space};
use crate::{failpoint, read_and_hash};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use towline_types::{BlockIndex, FileHash, FileSize, Offset};

const WHAT: &str = "copy the file to the file system of its folder";

/// Write-back is started whenever that much has been copied: else the sync at the end could
/// take longer than a server has for its stop.
const WRITEBACK_BYTES: u64 = 8 << 20;

/// The names that a document has on its way.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    /// That of its staging file.
    pub(super) old: &'a OsStr,
    /// That of the copy, as long as it is not its final one.
    pub(super) copy: &'a OsStr,
    /// The final one.
    pub(super) new: &'a OsStr,
}

/// Copies a staging file to its final name; see the module's description. The folders
/// above are synced here too. The staging file is the caller's to discard.
pub(super) fn publish(
    volume: &Volume,
    folder: &UserFolder,
    names: Names<'_>,
    blake3: FileHash,
    goes_on: GoesOn<'_>,
) -> Result<Put, StorageError> {
    let Names { copy: copy_name, new, .. } = names;
    let there = &*folder.directory;
    let mut moved = None;
    match ready(volume, folder, names, Taken::Refuse, (blake3, goes_on))? {
        Ready::Stopped => return Ok(Put::Stopped),
        Ready::InPlace => {}
        Ready::Copied => match move_to_free_name(there, copy_name, there, new) {
            Ok(named) => moved = Some(named),
            Err(errno) => {
                // Where the removal fails too, the next try removes it.
                let _ = there.remove(copy_name);
                return Err(match errno {
                    Errno::EXIST => StorageError::Exists,
                    errno => StorageError::new(WHAT, errno),
                });
            }
        },
    }
    failpoint::reach("publish.copy_named");
    let synced = folder.sync(folder.ticket(), &volume.latch).map_err(elsewhere);
    let durable = synced.and_then(|()| volume.user_folders.sync_parents(folder, &volume.latch));
    if let Err(error) = durable {
        // `SUCCESS` was not said for what was named just now, and the staging file is there.
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
    Ok(Put::InPlace)
}

/// What is done about another file that has the final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing is copied.
    Refuse,
    /// It is an older version of the document.
    Replace,
}

/// How far a document is that goes to another file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// Its bytes are durable under the name of a copy.
    Copied,
    /// A file with its bytes has the final name already, and its bytes are durable: an earlier call
    /// came as far as that.
    InPlace,
    /// It was not to go on. Nothing of the copy is left.
    Stopped,
}

/// All up to step 3.
pub(super) fn ready(
    volume: &Volume,
    folder: &UserFolder,
    names: Names<'_>,
    taken: Taken,
    (blake3, goes_on): (FileHash, GoesOn<'_>),
) -> Result<Ready, StorageError> {
    let there = &*folder.directory;
    if !goes_on(Offset::ZERO) {
        return Ok(Ready::Stopped);
    }
    let from = (volume.staging.directory)
        .file(names.old, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
        .map_err(|errno| StorageError::opening(WHAT, errno))?;
    let stat = rustix::fs::fstat(&from).map_err(|errno| StorageError::new(WHAT, errno))?;
    let filesize =
        FileSize::from_i64(stat.st_size).map_err(|_| StorageError::new(WHAT, Errno::OVERFLOW))?;
    match look(there, names.new, (filesize, blake3), goes_on)? {
        InPlace::Same(file) => {
            folder.latch(&volume.latch).sync(|| rustix::fs::fsync(&file)).map_err(elsewhere)?;
            return Ok(Ready::InPlace);
        }
        InPlace::NotRead => return Ok(Ready::Stopped),
        InPlace::Other if taken == Taken::Refuse => return Err(StorageError::Exists),
        InPlace::Other | InPlace::Nothing => {}
    }
    let copied = copy(volume, &from, folder, names.copy, (filesize, blake3), goes_on);
    if !matches!(copied, Ok(Put::InPlace)) {
        // Where the removal fails too, the next try removes it.
        let _ = there.remove(names.copy);
    }
    Ok(match copied? {
        Put::Stopped => Ready::Stopped,
        Put::InPlace => {
            failpoint::reach("publish.copied");
            Ready::Copied
        }
    })
}

/// Steps 1 to 3.
fn copy(
    volume: &Volume,
    from: &OwnedFd,
    folder: &UserFolder,
    name: &OsStr,
    (filesize, blake3): (FileSize, FileHash),
    goes_on: GoesOn<'_>,
) -> Result<Put, StorageError> {
    let there = &*folder.directory;
    let make = || {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        there.file(name, flags, FILE_MODE)
    };
    let made = match make() {
        // What an earlier call left that was cut off. No other thread copies this document.
        Err(Errno::EXIST) => there.remove(name).and_then(|()| make()),
        answer => answer,
    };
    let full = |error| space::name_resource(error, there);
    let to = made.map_err(|errno| full(StorageError::opening(WHAT, errno)))?;
    reserved_space::reserve_whole(&to, filesize).map_err(full)?;
    let mut written_back = Offset::ZERO;
    let hash = hash(from, filesize, |bytes, index| {
        write_all_at(&to, bytes, index.start()).map_err(|error| match error {
            // How much is missing in all is not known here.
            StorageError::NoSpace { resource, place, .. } => {
                StorageError::NoSpace { resource, missing_bytes: None, place }
            }
            error => error,
        })?;
        let end = index.end(filesize);
        let since_bytes = end.get() - written_back.get();
        if since_bytes >= WRITEBACK_BYTES {
            start_writeback(&to, written_back, since_bytes);
            written_back = end;
        }
        failpoint::reach("publish.copy_block");
        Ok(goes_on(end))
    })?;
    match hash {
        None => return Ok(Put::Stopped),
        Some(hash) if hash != blake3 => return Err(StorageError::Lost(Loss::Altered)),
        Some(_) => {}
    }
    folder.latch(&volume.latch).sync(|| rustix::fs::fdatasync(&to)).map_err(elsewhere)?;
    Ok(Put::InPlace)
}

/// What has the final name.
enum InPlace {
    Nothing,
    /// A file with the very bytes of the document, held open.
    Same(OwnedFd),
    Other,
    /// A file that was not read to its end, because it was not to go on.
    NotRead,
}

fn look(
    there: &Directory,
    name: &OsStr,
    (filesize, blake3): (FileSize, FileHash),
    goes_on: GoesOn<'_>,
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
    match hash(&file, filesize, |_, index| Ok(goes_on(index.end(filesize)))) {
        Ok(Some(hash)) if hash == blake3 => Ok(InPlace::Same(file)),
        Ok(None) => Ok(InPlace::NotRead),
        _ => Ok(InPlace::Other),
    }
}

/// The hash of a file of that size; nothing where `take`, which gets each block, says that it
/// is not to go on.
fn hash(
    file: impl AsFd,
    filesize: FileSize,
    take: impl FnMut(&[u8], BlockIndex) -> Result<bool, StorageError>,
) -> Result<Option<FileHash>, StorageError> {
    read_and_hash::of_blocks(filesize, |buffer, at| read_exact_at(&file, buffer, at, WHAT), take)
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
