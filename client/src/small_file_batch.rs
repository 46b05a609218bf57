//! Many small files over one connection: no file waits for the answer to another one.
//!
//! Each file has a channel of its own. While the server turns out not to have the files yet,
//! the client sends `upload`, the bytes and `complete` together, before any answer. With some
//! hundred files on their way the connection is never idle; over a long [link](link::Link) there
//! are more.
//!
//! `upload` names the hash of the file and sets `new_only`: the server begins no upload where it
//! has an older one of the same file. So a SUCCESS that was lost with a connection is found again,
//! and the same file is never published twice. With `again` a second copy is wanted; then the bytes
//! wait for the grant, because from the grant on the file has a document number under which it is
//! found.
//!
//! Folders and links are a request each, between those of the files.
//!
//! Only the usual case is handled here. A file that is not a small regular file, that an
//! earlier run has begun, or about which the server says anything unusual remains for
//! [`Transfer`](crate::transfer::Transfer), which handles all cases.

mod in_flight;
pub(crate) mod item;
mod link;
mod loader;

use crate::attempt_end::AttemptEnd;
use crate::connection::{Connection, Incoming, Step, WaitFor};
use crate::feed::{Feed, FeedItem};
use crate::item::Sent;
use crate::long_work::{Advance, LongWork};
pub(crate) use in_flight::InFlight;
use link::Link;
use loader::{Loaded, Loader};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use tokio::time::{Instant, sleep_until};
use towline_protocol::reply::Progress;
use towline_protocol::{Channel, Reply};

/// The number of bytes that are sent and not answered at a time.
const BYTES: usize = 8 << 20;

/// The number of files that may remain for [`Transfer`](crate::transfer::Transfer) before the
/// batch ends: they get their turn before more files are taken in.
const REMAINING_MAX: usize = 256;

/// See the module's description.
pub(crate) struct SmallFileBatch<'link> {
    connection: &'link mut Connection,
    link: Link,
    loader: Loader,
    in_flight: InFlight,
    /// The loader has handed over the last file.
    is_at_end: bool,
    /// When a file was last started, answered, or copied further by the server.
    moved: Instant,
    /// The copies that the server makes of whole files, to the file system of their folder; by
    /// the channels of the files.
    copies: BTreeMap<u32, LongWork>,
}

impl<'link> SmallFileBatch<'link> {
    /// Starts the thread that reads the files. `known` are the files that an earlier run has
    /// begun: they remain for [`Transfer`](crate::transfer::Transfer).
    ///
    /// # Errors
    /// Where the system has no thread for that.
    pub(crate) fn new(
        connection: &'link mut Connection,
        feed: Feed,
        known: HashSet<PathBuf>,
    ) -> std::io::Result<Self> {
        let loader = Loader::start(feed, known)?;
        let link = Link::of(connection.round_trip());
        let in_flight = InFlight::over(link, connection.issuer().cloned());
        let (moved, copies) = (Instant::now(), BTreeMap::new());
        Ok(Self { connection, link, loader, in_flight, is_at_end: false, moved, copies })
    }

    /// Sends the files, until the feed has no more or [`REMAINING_MAX`] files remain for the
    /// ordinary way. `done` is called with each item that the server confirms.
    ///
    /// # Errors
    /// Why the batch ended before all files that it has taken in were answered.
    ///
    /// # Cancel safety
    /// Cancel-safe: what was read, written or loaded is recorded in `self`.
    pub(crate) async fn run(
        &mut self,
        done: &mut impl FnMut(FeedItem, Sent),
    ) -> Result<(), AttemptEnd> {
        loop {
            let wants_more = !self.is_at_end && self.in_flight.remaining() < REMAINING_MAX;
            let is_idle = self.in_flight.is_empty();
            if !wants_more && is_idle {
                return Ok(());
            }
            let room = wants_more
                && self.in_flight.takes_more()
                && self.in_flight.channels() < self.files_max()
                && self.in_flight.bytes() < BYTES;
            let stall_ends = self.moved + self.connection.timeouts().progress;
            // Where no file is on its way, the batch waits for the disk and not for the server.
            if !is_idle && Instant::now() >= stall_ends {
                return Err(AttemptEnd::Lost("the server leaves all files unanswered".to_owned()));
            }
            tokio::select! {
                // Cancel-safe, all.
                biased;
                loaded = self.loader.next(), if room => match loaded {
                    Some(loaded) => self.start(loaded, done),
                    None => self.is_at_end = true,
                },
                step = self.connection.next(WaitFor::Incoming) => {
                    if let Step::Incoming(Incoming::Reply(reply)) = step? {
                        self.hear(reply, done)?;
                    }
                }
                () = sleep_until(stall_ends), if !is_idle => {}
            }
        }
    }

    /// Ends the batch: the files without an answer. Those that were read and not begun are in
    /// the feed again.
    pub(crate) fn into_in_flight(self) -> InFlight {
        self.in_flight
    }

    fn files_max(&self) -> usize {
        let channels = usize::try_from(self.connection.welcome().max_channels);
        self.link.files_max(channels.unwrap_or(usize::MAX))
    }

    fn start(&mut self, loaded: Loaded, done: &mut impl FnMut(FeedItem, Sent)) {
        self.moved = Instant::now();
        let Loaded { item, small } = loaded;
        if !item.kind.is_file() {
            return self.ask_for(item, done);
        }
        let Some(small) = small else {
            self.in_flight.leave(item);
            return;
        };
        let channel = self.free_channel();
        let frames = self.in_flight.start(channel, item, small, self.connection.welcome());
        self.connection.queue_frames(frames);
    }

    fn ask_for(&mut self, item: FeedItem, done: &mut impl FnMut(FeedItem, Sent)) {
        if !self.connection.knows("tree") {
            let left_out = item.kind.left_out();
            return done(item, left_out);
        }
        let channel = self.free_channel();
        if let Some(frame) = self.in_flight.ask_for(channel, item) {
            self.connection.queue_frames(frame);
        }
    }

    fn free_channel(&mut self) -> Channel {
        loop {
            // A channel is free once its file has its last answer.
            let channel = self.connection.new_channel();
            if !self.in_flight.has(channel) {
                return channel;
            }
        }
    }

    fn hear(
        &mut self,
        reply: Reply,
        done: &mut impl FnMut(FeedItem, Sent),
    ) -> Result<(), AttemptEnd> {
        let channel = reply.channel();
        let is_answer = !matches!(reply, Reply::Progress(_) | Reply::Ping(_));
        if is_answer && self.in_flight.has(channel) {
            self.moved = Instant::now();
            self.copies.remove(&channel.0);
        }
        match reply {
            Reply::Error(error) if channel == Channel::default() => {
                return Err(AttemptEnd::refused(error));
            }
            // `new_only` was set, and an earlier upload of the file exists.
            Reply::Find(_) => self.in_flight.refused(channel),
            Reply::Upload(granted) => {
                if let Some(frames) =
                    self.in_flight.granted(channel, &granted, self.connection.welcome())
                {
                    self.connection.queue_frames(frames);
                }
            }
            reply @ (Reply::Success(_) | Reply::Mkdir(_) | Reply::Link(_)) => {
                if let Some((item, sent)) = self.in_flight.ended_by(reply) {
                    done(item, sent);
                }
            }
            Reply::Error(_) => self.in_flight.refused(channel),
            // The report says how far the server's copy of the file is.
            Reply::Progress(Progress { copied: Some(copied), .. })
                if self.in_flight.has(channel) =>
            {
                let copy = self.copies.entry(channel.0).or_default();
                if copy.reported(copied.get()) != Advance::None {
                    self.moved = Instant::now();
                }
            }
            _ => {}
        }
        Ok(())
    }
}
