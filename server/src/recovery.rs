//! What a crash left, put in order before the first connection is taken.
//!
//! The decision is a pure function of what the row says and what lies on disk;
//! carrying it out may itself be cut off and is then simply done again (P4). Its
//! cost grows with the number of unfinished uploads, not with their bytes.

use crate::failure::Failure;
use crate::publish::{self, Order};
use crate::service::Service;
use crate::storage::{Staged, StorageError};
use std::collections::HashMap;
use towline_protocol::{DocumentId, FileSize, Offset};
use towline_state::catalog::{Document, Unfinished};
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
        // Nothing was promised, so nothing is lost: the next byte is the first.
        (_, _) => Action::Fail,
    }
}

/// Puts everything in order. Blocks.
///
/// # Errors
/// Where catalog or storage do not answer: then nothing can be promised, and the
/// server does not start.
pub(crate) fn recover(service: &Service) -> Result<(), Failure> {
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
        let staging = staged.remove(&row.document.document_id);
        restore(service, &row, staging.map(|staging| staging.length_bytes))?;
    }
    for (id, entry) in staged {
        // A finished row whose staging area outlived it; without any row, somebody's
        // bytes: those are never deleted.
        match service.catalog.document(id).wait()? {
            Some(_) => service.storage.discard(id)?,
            None => strays.push(entry),
        }
    }
    for stray in strays {
        let place = service.storage.set_aside(&stray.name)?;
        tracing::warn!(name = ?stray.name, place = %place.display(), "no upload knows this; set aside");
    }
    tracing::info!(unfinished = count, "recovered");
    Ok(())
}

fn restore(service: &Service, row: &Unfinished, staging_bytes: Option<u64>) -> Result<(), Failure> {
    let document = &row.document;
    let id = document.document_id;
    let published = match (&document.file_path, document.phase) {
        (Some(path), Phase::Publishing) => service.storage.published_size(document.user_id, path),
        _ => Ok(None),
    };
    // A name that cannot be looked at is as good as taken by somebody else.
    let published = published.unwrap_or(None);
    let found = Found { staging_bytes, published };
    let action = decide(document.phase, document.filesize, row.durable_end, found);
    match action {
        Action::Keep => {}
        Action::Truncate(end) => service.storage.open(id)?.truncate(end)?,
        Action::Publish => publish_again(service, document)?,
        Action::Record => {
            if let (Some(path), Some(blake3)) = (&document.file_path, document.blake3) {
                service.storage.settle_published(document.user_id, path)?;
                publish::record(service, id, blake3)?;
            }
        }
        Action::Fail => {
            tracing::error!(document_id = %id, ?found, durable = %row.durable_end, "bytes are lost");
            service.end(id, Phase::Failed, "its bytes were lost on the server; begin it again")?;
        }
    }
    if !matches!(action, Action::Keep) {
        tracing::info!(document_id = %id, ?action, "restored");
    }
    Ok(())
}

fn publish_again(service: &Service, document: &Document) -> Result<(), Failure> {
    let Some(blake3) = document.blake3 else { return Ok(()) };
    let order = Order {
        document_id: document.document_id,
        owner: document.user_id,
        blake3,
        on_conflict: document.on_conflict,
    };
    match publish::put_in_place(service, order) {
        // Its owner wanted this name or none: they are asked again.
        Err(Failure::Storage(StorageError::Exists | StorageError::NotAFolder)) => Ok(()),
        done => done.map(drop),
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
