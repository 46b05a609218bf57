//! The writers that share the lease of an upload, as far as the upload knows them.

use super::in_flight::InFlight;
use crate::event::{EventKind, EventSender, Tag};
use crate::rejection::{Rejection, RejectionKind};
use towline_types::DocumentId;
use towline_upload::Lease;

/// One writer's part in a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriterId {
    pub(crate) lease: Lease,
    pub(super) writer: u64,
}

/// A writer under the lease. While this value exists, the session of the writer does not end,
/// because the upload may still have an event for it.
pub(crate) struct Subscriber {
    pub(crate) tag: Tag,
    pub(crate) events: EventSender,
    pub(crate) in_flight: InFlight,
}

impl Subscriber {
    /// Tells the writer how its upload, or its lease, ended.
    pub(super) fn tell(&self, document_id: DocumentId, why: Rejection) {
        self.events.send(self.tag, Some(document_id), EventKind::Rejected(why));
    }
}

/// The writers of an upload that was given up. [`Self::hear`] tells them why, once the catalog has
/// recorded the end.
#[must_use]
pub(crate) struct RevokedWriters {
    document_id: DocumentId,
    writers: Vec<Subscriber>,
}

impl RevokedWriters {
    pub(super) fn new(document_id: DocumentId, writers: Vec<Subscriber>) -> Self {
        Self { document_id, writers }
    }

    /// Tells all of them.
    pub(crate) fn hear(mut self, why: &Rejection) {
        self.tell_all(why);
    }

    fn tell_all(&mut self, why: &Rejection) {
        for writer in self.writers.drain(..) {
            writer.tell(self.document_id, why.clone());
        }
    }
}

impl Drop for RevokedWriters {
    /// After a panic before the call of [`Self::hear`] the writers are told here.
    fn drop(&mut self) {
        if !self.writers.is_empty() {
            tracing::error!(document_id = %self.document_id, "the writers of an upload were not told why it ended");
            self.tell_all(&torn());
        }
    }
}

/// The reason of a lease that ends because the server has panicked.
pub(super) fn torn() -> Rejection {
    const TORN: &str = "the server made a mistake; what is durable is kept, resume the upload";
    Rejection::new(RejectionKind::Internal, TORN)
}
