//! One connection to a server: the only files that touch its socket are this one and those of
//! `connection/`.

mod closing;
mod login;
mod question;
mod receipts;
mod tls;
mod transport;

use crate::attempt_end::AttemptEnd;
use crate::block_reader::Block;
use crate::rate_limit::RateLimit;
use crate::receipts::Issuer;
use crate::route::greeting::Greeting;
use crate::send_queue::{SLICES, SendQueue};
use crate::system::in_words;
use crate::timeouts::Timeouts;
use crate::token::TokenWatch;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::{Instant, timeout_at};
use towline_protocol::frame::{self, Decoder, FrameLimits, Part};
use towline_protocol::limits::CHANNELS_MAX;
use towline_protocol::reply::Welcome;
use towline_protocol::request::{Ping, Reauth};
use towline_protocol::{Channel, Reply, Request};
use towline_types::{BlockIndex, ChainingValue, Offset};
use transport::Transport;

/// The most bytes of one write where the rate is limited.
const LIMITED_WRITE_BYTES: usize = 1 << 20;

/// The channel of the answers about tokens, and of nothing else.
const TOKEN_CHANNEL: Channel = Channel(u32::MAX);

/// A message of the server.
#[derive(Debug)]
pub(crate) enum Incoming {
    Reply(Reply),
    BlockList {
        channel: Channel,
        first: BlockIndex,
        values: Vec<ChainingValue>,
    },
    /// The value of one block. The bytes of the block follow.
    Block {
        channel: Channel,
        index: BlockIndex,
        value: ChainingValue,
    },
    /// Bytes of a file begin: [`Connection::payload`] takes them.
    Chunk {
        channel: Channel,
        offset: Offset,
        length: u32,
    },
}

/// What [`Connection::next`] waits for, besides a message of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// Only a message.
    Incoming,
    /// Room for one more block.
    IncomingOrRoom,
}

/// Why [`Connection::next`] has returned.
#[derive(Debug)]
pub(crate) enum Step {
    Incoming(Incoming),
    /// There is room for one more block.
    Room,
}

/// A connection that is logged in.
///
/// Frames are queued with [`queue`](Self::queue) and [`queue_block`](Self::queue_block);
/// they are written while [`next`](Self::next) waits for what the server says. Reading never
/// waits for writing, so the buffers of both directions cannot be full for ever.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Transport,
    decoder: Decoder,
    send_queue: SendQueue,
    limit: Option<Arc<RateLimit>>,
    /// What is queued waits because of the limit.
    is_throttled: bool,
    timeouts: Timeouts,
    /// When the socket last took or delivered bytes.
    alive: Instant,
    /// When the socket last took bytes of a file.
    wrote: Instant,
    /// The number of bytes that the server has sent.
    heard_bytes: u64,
    /// The first bytes that the server has sent.
    greeting: Greeting,
    /// A `ping` was sent, and the server has sent nothing since.
    pinged: bool,
    /// The server has closed its side in order.
    is_closed: bool,
    /// Writing has failed; what the server said before may still be read.
    broken: Option<io::Error>,
    channel: u32,
    /// Watches for a later token; absent where the server takes none on an open connection.
    token: Option<TokenWatch>,
    welcome: Welcome,
    /// The server as it signs receipts; `None` where it was not asked for them.
    issuer: Option<Arc<Issuer>>,
    /// How long the server took to answer the login: a round trip of the link, and little more.
    round_trip: Duration,
}

impl Connection {
    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(crate) fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// How long an answer takes at least on this link.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Whether the server has a feature.
    pub(crate) fn knows(&self, feature: &str) -> bool {
        self.welcome.features.iter().any(|word| word == feature)
    }

    /// A channel that was not used lately.
    pub(crate) fn new_channel(&mut self) -> Channel {
        // The numbers repeat after all channels that a server has to allow: long after the last
        // reply on the same channel.
        let cycle = u32::try_from(CHANNELS_MAX).unwrap_or(1).min(self.welcome.max_channels);
        self.channel = self.channel % cycle.max(1) + 1;
        Channel(self.channel)
    }

    pub(crate) fn queue(&mut self, request: &Request) {
        self.send_queue.push_frames(frame::control(request));
    }

    /// Queues frames that are made already.
    pub(crate) fn queue_frames(&mut self, frames: Vec<u8>) {
        self.send_queue.push_frames(frames);
    }

    pub(crate) fn queue_block(&mut self, channel: Channel, chunk_bytes: u32, block: Block) {
        let chunk_bytes = chunk_bytes.min(self.welcome.max_chunk_size);
        self.send_queue.push_block(channel, chunk_bytes, block);
    }

    /// Queues one chunk, which is copied; it counts as a block.
    pub(crate) fn queue_chunk(&mut self, channel: Channel, offset: Offset, bytes: &[u8]) {
        self.send_queue.push_chunk(channel, offset, bytes);
    }

    /// Whether one more block may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.send_queue.has_room()
    }

    /// How many bytes of files were handed to the system so far.
    pub(crate) fn payload_bytes(&self) -> u64 {
        self.send_queue.payload_bytes()
    }

    /// Whether nothing is queued.
    pub(crate) fn is_idle(&self) -> bool {
        self.send_queue.is_empty()
    }

    /// Has the system drop the bytes that it has not sent yet, when this connection is dropped:
    /// bytes that are sent again on another connection must not arrive twice.
    pub(crate) fn abandon(&self) {
        // Where that fails, the socket is closed already.
        let _ = self.stream.socket().set_linger(Some(Duration::ZERO));
    }

    /// Drops the queue, except for the rest of a frame that is half written.
    pub(crate) fn drop_queue(&mut self) {
        self.send_queue.cut_after_frame();
    }

    /// Writes the queue, until what `wait_for` names has come.
    ///
    /// Cancel-safe: what was read or written is recorded in `self` before anything is awaited.
    pub(crate) async fn next(&mut self, wait_for: WaitFor) -> Result<Step, AttemptEnd> {
        loop {
            if let Some(said) = self.decoded()? {
                return Ok(Step::Incoming(said));
            }
            if wait_for == WaitFor::IncomingOrRoom && self.send_queue.has_room() {
                return Ok(Step::Room);
            }
            let payload_bytes = self.send_queue.payload_bytes();
            let wrote = self.write_some();
            let read = self.read_some()?;
            if read || wrote {
                self.alive = Instant::now();
                if self.send_queue.payload_bytes() > payload_bytes {
                    self.wrote = self.alive;
                }
                // Only bytes from the server answer a ping: the socket takes bytes also after
                // the server is gone.
                self.pinged &= !read;
                // A server that sends without end must not keep this thread from other tasks.
                tokio::task::consume_budget().await;
                continue;
            }
            self.wait_for_socket().await?;
        }
    }

    /// Takes bytes of files from now on.
    pub(crate) fn accept_files(&mut self) {
        self.decoder.set_limits(FrameLimits::READING_CLIENT);
    }

    /// Fills the front of `into` with bytes of the chunk that came last; returns how many, at
    /// least one. `into` is not longer than what is left of the chunk.
    ///
    /// Cancel-safe: bytes that were read are in `into`, and the call returns at once with their
    /// number.
    pub(crate) async fn payload(&mut self, into: &mut [u8]) -> Result<usize, AttemptEnd> {
        // A server that sends without end must not keep this thread from other tasks.
        tokio::task::consume_budget().await;
        let length = into.len().min(self.decoder.payload_left());
        let into = &mut into[..length];
        loop {
            let taken = self.decoder.take_payload(into);
            if taken > 0 {
                return Ok(taken);
            }
            if self.write_some() {
                self.alive = Instant::now();
            }
            match self.stream.try_read(into) {
                Ok(0) => {
                    self.is_closed = true;
                    let what = "the server has closed the connection".to_owned();
                    return Err(AttemptEnd::Lost(what));
                }
                Ok(count) => {
                    self.decoder.payload_came(count);
                    self.heard_bytes += count as u64;
                    (self.alive, self.pinged) = (Instant::now(), false);
                    return Ok(count);
                }
                Err(error) if is_for_now(&error) => self.wait_for_socket().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the socket can be read, or written where something is queued. Sends a `ping`
    /// after a while of silence, and ends the attempt where that is not answered.
    ///
    /// Cancel-safe, as tokio documents of `ready`.
    async fn wait_for_socket(&mut self) -> Result<(), AttemptEnd> {
        let now = Instant::now();
        self.show_later_token(now);
        let silence_ends = self.silence_ends();
        let next_piece = self.limit.as_ref().filter(|_| self.is_throttled);
        let next_piece = next_piece.map(|limit| limit.next_piece(now));
        let token_due = self.token.as_ref().and_then(TokenWatch::due);
        let until = [next_piece, token_due].into_iter().flatten().fold(silence_ends, Instant::min);
        match timeout_at(until, self.stream.ready(self.interest())).await {
            Ok(ready) => {
                ready?;
            }
            Err(_) if until < silence_ends => {}
            Err(_) if self.pinged => {
                return Err(AttemptEnd::Silent("no answer from the server".to_owned()));
            }
            Err(_) => {
                self.pinged = true;
                self.queue(&Request::Ping(Ping::default()));
            }
        }
        Ok(())
    }

    /// Shows a later token, where the one that was shown is about to end and there is a later one.
    /// The answer is not waited for: where the server does not take the token, the connection ends
    /// as it would have ended without it.
    fn show_later_token(&mut self, now: Instant) {
        if let Some(later) = self.token.as_mut().and_then(|token| token.later(now)) {
            let token = later.reveal().to_owned();
            self.queue(&Request::Reauth(Reauth { channel: TOKEN_CHANNEL, token }));
        }
    }

    fn interest(&self) -> Interest {
        let is_written = self.send_queue.is_empty() && !self.stream.has_unsent();
        if is_written || self.is_throttled {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        }
    }

    fn silence_ends(&self) -> Instant {
        let ping_after = self.timeouts.ping_after;
        self.alive + if self.pinged { ping_after + self.timeouts.ping_answer } else { ping_after }
    }

    fn decoded(&mut self) -> Result<Option<Incoming>, AttemptEnd> {
        loop {
            return Ok(match self.decoder.next_part()? {
                None => None,
                Some(Part::Control(json)) => {
                    let reply = Reply::parse(json).map_err(|error| {
                        AttemptEnd::Garbled(crate::failure::Failure::Protocol(format!(
                            "not a reply: {error}"
                        )))
                    })?;
                    if reply.channel() == TOKEN_CHANNEL {
                        continue;
                    }
                    Some(Incoming::Reply(reply))
                }
                Some(Part::BlockList { channel, first, values }) => {
                    Some(Incoming::BlockList { channel, first, values })
                }
                // The frame limits forbid both until bytes of files are asked for.
                Some(Part::Block { channel, index, value }) => {
                    Some(Incoming::Block { channel, index, value })
                }
                Some(Part::Chunk { channel, offset, length }) => {
                    Some(Incoming::Chunk { channel, offset, length })
                }
            });
        }
    }

    /// Writes once, as much as the socket takes. An error is kept until everything that has arrived
    /// is read: the server may have sent the reason why it closed the connection.
    fn write_some(&mut self) -> bool {
        self.is_throttled = false;
        let is_written = self.send_queue.is_empty() && !self.stream.has_unsent();
        if is_written || self.broken.is_some() {
            return false;
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let allowed = match &self.limit {
            None => usize::MAX,
            Some(limit) => limit.take(LIMITED_WRITE_BYTES, Instant::now()),
        };
        self.is_throttled = allowed == 0;
        if self.is_throttled {
            return false;
        }
        let count = self.send_queue.slices(&mut slices, allowed);
        let written = self.stream.try_write(&slices[..count]);
        if let Some(limit) = &self.limit {
            limit.give_back(allowed - written.as_ref().map_or(0, |written| *written));
        }
        match written {
            Ok(written) => {
                self.send_queue.advance(written);
                written > 0
            }
            Err(error) if is_for_now(&error) => false,
            Err(error) => {
                self.broken = Some(error);
                self.send_queue.clear();
                false
            }
        }
    }

    fn read_some(&mut self) -> Result<bool, AttemptEnd> {
        let space = self.decoder.space();
        match self.stream.try_read(space) {
            Ok(0) => Err(AttemptEnd::Lost(match self.broken.take() {
                Some(error) => in_words(&error),
                None => {
                    self.is_closed = true;
                    "the server has closed the connection".to_owned()
                }
            })),
            Ok(count) => {
                self.greeting.came(&space[..count]);
                self.decoder.filled(count);
                self.heard_bytes += count as u64;
                Ok(true)
            }
            Err(error) if is_for_now(&error) => match self.broken.take() {
                Some(broken) => Err(broken.into()),
                None => Ok(false),
            },
            Err(error) => Err(error.into()),
        }
    }
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The reply, if it is for that channel. An error on channel 0 is about the
/// connection as a whole.
pub(crate) fn for_channel(reply: Reply, channel: Channel) -> Result<Option<Reply>, AttemptEnd> {
    match reply {
        reply if reply.channel() == channel => Ok(Some(reply)),
        Reply::Error(error) if error.channel == Channel::default() => {
            Err(AttemptEnd::refused(error))
        }
        _ => Ok(None),
    }
}
