//! Makes documents durable that have their names already: the part of a relaxed publishing that
//! follows after `SUCCESS`.
//!
//! The row of each of them says `publishing`, and that its bytes may be in the page cache only.
//! Here many of them are synced together, and then their rows say `completed` (P3, later). After a
//! crash at any point, recovery reads and hashes such a file before it serves it (P2), and makes it
//! durable (P4).

use super::deferred_queue::UnsyncedDocument;
use crate::background::blocking;
use crate::failpoint;
use crate::log;
use crate::shared::Shared;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use towline_state::catalog::{CatalogError, Refusal};
use towline_upload::Phase;

/// Documents that get their names within this time share a sync. A document waits at least that long
/// after its `SUCCESS`, and a power cut in this time can take it.
const GATHER: Duration = Duration::from_secs(1);

/// The pause before documents that could not be recorded are tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Syncs the documents that are added, until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        shared.deferred.added().await;
        tokio::time::sleep(GATHER).await;
        loop {
            let here = Arc::clone(&shared);
            let message = "a deferred sync did not come to its end";
            if blocking(&shared.tracker, message, move || sync_deferred(&here)).await == Some(true)
            {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Syncs and records all documents that wait; returns whether none of them has to be tried again.
/// Blocks.
pub(crate) fn sync_deferred(shared: &Shared) -> bool {
    let guard = shared.deferred.lock();
    let documents = shared.deferred.all(&guard);
    if documents.is_empty() {
        return true;
    }
    let places: Vec<_> = documents.iter().map(|one| (one.owner, one.path.clone())).collect();
    // Documents get permits only in a store that can do this.
    let Some(storage) = shared.storage.deferred() else { return true };
    if let Err(error) = storage.sync_deferred(&places) {
        // The volume is closed now. The rows go on saying `publishing`, and the next start reads
        // what the disk has kept (P5).
        tracing::error!(
            documents = documents.len(),
            error = log::chain(&error),
            "documents are not durable yet; the next start reads what the disk has kept"
        );
        documents.iter().for_each(|one| shared.deferred.forget(one.document_id));
        return true;
    }
    record(shared, &documents)
}

/// How many rows are recorded together: as many as share a transaction.
const ROWS_PER_COMMIT: usize = 256;

fn record(shared: &Shared, documents: &[Arc<UnsyncedDocument>]) -> bool {
    failpoint::reach("deferred.recording");
    let mut all = true;
    for together in documents.chunks(ROWS_PER_COMMIT) {
        let complete = |one: &Arc<UnsyncedDocument>| {
            shared.catalog.complete_publish(one.document_id, one.stamp, one.named_at)
        };
        let rows: Vec<_> = together.iter().map(complete).collect();
        for (one, recorded) in together.iter().zip(rows) {
            let id = one.document_id;
            match recorded.wait() {
                // A request has asked for this document before, so it is completed already.
                Ok(_) | Err(CatalogError::Refused(Refusal::WrongPhase(Phase::Completed))) => {}
                Err(error) => {
                    tracing::error!(document_id = %id, error = log::chain(&error), "a document was not recorded as complete");
                    if may_be_recorded_later(&error) {
                        all = false;
                        continue;
                    }
                }
            }
            shared.deferred.forget(id);
        }
    }
    let owners: BTreeSet<_> = documents.iter().map(|one| one.owner).collect();
    owners.into_iter().for_each(|owner| shared.notifier.raise(owner));
    shared.wake_scanner();
    shared.storage_follows_catalog();
    shared.state_copy.changed();
    all
}

/// Whether the row may still say `publishing` while the catalog takes changes. Then a start would
/// have to read the file, so the document keeps its permit (P6).
const fn may_be_recorded_later(error: &CatalogError) -> bool {
    matches!(error, CatalogError::Busy | CatalogError::DiskFull | CatalogError::Sql(_))
}
