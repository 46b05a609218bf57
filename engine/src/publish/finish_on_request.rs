//! Finishes a publishing that was begun and not ended, when a request asks for its document.

use super::remaining_steps;
use super::volume_copies::{CopyProgress, VolumeCopy};
use crate::active::ActiveUpload;
use crate::error::Error;
use crate::may_block::MayBlock;
use crate::shared::Shared;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use towline_state::catalog::Document;
use towline_types::DocumentId;
use towline_upload::Phase;

/// Finishes the publishing of that document, and tells the rules of the upload what the row says
/// then. `say` is called with the progress of a copy to another file system. If another thread
/// works on the document, or a copy has to wait for its permit, the answer is
/// [`Error::StillPublishing`]. Blocks.
pub(crate) fn finish(
    shared: &Shared,
    id: DocumentId,
    may_block: MayBlock,
    say: &mut dyn FnMut(CopyProgress),
) -> Result<(), Error> {
    let turn = Arc::clone(&shared.large_reads).try_acquire_owned().ok();
    finish_in_turn(shared, id, turn, may_block, say)
}

/// The same; a copy to another file system is made if there is a permit (`turn`), else it is left
/// to [`leftover_copies`](super::leftover_copies).
///
/// No lock is held while a copy is made, neither the slot of the upload nor the lock of the deferred
/// sync. None is needed: while the row says `publishing`, the upload takes no bytes and cannot be
/// given up, and of the threads that would finish it only one gets the `VolumeCopy`.
pub(super) fn finish_in_turn(
    shared: &Shared,
    id: DocumentId,
    turn: Option<OwnedSemaphorePermit>,
    _: MayBlock,
    say: &mut dyn FnMut(CopyProgress),
) -> Result<(), Error> {
    let (row, copy) = match finish_at_once(shared, id)? {
        Some(left) => left,
        None => return Ok(()),
    };
    if turn.is_none() {
        drop(copy);
        shared.volume_copies.enqueue(&row);
        return Err(Error::StillPublishing);
    }
    let goes_on = &mut |copied| {
        copy.reached(copied);
        say(CopyProgress::of(&row, copied));
        !shared.stopping.is_cancelled()
    };
    let finished = remaining_steps::finish(shared, &row, goes_on).map(drop);
    shared.registry.exclusively(id, |active| tell_what_row_says(shared, id, active))?;
    finished
}

/// The same, except for a copy to another file system: if one is needed, the answer is the row and
/// the copy, which has begun.
fn finish_at_once(
    shared: &Shared,
    id: DocumentId,
) -> Result<Option<(Document, VolumeCopy)>, Error> {
    shared.registry.exclusively(id, |active| {
        let row_guard = active.map(|active| active.try_lock_row().ok_or(Error::StillPublishing));
        let _row_guard = row_guard.transpose()?;
        // Not at the same time as the sync of deferred documents: that may be about to complete
        // this very document, and then the row has to say so first.
        let _guard = shared.deferred.lock();
        let row = match shared.catalog.document(id).wait()? {
            Some(row) if row.phase == Phase::Publishing => row,
            _ => return tell_what_row_says(shared, id, active).map(|()| None),
        };
        let copy = shared.volume_copies.begin(&row).ok_or(Error::StillPublishing)?;
        shared.state_copy.changed();
        match remaining_steps::finish(shared, &row, &mut |_| false) {
            Err(Error::StillPublishing) => {
                // A client that waits for the copy hears that the bytes are durable (P1). The
                // server may have been killed before it had synced the name under which a start
                // finds them.
                shared.storage.open(id)?.sync()?;
                Ok(Some((row, copy)))
            }
            finished => {
                tell_what_row_says(shared, id, active)?;
                finished.map(|_| None)
            }
        }
    })
}

fn tell_what_row_says(
    shared: &Shared,
    id: DocumentId,
    active: Option<&Arc<ActiveUpload>>,
) -> Result<(), Error> {
    let Some(active) = active else { return Ok(()) };
    match shared.catalog.document(id).wait()?.map(|row| row.phase) {
        Some(Phase::Uploading) => shared.checkpoints.unpublished(active),
        Some(Phase::Completed) => active.published(),
        _ => {}
    }
    Ok(())
}
