//! Keeps the state file saying what the catalog says, for people and tools. It is
//! a copy: nothing is ever decided by it while there is a catalog.

use crate::refrain::Refrain;
use crate::service::Service;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use towline_state::catalog::{CatalogError, Document};
use towline_state::state_file::{
    EntryStatus, StateFile, StateFileError, UploadEntry, UploadsState,
};

/// See the module's description.
pub(crate) struct Mirror {
    file: StateFile,
    changed: Notify,
}

/// Why the copy could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MirrorError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    File(#[from] StateFileError),
}

/// The state file is written again after so many times the time that writing
/// took: ten thousand unfinished uploads must not keep the disk busy with it.
const REST: u32 = 20;

impl Mirror {
    pub(crate) fn new(file: StateFile) -> Self {
        Self { file, changed: Notify::new() }
    }

    /// The catalog says something new.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }
}

/// Writes the state file whenever something has changed, until it is dropped.
pub(crate) async fn run(service: Arc<Service>) {
    let failing = Refrain::default();
    loop {
        service.mirror.changed.notified().await;
        let begun = Instant::now();
        let here = Arc::clone(&service);
        match service.tracker.spawn_blocking(move || write(&here)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                if let Some(others) = failing.due() {
                    tracing::warn!(%error, others, "the state file could not be written");
                }
            }
            Err(panic) => tracing::error!(%panic, "writing the state file panicked"),
        }
        let rest = (begun.elapsed() * REST).max(Duration::from_millis(20));
        tokio::time::sleep(rest.min(service.config.timings.checkpoint * 30)).await;
    }
}

/// Writes the state file now. Blocks.
pub(crate) fn write(service: &Service) -> Result<(), MirrorError> {
    let mut state = UploadsState::default();
    // What is being published waits for nobody any more.
    for document in service.catalog.uploading().wait()? {
        let live = service.registry.get(document.document_id);
        let active = live.is_some_and(|live| live.ask(|upload| upload.lease().is_some()));
        state.uploads.insert(document.document_id.to_string(), entry(&document, active));
    }
    service.mirror.file.replace(&state)?;
    Ok(())
}

/// Looks at the state file that an earlier run left. A later Towline's is not
/// touched and stops the start; a damaged one is set aside, for the catalog knows
/// all of it. Blocks.
pub(crate) fn check(service: &Service) -> Result<(), MirrorError> {
    let file = &service.mirror.file;
    match file.read() {
        Ok(found) => compare(service, &found),
        Err(error @ StateFileError::Corrupt { .. }) => {
            let place = file.set_aside(service.clock().now())?;
            let place = place.map(|place| place.display().to_string());
            tracing::warn!(%error, place, "the state file was set aside and is written anew");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Says so where the state file is older than the catalog, or was edited: whoever
/// has read it was misled. Where the catalog knows nothing at all, it was lost, and
/// the copy of it is the only word of what lies in the staging area: it is kept.
fn compare(service: &Service, found: &UploadsState) -> Result<(), MirrorError> {
    let mut unknown = found.uploads.len();
    let mut behind = 0;
    for document in service.catalog.uploading().wait()? {
        match found.uploads.get(&document.document_id.to_string()) {
            Some(entry) => {
                unknown -= 1;
                behind += usize::from(entry.offset != document.durable_offset);
            }
            None => behind += 1,
        }
    }
    if unknown > 0 && !service.catalog.has_documents().wait()? {
        let place = service.mirror.file.set_orphaned_aside(service.clock().now())?;
        let place = place.display();
        tracing::warn!(%place, "the catalog knows no document, but the state file tells of uploads; it was set aside");
    } else if behind + unknown > 0 {
        tracing::warn!(
            behind,
            unknown,
            "the state file does not say what the catalog says; the catalog decides, and the file is written anew"
        );
    }
    Ok(())
}

fn entry(document: &Document, active: bool) -> UploadEntry {
    let status = if active { EntryStatus::Uploading } else { EntryStatus::Paused };
    let mut entry = UploadEntry::new(
        document.path.filename().clone(),
        document.filesize,
        document.durable_offset,
        status,
    );
    entry.folder = document.path.folder().to_vec();
    entry.chunk_size = document.chunk_size;
    entry.user_id = Some(document.user_id);
    entry.start_time = Some(document.started_at);
    entry.last_chunk_time = Some(document.last_chunk_at);
    entry
}
