//! What a writer tells its client.

use super::state::{OrderedWriter, WriterState};
use crate::active::ActiveUpload;
use crate::error::Error;
use crate::event::{Answer, EventKind, Position};
use crate::publish::volume_copies::CopyProgress;
use crate::receipt::Receipt;
use crate::rejection::Rejection;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use towline_state::catalog::DurableOffset;
use towline_types::{DocumentId, FileSize, Offset};
use towline_upload::Length;

/// When a document was stored of which a client is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// By the client's own upload.
    ByUpload,
    /// Before the client asked: no byte had to be sent or copied.
    Before,
}

impl OrderedWriter {
    pub(super) fn tell(&self, document: Option<DocumentId>, kind: EventKind) {
        self.events.send(self.tag, document, kind);
    }

    pub(super) fn answer(&self, document: Option<DocumentId>, answer: Answer) {
        self.tell(document, EventKind::Answer(Box::new(answer)));
    }

    pub(super) fn tell_completed(&self, receipt: Arc<Receipt>, stored: Stored) {
        let existing = stored == Stored::Before;
        self.tell(Some(receipt.document_id()), EventKind::Completed { receipt, existing });
    }

    /// Tells the client why a request was not done, and the log.
    pub(super) fn reject(&self, rejection: Rejection, document: Option<DocumentId>) {
        self.shared.summary.refused(&self.origin, self.user, document, &rejection);
        self.tell_rejected(rejection, document);
    }

    fn tell_rejected(&self, rejection: Rejection, document: Option<DocumentId>) {
        self.shared.metrics.refusals.increment(rejection.kind.as_str());
        self.observe_refusal(&rejection, document);
        self.tell(document, EventKind::Rejected(rejection));
    }

    /// The same for an error. A fault that the operator has to repair has a log line of its own.
    pub(super) fn reject_with(&self, error: &Error, document: Option<DocumentId>) {
        if error.is_for_operator() {
            self.shared.summary.fault(document, error);
            self.tell_rejected(error.rejection(), document);
        } else {
            self.reject(error.rejection_while(self.shared.stopping.is_cancelled()), document);
        }
    }

    /// Refuses a question. The writer's own upload stays as it is.
    pub(super) fn reject_query(&self, error: &Error, document: Option<DocumentId>) {
        self.shared.storage_follows_catalog();
        self.reject_with(error, document);
    }

    /// Raises [`Handler::vacated`](crate::lane::Handler::vacated): the step under way has only its
    /// last event to send. A client that receives it finds the writer free, however long the step
    /// takes to end.
    pub(super) fn vacate(&self) {
        if self.unfolded.is_empty() && !matches!(self.state, WriterState::Active(_)) {
            self.vacated.store(true, Ordering::Release);
        }
    }

    /// Data for an upload that was refused or is done is dropped without an answer; data for no
    /// upload at all is a mistake of the client.
    pub(super) fn drop_or_complain(&self) -> Result<(), Error> {
        if matches!(self.state, WriterState::Idle) { Err(Error::NoActiveUpload) } else { Ok(()) }
    }

    /// Tells the client now and then (see `EngineTimings::report`) how far work on bytes is that
    /// the server has already, and returns whether the work is still wanted: it ends with the
    /// session and with the engine, unless all bytes are read.
    pub(super) fn at_work(
        &self,
        document_id: DocumentId,
        filesize: FileSize,
    ) -> impl FnMut(Offset) -> bool + use<> {
        let (ending, mut say) = (self.ending.clone(), self.now_and_then(document_id));
        move |received| {
            let (durable, length) = (DurableOffset::NOTHING, Length::Declared(filesize));
            let position = Position { received, durable, length };
            say(&|| EventKind::AtWork { position, copied: None });
            received == filesize.end() || !ending.is_cancelled()
        }
    }

    /// Tells the client now and then that the bytes of its upload are being read, and returns
    /// whether that is still wanted: it ends with the session and with the engine.
    pub(super) fn still_wanted(&self, active: &Arc<ActiveUpload>) -> impl FnMut() -> bool + use<> {
        let (ending, active) = (self.ending.clone(), Arc::clone(active));
        let mut say = self.now_and_then(active.document_id);
        move || {
            say(&|| EventKind::AtWork { position: active.position(), copied: None });
            !ending.is_cancelled()
        }
    }

    /// Tells the client now and then how far the copy of a document to the file system of its
    /// folder is.
    pub(super) fn says_copied(&self, id: DocumentId) -> impl FnMut(CopyProgress) + Send + use<> {
        let mut say = self.now_and_then(id);
        move |progress| say(&|| has_copied(progress))
    }

    /// Sends an event, unless one was sent a moment ago or the client does not read.
    fn now_and_then(
        &self,
        document: DocumentId,
    ) -> impl FnMut(&dyn Fn() -> EventKind) + Send + use<> {
        self.events.now_and_then(self.tag, Some(document), self.shared.config.timings.report)
    }
}

/// The progress of a copy to another disk: all bytes of the file have been received.
fn has_copied(progress: CopyProgress) -> EventKind {
    let CopyProgress { copied, filesize, durable } = progress;
    let length = Length::Declared(filesize);
    let position = Position { received: filesize.end(), durable, length };
    EventKind::AtWork { position, copied: Some(copied) }
}
