//! What changes of an upload while it is written.

use super::lock_order::Held;
use super::second_digest::HashPass;
use super::subscriber::{Subscriber, WriterId};
use super::writeback::Writeback;
use crate::event::{EventKind, Grant, GrantedBy, Position};
use crate::rejection::Rejection;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use towline_state::catalog::DurableOffset;
use towline_types::{BlockHasher, BlockIndex, DocumentId, Offset};
use towline_upload::{Lease, Phase, RequestId, Upload};

/// What one writer at a time reads and changes.
pub(super) struct Inner {
    pub(super) upload: Upload,
    /// What the catalog promises of it.
    pub(super) durable: DurableOffset,
    /// One for every block that is open.
    pub(super) hashers: BTreeMap<BlockIndex, BlockHasher>,
    /// The hash of the whole file that is found besides BLAKE3, where one is wanted.
    pub(super) sha256: Option<HashPass>,
    /// The writers that share the lease, each under the number of its [`WriterId`].
    pub(super) writers: BTreeMap<u64, Subscriber>,
    /// How many there have been.
    pub(super) writers_ever: u64,
    /// The request of each writer whose bytes may still be taken back.
    pub(super) requests: BTreeMap<u64, RequestId>,
    /// A thread has panicked in the middle of a change: bytes may have been hashed and
    /// not counted. What is counted was written, so the next lease hashes it anew.
    pub(super) is_torn: bool,
    /// Replaced by a newer `ActiveUpload` of the same document, or about to be.
    pub(super) retired: bool,
    /// Where the last byte lies that the file must have: a file that has become
    /// shorter since would be filled up with zeros by the next write.
    pub(super) reach: Offset,
    pub(super) writeback: Writeback,
    /// When the writers were last told how far it is.
    pub(super) reported: Option<Instant>,
    /// When bytes last came.
    pub(super) written: Option<Instant>,
}

/// The lock of `inner`. Its drop says whether the upload is over, so that no change forgets to.
pub(super) struct InnerGuard<'a> {
    pub(super) _held: Held,
    pub(super) inner: MutexGuard<'a, Inner>,
    pub(super) over: &'a AtomicBool,
}

impl Deref for InnerGuard<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl DerefMut for InnerGuard<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

impl Drop for InnerGuard<'_> {
    fn drop(&mut self) {
        self.over.store(self.inner.is_over(), Ordering::SeqCst);
    }
}

impl Inner {
    pub(super) fn is_over(&self) -> bool {
        self.retired || !matches!(self.upload.phase(), Phase::Uploading | Phase::Publishing)
    }

    pub(super) fn add(&mut self, lease: Lease, writer: Subscriber) -> WriterId {
        self.writers_ever += 1;
        self.writers.insert(self.writers_ever, writer);
        WriterId { lease, writer: self.writers_ever }
    }

    /// Tells all writers why they are no longer under the lease.
    pub(super) fn dismiss(&mut self, document_id: DocumentId, why: &Rejection) {
        for writer in std::mem::take(&mut self.writers).into_values() {
            writer.tell(document_id, why.clone());
        }
    }

    /// The upload as it is after bytes were taken back, in the catalog as well.
    pub(super) fn adopt(&mut self, after: Upload) {
        self.durable = self.durable.lowered_to(after.progress().durable());
        self.forget_hashed_from(after.progress().received());
        self.upload = after;
    }

    /// Gives a writer its part in the lease, and tells it so.
    pub(super) fn grant(
        &mut self,
        document_id: DocumentId,
        by: GrantedBy,
        lease: Lease,
        writer: Subscriber,
    ) -> WriterId {
        let progress = self.upload.progress();
        let (offset, length) = (progress.received(), progress.length());
        let grant = Grant { by, offset, length, lease: Some(lease.generation()) };
        writer.events.send(writer.tag, Some(document_id), EventKind::Granted(grant));
        self.add(lease, writer)
    }

    pub(super) fn report(&mut self, document_id: DocumentId) {
        if !self.writers.is_empty() {
            self.reported = Some(Instant::now());
        }
        // Reports about the bytes of one writer fill no queue of another that does not read.
        for writer in self.writers.values().filter(|writer| !writer.events.is_backed_up()) {
            let progress = EventKind::Progress(self.position());
            writer.events.send(writer.tag, Some(document_id), progress);
        }
    }

    pub(super) fn position(&self) -> Position {
        let progress = self.upload.progress();
        debug_assert_eq!(progress.durable(), self.durable.get(), "rules and catalog agree");
        Position { received: progress.received(), durable: self.durable, length: progress.length() }
    }
}
