//! Many small files over one connection, none of them waiting for another's answer.
//!
//! Each file has a channel of its own: `upload`, its bytes and `complete` in one go, as
//! long as the server has not got the files already. With a hundred on their way the
//! link is never idle. The wish names the file's hash and that nothing is to begin beside
//! an older upload of it: so a lost SUCCESS is found again, and the same file is never
//! published twice. Where a second copy is wanted, bytes wait for the grant: from then on
//! the file has a number.
//!
//! Only what goes as usual is done here. A file that is no small regular file, that was
//! begun before, or that the server says anything unusual about is left to
//! [`Transfer`](crate::transfer::Transfer), which knows all of that.

mod flights;
mod loader;

use crate::connection::{Connection, Said, Step};
use crate::document::Document;
use crate::events::Receipt;
use crate::long_work::{Advance, LongWork};
use crate::stop::Stop;
pub(crate) use flights::Flights;
use loader::{Loaded, Loader};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use tokio::time::{Instant, sleep_until};
use towline_protocol::reply::Progress;
use towline_protocol::{Channel, Reply};
use towline_types::{DocumentId, OnConflict};

/// Files on their way at a time: as many as share a commit on the server.
const FILES: usize = 256;

/// Bytes on their way at a time.
const BYTES: usize = 8 << 20;

/// One file of many.
#[derive(Debug)]
pub(crate) struct Shot<'a> {
    /// The caller's number for it.
    pub(crate) index: usize,
    pub(crate) document: &'a Document,
    pub(crate) on_conflict: Option<OnConflict>,
    /// Upload even if the same bytes are there already.
    pub(crate) again: bool,
}

/// What the ordinary way has to do, in order.
pub(crate) type Left = BTreeMap<usize, Before>;

/// What the server may have of a file that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing that this run has sent.
    Nothing,
    /// All of it was sent, and nothing was heard: it may be published any moment.
    Thrown,
    /// This upload was granted.
    Document(DocumentId),
}

/// How a volley ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) left: Left,
    /// What was not even begun, because the connection was lost before.
    pub(crate) unbegun: BTreeSet<usize>,
}

/// See the module's description.
pub(crate) struct Volley<'link, 'shots> {
    link: &'link mut Connection,
    loader: Loader,
    flights: Flights<'shots>,
    /// The next shot that the loader will speak of.
    next: usize,
    /// When a file last set out, or was answered, or the server got on with the copy of one.
    moved: Instant,
    /// Files that the server copies to the file system of their folder, by their channels.
    copies: BTreeMap<u32, LongWork>,
}

impl<'link, 'shots> Volley<'link, 'shots> {
    /// Begins to read. `known` are files that an earlier run has begun with.
    pub(crate) fn new(
        link: &'link mut Connection,
        shots: &'shots [Shot<'shots>],
        known: HashSet<PathBuf>,
    ) -> std::io::Result<Self> {
        let paths = shots.iter().map(|shot| shot.document.local.clone()).collect();
        let loader = Loader::start(paths, known)?;
        let flights = Flights::new(shots);
        let (moved, copies) = (Instant::now(), BTreeMap::new());
        Ok(Self { link, loader, flights, next: 0, moved, copies })
    }

    /// Sends all that goes as usual. `done` hears of each file that is confirmed.
    ///
    /// Cancel-safe: what was read, written or loaded is accounted for in `self`.
    ///
    /// # Errors
    /// Why it ended before every file was looked at.
    pub(crate) async fn run(&mut self, done: &mut impl FnMut(usize, Receipt)) -> Result<(), Stop> {
        while self.next < self.flights.shots().len() || !self.flights.is_empty() {
            let room = self.flights.channels() < self.files_max() && self.flights.bytes() < BYTES;
            let stall_ends = self.moved + self.link.patience().headway;
            if Instant::now() >= stall_ends {
                return Err(Stop::Lost("the server leaves all files unanswered".to_owned()));
            }
            tokio::select! {
                // Cancel-safe, all.
                biased;
                loaded = self.loader.next(), if room && self.next < self.flights.shots().len() => {
                    self.launch(loaded);
                }
                step = self.link.next(false) => {
                    if let Step::Said(Said::Reply(reply)) = step? {
                        self.hear(reply, done)?;
                    }
                }
                () = sleep_until(stall_ends) => {}
            }
        }
        Ok(())
    }

    /// What is still in the air, without the connection.
    pub(crate) fn into_flights(self) -> (Flights<'shots>, BTreeSet<usize>) {
        let unbegun = self.flights.shots()[self.next..].iter().map(|shot| shot.index).collect();
        (self.flights, unbegun)
    }

    fn files_max(&self) -> usize {
        let channels = usize::try_from(self.link.welcome().max_channels).unwrap_or(FILES);
        FILES.min(channels / 2).max(1)
    }

    fn launch(&mut self, loaded: Loaded) {
        let shot = self.next;
        self.next += 1;
        self.moved = Instant::now();
        let Loaded::Small(small) = loaded else {
            self.flights.leave(shot);
            return;
        };
        let channel = loop {
            // A channel is free when its file is.
            let channel = self.link.new_channel();
            if !self.flights.has(channel) {
                break channel;
            }
        };
        let frames = self.flights.launch(channel, shot, small, self.link.welcome());
        self.link.queue_frames(frames);
    }

    fn hear(&mut self, reply: Reply, done: &mut impl FnMut(usize, Receipt)) -> Result<(), Stop> {
        let channel = reply.channel();
        let is_answer = !matches!(reply, Reply::Progress(_) | Reply::Ping(_));
        if is_answer && self.flights.has(channel) {
            self.moved = Instant::now();
            self.copies.remove(&channel.0);
        }
        match reply {
            Reply::Error(error) if channel == Channel::default() => {
                return Err(Stop::refused(error));
            }
            // It was begun before.
            Reply::Find(_) => self.flights.refused(channel),
            Reply::Upload(granted) => {
                if let Some(frames) = self.flights.granted(channel, &granted, self.link.welcome()) {
                    self.link.queue_frames(frames);
                }
            }
            Reply::Success(success) => {
                if let Some((index, receipt)) = self.flights.succeeded(channel, success) {
                    done(index, receipt);
                }
            }
            Reply::Error(_) => self.flights.refused(channel),
            // How far a file is.
            Reply::Progress(Progress { copied: Some(copied), .. }) if self.flights.has(channel) => {
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
