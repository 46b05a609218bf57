//! Keeps the state file saying what the catalog says, for people and tools. It is
//! a copy: nothing is ever decided by it while there is a catalog.

use crate::log::chain;
use crate::service::Service;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use towline_state::catalog::{Catalog, CatalogError, Document};
use towline_state::state_file::{
    EntryStatus, StateFile, StateFileError, UploadEntry, UploadsState,
};
use towline_types::DocumentId;
use towline_upload::Phase;

/// See the module's description.
pub(crate) struct Mirror {
    file: StateFile,
    /// The same catalog over a connection and a thread of its own: however many rows are
    /// read for the copy, no login and no upload waits for that.
    looking: Catalog,
    changed: Notify,
}

/// Why the copy could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MirrorError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    File(#[from] StateFileError),
    /// It was cut off, for the last word is written behind it.
    #[error("the server stops")]
    Stopping,
}

/// The pause after the state file was written, in multiples of the time that the writing
/// took: ten thousand unfinished uploads must not keep the disk busy with it.
const REST: u32 = 20;

/// Rows that are in memory at a time.
const PAGE: usize = 256;

/// A larger file is not read at a start: it is a copy, and is written anew.
const READ_BYTES_MAX: u64 = 8 << 20;

impl Mirror {
    /// Keeps that file; `looking` is opened to look at the catalog.
    pub(crate) fn new(file: StateFile, looking: Catalog) -> Self {
        Self { file, looking, changed: Notify::new() }
    }

    /// Lets go of the catalog. Nothing is written after that.
    pub(crate) fn close(&self) -> Result<(), CatalogError> {
        self.looking.close().wait()
    }

    /// Calls `show` for every upload that waits for bytes, in the order of the numbers. A row
    /// that cannot be read is left out. Blocks.
    fn each_uploading<E: From<CatalogError>>(
        &self,
        mut show: impl FnMut(Document) -> Result<(), E>,
    ) -> Result<(), E> {
        let ids: Vec<DocumentId> = self.looking.uploading_ids().wait()?;
        for page in ids.chunks(PAGE) {
            // All of a page are asked for before the first is waited for.
            let rows: Vec<_> = page.iter().map(|id| self.looking.document(*id)).collect();
            for row in rows {
                match row.wait() {
                    // An upload that is being published by now waits for no more bytes.
                    Ok(Some(row)) if row.phase == Phase::Uploading => show(row)?,
                    Ok(_) | Err(CatalogError::BadRow { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// The catalog says something new.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }
}

/// Writes the state file whenever something has changed, until it is dropped.
pub(crate) async fn run(service: Arc<Service>) {
    let mut failing = Failing::default();
    loop {
        service.mirror.changed.notified().await;
        let begun = Instant::now();
        let here = Arc::clone(&service);
        match service.tracker.spawn_blocking(move || write_until_stop(&here)).await {
            Ok(Ok(())) => failing.ends(),
            Ok(Err(MirrorError::Stopping)) => {}
            Ok(Err(error)) => failing.goes_on(&error),
            Err(panic) => tracing::error!(%panic, "writing the state file panicked"),
        }
        let rest = (begun.elapsed() * REST).max(Duration::from_millis(20));
        tokio::time::sleep(rest.min(service.config.timings.checkpoint * 30)).await;
    }
}

/// Between two lines that say that the state file cannot be written. It is a copy, and what
/// is wrong with the disk is said by the requests that meet it.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Whether the state file can be written, for the log.
#[derive(Default)]
struct Failing {
    /// When that was last said.
    said_at: Option<Instant>,
    /// How often it could not be written since then.
    others: u64,
}

impl Failing {
    fn goes_on(&mut self, error: &MirrorError) {
        if self.said_at.is_some_and(|at| at.elapsed() < SAID_EVERY) {
            self.others += 1;
            return;
        }
        let (error, others) = (chain(error), std::mem::take(&mut self.others));
        self.said_at = Some(Instant::now());
        tracing::warn!(
            error,
            others,
            "the state file could not be written; it is a copy, and nothing depends on it"
        );
    }

    fn ends(&mut self) {
        if self.said_at.take().is_some() {
            let others = std::mem::take(&mut self.others);
            tracing::info!(others, "the state file is written again");
        }
    }
}

/// Writes the state file now. Blocks.
pub(crate) fn write(service: &Service) -> Result<(), MirrorError> {
    write_while(service, || true)
}

/// The same while the server serves: a stop does not wait for it, and writes the last word.
fn write_until_stop(service: &Service) -> Result<(), MirrorError> {
    write_while(service, || !service.stopping.is_cancelled())
}

fn write_while(service: &Service, go_on: impl Fn() -> bool) -> Result<(), MirrorError> {
    let mirror = &service.mirror;
    mirror.file.write_copy(|copy| {
        mirror.each_uploading(|document| {
            if !go_on() {
                return Err(MirrorError::Stopping);
            }
            let live = service.registry.get(document.document_id);
            let active = live.is_some_and(|live| live.ask(|upload| upload.lease().is_some()));
            let key = document.document_id.to_string();
            let written = copy.entry(&key, &entry(&document, active));
            written.map_err(|error| mirror.file.unwritten(error).into())
        })
    })
}

/// Looks at the state file that an earlier run left. A later Towline's is not
/// touched and stops the start; a damaged one is set aside, for the catalog knows
/// all of it; one that cannot be read at all is only warned of. Blocks.
pub(crate) fn check(service: &Service) -> Result<(), MirrorError> {
    let file = &service.mirror.file;
    let found = if is_too_large(file) { Ok(None) } else { file.read().map(Some) };
    let checked = match found {
        Ok(found) => compare(service, found.as_ref()),
        Err(error @ StateFileError::Corrupt { .. }) => {
            file.set_aside(service.clock().now()).map_err(MirrorError::from).map(|place| {
                let place = place.map(|place| place.display().to_string());
                tracing::warn!(%error, place, "the state file was set aside and is written anew");
            })
        }
        Err(error) => Err(error.into()),
    };
    match checked {
        Err(MirrorError::File(error)) if !matches!(error, StateFileError::NewerVersion { .. }) => {
            tracing::warn!(
                error = chain(&error),
                "the state file cannot be used; it is a copy, and the server starts without it"
            );
            Ok(())
        }
        checked => checked,
    }
}

fn is_too_large(file: &StateFile) -> bool {
    file.path().metadata().is_ok_and(|about| about.len() > READ_BYTES_MAX)
}

/// Says so where the state file is older than the catalog, or was edited: whoever
/// has read it was misled. Where the catalog knows nothing at all, it was lost, and
/// the copy of it is the only word of what lies in the staging area: it is kept, also
/// where it is too large to be read here.
fn compare(service: &Service, found: Option<&UploadsState>) -> Result<(), MirrorError> {
    let Some(found) = found else {
        if !service.catalog.has_documents().wait()? {
            set_orphaned_aside(service)?;
        }
        return Ok(());
    };
    let mut unknown = found.uploads.len();
    let mut behind = 0;
    service.mirror.each_uploading(|document| {
        match found.uploads.get(&document.document_id.to_string()) {
            Some(entry) => {
                unknown -= 1;
                behind += usize::from(entry.offset != document.durable_offset.get());
            }
            None => behind += 1,
        }
        Ok::<(), MirrorError>(())
    })?;
    if unknown > 0 && !service.catalog.has_documents().wait()? {
        set_orphaned_aside(service)?;
    } else if behind + unknown > 0 {
        tracing::warn!(
            behind,
            unknown,
            "the state file does not say what the catalog says; the catalog decides, and the file is written anew"
        );
    }
    Ok(())
}

fn set_orphaned_aside(service: &Service) -> Result<(), MirrorError> {
    let place = service.mirror.file.set_orphaned_aside(service.clock().now())?;
    let place = place.display();
    tracing::warn!(%place, "the catalog knows no document, but the state file tells of uploads; it was set aside");
    Ok(())
}

fn entry(document: &Document, active: bool) -> UploadEntry {
    let status = if active { EntryStatus::Uploading } else { EntryStatus::Paused };
    let mut entry = UploadEntry::new(
        document.path.filename().clone(),
        document.filesize,
        document.durable_offset.get(),
        status,
    );
    entry.folder = document.path.folder().to_vec();
    entry.chunk_size = document.chunk_size;
    entry.user_id = Some(document.user_id);
    entry.start_time = Some(document.started_at);
    entry.last_chunk_time = Some(document.last_chunk_at);
    entry
}
