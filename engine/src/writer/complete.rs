//! From `complete` to the receipt.

use super::answer::Stored;
use super::resume::still_open;
use super::state::{OrderedWriter, SHORT_FILE_BYTES, WriterState};
use crate::active::{ActiveUpload, RowGuard};
use crate::command::CompleteRequest;
use crate::error::Error;
use crate::may_block::MayBlock;
use crate::publish::reserved_name::PublishSpec;
use crate::publish::{Advance, Publishing, interrupted};
use crate::uploads;
use std::sync::Arc;
use towline_types::{DocumentId, SecondDigest, Sha256Hash};
use towline_upload::{Phase, Refusal};

/// What follows from `complete`.
pub(super) enum CompleteOutcome {
    /// The upload is whole and is published.
    Publish(Publishing),
    /// It may have to wait for another writer: it is to be done on a thread of its own.
    NeedsThread(CompleteRequest),
    /// Another thread publishes that document: it is asked again afterwards.
    AfterPublish(DocumentId, CompleteRequest),
    /// The client has its answer.
    Done,
}

impl OrderedWriter {
    pub(super) fn complete(
        &mut self,
        request: CompleteRequest,
        may_block: Option<MayBlock>,
    ) -> Result<CompleteOutcome, Error> {
        match (&self.state, may_block) {
            (WriterState::Active(open), _) if is_about(&request, &open.active) => {
                let row_guard = match may_block {
                    // Where another writer has begun to publish it, this one asks as any
                    // other does.
                    Some(may_block) => open.active.lock_row_unless_publishing(may_block).ok(),
                    None if open.active.filesize().get() > SHORT_FILE_BYTES => None,
                    None => open.active.try_lock_row(),
                };
                match row_guard {
                    Some(row_guard) => self.complete_open(request, row_guard),
                    None => Ok(CompleteOutcome::NeedsThread(request)),
                }
            }
            // It may have to wait for the thread that publishes that document.
            (_, None) => Ok(CompleteOutcome::NeedsThread(request)),
            (_, Some(may_block)) => self.complete_other(request, may_block),
        }
    }

    fn complete_open(
        &mut self,
        request: CompleteRequest,
        row_guard: RowGuard,
    ) -> Result<CompleteOutcome, Error> {
        let WriterState::Active(open) = &self.state else { return Ok(CompleteOutcome::Done) };
        let active = Arc::clone(&open.active);
        self.look_at_lease();
        let WriterState::Active(open) = &self.state else {
            // The thread that had the row's lock has ended the upload here. Where another writer
            // took it over, or it was given up, our client was told; where another writer has
            // completed it, it was not.
            let is_completed = active.ask(|upload| upload.phase() == Phase::Completed);
            let document_id = is_completed.then_some(active.document_id).or(request.id);
            let again = document_id.map(|id| CompleteRequest { id: Some(id), ..request });
            return Ok(again.map_or(CompleteOutcome::Done, CompleteOutcome::NeedsThread));
        };
        let lease = open.writer.lease;
        let on_conflict = request.on_conflict.unwrap_or(open.on_conflict);
        let blake3 = active.tell(|upload| upload.complete(lease, request.hash))?;
        let (document_id, owner) = (active.document_id, self.user);
        let spec = PublishSpec { document_id, owner, blake3, on_conflict, is_copy: false };
        // The user's own three checks: size, existence, permissions.
        if let Err(error) = active.staging().check(active.filesize()) {
            self.shared.checkpoints.unpublished(&active);
            return Err(error.into());
        }
        if let Err(error) = self.check_second_digest(&active, &row_guard, request.sha256) {
            self.shared.checkpoints.unpublished(&active);
            return Err(error);
        }
        let publishing = Publishing::begin(&self.shared, spec, active, row_guard);
        Ok(CompleteOutcome::Publish(publishing))
    }

    /// Finds the second hash of the file, if one is wanted, compares and records it: before the
    /// row says `publishing`, so that a document never lacks it.
    fn check_second_digest(
        &self,
        active: &Arc<ActiveUpload>,
        row_guard: &RowGuard,
        claimed: Option<Sha256Hash>,
    ) -> Result<(), Error> {
        let digest = claimed.map_or(SecondDigest::None, |_| SecondDigest::Sha256);
        let goes_on = &mut self.still_wanted(active);
        let Some(actual) = active.sha256(row_guard, digest, goes_on)? else { return Ok(()) };
        if let Some(claimed) = claimed.filter(|claimed| *claimed != actual) {
            return Err(Error::Refused(Refusal::Sha256Mismatch { claimed, actual }));
        }
        Ok(self.shared.catalog.note_sha256(active.document_id, actual).wait()?)
    }

    /// A publishing has come to its end, and the client gets its receipt; or it goes on.
    pub(super) fn advanced(&mut self, advance: Advance) -> Option<Box<Publishing>> {
        match advance {
            Advance::Continue(publishing) => Some(publishing),
            Advance::Done(receipt) => {
                let id = receipt.document_id();
                self.shared.checkpoints.forget(id);
                self.shared.state_copy.changed();
                self.shared.registry.sweep_one(id);
                receipt.upload_end().completed(&self.origin, self.since);
                self.finish(*receipt, Stored::ByUpload);
                None
            }
        }
    }

    /// `complete` for a document that is not open here: after a lost `SUCCESS`.
    fn complete_other(
        &mut self,
        request: CompleteRequest,
        may_block: MayBlock,
    ) -> Result<CompleteOutcome, Error> {
        let id = match (&self.state, request.id) {
            (_, Some(id)) => id,
            (WriterState::Active(open), None) => open.active.document_id,
            (WriterState::Completed(receipt), None) => {
                self.tell_completed(Arc::clone(receipt), Stored::ByUpload);
                return Ok(CompleteOutcome::Done);
            }
            (_, None) => return self.drop_or_complain().map(|()| CompleteOutcome::Done),
        };
        match self.receipt_of(id, may_block) {
            Ok(()) => Ok(CompleteOutcome::Done),
            Err(Error::StillPublishing) if self.may_wait_for(id) => {
                Ok(CompleteOutcome::AfterPublish(id, request))
            }
            // A no to a question about some document leaves the writer's own upload as it is.
            Err(error) if request.id.is_some() => {
                self.reject_query(&error, request.id);
                Ok(CompleteOutcome::Done)
            }
            Err(error) => Err(error),
        }
    }

    /// Answers with the receipt of that document; an interrupted publishing is finished first.
    fn receipt_of(&mut self, id: DocumentId, may_block: MayBlock) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let mut document = uploads::document_of(&shared, self.user, id, may_block)?;
        // The row says so only behind the sync of the data: until then the active upload does.
        // Where no thread publishes it any more, because of a mistake of ours, it takes bytes
        // again.
        if document.phase == Phase::Publishing || self.is_to_be_published(id) {
            interrupted::finish(&shared, id, may_block, &mut self.says_copied(id))?;
            document = uploads::document_of(&shared, self.user, id, may_block)?;
        }
        match document.phase {
            Phase::Completed => self.receipt(document),
            // Another writer has completed it since.
            Phase::Uploading if self.is_to_be_published(id) => Err(Error::StillPublishing),
            _ => {
                still_open(document)?;
                Err(Error::NoActiveUpload)
            }
        }
    }

    /// Whether another writer has completed that upload, and it is not in its place yet.
    fn is_to_be_published(&self, id: DocumentId) -> bool {
        let active = self.shared.registry.get(id);
        active.is_some_and(|active| active.ask(|upload| upload.phase() == Phase::Publishing))
    }
}

/// Whether the request is about this upload, and it is still to be completed.
fn is_about(request: &CompleteRequest, active: &ActiveUpload) -> bool {
    request.id.is_none_or(|named| named == active.document_id)
        && active.ask(|upload| upload.phase() == Phase::Uploading)
}
