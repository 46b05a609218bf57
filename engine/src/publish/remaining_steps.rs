//! Finishes a publishing that was begun, as its row says, at a start or later. This may itself be
//! cut off anywhere, and is then done again (P4).

use super::content_check::{self, ContentCheck};
use super::in_place::{publish_again, record_completed, success_said_at};
use super::reserved_name::PublishSpec;
use crate::audit::AuditAction;
use crate::end;
use crate::error::Error;
use crate::made_folders;
use crate::receipt::Receipt;
use crate::shared::Shared;
use crate::storage::{GoesOn, Spot, StorageError};
use towline_state::catalog::{Bytes, Document};
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize};
use towline_upload::Phase;

/// What is left to do for a row that says `publishing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remaining {
    /// Steps 3 and 4: the file is still in the staging area.
    Publish,
    /// Step 4: the file has its name.
    Record,
    /// Nothing can be done: neither the staging file nor the file under the final name has the
    /// right length.
    Missing,
}

/// The rule, where no other document is replaced: see [`of_row`]. It depends on the length of the staging file, where there is one, and of the file
/// under the name that the row says.
fn remaining(
    filesize: FileSize,
    staging_bytes: Option<u64>,
    published: Option<FileSize>,
) -> Remaining {
    match staging_bytes {
        Some(length) if length == filesize.get() => Remaining::Publish,
        None if published == Some(filesize) => Remaining::Record,
        Some(_) | None => Remaining::Missing,
    }
}

/// What is left to do for this row, whose staging file has that length.
///
/// Where the document replaces another, the name has a file before the rename as well: that of the
/// old document. As long as there is a staging file, step 3 is done again from its beginning. Where
/// there is none, the rename was done, unless the file under the name is the old one and was not
/// kept as a version: then the bytes of the new document are lost, and the old file stays.
pub(crate) fn of_row(
    shared: &Shared,
    row: &Document,
    staging_bytes: Option<u64>,
) -> Result<Remaining, Error> {
    let published = published_size(shared, row)?;
    let left = remaining(row.filesize, staging_bytes, published);
    match (left, row.replaces) {
        (Remaining::Record, Some(old)) if is_old_file(shared, row, old)? => Ok(Remaining::Missing),
        _ => Ok(left),
    }
}

/// Whether the file under the name of this row is that of the document that is to be replaced.
fn is_old_file(shared: &Shared, row: &Document, old: DocumentId) -> Result<bool, Error> {
    if shared.storage.is_there(row.user_id, &Spot::Version(old))?.is_some() {
        return Ok(false);
    }
    let Some(path) = &row.file_path else { return Ok(false) };
    let stamp = shared.catalog.document(old).wait()?.and_then(|old| old.stamp);
    let found = shared.storage.published(row.user_id, path)?;
    Ok(found.is_some_and(|found| found.stamp.is_known_by(stamp)))
}

/// Finishes the publishing of that row. The caller keeps other threads from doing the same. Where
/// the file has to be copied to another file system, `goes_on` is called with the progress; if it
/// says no, the answer is [`Error::StillPublishing`]. Blocks.
pub(super) fn finish(
    shared: &Shared,
    row: &Document,
    goes_on: GoesOn<'_>,
) -> Result<Receipt, Error> {
    content_check::sync_volume(shared, [row])?;
    let staging_bytes = match shared.storage.open(row.document_id) {
        Ok(staging) => Some(staging.length_bytes()?),
        Err(StorageError::Lost(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let remaining = of_row(shared, row, staging_bytes)?;
    carry_out(shared, row, remaining, goes_on)
}

/// The reason of an upload that ends because its bytes are not there.
const LOST: &str = "its bytes were lost on the server; begin it again";

/// Fails an upload because some of its bytes are missing. If bytes of it were promised, those that
/// are there are set aside and not deleted: the rest may be on a disk that is found again. Of a
/// document that was not durable yet, nothing was promised. Blocks.
pub(crate) fn fail_lost(shared: &Shared, row: &Document) -> Result<(), Error> {
    content_check::set_named_aside(shared, row)?;
    if row.bytes == Bytes::Synced {
        content_check::set_staged_aside(shared, row)?;
    }
    made_folders::record_of(shared, row.document_id);
    end::end_and_log(shared, row.document_id, Phase::Failed, LOST)
}

/// Does what is left. Blocks.
pub(crate) fn carry_out(
    shared: &Shared,
    row: &Document,
    remaining: Remaining,
    goes_on: GoesOn<'_>,
) -> Result<Receipt, Error> {
    let lost = || Error::Ended { phase: Phase::Failed, reason: LOST.to_owned() };
    let (Some(blake3), Some(path)) = (row.blake3, row.file_path.clone()) else {
        return Err(lost());
    };
    let check = match remaining {
        Remaining::Publish => content_check::check_staged(shared, row, blake3)?,
        Remaining::Record => content_check::check_named(shared, row, &path, blake3)?,
        Remaining::Missing => ContentCheck::NotWhole,
    };
    let spec = spec(row, blake3);
    let receipt = match (remaining, check) {
        (Remaining::Publish, ContentCheck::Whole) => {
            publish_again(shared, spec, row.clone(), goes_on)?
        }
        (Remaining::Record, ContentCheck::Whole) => record(shared, spec, row, &path)?,
        (_, check) => {
            if check == ContentCheck::Unreadable {
                // The file may have the staging name, the final name or both.
                content_check::set_named_aside(shared, row)?;
                content_check::set_staged_aside(shared, row)?;
            }
            fail_lost(shared, row)?;
            return Err(lost());
        }
    };
    // If `SUCCESS` was said already, the log has its line already.
    if success_said_at(row).is_none() {
        shared.metrics.counters.uploads_completed.increment();
        receipt.upload_end().completed_by_server();
        shared.observe(|| receipt.audit_record(AuditAction::Complete));
    }
    Ok(receipt)
}

fn spec(row: &Document, blake3: FileHash) -> PublishSpec {
    let (document_id, owner, on_conflict) = (row.document_id, row.user_id, row.on_conflict);
    PublishSpec { document_id, owner, blake3, on_conflict, is_copy: false }
}

/// The file has its name: the name is made durable (P3), and the row says `completed`.
fn record(
    shared: &Shared,
    spec: PublishSpec,
    row: &Document,
    path: &DocumentPath,
) -> Result<Receipt, Error> {
    let synced = shared.storage.sync_published(row.user_id, path);
    synced.map_err(|error| match error {
        // The bytes are durable, and the row still says `publishing`: the next start completes the
        // document.
        error @ StorageError::SyncFailed(_) => Error::NameUnsynced(error),
        error => error.into(),
    })?;
    let created_at = success_said_at(row).unwrap_or_else(|| shared.clock().now());
    let stamp = shared.storage.published(row.user_id, path)?.map(|found| found.stamp);
    record_completed(shared, spec, stamp, created_at)
}

/// The size of the file that has the name of a publishing row. If something other than a plain file
/// has the name, it belongs to another program, and there is no size.
fn published_size(shared: &Shared, row: &Document) -> Result<Option<FileSize>, Error> {
    let (Some(path), Phase::Publishing) = (&row.file_path, row.phase) else { return Ok(None) };
    match shared.storage.published_size(row.user_id, path) {
        Ok(size) => Ok(size),
        Err(StorageError::Unsafe { .. } | StorageError::NotAFolder) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(staging_bytes: Option<u64>, published: Option<u64>) -> Remaining {
        let size = |bytes| FileSize::try_from(bytes).unwrap();
        remaining(size(100), staging_bytes, published.map(size))
    }

    #[test]
    fn a_publishing_row_ends_at_its_name() {
        assert_eq!(left(Some(100), None), Remaining::Publish);
        assert_eq!(left(None, Some(100)), Remaining::Record);
        // Another program's file has the name: another name is found.
        assert_eq!(left(Some(100), Some(7)), Remaining::Publish);
        assert_eq!(left(Some(99), None), Remaining::Missing);
        assert_eq!(left(None, Some(7)), Remaining::Missing);
        assert_eq!(left(None, None), Remaining::Missing);
    }
}
