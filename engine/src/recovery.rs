//! Puts in order what a crash left, before the first connection is taken.
//!
//! The decision is a pure function of what the row says and what lies on the disk; to carry it out
//! may itself be cut off, and is then done again (P4). The cost grows with the number of unfinished
//! uploads, not with their bytes. Where durability was relaxed, the documents that got their names
//! last are read as well, at most as many as [`deferred_queue`](crate::publish::deferred_queue)
//! lets wait.

use crate::error::Error;
use crate::failpoint;
use crate::jobs;
use crate::log;
use crate::publish::content_check;
use crate::publish::remaining_steps::{self, Remaining};
use crate::shared::Shared;
use crate::storage::{LocalDisk, Staged, StorageError};
use crate::tree;
use std::collections::HashMap;
use std::path::PathBuf;
use towline_state::catalog::{CatalogError, Document, Unfinished};
use towline_types::{DocumentId, FileSize, Offset};
use towline_upload::Phase;

/// What to do about one upload that waits for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// All is as promised.
    Keep,
    /// The staging file is longer than promised, and it is not known which of the further bytes are
    /// right.
    Truncate(Offset),
    /// Nothing was promised, and there is no staging file: a power cut has taken its name, which is
    /// durable only from the first checkpoint on. A new empty file is made (that breaks no promise
    /// of P1).
    Renew,
    /// The staging file is shorter than promised: the upload is never continued.
    Fail,
}

/// The rule. `durable_end` is where the last promised byte ends; `staging_bytes` is the length
/// of the staging file, where there is one.
fn decide(durable_end: Offset, staging_bytes: Option<u64>) -> Action {
    match staging_bytes {
        Some(length) if length > durable_end.get() => Action::Truncate(durable_end),
        Some(length) if length == durable_end.get() => Action::Keep,
        None if durable_end == Offset::ZERO => Action::Renew,
        Some(_) | None => Action::Fail,
    }
}

/// Puts everything in order. Blocks. What cannot be put in order for one upload
/// stays as it is for the next start, or for the next request for that upload.
///
/// # Errors
/// Where catalog or storage cannot be read at all: then nothing can be promised,
/// and the server does not start.
pub(crate) fn recover(shared: &Shared) -> Result<(), Error> {
    failpoint::reach("recovery.begun");
    // Before anything is published, so that no document is put into an empty mount point (P3).
    for (user, path, depth) in shared.catalog.mount_points().wait()? {
        if let Some(disk) = shared.storage.local_disk() {
            disk.note_mount_point(user, &path, depth);
        }
    }
    // Before a document is published into a folder that is being moved.
    tree::recover(shared)?;
    // After what moves: a file goes into the quarantine from where its row says that it is.
    jobs::recover(shared)?;
    let mut staged = find_staged(shared)?;
    each_unfinished(shared, |rows| {
        let rows = rows.iter().flatten().map(|row| &row.document);
        if let Err(error) = content_check::sync_volume(shared, rows) {
            tracing::error!(error = log::chain(&error), "what was not durable yet stays as it is");
        }
    })?;
    let unfinished = restore_uploads(shared, &mut staged)?;
    let unknown = discard_ended(shared, staged)?;
    if let Some(disk) = shared.storage.local_disk() {
        set_unknown_aside(disk, &unknown)?;
        if !shared.catalog.has_documents().wait()? && disk.highest_user()?.is_some() {
            tracing::warn!(
                "the catalog knows no document, but users have files: they are kept, and nothing is written over them; \
                 `towlined verify` names them, and a copy of state/catalog.db, put back, knows them again"
            );
        }
    }
    failpoint::reach("recovery.done");
    tracing::info!(unfinished, "recovered");
    Ok(())
}

/// The staging areas, by upload. If an upload has two, one is of a file that came whole, of which
/// nothing was promised: that one is removed.
fn find_staged(shared: &Shared) -> Result<HashMap<DocumentId, Staged>, Error> {
    let mut staged = HashMap::new();
    for entry in shared.storage.staged()? {
        let id = entry.id;
        if staged.contains_key(&id) {
            shared.storage.discard_whole(id)?;
        }
        if !entry.is_whole || !staged.contains_key(&id) {
            staged.insert(id, entry);
        }
    }
    Ok(staged)
}

/// Restores all unfinished uploads, and takes their staging files from the list. Returns their
/// number.
fn restore_uploads(
    shared: &Shared,
    staged: &mut HashMap<DocumentId, Staged>,
) -> Result<u64, Error> {
    let mut count = 0;
    let mut restore_one = |row: Result<Unfinished, CatalogError>| {
        count += 1;
        let row = match row {
            Ok(row) => row,
            Err(error) => return report_unreadable(&error),
        };
        let id = row.document.document_id;
        let staging_bytes = staged.remove(&id).map(|staging| staging.length_bytes);
        match restore(shared, &row, staging_bytes) {
            Ok(()) => {}
            // The copy is made after the first connections are taken, because it may take minutes.
            Err(Error::StillPublishing) => shared.volume_copies.enqueue(&row.document),
            Err(error) => {
                tracing::error!(document_id = %id, error = log::chain(&error), "an upload could not be restored; it stays as it is")
            }
        }
        failpoint::reach("recovery.restored");
    };
    each_unfinished(shared, |rows| rows.into_iter().for_each(&mut restore_one))?;
    Ok(count)
}

/// Removes the staging areas that are no longer needed because their uploads have ended. Returns
/// the other uploads that have a staging area and do not go on: received bytes are never deleted
/// unless their upload was given up.
fn discard_ended(
    shared: &Shared,
    staged: HashMap<DocumentId, Staged>,
) -> Result<Vec<DocumentId>, Error> {
    let mut unknown = Vec::new();
    for (id, entry) in staged {
        let removed = match shared.catalog.document(id).wait() {
            Ok(Some(row)) if is_staging_unneeded(shared, &row) => shared.storage.discard(id),
            // The file was cut off before it had a row: nothing was promised to any client.
            Ok(None) if entry.is_whole => shared.storage.discard_whole(id),
            Ok(_) => {
                unknown.push(id);
                continue;
            }
            // It is not known whether the bytes of this upload are needed: they stay.
            Err(CatalogError::BadRow { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = removed {
            tracing::warn!(document_id = %id, error = log::chain(&error), "a staging area could not be removed");
        }
    }
    Ok(unknown)
}

/// Sets aside all files among the staging areas that belong to no upload which goes on: files that
/// no upload has made, and the staging areas of `uploads`. Nothing is deleted (P1).
fn set_unknown_aside(disk: &dyn LocalDisk, uploads: &[DocumentId]) -> Result<(), Error> {
    let strays = disk.strays()?;
    let set_aside = |name: String, aside: Result<Option<PathBuf>, StorageError>| match aside {
        Ok(Some(place)) => {
            let place = place.display();
            tracing::warn!(name, %place, "a file that belongs to no upload was set aside");
        }
        // The file was removed since it was listed.
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(
                name,
                error = log::chain(&error),
                "a file that belongs to no upload could not be set aside"
            );
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
    shared: &Shared,
    mut work: impl FnMut(Vec<Result<Unfinished, CatalogError>>),
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = shared.catalog.unfinished(after, PAGE).wait()?;
        if page.last.is_none() {
            return Ok(());
        }
        after = page.last;
        work(page.rows);
    }
}

/// A row that cannot be read, because another program has edited it, concerns its owner and no
/// other user: row and bytes stay as they are, for a person who can tell what was meant, and the
/// start needs neither (P4).
fn report_unreadable(error: &CatalogError) {
    tracing::error!(
        error = log::chain(error),
        "an upload stays as it is until somebody has mended its row"
    );
}

/// Whether the staging file of a row that has ended can be deleted: the document has its name,
/// or its owner or a time limit has ended the upload. A row that says `failed` gives no such
/// permission: it may have failed because this very file was missing.
fn is_staging_unneeded(shared: &Shared, row: &Document) -> bool {
    match (row.phase, &row.file_path) {
        (Phase::Cancelled | Phase::Expired, _) => true,
        (Phase::Completed, Some(path)) => {
            let size = shared.storage.published_size(row.user_id, path);
            size.is_ok_and(|size| size == Some(row.filesize))
        }
        _ => false,
    }
}

fn restore(shared: &Shared, row: &Unfinished, staging_bytes: Option<u64>) -> Result<(), Error> {
    let document = &row.document;
    let id = document.document_id;
    content_check::refuse_if_unsynced(shared, document)?;
    if document.phase == Phase::Publishing {
        return restore_publishing(shared, row, staging_bytes);
    }
    let action = decide(row.durable_end, staging_bytes);
    match action {
        Action::Keep => return Ok(()),
        Action::Truncate(end) => shared.storage.open(id)?.truncate(end)?,
        Action::Renew => drop(shared.storage.create(id, FileSize::MIN)?),
        Action::Fail => {
            let durable = row.durable_end;
            tracing::warn!(document_id = %id, ?staging_bytes, %durable, "bytes of an upload are missing; it has failed, and its owner can send the file again");
            remaining_steps::fail_lost(shared, document)?;
        }
    }
    tracing::info!(document_id = %id, ?action, "restored");
    Ok(())
}

fn restore_publishing(
    shared: &Shared,
    row: &Unfinished,
    staging_bytes: Option<u64>,
) -> Result<(), Error> {
    let document = &row.document;
    let id = document.document_id;
    let remaining = remaining_steps::of_row(shared, document, staging_bytes)?;
    match remaining {
        Remaining::Publish | Remaining::Record => {
            drop(remaining_steps::carry_out(shared, document, remaining, &mut |_| false)?);
        }
        Remaining::Missing => {
            let phase = document.phase;
            tracing::warn!(document_id = %id, %phase, ?staging_bytes, "bytes of an upload are missing; it has failed, and its owner can send the file again");
            remaining_steps::fail_lost(shared, document)?;
        }
    }
    tracing::info!(document_id = %id, action = ?remaining, "restored");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(durable: u64, staging: Option<u64>) -> Action {
        decide(Offset::ZERO.plus(durable), staging)
    }

    #[test]
    fn an_upload_goes_on_from_what_was_promised_or_not_at_all() {
        assert_eq!(decided(60, Some(60)), Action::Keep);
        assert_eq!(decided(60, Some(61)), Action::Truncate(Offset::ZERO.plus(60)));
        assert_eq!(decided(60, Some(59)), Action::Fail);
        assert_eq!(decided(60, None), Action::Fail);
        assert_eq!(decided(0, Some(0)), Action::Keep);
        assert_eq!(decided(0, None), Action::Renew);
        assert_eq!(decided(1, None), Action::Fail);
    }
}
