//! How an upload ends without a document: its row, its staging file, its writers and the log.

use crate::active::{ActiveUpload, RowGuard};
use crate::audit::{AuditAction, AuditRecord, AuditResult};
use crate::error::Error;
use crate::failpoint;
use crate::log::{self, UploadEnd};
use crate::may_block::MayBlock;
use crate::shared::Shared;
use crate::storage::StorageError;
use std::sync::Arc;
use towline_types::DocumentId;
use towline_upload::{Phase, Refusal};

/// Ends an upload. The row is written first: after a crash in between there are bytes without a
/// promise, which the next start removes; in the other order there would be a promise without
/// bytes, and so a broken one (P1). Blocks.
pub(crate) fn end(shared: &Shared, id: DocumentId, phase: Phase, why: &str) -> Result<(), Error> {
    record(shared, id, phase, why)?;
    if let Err(error) = shared.storage.discard(id) {
        tracing::warn!(document_id = %id, error = log::chain(&error), "the staging area could not be removed");
    }
    Ok(())
}

/// The same for an upload without a staging file. Blocks.
pub(crate) fn record(
    shared: &Shared,
    id: DocumentId,
    phase: Phase,
    why: &str,
) -> Result<(), Error> {
    shared.catalog.finish(id, phase, why.to_owned(), shared.clock().now()).wait()?;
    let counters = &shared.metrics.counters;
    match phase {
        Phase::Failed => counters.uploads_failed.increment(),
        Phase::Cancelled => counters.uploads_cancelled.increment(),
        Phase::Expired => counters.uploads_expired.increment(),
        Phase::Uploading | Phase::Publishing | Phase::Completed => {}
    }
    shared.state_copy.changed();
    shared.ended_uploads.add();
    failpoint::reach("end.recorded");
    Ok(())
}

/// [`end`] with a line of the log: for an upload of which its owner has heard. Blocks.
pub(crate) fn end_and_log(
    shared: &Shared,
    id: DocumentId,
    phase: Phase,
    why: &str,
) -> Result<(), Error> {
    end(shared, id, phase, why)?;
    log_end(shared, id, phase, why);
    Ok(())
}

/// Gives an upload up, whether or not a writer has it open. Blocks.
///
/// The caller has looked at the upload before. Since then it may have been published, and its
/// client told `SUCCESS`: so the row is read again, while no other thread can change it. While the
/// upload is being published the answer is [`Error::StillPublishing`]: a wait, with the slot of the
/// registry locked, would make every other request for the document wait as well, each with a
/// thread (P6).
pub(crate) fn give_up(
    shared: &Shared,
    id: DocumentId,
    phase: Phase,
    why: &str,
    may_block: MayBlock,
) -> Result<(), Error> {
    failpoint::reach("end.decided");
    shared.registry.exclusively(id, |active| {
        let row_guard =
            active.map(|active| lock_row_unless_publishing(active, may_block)).transpose()?;
        match shared.catalog.document(id).wait()?.map(|row| row.phase) {
            Some(Phase::Uploading) => {}
            Some(phase) => return Err(Error::Refused(Refusal::NotUploading(phase))),
            None => return Err(Error::Refused(Refusal::NotFound)),
        }
        let writers = match (active, &row_guard) {
            (Some(active), Some(row_guard)) => Some(active.give_up(row_guard, phase)?),
            _ => None,
        };
        let ended = end_and_log(shared, id, phase, why);
        if let Some(writers) = writers {
            writers.hear(&match &ended {
                Ok(()) => Error::Refused(Refusal::NotUploading(phase)).rejection(),
                Err(error) => error.rejection(),
            });
        }
        ended
    })
}

/// Fails an upload because of `error`, and tells its writers. Blocks.
pub(crate) fn fail(shared: &Shared, active: &ActiveUpload, row_guard: &RowGuard, error: &Error) {
    let document_id = active.document_id;
    if error.is_for_operator() {
        shared.summary.fault(Some(document_id), error);
    }
    let why = error.rejection();
    shared.metrics.refusals.increment(why.kind.as_str());
    let writers = match active.give_up(row_guard, Phase::Failed) {
        Ok(writers) => writers,
        // Another thread has ended the upload before, and has told all its writers.
        Err(_) => return,
    };
    if let Err(error) = fail_unopened(shared, document_id, error) {
        tracing::error!(%document_id, error = log::chain(&error), "the failure was not recorded");
    }
    writers.hear(&why);
}

/// Fails an upload that no writer has open, with a line of the log. Blocks.
///
/// If the error is [`StorageError::Lost`], the file that has the name of the staging file is set
/// aside, as a start does it: it may hold bytes that were promised and can be used again (P1), or
/// it is a file of another program, which no upload may delete. The row goes first here too: after
/// a crash in between there is a file that belongs to no upload, which the next start sets aside.
pub(crate) fn fail_unopened(shared: &Shared, id: DocumentId, error: &Error) -> Result<(), Error> {
    let why = &error.rejection().message;
    if !matches!(error, Error::Storage(StorageError::Lost(_))) {
        return end_and_log(shared, id, Phase::Failed, why);
    }
    record(shared, id, Phase::Failed, why)?;
    // Only on a disk can another program have put a file there.
    let aside = shared.storage.local_disk().map(|disk| disk.set_upload_aside(id));
    match aside.unwrap_or(Ok(None)) {
        Ok(Some(place)) => {
            let place = place.display();
            tracing::warn!(document_id = %id, %place, "the bytes of an upload were set aside");
        }
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(document_id = %id, error = log::chain(&error), "the staging area could not be set aside; it stays");
        }
    }
    log_end(shared, id, Phase::Failed, why);
    Ok(())
}

fn log_end(shared: &Shared, id: DocumentId, phase: Phase, why: &str) {
    if tracing::enabled!(tracing::Level::INFO)
        && let Ok(Some(document)) = shared.catalog.document(id).wait()
    {
        UploadEnd::of(&document).without_document(phase, why);
    }
    match phase {
        Phase::Failed => observe_end(shared, id, AuditAction::Fail, why),
        Phase::Expired => observe_end(shared, id, AuditAction::Expire, why),
        // The observer of a client hears what the client cancels.
        _ => {}
    }
}

/// Tells the observer, if there is one, how an upload has ended without its client. Blocks.
pub(crate) fn observe_end(shared: &Shared, id: DocumentId, action: AuditAction, why: &str) {
    if shared.config.audit.is_some()
        && let Ok(Some(document)) = shared.catalog.document(id).wait()
    {
        let end = UploadEnd::of(&document);
        shared.observe(|| AuditRecord {
            document: Some(id),
            path: Some(end.path.to_string()),
            bytes: Some(end.filesize.get()),
            result: AuditResult::Ended(why.to_owned()),
            ..AuditRecord::done(action, document.user_id)
        });
    }
}

/// Keeps every other thread from changing what the catalog says of that upload. Fails if the upload
/// is being published. Blocks.
pub(crate) fn lock_row_unless_publishing(
    active: &Arc<ActiveUpload>,
    may_block: MayBlock,
) -> Result<RowGuard, Error> {
    active.lock_row_unless_publishing(may_block).map_err(|_| Error::StillPublishing)
}
