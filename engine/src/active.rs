//! An upload that is being written: its rules, its bytes, its hashers.
//!
//! Locks, in the order in which a thread may take them; a debug assertion in
//! [`lock_order`] checks it:
//!
//! | rank | lock | is held |
//! | --- | --- | --- |
//! | 1 | a slot of the [`registry`] | while its upload is read back, or ended |
//! | 2 | the row lock ([`RowGuard`]) | by a thread that changes what the catalog says of this upload (checkpoint, withdrawal, publishing), so that no checkpoint records what is being withdrawn |
//! | 3 | the deferred sync ([`SyncGuard`](crate::publish::deferred_queue::SyncGuard)) | while deferred documents are synced and recorded |
//! | 4 | the places of a user ([`PlaceLocks`](crate::tree::place_locks::PlaceLocks)) | shared, by a thread that may end a document because its file is gone, from the reading of its place in the catalog on, and by one that makes a folder, from the look for its name to its row; alone, by a thread that moves, removes or restores something of the user |
//! | 5 | `inner` | by a thread that asks the rules or writes, while bytes are written and hashed: when a later lease is granted, no write of an earlier one is under way, and none can follow |
//!
//! All other locks (the registry's map, queues) are innermost, and are held for a few instructions.

mod declaring;
pub(crate) mod in_flight;
mod inner;
mod leasing;
pub(crate) mod lock_order;
pub(crate) mod pending;
mod reading_back;
pub(crate) mod registry;
mod requests;
mod second_digest;
mod subscriber;
mod writeback;
mod writing;

use crate::error::Error;
use crate::event::{EventKind, Position};
use crate::may_block::MayBlock;
use crate::storage::Staging;
use inner::{Inner, InnerGuard};
use lock_order::{Held, Rank};
use reading_back::hash_open_block;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
pub(crate) use subscriber::{RevokedWriters, Subscriber, WriterId};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use towline_state::catalog::DurableOffset;
use towline_types::{DocumentId, FileSize, Timestamp, UserId};
use towline_upload::{Lease, Length, Phase, Refusal, Snapshot, Upload};
use writeback::Writeback;

/// How long a thread waits before it tries once more to take the row lock from a checkpoint.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// See the module's description.
pub(crate) struct ActiveUpload {
    pub(crate) document_id: DocumentId,
    pub(crate) owner: UserId,
    staging: Arc<dyn Staging>,
    row: Arc<AsyncMutex<()>>,
    inner: Mutex<Inner>,
    /// Whether the upload is over (see [`Self::is_over`]), as it was when `inner` was last
    /// unlocked: for callers that must not wait for that lock.
    over: AtomicBool,
}

/// Proof that no other thread changes what the catalog says of this upload. A publishing takes the
/// guard along from thread to thread.
pub(crate) struct RowGuard(#[allow(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

impl ActiveUpload {
    /// A new upload with its first lease.
    pub(crate) fn begin(
        document_id: DocumentId,
        staging: Arc<dyn Staging>,
        upload: Upload,
        lease: Lease,
        writer: Subscriber,
    ) -> (Self, WriterId) {
        let active = Self::restore(document_id, staging, upload, DurableOffset::NOTHING);
        let id = active.inner().add(lease, writer);
        (active, id)
    }

    fn restore(
        document_id: DocumentId,
        staging: Arc<dyn Staging>,
        upload: Upload,
        durable: DurableOffset,
    ) -> Self {
        let owner = upload.owner();
        let inner = Inner {
            reach: upload.progress().reach(),
            upload,
            durable,
            hashers: BTreeMap::new(),
            sha256: None,
            writers: BTreeMap::new(),
            writers_ever: 0,
            requests: BTreeMap::new(),
            is_torn: false,
            retired: false,
            writeback: Writeback::default(),
            reported: None,
            written: None,
        };
        let over = AtomicBool::new(inner.is_over());
        Self { document_id, owner, staging, row: Arc::default(), inner: Mutex::new(inner), over }
    }

    /// An upload as an earlier run, or an earlier `ActiveUpload`, left it. The one block that was
    /// open is read back and hashed: a resume costs no other read.
    pub(crate) fn read_back(
        document_id: DocumentId,
        staging: Arc<dyn Staging>,
        mut upload: Upload,
        durable: DurableOffset,
    ) -> Result<Self, Error> {
        staging.check_holds(upload.progress().reach())?;
        match upload.progress().length() {
            // Recovery may have cut the file, and its reserved space with it.
            Length::Declared(filesize) => staging.require_room(filesize)?,
            // Behind the last byte that counts, the file may still have bytes that were taken back,
            // or that lay behind a gap. None of them was promised (P1), and the file that the
            // client sends may end before them.
            Length::Open { .. } => staging.truncate(upload.progress().reach())?,
        }
        let hashers = hash_open_block(document_id, &*staging, &mut upload)?;
        let active = Self::restore(document_id, staging, upload, durable);
        active.inner().hashers = hashers;
        Ok(active)
    }

    /// Whether a writer with that lease may still write.
    pub(crate) fn is_in_force(&self, lease: Lease) -> bool {
        self.inner().upload.lease() == Some(lease)
    }

    /// Ends the upload without a document, in memory; the caller records it in the catalog. Returns
    /// the writers: the caller tells them once the catalog has recorded it.
    pub(crate) fn give_up(&self, _: &RowGuard, phase: Phase) -> Result<RevokedWriters, Refusal> {
        let mut inner = self.inner();
        inner.upload.give_up(phase)?;
        inner.hashers.clear();
        let writers = std::mem::take(&mut inner.writers).into_values().collect();
        Ok(RevokedWriters::new(self.document_id, writers))
    }

    /// Retires this `ActiveUpload` if the upload is paused and the catalog knows all of it: then
    /// the next request reads it back from disk. Returns true if the upload is paused, but the
    /// catalog does not know all of it yet: then the caller tries again later.
    pub(crate) fn retire_if_idle(&self) -> bool {
        let mut inner = self.inner();
        let is_paused = inner.upload.phase() == Phase::Uploading && inner.upload.lease().is_none();
        let is_recorded = !inner.upload.progress().is_ahead_of_catalog();
        inner.retired |= is_paused && is_recorded;
        is_paused && !is_recorded
    }

    /// Whether the upload is over: no writer can use this `ActiveUpload` any more, because it is
    /// retired or the upload has ended. Does not wait.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Keeps all other threads from changing what the catalog says of this upload. Blocks.
    pub(crate) fn lock_row(&self, _: MayBlock) -> RowGuard {
        drop(Held::before(Rank::Row));
        RowGuard(Arc::clone(&self.row).blocking_lock_owned())
    }

    /// Takes the row lock if no other thread has it. Does not wait.
    pub(crate) fn try_lock_row(&self) -> Option<RowGuard> {
        Arc::clone(&self.row).try_lock_owned().ok().map(RowGuard)
    }

    /// Takes the row lock. Blocks while a checkpoint has the lock, which is short. It does not wait
    /// for a publishing: that keeps the lock until the document has its place, which may take as
    /// long as a copy to another file system.
    ///
    /// # Errors
    /// Where the upload is being published.
    pub(crate) fn lock_row_unless_publishing(&self, _: MayBlock) -> Result<RowGuard, Refusal> {
        drop(Held::before(Rank::Row));
        loop {
            if let Some(row_guard) = self.try_lock_row() {
                return Ok(row_guard);
            }
            // The thread that has the lock may begin to publish while this one waits. So this
            // thread looks again and again, and does not wait in the queue of the lock.
            if self.ask(|upload| upload.phase() == Phase::Publishing) {
                return Err(Refusal::NotUploading(Phase::Publishing));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Whether the last byte of the file came less than `patience` ago. Then `complete` is likely
    /// to follow, which syncs by itself, and a checkpoint would sync the upload for nothing.
    pub(crate) fn is_about_to_complete(&self, patience: Duration) -> bool {
        let inner = self.inner();
        let progress = inner.upload.progress();
        inner.upload.lease().is_some()
            && progress.received() == progress.filesize().end()
            && inner.written.is_some_and(|written| written.elapsed() < patience)
    }

    /// What a checkpoint would make durable; nothing if the catalog knows all of it already.
    pub(crate) fn snapshot(&self, _: &RowGuard) -> Option<(Snapshot, Timestamp)> {
        let inner = self.inner();
        let upload = &inner.upload;
        let due = upload.phase() == Phase::Uploading && upload.progress().is_ahead_of_catalog();
        due.then(|| (upload.progress().snapshot(), upload.last_byte_at()))
    }

    /// The data of the snapshot is synced and the catalog has recorded it (P1): only now the client
    /// may hear of it.
    pub(crate) fn recorded(&self, _: &RowGuard, snapshot: &Snapshot, durable: DurableOffset) {
        let mut inner = self.inner();
        inner.upload.recorded(snapshot);
        inner.durable = durable;
        inner.report(self.document_id);
    }

    /// Tells the writers how far the upload is, unless they were told less than `every` ago.
    pub(crate) fn report_if_due(&self, every: Duration) {
        let mut inner = self.inner();
        if inner.reported.is_none_or(|reported| reported.elapsed() >= every) {
            inner.report(self.document_id);
        }
    }

    /// The last event for a client, after its writer has let go of this upload: how far the upload
    /// is, or how it has ended since.
    pub(crate) fn last_word(&self) -> EventKind {
        // While another thread has the row lock, it may still be recording the end in the catalog.
        // Then the client is told the position.
        let row_guard = self.try_lock_row();
        let inner = self.inner();
        match inner.upload.phase() {
            ended @ (Phase::Failed | Phase::Cancelled | Phase::Expired) if row_guard.is_some() => {
                EventKind::Rejected(Error::Refused(Refusal::NotUploading(ended)).rejection())
            }
            _ => EventKind::Progress(inner.position()),
        }
    }

    /// Calls `say` with the position, and with whether a writer has the lease. `inner` stays locked
    /// during the call, so an event about a later change is sent later. Otherwise a client could
    /// hear of a durable offset and then of a smaller one.
    pub(crate) fn say_standing(&self, say: impl FnOnce(Position, bool)) {
        let inner = self.inner();
        say(inner.position(), inner.upload.lease().is_some());
    }

    /// How far the upload is.
    pub(crate) fn position(&self) -> Position {
        self.inner().position()
    }

    /// Asks the rules a question.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Upload) -> T) -> T {
        question(&self.inner().upload)
    }

    /// Tells the rules what was done.
    pub(crate) fn tell<T>(&self, statement: impl FnOnce(&mut Upload) -> T) -> T {
        let mut inner = self.inner();
        statement(&mut inner.upload)
    }

    /// The document is in its place. The writer that completed it tells its client; the other
    /// writers find out at their next command.
    pub(crate) fn published(&self) {
        let mut inner = self.inner();
        inner.upload.published();
        inner.writers.clear();
    }

    pub(crate) fn staging(&self) -> &dyn Staging {
        &*self.staging
    }

    pub(crate) fn length(&self) -> Length {
        self.ask(|upload| upload.progress().length())
    }

    /// The length of the file, or the largest that it may become.
    pub(crate) fn filesize(&self) -> FileSize {
        self.length().bound()
    }

    fn inner(&self) -> InnerGuard<'_> {
        let held = Held::before(Rank::Inner);
        let inner = self.inner.lock().unwrap_or_else(|poisoned| {
            let mut inner = poisoned.into_inner();
            inner.is_torn = true;
            self.inner.clear_poison();
            inner
        });
        InnerGuard { _held: held, inner, over: &self.over }
    }
}
