//! Documents that got their names before their bytes were durable, as a relaxed server
//! leaves them when it dies. Nothing was promised of them (P1), and nothing
//! vouches for their bytes: neither the row, for a power cut may have taken them, nor
//! the page cache, for it may hold what a failed write-back has lost (P5).
//!
//! So the volume is synced, memory is made to forget, and what the disk says is hashed.
//! Only then is such a document completed; else what has its name is taken out of its
//! place (P2).

use crate::error::Error;
use crate::file_hash;
use crate::log;
use crate::shared::Shared;
use crate::storage::StorageError;
use towline_state::catalog::{Bytes, Document};
use towline_types::{DocumentPath, FileHash, Offset};
use towline_upload::Phase;

/// Syncs the volume where one of these rows is such a document's. To be done before their bytes
/// are checked.
///
/// # Errors
/// Where the volume is closed, now or since a sync that failed: nothing is known of
/// them before the next start.
pub(crate) fn sync_volume<'a>(
    shared: &Shared,
    rows: impl IntoIterator<Item = &'a Document>,
) -> Result<(), Error> {
    // Whether anything was moved to their places is not known, so nothing follows from
    // it for the folders there. A store that cannot defer a sync has nothing to sync here.
    if rows.into_iter().any(|row| row.bytes != Bytes::Synced)
        && let Some(storage) = shared.storage.deferred()
    {
        storage.sync_all()?;
    }
    Ok(())
}

/// Refuses to look at such a row where it could not be synced.
pub(crate) fn refuse_if_unsynced(shared: &Shared, row: &Document) -> Result<(), Error> {
    if row.bytes != Bytes::Synced && shared.storage.latch().is_closed() {
        return Err(StorageError::ReadOnly.into());
    }
    Ok(())
}

/// What is found where the bytes of such a document belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentCheck {
    /// To the byte, what was verified.
    Whole,
    /// Something else, or nothing.
    NotWhole,
    /// The disk does not give the bytes out: they are not served, and not deleted.
    Unreadable,
}

/// Checks the bytes of the staging file.
pub(crate) fn check_staged(
    shared: &Shared,
    row: &Document,
    blake3: FileHash,
) -> Result<ContentCheck, Error> {
    if !is_doubtful(shared, row) {
        return Ok(ContentCheck::Whole);
    }
    let staging = match shared.storage.open(row.document_id) {
        Err(StorageError::Lost(_)) => return Ok(ContentCheck::NotWhole),
        answer => answer?,
    };
    staging.drop_cached();
    let read = |buffer: &mut [u8], at: Offset| staging.read_exact_at(buffer, at);
    check(file_hash::of_blocks(row.filesize, read, |_, _| Ok(true)), blake3)
}

/// Checks the bytes of the file under its name.
pub(crate) fn check_named(
    shared: &Shared,
    row: &Document,
    path: &DocumentPath,
    blake3: FileHash,
) -> Result<ContentCheck, Error> {
    if !is_doubtful(shared, row) {
        return Ok(ContentCheck::Whole);
    }
    let Some(file) = shared.storage.published(row.user_id, path)? else {
        return Ok(ContentCheck::NotWhole);
    };
    let file = file.from_device();
    let read = |buffer: &mut [u8], at: Offset| file.read_exact_at(buffer, at);
    check(file_hash::of_blocks(row.filesize, read, |_, _| Ok(true)), blake3)
}

fn check(
    found: Result<Option<FileHash>, StorageError>,
    blake3: FileHash,
) -> Result<ContentCheck, Error> {
    match found {
        Ok(found) if found == Some(blake3) => Ok(ContentCheck::Whole),
        Ok(_) | Err(StorageError::Lost(_)) => Ok(ContentCheck::NotWhole),
        Err(error) if error.is_damage() => {
            tracing::error!(
                error = log::chain(&error),
                "the disk does not give out what was written"
            );
            Ok(ContentCheck::Unreadable)
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes the staging area of an upload to where what was set aside lies, for what ends without
/// a document is deleted.
pub(crate) fn set_staged_aside(shared: &Shared, row: &Document) -> Result<(), Error> {
    let id = row.document_id;
    let Some(disk) = shared.storage.local_disk() else { return Ok(()) };
    if let Some(place) = disk.set_upload_aside(id)? {
        let place = place.display();
        tracing::warn!(document_id = %id, %place, "what is there of it was set aside");
    }
    Ok(())
}

/// Takes what has the name of such a document out of its place, for it is not whole:
/// the document's own file, known by its inode, and no other.
pub(crate) fn set_named_aside(shared: &Shared, row: &Document) -> Result<(), Error> {
    let (Bytes::Cached { inode }, Phase::Publishing, Some(path)) =
        (row.bytes, row.phase, &row.file_path)
    else {
        return Ok(());
    };
    match shared.storage.published(row.user_id, path) {
        Ok(Some(file)) if file.file_number() == inode => {}
        Ok(_) | Err(StorageError::Unsafe { .. } | StorageError::NotAFolder) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let id = row.document_id;
    let disk = shared.storage.local_disk();
    let disk = disk.ok_or_else(|| StorageError::unsupported("set a damaged file aside"))?;
    match disk.set_damaged_aside(id, row.user_id, path) {
        Ok(place) => {
            let place = place.display();
            tracing::warn!(document_id = %id, %path, %place, "not whole on the disk; it was set aside");
            Ok(())
        }
        Err(StorageError::Lost(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether nothing vouches for the bytes of a publishing document. Those that this very
/// process has written, and not failed to sync, are as it wrote them.
fn is_doubtful(shared: &Shared, row: &Document) -> bool {
    row.bytes != Bytes::Synced && !shared.deferred.knows(row.document_id)
}
