//! What one connection may have under way: its writers, each with a lane of its own, and limits for
//! the requests and the payload that wait for them (P6).

use crate::active::ActiveUpload;
use crate::active::in_flight::InFlight;
use crate::buffer::{self, BlockBuffer};
use crate::command::{Command, Query, ReadRequest, RejectedRequest};
use crate::data_source::DataSource;
use crate::event::{self, Event, EventReceiver, EventSender, Tag};
use crate::lane::{Lane, WorkerPool};
use crate::origin::Origin;
use crate::reading::{Reader, Reads};
use crate::rejection::{Rejection, RejectionKind};
use crate::shared::Shared;
use crate::writer::{self, OrderedWriter, Permits, QueuedCommand, Task};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use towline_types::UserId;

/// How many requests of one session may wait or be under way, with the answers that wait.
pub const REQUESTS_MAX: u32 = 256;

/// The permits of a request. A request as short as the value of a block takes one permit.
const REQUEST_PERMITS: u32 = 4;

/// The permits of a request whose answer may be long.
const LONG_ANSWER_PERMITS: u32 = REQUESTS_MAX / 4 * REQUEST_PERMITS;

/// See the module's description.
pub struct Session {
    shared: Arc<Shared>,
    workers: Arc<WorkerPool<OrderedWriter>>,
    user: UserId,
    origin: Origin,
    /// How many writers there may be at the same time, besides `askers`.
    writers_max: usize,
    events: EventSender,
    writers: Writers,
    /// Writers for questions and cancels alone, which are used when there are `writers_max` writers.
    askers: Writers,
    /// A writer whose lane has commands for which no thread was woken: the rest of a small file may
    /// be here already, and then the whole file is done at once.
    held_back: Option<Tag>,
    /// Cancelled when the session, or the engine, comes to its end.
    ending: CancellationToken,
    /// The parent of `ending`: cancelled when no further page of a long answer is made. That is
    /// later, where the client [waits for its answers](Client::AwaitsAnswers).
    answers_end: CancellationToken,
    /// A session that is dropped has come to its end as well.
    _end: DropGuard,
    payload: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    reads: Reads,
}

type Writers = HashMap<Tag, WriterSlot>;

struct WriterSlot {
    lane: Lane<OrderedWriter>,
    in_flight: InFlight,
    is_copying: watch::Receiver<bool>,
}

/// What a writer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    /// Uploads, and everything else that is asked under its tag.
    Upload,
    /// A question or a cancel alone: used when there are `writers_max` writers.
    Question,
}

/// What the client of a session that ends still receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The client asks nothing more, and waits for every answer, also for all pages of a long one.
    /// The next page is made when the door has dropped the one before it. So the door receives
    /// events while it waits for [`Session::close`], or drops the [`EventReceiver`]: otherwise the
    /// session would never be closed.
    AwaitsAnswers,
    /// The client waits for the last events. A long answer is cut off.
    Listens,
    /// Its connection is broken.
    Gone,
}

/// A command for which the session has a writer, and that waits for its permits.
pub struct Admitted {
    tag: Tag,
    command: Command,
    semaphore: Arc<Semaphore>,
    permits: u32,
    granted: Option<OwnedSemaphorePermit>,
    seat: Seat,
}

impl Session {
    /// A session of that user, and the events for the client behind it.
    pub(crate) fn new(
        (shared, workers): (Arc<Shared>, Arc<WorkerPool<OrderedWriter>>),
        user: UserId,
        origin: Origin,
        writers_max: usize,
    ) -> (Self, EventReceiver) {
        let (events, receiver) = event::queue();
        let payload = shared.config.limits.buffers_per_session * buffer::UNITS as usize;
        let answers_end = shared.stopping.child_token();
        let session = Self {
            ending: answers_end.child_token(),
            _end: answers_end.clone().drop_guard(),
            answers_end,
            shared,
            workers,
            user,
            origin,
            writers_max,
            events,
            writers: HashMap::new(),
            askers: HashMap::new(),
            held_back: None,
            payload: Arc::new(Semaphore::new(payload)),
            requests: Arc::new(Semaphore::new((REQUESTS_MAX * REQUEST_PERMITS) as usize)),
            reads: Reads::new(),
        };
        (session, receiver)
    }

    /// Takes a command for a writer. The door gives the answer to [`push`](Self::push) once its
    /// permits are granted, and until then reads nothing more from its client. The answer is none
    /// if the command follows a request that was refused: then it is dropped.
    ///
    /// # Errors
    /// Where the session has as many writers as it may have. This is said once for each request,
    /// and not for the data that follows it.
    pub fn admit(&mut self, tag: Tag, mut command: Command) -> Result<Option<Admitted>, Rejection> {
        if self.held_back != Some(tag) {
            self.release_held_back();
        }
        let Some(seat) = self.find_room(tag, &command)? else { return Ok(None) };
        let slot = self.slot(tag, seat);
        let (permits, is_payload) = match payload(&mut command) {
            Some(buffer) => {
                slot.in_flight.arrived();
                buffer.pack();
                (buffer.units(), true)
            }
            None => (request_permits(&command), false),
        };
        let semaphore = Arc::clone(if is_payload { &self.payload } else { &self.requests });
        let granted = Arc::clone(&semaphore).try_acquire_many_owned(permits).ok();
        if granted.is_none() {
            // Commands in the lane of this very writer may have the permits.
            self.slot(tag, seat).lane.wake();
        }
        Ok(Some(Admitted { tag, command, semaphore, permits, granted, seat }))
    }

    /// Which kind of writer that command gets; none if the command is to be dropped.
    fn find_room(&mut self, tag: Tag, command: &Command) -> Result<Option<Seat>, Rejection> {
        if !self.writers.contains_key(&tag) && self.writers.len() >= self.writers_max {
            self.writers.retain(|_, slot| !slot.lane.is_vacant());
        }
        if self.writers.len() < self.writers_max || self.writers.contains_key(&tag) {
            return Ok(Some(Seat::Upload));
        }
        match command {
            // A question, a cancel, or a request about the tree, names what it is about and keeps nothing open: the tag only says
            // where the answer goes. There are never more of these writers than permits for
            // requests, since those whose question is answered are removed first.
            Command::Query(_)
            | Command::Cancel(_)
            | Command::Tree(_)
            | Command::Reject {
                request: RejectedRequest::Query | RejectedRequest::Tree(_), ..
            } => {
                self.askers.retain(|_, slot| !slot.lane.is_vacant());
                Ok(Some(Seat::Question))
            }
            Command::Begin(_)
            | Command::Resume(_)
            | Command::Join { .. }
            | Command::Withdraw(_)
            | Command::Declare(_)
            | Command::Complete(_)
            | Command::Whole(_)
            | Command::Reject { .. } => {
                let kind = RejectionKind::TooMany { max: self.writers_max as u64 };
                Err(Rejection::new(kind, TOO_MANY))
            }
            Command::Data { .. }
            | Command::Announce { .. }
            | Command::BeginRequest(_)
            | Command::EndRequest(_)
            | Command::Pull(_) => Ok(None),
        }
    }

    fn slot(&mut self, tag: Tag, seat: Seat) -> &WriterSlot {
        let writers = match seat {
            Seat::Upload => &mut self.writers,
            Seat::Question => &mut self.askers,
        };
        writers.entry(tag).or_insert_with(|| {
            let in_flight = InFlight::default();
            let writer = OrderedWriter::new(
                Arc::clone(&self.shared),
                (self.user, self.origin.clone()),
                tag,
                self.events.clone(),
                in_flight.clone(),
                (self.ending.clone(), self.answers_end.clone()),
            );
            let is_copying = writer.is_copying();
            WriterSlot {
                lane: Lane::new(self.user, writer, Arc::clone(&self.workers)),
                in_flight,
                is_copying,
            }
        })
    }

    /// Puts a command into its writer's lane. Returns at once.
    pub fn push(&mut self, admitted: Admitted) {
        let Admitted { tag, mut command, granted, seat, .. } = admitted;
        let is_part_of_small_file = match &command {
            Command::Begin(_) => true,
            Command::Data { .. } | Command::Announce { .. } => {
                self.held_back == Some(tag) && writer::is_short(&command)
            }
            _ => false,
        };
        let permits = match payload(&mut command) {
            Some(_) => Permits { payload: granted, requests: None },
            None => Permits { requests: granted, payload: None },
        };
        let queued = QueuedCommand { task: Task::Command(command), permits };
        let slot = self.slot(tag, seat);
        if is_part_of_small_file {
            slot.lane.push_without_wake(queued);
            self.held_back = Some(tag);
        } else {
            slot.lane.push(queued);
            self.held_back = None;
        }
    }

    /// Reads a part of a completed document. Returns at once: the events of the read follow, with
    /// this tag, when the earlier reads of the session are over. No writer waits for a read, also
    /// not the one with the same tag.
    ///
    /// # Errors
    /// `TooMany` where [`READS_MAX`](crate::READS_MAX) reads of the session are not over.
    pub fn read(&mut self, tag: Tag, request: ReadRequest) -> Result<(), Rejection> {
        let Self { shared, user, origin, events, answers_end, reads, .. } = self;
        reads.push(tag, request, |requests| {
            let (shared, client) = (Arc::clone(shared), (*user, origin.clone()));
            Reader::new(shared, client, events.clone(), answers_end.clone(), requests)
        })
    }

    /// Drops a command that was admitted, because the session is to end.
    pub fn give_back(&mut self, mut admitted: Admitted) {
        if payload(&mut admitted.command).is_some() {
            self.slot(admitted.tag, admitted.seat).in_flight.done();
        }
    }

    /// Whether a writer has commands for which no thread was woken. A door that has nothing more to
    /// read at once calls [`release_held_back`](Self::release_held_back).
    pub fn is_holding_back(&self) -> bool {
        self.held_back.is_some()
    }

    /// Has a thread do the commands that were held back.
    pub fn release_held_back(&mut self) {
        if let Some(slot) = self.held_back.take().and_then(|tag| self.writers.get(&tag)) {
            slot.lane.wake();
        }
    }

    /// Lets a writer fetch its data by itself, if a thread is free for that: there are as many such
    /// threads as cores.
    pub fn lend(
        &mut self,
        tag: Tag,
        source: impl FnOnce(OwnedSemaphorePermit) -> Option<Box<dyn DataSource>>,
    ) {
        let Some(slot) = self.writers.get(&tag) else { return };
        let permit = Arc::clone(&self.shared.loans).try_acquire_owned();
        if let Some(source) = permit.ok().and_then(source) {
            let task = Task::Command(Command::Pull(source));
            slot.lane.push(QueuedCommand { task, permits: Permits::default() });
        }
    }

    /// Tells long work of this session, such as the reading of a large file, that it is to end
    /// soon; the same for long answers, unless the client [waits for
    /// them](Client::AwaitsAnswers).
    pub fn begin_end(&self, client: Client) {
        match client {
            Client::AwaitsAnswers => self.ending.cancel(),
            Client::Listens | Client::Gone => self.answers_end.cancel(),
        }
    }

    /// Lets go of every upload, after all queued commands, and makes their bytes durable. Events
    /// may come afterwards, from other sessions that end one of these uploads, until the receiver
    /// says that no sender is left.
    ///
    /// If the [client is gone](Client::Gone), this does not wait for a document that is being
    /// copied to another file system: the copy needs no session, and may take an hour, for which
    /// this session would take one of the places for sessions.
    ///
    /// Not cancel-safe: dropped, the uploads are paused all the same, and nothing waits until their
    /// bytes are durable.
    pub async fn close(mut self, client: Client) -> Closed {
        self.begin_end(client);
        let slots = self.writers.drain().chain(self.askers.drain());
        let waits: Vec<_> = slots
            .map(|(tag, slot)| {
                let (done, wait) = oneshot::channel();
                let task = Task::Release(done);
                slot.lane.push(QueuedCommand { task, permits: Permits::default() });
                (tag, wait, slot.is_copying)
            })
            .collect();
        let mut paused = Vec::new();
        for (tag, wait, mut is_copying) in waits {
            let copies = async {
                if client != Client::Gone || is_copying.wait_for(|copies| *copies).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let released = tokio::select! {
                biased;
                released = wait => released,
                () = copies => Ok(None),
            };
            if let Ok(Some(active)) = released {
                paused.push((tag, active));
            }
        }
        if !paused.is_empty() {
            let paused = paused.iter().map(|(_, active)| Arc::clone(active));
            self.shared.checkpoints.pause(paused).await;
        }
        if client == Client::AwaitsAnswers {
            self.reads.over().await;
        }
        Closed { shared: Arc::clone(&self.shared), paused }
    }
}

impl Drop for Session {
    /// A session that is dropped and was not [closed](Self::close) pauses its uploads as well, in
    /// the lanes of its writers. That may wait for another writer of an upload, which the thread
    /// that drops a session, an async thread as a rule, must not do.
    fn drop(&mut self) {
        if Handle::try_current().is_err() {
            // Without a runtime there is no other thread: the drop of each writer does it here.
            return;
        }
        for (_, slot) in self.writers.drain() {
            if !slot.lane.is_vacant() {
                let (done, _) = oneshot::channel();
                let task = Task::Release(done);
                slot.lane.push(QueuedCommand { task, permits: Permits::default() });
            }
        }
    }
}

/// The bytes of a command that are to be written to a file.
fn payload(command: &mut Command) -> Option<&mut BlockBuffer> {
    match command {
        Command::Data { buffer, .. } => Some(buffer),
        Command::Whole(whole) => Some(&mut whole.data),
        _ => None,
    }
}

/// The permits of a command without payload.
fn request_permits(command: &Command) -> u32 {
    match command {
        Command::Query(Query::HeldBlocks { .. }) => LONG_ANSWER_PERMITS,
        Command::Tree(request) if request.has_long_answer() => LONG_ANSWER_PERMITS,
        Command::Announce { .. } | Command::Complete(_) => 1,
        _ => REQUEST_PERMITS,
    }
}

impl Admitted {
    /// Whether the permits are there.
    pub fn is_granted(&self) -> bool {
        self.granted.is_some()
    }

    /// Waits for the permits, at most until the lanes have done their queued commands. Cancel-safe:
    /// a wait that is given up loses its place in the queue for permits, and nothing else.
    pub async fn granted(&mut self) {
        if self.granted.is_none() {
            let waiting = Arc::clone(&self.semaphore).acquire_many_owned(self.permits);
            self.granted = waiting.await.ok();
        }
    }
}

/// A session that has let go of its uploads.
pub struct Closed {
    shared: Arc<Shared>,
    paused: Vec<(Tag, Arc<ActiveUpload>)>,
}

impl Closed {
    /// The last event of each upload that the session has let go of: how far it is, or how it
    /// ended.
    pub async fn last_events(self) -> Vec<Event> {
        let Self { shared, paused } = self;
        // The position of an upload is behind a lock, for which this may have to wait while bytes
        // are written.
        let asking = shared.tracker.spawn_blocking(move || {
            let last = |(tag, active): (Tag, Arc<ActiveUpload>)| {
                let document = Some(active.document_id);
                Event { tag, document, kind: active.last_word(), _place: None }
            };
            paused.into_iter().map(last).collect()
        });
        asking.await.unwrap_or_default()
    }
}

/// The rejection of a request for which the session has no writer left.
const TOO_MANY: &str = "too many uploads and questions at the same time on one connection; finish \
                        one first";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use tokio::runtime::Handle;
    use tokio::task::block_in_place;

    /// A door may drop a session, or the future of a question, when its client is gone: then no
    /// large file is read for it any more.
    #[tokio::test(flavor = "multi_thread")]
    async fn long_work_ends_with_a_session_that_is_dropped() {
        let open = || Engine::open_in_memory(1 << 20, &Handle::current());
        let engine = block_in_place(open).unwrap();
        let user = engine.add_user("ada").await.unwrap().user_id;
        let (session, _events) = engine.account(user, Origin::new("a test")).session(1);
        let ending = session.ending.clone();
        assert!(!ending.is_cancelled());
        drop(session);
        assert!(ending.is_cancelled());
    }
}
