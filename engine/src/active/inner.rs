//! The part of an upload that changes while it is written.

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

/// Behind a lock of [`ActiveUpload`](super::ActiveUpload): one thread at a time reads and changes
/// it.
pub(super) struct Inner {
    pub(super) upload: Upload,
    /// Up to which byte the catalog promises the upload.
    pub(super) durable: DurableOffset,
    /// One hasher for each block that is open.
    pub(super) hashers: BTreeMap<BlockIndex, BlockHasher>,
    /// The SHA-256 hash of the bytes so far, if the client wants it besides BLAKE3.
    pub(super) sha256: Option<HashPass>,
    /// The writers that share the lease, each under the number of its [`WriterId`].
    pub(super) writers: BTreeMap<u64, Subscriber>,
    /// How many writers there have been: the number of the newest one.
    pub(super) writers_ever: u64,
    /// The requests that have not ended, each under the number of its writer: their bytes may still
    /// be taken back.
    pub(super) requests: BTreeMap<u64, RequestId>,
    /// A thread has panicked in the middle of a change: bytes may have been hashed and not counted.
    /// All bytes that are counted were written, so the next lease reads and hashes them again.
    pub(super) is_torn: bool,
    /// Replaced by a newer `ActiveUpload` of the same document, or about to be.
    pub(super) retired: bool,
    /// The end of the bytes that the staging file must have. It is checked before each write: if
    /// the file had become shorter, the write would leave zeros in the gap.
    pub(super) reach: Offset,
    pub(super) writeback: Writeback,
    /// When the writers were last told how far the upload is.
    pub(super) reported: Option<Instant>,
    /// When bytes were last written.
    pub(super) written: Option<Instant>,
}

/// The lock of `inner`. Its drop stores whether the upload is over, so that no change of `inner`
/// can forget to.
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

    /// Replaces the rules by `after`, which agree with the catalog: blocks were withdrawn, or the
    /// length was declared or has grown.
    pub(super) fn adopt(&mut self, after: Upload) {
        self.durable = self.durable.lowered_to(after.progress().durable());
        self.forget_hashed_from(after.progress().received());
        self.upload = after;
    }

    /// Adds a writer to those that share the lease, and sends it the grant.
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
        // If a client does not read its events, its writer gets no report: otherwise the bytes of
        // the other writers could fill its queue.
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
