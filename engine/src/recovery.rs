//! What a crash left, put in order before the first connection is taken.
//!
//! The decision is a pure function of what the row says and what lies on disk;
//! carrying it out may itself be cut off and is then simply done again (P4). Its
//! cost grows with the number of unfinished uploads, not with their bytes. Where
//! durability was relaxed, the bytes of what was named last are read besides, at most
//! as many as [`settling`](crate::settling) lets wait.

mod cached;

use crate::failpoint;
use crate::failure::Failure;
use crate::log;
use crate::publish::{self, Order};
use crate::receipt::Receipt;
use crate::service::Service;
use crate::storage::{GoesOn, LocalDisk, Staged, StorageError};
use cached::Look;
use std::collections::HashMap;
use std::path::PathBuf;
use towline_state::catalog::{Bytes, CatalogError, Document, Unfinished};
use towline_types::{DocumentId, FileSize, Offset};
use towline_upload::Phase;

/// What to do about one unfinished upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// All is as promised.
    Keep,
    /// More lies there than was promised; how much of it is good nobody knows.
    Truncate(Offset),
    /// Nothing was promised and nothing lies there: a power cut has taken the file's name,
    /// which is durable only from the first checkpoint on. It gets an empty one (P1 holds of
    /// nothing).
    Renew,
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
        (Phase::Uploading, None) if durable_end == Offset::ZERO => Action::Renew,
        // Shorter than promised, or gone.
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
    // Before anything is published: an empty mount point takes no document (P3).
    for (user, path, depth) in service.catalog.mount_points().wait()? {
        if let Some(disk) = service.storage.local_disk() {
            disk.note_mount_point(user, &path, depth);
        }
    }
    let mut staged: HashMap<DocumentId, Staged> = HashMap::new();
    let mut unknown = Vec::new();
    for entry in service.storage.staged()? {
        let id = entry.id;
        if staged.contains_key(&id) {
            // Of two that one counts of which something may have been promised.
            service.storage.discard_whole(id)?;
        }
        if !entry.is_whole || !staged.contains_key(&id) {
            staged.insert(id, entry);
        }
    }
    each_unfinished(service, |rows| {
        let rows = rows.iter().flatten().map(|row| &row.document);
        if let Err(error) = cached::sync(service, rows) {
            tracing::error!(error = log::chain(&error), "what was not durable yet stays as it is");
        }
    })?;
    let mut count = 0;
    let mut restore_one = |row: Result<Unfinished, CatalogError>| {
        count += 1;
        let row = match row {
            Ok(row) => row,
            Err(error) => return keep(&error),
        };
        let id = row.document.document_id;
        let staging_bytes = staged.remove(&id).map(|staging| staging.length_bytes);
        match restore(service, &row, staging_bytes) {
            Ok(()) => {}
            // Not before the first connection is taken: the copy may take minutes.
            Err(Failure::StillPublishing) => service.moving.leave(&row.document),
            Err(error) => {
                tracing::error!(document_id = %id, error = log::chain(&error), "an upload could not be restored; it stays as it is")
            }
        }
        failpoint::reach("recovery.restored");
    };
    each_unfinished(service, |rows| rows.into_iter().for_each(&mut restore_one))?;
    for (id, entry) in staged {
        let removed = match service.catalog.document(id).wait() {
            Ok(Some(row)) if is_wanted_no_more(service, &row) => service.storage.discard(id),
            // Bytes that were received and that nobody has given up are never deleted.
            Ok(Some(_)) => {
                unknown.push(id);
                continue;
            }
            // Cut off before it had a row: nobody was promised anything.
            Ok(None) if entry.is_whole => service.storage.discard_whole(id),
            Ok(None) => {
                unknown.push(id);
                continue;
            }
            // Nobody can say whether its bytes are wanted: they stay.
            Err(CatalogError::BadRow { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = removed {
            tracing::warn!(document_id = %id, error = log::chain(&error), "a staging area could not be removed");
        }
    }
    if let Some(disk) = service.storage.local_disk() {
        set_unknown_aside(disk, &unknown)?;
        if !service.catalog.has_documents().wait()? && disk.highest_user()?.is_some() {
            tracing::warn!(
                "the catalog knows no document, but users have files: they are kept, and nothing is written over them; \
                 `towlined verify` names them, and a copy of state/catalog.db, put back, knows them again"
            );
        }
    }
    failpoint::reach("recovery.done");
    tracing::info!(unfinished = count, "recovered");
    Ok(())
}

/// Sets aside what lies among the staging areas and belongs to no upload that goes on: strays,
/// and the staging areas of these. Nothing is deleted (P1).
fn set_unknown_aside(disk: &dyn LocalDisk, uploads: &[DocumentId]) -> Result<(), Failure> {
    let strays = disk.strays()?;
    let set_aside = |name: String, aside: Result<Option<PathBuf>, StorageError>| match aside {
        Ok(Some(place)) => {
            let place = place.display();
            tracing::warn!(name, %place, "no upload knows this; it was set aside");
        }
        // It is gone since it was listed.
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(name, error = log::chain(&error), "no upload knows this");
        }
    };
    for stray in &strays {
        let name = stray.name.display().to_string();
        set_aside(name, disk.set_stray_aside(stray).map(Some));
    }
    for id in uploads {
        set_aside(id.to_string(), disk.set_upload_aside(*id));
    }
    Ok(())
}

/// How many rows are in memory at a time.
const PAGE: u32 = 256;

/// Does something with all unfinished uploads, a page of rows at a time.
fn each_unfinished(
    service: &Service,
    mut work: impl FnMut(Vec<Result<Unfinished, CatalogError>>),
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = service.catalog.unfinished(after, PAGE).wait()?;
        if page.last.is_none() {
            return Ok(());
        }
        after = page.last;
        work(page.rows);
    }
}

/// A row that does not read, because somebody has edited it, concerns its owner and
/// nobody else: row and bytes stay as they are, for whoever can tell what was meant,
/// and the start needs neither (P4).
fn keep(error: &CatalogError) {
    tracing::error!(
        error = log::chain(error),
        "an upload stays as it is until somebody has mended its row"
    );
}

/// Whether the staging area of a finished row can be deleted: the document is in its place,
/// or its owner or a time limit has ended the upload. A row that says `failed` gives no such
/// leave: it may have failed because this very file was missing.
fn is_wanted_no_more(service: &Service, row: &Document) -> bool {
    match (row.phase, &row.file_path) {
        (Phase::Cancelled | Phase::Expired, _) => true,
        (Phase::Completed, Some(path)) => {
            let size = service.storage.published_size(row.user_id, path);
            size.is_ok_and(|size| size == Some(row.filesize))
        }
        _ => false,
    }
}

fn restore(service: &Service, row: &Unfinished, staging_bytes: Option<u64>) -> Result<(), Failure> {
    let document = &row.document;
    let id = document.document_id;
    cached::refuse_if_unsynced(service, document)?;
    let found = Found { staging_bytes, published: published(service, document)? };
    let action = decide(document.phase, document.filesize, row.durable_end, found);
    match action {
        Action::Keep => return Ok(()),
        Action::Truncate(end) => service.storage.open(id)?.truncate(end)?,
        Action::Renew => drop(service.storage.create(id, FileSize::MIN)?),
        Action::Publish | Action::Record => {
            drop(carry_out(service, document, action, &mut |_| false)?)
        }
        Action::Fail => {
            let (phase, durable) = (document.phase, row.durable_end);
            tracing::warn!(document_id = %id, %phase, ?found, %durable, "bytes are missing");
            lose(service, document)?;
        }
    }
    tracing::info!(document_id = %id, ?action, "restored");
    Ok(())
}

/// Finishes what a row that says `publishing` has begun, at start-up or later.
/// The caller keeps others from doing the same. Where the file has to be copied to another
/// file system, `goes_on` hears how far that is; where it says no the answer is
/// [`Failure::StillPublishing`]. Blocks.
pub(crate) fn finish_publishing(
    service: &Service,
    row: &Document,
    goes_on: GoesOn<'_>,
) -> Result<Receipt, Failure> {
    cached::sync(service, [row])?;
    let staging_bytes = match service.storage.open(row.document_id) {
        Ok(staging) => Some(staging.length_bytes()?),
        Err(StorageError::Lost(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let found = Found { staging_bytes, published: published(service, row)? };
    carry_out(service, row, decide(row.phase, row.filesize, Offset::ZERO, found), goes_on)
}

/// Why an upload ends whose bytes are not there.
const LOST: &str = "its bytes were lost on the server; begin it again";

/// Ends an upload whose bytes are not all there. Those that were promised and are there are
/// kept: the rest may be on a disk that is found again. Of a document that was not durable
/// yet nothing was promised.
fn lose(service: &Service, row: &Document) -> Result<(), Failure> {
    cached::take_back_name(service, row)?;
    if row.bytes == Bytes::Synced {
        cached::keep_staged(service, row)?;
    }
    service.end_and_log(row.document_id, Phase::Failed, LOST)
}

fn carry_out(
    service: &Service,
    row: &Document,
    action: Action,
    goes_on: GoesOn<'_>,
) -> Result<Receipt, Failure> {
    let id = row.document_id;
    let lost = || Failure::Ended { phase: Phase::Failed, reason: LOST.to_owned() };
    let (Some(blake3), Some(path)) = (row.blake3, row.file_path.clone()) else {
        return Err(lost());
    };
    let (owner, on_conflict) = (row.user_id, row.on_conflict);
    let order = Order { document_id: id, owner, blake3, on_conflict, is_copy: false };
    let look = match action {
        Action::Publish => cached::look_at_staged(service, row, blake3)?,
        Action::Record => cached::look_at_named(service, row, &path, blake3)?,
        Action::Keep | Action::Truncate(_) | Action::Renew | Action::Fail => Look::NotWhole,
    };
    let receipt = match (action, look) {
        (Action::Publish, Look::Whole) => {
            publish::publish_again(service, order, row.clone(), goes_on)
        }
        (Action::Record, Look::Whole) => {
            let settled = service.storage.sync_published(row.user_id, &path);
            settled.map_err(|error| match error {
                // Its bytes are durable, and the row still says `publishing`: the next
                // start completes it.
                error @ StorageError::SyncFailed(_) => Failure::Unsettled(error),
                error => error.into(),
            })?;
            let created_at = publish::said_at(row).unwrap_or_else(|| service.clock().now());
            let stamp = service.storage.published(row.user_id, &path)?.map(|found| found.stamp);
            publish::record(service, order, stamp, created_at)
        }
        (_, look) => {
            if look == Look::Unreadable {
                // Under one name or under both.
                cached::take_back_name(service, row)?;
                cached::keep_staged(service, row)?;
            }
            lose(service, row)?;
            Err(lost())
        }
    }?;
    // Where `SUCCESS` was said already, the log has its line.
    if publish::said_at(row).is_none() {
        receipt.upload_end().completed_by_server();
    }
    Ok(receipt)
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
        assert_eq!(decided(Phase::Uploading, 0, None, None), Action::Renew);
        assert_eq!(decided(Phase::Uploading, 1, None, None), Action::Fail);
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
