//! Documents that got their names before their bytes were durable, as a relaxed server
//! leaves them when it dies. Nobody was promised anything of them (P1), and nothing
//! vouches for their bytes: neither the row, for a power cut may have taken them, nor
//! the page cache, for it may hold what a failed write-back has lost (P5).
//!
//! So the volume is synced, memory is made to forget, and what the disk says is hashed.
//! Only then is such a document completed; else what has its name is taken out of its
//! place (P2).

use crate::failure::Failure;
use crate::service::Service;
use crate::storage::StorageError;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use towline_protocol::block::{block_count, hash_block, hash_file};
use towline_protocol::{BlockIndex, DocumentPath, FileHash, FileSize, Offset};
use towline_state::catalog::{Bytes, Document};
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
    let place = |row: &Document| Some((row.user_id, row.file_path.clone()?));
    let cached = rows.into_iter().filter(|row| row.bytes != Bytes::Synced);
    let places: Vec<_> = cached.filter_map(place).collect();
    if !places.is_empty() {
        service.storage.settle_all(&places)?;
    }
    Ok(())
}

/// Refuses to look at such a row where it could not be synced.
pub(super) fn refuse_if_unsynced(service: &Service, row: &Document) -> Result<(), Failure> {
    if row.bytes != Bytes::Synced && service.storage.is_read_only() {
        return Err(StorageError::ReadOnly.into());
    }
    Ok(())
}

/// Whether the staging area is, to the byte, what was verified.
pub(super) fn is_staged_whole(
    service: &Service,
    row: &Document,
    blake3: FileHash,
) -> Result<bool, Failure> {
    if !is_doubtful(service, row) {
        return Ok(true);
    }
    let staging = match service.storage.open(row.document_id) {
        Err(StorageError::Lost(_)) => return Ok(false),
        answer => answer?,
    };
    staging.drop_cached();
    match hash(row.filesize, |buffer, at| staging.read_exact_at(buffer, at)) {
        Ok(found) => Ok(found == blake3),
        Err(StorageError::Lost(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the file under its name is.
pub(super) fn is_named_whole(
    service: &Service,
    row: &Document,
    path: &DocumentPath,
    blake3: FileHash,
) -> Result<bool, Failure> {
    if !is_doubtful(service, row) {
        return Ok(true);
    }
    let Some(file) = service.storage.open_published(row.user_id, path)? else { return Ok(false) };
    match hash(row.filesize, |buffer, at: Offset| file.read_exact_at(buffer, at.get())) {
        Ok(found) => Ok(found == blake3),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(StorageError::unreadable(error).into()),
    }
}

/// Takes what has the name of such a document out of its place, for it is not whole:
/// the document's own file, known by its inode, and nobody else's.
pub(super) fn take_back_name(service: &Service, row: &Document) -> Result<(), Failure> {
    let (Bytes::Cached { inode }, Phase::Publishing, Some(path)) =
        (row.bytes, row.phase, &row.file_path)
    else {
        return Ok(());
    };
    match service.storage.open_published(row.user_id, path) {
        Ok(Some(file)) if is_file(&file, inode).map_err(StorageError::unreadable)? => {}
        Ok(_) | Err(StorageError::Unsafe { .. } | StorageError::NotAFolder) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let id = row.document_id;
    match service.storage.set_damaged_aside(id, row.user_id, path) {
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

fn is_file(file: &File, inode: u64) -> io::Result<bool> {
    Ok(file.metadata()?.ino() == inode)
}

/// The hash of a whole file, read block by block.
fn hash<E>(
    filesize: FileSize,
    mut read: impl FnMut(&mut [u8], Offset) -> Result<(), E>,
) -> Result<FileHash, E> {
    let mut buffer = Vec::new();
    let mut values = Vec::new();
    for index in (0..block_count(filesize)).map_while(BlockIndex::new) {
        let length = usize::try_from(index.length_bytes(filesize)).expect("a block fits in memory");
        buffer.resize(length, 0);
        read(&mut buffer, index.start())?;
        values.push(hash_block(index, filesize, &buffer));
    }
    Ok(hash_file(filesize, values))
}
