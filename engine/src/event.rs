//! What the engine tells a door, for the client behind it.

use crate::error::Error;
use crate::page_hold::PageHold;
use crate::piece::Piece;
use crate::receipt::Receipt;
use crate::rejection::Rejection;
use crate::tree::request::TreeAnswer;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use towline_state::catalog::{Availability, DurableOffset, Node};
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, DocumentPath, FileHash, FileSize, Generation, NodeId,
    Offset, Sha256Hash, Timestamp,
};
use towline_upload::{Length, Phase};

/// The number of events that may wait in one queue before reports of progress are left
/// out: the next report says all that the one before it would have said.
const BACKLOG_MAX: usize = 256;

/// Which writer of its session an event is for. The door chooses the numbers; the TCP door uses the
/// number of the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(
    /// The number.
    pub u32,
);

/// Something for the client.
#[derive(Debug)]
pub struct Event {
    /// The writer.
    pub tag: Tag,
    /// The document that it is about, where there is one.
    pub document: Option<DocumentId>,
    /// What happened.
    pub kind: EventKind,
    /// With the end of a read, or its refusal: its place among the reads of its session, which is
    /// free when the event is dropped.
    pub(crate) _place: Option<OwnedSemaphorePermit>,
}

/// What an event says.
#[derive(Debug)]
pub enum EventKind {
    /// The writer may send bytes from `offset` on.
    Granted(Grant),
    /// Blocks are taken back; the writer goes on at `offset`.
    Withdrawn {
        /// The first byte that is missing.
        offset: Offset,
        /// The length of the whole file, as far as it is known.
        length: Length,
    },
    /// How far the upload is.
    Progress(Position),
    /// How far some work is that takes long, and that the client waits for. While such events come,
    /// a door should not count the client as idle, though the client sends nothing.
    AtWork {
        /// How far it is.
        position: Position,
        /// How many bytes were copied to another disk; none where the work is not such a copy.
        copied: Option<Offset>,
    },
    /// The document is in its place.
    Completed {
        /// The proof.
        receipt: Arc<Receipt>,
        /// The document was there already: no byte had to be sent or copied.
        existing: bool,
    },
    /// The upload is given up, as the client has asked.
    Cancelled,
    /// The answer to a request about the user's files, folders and links.
    Tree(Box<TreeAnswer>),
    /// The answer to a question.
    Answer(Box<Answer>),
    /// What comes of a [read](crate::Session::read).
    Read(ReadEvent),
    /// A request was not done, or an upload has ended without a document.
    Rejected(Rejection),
    /// The code behind a writer has panicked; the session must end.
    Panicked,
}

/// The events of one read: the document is open, the pieces of the range follow each other, and the
/// last one is followed by the end. A [rejection](EventKind::Rejected) at any time ends the read.
#[derive(Debug)]
pub enum ReadEvent {
    /// The document is open.
    Opened(Opened),
    /// The next bytes.
    Piece(Piece),
    /// All bytes of the range were given out.
    End,
}

/// What is known of a document that was opened to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The file, where the request named one and not a version.
    pub node: Option<Box<Node>>,
    /// The length of the whole file in bytes.
    pub filesize: FileSize,
    /// The hash of the whole file.
    pub hash: FileHash,
    /// What is read of it.
    pub range: Range<Offset>,
}

/// A right to write.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// The request that it answers.
    pub by: GrantedBy,
    /// The first byte that is missing.
    pub offset: Offset,
    /// The length of the whole file, as far as it is known.
    pub length: Length,
    /// The lease, with which further writers may join. None for a file that came whole: it was
    /// published before another writer could join.
    pub lease: Option<Generation>,
}

/// The request that a grant answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantedBy {
    /// A new upload.
    Begin,
    /// An upload that goes on.
    Resume,
    /// A further writer of an upload.
    Join,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Every byte before it is here and verified.
    pub received: Offset,
    /// Every byte before it survives a power cut.
    pub durable: DurableOffset,
    /// The length of the whole file, as far as it is known.
    pub length: Length,
}

/// The answer to a question.
#[derive(Debug)]
pub enum Answer {
    /// All commands before it are done.
    Fence,
    /// What is known of bytes that a client has.
    Found(Found),
    /// How a document stands.
    Status(Status),
    /// The ranges of an upload that are here, in bytes, ascending and with a gap between them.
    /// Nothing is promised of them but what the durable offset says.
    ReceivedRanges(Vec<Range<u64>>),
    /// A page of the blocks that the server holds. The next one is made when this is dropped.
    HeldBlocks {
        /// Each with its value, in the order of the file.
        blocks: Vec<(BlockIndex, ChainingValue)>,
        /// How many there were in all pages of the answer; none where another page follows.
        count: Option<u64>,
        /// What ends when the door drops this page.
        hold: PageHold,
    },
}

/// What is known of bytes that a client has.
#[derive(Debug)]
pub struct Found {
    /// The user has a complete document of that size.
    pub same_size: bool,
    /// The document that has this very place and these bytes.
    pub same_place: Option<DocumentId>,
    /// A document elsewhere has these bytes.
    pub is_known: bool,
    /// An unfinished upload to this place, and how much of it is durable.
    pub unfinished: Option<(DocumentId, DurableOffset)>,
}

/// How a document stands.
#[derive(Debug)]
pub struct Status {
    /// Where the upload is in its life.
    pub phase: Phase,
    /// The folder and name that it has, or asks for.
    pub path: DocumentPath,
    /// Whether it is given out, once it is completed.
    pub availability: Availability,
    /// How far it is.
    pub position: Position,
    /// A writer has its lease.
    pub is_active: bool,
    /// The hash of the whole, once it is known.
    pub hash: Option<FileHash>,
    /// The SHA-256 hash of the whole, where one was wanted and is known.
    pub sha256: Option<Sha256Hash>,
    /// The file, link or folder that the document is a version of, once it is published.
    pub node_id: Option<NodeId>,
    /// The chunk size in bytes that the client meant to send in.
    pub chunk_size: Option<u32>,
    /// When the upload began.
    pub started_at: Timestamp,
    /// When it became complete.
    pub created_at: Option<Timestamp>,
    /// When the upload is given up if no byte comes.
    pub expires_at: Option<Timestamp>,
    /// Why it ended without a document.
    pub reason: Option<String>,
}

impl Status {
    /// Why the bytes of the document are not given out, where it is complete and they are not.
    #[must_use]
    pub fn held(&self) -> Option<Rejection> {
        let is_held = !self.availability.is_available();
        is_held.then(|| Error::Held(self.availability).rejection())
    }
}

/// The sending end of the queue of one session. The queue is bounded: a session takes no more
/// requests while answers wait, long answers are few, and reports of progress are left out while it
/// [is backed up](Self::is_backed_up). An event for a session that has ended is dropped. A session
/// that is ending waits a moment until the last sender is dropped.
#[derive(Debug, Clone)]
pub(crate) struct EventSender {
    sender: mpsc::UnboundedSender<Event>,
    waiting: Arc<AtomicUsize>,
    listening: Arc<Listening>,
}

/// What a session waits for besides its uploads.
#[derive(Debug, Default)]
struct Listening {
    /// A question for changes waits for one.
    is_waiting: AtomicBool,
    /// Ends the watch of the session.
    watch: Mutex<Option<CancellationToken>>,
}

/// The receiving end of the queue of one session, for its door.
#[derive(Debug)]
pub struct EventReceiver {
    receiver: mpsc::UnboundedReceiver<Event>,
    waiting: Arc<AtomicUsize>,
}

/// A queue of events.
pub(crate) fn queue() -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let (here, listening) = (Arc::clone(&waiting), Arc::default());
    (EventSender { sender, waiting: here, listening }, EventReceiver { receiver, waiting })
}

impl EventSender {
    pub(crate) fn send(&self, tag: Tag, document: Option<DocumentId>, kind: EventKind) {
        self.send_event(Event { tag, document, kind, _place: None });
    }

    /// Sends the last event of a read. The read counts among those of its session until the door
    /// has taken the event: so a session that waits for the end of its reads has all their answers
    /// then, and a client that has the answer may send another read.
    pub(crate) fn end_read(
        &self,
        tag: Tag,
        document: Option<DocumentId>,
        kind: EventKind,
        place: OwnedSemaphorePermit,
    ) {
        self.send_event(Event { tag, document, kind, _place: Some(place) });
    }

    fn send_event(&self, event: Event) {
        // Counted before the event can be taken, so that the count never goes below zero.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _ = self.sender.send(event);
    }

    /// What sends an event at most once in `every`, and none while the client does not read: for
    /// reports of work that takes long.
    pub(crate) fn now_and_then(
        &self,
        tag: Tag,
        document: Option<DocumentId>,
        every: Duration,
    ) -> impl FnMut(&dyn Fn() -> EventKind) + Send + use<> {
        let events = self.clone();
        let mut reported = Instant::now();
        move |kind| {
            if reported.elapsed() >= every && !events.is_backed_up() {
                reported = Instant::now();
                events.send(tag, document, kind());
            }
        }
    }

    /// Whether the session has ended, so that no event is received any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Takes the place of the one question that may wait for a change; returns whether it was free.
    pub(crate) fn begin_wait(&self) -> bool {
        !self.listening.is_waiting.swap(true, Ordering::AcqRel)
    }

    /// Gives that place back.
    pub(crate) fn end_wait(&self) {
        self.listening.is_waiting.store(false, Ordering::Release);
    }

    /// Begins the watch of the session, and ends an earlier one. The token is cancelled when a
    /// later one begins.
    pub(crate) fn begin_watch(&self) -> CancellationToken {
        let token = CancellationToken::new();
        let watch = self.listening.watch.lock();
        let earlier = watch.unwrap_or_else(PoisonError::into_inner).replace(token.clone());
        if let Some(earlier) = earlier {
            earlier.cancel();
        }
        token
    }

    /// Waits until no event is received any more. Cancel-safe.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Whether [`BACKLOG_MAX`] events wait: then a report is left out, and the next one says
    /// everything that it would have said.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= BACKLOG_MAX
    }
}

impl EventReceiver {
    /// The next event; none where no sender is left. Cancel-safe: the event is taken, or
    /// it is still there.
    pub async fn recv(&mut self) -> Option<Event> {
        let event = self.receiver.recv().await;
        self.waiting.fetch_sub(usize::from(event.is_some()), Ordering::Relaxed);
        event
    }

    /// How many events wait.
    #[allow(clippy::len_without_is_empty, reason = "a number to compare with a limit")]
    pub fn len(&self) -> usize {
        self.receiver.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_read_backs_up_and_what_is_read_makes_room() {
        let (events, mut heard) = queue();
        let others = events.clone();
        let send = |sender: &EventSender| sender.send(Tag(1), None, EventKind::Panicked);
        for _ in 0..BACKLOG_MAX {
            assert!(!events.is_backed_up());
            send(&others);
        }
        assert!(events.is_backed_up());
        assert_eq!(heard.len(), BACKLOG_MAX);
        assert!(heard.recv().await.is_some());
        assert!(!events.is_backed_up());
        while heard.len() > 0 {
            heard.recv().await;
        }
        for _ in 0..BACKLOG_MAX {
            assert!(!events.is_backed_up());
            send(&events);
        }
        assert!(events.is_backed_up());
    }
}
