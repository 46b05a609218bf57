//! From `complete` to the receipt.

use super::begin::Asked;
use super::{ChannelDesk, SHORT_FILE_BYTES, Slot, Step, still_open};
use crate::command::{Command, CompleteRequest};
use crate::failure::Failure;
use crate::lane::Manner;
use crate::live::{Live, Recording};
use crate::publish::{Order, Publishing, Stage};
use std::sync::Arc;
use towline_types::DocumentId;
use towline_upload::Phase;

impl ChannelDesk {
    pub(super) fn complete(
        &mut self,
        request: CompleteRequest,
        manner: Manner,
    ) -> Result<Option<Step>, Failure> {
        match &self.slot {
            Slot::Open(open) if is_about(&request, &open.live) => {
                let recording = match manner {
                    // Where another channel has begun to publish it, this one asks as any
                    // other does.
                    Manner::Alone => open.live.recording_unless_publishing().ok(),
                    Manner::Together if open.live.filesize().get() > SHORT_FILE_BYTES => None,
                    Manner::Together => open.live.try_recording(),
                };
                match recording {
                    Some(recording) => self.complete_open(request, recording),
                    None => Ok(Some(Step::Complete(request))),
                }
            }
            // It may have to wait for whoever publishes that document.
            _ if manner == Manner::Together => Ok(Some(Step::Complete(request))),
            _ => {
                let answered = self.complete_again(&request);
                let own = match &self.slot {
                    Slot::Open(open) => Some(open.live.document_id),
                    _ => None,
                };
                match (answered, request.id.or(own)) {
                    (Err(Failure::StillPublishing), Some(id)) if self.may_wait_for(id) => {
                        return Ok(Some(Step::Again(id, Command::Complete(request))));
                    }
                    // A no to a question, as above.
                    (Err(failure), _) if request.id.is_some() => {
                        self.answer_no(&failure, request.id);
                    }
                    (answered, _) => answered?,
                }
                Ok(None)
            }
        }
    }

    fn complete_open(
        &mut self,
        request: CompleteRequest,
        recording: Recording,
    ) -> Result<Option<Step>, Failure> {
        let Slot::Open(open) = &self.slot else { return Ok(None) };
        let live = Arc::clone(&open.live);
        self.look_at_lease();
        let Slot::Open(open) = &self.slot else {
            // Whoever was recording has ended it. Whoever took it or gave it up has told
            // our client; whoever completed it has not.
            let is_completed = live.ask(|upload| upload.phase() == Phase::Completed);
            let document_id = is_completed.then_some(live.document_id).or(request.id);
            let again = document_id.map(|id| CompleteRequest { id: Some(id), ..request });
            return Ok(again.map(Step::Complete));
        };
        let lease = open.part.lease;
        let on_conflict = request.on_conflict.unwrap_or(open.on_conflict);
        let blake3 = live.tell(|upload| upload.complete(lease, request.hash))?;
        let document_id = live.document_id;
        let owner = self.user;
        let order = Order { document_id, owner, blake3, on_conflict, is_copy: false };
        // The user's own three checks: size, existence, permissions.
        if let Err(error) = live.staging().check(live.filesize()) {
            self.service.checkpoints.unpublished(&live);
            return Err(error.into());
        }
        let publishing = Publishing::begin(&self.service, order, live, recording);
        Ok(Some(Step::Hear(Asked::Publishing(Box::new(publishing)))))
    }

    /// The next stride of a publishing.
    pub(super) fn publish(&mut self, publishing: Publishing) -> Result<Option<Asked>, Failure> {
        let say = &mut self.says_copied(publishing.document_id());
        let stage = publishing.go_on(&self.service, say)?;
        Ok(self.went(stage))
    }

    pub(super) fn went(&mut self, stage: Stage) -> Option<Asked> {
        match stage {
            Stage::GoesOn(publishing) => Some(Asked::Publishing(publishing)),
            Stage::Done(receipt) => {
                let id = receipt.document_id();
                self.service.checkpoints.forget(id);
                self.service.mirror.changed();
                self.service.registry.sweep_one(id);
                receipt.upload_end().completed(&self.origin, self.since);
                self.finish(*receipt, false);
                None
            }
        }
    }

    /// `complete` for a document that is not open here: after a lost `SUCCESS`.
    fn complete_again(&mut self, request: &CompleteRequest) -> Result<(), Failure> {
        let id = match (&self.slot, request.id) {
            (_, Some(id)) => id,
            (Slot::Open(open), None) => open.live.document_id,
            (Slot::Done(receipt), None) => {
                self.tell_completed(Arc::clone(receipt), false);
                return Ok(());
            }
            (_, None) => return self.drop_or_complain(),
        };
        let mut document = self.service.document_of(self.user, id)?;
        if document.phase == Phase::Publishing {
            self.service.settle(id, &mut self.says_copied(id))?;
            document = self.service.document_of(self.user, id)?;
        }
        match document.phase {
            Phase::Completed => self.receipt(document),
            // The row says so behind the sync of the data: until then the upload itself does.
            Phase::Uploading if self.is_being_published(id) => Err(Failure::StillPublishing),
            _ => {
                still_open(document)?;
                Err(Failure::NothingOpen)
            }
        }
    }
}

impl ChannelDesk {
    /// Whether another writer has completed that upload and publishes it now.
    fn is_being_published(&self, id: DocumentId) -> bool {
        let live = self.service.registry.get(id);
        live.is_some_and(|live| live.ask(|upload| upload.phase() == Phase::Publishing))
    }
}

/// Whether the request is about this upload, and it is still to be completed.
fn is_about(request: &CompleteRequest, live: &Live) -> bool {
    request.id.is_none_or(|named| named == live.document_id)
        && live.ask(|upload| upload.phase() == Phase::Uploading)
}
