//! What a crash left, put in order before the first connection is taken.
//!
//! The decision is a pure function of what the row says and what lies on disk;
//! carrying it out may itself be cut off and is then simply done again (P4). Its
//! cost grows with the number of unfinished uploads, not with their bytes.

use crate::failpoint;
use crate::failure::Failure;
use crate::publish::{self, Order, Receipt};
use crate::service::Service;
use crate::storage::{Staged, StorageError};
use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use towline_protocol::block::{block_count, hash_block, hash_file};
use towline_protocol::{BlockIndex, DocumentId, DocumentPath, FileHash, FileSize, Offset};
use towline_state::catalog::{Bytes, CatalogError, Document, Unfinished};
use towline_upload::Phase;

/// What to do about one unfinished upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// All is as promised.
    Keep,
    /// More lies there than was promised; how much of it is good nobody knows.
    Truncate(Offset),
    /// Less lies there than was promised: never continued.
    Fail,
    /// It was on its way to its name.
    Publish,
    /// It has its name; only the row does not say so.
    Record,
}

/// What lies on disk for one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    /// The length of the staging area, where there is one.
    staging_bytes: Option<u64>,
    /// The length of the file under the name that the row says, where there is one.
    published: Option<FileSize>,
}

/// The rule. `durable_end` is where the last promised byte ends.
fn decide(phase: Phase, filesize: FileSize, durable_end: Offset, found: Found) -> Action {
    match (phase, found.staging_bytes) {
        (Phase::Publishing, Some(length)) if length == filesize.get() => Action::Publish,
        (Phase::Publishing, None) if found.published == Some(filesize) => Action::Record,
        (Phase::Publishing, _) => Action::Fail,
        (_, Some(length)) if length > durable_end.get() => Action::Truncate(durable_end),
        (_, Some(length)) if length == durable_end.get() => Action::Keep,
        // Shorter than promised, or gone. An upload of which nothing was promised
        // and that has no file was cut off at its birth: its writer never heard of it.
        (_, _) => Action::Fail,
    }
}

/// Puts everything in order. Blocks. What cannot be put in order for one upload
/// stays as it is for the next start, or for whoever asks for that upload.
///
/// # Errors
/// Where catalog or storage cannot be read at all: then nothing can be promised,
/// and the server does not start.
pub(crate) fn recover(service: &Service) -> Result<(), Failure> {
    failpoint::reach("recovery.begun");
    let mut staged: HashMap<DocumentId, Staged> = HashMap::new();
    let mut strays = Vec::new();
    for entry in service.storage.staged()? {
        match entry.id {
            Some(id) => drop(staged.insert(id, entry)),
            None => strays.push(entry),
        }
    }
    let unfinished = service.catalog.unfinished().wait()?;
    let count = unfinished.len();
    for row in unfinished {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                keep(&error);
                continue;
            }
        };
        let id = row.document.document_id;
        let staging_bytes = staged.remove(&id).map(|staging| staging.length_bytes);
        if let Err(error) = restore(service, &row, staging_bytes) {
            tracing::error!(document_id = %id, %error, "an upload could not be restored; it stays as it is");
        }
        failpoint::reach("recovery.restored");
    }
    for (id, entry) in staged {
        // A finished row whose staging area outlived it; without any row, somebody's
        // bytes: those are never deleted.
        match service.catalog.document(id).wait() {
            Ok(Some(_)) => {
                if let Err(error) = service.storage.discard(id) {
                    tracing::warn!(document_id = %id, %error, "a staging area could not be removed");
                }
            }
            Ok(None) => strays.push(entry),
            // Nobody can say whether its bytes are wanted: they stay.
            Err(CatalogError::BadRow { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for stray in strays {
        match service.storage.set_aside(&stray.name) {
            Ok(place) => {
                let place = place.display();
                tracing::warn!(name = ?stray.name, %place, "no upload knows this; it was set aside");
            }
            Err(error) => tracing::warn!(name = ?stray.name, %error, "no upload knows this"),
        }
    }
    if !service.catalog.has_documents().wait()? && service.storage.highest_user()?.is_some() {
        tracing::warn!(
            "the catalog knows no document, but users have files: they are kept, and nothing is written over them; \
             `towlined verify` names them, and a copy of state/catalog.db, put back, knows them again"
        );
    }
    failpoint::reach("recovery.done");
    tracing::info!(unfinished = count, "recovered");
    Ok(())
}

/// A row that does not read, because somebody has edited it, concerns its owner and
/// nobody else: row and bytes stay as they are, for whoever can tell what was meant,
/// and the start needs neither (P4).
fn keep(error: &CatalogError) {
    tracing::error!(%error, "an upload stays as it is until somebody has mended its row");
}

fn restore(service: &Service, row: &Unfinished, staging_bytes: Option<u64>) -> Result<(), Failure> {
    let document = &row.document;
    let id = document.document_id;
    let found = Found { staging_bytes, published: published(service, document)? };
    let action = decide(document.phase, document.filesize, row.durable_end, found);
    match action {
        Action::Keep => return Ok(()),
        Action::Truncate(end) => service.storage.open(id)?.truncate(end)?,
        Action::Publish | Action::Record => drop(carry_out(service, document, action)?),
        Action::Fail => {
            let (phase, durable) = (document.phase, row.durable_end);
            tracing::warn!(document_id = %id, %phase, ?found, %durable, "bytes are missing");
            drop_lost(service, document, found)?;
        }
    }
    tracing::info!(document_id = %id, ?action, "restored");
    Ok(())
}

/// Finishes what a row that says `publishing` has begun, at start-up or later.
/// The caller keeps others from doing the same. Blocks.
pub(crate) fn finish_publishing(service: &Service, row: &Document) -> Result<Receipt, Failure> {
    let staging_bytes = match service.storage.open(row.document_id) {
        Ok(staging) => Some(staging.length_bytes()?),
        Err(StorageError::Lost(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let found = Found { staging_bytes, published: published(service, row)? };
    let action = decide(row.phase, row.filesize, Offset::ZERO, found);
    if action == Action::Fail {
        drop_lost(service, row, found)?;
    }
    carry_out(service, row, action)
}

/// Why an upload ends whose bytes are not there.
const LOST: &str = "its bytes were lost on the server; begin it again";

fn lost() -> Failure {
    Failure::Ended { phase: Phase::Failed, reason: LOST.to_owned() }
}

fn carry_out(service: &Service, row: &Document, action: Action) -> Result<Receipt, Failure> {
    let id = row.document_id;
    let (Some(blake3), Some(path)) = (row.blake3, row.file_path.clone()) else {
        return Err(lost());
    };
    match action {
        Action::Publish => {
            let staging = service.storage.open(id)?;
            if is_doubtful(service, row) {
                let read = |buffer: &mut [u8], at| staging.read_exact_at(buffer, at);
                if hash(row.filesize, read)? != blake3 {
                    service.end(id, Phase::Failed, LOST)?;
                    return Err(lost());
                }
            }
            if row.bytes == Bytes::Cached {
                staging.sync_data()?;
            }
            let on_conflict = row.on_conflict;
            let order = Order { document_id: id, owner: row.user_id, blake3, on_conflict };
            publish::publish_again(service, order, row.clone(), path)
        }
        Action::Record => {
            if is_doubtful(service, row) && !is_whole(service, row, &path, blake3)? {
                set_aside(service, row, &path)?;
                service.end(id, Phase::Failed, LOST)?;
                return Err(lost());
            }
            let settled = service.storage.settle_published(row.user_id, &path);
            settled.map_err(|error| match error {
                // Its bytes were durable before the row said `publishing`, and the row
                // still does: the next start completes it.
                error @ StorageError::SyncFailed(_) => Failure::Unsettled(error),
                error => error.into(),
            })?;
            let created_at = match row.bytes {
                Bytes::Synced => service.clock().now(),
                // `SUCCESS` was said, with this moment in it.
                Bytes::Cached => row.last_chunk_at,
            };
            publish::record(service, id, blake3, created_at)
        }
        Action::Keep | Action::Truncate(_) | Action::Fail => Err(lost()),
    }
}

/// Whether the bytes of a publishing document may not be what was verified: they
/// were in the page cache only, and of another run's machine nobody knows how it ended.
fn is_doubtful(service: &Service, row: &Document) -> bool {
    row.bytes == Bytes::Cached && !service.settling.knows(row.document_id)
}

/// Ends an upload whose bytes are not all there. A file that has its name without
/// having been durable is taken out of its place first: a name is absent, or whole (P2).
fn drop_lost(service: &Service, row: &Document, found: Found) -> Result<(), Failure> {
    if let (Some(path), Bytes::Cached, Phase::Publishing, None, Some(_)) =
        (&row.file_path, row.bytes, row.phase, found.staging_bytes, found.published)
    {
        set_aside(service, row, path)?;
    }
    service.end(row.document_id, Phase::Failed, LOST)
}

fn set_aside(service: &Service, row: &Document, path: &DocumentPath) -> Result<(), Failure> {
    let id = row.document_id;
    match service.storage.set_damaged_aside(id, row.user_id, path) {
        Ok(place) => {
            let place = place.display();
            tracing::warn!(document_id = %id, %path, %place, "a power cut took bytes of it; it was set aside");
            Ok(())
        }
        Err(StorageError::Lost(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the file under that name is, to the byte, what was verified.
fn is_whole(
    service: &Service,
    row: &Document,
    path: &DocumentPath,
    blake3: FileHash,
) -> Result<bool, Failure> {
    let Some(file) = service.storage.open_published(row.user_id, path)? else { return Ok(false) };
    let read = |buffer: &mut [u8], at: Offset| file.read_exact_at(buffer, at.get());
    match hash(row.filesize, read) {
        Ok(found) => Ok(found == blake3),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(StorageError::unreadable(error).into()),
    }
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

/// The size of the file under the name that a publishing row says. A name that
/// cannot be looked at for what lies there is somebody else's.
fn published(service: &Service, row: &Document) -> Result<Option<FileSize>, Failure> {
    let (Some(path), Phase::Publishing) = (&row.file_path, row.phase) else { return Ok(None) };
    match service.storage.published_size(row.user_id, path) {
        Ok(size) => Ok(size),
        Err(StorageError::Unsafe { .. } | StorageError::NotAFolder) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(bytes: u64) -> FileSize {
        FileSize::try_from(bytes).unwrap()
    }

    fn decided(phase: Phase, durable: u64, staging: Option<u64>, published: Option<u64>) -> Action {
        let found = Found { staging_bytes: staging, published: published.map(size) };
        decide(phase, size(100), size(durable).end(), found)
    }

    #[test]
    fn an_upload_goes_on_from_what_was_promised_or_not_at_all() {
        assert_eq!(decided(Phase::Uploading, 60, Some(60), None), Action::Keep);
        assert_eq!(decided(Phase::Uploading, 60, Some(61), None), Action::Truncate(size(60).end()));
        assert_eq!(decided(Phase::Uploading, 60, Some(59), None), Action::Fail);
        assert_eq!(decided(Phase::Uploading, 60, None, None), Action::Fail);
        assert_eq!(decided(Phase::Uploading, 0, Some(0), None), Action::Keep);
    }

    #[test]
    fn a_publishing_row_ends_at_its_name() {
        assert_eq!(decided(Phase::Publishing, 100, Some(100), None), Action::Publish);
        assert_eq!(decided(Phase::Publishing, 100, None, Some(100)), Action::Record);
        // Somebody else's file has the name: publish finds another.
        assert_eq!(decided(Phase::Publishing, 100, Some(100), Some(7)), Action::Publish);
        assert_eq!(decided(Phase::Publishing, 100, Some(99), None), Action::Fail);
        assert_eq!(decided(Phase::Publishing, 100, None, Some(7)), Action::Fail);
        assert_eq!(decided(Phase::Publishing, 100, None, None), Action::Fail);
    }
}
