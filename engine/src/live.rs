//! An upload that is being worked on: its rules, its bytes, its hashers.
//!
//! Two locks, always taken in this order (and behind the registry's slot):
//! * `recording` by whoever changes what the catalog says of this upload
//!   (checkpoint, withdrawal, publishing), so that no checkpoint records what is
//!   being withdrawn;
//! * `core` by whoever asks the rules or writes. It is held while a piece is
//!   written and hashed: when a later lease is granted, no write of an earlier
//!   one is under way, and none can follow.

use crate::backlog::Backlog;
use crate::event::{EventKind, EventSender, Grant, GrantedBy, Position, Tag};
use crate::failpoint;
use crate::failure::Failure;
use crate::rejection::{Rejection, RejectionKind};
use crate::storage::Staging;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use towline_state::catalog::{Catalog, DurableOffset};
use towline_types::{
    BlockHasher, BlockIndex, ChainingValue, DocumentId, FileSize, Generation, Offset, Timestamp,
    UserId,
};
use towline_upload::{
    BlockValue, Hashing, Lease, Length, Phase, Refusal, ResumeClaim, Snapshot, Upload,
};

/// Write-back is started whenever so much has come, so that the sync at the next
/// checkpoint finds little left to do.
const WRITEBACK_BYTES: u64 = 8 << 20;

/// So long a takeover waits for what has arrived already on the old connection.
const LAST_PIECES: Duration = Duration::from_millis(250);

/// Between two looks at an upload that a checkpoint is recording.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// See the module's description.
pub(crate) struct Live {
    pub(crate) document_id: DocumentId,
    pub(crate) owner: UserId,
    staging: Arc<dyn Staging>,
    recording: Arc<AsyncMutex<()>>,
    core: Mutex<Core>,
    /// What `core` says of it, for those who must not wait for `core`.
    over: AtomicBool,
}

/// Proof that nobody else changes what the catalog says of this upload.
/// It is nobody's in particular: a publishing has it across threads.
pub(crate) struct Recording(#[allow(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

struct Core {
    upload: Upload,
    /// What the catalog promises of it.
    durable: DurableOffset,
    /// One for every block that is open.
    hashers: BTreeMap<BlockIndex, BlockHasher>,
    /// Those who share the lease, each under the number of its [`Part`].
    writers: BTreeMap<u64, Writer>,
    /// How many there have been.
    writers_ever: u64,
    /// Somebody has panicked in the middle of a change: bytes may have been hashed and
    /// not counted. What is counted was written, so the next lease hashes it anew.
    is_torn: bool,
    /// Replaced by a newer `Live` of the same document, or about to be.
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

/// What has been written since write-back was last started, near together.
#[derive(Default)]
struct Writeback {
    span: Range<u64>,
    bytes: u64,
}

/// One writer's part in a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) lease: Lease,
    writer: u64,
}

/// A writer under the lease. While this exists, the writer's session does not end at once:
/// the one who has it may have something to tell.
pub(crate) struct Writer {
    pub(crate) tag: Tag,
    pub(crate) events: EventSender,
    pub(crate) backlog: Backlog,
}

/// Writers whose upload was given up. They hear why when this is dropped, so that
/// nobody is forgotten, whatever becomes of what is done before.
pub(crate) struct Dismissed {
    document_id: DocumentId,
    writers: Vec<Writer>,
    why: Rejection,
}

impl Dismissed {
    pub(crate) fn hear(mut self, why: Rejection) {
        self.why = why;
    }
}

impl Drop for Dismissed {
    fn drop(&mut self) {
        for writer in &self.writers {
            writer.tell(self.document_id, self.why.clone());
        }
    }
}

impl Live {
    /// A new upload with its first lease.
    pub(crate) fn begin(
        document_id: DocumentId,
        staging: Arc<dyn Staging>,
        upload: Upload,
        lease: Lease,
        writer: Writer,
    ) -> (Self, Part) {
        let live = Self::restore(document_id, staging, upload, DurableOffset::NOTHING);
        let part = live.core().add(lease, writer);
        (live, part)
    }

    fn restore(
        document_id: DocumentId,
        staging: Arc<dyn Staging>,
        upload: Upload,
        durable: DurableOffset,
    ) -> Self {
        let owner = upload.owner();
        let core = Core {
            reach: upload.progress().reach(),
            upload,
            durable,
            hashers: BTreeMap::new(),
            writers: BTreeMap::new(),
            writers_ever: 0,
            is_torn: false,
            retired: false,
            writeback: Writeback::default(),
            reported: None,
            written: None,
        };
        let over = AtomicBool::new(core.is_over());
        Self {
            document_id,
            owner,
            staging,
            recording: Arc::default(),
            core: Mutex::new(core),
            over,
        }
    }

    /// An upload as an earlier run, or an earlier `Live`, left it. Reads back and
    /// hashes the one block that was open: the whole cost of a resume.
    pub(crate) fn read_back(
        document_id: DocumentId,
        staging: Arc<dyn Staging>,
        mut upload: Upload,
        durable: DurableOffset,
    ) -> Result<Self, Failure> {
        let filesize = upload.progress().filesize();
        staging.check_holds(upload.progress().reach())?;
        // Recovery may have cut the file, and its reserved space with it.
        staging.reserve(filesize)?;
        let hashers = hash_open_block(document_id, &*staging, &mut upload)?;
        let live = Self::restore(document_id, staging, upload, durable);
        live.core().hashers = hashers;
        Ok(live)
    }

    /// Takes the upload over for a channel, at once, and tells all who are concerned:
    /// under the lock, so that nothing that revokes the grant is said before it.
    /// Nothing where this `Live` is retired: ask for the newer one.
    pub(crate) fn resume(
        &self,
        ask: &ResumeClaim<'_>,
        writer: Writer,
        now: Timestamp,
        patience: Duration,
        catalog: &Catalog,
    ) -> Result<Option<Part>, Failure> {
        let backlogs: Vec<_> =
            self.core().writers.values().map(|writer| writer.backlog.clone()).collect();
        let deadline = Instant::now() + LAST_PIECES;
        for backlog in backlogs {
            backlog.wait(deadline.saturating_duration_since(Instant::now()));
        }
        // A file that has grown changes what the catalog says of it.
        let recording = ask.grow.then(|| self.recording_unless_publishing());
        let _recording = recording.transpose()?;
        let mut core = self.core();
        if core.retired {
            return Ok(None);
        }
        // The file is still the one that the bytes were written to.
        self.staging.check_holds(core.reach)?;
        if core.is_torn {
            let core = &mut *core;
            core.hashers = hash_open_block(self.document_id, &*self.staging, &mut core.upload)?;
            core.is_torn = false;
        }
        let before = core.upload.progress().filesize();
        let lease = if ask.grow {
            let mut after = core.upload.clone();
            let lease = after.resume(ask, now, patience)?;
            let has_grown = after.progress().filesize() != before;
            if has_grown {
                self.record_growth(&after, catalog)?;
            }
            // Before anything else can go wrong, as with a withdrawal.
            core.adopt(after);
            if has_grown {
                failpoint::reach("resume.grown");
            }
            lease
        } else {
            core.upload.resume(ask, now, patience)?
        };
        let open = core.upload.progress().open_bytes().map(|(index, _)| index);
        core.hashers.retain(|index, _| Some(*index) == open);
        let superseded = Failure::Refused(Refusal::Superseded).rejection();
        core.dismiss(self.document_id, &superseded);
        let part = core.grant(self.document_id, GrantedBy::Resume, lease, writer);
        Ok(Some(part))
    }

    /// Records that the file is longer than when the upload began, as `after` has it.
    ///
    /// Room comes first, so that a full disk changes nothing. Then one transaction sets the
    /// size and takes back the promise of the one block that no longer ends where it did
    /// (P1: that goes back by the client's word, as with a withdrawal). The bytes of all
    /// other blocks stay where they are and are not written: a crash before the commit finds
    /// the old upload, and one behind it the longer one.
    fn record_growth(&self, after: &Upload, catalog: &Catalog) -> Result<(), Failure> {
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
        writer: Writer,
    ) -> Result<Part, Failure> {
        let mut core = self.core();
        let lease = core.upload.join(user, generation)?;
        Ok(core.grant(self.document_id, GrantedBy::Join, lease, writer))
    }

    /// Writes and hashes a piece. Block by block: first the rules say yes, then
    /// the bytes are written, and only then they count.
    pub(crate) fn write(
        &self,
        lease: Lease,
        mut offset: Offset,
        mut bytes: &[u8],
        now: Timestamp,
    ) -> Result<(), Failure> {
        let mut core = self.core();
        let core = &mut *core;
        let length = core.upload.progress().length();
        let filesize = length.bound();
        // A piece that reaches too far is refused whole.
        let length_bytes = bytes.len() as u64;
        let _ = core.upload.append(lease, offset, length_bytes)?;
        self.staging.check_holds(core.reach)?;
        while !bytes.is_empty() {
            let append = core.upload.append(lease, offset, bytes.len() as u64)?;
            let here = usize::try_from(append.length_bytes).expect("a piece fits in memory");
            let (here, rest) = bytes.split_at(here);
            self.staging.write_all_at(here, offset)?;
            failpoint::reach("write.written");
            match append.hashing {
                Hashing::Begins => {
                    let mut hasher = BlockHasher::new(append.index, filesize);
                    hasher.update(here);
                    core.hashers.insert(append.index, hasher);
                }
                Hashing::Continues => {
                    if let Some(hasher) = core.hashers.get_mut(&append.index) {
                        hasher.update(here);
                    }
                }
                Hashing::ReadsBack => drop(core.hashers.remove(&append.index)),
            }
            failpoint::reach("write.hashed");
            core.upload.appended(append, now);
            core.reach = core.reach.max(offset.plus(append.length_bytes));
            if append.ends {
                let value = match core.hashers.remove(&append.index) {
                    Some(hasher) => BlockValue::of(&hasher, append.index, length),
                    None => read_whole_block(&*self.staging, append.index, length)?,
                };
                core.upload.hashed(lease, append.index, value)?;
            }
            offset = offset.plus(append.length_bytes);
            bytes = rest;
        }
        core.pace_writeback(&*self.staging, offset, length_bytes);
        core.written = Some(Instant::now());
        Ok(())
    }

    /// The writer says which value a block has.
    pub(crate) fn announce(
        &self,
        lease: Lease,
        index: BlockIndex,
        value: ChainingValue,
    ) -> Result<(), Failure> {
        self.core().upload.announce(lease, index, value)?;
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
    ) -> Result<Offset, Failure> {
        let _recording = self.recording_unless_publishing()?;
        // Held to the end: whoever takes the upload over meanwhile waits until
        // catalog and memory agree.
        let mut core = self.core();
        let before = core.upload.progress();
        let named = |index: &BlockIndex| blocks.iter().any(|range| range.contains(index));
        let mut after = core.upload.clone();
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
        core.adopt(after);
        core.hashers.retain(|index, _| !named(index));
        if is_recorded {
            failpoint::reach("withdraw.recorded");
        }
        Ok(core.upload.progress().received())
    }

    /// A writer is gone. Says whether its lease was in force. What it has begun and not
    /// finished stays as it is, and so may promises of it (P1): another writer that sends
    /// such a block anew withdraws it first.
    pub(crate) fn release(&self, part: Part) -> bool {
        let mut core = self.core();
        let in_force = core.upload.release(part.lease);
        // Whoever holds the way to a session keeps it from its end.
        core.writers.remove(&part.writer);
        if in_force {
            if core.is_torn {
                // Only a new lease puts right what a panic has left.
                core.upload.revoke();
                core.dismiss(self.document_id, &torn());
            }
            if core.upload.lease().is_none() {
                // Nobody is left who knows of blocks begun beyond the frontier.
                let open = core.upload.progress().open_bytes().map(|(index, _)| index);
                core.hashers.retain(|index, _| Some(*index) == open);
            }
        }
        in_force
    }

    /// Whether that lease still lets its holder write.
    pub(crate) fn is_in_force(&self, lease: Lease) -> bool {
        self.core().upload.lease() == Some(lease)
    }

    /// Ends the upload without a document, in memory; the catalog is the caller's.
    /// Returns the writers, who are to be told when the catalog says so too.
    pub(crate) fn give_up(&self, _: &Recording, phase: Phase) -> Result<Dismissed, Refusal> {
        let mut core = self.core();
        core.upload.give_up(phase)?;
        self.over.store(core.is_over(), Ordering::SeqCst);
        core.hashers.clear();
        Ok(Dismissed {
            document_id: self.document_id,
            writers: std::mem::take(&mut core.writers).into_values().collect(),
            why: torn(),
        })
    }

    /// Retires this `Live` if it is paused and the catalog knows all of it: the
    /// next who asks reads it back. Says whether it is paused and the catalog has yet to
    /// be told: then it can be retired later.
    pub(crate) fn retire_if_idle(&self) -> bool {
        let mut core = self.core();
        let is_paused = core.upload.phase() == Phase::Uploading && core.upload.lease().is_none();
        let is_recorded = !core.upload.progress().is_ahead_of_catalog();
        core.retired |= is_paused && is_recorded;
        self.over.store(core.is_over(), Ordering::SeqCst);
        is_paused && !is_recorded
    }

    /// Whether nobody can write by it any more: retired, or its upload has ended. Waits
    /// for nobody.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Keeps everybody else from changing what the catalog says of this upload. Blocks.
    pub(crate) fn recording(&self) -> Recording {
        Recording(Arc::clone(&self.recording).blocking_lock_owned())
    }

    /// The same, unless somebody else does just now.
    pub(crate) fn try_recording(&self) -> Option<Recording> {
        Arc::clone(&self.recording).try_lock_owned().ok().map(Recording)
    }

    /// The same, where the thread that has it ends soon, as a checkpoint does: it blocks that
    /// long at the most. A publishing keeps it until the document has its place, which may be
    /// behind a copy to another file system.
    ///
    /// # Errors
    /// Where the upload is being published.
    pub(crate) fn recording_unless_publishing(&self) -> Result<Recording, Refusal> {
        loop {
            if let Some(recording) = self.try_recording() {
                return Ok(recording);
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
        let core = self.core();
        let progress = core.upload.progress();
        core.upload.lease().is_some()
            && progress.received() == progress.filesize().end()
            && core.written.is_some_and(|written| written.elapsed() < patience)
    }

    /// What a checkpoint would make durable; nothing where nothing is new.
    pub(crate) fn snapshot(&self, _: &Recording) -> Option<(Snapshot, Timestamp)> {
        let core = self.core();
        let upload = &core.upload;
        let due = upload.phase() == Phase::Uploading && upload.progress().is_ahead_of_catalog();
        due.then(|| (upload.progress().snapshot(), upload.last_byte_at()))
    }

    /// The snapshot's data is synced and the catalog has recorded it (P1): only
    /// now may the client hear of it.
    pub(crate) fn recorded(&self, _: &Recording, snapshot: &Snapshot, durable: DurableOffset) {
        let mut core = self.core();
        core.upload.recorded(snapshot);
        core.durable = durable;
        core.report(self.document_id);
    }

    /// Tells the writers how far it is, unless they were told a moment ago.
    pub(crate) fn report_if_due(&self, every: Duration) {
        let mut core = self.core();
        if core.reported.is_none_or(|reported| reported.elapsed() >= every) {
            core.report(self.document_id);
        }
    }

    /// What a client hears last of an upload that it has let go of, and that may have come
    /// to its end since.
    pub(crate) fn last_word(&self) -> EventKind {
        // While somebody records it, the catalog may not say so yet.
        let recording = self.try_recording();
        let core = self.core();
        match core.upload.phase() {
            ended @ (Phase::Failed | Phase::Cancelled | Phase::Expired) if recording.is_some() => {
                EventKind::Rejected(Failure::Refused(Refusal::NotUploading(ended)).rejection())
            }
            _ => EventKind::Progress(core.position()),
        }
    }

    /// How the upload stands, and whether somebody writes to it, to be said under the lock:
    /// what comes later is said later, so that no client hears a promise go back.
    pub(crate) fn say_standing(&self, say: impl FnOnce(Position, bool)) {
        let core = self.core();
        say(core.position(), core.upload.lease().is_some());
    }

    /// Asks the rules a question.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Upload) -> T) -> T {
        question(&self.core().upload)
    }

    /// Tells the rules what was done.
    pub(crate) fn tell<T>(&self, statement: impl FnOnce(&mut Upload) -> T) -> T {
        let mut core = self.core();
        let told = statement(&mut core.upload);
        self.over.store(core.is_over(), Ordering::SeqCst);
        told
    }

    /// The document is in its place. Who completed it says so to whom it is due; the
    /// other writers find out when they ask.
    pub(crate) fn published(&self) {
        let mut core = self.core();
        core.upload.published();
        core.writers.clear();
        self.over.store(core.is_over(), Ordering::SeqCst);
    }

    pub(crate) fn staging(&self) -> &dyn Staging {
        &*self.staging
    }

    pub(crate) fn filesize(&self) -> FileSize {
        self.ask(|upload| upload.progress().filesize())
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(|poisoned| {
            let mut core = poisoned.into_inner();
            core.is_torn = true;
            self.core.clear_poison();
            core
        })
    }
}

/// Reads back and hashes the one block that is open. Where it is whole and waits for
/// its announcement only, the rules get its value; else its hasher goes on.
fn hash_open_block(
    document_id: DocumentId,
    staging: &dyn Staging,
    upload: &mut Upload,
) -> Result<BTreeMap<BlockIndex, BlockHasher>, Failure> {
    let Some((index, span)) = upload.progress().open_bytes() else { return Ok(BTreeMap::new()) };
    let length = upload.progress().length();
    let hasher = read_block(staging, index, span.clone(), length)?;
    tracing::debug!(%document_id, bytes = span.end - span.start, "read back the open block");
    if span == index.span(length.bound()) {
        upload.read_back(index, BlockValue::of(&hasher, index, length));
        return Ok(BTreeMap::new());
    }
    Ok(BTreeMap::from([(index, hasher)]))
}

/// The value of a block that is whole and whose bytes no hasher has followed: they came in
/// another order, or were begun under an earlier lease. It reads at most 1 MiB, which as a
/// rule is still in the page cache.
fn read_whole_block(
    staging: &dyn Staging,
    index: BlockIndex,
    length: Length,
) -> Result<BlockValue, Failure> {
    let hasher = read_block(staging, index, index.span(length.bound()), length)?;
    Ok(BlockValue::of(&hasher, index, length))
}

fn read_block(
    staging: &dyn Staging,
    index: BlockIndex,
    span: Range<u64>,
    length: Length,
) -> Result<BlockHasher, Failure> {
    let bytes = usize::try_from(span.end - span.start).expect("a block fits in memory");
    let mut bytes = vec![0; bytes];
    staging.read_exact_at(&mut bytes, index.start())?;
    let mut hasher = BlockHasher::new(index, length.bound());
    hasher.update(&bytes);
    Ok(hasher)
}

impl Core {
    fn is_over(&self) -> bool {
        self.retired || !matches!(self.upload.phase(), Phase::Uploading | Phase::Publishing)
    }

    fn add(&mut self, lease: Lease, writer: Writer) -> Part {
        self.writers_ever += 1;
        self.writers.insert(self.writers_ever, writer);
        Part { lease, writer: self.writers_ever }
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
        self.upload = after;
    }

    /// Gives a writer its part in the lease, and tells it so.
    fn grant(
        &mut self,
        document_id: DocumentId,
        by: GrantedBy,
        lease: Lease,
        writer: Writer,
    ) -> Part {
        let progress = self.upload.progress();
        let (offset, filesize) = (progress.received(), progress.filesize());
        let grant = Grant { by, offset, filesize, lease: Some(lease.generation()) };
        writer.events.send(writer.tag, Some(document_id), EventKind::Granted(grant));
        self.add(lease, writer)
    }

    fn pace_writeback(&mut self, staging: &dyn Staging, end: Offset, length_bytes: u64) {
        let Writeback { span, bytes } = &mut self.writeback;
        let (start, end) = (end.get() - length_bytes, end.get());
        // Several writers write side by side; what lies further away is another matter.
        let is_near = start <= span.end + WRITEBACK_BYTES
            && span.start <= end.saturating_add(WRITEBACK_BYTES);
        if *bytes == 0 || !is_near {
            (*span, *bytes) = (start..start, 0);
        }
        *span = span.start.min(start)..span.end.max(end);
        *bytes += length_bytes;
        if *bytes >= WRITEBACK_BYTES {
            staging.start_writeback(Offset::ZERO.plus(span.start), span.end - span.start);
            *bytes = 0;
        }
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
        Position {
            received: progress.received(),
            durable: self.durable,
            filesize: progress.filesize(),
        }
    }
}

/// Why a lease ends for those who did no wrong.
fn torn() -> Rejection {
    const TORN: &str = "the server made a mistake; what is durable is kept, resume the upload";
    Rejection::new(RejectionKind::Internal, TORN)
}

impl Writer {
    /// Tells the channel how its upload, or its lease, ended.
    pub(crate) fn tell(&self, document_id: DocumentId, why: Rejection) {
        self.events.send(self.tag, Some(document_id), EventKind::Rejected(why));
    }
}
