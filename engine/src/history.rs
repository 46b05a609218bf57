//! Notices an older copy of `catalog.db` that was put in the place of the newer one by other means
//! than `towlined restore`.
//!
//! Clients remember the numbers of changes and documents. An older catalog gives the same numbers
//! again, for other things, and a client with a cursor would miss what was changed. So the server
//! writes how far the catalog has come into a file of the data folder, outside of `state/`, and
//! each start compares the two. The promise: a catalog is noticed that lacks changes, documents or
//! nodes which the server had a minute before it ended, however it ended. A catalog is not noticed
//! where the whole data folder was put back, because this file was put back with it.
//!
//! No upload waits for the file. It is written once a minute at most, where anything has changed,
//! and at a stop. Its numbers are read after their commit, so the file is never ahead of what the
//! catalog keeps in a power cut.

pub(crate) mod written;

use crate::background::blocking;
use crate::log;
use crate::shared::Shared;
use crate::storage::{FolderError, SeenHistory};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval_at};
use towline_state::catalog::CatalogError;

/// The time between two looks at the catalog.
const EVERY: Duration = Duration::from_secs(60);

/// Why the file was not written.
#[derive(Debug, thiserror::Error)]
enum HistoryError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Compares the catalog with what was seen of it, and begins another history where the catalog is
/// older. Blocks.
pub(crate) fn check(shared: &Shared) -> Result<(), CatalogError> {
    let (folder, catalog) = (shared.lock.folder(), &shared.catalog);
    let seen = match folder.read_history() {
        Ok(Some(Some(seen))) if seen.store_id == catalog.store_id() => seen.history,
        // A new store, one of an earlier version, or the file of a store that is lost.
        Ok(None | Some(Some(_))) => return Ok(()),
        Ok(Some(None)) => {
            tracing::warn!("the history file cannot be read; it is written anew");
            return Ok(());
        }
        // The file only helps to notice an older catalog: the server starts without it.
        Err(error) => {
            tracing::warn!(error = log::chain(&error), "the history file cannot be read");
            return Ok(());
        }
    };
    let found = catalog.history().wait()?;
    if !found.is_older_than(&seen) {
        *shared.written_history.lock() = Some(seen);
        return Ok(());
    }
    catalog.begin_history(seen, shared.clock().now()).wait()?;
    tracing::warn!(
        changes = found.changes,
        changes_seen = seen.changes,
        documents = found.documents,
        documents_seen = seen.documents,
        "the catalog is older than the one that was here before: a copy was put back. Clients are \
         told to list everything anew, and numbers go on behind those that were given. Run \
         `towlined verify`: files that were uploaded since then belong to no document"
    );
    Ok(())
}

/// Writes the file once a minute where the catalog has changed, until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut every = interval_at(Instant::now() + EVERY, EVERY);
    loop {
        every.tick().await;
        let here = Arc::clone(&shared);
        blocking(&shared.tracker, "writing the history file panicked", move || write(&here)).await;
    }
}

/// Writes the file where the catalog has changed. Blocks.
pub(crate) fn write(shared: &Shared) {
    let write = || -> Result<(), HistoryError> {
        let mut written = shared.written_history.lock();
        let history = shared.catalog.history().wait()?;
        if *written != Some(history) {
            let store_id = shared.catalog.store_id();
            shared.lock.folder().write_history(SeenHistory { store_id, history })?;
            *written = Some(history);
        }
        Ok(())
    };
    if let Err(error) = write() {
        let error = log::chain(&error);
        tracing::warn!(
            error,
            "the history file could not be written; without it an older catalog that is put back \
             is not noticed"
        );
    }
}
