//! What a client asks on one channel, done in order. Everything here blocks and
//! runs in the channel's lane, off the async threads.

mod begin;
mod complete;
mod copying;
mod posted;
mod whole;

use crate::backlog::Backlog;
use crate::command::{
    Command, CompleteRequest, Query, RejectedRequest, ResumeRequest, WHOLE_BYTES_MAX,
};
use crate::data_source::{DataSource, Pulled};
use crate::event::{Answer, EventKind, EventSender, Position, Status, Tag};
use crate::failpoint;
use crate::failure::Failure;
use crate::lane::{Handler, Manner, Next};
use crate::live::{Live, Part, Writer};
use crate::log::{Since, UploadEnd};
use crate::origin::Origin;
use crate::receipt::Receipt;
use crate::rejection::{Rejection, RejectionKind};
use crate::service::Service;
use crate::storage::{Resource, StorageError};
use begin::Asked;
pub(crate) use copying::COPIES_MAX;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio_util::sync::CancellationToken;
use towline_state::catalog::Document;
use towline_types::block::block_count;
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, Generation, Offset, OnConflict, UserId,
};
use towline_upload::{Phase, Refusal, ResumeClaim, Upload as Rules};

/// A file up to this is made durable so soon, when others are too.
const SHORT_FILE_BYTES: u64 = 256 << 10;

/// The longest time for which a writer has a source. Then another writer may have the thread.
const LOAN_MAX: Duration = Duration::from_millis(500);

/// How long a writer waits for the next data, with a thread that does nothing else: less
/// than a half-read piece waits for its rest, so that such a piece goes back with the source.
const IDLE_MAX: Duration = Duration::from_millis(20);

/// One channel of one connection.
pub(crate) struct ChannelDesk {
    service: Arc<Service>,
    user: UserId,
    origin: Origin,
    tag: Tag,
    events: EventSender,
    backlog: Backlog,
    /// Cancelled when the connection, or the server, comes to its end.
    ending: CancellationToken,
    slot: Slot,
    /// When the upload in the slot was begun here, for the log.
    since: Since,
    is_cancelling: bool,
    /// What the task being done takes of its session; it goes with an answer that is long.
    permits: Permits,
    /// A task is between two steps.
    is_under_way: bool,
    /// What was taken from the queue, and comes before what is in it.
    taken: VecDeque<Queued>,
    /// See [`Handler::vacated`].
    vacated: Arc<AtomicBool>,
    /// The channel's document is being copied to another file system, or waits for its turn.
    is_copying: watch::Sender<bool>,
}

/// What the channel stands for just now.
enum Slot {
    /// Nothing yet.
    Empty,
    /// An upload that this channel writes to, or did until it was superseded.
    Open(Open),
    /// A file that came whole and has its name.
    Whole(DocumentId),
    /// A request was refused: what still comes for it is dropped.
    Refused,
    /// The document is complete: what still comes for it is dropped.
    Done(Arc<Receipt>),
}

#[derive(Clone)]
struct Open {
    live: Arc<Live>,
    part: Part,
    on_conflict: OnConflict,
}

/// Something to be done.
pub(crate) enum Task {
    /// What the door asks.
    Command(Command),
    /// The connection has ended. Answers with the upload that it lets go of.
    Release(oneshot::Sender<Option<Arc<Live>>>),
}

/// A task, and what it takes of its session.
pub(crate) struct Queued {
    pub(crate) task: Task,
    pub(crate) permits: Permits,
}

/// What a task takes of its session until it is done: how many requests, and how much
/// payload, may wait at the same time (P6).
#[derive(Debug, Default)]
pub(crate) struct Permits {
    pub(crate) requests: Option<OwnedSemaphorePermit>,
    pub(crate) payload: Option<OwnedSemaphorePermit>,
}

impl Permits {
    fn merge(&mut self, other: Self) {
        merge(&mut self.requests, other.requests);
        merge(&mut self.payload, other.payload);
    }
}

/// Both are of the same semaphore.
fn merge(permit: &mut Option<OwnedSemaphorePermit>, other: Option<OwnedSemaphorePermit>) {
    match (permit.as_mut(), other) {
        (Some(permit), Some(other)) => permit.merge(other),
        (None, Some(other)) => *permit = Some(other),
        (_, None) => {}
    }
}

/// A task that was begun, and what it takes.
pub(crate) struct Begun {
    step: Step,
    permits: Permits,
}

/// What comes next of a task.
enum Step {
    /// To take in what was asked for.
    Hear(Asked),
    /// To complete the channel's upload, for as long as that takes.
    Complete(CompleteRequest),
    /// To answer, when that document is no longer being copied to another file system.
    Again(DocumentId, Command),
    /// To do what follows from a failure.
    Refuse(Failure),
}

impl Step {
    /// Whether it must not keep others waiting.
    fn is_long(&self) -> bool {
        match self {
            Self::Hear(asked) => asked.is_long(),
            Self::Complete(_) | Self::Again(..) | Self::Refuse(_) => true,
        }
    }
}

impl Handler for ChannelDesk {
    type Work = Queued;
    type Begun = Begun;

    fn is_short(work: &Queued) -> bool {
        match &work.task {
            Task::Command(command) => is_short(command),
            Task::Release(_) => false,
        }
    }

    fn take(queue: &mut VecDeque<Queued>) -> Option<Queued> {
        whole::take(queue).or_else(|| queue.pop_front())
    }

    fn begin(&mut self, work: Queued, manner: Manner) -> Next<Begun> {
        let next = self.begin_one(work, manner);
        self.and_what_was_taken(next, manner)
    }

    fn go_on(&mut self, begun: Begun, manner: Manner) -> Next<Begun> {
        let next = self.go_on_with(begun, manner);
        self.and_what_was_taken(next, manner)
    }

    fn is_vacant(&self) -> bool {
        !self.is_under_way && !matches!(self.slot, Slot::Open(_))
    }

    fn vacated(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.vacated)
    }

    fn panicked(&mut self) {
        self.taken.clear();
        self.leave();
        self.tell(None, EventKind::Panicked);
    }
}

impl Drop for ChannelDesk {
    /// However a connection ends, its uploads are paused.
    fn drop(&mut self) {
        self.leave();
    }
}

impl ChannelDesk {
    pub(crate) fn new(
        service: Arc<Service>,
        (user, origin): (UserId, Origin),
        tag: Tag,
        events: EventSender,
        backlog: Backlog,
        ending: CancellationToken,
    ) -> Self {
        Self {
            service,
            user,
            origin,
            since: Since::now(0),
            is_cancelling: false,
            tag,
            events,
            backlog,
            ending,
            slot: Slot::Empty,
            permits: Permits::default(),
            is_under_way: false,
            taken: VecDeque::new(),
            vacated: Arc::default(),
            is_copying: watch::Sender::new(false),
        }
    }

    /// Whether the channel's document is being copied to another file system, or waits for
    /// its turn: that needs no client, and may take long.
    pub(crate) fn is_copying(&self) -> watch::Receiver<bool> {
        self.is_copying.subscribe()
    }

    /// Where one thing is done, the next of those that were taken from the queue.
    fn and_what_was_taken(&mut self, mut next: Next<Begun>, manner: Manner) -> Next<Begun> {
        while let Next::Done = next {
            let Some(work) = self.taken.pop_front() else { break };
            next = self.begin_one(work, manner);
        }
        next
    }

    fn begin_one(&mut self, work: Queued, manner: Manner) -> Next<Begun> {
        self.permits = work.permits;
        self.look_at_lease();
        let done = match work.task {
            Task::Command(command) => self.carry_out(command, manner),
            Task::Release(done) => {
                let _ = done.send(self.leave());
                Ok(None)
            }
        };
        self.conclude(done, manner)
    }

    fn go_on_with(&mut self, Begun { step, permits }: Begun, manner: Manner) -> Next<Begun> {
        self.is_under_way = false;
        self.permits = permits;
        let done = match step {
            Step::Hear(asked) => self.heard(asked).map(|asked| asked.map(Step::Hear)),
            Step::Complete(complete) => {
                self.look_at_lease();
                self.complete(complete, manner)
            }
            Step::Again(_, request) => {
                self.look_at_lease();
                self.carry_out(request, manner)
            }
            Step::Refuse(failure) => Err(failure),
        };
        self.conclude(done, manner)
    }

    /// Does what comes through a tap, for as long as there is an upload for it.
    fn draw(&mut self, source: &mut dyn DataSource) {
        let end = Instant::now() + LOAN_MAX;
        while let Slot::Open(_) = self.slot
            && let now = Instant::now()
            && now < end
            && let Some(pulled) = source.pull(now + IDLE_MAX)
        {
            failpoint::reach("tap.drawn");
            let task = Task::Command(match pulled {
                Pulled::Data { offset, buffer } => {
                    self.backlog.arrived();
                    Command::Data { offset, buffer }
                }
                Pulled::Announce { index, value } => Command::Announce { index, value },
            });
            // Pieces and values, done alone, never go on: what they meet is dealt with.
            let next = self.begin_one(Queued { task, permits: Permits::default() }, Manner::Alone);
            debug_assert!(matches!(next, Next::Done));
        }
    }

    /// Whoever took the upload over, or gave it up, tells our client so; what still comes
    /// for it is dropped, as it is where another writer has completed it.
    fn look_at_lease(&mut self) {
        if let Slot::Open(open) = &self.slot
            && !open.live.is_in_force(open.part.lease)
        {
            self.slot = Slot::Refused;
        }
    }

    /// What is done gives its permits back; what goes on keeps them.
    fn conclude(&mut self, done: Result<Option<Step>, Failure>, manner: Manner) -> Next<Begun> {
        let permits = std::mem::take(&mut self.permits);
        let is_copying = matches!(
            &done,
            Ok(Some(Step::Hear(Asked::Publishing(publishing)))) if publishing.wants_turn()
        );
        self.is_copying.send_if_modified(|was| std::mem::replace(was, is_copying) != is_copying);
        let next = match done {
            Ok(None) => Next::Done,
            Ok(Some(Step::Hear(Asked::Known(known)))) if known.wants_place() => {
                let mut say = known.first().map(|(id, filesize)| self.at_work(id, filesize));
                let turn = self.turn(move || {
                    if let Some(say) = &mut say {
                        say(Offset::ZERO);
                    }
                });
                Next::GoesAfter(Box::pin(async move {
                    let step = Step::Hear(Asked::Known(Box::new(known.with_place(turn.await))));
                    Begun { step, permits }
                }))
            }
            Ok(Some(Step::Hear(Asked::Publishing(mut publishing)))) if publishing.wants_turn() => {
                let (id, moving) = (publishing.document_id(), Arc::clone(&self.service.moving));
                let mut say = self.says_copied(id);
                let turn = self.turn(move || {
                    if let Some(standing) = moving.standing(id) {
                        say(standing);
                    }
                });
                Next::GoesAfter(Box::pin(async move {
                    publishing.take_turn(turn.await);
                    Begun { step: Step::Hear(Asked::Publishing(publishing)), permits }
                }))
            }
            Ok(Some(Step::Again(id, request))) => {
                let copied = self.copied(id);
                Next::GoesAfter(Box::pin(async move {
                    copied.await;
                    Begun { step: Step::Again(id, request), permits }
                }))
            }
            Ok(Some(step)) if !step.is_long() => Next::Goes(Begun { step, permits }),
            Ok(Some(step)) => Next::GoesAlone(Begun { step, permits }),
            // What follows for the upload may have to wait for who else is at it.
            Err(failure) if manner == Manner::Together && matches!(self.slot, Slot::Open(_)) => {
                Next::GoesAlone(Begun { step: Step::Refuse(failure), permits })
            }
            Err(failure) => {
                self.permits = permits;
                self.refuse(&failure);
                self.permits = Permits::default();
                Next::Done
            }
        };
        self.is_under_way = !matches!(next, Next::Done);
        next
    }

    fn carry_out(&mut self, command: Command, manner: Manner) -> Result<Option<Step>, Failure> {
        let done = match command {
            Command::Begin(upload) => return self.upload(*upload).map(|a| Some(Step::Hear(a))),
            Command::Complete(complete) => return self.complete(complete, manner),
            Command::Whole(whole) => return Ok(self.whole(whole).map(Step::Hear)),
            Command::Data { offset, buffer } => {
                let written = self.write(offset, buffer.bytes());
                self.backlog.settled();
                return written.map(|()| None);
            }
            Command::Announce { index, value } => {
                return self.announce(index, value).map(|()| None);
            }
            Command::Withdraw(ranges) => return self.withdraw(&ranges).map(|()| None),
            Command::Pull(mut source) => {
                self.draw(&mut *source);
                return Ok(None);
            }
            Command::Query(Query::Find { path, filesize, hash }) => {
                return Ok(Some(Step::Hear(self.find(path, filesize, hash))));
            }
            Command::Reject { rejection, request } => {
                return self.refuse_for_door(rejection, request).map(|()| None);
            }
            Command::Resume(request) => {
                let answered = self.resume(&request);
                (request.id, answered, Command::Resume(request))
            }
            Command::Join { id, lease } => (id, self.join(id, lease), command),
            Command::Query(Query::Status(id)) => (id, self.status(id), command),
            Command::Query(Query::HeldBlocks(id)) => (id, self.blocks(id), command),
            Command::Query(Query::Cancel(id)) => (id, self.cancel(id), command),
        };
        // A no to a question about some document leaves the channel's own upload
        // as it is.
        match done {
            (id, Err(Failure::StillPublishing), command) if self.may_wait_for(id) => {
                return Ok(Some(Step::Again(id, command)));
            }
            (id, Err(failure), _) => self.answer_no(&failure, Some(id)),
            (_, Ok(()), _) => {}
        }
        Ok(None)
    }

    /// Says what the door found wrong with a request.
    fn refuse_for_door(
        &mut self,
        rejection: Rejection,
        request: RejectedRequest,
    ) -> Result<(), Failure> {
        let document = match request {
            RejectedRequest::Upload(document) => {
                self.leave_for_another();
                self.slot = Slot::Refused;
                self.vacate();
                document
            }
            RejectedRequest::Change => {
                let Slot::Open(open) = &self.slot else { return self.drop_or_complain() };
                Some(open.live.document_id)
            }
            RejectedRequest::Query => None,
        };
        self.reject(rejection, document);
        Ok(())
    }

    /// A no to a question: the channel's own upload stays as it is.
    fn answer_no(&self, failure: &Failure, id: Option<DocumentId>) {
        self.service.storage_follows_catalog();
        self.refuse_with(failure, id);
    }

    /// Finds the upload as it is now. What happens to it meanwhile (it is completed,
    /// given up, read back by somebody else) is a reason to look again.
    fn resume(&mut self, request: &ResumeRequest) -> Result<(), Failure> {
        self.leave_for_another();
        // Until it is granted, what comes on this channel is for nobody.
        self.slot = Slot::Refused;
        let id = request.id;
        let ask = ResumeClaim {
            user: self.user,
            mode: request.mode,
            filename: request.filename.as_deref(),
            filesize: request.filesize,
            grow: request.grow,
            offset: request.offset,
        };
        if let (true, Some(filesize)) = (request.grow, request.filesize) {
            Rules::admit(filesize, self.service.config.max_filesize)?;
        }
        for _ in 0..LOOKS_MAX {
            let document = self.service.document_of(self.user, id)?;
            match document.phase {
                Phase::Completed => {
                    check_same_file(request, &document)?;
                    return self.receipt(document);
                }
                Phase::Publishing => {
                    self.service.settle(id, &mut self.says_copied(id))?;
                    continue;
                }
                _ => {}
            }
            let document = still_open(document)?;
            match self.take_up(id, &ask) {
                Ok(Some((live, part))) => {
                    self.service.mirror.changed();
                    let on_conflict = document.on_conflict;
                    self.since = since(&live);
                    self.slot = Slot::Open(Open { live, part, on_conflict });
                    return Ok(());
                }
                // Retired, or ending just now: the row will say.
                Ok(None) => {}
                Err(Failure::Refused(Refusal::NotUploading(_))) => {
                    self.service.settle(id, &mut self.says_copied(id))?;
                }
                Err(failure @ Failure::Storage(StorageError::Lost(_))) => {
                    self.service.lose(id, failure)?;
                }
                Err(failure @ Failure::Refused(Refusal::Expired { .. })) => {
                    self.service.give_up(id, Phase::Expired, &failure.to_string())?;
                    return Err(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Restless)
    }

    fn take_up(
        &self,
        id: DocumentId,
        ask: &ResumeClaim<'_>,
    ) -> Result<Option<(Arc<Live>, Part)>, Failure> {
        let live = self.service.live(id)?;
        let now = self.service.clock().now();
        let patience = self.service.calendar.patience();
        let part = live.resume(ask, self.writer(), now, patience, &self.service.catalog)?;
        Ok(part.map(|part| (live, part)))
    }

    /// Writes beside others. Unlike [`Self::resume`] it takes nothing up: an upload that
    /// nobody works on has no lease.
    fn join(&mut self, id: DocumentId, lease: Generation) -> Result<(), Failure> {
        self.leave_for_another();
        self.slot = Slot::Refused;
        let document = still_open(self.service.document_of(self.user, id)?)?;
        let live = match (document.phase, self.service.registry.get(document.document_id)) {
            (Phase::Uploading, Some(live)) => live,
            (Phase::Uploading, None) => return Err(Failure::Refused(Refusal::Superseded)),
            (past, _) => return Err(Failure::Refused(Refusal::NotUploading(past))),
        };
        let part = live.join(self.user, lease, self.writer())?;
        self.since = since(&live);
        self.slot = Slot::Open(Open { live, part, on_conflict: document.on_conflict });
        Ok(())
    }

    fn write(&mut self, offset: Offset, bytes: &[u8]) -> Result<(), Failure> {
        let Slot::Open(open) = &self.slot else { return self.drop_or_complain() };
        let now = self.service.clock().now();
        open.live.write(open.part.lease, offset, bytes, now).map_err(|failure| match failure {
            Failure::Storage(StorageError::NoSpace { resource: Resource::Bytes, .. }) => {
                let missing = self.service.missing_bytes(open.live.filesize(), &open.live);
                Failure::Storage(StorageError::no_room(missing))
            }
            other => other,
        })?;
        self.service.checkpoints.moved(&open.live, bytes.len() as u64);
        open.live.report_if_due(self.service.config.timings.report);
        Ok(())
    }

    fn announce(&mut self, index: BlockIndex, value: ChainingValue) -> Result<(), Failure> {
        let Slot::Open(open) = &self.slot else { return self.drop_or_complain() };
        open.live.announce(open.part.lease, index, value)?;
        self.service.checkpoints.moved(&open.live, 0);
        Ok(())
    }

    fn withdraw(&mut self, ranges: &[Range<BlockIndex>]) -> Result<(), Failure> {
        let Slot::Open(open) = &self.slot else { return self.drop_or_complain() };
        let count = block_count(open.live.filesize());
        let ranges: Vec<_> = ranges.iter().filter_map(|range| within(range, count)).collect();
        let offset = open.live.withdraw(open.part.lease, &ranges, &self.service.catalog)?;
        let (id, filesize) = (open.live.document_id, open.live.filesize());
        self.tell(Some(id), EventKind::Withdrawn { offset, filesize });
        Ok(())
    }

    fn status(&self, id: DocumentId) -> Result<(), Failure> {
        let document = self.service.document_of(self.user, id)?;
        let live = self.service.registry.get(document.document_id);
        let waiting = document.phase == Phase::Uploading;
        let (durable, filesize) = (document.durable_offset, document.filesize);
        let status = |position, is_active| {
            let status = Status {
                phase: document.phase,
                path: document.file_path.unwrap_or(document.path),
                position,
                is_active,
                hash: document.blake3,
                created_at: document.created_at,
                expires_at: waiting
                    .then(|| document.last_chunk_at.plus(self.service.config.patience)),
                reason: document.reason,
            };
            self.answer_with(Some(document.document_id), Answer::Status(status));
        };
        match live {
            Some(live) => live.say_standing(|position, active| {
                // The name, the size and the rest are the row's.
                status(Position { filesize, ..position }, active);
            }),
            None => status(Position { received: durable.get(), durable, filesize }, false),
        }
        Ok(())
    }

    fn blocks(&mut self, id: DocumentId) -> Result<(), Failure> {
        let document = self.service.document_of(self.user, id)?;
        let blocks = match self.service.registry.get(document.document_id) {
            Some(live) => live.ask(|upload| upload.progress().held().collect()),
            None => self.service.catalog.blocks(document.document_id).wait()?,
        };
        let permit = self.permits.requests.take();
        self.answer_with(Some(document.document_id), Answer::HeldBlocks { blocks, permit });
        Ok(())
    }

    fn cancel(&mut self, id: DocumentId) -> Result<(), Failure> {
        let document = self.service.document_of(self.user, id)?;
        if let Slot::Open(open) = &self.slot
            && open.live.document_id == id
        {
            // Its end is logged, and not that it was paused for a moment.
            self.is_cancelling = true;
            self.leave();
            self.is_cancelling = false;
        }
        if document.phase == Phase::Publishing {
            self.service.settle(id, &mut self.says_copied(id))?;
        }
        match self.service.document_of(self.user, id)?.phase {
            Phase::Cancelled => {}
            Phase::Uploading => self.service.give_up(id, Phase::Cancelled, GIVEN_UP)?,
            ended => return Err(Failure::Refused(Refusal::NotUploading(ended))),
        }
        self.answer_with(Some(id), Answer::Cancelled);
        Ok(())
    }

    /// Answers with the receipt of a completed document.
    fn receipt(&mut self, document: Document) -> Result<(), Failure> {
        let phase = document.phase;
        let receipt = Receipt::of(document);
        let receipt = receipt.ok_or(Failure::Refused(Refusal::NotUploading(phase)))?;
        self.finish(receipt, false);
        Ok(())
    }

    fn finish(&mut self, receipt: Receipt, existing: bool) {
        let receipt = Arc::new(receipt);
        // A receipt asked for by number leaves the channel's own upload as it is.
        let other = matches!(&self.slot, Slot::Open(open) if receipt.document_id() != open.live.document_id);
        if !other {
            self.leave();
            self.slot = Slot::Done(Arc::clone(&receipt));
        }
        self.vacate();
        self.tell_completed(receipt, existing);
    }

    /// The step under way has only its last word to say: the channel is free for the
    /// client that hears it, however long the step takes to end.
    fn vacate(&self) {
        if self.taken.is_empty() && !matches!(self.slot, Slot::Open(_)) {
            self.vacated.store(true, Ordering::Release);
        }
    }

    /// What comes for an upload that was refused or is done is dropped in
    /// silence; what comes for none at all is a mistake of the client's.
    fn drop_or_complain(&self) -> Result<(), Failure> {
        if matches!(self.slot, Slot::Empty) { Err(Failure::NothingOpen) } else { Ok(()) }
    }

    /// Says no, and does what follows from it.
    fn refuse(&mut self, failure: &Failure) {
        failpoint::reach("refuse.begun");
        let Slot::Open(open) = &self.slot else {
            let id = if let Slot::Whole(id) = &self.slot { Some(*id) } else { None };
            if !matches!(self.slot, Slot::Done(_)) {
                self.slot = Slot::Refused;
            }
            self.service.storage_follows_catalog();
            self.vacate();
            self.refuse_with(failure, id);
            return;
        };
        // It stays in its slot until it is let go of: a panic on the way finds it there.
        let open = open.clone();
        let live = &open.live;
        if failure.is_fatal_to_upload() {
            self.service.fail(live, &live.recording(), failure);
            self.let_go(&open, failure);
            return;
        }
        if let Failure::Refused(Refusal::BlockMismatch { index }) = failure {
            if failpoint::is_faked("block.check") {
                return;
            }
            let block = *index..index.next();
            if let Err(failure) = live.withdraw(open.part.lease, &[block], &self.service.catalog) {
                self.let_go(&open, &failure);
                return;
            }
        }
        self.service.storage_follows_catalog();
        if failure.refuses_channel() {
            self.let_go(&open, failure);
        } else {
            self.refuse_with(failure, Some(live.document_id));
        }
    }

    /// Lets go of an upload because of what happened to it here. Where somebody has taken
    /// it over or given it up meanwhile, that is what happened, and they tell our client;
    /// who has completed it does not.
    fn let_go(&mut self, open: &Open, failure: &Failure) {
        self.slot = Slot::Refused;
        self.vacate();
        if self.pause(open) || open.live.ask(|upload| upload.phase() == Phase::Completed) {
            self.refuse_with(failure, Some(open.live.document_id));
        }
    }

    /// Lets go of the channel's upload, because the channel is wanted for another.
    fn leave_for_another(&mut self) {
        if let Slot::Open(open) = &self.slot {
            open.live.say_standing(|position, _| {
                self.tell(Some(open.live.document_id), EventKind::Progress(position));
            });
        }
        self.leave();
    }

    /// Lets go of the channel's upload, if it has one; says which one it was. It is
    /// paused by that where no other channel sends it.
    fn leave(&mut self) -> Option<Arc<Live>> {
        match std::mem::replace(&mut self.slot, Slot::Empty) {
            Slot::Open(open) => self.pause(&open).then_some(open.live),
            _ => None,
        }
    }

    fn pause(&self, open: &Open) -> bool {
        let was_in_force = open.live.release(open.part);
        if was_in_force {
            self.log_pause(&open.live);
            self.service.checkpoints.moved(&open.live, 0);
            self.service.mirror.changed();
            self.service.registry.paused(open.live.document_id);
            // Two of those before for each: ten thousand that pause at once look at twenty
            // thousand, and not each of them at all.
            self.service.close_idle(2);
        }
        was_in_force
    }

    fn log_pause(&self, live: &Live) {
        if self.is_cancelling || !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        live.ask(|upload| {
            if upload.phase() == Phase::Uploading && upload.lease().is_none() {
                let progress = upload.progress();
                let end = UploadEnd {
                    user: self.user,
                    document: live.document_id,
                    path: upload.path(),
                    filesize: progress.filesize(),
                };
                end.paused(&self.origin, self.since, progress.received().get());
            }
        });
    }

    fn refuse_with(&self, failure: &Failure, document: Option<DocumentId>) {
        if failure.is_for_operator() {
            self.service.summary.fault(document, failure);
            self.tell(document, EventKind::Rejected(failure.rejection()));
        } else if failure.is_cut_off() && self.service.stopping.is_cancelled() {
            self.reject(Rejection::new(RejectionKind::Stopping, STOPPING), document);
        } else {
            self.reject(failure.rejection(), document);
        }
    }

    /// Tells the client why a request was not done, and the log.
    fn reject(&self, rejection: Rejection, document: Option<DocumentId>) {
        self.service.summary.refused(&self.origin, self.user, document, &rejection);
        self.tell(document, EventKind::Rejected(rejection));
    }

    fn writer(&self) -> Writer {
        let (tag, events) = (self.tag, self.events.clone());
        Writer { tag, events, backlog: self.backlog.clone() }
    }

    fn answer_with(&self, document: Option<DocumentId>, answer: Answer) {
        self.tell(document, EventKind::Answer(Box::new(answer)));
    }

    fn tell_completed(&self, receipt: Arc<Receipt>, existing: bool) {
        self.tell(Some(receipt.document_id()), EventKind::Completed { receipt, existing });
    }

    fn tell(&self, document: Option<DocumentId>, kind: EventKind) {
        self.events.send(self.tag, document, kind);
    }
}

/// How often a resume looks at an upload that changes whenever it looks.
const LOOKS_MAX: usize = 64;

/// Said of long work that the server's stop has cut off.
const STOPPING: &str = "the server is stopping; what came is kept, come again";

/// Why a cancelled upload ended.
const GIVEN_UP: &str = "its owner gave it up";

/// What an upload has when a channel begins with it.
fn since(live: &Live) -> Since {
    Since::now(live.ask(|upload| upload.progress().received().get()))
}

/// Whether it is done in a moment, so that a batch may wait for it. The first bytes of a
/// file are as a rule all of a small one. Others take a thread of their own: a kernel that
/// lets dirty pages wait for the disk makes each *thread* that writes sleep, and a few
/// threads for a thousand uploads would sleep for all of them.
pub(crate) fn is_short(command: &Command) -> bool {
    match command {
        Command::Begin(_)
        | Command::Complete(_)
        | Command::Whole(_)
        | Command::Announce { .. }
        | Command::Reject { .. }
        | Command::Query(Query::Find { .. }) => true,
        Command::Data { offset, buffer } => {
            *offset == Offset::ZERO && buffer.bytes().len() <= WHOLE_BYTES_MAX
        }
        Command::Resume(_)
        | Command::Join { .. }
        | Command::Withdraw(_)
        | Command::Pull(_)
        | Command::Query(_) => false,
    }
}

/// Whether what a request says of the file is so of the document that it became: its size,
/// and its name, the one that was asked for or the one that it got.
fn check_same_file(request: &ResumeRequest, document: &Document) -> Result<(), Failure> {
    if request.filesize.is_some_and(|filesize| filesize != document.filesize) {
        return Err(Failure::Refused(Refusal::FileChanged { what: "filesize" }));
    }
    let got = document.file_path.as_ref().unwrap_or(&document.path);
    let names = [document.path.filename().as_str(), got.filename().as_str()];
    match &request.filename {
        Some(filename) if !names.contains(&filename.as_str()) => {
            Err(Failure::Refused(Refusal::FileChanged { what: "filename" }))
        }
        _ => Ok(()),
    }
}

/// The document, unless it has ended without one.
fn still_open(document: Document) -> Result<Document, Failure> {
    match document.phase {
        Phase::Failed | Phase::Cancelled | Phase::Expired => Err(Failure::Ended {
            phase: document.phase,
            reason: document.reason.unwrap_or_else(|| "begin it again".to_owned()),
        }),
        Phase::Uploading | Phase::Publishing | Phase::Completed => Ok(document),
    }
}

/// A range of blocks, as far as a file of that many has them.
fn within(range: &Range<BlockIndex>, count: u64) -> Option<Range<BlockIndex>> {
    let end = range.end.min(BlockIndex::new(count)?);
    (range.start < end).then_some(range.start..end)
}
