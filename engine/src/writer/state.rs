//! A writer, and which upload or document it has.

use crate::active::in_flight::InFlight;
use crate::active::{ActiveUpload, Subscriber, WriterId};
use crate::audit::AuditRecord;
use crate::command::Command;
use crate::event::{EventSender, Tag};
use crate::log::Since;
use crate::origin::Origin;
use crate::receipt::Receipt;
use crate::shared::Shared;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio_util::sync::CancellationToken;
use towline_types::{DocumentId, OnConflict, UserId};
use towline_upload::Length;

/// The largest file that is published while other writers of the batch wait for it, in bytes.
pub(super) const SHORT_FILE_BYTES: u64 = 256 << 10;

/// One writer of one session: its commands are done in order, each to its end before the next.
/// All of it blocks, and runs in the writer's lane, off the async threads.
pub(crate) struct OrderedWriter {
    pub(super) shared: Arc<Shared>,
    pub(super) user: UserId,
    pub(super) origin: Origin,
    pub(super) tag: Tag,
    pub(super) events: EventSender,
    pub(super) in_flight: InFlight,
    /// Cancelled when the session, or the engine, comes to its end.
    pub(super) ending: CancellationToken,
    /// Cancelled when no further page of a long answer is made: the session has ended and its
    /// client does not wait for its answers, or the engine stops.
    pub(super) answers_end: CancellationToken,
    pub(super) state: WriterState,
    /// When this writer began with its upload, for the log.
    pub(super) since: Since,
    /// The permits of the command under way. A long answer takes its permit along.
    pub(super) permits: Permits,
    /// A command is between two steps.
    pub(super) is_under_way: bool,
    /// Commands that are done before those of the queue: those of a small file that came as one
    /// command and takes the steps of a resumable upload.
    pub(super) unfolded: VecDeque<QueuedCommand>,
    /// See [`Handler::vacated`](crate::lane::Handler::vacated).
    pub(super) vacated: Arc<AtomicBool>,
    /// The record of the command under way, if an observer hears of it and it has no answer yet.
    pub(super) asked: Option<Box<AuditRecord>>,
    /// The document of this writer is being copied to another file system, or waits for its permit.
    pub(super) is_copying: watch::Sender<bool>,
}

/// What a writer has.
pub(super) enum WriterState {
    /// Nothing yet.
    Idle,
    /// An upload that this writer writes to, or did until another one took it over.
    Active(OpenUpload),
    /// A file that came whole and has its name.
    Whole(DocumentId),
    /// An upload that another writer of its lease has completed, of which this writer's client was
    /// told nothing: what still comes for it is dropped, and `complete` gets the receipt.
    CompletedByAnother(DocumentId),
    /// A request was refused: what still comes for it is dropped.
    Rejected,
    /// The document is complete: what still comes for it is dropped.
    Completed(Arc<Receipt>),
}

/// The upload that a writer writes to.
#[derive(Clone)]
pub(super) struct OpenUpload {
    pub(super) active: Arc<ActiveUpload>,
    pub(super) writer: WriterId,
    pub(super) on_conflict: OnConflict,
    pub(super) room: Room,
}

/// Whether it was looked whether the disk has room for the whole file of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It was, and the store reserves space as bytes come.
    Expected,
    /// The length of the file was not declared when the writer began: each write has to leave
    /// free what uploads never use.
    Unknown,
}

impl Room {
    pub(super) const fn of(length: Length) -> Self {
        match length {
            Length::Declared(_) => Self::Expected,
            Length::Open { .. } => Self::Unknown,
        }
    }
}

/// Something to be done by a writer.
pub(crate) enum Task {
    /// What the door asks.
    Command(Command),
    /// The session has ended. Answers with the upload that the writer lets go of.
    Release(oneshot::Sender<Option<Arc<ActiveUpload>>>),
}

/// A task, and what it takes of its session.
pub(crate) struct QueuedCommand {
    pub(crate) task: Task,
    pub(crate) permits: Permits,
}

/// What a command takes of its session until it is done: the session bounds how many requests, and
/// how much payload, may wait at the same time (P6).
#[derive(Debug, Default)]
pub(crate) struct Permits {
    pub(crate) requests: Option<OwnedSemaphorePermit>,
    pub(crate) payload: Option<OwnedSemaphorePermit>,
}

impl Permits {
    pub(super) fn merge(&mut self, other: Self) {
        merge(&mut self.requests, other.requests);
        merge(&mut self.payload, other.payload);
    }
}

/// Both permits are of the same semaphore.
fn merge(permit: &mut Option<OwnedSemaphorePermit>, other: Option<OwnedSemaphorePermit>) {
    match (permit.as_mut(), other) {
        (Some(permit), Some(other)) => permit.merge(other),
        (None, Some(other)) => *permit = Some(other),
        (_, None) => {}
    }
}

impl OrderedWriter {
    pub(crate) fn new(
        shared: Arc<Shared>,
        (user, origin): (UserId, Origin),
        tag: Tag,
        events: EventSender,
        in_flight: InFlight,
        (ending, answers_end): (CancellationToken, CancellationToken),
    ) -> Self {
        Self {
            shared,
            user,
            origin,
            since: Since::now(0),
            tag,
            events,
            in_flight,
            ending,
            answers_end,
            state: WriterState::Idle,
            permits: Permits::default(),
            is_under_way: false,
            unfolded: VecDeque::new(),
            vacated: Arc::default(),
            asked: None,
            is_copying: watch::Sender::new(false),
        }
    }

    /// Whether the document of the writer is being copied to another file system, or waits for its
    /// permit: that may take long, and needs no client.
    pub(crate) fn is_copying(&self) -> watch::Receiver<bool> {
        self.is_copying.subscribe()
    }

    /// The subscriber by which an upload tells this writer of its end.
    pub(super) fn subscriber(&self) -> Subscriber {
        let (tag, events) = (self.tag, self.events.clone());
        Subscriber { tag, events, in_flight: self.in_flight.clone() }
    }
}
