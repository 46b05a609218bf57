//! Fetching, whatever becomes of connections: takes in the files that are to be fetched, and hears
//! what becomes of blocks and files. The connections share it ([`receive`](super::receive)).

use super::download::Download;
use super::prepare::{Ended, Outcome, Prepared};
use super::queue::{BAD_BLOCKS_MAX, Damaged, Piece, Queue};
use super::writer::{Arrived, Buffer, Done, Writer};
use crate::failure::Failure;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc, watch};
use towline_types::BlockIndex;

/// The number of bytes that one request asks for where there is one connection, a whole number of
/// blocks.
const ASK_BYTES: u64 = 16 << 20;

/// The same where there are several, so that each gets a part of a file that has few requests.
const SMALL_ASK_BYTES: u64 = 4 << 20;

/// The number of bytes that are asked for and have not come, of all connections together: as many
/// as a fast and long link holds.
const WINDOW_BYTES: u64 = 64 << 20;

/// What one connection may ask for at least.
const LEAST_WINDOW_BYTES: u64 = 16 << 20;

/// The number of files that are being fetched or get their names. Each has open descriptors.
const FILES_MAX: usize = 320;

/// See the module's description. It outlives connections.
#[derive(Debug)]
pub(crate) struct Receiver {
    prepared: tokio::sync::Mutex<mpsc::Receiver<Prepared>>,
    writer: Writer,
    state: Mutex<State>,
    /// Counts up when there is more to ask for.
    has_more: watch::Sender<u64>,
    /// There is room for further files.
    has_room: Notify,
    ask_bytes: u64,
    window_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    is_at_end: bool,
    /// Blocks that the writer has.
    writing: usize,
    /// Files that are whole, and do not have their names yet.
    finishing: usize,
    /// The bytes that have arrived, repetitions included.
    fetched_bytes: u64,
    /// Connections on which files come.
    connections: usize,
}

/// What a caller is told.
pub(crate) enum Told {
    Progress { download: Arc<Download>, left_bytes: u64 },
    Ended(Ended),
}

/// Called with everything that happens to files.
pub(crate) type FileListener<'a> = &'a (dyn Fn(Told) + Send + Sync);

/// A connection on which files come; another one may take its place when this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Receiver);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().connections -= 1;
    }
}

impl Receiver {
    /// Fetches over that number of connections.
    pub(super) fn new(
        prepared: mpsc::Receiver<Prepared>,
        writer: Writer,
        connections: usize,
    ) -> Self {
        let share = WINDOW_BYTES / connections.max(1) as u64;
        Self {
            prepared: tokio::sync::Mutex::new(prepared),
            writer,
            state: Mutex::default(),
            has_more: watch::Sender::new(0),
            has_room: Notify::new(),
            ask_bytes: if connections > 1 { SMALL_ASK_BYTES } else { ASK_BYTES },
            window_bytes: share.max(LEAST_WINDOW_BYTES),
        }
    }

    /// The bytes of files that have arrived so far, repetitions included.
    pub(crate) fn fetched_bytes(&self) -> u64 {
        self.state().fetched_bytes
    }

    /// The file that is being fetched.
    pub(crate) fn current(&self) -> Option<Arc<Download>> {
        self.state().queue.first().map(Arc::clone)
    }

    /// Whether files come on some connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.state().connections > 0
    }

    /// Takes files in and hears what becomes of them, until no file is left.
    ///
    /// # Cancel safety
    /// Cancel-safe: another call goes on.
    pub(crate) async fn attend(&self, tell: FileListener<'_>) {
        let mut prepared = self.prepared.lock().await;
        loop {
            let (wants_more, is_over) = {
                let State { queue, is_at_end, writing, finishing, .. } = &*self.state();
                let has_room =
                    queue.len() + finishing < FILES_MAX && queue.unasked_bytes() < WINDOW_BYTES;
                let is_over = *is_at_end && queue.len() + writing + finishing == 0;
                (!is_at_end && has_room, is_over)
            };
            if is_over {
                return;
            }
            tokio::select! {
                // Cancel-safe, all.
                biased;
                Some(done) = self.writer.done() => self.hear_of(done, tell),
                one = prepared.recv(), if wants_more => match one {
                    Some(one) => self.take_in(one, tell),
                    None => self.state().is_at_end = true,
                },
                () = self.has_room.notified() => {}
            }
        }
    }

    /// Waits until the blocks that have arrived are written, where nothing more is fetched: what the
    /// next run fetches again is then at most a block of each connection.
    pub(crate) async fn settle(&self, tell: FileListener<'_>) {
        // No run continues a file on standard output, and its reader may have ended.
        let is_output = |download: &Arc<Download>| download.is_for_output();
        let is_output = self.state().queue.first().is_some_and(is_output);
        while !is_output && self.state().writing > 0 {
            let Some(done) = self.writer.done().await else { return };
            self.hear_of(done, tell);
        }
    }

    /// A connection begins to fetch.
    pub(super) fn place(&self) -> Place<'_> {
        self.state().connections += 1;
        Place(self)
    }

    /// Counts up when there is more to ask for.
    pub(super) fn more(&self) -> watch::Receiver<u64> {
        self.has_more.subscribe()
    }

    /// The next bytes to ask for; nothing where a connection has asked for enough.
    pub(super) fn take(&self, window: u64) -> Option<Piece> {
        if window >= self.window_bytes {
            return None;
        }
        let piece = self.state().queue.take(self.ask_bytes);
        if piece.is_some() {
            self.has_room.notify_one();
        }
        piece
    }

    pub(super) fn wants(&self, piece: &Piece) -> bool {
        self.state().queue.wants(piece)
    }

    /// A connection was lost that had everything of the piece up to `at`.
    pub(super) fn give_back(&self, piece: &Piece, at: u64) {
        self.state().queue.give_back(piece, at);
        self.tell_of_more();
    }

    pub(super) fn came(&self, bytes: u64) {
        self.state().fetched_bytes += bytes;
    }

    /// A buffer for the next block, once one is free.
    ///
    /// Cancel-safe: a buffer that is free stays free.
    pub(super) async fn buffer(&self) -> Buffer {
        self.writer.buffer().await
    }

    /// Has a block written.
    pub(super) fn write(&self, arrived: Arrived) {
        self.state().writing += 1;
        self.writer.write(arrived);
    }

    /// A file cannot be fetched; the others go on.
    pub(super) fn fail(&self, download: &Download, failure: Failure, tell: FileListener<'_>) {
        if self.state().queue.remove(download) {
            tell(Told::Ended(Ended::of(download, Outcome::Failed(Box::new(failure)))));
        }
        self.has_room.notify_one();
    }

    fn take_in(&self, prepared: Prepared, tell: FileListener<'_>) {
        match prepared {
            Prepared::Ended(ended) => tell(Told::Ended(ended)),
            Prepared::Fetch(download) => {
                let missing = download.missing();
                if missing.is_empty() {
                    return self.finish(download);
                }
                self.state().queue.add(download, missing);
                self.tell_of_more();
            }
        }
    }

    fn finish(&self, download: Arc<Download>) {
        self.state().finishing += 1;
        self.writer.finish(download);
    }

    fn hear_of(&self, done: Done, tell: FileListener<'_>) {
        match done {
            Done::Written { download, bytes } => {
                let left_bytes = {
                    let mut state = self.state();
                    state.writing -= 1;
                    state.queue.written(&download, bytes)
                };
                let Some(left_bytes) = left_bytes else { return };
                if left_bytes == 0 {
                    self.finish(Arc::clone(&download));
                }
                tell(Told::Progress { download, left_bytes });
            }
            Done::Passed => self.state().writing -= 1,
            Done::Bad { download, index, values } => {
                let damaged = {
                    let mut state = self.state();
                    state.writing -= 1;
                    state.queue.damaged(&download, index, values)
                };
                match damaged {
                    Damaged::Again => self.tell_of_more(),
                    Damaged::TooOften => self.fail(&download, too_often(&download, index), tell),
                    Damaged::Unwanted => {}
                }
            }
            Done::Failed(download, failure) => {
                self.state().writing -= 1;
                self.fail(&download, failure, tell);
            }
            Done::Finished(download) => {
                self.state().finishing -= 1;
                tell(Told::Ended(Ended::of(&download, Outcome::Fetched)));
            }
            Done::Unfinished(download, failure) => {
                self.state().finishing -= 1;
                tell(Told::Ended(Ended::of(&download, Outcome::Failed(Box::new(failure)))));
            }
        }
    }

    fn tell_of_more(&self) {
        self.has_more.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_often(download: &Download, index: BlockIndex) -> Failure {
    let reason = format!(
        "block {} has arrived damaged {BAD_BLOCKS_MAX} times: something on the way changes the \
         bytes, or the file on the server is damaged",
        index.get()
    );
    Failure::Integrity { reason, document_id: Some(download.document_id) }
}
