//! Documents that got their names before their bytes were durable, as a relaxed server
//! leaves them when it dies. Nobody was promised anything of them (P1), and nothing
//! vouches for their bytes: neither the row, for a power cut may have taken them, nor
//! the page cache, for it may hold what a failed write-back has lost (P5).
//!
//! So the volume is synced, memory is made to forget, and what the disk says is hashed.
//! Only then is such a document completed; else what has its name is taken out of its
//! place (P2).

use crate::failure::Failure;
use crate::file_hash;
use crate::log;
use crate::service::Service;
use crate::storage::StorageError;
use towline_state::catalog::{Bytes, Document};
use towline_types::{DocumentPath, FileHash, Offset};
use towline_upload::Phase;

/// Syncs what such rows speak of. To be done before anything is believed of them.
///
/// # Errors
/// Where the volume is closed, now or since a sync that failed: nothing is known of
/// them before the next start.
pub(super) fn sync<'a>(
    service: &Service,
    rows: impl IntoIterator<Item = &'a Document>,
) -> Result<(), Failure> {
    // Whether anything was moved to their places is not known, so nothing follows from
    // it for the folders there. A store that cannot defer a sync has nothing to sync here.
    if rows.into_iter().any(|row| row.bytes != Bytes::Synced)
        && let Some(storage) = service.storage.deferred()
    {
        storage.sync_all()?;
    }
    Ok(())
}

/// Refuses to look at such a row where it could not be synced.
pub(super) fn refuse_if_unsynced(service: &Service, row: &Document) -> Result<(), Failure> {
    if row.bytes != Bytes::Synced && service.storage.latch().is_closed() {
        return Err(StorageError::ReadOnly.into());
    }
    Ok(())
}

/// What is found where the bytes of such a document belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// To the byte, what was verified.
    Whole,
    /// Something else, or nothing.
    NotWhole,
    /// The disk does not give the bytes out: they are not served, and not deleted.
    Unreadable,
}

/// Looks at the staging area.
pub(super) fn look_at_staged(
    service: &Service,
    row: &Document,
    blake3: FileHash,
) -> Result<Look, Failure> {
    if !is_doubtful(service, row) {
        return Ok(Look::Whole);
    }
    let staging = match service.storage.open(row.document_id) {
        Err(StorageError::Lost(_)) => return Ok(Look::NotWhole),
        answer => answer?,
    };
    staging.drop_cached();
    let read = |buffer: &mut [u8], at: Offset| staging.read_exact_at(buffer, at);
    look(file_hash::of_blocks(row.filesize, read, |_, _| Ok(true)), blake3)
}

/// Looks at the file under its name.
pub(super) fn look_at_named(
    service: &Service,
    row: &Document,
    path: &DocumentPath,
    blake3: FileHash,
) -> Result<Look, Failure> {
    if !is_doubtful(service, row) {
        return Ok(Look::Whole);
    }
    let Some(file) = service.storage.published(row.user_id, path)? else {
        return Ok(Look::NotWhole);
    };
    let file = file.from_device();
    let read = |buffer: &mut [u8], at: Offset| file.read_exact_at(buffer, at);
    look(file_hash::of_blocks(row.filesize, read, |_, _| Ok(true)), blake3)
}

fn look(found: Result<Option<FileHash>, StorageError>, blake3: FileHash) -> Result<Look, Failure> {
    match found {
        Ok(found) if found == Some(blake3) => Ok(Look::Whole),
        Ok(_) | Err(StorageError::Lost(_)) => Ok(Look::NotWhole),
        Err(error) if error.is_damage() => {
            tracing::error!(
                error = log::chain(&error),
                "the disk does not give out what was written"
            );
            Ok(Look::Unreadable)
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes the staging area of an upload to where what was set aside lies, for what ends without
/// a document is deleted.
pub(super) fn keep_staged(service: &Service, row: &Document) -> Result<(), Failure> {
    let id = row.document_id;
    let Some(disk) = service.storage.local_disk() else { return Ok(()) };
    if let Some(place) = disk.set_upload_aside(id)? {
        let place = place.display();
        tracing::warn!(document_id = %id, %place, "what is there of it was set aside");
    }
    Ok(())
}

/// Takes what has the name of such a document out of its place, for it is not whole:
/// the document's own file, known by its inode, and nobody else's.
pub(super) fn take_back_name(service: &Service, row: &Document) -> Result<(), Failure> {
    let (Bytes::Cached { inode }, Phase::Publishing, Some(path)) =
        (row.bytes, row.phase, &row.file_path)
    else {
        return Ok(());
    };
    match service.storage.published(row.user_id, path) {
        Ok(Some(file)) if file.file_number() == inode => {}
        Ok(_) | Err(StorageError::Unsafe { .. } | StorageError::NotAFolder) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let id = row.document_id;
    let disk = service.storage.local_disk();
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
fn is_doubtful(service: &Service, row: &Document) -> bool {
    row.bytes != Bytes::Synced && !service.settling.knows(row.document_id)
}
