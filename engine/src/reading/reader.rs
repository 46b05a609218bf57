//! The reader of one session: what it does on a blocking thread, and what it waits for.

use super::QueuedRead;
use super::document_file::{self, DocumentFile, KnownBlocks, Opening, UnreadFile};
use super::room::{ReadBuffer, ReadRoom, ReadShare};
use crate::audit::{AuditAction, AuditRecord, AuditResult};
use crate::command::{ReadTarget, Verifier};
use crate::error::Error;
use crate::event::{EventKind, EventSender, Opened, Position, ReadEvent};
use crate::origin::Origin;
use crate::piece::Piece;
use crate::shared::Shared;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use towline_state::catalog::{DurableOffset, Located, Node, NodeRef};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{DocumentId, FileSize, Offset, UserId};
use towline_upload::Length;

/// See the module's description.
pub(crate) struct Reader {
    pub(super) shared: Arc<Shared>,
    user: UserId,
    origin: Origin,
    pub(super) events: EventSender,
    pub(super) ending: CancellationToken,
    pub(super) requests: mpsc::UnboundedReceiver<QueuedRead>,
    pub(super) room: ReadRoom,
    state: State,
    /// The document that was read last.
    known: Option<KnownBlocks>,
    /// The document that an observer has heard of last.
    observed: Option<DocumentId>,
}

enum State {
    /// No read is under way.
    Idle,
    /// The file has to be verified before its bytes are given out.
    Verifying(QueuedRead, Box<UnreadFile>),
    /// Bytes are given out.
    Giving(Giving),
}

/// A read under way.
struct Giving {
    read: QueuedRead,
    file: Box<DocumentFile>,
    /// What is still to be read.
    left: Range<Offset>,
}

/// What the reader waits for.
pub(super) enum Wants {
    /// The next read.
    Request,
    /// A buffer of that length.
    Room { bytes: usize },
    /// The permit to read a large file, to verify it.
    Permit,
}

/// What the reader has waited for.
pub(super) enum Given {
    Request(QueuedRead),
    Buffer(ReadBuffer),
    Permit(OwnedSemaphorePermit),
}

impl Reader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        (user, origin): (UserId, Origin),
        events: EventSender,
        ending: CancellationToken,
        requests: mpsc::UnboundedReceiver<QueuedRead>,
    ) -> Self {
        let share: &Arc<ReadShare> = &shared.read_share;
        let room = ReadRoom::new(share, user);
        let (state, known, observed) = (State::Idle, None, None);
        Self { shared, user, origin, events, ending, requests, room, state, known, observed }
    }

    pub(super) fn wants(&self) -> Wants {
        match &self.state {
            State::Idle => Wants::Request,
            State::Verifying(..) => Wants::Permit,
            State::Giving(giving) => {
                Wants::Room { bytes: giving.next_bytes().min(self.room.piece_bytes()) }
            }
        }
    }

    /// Works until something has to be waited for, or the session ends. Blocks.
    pub(super) fn work(&mut self, given: Given) {
        let mut given = Some(given);
        while let Some(next) = given.take().filter(|_| self.is_wanted()) {
            match next {
                Given::Request(read) => self.open(read),
                Given::Buffer(buffer) => self.give(buffer),
                Given::Permit(_permit) => self.verify(),
            }
            given = match self.wants() {
                Wants::Request => self.requests.try_recv().ok().map(Given::Request),
                Wants::Room { bytes } => self.room.try_take(bytes).map(Given::Buffer),
                Wants::Permit => None,
            };
        }
    }

    /// Whether events are given out and received.
    fn is_wanted(&self) -> bool {
        !self.ending.is_cancelled() && !self.events.is_closed()
    }

    fn open(&mut self, mut read: QueuedRead) {
        let located = self.locate(&mut read);
        match located.and_then(|id| document_file::open(&self.shared, self.user, id)) {
            Ok(Opening::Open(file)) => self.begin(read, file),
            Ok(Opening::Unread(file)) => {
                let is_large = file.is_large();
                self.state = State::Verifying(read, file);
                if !is_large {
                    self.verify();
                }
            }
            Err(error) => self.reject(read, &error),
        }
    }

    /// Finds the document that is to be read.
    fn locate(&self, read: &mut QueuedRead) -> Result<DocumentId, Error> {
        let id = match &read.request.target {
            ReadTarget::Version(id) => *id,
            ReadTarget::Current(node) => {
                let node = match self.shared.catalog.locate(self.user, node.clone()).wait()? {
                    Located::Living { node, .. } | Located::InTrash { node, .. } => node,
                    Located::Root => return Err(Error::NoBytes),
                };
                let id = node.version.as_ref().ok_or(Error::NoBytes)?.document_id;
                read.node = Some(Box::new(node));
                id
            }
        };
        read.id = Some(id);
        Ok(id)
    }

    fn verify(&mut self) {
        let mut say = self.says_read();
        let State::Verifying(read, file) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        let (filesize, ending) = (file.filesize(), self.ending.clone());
        let goes_on = &mut |at: Offset| {
            say(at);
            at == filesize.end() || !ending.is_cancelled()
        };
        match file.verify(&self.shared, goes_on) {
            Ok(file) => self.begin(read, Box::new(file)),
            Err(error) => self.reject(read, &error),
        }
    }

    /// Tells the client now and then how much of the file was read that has to be verified.
    pub(super) fn says_read(&self) -> impl FnMut(Offset) + Send + use<> {
        let about = match &self.state {
            State::Verifying(read, file) => Some((read.tag, read.id, file.filesize())),
            State::Idle | State::Giving(_) => None,
        };
        let every = self.shared.config.timings.report;
        let mut say =
            about.map(|(tag, id, filesize)| (self.events.now_and_then(tag, id, every), filesize));
        move |at| {
            if let Some((say, filesize)) = &mut say {
                say(&|| at_work(at, *filesize));
            }
        }
    }

    fn begin(&mut self, mut read: QueuedRead, mut file: Box<DocumentFile>) {
        if let Some(known) = self.known.take() {
            file.recall(known);
        }
        let (request, filesize) = (&read.request, file.filesize());
        if request.offset > filesize.end() {
            return self.reject(read, &Error::BehindEnd { filesize });
        }
        let end = request.length_bytes.map_or(Offset::MAX, |length| request.offset.plus(length));
        let left = request.offset..end.min(filesize.end());
        // The bytes of a whole file are compared with its hash when its read ends. A read of a part
        // has no such end, so where the values of the blocks are not known, they are found first
        // (P5).
        let is_part = !left.is_empty() && left != (Offset::ZERO..filesize.end());
        if is_part
            && request.verifier == Verifier::Engine
            && file.lacks_values(&self.shared, left.start)
        {
            self.state = State::Verifying(read, Box::new(file.into_unread()));
            return;
        }
        let node = read.node.take();
        self.observe_opened(&read, node.as_deref(), &file);
        let opened = Opened { node, filesize, hash: file.hash(), range: left.clone() };
        self.tell(&read, ReadEvent::Opened(opened));
        self.go_on(Giving { read, file, left });
    }

    fn give(&mut self, mut buffer: ReadBuffer) {
        let State::Giving(mut giving) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        let Giving { read, file, left } = &mut giving;
        let verifier = read.request.verifier;
        match file.read(&self.shared, left, verifier, &mut buffer.buffer) {
            Ok(value) => {
                let offset = left.start;
                let length_bytes = buffer.buffer.bytes().len() as u64;
                self.shared.metrics.counters.sent_bytes.add(length_bytes);
                left.start = offset.plus(length_bytes);
                let value = value.filter(|_| verifier == Verifier::Reader);
                self.tell(read, ReadEvent::Piece(Piece { offset, value, buffer }));
                self.go_on(giving);
            }
            Err(error) => self.reject(giving.read, &error),
        }
    }

    /// Goes on with a read, or ends it.
    fn go_on(&mut self, giving: Giving) {
        if !giving.left.is_empty() {
            self.state = State::Giving(giving);
            return;
        }
        let Giving { read: QueuedRead { tag, id, place, .. }, file, .. } = giving;
        self.known = Some(file.into_known());
        self.events.end_read(tag, id, EventKind::Read(ReadEvent::End), place);
    }

    fn tell(&self, read: &QueuedRead, event: ReadEvent) {
        self.events.send(read.tag, read.id, EventKind::Read(event));
    }

    /// Tells the observer that a document is given out. A client reads a large file in many parts:
    /// the observer hears of the first one, until another document is read.
    fn observe_opened(&mut self, read: &QueuedRead, node: Option<&Node>, file: &DocumentFile) {
        if !self.origin.is_observed() || self.observed == read.id {
            return;
        }
        self.observed = read.id;
        self.origin.observe(|| {
            let record = record_of(read, self.user);
            AuditRecord {
                node: node.map(|node| node.node_id),
                path: record.path.or_else(|| file.path()),
                bytes: Some(file.filesize().get()),
                ..record
            }
        });
    }

    /// Ends a read with an error. A fault that the operator has to repair has a log line of its own.
    fn reject(&mut self, read: QueuedRead, error: &Error) {
        let rejection = error.rejection_while(self.shared.stopping.is_cancelled());
        self.observed = None;
        self.shared.metrics.refusals.increment(rejection.kind.as_str());
        self.origin.observe(|| AuditRecord {
            result: AuditResult::Refused(rejection.clone()),
            ..record_of(&read, self.user)
        });
        let QueuedRead { tag, id, place, .. } = read;
        if error.is_for_operator() {
            self.shared.summary.fault(id, error);
        } else {
            self.shared.summary.refused(&self.origin, self.user, id, &rejection);
        }
        self.events.end_read(tag, id, EventKind::Rejected(rejection), place);
    }
}

impl Giving {
    /// How many bytes are left of the range in the block under way.
    fn next_bytes(&self) -> usize {
        let Range { start, end } = &self.left;
        let in_block = BLOCK_SIZE_BYTES - start.get() % BLOCK_SIZE_BYTES;
        usize::try_from(in_block.min(end.get() - start.get())).expect("a block fits in memory")
    }
}

/// What is known of a read before its document is open.
fn record_of(read: &QueuedRead, user: UserId) -> AuditRecord {
    let (node, path) = match &read.request.target {
        ReadTarget::Version(_) => (None, None),
        ReadTarget::Current(NodeRef::Id(id)) => (Some(*id), None),
        ReadTarget::Current(NodeRef::Path(path)) => (None, Some(path.to_string())),
    };
    AuditRecord { document: read.id, node, path, ..AuditRecord::done(AuditAction::Read, user) }
}

/// How far a file is read that has to be verified.
fn at_work(received: Offset, filesize: FileSize) -> EventKind {
    let (durable, length) = (DurableOffset::NOTHING, Length::Declared(filesize));
    EventKind::AtWork { position: Position { received, durable, length }, copied: None }
}
