//! One connection, from login to its end: requests go to the engine as commands, its events
//! go out as replies. This module decides nothing but when a connection ends.

use super::end::End;
use super::error_code::broken_framing;
use super::features;
use super::forwarding::{drain_events, forward, forward_until, send_all};
use super::frame_reader::{FrameReader, Incoming, ReadError, Segment};
use super::lent_reader::ReaderSlot;
use super::login::{self, LoggedIn, Login};
use super::reauth::reauth;
use super::receipts::Receipts;
use super::send_buffer::SendBuffer;
use super::{Arrival, crowded, download_url, translate};
use crate::access::Access;
use crate::audit::AuditedClient;
use crate::links::LinkMaker;
use crate::places::Place;
use crate::shared::Shared;
use crate::socket::BlockingRead;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use towline_engine::{
    Account, AuditObserver, Command, Event, EventKind, EventReceiver, Origin, REQUESTS_MAX, Session,
};
use towline_protocol::frame::FrameLimits;
use towline_protocol::limits::CHANNELS_MAX;
use towline_protocol::reply::{Pong, ReceiptKey};
use towline_protocol::request::{DownloadUrl, Read};
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_state::catalog::User;

/// How long the orderly close of a connection may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How long the session waits for the last events of its uploads: less than a client waits for
/// the last replies.
const LAST_WORDS: Duration = Duration::from_secs(1);

struct Connection<R, W> {
    shared: Arc<Shared>,
    user: User,
    access: Access,
    source: ReaderSlot<R>,
    outgoing: SendBuffer<W>,
    account: Account,
    session: Session,
    events: EventReceiver,
    /// Absent until the client has asked for receipts.
    receipts: Option<Receipts>,
    /// The code behind a writer has panicked.
    broken: bool,
}

/// Serves one connection.
pub(crate) async fn serve<R, W>(
    reader: R,
    writer: W,
    arrival: Arrival,
    mut place: Place,
    shared: Arc<Shared>,
) where
    R: AsyncRead + BlockingRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
{
    let peer = arrival.peer;
    let mut reader =
        FrameReader::new(reader, FrameLimits::LOGIN, Arc::clone(shared.engine.buffers()));
    let mut outgoing = SendBuffer::new(writer);
    let stopping = shared.stopping.clone();
    // Cancel-safe enough: a stranger who is not logged in has nothing to lose.
    let login = tokio::select! {
        login = login::login(&mut reader, arrival, &shared) => login,
        () = stopping.cancelled() => Login::Refused(stopping_error()),
        () = place.has_to_leave() => {
            // Another connection needs the place. The client is told why, if the socket takes the
            // message at once.
            outgoing.push(&Reply::Error(crowded()));
            let _ = timeout(Duration::ZERO, outgoing.send()).await;
            return;
        }
    };
    match login::admit(login, &mut place, &shared).await {
        Ok(LoggedIn { user, identity, token }) => {
            reader.admit(user.user_id);
            let has_joined = token.is_some();
            shared.logins.accepted.increment();
            outgoing.push(&Reply::Welcome(login::welcome(&user, token, &shared)));
            let audited = shared
                .audit
                .clone()
                .map(|log| Arc::new(AuditedClient::new(log, user.clone(), peer, identity)));
            let mut origin = Origin::new(peer);
            if let Some(client) = &audited {
                if has_joined {
                    client.joined()
                } else {
                    client.logged_in()
                }
                origin = origin.observed_by(Arc::clone(client) as Arc<dyn AuditObserver>);
            }
            let account = shared.engine.account(user.user_id, origin);
            let (session, events) = account.session(CHANNELS_MAX);
            let connection = Connection {
                access: Access::granted(Arc::clone(&shared), identity, audited),
                source: ReaderSlot::new(reader),
                outgoing,
                account,
                session,
                events,
                receipts: None,
                broken: false,
                user,
                shared,
            };
            connection.run().await;
            return;
        }
        Err(Login::Refused(error)) => {
            shared.logins.refused(peer, error.code.as_str());
            outgoing.push(&Reply::Error(error));
        }
        Err(Login::WrongDoor(text)) => outgoing.push_frames(text.as_bytes()),
        Err(Login::Gone | Login::User(..) | Login::Invited(_)) => return,
    }
    close_gracefully(&mut reader, &mut outgoing).await;
}

/// The last words, and time for them to be heard.
async fn close_gracefully<R, W>(reader: &mut FrameReader<R>, outgoing: &mut SendBuffer<W>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let _ = timeout(CLOSE_MAX, async {
        outgoing.finish().await?;
        reader.drain().await;
        std::io::Result::Ok(())
    })
    .await;
}

impl<R, W> Connection<R, W>
where
    R: AsyncRead + BlockingRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
{
    /// Serves the client until the connection ends, and pauses its uploads then. A client that has
    /// closed its sending half alone still gets every answer, and the last word about each upload.
    async fn run(mut self) {
        let mut end = self.talk().await;
        self.session.begin_end(end.client());
        let (mut reader, segment) = self.source.end().await;
        if let Some(segment) = segment {
            // What has arrived of a frame that was cut counts, unless there is no time.
            let _ = self.push_segment(segment).await;
        }
        let Self { shared, mut access, session, mut outgoing, mut events, receipts, .. } = self;
        let receipts = receipts.as_ref();
        let unread = shared.timings.unread;
        let mut closing = pin!(session.close(end.client()));
        let closed = match end {
            End::Finished => {
                let (closing, cut) = (closing.as_mut(), access.ends());
                forward_until(closing, cut, unread, &mut events, &mut outgoing, receipts).await
            }
            End::Closed(_) => Ok(closing.as_mut().await),
            End::Gone => Err(End::Gone),
        };
        let closed = match closed {
            Ok(closed) => {
                let _ =
                    timeout(LAST_WORDS, drain_events(&mut events, &mut outgoing, receipts)).await;
                closed
            }
            Err(cut) => {
                end = cut;
                // The writer of a long answer waits until its last page is received or dropped.
                drop(events);
                closing.await
            }
        };
        if !matches!(end, End::Gone) {
            for event in closed.last_events().await {
                forward(&mut outgoing, event, receipts);
            }
        }
        if let End::Finished = end {
            let cut = ended(&shared, &mut access);
            if let Err(cut) = send_all(cut, unread, &mut outgoing).await {
                end = cut;
            }
        }
        match end {
            End::Gone => return,
            End::Closed(error) => outgoing.push(&Reply::Error(error)),
            End::Finished => {}
        }
        close_gracefully(&mut reader, &mut outgoing).await;
    }

    /// Passes requests and events on until the connection ends; says why it ends.
    async fn talk(&mut self) -> End {
        let timings = self.shared.timings;
        let stopping = self.shared.stopping.clone();
        let mut deaf_since = None;
        loop {
            // A client that does not read is not read from, and keeps no buffer from others (P6).
            let listens = self.outgoing.has_room() && self.events.len() < REQUESTS_MAX as usize;
            if !listens {
                deaf_since.get_or_insert_with(Instant::now);
            } else if let Some(since) = deaf_since.take() {
                self.source.reset_timeouts(since.elapsed());
            }
            if !listens
                && let Some(segment) = self.source.pause()
                && let Some(end) = self.push_segment(segment).await
            {
                return end;
            }
            if self.broken {
                return End::Closed(ErrorReply::new(
                    Code::Internal,
                    "the server made a mistake; what is durable is kept, try again",
                ));
            }
            let patience = self.source.deadline(timings.frame, timings.silence);
            let unread = self.outgoing.deadline(timings.unread);
            let has_content = self.outgoing.has_content();
            // Every branch is cancel-safe: `Access::ends`, receiving from a channel, one
            // write, `Source::next` (see there), and waiting. The one that waits for nothing
            // is for when nothing more has come.
            tokio::select! {
                biased;
                () = stopping.cancelled() => return End::Closed(stopping_error()),
                error = self.access.ends() => return End::Closed(error),
                Some(event) = self.events.recv(), if self.outgoing.has_room() => {
                    self.broken |= matches!(event.kind, EventKind::Panicked);
                    self.forward(event);
                }
                sent = self.outgoing.send(), if !self.outgoing.is_empty() => {
                    if sent.is_err() {
                        return End::Gone;
                    }
                    // A client that takes the bytes of a document need not say anything.
                    if has_content {
                        self.source.excuse_silence();
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
                        Some(Err(ReadError::Frame(error))) => return End::Closed(broken_framing(&error)),
                        // It may have closed one direction only, and still listen.
                        Some(Err(ReadError::Cut)) => return End::Finished,
                        Some(Err(ReadError::Io(_))) => return End::Gone,
                    }
                }
                () = std::future::ready(()), if self.session.is_holding_back() => {
                    self.session.release_held_back();
                }
                () = sleep_until(unread.unwrap_or(patience)), if unread.is_some() => return End::Gone,
                () = sleep_until(patience), if listens => {
                    if self.source.deadline(timings.frame, timings.silence) <= Instant::now() {
                        return End::Closed(ErrorReply::new(
                            Code::TooSlow,
                            "nothing whole has come for too long; what was received is kept, try again",
                        ));
                    }
                }
            }
        }
    }

    async fn take(&mut self, incoming: Incoming) -> Option<End> {
        match incoming {
            Incoming::End => return Some(End::Finished),
            Incoming::Segment(segment) => {
                let (channel, streams) = (segment.channel, self.source.is_streaming(&segment));
                if let Some(end) = self.push_segment(segment).await {
                    return Some(end);
                }
                if streams {
                    let source = &mut self.source;
                    self.session
                        .lend(translate::tag(channel), |permit| source.lend(channel, permit));
                }
            }
            Incoming::Block { channel, index, value } => {
                return self.push(channel, Command::Announce { index, value }).await;
            }
            Incoming::Control(bytes) => match Request::parse(&bytes)
                .and_then(|request| features::check(request, &self.shared))
            {
                Ok(Request::Ping(ping)) => {
                    self.outgoing.push(&Reply::Ping(Pong { channel: ping.channel }));
                }
                Ok(Request::Hello(_)) => {
                    let error = ErrorReply::new(Code::BadState, "you are logged in already");
                    self.outgoing.push(&Reply::Error(error));
                }
                Ok(Request::Reauth(request)) => {
                    match reauth(&request, &mut self.access, &self.shared).await {
                        Ok(reply) => self.outgoing.push(&reply),
                        Err(error) => return Some(End::Closed(error)),
                    }
                }
                Ok(Request::Read(read)) => self.read(&read),
                Ok(Request::DownloadUrl(request)) => return self.link(&request).await,
                Ok(Request::Receipts(asked)) => self.sign_from_now_on(asked.channel),
                Ok(request) => {
                    let channel = request.channel();
                    let command = translate::command(request, self.user.user_id)?;
                    return self.push(channel, command).await;
                }
                Err(error) => self.outgoing.push(&Reply::Error(error)),
            },
        }
        None
    }

    /// The key is the one that the server has now: it stays for this connection, whatever is
    /// renewed.
    fn sign_from_now_on(&mut self, channel: Channel) {
        let receipts = Receipts::new(&self.shared, &self.user);
        let public_key = receipts.public_key();
        self.outgoing.push(&Reply::Receipts(ReceiptKey { channel, public_key }));
        self.receipts = Some(receipts);
    }

    /// Makes a link with which others fetch a document. While the document is looked up, nothing
    /// else of the connection goes on.
    async fn link(&mut self, request: &DownloadUrl) -> Option<End> {
        let identity = self.access.identity();
        let maker = LinkMaker {
            shared: &self.shared,
            account: &self.account,
            identity: &identity,
            until: identity.expires_at,
        };
        // Both are cancel-safe.
        let reply = tokio::select! {
            biased;
            error = ended(&self.shared, &mut self.access) => return Some(End::Closed(error)),
            reply = download_url::answer(request, &maker) => reply,
        };
        self.outgoing.push(&reply);
        None
    }

    fn read(&mut self, read: &Read) {
        let (channel, session) = (read.channel, &mut self.session);
        let begun = translate::read(read)
            .and_then(|request| session.read(translate::tag(channel), request));
        if let Err(rejection) = begun {
            let error = super::error_code::of(&rejection).on(channel, read.document_id);
            self.outgoing.push(&Reply::Error(error));
        }
    }

    async fn push_segment(&mut self, segment: Segment) -> Option<End> {
        let Segment { channel, offset, buffer, .. } = segment;
        self.push(channel, Command::Data { offset, buffer }).await
    }

    /// Gives a command to its channel's writer, once there are permits for it. While this
    /// waits nothing is read, and the lanes do not need the connection to go on. Where the
    /// connection is to end meanwhile, the command is dropped.
    async fn push(&mut self, channel: Channel, command: Command) -> Option<End> {
        let mut admitted = match self.session.admit(translate::tag(channel), command) {
            Ok(admitted) => admitted?,
            Err(rejection) => {
                let error = super::error_code::of(&rejection).on(channel, None);
                self.outgoing.push(&Reply::Error(error));
                return None;
            }
        };
        if !admitted.is_granted() {
            let since = Instant::now();
            let end = self.wait_for_permits(admitted.granted()).await;
            if end.is_some() {
                self.session.give_back(admitted);
                return end;
            }
            self.source.reset_timeouts(since.elapsed());
        }
        self.session.push(admitted);
        None
    }

    /// Waits, and goes on sending: a long answer gives its permits back when it is on its
    /// way.
    async fn wait_for_permits(&mut self, granted: impl Future<Output = ()>) -> Option<End> {
        let ended = ended(&self.shared, &mut self.access);
        tokio::pin!(granted, ended);
        loop {
            let unread = self.outgoing.deadline(self.shared.timings.unread);
            let has_room = self.outgoing.has_room();
            tokio::select! {
                biased;
                error = &mut ended => return Some(End::Closed(error)),
                () = &mut granted => return None,
                Some(event) = self.events.recv(), if has_room => {
                    self.broken |= matches!(event.kind, EventKind::Panicked);
                    forward(&mut self.outgoing, event, self.receipts.as_ref());
                }
                // The next page of a long answer waits for room.
                sent = self.outgoing.send(), if !self.outgoing.is_empty() => {
                    if sent.is_err() {
                        return Some(End::Gone);
                    }
                }
                () = sleep_until(unread.unwrap_or_else(Instant::now)), if unread.is_some() => {
                    return Some(End::Gone);
                }
            }
        }
    }

    fn forward(&mut self, event: Event) {
        if let EventKind::AtWork { .. } = event.kind {
            self.source.excuse_silence();
        }
        forward(&mut self.outgoing, event, self.receipts.as_ref());
    }
}

/// Why the server is to end a connection now: it stops, or the user may be here no longer.
/// Cancel-safe.
async fn ended(shared: &Shared, access: &mut Access) -> ErrorReply {
    tokio::select! {
        biased;
        () = shared.stopping.cancelled() => stopping_error(),
        error = access.ends() => error,
    }
}

fn stopping_error() -> ErrorReply {
    ErrorReply::new(
        Code::ShuttingDown,
        "the server is stopping; what was received is kept, try again",
    )
}
