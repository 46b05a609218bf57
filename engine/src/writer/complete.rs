//! From [`Command::Complete`](crate::Command::Complete) to the receipt.

use super::answer::Stored;
use super::resume::still_open;
use super::state::{OrderedWriter, SHORT_FILE_BYTES, WriterState};
use crate::active::{ActiveUpload, RowGuard};
use crate::audit::AuditAction;
use crate::command::CompleteRequest;
use crate::error::Error;
use crate::may_block::MayBlock;
use crate::publish::reserved_name::PublishSpec;
use crate::publish::{Advance, Publishing, finish_on_request};
use crate::uploads;
use std::sync::Arc;
use towline_types::{DocumentId, FileSize, SecondDigest, Sha256Hash};
use towline_upload::{Phase, Refusal};

/// What follows from `complete`.
pub(super) enum CompleteOutcome {
    /// The upload is whole and is published.
    Publish(Publishing),
    /// The request may have to wait for another writer: it is done on a thread of its own.
    NeedsThread(CompleteRequest),
    /// Another thread publishes that document: the request is done again afterwards.
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
        let request = match (self.length_to_declare(&request), may_block) {
            (None, _) => request,
            // The row of the length is written before the request goes on.
            (Some(_), None) => return Ok(CompleteOutcome::NeedsThread(request)),
            (Some(filesize), Some(may_block)) => {
                self.declare_unless_publishing(filesize, may_block)?;
                CompleteRequest { filesize: None, ..request }
            }
        };
        match (&self.state, may_block) {
            (WriterState::Active(open), _) if is_about(&request, &open.active) => {
                let row_guard = match may_block {
                    // If another writer has begun to publish the upload, this one asks for the
                    // receipt as any other writer does.
                    Some(may_block) => open.active.lock_row_unless_publishing(may_block).ok(),
                    None if open.active.filesize().get() > SHORT_FILE_BYTES => None,
                    None => open.active.try_lock_row(),
                };
                match row_guard {
                    Some(row_guard) => self.complete_open(request, row_guard),
                    None => Ok(CompleteOutcome::NeedsThread(request)),
                }
            }
            // The request may have to wait for the thread that publishes that document.
            (_, None) => Ok(CompleteOutcome::NeedsThread(request)),
            (_, Some(may_block)) => self.complete_other(request, may_block),
        }
    }

    /// The length that the request declares for the upload that this writer has open.
    fn length_to_declare(&self, request: &CompleteRequest) -> Option<FileSize> {
        match &self.state {
            WriterState::Active(open) if is_about(request, &open.active) => request.filesize,
            _ => None,
        }
    }

    /// Another writer that has begun to publish the upload has declared its length: the request
    /// then asks for the receipt.
    fn declare_unless_publishing(
        &mut self,
        filesize: FileSize,
        may_block: MayBlock,
    ) -> Result<(), Error> {
        match self.declare(filesize, may_block) {
            Err(Error::Refused(Refusal::NotUploading(Phase::Publishing))) => Ok(()),
            done => done,
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
            // The thread that had the row lock before has ended the upload for this writer. If
            // another writer took the upload over, or it was given up, the client was told; if
            // another writer has completed it, the client was not told.
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
        // Three checks of the staging file: its size, that it exists, and its permissions.
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

    /// Finds the second hash of the file, if the client wants one, compares and records it: before
    /// the row says `publishing`, so that no document lacks it.
    fn check_second_digest(
        &self,
        active: &Arc<ActiveUpload>,
        row_guard: &RowGuard,
        claimed: Option<Sha256Hash>,
    ) -> Result<(), Error> {
        let digest = claimed.map_or(SecondDigest::None, |_| SecondDigest::Sha256);
        let goes_on = &mut self.still_wanted(active);
        let Some(actual) = active.sha256(row_guard, digest, goes_on)? else { return Ok(()) };
        let expected = self.shared.catalog.description(active.document_id).wait()?.expected_sha256;
        for claimed in claimed.into_iter().chain(expected) {
            if claimed != actual {
                return Err(Error::Refused(Refusal::Sha256Mismatch { claimed, actual }));
            }
        }
        Ok(self.shared.catalog.note_sha256(active.document_id, actual).wait()?)
    }

    /// Takes the result of a publishing: at its end the client gets its receipt, else the
    /// publishing is returned and goes on.
    pub(super) fn advanced(&mut self, advance: Advance) -> Option<Box<Publishing>> {
        match advance {
            Advance::Continue(publishing) => Some(publishing),
            Advance::Done(receipt) => {
                let id = receipt.document_id();
                self.shared.checkpoints.forget(id);
                self.shared.metrics.counters.uploads_completed.increment();
                self.shared.state_copy.changed();
                self.shared.registry.sweep_one(id);
                receipt.upload_end().completed(&self.origin, self.since);
                self.observe_receipt(&receipt, AuditAction::Complete);
                self.finish(*receipt, Stored::ByUpload);
                None
            }
        }
    }

    /// A `complete` for a document that this writer does not have open, for example after its
    /// `SUCCESS` was lost with the connection.
    fn complete_other(
        &mut self,
        request: CompleteRequest,
        may_block: MayBlock,
    ) -> Result<CompleteOutcome, Error> {
        let id = match (&self.state, request.id) {
            (_, Some(id)) => id,
            (WriterState::Active(open), None) => open.active.document_id,
            (WriterState::CompletedByAnother(id), None) => *id,
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
            // A refusal that concerns another document leaves the writer's own upload as it is.
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
        // The row says `publishing` only after the sync of the data: until then only the active
        // upload says it. If a mistake in our code has left such an upload without a thread that
        // publishes it, it takes bytes again.
        if document.phase == Phase::Publishing || self.is_to_be_published(id) {
            finish_on_request::finish(&shared, id, may_block, &mut self.says_copied(id))?;
            document = uploads::document_of(&shared, self.user, id, may_block)?;
        }
        match document.phase {
            Phase::Completed => self.receipt(document),
            // Another writer has completed the upload since.
            Phase::Uploading if self.is_to_be_published(id) => Err(Error::StillPublishing),
            _ => {
                still_open(document)?;
                Err(Error::NoActiveUpload)
            }
        }
    }

    /// Whether another writer has completed that upload, and its document is not in its place yet.
    fn is_to_be_published(&self, id: DocumentId) -> bool {
        let active = self.shared.registry.get(id);
        active.is_some_and(|active| active.ask(|upload| upload.phase() == Phase::Publishing))
    }
}

/// Whether the request is about this upload, and the upload is still to be completed.
fn is_about(request: &CompleteRequest, active: &ActiveUpload) -> bool {
    request.id.is_none_or(|named| named == active.document_id)
        && active.ask(|upload| upload.phase() == Phase::Uploading)
}
