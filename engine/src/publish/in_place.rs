//! Steps 3 and 4 of a [`Publishing`](super::Publishing) at once, for a row that says `publishing`.

use super::reserved_name::{PublishSpec, ReservedName, reserve_another};
use super::source::not_renamed;
use crate::error::Error;
use crate::failpoint;
use crate::receipt::Receipt;
use crate::shared::Shared;
use crate::storage::{GoesOn, Put};
use towline_state::catalog::{self, Bytes, Document, FileStamp};
use towline_types::Timestamp;

/// Steps 3 and 4 for a row that an earlier publishing has left. The name in the row is tried first:
/// that publishing may have renamed the file, and then the row says where it is. Blocks.
pub(super) fn publish_again(
    shared: &Shared,
    spec: PublishSpec,
    document: Document,
    goes_on: GoesOn<'_>,
) -> Result<Receipt, Error> {
    put_in_place(shared, spec, ReservedName::of((document, 0)), goes_on)
}

/// Steps 3 and 4. Where a copy to another file system is not to go on, the row goes on saying
/// `publishing`, and the answer is [`Error::StillPublishing`]. Blocks.
pub(super) fn put_in_place(
    shared: &Shared,
    spec: PublishSpec,
    mut name: ReservedName,
    goes_on: GoesOn<'_>,
) -> Result<Receipt, Error> {
    let PublishSpec { document_id: id, owner, blake3, .. } = spec;
    // If `SUCCESS` may have been said already, its receipt had this moment in it.
    let said_at = success_said_at(&name.document);
    loop {
        let put = match name.document.replaces {
            Some(old) => shared.storage.replace(id, owner, &name.path, old, blake3, goes_on),
            None => shared.storage.publish(id, owner, &name.path, blake3, goes_on),
        };
        match put {
            Ok(Put::InPlace) => break,
            Ok(Put::Stopped) => return Err(Error::StillPublishing),
            Err(error) => {
                let another = reserve_another(shared, spec, &name, error);
                let another =
                    another.map_err(|error| not_renamed(shared, spec, Some(&name.path), error))?;
                name = ReservedName::of(another.wait()?);
            }
        }
    }
    let created_at = said_at.unwrap_or_else(|| shared.clock().now());
    // Without a stamp the file is read when a request asks for the document; nothing else depends
    // on it.
    let found = shared.storage.published(owner, &name.path);
    let stamp = found.ok().flatten().map(|found| found.stamp);
    let receipt = record_completed(shared, spec, stamp, created_at)?;
    // A copy to another disk leaves the staging file, because until the row was committed it was
    // the place of the promised bytes (P1). If it cannot be removed now, the next start removes it.
    if let Err(error) = shared.storage.discard(id) {
        tracing::warn!(document_id = %id, %error, "the staging file of a published document could not be removed");
    }
    Ok(receipt)
}

/// Step 4. Blocks.
pub(super) fn record_completed(
    shared: &Shared,
    spec: PublishSpec,
    stamp: Option<FileStamp>,
    created_at: Timestamp,
) -> Result<Receipt, Error> {
    failpoint::reach("publish.in_place");
    completed(shared, spec, shared.catalog.complete_publish(spec.document_id, stamp, created_at))
}

/// Waits until the row says `completed`: only then is there a durable receipt (P3). Blocks.
pub(super) fn completed(
    shared: &Shared,
    spec: PublishSpec,
    recorded: catalog::Reply<Document>,
) -> Result<Receipt, Error> {
    let document = recorded.wait()?;
    shared.notifier.raise(spec.owner);
    shared.wake_scanner();
    failpoint::reach("publish.row_completed");
    Ok(Receipt::durable(document, spec.blake3, spec.is_copy))
}

/// When `SUCCESS` was said for a document that is publishing, if that may have happened.
pub(super) fn success_said_at(document: &Document) -> Option<Timestamp> {
    match document.bytes {
        Bytes::Synced => None,
        Bytes::Cached { .. } => Some(document.last_chunk_at),
    }
}
