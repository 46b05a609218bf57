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
//! | 4 | `inner` | by a thread that asks the rules or writes, while bytes are written and hashed: when a later lease is granted, no write of an earlier one is under way, and none can follow |
//!
//! All other locks (the registry's map, queues) are innermost, and are held for a few instructions.

mod declaring;
pub(crate) mod in_flight;
pub(crate) mod lock_order;
pub(crate) mod pending;
mod reading_back;
pub(crate) mod registry;
mod requests;
mod second_digest;
mod subscriber;
mod writeback;

use crate::error::Error;
use crate::event::{EventKind, Grant, GrantedBy, Position};
use crate::failpoint;
use crate::may_block::MayBlock;
use crate::rejection::Rejection;
use crate::storage::Staging;
use lock_order::{Held, Rank};
use reading_back::{hash_open_block, hash_unhashed, read_whole_block};
use second_digest::HashPass;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use subscriber::torn;
pub(crate) use subscriber::{RevokedWriters, Subscriber, WriterId};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use towline_state::catalog::{Catalog, DurableOffset};
use towline_types::{
    BlockHasher, BlockIndex, ChainingValue, DocumentId, FileSize, Generation, Offset, Timestamp,
    UserId,
};
use towline_upload::{
    BlockValue, Hashing, Lease, Length, Phase, Refusal, RequestId, ResumeClaim, Snapshot, Upload,
};
use writeback::Writeback;

/// How long a takeover waits for what has arrived already on the old connection.
const LAST_PIECES: Duration = Duration::from_millis(250);

/// The time between two looks at an upload whose row lock a checkpoint has.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// See the module's description.
pub(crate) struct ActiveUpload {
    pub(crate) document_id: DocumentId,
    pub(crate) owner: UserId,
    staging: Arc<dyn Staging>,
    row: Arc<AsyncMutex<()>>,
    inner: Mutex<Inner>,
    /// What `inner` said when it was last unlocked, for callers that must not wait for it.
    over: AtomicBool,
}

/// Proof that no other thread changes what the catalog says of this upload. A publishing takes it
/// along from thread to thread.
pub(crate) struct RowGuard(#[allow(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

struct Inner {
    upload: Upload,
    /// What the catalog promises of it.
    durable: DurableOffset,
    /// One for every block that is open.
    hashers: BTreeMap<BlockIndex, BlockHasher>,
    /// The hash of the whole file that is found besides BLAKE3, where one is wanted.
    sha256: Option<HashPass>,
    /// Those who share the lease, each under the number of its [`WriterId`].
    writers: BTreeMap<u64, Subscriber>,
    /// How many there have been.
    writers_ever: u64,
    /// The request of each writer whose bytes may still be taken back.
    requests: BTreeMap<u64, RequestId>,
    /// Somebody has panicked in the middle of a change: bytes may have been hashed and
    /// not counted. What is counted was written, so the next lease hashes it anew.
    is_torn: bool,
    /// Replaced by a newer `ActiveUpload` of the same document, or about to be.
    retired: bool,
    /// Where the last byte lies that the file must have: a file that has become
    /// shorter behind our back would be filled up with zeros by the next write.
    reach: Offset,
    writeback: Writeback,
    /// When the writers were last told how far it is.
    reported: Option<Instant>,
    /// When bytes last came.
    written: Option<Instant>,
}

/// The lock of `inner`. Its drop says whether the upload is over, so that no change forgets to.
struct InnerGuard<'a> {
    _held: Held,
    inner: MutexGuard<'a, Inner>,
    over: &'a AtomicBool,
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

    /// An upload as an earlier run, or an earlier `ActiveUpload`, left it. Reads back and
    /// hashes the one block that was open: the whole cost of a resume.
    pub(crate) fn read_back(
        document_id: DocumentId,
        staging: Arc<dyn Staging>,
        mut upload: Upload,
        durable: DurableOffset,
    ) -> Result<Self, Error> {
        staging.check_holds(upload.progress().reach())?;
        // Recovery may have cut the file, and its reserved space with it.
        if let Length::Declared(filesize) = upload.progress().length() {
            staging.reserve(filesize)?;
        }
        let hashers = hash_open_block(document_id, &*staging, &mut upload)?;
        let active = Self::restore(document_id, staging, upload, durable);
        active.inner().hashers = hashers;
        Ok(active)
    }

    /// Takes the upload over for a channel, at once, and tells all who are concerned:
    /// under the lock, so that nothing that revokes the grant is said before it.
    /// Nothing where this `ActiveUpload` is retired: ask for the newer one.
    pub(crate) fn resume(
        &self,
        claim: &ResumeClaim<'_>,
        writer: Subscriber,
        now: Timestamp,
        expire_after: Duration,
        catalog: &Catalog,
        may_block: MayBlock,
    ) -> Result<Option<WriterId>, Error> {
        let in_flights: Vec<_> =
            self.inner().writers.values().map(|writer| writer.in_flight.clone()).collect();
        let deadline = Instant::now() + LAST_PIECES;
        for in_flight in in_flights {
            in_flight.wait(deadline.saturating_duration_since(Instant::now()));
        }
        // A file that has grown changes what the catalog says of it.
        let row_guard = claim.grow.then(|| self.lock_row_unless_publishing(may_block));
        let _row_guard = row_guard.transpose()?;
        let mut inner = self.inner();
        if inner.retired {
            return Ok(None);
        }
        // The file is still the one that the bytes were written to.
        self.staging.check_holds(inner.reach)?;
        if inner.is_torn {
            let inner = &mut *inner;
            inner.hashers = hash_open_block(self.document_id, &*self.staging, &mut inner.upload)?;
            inner.is_torn = false;
            inner.forget_hashed_from(Offset::ZERO);
        }
        hash_unhashed(&*self.staging, &mut inner.upload)?;
        let before = inner.upload.progress().filesize();
        let lease = if claim.grow {
            let mut after = inner.upload.clone();
            let lease = after.resume(claim, now, expire_after)?;
            let has_grown = after.progress().filesize() != before;
            if has_grown {
                self.record_growth(&after, catalog)?;
            }
            // Before anything else can go wrong, as with a withdrawal.
            inner.adopt(after);
            if has_grown {
                failpoint::reach("resume.grown");
            }
            lease
        } else {
            inner.upload.resume(claim, now, expire_after)?
        };
        let open = inner.upload.progress().open_bytes().map(|(index, _)| index);
        inner.hashers.retain(|index, _| Some(*index) == open);
        inner.requests.clear();
        let received = inner.upload.progress().received();
        inner.forget_hashed_from(received);
        let superseded = Error::Refused(Refusal::Superseded).rejection();
        inner.dismiss(self.document_id, &superseded);
        let part = inner.grant(self.document_id, GrantedBy::Resume, lease, writer);
        Ok(Some(part))
    }

    /// Records that the file is longer than when the upload began, as `after` has it.
    ///
    /// Room comes first, so that a full disk changes nothing. Then one transaction sets the
    /// size and takes back the promise of the one block that no longer ends where it did
    /// (P1: that goes back by the client's word, as with a withdrawal). The bytes of all
    /// other blocks stay where they are and are not written: a crash before the commit finds
    /// the old upload, and one behind it the longer one.
    fn record_growth(&self, after: &Upload, catalog: &Catalog) -> Result<(), Error> {
        let progress = after.progress();
        self.staging.reserve(progress.filesize())?;
        failpoint::reach("resume.growing");
        let kept_blocks = progress.held().last().map_or(0, |(index, _)| index.get() + 1);
        catalog
            .grow(self.document_id, progress.filesize(), kept_blocks, progress.durable())
            .wait()?;
        Ok(())
    }

    /// Gives a channel a part in the lease in force, and tells it under the lock, as
    /// [`Self::resume`] does. Nobody else is concerned.
    pub(crate) fn join(
        &self,
        user: UserId,
        generation: Generation,
        writer: Subscriber,
    ) -> Result<WriterId, Error> {
        let mut inner = self.inner();
        let lease = inner.upload.join(user, generation)?;
        Ok(inner.grant(self.document_id, GrantedBy::Join, lease, writer))
    }

    /// Writes and hashes a piece. Block by block: first the rules say yes, then
    /// the bytes are written, and only then they count.
    pub(crate) fn write(
        &self,
        writer: WriterId,
        mut offset: Offset,
        mut bytes: &[u8],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let lease = writer.lease;
        let request = inner.requests.get(&writer.writer).copied();
        let length = inner.upload.progress().length();
        let filesize = length.bound();
        // A piece that reaches too far is refused whole.
        let length_bytes = bytes.len() as u64;
        let _ = inner.leave_to_append(lease, request, offset, length_bytes)?;
        self.staging.check_holds(inner.reach)?;
        while !bytes.is_empty() {
            let append = inner.leave_to_append(lease, request, offset, bytes.len() as u64)?;
            let here = usize::try_from(append.length_bytes).expect("a segment fits in memory");
            let (here, rest) = bytes.split_at(here);
            self.staging.write_all_at(here, offset)?;
            failpoint::reach("write.written");
            match append.hashing {
                Hashing::Begins => {
                    let mut hasher = BlockHasher::new(append.index, filesize);
                    hasher.update(here);
                    inner.hashers.insert(append.index, hasher);
                }
                Hashing::Continues => {
                    if let Some(hasher) = inner.hashers.get_mut(&append.index) {
                        hasher.update(here);
                    }
                }
                Hashing::ReadsBack => drop(inner.hashers.remove(&append.index)),
            }
            if let Some(pass) = &mut inner.sha256 {
                pass.take(offset, here);
            }
            failpoint::reach("write.hashed");
            match request {
                Some(request) => inner.upload.appended_to_request(request, append, now),
                None => inner.upload.appended(append, now),
            }
            inner.reach = inner.reach.max(offset.plus(append.length_bytes));
            if append.ends {
                let value = match inner.hashers.remove(&append.index) {
                    Some(hasher) => BlockValue::of(&hasher, append.index, length),
                    None => read_whole_block(&*self.staging, append.index, length)?,
                };
                inner.upload.hashed(lease, append.index, value)?;
            }
            offset = offset.plus(append.length_bytes);
            bytes = rest;
        }
        inner.writeback.wrote(&*self.staging, offset, length_bytes);
        inner.written = Some(Instant::now());
        Ok(())
    }

    /// The writer says which value a block has.
    pub(crate) fn announce(
        &self,
        lease: Lease,
        index: BlockIndex,
        value: ChainingValue,
    ) -> Result<(), Error> {
        self.inner().upload.announce(lease, index, value)?;
        Ok(())
    }

    /// Forgets blocks, first where a crash would look, then here: their bytes are
    /// about to be written over, and from then on the catalog must not promise
    /// them (P1).
    pub(crate) fn withdraw(
        &self,
        lease: Lease,
        blocks: &[Range<BlockIndex>],
        catalog: &Catalog,
        may_block: MayBlock,
    ) -> Result<Offset, Error> {
        let _row_guard = self.lock_row_unless_publishing(may_block)?;
        // Held to the end: whoever takes the upload over meanwhile waits until
        // catalog and memory agree.
        let mut inner = self.inner();
        let before = inner.upload.progress();
        let named = |index: &BlockIndex| blocks.iter().any(|range| range.contains(index));
        let mut after = inner.upload.clone();
        for range in blocks {
            after.withdraw(lease, range.clone())?;
        }
        let durable = after.progress().durable();
        let is_recorded =
            durable < before.durable() || before.held().any(|(index, _)| named(&index));
        if is_recorded {
            let ranges = blocks.iter().map(|range| range.start.get()..range.end.get()).collect();
            catalog.withdraw_blocks(self.document_id, ranges, durable).wait()?;
        }
        // Before anything else can go wrong: memory that counts on what the catalog
        // has forgotten would promise what no restart can find (P1).
        inner.adopt(after);
        inner.hashers.retain(|index, _| !named(index));
        if is_recorded {
            failpoint::reach("withdraw.recorded");
        }
        Ok(inner.upload.progress().received())
    }

    /// A writer is gone. Says whether its lease was in force. What it has begun and not
    /// finished stays as it is, and so may promises of it (P1): another writer that sends
    /// such a block anew withdraws it first.
    pub(crate) fn release(&self, id: WriterId) -> bool {
        let mut inner = self.inner();
        if let Some(request) = inner.requests.remove(&id.writer) {
            // Refused only where the lease has ended, and the request with it.
            let _ = inner.upload.confirm_request(id.lease, request);
        }
        let in_force = inner.upload.release(id.lease);
        // Whoever holds the way to a session keeps it from its end.
        inner.writers.remove(&id.writer);
        if in_force {
            if inner.is_torn {
                // Only a new lease puts right what a panic has left.
                inner.upload.revoke();
                inner.dismiss(self.document_id, &torn());
            }
            if inner.upload.lease().is_none() {
                // Nobody is left who knows of blocks begun beyond the frontier.
                let open = inner.upload.progress().open_bytes().map(|(index, _)| index);
                inner.hashers.retain(|index, _| Some(*index) == open);
            }
        }
        in_force
    }

    /// Whether that lease still lets its holder write.
    pub(crate) fn is_in_force(&self, lease: Lease) -> bool {
        self.inner().upload.lease() == Some(lease)
    }

    /// Ends the upload without a document, in memory; the catalog is the caller's.
    /// Returns the writers, who are to be told when the catalog says so too.
    pub(crate) fn give_up(&self, _: &RowGuard, phase: Phase) -> Result<RevokedWriters, Refusal> {
        let mut inner = self.inner();
        inner.upload.give_up(phase)?;
        inner.hashers.clear();
        let writers = std::mem::take(&mut inner.writers).into_values().collect();
        Ok(RevokedWriters::new(self.document_id, writers))
    }

    /// Retires this `ActiveUpload` if it is paused and the catalog knows all of it: the
    /// next who asks reads it back. Says whether it is paused and the catalog has yet to
    /// be told: then it can be retired later.
    pub(crate) fn retire_if_idle(&self) -> bool {
        let mut inner = self.inner();
        let is_paused = inner.upload.phase() == Phase::Uploading && inner.upload.lease().is_none();
        let is_recorded = !inner.upload.progress().is_ahead_of_catalog();
        inner.retired |= is_paused && is_recorded;
        is_paused && !is_recorded
    }

    /// Whether nobody can write by it any more: retired, or its upload has ended. Waits
    /// for nobody.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Keeps everybody else from changing what the catalog says of this upload. Blocks.
    pub(crate) fn lock_row(&self, _: MayBlock) -> RowGuard {
        drop(Held::before(Rank::Row));
        RowGuard(Arc::clone(&self.row).blocking_lock_owned())
    }

    /// The same, unless somebody else does just now.
    pub(crate) fn try_lock_row(&self) -> Option<RowGuard> {
        Arc::clone(&self.row).try_lock_owned().ok().map(RowGuard)
    }

    /// The same, where the thread that has it ends soon, as a checkpoint does: it blocks that
    /// long at the most. A publishing keeps it until the document has its place, which may be
    /// behind a copy to another file system.
    ///
    /// # Errors
    /// Where the upload is being published.
    pub(crate) fn lock_row_unless_publishing(&self, _: MayBlock) -> Result<RowGuard, Refusal> {
        drop(Held::before(Rank::Row));
        loop {
            if let Some(row_guard) = self.try_lock_row() {
                return Ok(row_guard);
            }
            // Between two looks the thread that has it may have begun to publish, so this does
            // not wait in the lock's own line.
            if self.ask(|upload| upload.phase() == Phase::Publishing) {
                return Err(Refusal::NotUploading(Phase::Publishing));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Whether its last byte came only just now, and `complete` with a sync of its own
    /// is to be expected: a checkpoint would sync it for nothing.
    pub(crate) fn is_about_to_complete(&self, patience: Duration) -> bool {
        let inner = self.inner();
        let progress = inner.upload.progress();
        inner.upload.lease().is_some()
            && progress.received() == progress.filesize().end()
            && inner.written.is_some_and(|written| written.elapsed() < patience)
    }

    /// What a checkpoint would make durable; nothing where nothing is new.
    pub(crate) fn snapshot(&self, _: &RowGuard) -> Option<(Snapshot, Timestamp)> {
        let inner = self.inner();
        let upload = &inner.upload;
        let due = upload.phase() == Phase::Uploading && upload.progress().is_ahead_of_catalog();
        due.then(|| (upload.progress().snapshot(), upload.last_byte_at()))
    }

    /// The snapshot's data is synced and the catalog has recorded it (P1): only
    /// now may the client hear of it.
    pub(crate) fn recorded(&self, _: &RowGuard, snapshot: &Snapshot, durable: DurableOffset) {
        let mut inner = self.inner();
        inner.upload.recorded(snapshot);
        inner.durable = durable;
        inner.report(self.document_id);
    }

    /// Tells the writers how far it is, unless they were told a moment ago.
    pub(crate) fn report_if_due(&self, every: Duration) {
        let mut inner = self.inner();
        if inner.reported.is_none_or(|reported| reported.elapsed() >= every) {
            inner.report(self.document_id);
        }
    }

    /// What a client hears last of an upload that it has let go of, and that may have come
    /// to its end since.
    pub(crate) fn last_word(&self) -> EventKind {
        // While somebody records it, the catalog may not say so yet.
        let row_guard = self.try_lock_row();
        let inner = self.inner();
        match inner.upload.phase() {
            ended @ (Phase::Failed | Phase::Cancelled | Phase::Expired) if row_guard.is_some() => {
                EventKind::Rejected(Error::Refused(Refusal::NotUploading(ended)).rejection())
            }
            _ => EventKind::Progress(inner.position()),
        }
    }

    /// How the upload stands, and whether somebody writes to it, to be said under the lock:
    /// what comes later is said later, so that no client hears a promise go back.
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

    /// The document is in its place. Who completed it says so to whom it is due; the
    /// other writers find out when they ask.
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

impl Inner {
    fn is_over(&self) -> bool {
        self.retired || !matches!(self.upload.phase(), Phase::Uploading | Phase::Publishing)
    }

    fn add(&mut self, lease: Lease, writer: Subscriber) -> WriterId {
        self.writers_ever += 1;
        self.writers.insert(self.writers_ever, writer);
        WriterId { lease, writer: self.writers_ever }
    }

    /// Tells all writers why they are none any more.
    fn dismiss(&mut self, document_id: DocumentId, why: &Rejection) {
        for writer in std::mem::take(&mut self.writers).into_values() {
            writer.tell(document_id, why.clone());
        }
    }

    /// The upload as it is after bytes were taken back, in the catalog as well.
    fn adopt(&mut self, after: Upload) {
        self.durable = self.durable.lowered_to(after.progress().durable());
        self.forget_hashed_from(after.progress().received());
        self.upload = after;
    }

    /// Gives a writer its part in the lease, and tells it so.
    fn grant(
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

    fn report(&mut self, document_id: DocumentId) {
        if !self.writers.is_empty() {
            self.reported = Some(Instant::now());
        }
        // What one writes fills no queue of another that does not read.
        for writer in self.writers.values().filter(|writer| !writer.events.is_backed_up()) {
            let progress = EventKind::Progress(self.position());
            writer.events.send(writer.tag, Some(document_id), progress);
        }
    }

    fn position(&self) -> Position {
        let progress = self.upload.progress();
        debug_assert_eq!(progress.durable(), self.durable.get(), "rules and catalog agree");
        Position { received: progress.received(), durable: self.durable, length: progress.length() }
    }
}
