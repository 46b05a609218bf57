//! One connection, from login to its end: what comes in is put into the lane of
//! its channel, what the lanes say goes out. A session decides nothing.

use crate::access::Access;
use crate::backlog::Backlog;
use crate::channel::{self, ChannelDesk, Queued, Task};
use crate::command::{Command, Query, RejectedRequest};
use crate::event::{self, Event, EventKind, EventReceiver, EventSender};
use crate::inlet::{Incoming, Inlet, InletError, Piece};
use crate::lane::Lane;
use crate::live::Live;
use crate::login::{self, Login};
use crate::outlet::Outlet;
use crate::pool;
use crate::service::Service;
use crate::socket::Patient;
use crate::tap::Source;
use crate::translate;
use crate::wire_error::broken_framing;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use towline_protocol::frame::Caps;
use towline_protocol::limits::CHANNELS_MAX;
use towline_protocol::reply::Pong;
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_types::UserId;

/// Requests of one connection that wait or are being done, and answers that wait.
const REQUESTS_MAX: u32 = 256;

/// Each takes so many places; what is as short as the value of a block takes one.
const PLACES: u32 = 4;

/// A request whose answer may be long takes so many places.
const LONG_ANSWER: u32 = REQUESTS_MAX / 4 * PLACES;

/// So long the last words may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// So long those who may have something to say are waited for: for less than a client
/// waits for the last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a connection ends.
enum End {
    /// The client has said all it had to say: it hears the rest.
    Finished,
    /// The connection broke.
    Gone,
    /// The client is told why, and it is closed.
    Closed(ErrorReply),
}

struct Session<R, W> {
    service: Arc<Service>,
    user: UserId,
    access: Access,
    peer: SocketAddr,
    source: Source<R>,
    outlet: Outlet<W>,
    events: EventSender,
    heard: EventReceiver,
    channels: Channels,
    /// Lanes for questions on channels that are not in use, while as many as may be are.
    questions: Channels,
    /// A channel whose lane has work that nobody was woken for: the rest of a small file
    /// may be here already, and then it goes the short way.
    quiet: Option<Channel>,
    /// The code behind a channel has panicked.
    broken: bool,
    /// Cancelled when this, or the server, comes to its end.
    ending: CancellationToken,
    pieces: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

type Channels = HashMap<Channel, (Lane<ChannelDesk>, Backlog)>;

/// Serves one connection.
pub(crate) async fn serve<R, W>(reader: R, writer: W, peer: SocketAddr, service: Arc<Service>)
where
    R: AsyncRead + Patient + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
{
    let mut inlet = Inlet::new(reader, Caps::LOGIN, Arc::clone(&service.pool));
    let mut outlet = Outlet::new(writer);
    let stopping = service.stopping.clone();
    // Cancel-safe enough: a stranger who is not logged in has nothing to lose.
    let login = tokio::select! {
        login = login::login(&mut inlet, &service) => login,
        () = stopping.cancelled() => Login::Refused(stopping_error()),
    };
    match login {
        Login::User(user, expires_at) => {
            outlet.push(&Reply::Welcome(login::welcome(&user, &service)));
            let (events, heard) = event::queue();
            let session = Session {
                user: user.user_id,
                access: Access::granted(Arc::clone(&service), user.user_id, expires_at),
                peer,
                source: Source::new(inlet),
                outlet,
                events,
                heard,
                channels: HashMap::new(),
                questions: HashMap::new(),
                quiet: None,
                broken: false,
                ending: service.stopping.child_token(),
                pieces: Arc::new(Semaphore::new(
                    service.config.limits.buffers_per_connection * pool::UNITS as usize,
                )),
                requests: Arc::new(Semaphore::new((REQUESTS_MAX * PLACES) as usize)),
                service,
            };
            session.run().await;
            return;
        }
        Login::Refused(error) => {
            service.summary.login_refused(peer, error.code.as_str());
            outlet.push(&Reply::Error(error));
        }
        Login::WrongDoor(text) => outlet.push_frames(text.as_bytes()),
        Login::Gone => return,
    }
    farewell(&mut inlet, &mut outlet).await;
}

/// The last words, and time for them to be heard.
async fn farewell<R, W>(inlet: &mut Inlet<R>, outlet: &mut Outlet<W>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let _ = timeout(FAREWELL, async {
        outlet.finish().await?;
        inlet.drain().await;
        std::io::Result::Ok(())
    })
    .await;
}

impl<R, W> Session<R, W>
where
    R: AsyncRead + Patient + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
{
    async fn run(mut self) {
        let end = self.talk().await;
        self.ending.cancel();
        let (mut inlet, piece) = self.source.end().await;
        if let Some(piece) = piece {
            // What has arrived of a frame that was cut counts, unless there is no time.
            let _ = self.queue_piece(piece).await;
        }
        let paused = self.release().await;
        if !paused.is_empty() {
            let paused = paused.iter().map(|(_, live)| Arc::clone(live));
            self.service.checkpoints.pause(paused).await;
        }
        if let End::Gone = end {
            return;
        }
        let Self { service, mut outlet, events, mut heard, .. } = self;
        drop(events);
        let _ = timeout(LAST_WORDS, hear_out(&mut heard, &mut outlet)).await;
        // How an upload stands is behind a lock that a write may hold.
        let asking = service.tracker.spawn_blocking(move || {
            let last = |(channel, live): (Channel, Arc<Live>)| Event {
                tag: translate::tag(channel),
                document: Some(live.document_id),
                kind: live.last_word(),
            };
            paused.into_iter().map(last).collect::<Vec<_>>()
        });
        for event in asking.await.unwrap_or_default() {
            pass_on(&mut outlet, event);
        }
        if let End::Closed(error) = end {
            outlet.push(&Reply::Error(error));
        }
        farewell(&mut inlet, &mut outlet).await;
    }

    /// Until somebody has enough.
    async fn talk(&mut self) -> End {
        let timings = self.service.config.timings;
        let stopping = self.service.stopping.clone();
        let mut deaf_since = None;
        loop {
            // Who does not read is not read from, and keeps no buffer from others.
            let listens = self.outlet.has_room() && self.heard.len() < REQUESTS_MAX as usize;
            if !listens {
                deaf_since.get_or_insert_with(Instant::now);
            } else if let Some(since) = deaf_since.take() {
                self.source.excuse(since.elapsed());
            }
            if !listens
                && let Some(piece) = self.source.pause()
                && let Some(end) = self.queue_piece(piece).await
            {
                return end;
            }
            if self.broken {
                return End::Closed(ErrorReply::new(
                    Code::Internal,
                    "the server made a mistake; what is durable is kept, come again",
                ));
            }
            let patience = self.source.deadline(timings.frame, timings.silence);
            let unread = self.outlet.deadline(timings.unread);
            // Every branch is cancel-safe: `Access::ends`, receiving from a channel, one
            // write, `Source::next` (see there), and waiting. The one that waits for nothing
            // is for when nothing more has come.
            tokio::select! {
                biased;
                () = stopping.cancelled() => return End::Closed(stopping_error()),
                error = self.access.ends() => return End::Closed(error),
                Some(event) = self.heard.recv(), if self.outlet.has_room() => {
                    self.broken |= matches!(event.kind, EventKind::Panicked);
                    self.pass_on(event);
                }
                sent = self.outlet.send(), if !self.outlet.is_empty() => {
                    if sent.is_err() {
                        return End::Gone;
                    }
                }
                incoming = self.source.next(), if listens || self.source.is_lent() => {
                    match incoming {
                        // The lane has had it: the clocks and all else are looked at first.
                        None => {}
                        Some(Ok(incoming)) => {
                            if let Some(end) = self.take(incoming).await {
                                return end;
                            }
                        }
                        Some(Err(InletError::Frame(error))) => return End::Closed(broken_framing(&error)),
                        // It may have closed one direction only, and still listen.
                        Some(Err(InletError::Cut)) => return End::Finished,
                        Some(Err(InletError::Io(_))) => return End::Gone,
                    }
                }
                () = std::future::ready(()), if self.quiet.is_some() => self.wake(),
                () = sleep_until(unread.unwrap_or(patience)), if unread.is_some() => return End::Gone,
                () = sleep_until(patience), if listens => {
                    if self.source.deadline(timings.frame, timings.silence) <= Instant::now() {
                        return End::Closed(ErrorReply::new(
                            Code::TooSlow,
                            "nothing whole has come for too long; what came is kept, come again",
                        ));
                    }
                }
            }
        }
    }

    async fn take(&mut self, incoming: Incoming) -> Option<End> {
        match incoming {
            Incoming::End => return Some(End::Finished),
            Incoming::Piece(piece) => {
                let (channel, flows) = (piece.channel, self.source.flows_with(&piece));
                if let Some(end) = self.queue_piece(piece).await {
                    return Some(end);
                }
                if flows {
                    self.lend(channel);
                }
            }
            Incoming::Block { channel, index, value } => {
                return self.queue(channel, Command::Announce { index, value }).await;
            }
            Incoming::Control(bytes) => match Request::parse(&bytes) {
                Ok(Request::Ping(ping)) => {
                    self.outlet.push(&Reply::Ping(Pong { channel: ping.channel }));
                }
                Ok(Request::Hello(_)) => {
                    let error = ErrorReply::new(Code::BadState, "you are logged in already");
                    self.outlet.push(&Reply::Error(error));
                }
                Ok(request) => {
                    let channel = request.channel();
                    let command = translate::command(request, self.user)?;
                    return self.queue(channel, command).await;
                }
                Err(error) => self.outlet.push(&Reply::Error(error)),
            },
        }
        None
    }

    /// Has a channel's lane draw for itself, where one more may.
    fn lend(&mut self, channel: Channel) {
        let Some((lane, _)) = self.channels.get(&channel) else { return };
        let place = Arc::clone(&self.service.taps).try_acquire_owned();
        if let Some(tap) = place.ok().and_then(|place| self.source.lend(channel, place)) {
            lane.push(Queued { task: Task::Command(Command::Pull(tap)), place: None });
        }
    }

    async fn queue_piece(&mut self, piece: Piece) -> Option<End> {
        let Piece { channel, offset, buffer, .. } = piece;
        self.queue(channel, Command::Data { offset, buffer }).await
    }

    /// Puts a task into its channel's lane, once there is a place for it. While
    /// this waits nothing is read, and the lanes do not need the session to go on. Where
    /// the connection is to end meanwhile, the task is dropped.
    async fn queue(&mut self, channel: Channel, mut command: Command) -> Option<End> {
        let goes_on = self.quiet == Some(channel);
        if !goes_on {
            self.wake();
        }
        if !self.channels.contains_key(&channel) && self.channels.len() >= CHANNELS_MAX {
            self.channels.retain(|_, (lane, _)| !lane.is_vacant());
        }
        let full = self.channels.len() >= CHANNELS_MAX && !self.channels.contains_key(&channel);
        let lanes = match &command {
            _ if !full => &mut self.channels,
            // These say themselves what they are about and bind nothing: the channel is
            // only where the answer goes. They are no more than there are places for
            // requests, since those whose question is answered go first.
            Command::Query(_) | Command::Reject { request: RejectedRequest::Query, .. } => {
                self.questions.retain(|_, (lane, _)| !lane.is_vacant());
                &mut self.questions
            }
            // Said once for each request, not for all that follows it.
            Command::Begin(_)
            | Command::Resume(_)
            | Command::Join { .. }
            | Command::Withdraw(_)
            | Command::Complete(_)
            | Command::Reject { .. } => {
                let mut error = ErrorReply::new(Code::TooMany, "too many channels are in use");
                error.max = Some(CHANNELS_MAX as u64);
                self.outlet.push(&Reply::Error(error.on(channel, None)));
                return None;
            }
            Command::Data { .. } | Command::Announce { .. } | Command::Pull(_) => return None,
        };
        let (lane, backlog) = lanes.entry(channel).or_insert_with(|| {
            let service = Arc::clone(&self.service);
            let (events, backlog) = (self.events.clone(), Backlog::default());
            let ending = self.ending.clone();
            let desk = ChannelDesk::new(
                service,
                (self.user, self.peer),
                translate::tag(channel),
                events,
                backlog.clone(),
                ending,
            );
            (Lane::new(desk, Arc::clone(&self.service.crew)), backlog)
        });
        let (queue, places) = match &mut command {
            Command::Data { buffer, .. } => {
                backlog.arrived();
                buffer.pack();
                (&self.pieces, buffer.units())
            }
            Command::Query(Query::HeldBlocks(_)) => (&self.requests, LONG_ANSWER),
            Command::Announce { .. } | Command::Complete(_) => (&self.requests, 1),
            _ => (&self.requests, PLACES),
        };
        let place = match Arc::clone(queue).try_acquire_many_owned(places) {
            Ok(place) => Some(place),
            Err(_) => {
                // Its own lane may have the places.
                lane.wake();
                // A long answer gives its places back when it is on its way.
                let since = Instant::now();
                let waiting = Arc::clone(queue).acquire_many_owned(places);
                tokio::pin!(waiting);
                let ended = async {
                    tokio::select! {
                        biased;
                        () = self.service.stopping.cancelled() => stopping_error(),
                        error = self.access.ends() => error,
                    }
                };
                tokio::pin!(ended);
                let place = loop {
                    tokio::select! {
                        biased;
                        error = &mut ended => {
                            if let Command::Data { .. } = command {
                                backlog.settled();
                            }
                            return Some(End::Closed(error));
                        }
                        place = &mut waiting => break place.ok(),
                        Some(event) = self.heard.recv() => {
                            self.broken |= matches!(event.kind, EventKind::Panicked);
                            pass_on(&mut self.outlet, event);
                        }
                    }
                };
                self.source.excuse(since.elapsed());
                place
            }
        };
        let is_part_of_small_file = match &command {
            Command::Begin(_) => true,
            Command::Data { .. } | Command::Announce { .. } => {
                goes_on && channel::is_short(&command)
            }
            _ => false,
        };
        let queued = Queued { task: Task::Command(command), place };
        if is_part_of_small_file {
            lane.push_quietly(queued);
            self.quiet = Some(channel);
        } else {
            lane.push(queued);
            self.quiet = None;
        }
        None
    }

    /// Has somebody see to what was queued quietly.
    fn wake(&mut self) {
        if let Some((lane, _)) = self.quiet.take().and_then(|channel| self.channels.get(&channel)) {
            lane.wake();
        }
    }

    /// Lets go of every upload, behind everything that is queued.
    async fn release(&mut self) -> Vec<(Channel, Arc<Live>)> {
        let waits: Vec<_> = self
            .channels
            .drain()
            .chain(self.questions.drain())
            .map(|(channel, (lane, _))| {
                let (done, wait) = oneshot::channel();
                lane.push(Queued { task: Task::Release(done), place: None });
                (channel, wait)
            })
            .collect();
        let mut paused = Vec::new();
        for (channel, wait) in waits {
            if let Ok(Some(live)) = wait.await {
                paused.push((channel, live));
            }
        }
        paused
    }

    fn pass_on(&mut self, event: Event) {
        if let EventKind::AtWork { .. } = event.kind {
            self.source.excuse_silence();
        }
        pass_on(&mut self.outlet, event);
    }
}

/// Passes on what is still said. The lanes are done, but whoever ends an upload tells its
/// writers only once the catalog says so: nobody has more to say when the last way here
/// is dropped.
async fn hear_out<W: AsyncWrite + Unpin>(heard: &mut EventReceiver, outlet: &mut Outlet<W>) {
    loop {
        tokio::select! {
            event = heard.recv() => match event {
                Some(event) => pass_on(outlet, event),
                None => return,
            },
            sent = outlet.send(), if !outlet.is_empty() => {
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}

fn pass_on<W: AsyncWrite + Unpin>(outlet: &mut Outlet<W>, event: Event) {
    if let Some(frames) = translate::frames(&event) {
        outlet.push_frames(&frames);
    }
}

fn stopping_error() -> ErrorReply {
    ErrorReply::new(Code::ShuttingDown, "the server is stopping; what came is kept, come again")
}
