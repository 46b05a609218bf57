//! Checks documents that got their names before their bytes were durable. A server with relaxed
//! durability leaves such documents when it dies. No byte of them was promised (P1), and nothing
//! proves that their bytes are right: not the row, because a power cut may have taken the bytes,
//! and not the page cache, because the disk may have lost bytes that the page cache still has (P5).
//!
//! So the volume is synced, the bytes are dropped from the page cache, and those on the disk are
//! read and hashed. Only then such a document is completed; else the file under its name is set
//! aside (P2).

use crate::error::Error;
use crate::log;
use crate::read_and_hash;
use crate::shared::Shared;
use crate::storage::StorageError;
use towline_state::catalog::{Bytes, Document};
use towline_types::{DocumentPath, FileHash, Offset};
use towline_upload::Phase;

/// Syncs the volume if one of these rows belongs to such a document. The caller does that before it
/// checks their bytes.
///
/// # Errors
/// Where the volume is closed, by this sync or by an earlier one that failed: then nothing can be
/// known of these documents before the next start.
pub(crate) fn sync_volume<'a>(
    shared: &Shared,
    rows: impl IntoIterator<Item = &'a Document>,
) -> Result<(), Error> {
    // It is not known whether files were moved to the places of these rows, so their folders are
    // not synced one by one, but the whole volume. A store that cannot defer a sync has nothing to
    // sync here.
    if rows.into_iter().any(|row| row.bytes != Bytes::Synced)
        && let Some(storage) = shared.storage.deferred()
    {
        storage.sync_all()?;
    }
    Ok(())
}

/// Refuses to check the document of such a row if the volume could not be synced.
pub(crate) fn refuse_if_unsynced(shared: &Shared, row: &Document) -> Result<(), Error> {
    if row.bytes != Bytes::Synced && shared.storage.latch().is_closed() {
        return Err(StorageError::ReadOnly.into());
    }
    Ok(())
}

/// What is found where the bytes of such a document belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentCheck {
    /// Exactly the bytes that were verified.
    Whole,
    /// Other bytes, or nothing.
    NotWhole,
    /// The disk cannot read the bytes: they are not served, and not deleted.
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
    check(read_and_hash::of_blocks(row.filesize, read, |_, _| Ok(true)), blake3)
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
    check(read_and_hash::of_blocks(row.filesize, read, |_, _| Ok(true)), blake3)
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

/// Sets the staging area of an upload aside. Otherwise it would be deleted when the upload ends
/// without a document.
pub(crate) fn set_staged_aside(shared: &Shared, row: &Document) -> Result<(), Error> {
    let id = row.document_id;
    let Some(disk) = shared.storage.local_disk() else { return Ok(()) };
    if let Some(place) = disk.set_upload_aside(id)? {
        let place = place.display();
        tracing::warn!(document_id = %id, %place, "the bytes of an upload were set aside");
    }
    Ok(())
}

/// Sets the file of such a document aside, because it is not whole. The inode tells whether the file
/// under the name is the document's own: another file stays where it is.
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

/// Whether the bytes of a publishing document have to be read. They need not be read if they are
/// durable, or if this process wrote them and no sync of them has failed.
fn is_doubtful(shared: &Shared, row: &Document) -> bool {
    row.bytes != Bytes::Synced && !shared.deferred.knows(row.document_id)
}
