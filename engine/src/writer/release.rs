//! How a writer lets go of its upload: for another one, at its end, or because of an error.

use super::answer::Stored;
use super::state::{OpenUpload, OrderedWriter, WriterState};
use crate::active::ActiveUpload;
use crate::command::RejectedRequest;
use crate::error::Error;
use crate::event::EventKind;
use crate::log::UploadEnd;
use crate::may_block::MayBlock;
use crate::receipt::Receipt;
use crate::rejection::Rejection;
use crate::shared::Shared;
use crate::{end, failpoint, uploads};
use std::sync::Arc;
use tokio::runtime::Handle;
use towline_state::catalog::Document;
use towline_types::OnConflict;
use towline_upload::{Phase, Refusal};

/// Whether the log gets a line when an upload is paused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PauseLog {
    Line,
    /// The upload is being cancelled: the log gets a line for its end.
    None,
}

/// Why an upload ended that was to be skipped where its name is taken.
const SKIPPED: &str = "its name was taken in the meantime, and it was to be skipped then";

impl OrderedWriter {
    /// Notices that the lease has ended. If another writer took the upload over, or it was given
    /// up, the thread that did so has told our client, and what still comes for it is dropped. If
    /// another writer of the same lease has completed it, our client was told nothing: its data is
    /// dropped too, and its `complete` is answered.
    pub(super) fn look_at_lease(&mut self) {
        if let WriterState::Active(open) = &self.state
            && !open.active.is_in_force(open.writer.lease)
        {
            let lease = open.writer.lease;
            let is_completed = open.active.ask(|upload| upload.was_completed_under(lease));
            self.state = if is_completed {
                WriterState::CompletedByAnother(open.active.document_id)
            } else {
                WriterState::Rejected
            };
        }
    }

    /// Answers with the receipt of a completed document.
    pub(super) fn receipt(&mut self, document: Document) -> Result<(), Error> {
        let phase = document.phase;
        let receipt = Receipt::of(document);
        let receipt = receipt.ok_or(Error::Refused(Refusal::NotUploading(phase)))?;
        self.finish(receipt, Stored::ByUpload);
        Ok(())
    }

    /// Answers with a receipt. If it is that of the upload that the writer has open, the writer
    /// lets go of it.
    pub(super) fn finish(&mut self, receipt: Receipt, stored: Stored) {
        let receipt = Arc::new(receipt);
        // A receipt of another document leaves the writer's own upload as it is.
        let other = matches!(&self.state, WriterState::Active(open) if receipt.document_id() != open.active.document_id);
        if !other {
            self.leave(PauseLog::Line);
            self.state = WriterState::Completed(Arc::clone(&receipt));
        }
        self.vacate();
        self.tell_completed(receipt, stored);
    }

    /// Lets go of the upload that the writer has open, because the next command is about another
    /// one.
    pub(super) fn leave_for_another(&mut self) {
        if let WriterState::Active(open) = &self.state {
            open.active.say_standing(|position, _| {
                self.tell(Some(open.active.document_id), EventKind::Progress(position));
            });
        }
        self.leave(PauseLog::Line);
    }

    /// Lets go of the upload that the writer has open, if there is one, and returns it. That pauses
    /// the upload if no other writer has its lease.
    pub(super) fn leave(&mut self, log: PauseLog) -> Option<Arc<ActiveUpload>> {
        match std::mem::replace(&mut self.state, WriterState::Idle) {
            WriterState::Active(open) => self.pause(&open, log).then_some(open.active),
            _ => None,
        }
    }

    fn pause(&self, open: &OpenUpload, log: PauseLog) -> bool {
        let was_in_force = pause(&self.shared, open);
        if was_in_force {
            self.log_pause(&open.active, log);
        }
        was_in_force
    }

    fn log_pause(&self, active: &ActiveUpload, log: PauseLog) {
        if log == PauseLog::None || !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        active.ask(|upload| {
            if upload.phase() == Phase::Uploading && upload.lease().is_none() {
                let progress = upload.progress();
                let end = UploadEnd {
                    user: self.user,
                    document: active.document_id,
                    path: upload.path(),
                    filesize: progress.length().so_far(progress.received()),
                };
                end.paused(&self.origin, self.since, progress.received().get());
            }
        });
    }

    /// Refuses a command because of `error`. What follows from the error for an open upload may
    /// have to wait for another writer.
    ///
    /// # Errors
    /// The same error, and nothing is done, if that is so and the thread may not block.
    pub(super) fn refuse(
        &mut self,
        error: Error,
        may_block: Option<MayBlock>,
    ) -> Result<(), Error> {
        match (&self.state, may_block) {
            (WriterState::Active(_), None) => return Err(error),
            (_, Some(may_block)) => self.refuse_now(&error, may_block),
            (_, None) => self.refuse_without_upload(&error),
        }
        Ok(())
    }

    /// The same on a thread that may block.
    pub(super) fn refuse_now(&mut self, error: &Error, may_block: MayBlock) {
        let WriterState::Active(open) = &self.state else {
            return self.refuse_without_upload(error);
        };
        // The writer keeps its upload until it lets go of it, so that a panic in between finds it
        // there.
        let open = open.clone();
        self.refuse_for(&open, error, may_block);
    }

    /// Tells the client what the door found wrong with a request.
    pub(super) fn refuse_for_door(
        &mut self,
        rejection: Rejection,
        request: RejectedRequest,
    ) -> Result<(), Error> {
        let document = match request {
            RejectedRequest::Upload(document) => {
                self.leave_for_another();
                self.state = WriterState::Rejected;
                self.vacate();
                document
            }
            RejectedRequest::Change => {
                let WriterState::Active(open) = &self.state else {
                    return self.drop_or_complain();
                };
                Some(open.active.document_id)
            }
            RejectedRequest::Query | RejectedRequest::Tree(_) => None,
        };
        self.reject(rejection, document);
        Ok(())
    }

    /// Refuses a command, where the writer has no upload open.
    fn refuse_without_upload(&mut self, error: &Error) {
        failpoint::reach("refuse.begun");
        let id = if let WriterState::Whole(id) = &self.state { Some(*id) } else { None };
        if !matches!(self.state, WriterState::Completed(_)) {
            self.state = WriterState::Rejected;
        }
        self.shared.storage_follows_catalog();
        self.vacate();
        self.reject_with(error, id);
    }

    /// Refuses a command about the open upload, and does what follows from the error: the upload
    /// fails, a block is taken back, or the writer lets go of the upload. Blocks.
    fn refuse_for(&mut self, open: &OpenUpload, error: &Error, may_block: MayBlock) {
        failpoint::reach("refuse.begun");
        let active = &open.active;
        if error.is_fatal_to_upload() {
            end::fail(&self.shared, active, &active.lock_row(may_block), error);
            self.let_go(open, error);
            return;
        }
        if let Error::Refused(Refusal::BlockMismatch { index }) = error {
            if failpoint::is_faked("block.check") {
                return;
            }
            let (lease, catalog) = (open.writer.lease, &self.shared.catalog);
            let damaged_bytes = index.length_bytes(active.filesize());
            self.shared.metrics.counters.taken_back_bytes.add(damaged_bytes);
            if let Err(error) = active.take_back_mismatched(lease, *index, catalog, may_block) {
                self.let_go(open, &error);
                return;
            }
        }
        self.shared.storage_follows_catalog();
        if error.ends_upload_here() {
            self.let_go(open, error);
        } else if open.on_conflict == OnConflict::Skip && error.is_name_taken() {
            self.skip(open, error, may_block);
        } else {
            self.reject_with(error, Some(active.document_id));
        }
    }

    /// Gives an upload up whose name is taken, as its client has asked for: it wants no other name,
    /// and not to keep the bytes.
    fn skip(&mut self, open: &OpenUpload, error: &Error, may_block: MayBlock) {
        let id = open.active.document_id;
        // The client hears why it ends, and not that it was cancelled.
        self.leave(PauseLog::None);
        self.state = WriterState::Rejected;
        if let Err(error) = end::give_up(&self.shared, id, Phase::Cancelled, SKIPPED, may_block) {
            tracing::debug!(document_id = %id, %error, "an upload that was to be skipped stays");
        }
        self.vacate();
        self.reject_with(error, Some(id));
    }

    /// Lets go of an upload because of an error. If another writer has taken it over meanwhile, or
    /// it was given up, the client was told of that, and the error is not sent; if another writer
    /// has completed it, the client was not told, and it is.
    fn let_go(&mut self, open: &OpenUpload, error: &Error) {
        self.state = WriterState::Rejected;
        self.vacate();
        if self.pause(open, PauseLog::Line)
            || open.active.ask(|upload| upload.phase() == Phase::Completed)
        {
            self.reject_with(error, Some(open.active.document_id));
        }
    }
}

/// Lets go of an upload, and returns whether the writer's lease was in force. That pauses the upload
/// if no other writer has its lease. Blocks.
fn pause(shared: &Shared, open: &OpenUpload) -> bool {
    let was_in_force = open.active.release(open.writer);
    if was_in_force {
        shared.checkpoints.mark_dirty(&open.active, 0);
        shared.state_copy.changed();
        shared.registry.paused(open.active.document_id);
        // Each pause looks at two uploads that were paused before. So ten thousand pauses at
        // once cost twenty thousand looks, and not ten thousand each.
        uploads::close_idle(shared, 2);
    }
    was_in_force
}

impl Drop for OrderedWriter {
    /// A writer lets go of its upload in its lane, at a [`Release`] of its session. If the lane was
    /// dropped before it came to that, the upload is paused all the same: on another thread, since
    /// this one may be an async thread, and must not wait while another writer writes.
    ///
    /// [`Release`]: super::state::Task::Release
    fn drop(&mut self) {
        let WriterState::Active(open) = std::mem::replace(&mut self.state, WriterState::Idle)
        else {
            return;
        };
        tracing::warn!(
            document = %open.active.document_id,
            "a writer was dropped before it had let go of its upload; the upload is paused"
        );
        let shared = Arc::clone(&self.shared);
        let pause = move || {
            pause(&shared, &open);
        };
        match Handle::try_current() {
            Ok(_) => drop(self.shared.tracker.spawn_blocking(pause)),
            // Without a runtime this is no async thread.
            Err(_) => pause(),
        }
    }
}
