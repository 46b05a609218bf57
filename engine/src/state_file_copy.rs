//! Keeps the state file equal to the catalog, for people and tools. It is a copy: nothing is ever
//! decided by it while there is a catalog.

pub(crate) mod file;

use crate::background::blocking;
use crate::log::chain;
use crate::shared::Shared;
use file::StateCopyError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use towline_state::catalog::Document;
use towline_state::state_file::{
    EntryStatus, StateFile, StateFileError, UploadEntry, UploadsState,
};

/// The pause after the state file was written, in multiples of the time that the writing
/// took: ten thousand unfinished uploads must not keep the disk busy with it.
const REST: u32 = 20;

/// A larger file is not read at a start: it is a copy, and is written anew.
const READ_BYTES_MAX: u64 = 8 << 20;

/// Writes the state file whenever something has changed, until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut failing = Failing::default();
    loop {
        shared.state_copy.until_changed().await;
        let begun = Instant::now();
        let here = Arc::clone(&shared);
        let message = "writing the state file panicked";
        match blocking(&shared.tracker, message, move || write_until_stop(&here)).await {
            Some(Ok(())) => failing.ends(),
            Some(Err(StateCopyError::Stopping)) | None => {}
            Some(Err(error)) => failing.goes_on(&error),
        }
        let rest = (begun.elapsed() * REST).max(Duration::from_millis(20));
        tokio::time::sleep(rest.min(shared.config.timings.checkpoint * 30)).await;
    }
}

/// The shortest time between two log lines that say that the state file cannot be written. It is a
/// copy, and requests that meet the same fault of the disk report it as well.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Whether the state file can be written, for the log.
#[derive(Default)]
struct Failing {
    /// When the log last said that it cannot be written.
    said_at: Option<Instant>,
    /// How often it could not be written since then.
    others: u64,
}

impl Failing {
    fn goes_on(&mut self, error: &StateCopyError) {
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
pub(crate) fn write(shared: &Shared) -> Result<(), StateCopyError> {
    write_while(shared, || true)
}

/// The same while the server serves. A stop cuts it off, and then writes the file once more.
fn write_until_stop(shared: &Shared) -> Result<(), StateCopyError> {
    write_while(shared, || !shared.stopping.is_cancelled())
}

fn write_while(shared: &Shared, go_on: impl Fn() -> bool) -> Result<(), StateCopyError> {
    let state_copy = &shared.state_copy;
    state_copy.file.write_copy(|copy| {
        state_copy.each_uploading(|document| {
            if !go_on() {
                return Err(StateCopyError::Stopping);
            }
            let active = shared.registry.get(document.document_id);
            let active = active.is_some_and(|active| active.ask(|upload| upload.lease().is_some()));
            let key = document.document_id.to_string();
            let written = copy.entry(&key, &entry(&document, active));
            written.map_err(|error| state_copy.file.unwritten(error).into())
        })
    })
}

/// Looks at the state file that an earlier run left. The file of a later version of Towline is not
/// touched and stops the start. A damaged file is set aside, because the catalog knows all that it
/// said. A file that cannot be read at all is only warned of. Blocks.
pub(crate) fn check(shared: &Shared) -> Result<(), StateCopyError> {
    let file = &shared.state_copy.file;
    let found = if is_too_large(file) { Ok(None) } else { file.read().map(Some) };
    let checked = match found {
        Ok(found) => compare(shared, found.as_ref()),
        Err(error @ StateFileError::Corrupt { .. }) => {
            file.set_aside(shared.clock().now()).map_err(StateCopyError::from).map(|place| {
                let place = place.map(|place| place.display().to_string());
                tracing::warn!(%error, place, "the state file was set aside and is written anew");
            })
        }
        Err(error) => Err(error.into()),
    };
    match checked {
        Err(StateCopyError::File(error))
            if !matches!(error, StateFileError::NewerVersion { .. }) =>
        {
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

/// Logs whether the state file is older than the catalog, or was edited, because a person who has
/// read it was misled. If the catalog knows no document at all, the catalog was lost, and only this
/// copy tells of the files in the staging area: it is kept, also if it is too large to be read
/// here.
fn compare(shared: &Shared, found: Option<&UploadsState>) -> Result<(), StateCopyError> {
    let Some(found) = found else {
        if !shared.catalog.has_documents().wait()? {
            set_orphaned_aside(shared)?;
        }
        return Ok(());
    };
    let mut unknown = found.uploads.len();
    let mut behind = 0;
    shared.state_copy.each_uploading(|document| {
        match found.uploads.get(&document.document_id.to_string()) {
            Some(entry) => {
                unknown -= 1;
                behind += usize::from(entry.offset != document.durable_offset.get());
            }
            None => behind += 1,
        }
        Ok::<(), StateCopyError>(())
    })?;
    if unknown > 0 && !shared.catalog.has_documents().wait()? {
        set_orphaned_aside(shared)?;
    } else if behind + unknown > 0 {
        tracing::warn!(
            behind,
            unknown,
            "the state file does not say what the catalog says; the catalog decides, and the file is written anew"
        );
    }
    Ok(())
}

fn set_orphaned_aside(shared: &Shared) -> Result<(), StateCopyError> {
    let place = shared.state_copy.file.set_orphaned_aside(shared.clock().now())?;
    let place = place.display();
    tracing::warn!(%place, "the catalog knows no document, but the state file tells of uploads; it was set aside");
    Ok(())
}

fn entry(document: &Document, active: bool) -> UploadEntry {
    let status = if active { EntryStatus::Uploading } else { EntryStatus::Paused };
    let mut entry = UploadEntry::new(
        document.path.filename().clone(),
        document.length_so_far(),
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
