//! The receiving side of one connection: asks for ranges of files, checks what comes, and hands
//! whole blocks to the writer.
//!
//! Several requests are under way at a time, so that the link is never idle between files or
//! ranges. What they ask for bounds the bytes that may come.

use super::download::Download;
use super::prepare::{Ended, Outcome, Prepared};
use super::writer::{Arrived, Buffer, Done, Writer};
use crate::attempt_end::AttemptEnd;
use crate::connection::{Connection, Incoming, Step, WaitFor};
use crate::failure::Failure;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use towline_protocol::reply::{Read as ReadReply, ReadBegin};
use towline_protocol::request::Read;
use towline_protocol::{Channel, Reply, Request};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{BlockIndex, ChainingValue, Offset};

/// The number of bytes that one request asks for, a whole number of blocks.
const ASK_BYTES: u64 = 16 << 20;

/// The number of bytes that are asked for and have not come: as many as a fast and long link
/// holds.
const WINDOW_BYTES: u64 = 64 << 20;

/// The number of requests that are under way.
const ASKED_MAX: usize = 48;

/// How often blocks of one file may arrive damaged before the file is given up.
const BAD_BLOCKS_MAX: u32 = 8;

/// See the module's description. It outlives connections.
#[derive(Debug)]
pub(crate) struct Receiver {
    prepared: mpsc::Receiver<Prepared>,
    is_at_end: bool,
    writer: Writer,
    /// Files of which something has yet to be asked for or to arrive, in their order.
    active: VecDeque<Active>,
    /// Blocks that the writer has.
    writing: usize,
    /// Files that are whole, and do not have their names yet.
    finishing: usize,
    /// A block was written since the last connection began.
    made_headway: bool,
    /// The bytes that have arrived, repetitions included.
    fetched_bytes: u64,
}

#[derive(Debug)]
struct Active {
    download: Arc<Download>,
    /// What is to be asked for next.
    next: u64,
    /// Blocks that arrived damaged, to be asked for again.
    again: Vec<BlockIndex>,
    /// Bytes that are not written yet.
    left_bytes: u64,
    bad_blocks: u32,
}

/// A request that is not answered to its end.
#[derive(Debug)]
struct Asked {
    channel: Channel,
    download: Arc<Download>,
    at: u64,
    end: u64,
    /// The values of blocks come with them.
    with_values: bool,
    has_begun: bool,
    /// Its file has failed, or its bytes are no longer wanted.
    is_dead: bool,
    value: Option<(BlockIndex, ChainingValue)>,
    buffer: Option<Buffer>,
}

/// What a caller is told.
pub(crate) enum Told {
    Progress { download: Arc<Download>, left_bytes: u64 },
    Ended(Ended),
}

impl Receiver {
    pub(super) fn new(prepared: mpsc::Receiver<Prepared>, writer: Writer) -> Self {
        Self {
            prepared,
            is_at_end: false,
            writer,
            active: VecDeque::new(),
            writing: 0,
            finishing: 0,
            made_headway: false,
            fetched_bytes: 0,
        }
    }

    /// Whether something was written since this was last asked.
    pub(crate) fn made_headway(&mut self) -> bool {
        std::mem::take(&mut self.made_headway)
    }

    /// The bytes of files that have arrived so far, repetitions included.
    pub(crate) fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes
    }

    /// The file that is being fetched.
    pub(crate) fn current(&self) -> Option<&Arc<Download>> {
        self.active.front().map(|active| &active.download)
    }

    /// Fetches until no file is left.
    ///
    /// # Errors
    /// Why the connection cannot be used any more. Another call goes on where this one ended.
    ///
    /// # Cancel safety
    /// Cancel-safe: what has arrived of the block under way is fetched again.
    pub(crate) async fn run(
        &mut self,
        connection: &mut Connection,
        tell: &mut (dyn FnMut(Told) + Send),
    ) -> Result<(), AttemptEnd> {
        connection.accept_files();
        let mut asked = VecDeque::new();
        // What is not written yet would be asked for again.
        while self.writing > 0 {
            let Some(done) = self.writer.done().await else { break };
            self.hear_of(done, &mut asked, tell);
        }
        for active in &mut self.active {
            let known = active.download.known_bytes();
            active.next = known;
            active.left_bytes = active.download.expected.filesize.get() - known;
            active.again.clear();
        }
        let mut moved = Instant::now();
        loop {
            while let Some(done) = self.writer.done_now() {
                self.hear_of(done, &mut asked, tell);
            }
            self.ask(connection, &mut asked);
            let is_idle = asked.is_empty();
            if is_idle && self.is_at_end && self.active.is_empty() && self.finishing == 0 {
                return Ok(());
            }
            let stall_ends = moved + connection.timeouts().progress;
            if !is_idle && Instant::now() >= stall_ends {
                return Err(AttemptEnd::Lost("the server sends nothing of the file".to_owned()));
            }
            let wants_more = !self.is_at_end && asked.len() < ASKED_MAX && self.has_room(&asked);
            tokio::select! {
                // Cancel-safe, all.
                biased;
                prepared = self.prepared.recv(), if wants_more => match prepared {
                    Some(prepared) => self.take_in(prepared, tell),
                    None => self.is_at_end = true,
                },
                Some(done) = self.writer.done() => self.hear_of(done, &mut asked, tell),
                step = connection.next(WaitFor::Incoming) => {
                    let Step::Incoming(incoming) = step? else { continue };
                    if self.hear(incoming, connection, &mut asked, tell).await? || is_idle {
                        moved = Instant::now();
                    }
                }
                () = sleep_until(stall_ends), if !is_idle => {}
            }
        }
    }

    fn has_room(&self, asked: &VecDeque<Asked>) -> bool {
        let has_unasked = self.active.iter().any(|active| {
            !active.again.is_empty() || active.next < active.download.expected.filesize.get()
        });
        !has_unasked && window(asked) < WINDOW_BYTES
    }

    fn take_in(&mut self, prepared: Prepared, tell: &mut (dyn FnMut(Told) + Send)) {
        match prepared {
            Prepared::Ended(ended) => tell(Told::Ended(ended)),
            Prepared::Fetch(download) => {
                let known = download.known_bytes();
                let left_bytes = download.expected.filesize.get() - known;
                if left_bytes == 0 {
                    return self.finish(download);
                }
                let (again, bad_blocks) = (Vec::new(), 0);
                self.active.push_back(Active {
                    download,
                    next: known,
                    again,
                    left_bytes,
                    bad_blocks,
                });
            }
        }
    }

    fn finish(&mut self, download: Arc<Download>) {
        self.finishing += 1;
        self.writer.finish(download);
    }

    /// Asks for as much as there is room for.
    fn ask(&mut self, connection: &mut Connection, asked: &mut VecDeque<Asked>) {
        let mut window = window(asked);
        for active in &mut self.active {
            let filesize = active.download.expected.filesize;
            loop {
                if asked.len() >= ASKED_MAX || window >= WINDOW_BYTES {
                    return;
                }
                let (start, end, with_values) = match active.again.pop() {
                    Some(index) => {
                        let span = index.span(filesize);
                        (span.start, span.end, false)
                    }
                    None if active.next < filesize.get() => {
                        let start = active.next;
                        active.next = (start + ASK_BYTES).min(filesize.get());
                        (start, active.next, true)
                    }
                    None => break,
                };
                let channel = connection.new_channel();
                connection.queue(&Request::Read(Read {
                    channel,
                    document_id: Some(active.download.document_id),
                    // Within a file, whose length is an offset, too.
                    offset: Offset::try_from(start).ok(),
                    length: Some(end - start),
                    blocks: with_values,
                    ..Read::default()
                }));
                window += end - start;
                asked.push_back(Asked {
                    channel,
                    download: Arc::clone(&active.download),
                    at: start,
                    end,
                    with_values,
                    has_begun: false,
                    is_dead: false,
                    value: None,
                    buffer: None,
                });
            }
        }
    }

    /// Says whether something has arrived that was asked for.
    async fn hear(
        &mut self,
        incoming: Incoming,
        connection: &mut Connection,
        asked: &mut VecDeque<Asked>,
        tell: &mut (dyn FnMut(Told) + Send),
    ) -> Result<bool, AttemptEnd> {
        match incoming {
            Incoming::Reply(reply) => self.hear_reply(reply, asked, tell),
            Incoming::Block { channel, index, value } => {
                first(asked, channel)?.value = Some((index, value));
                Ok(true)
            }
            Incoming::Chunk { channel, offset, length } => {
                self.take_chunk(channel, offset.get(), length, connection, asked).await?;
                Ok(true)
            }
            Incoming::BlockList { .. } => Err(AttemptEnd::protocol("a list of blocks")),
        }
    }

    async fn take_chunk(
        &mut self,
        channel: Channel,
        offset: u64,
        length: u32,
        connection: &mut Connection,
        asked: &mut VecDeque<Asked>,
    ) -> Result<(), AttemptEnd> {
        let asked = first(asked, channel)?;
        let end = offset + u64::from(length);
        let index = BlockIndex::try_from(offset / BLOCK_SIZE_BYTES)
            .map_err(|_| AttemptEnd::protocol("bytes beyond any file"))?;
        let span = index.span(asked.download.expected.filesize);
        let fits = asked.has_begun && offset == asked.at && end <= asked.end && end <= span.end;
        if !fits {
            return Err(AttemptEnd::protocol("bytes that were not asked for"));
        }
        if asked.buffer.is_none() {
            asked.buffer = Some(self.writer.buffer().await);
        }
        let Some(buffer) = asked.buffer.as_mut() else { return Ok(()) };
        let position = |at: u64| usize::try_from(at - span.start).unwrap_or(usize::MAX);
        let mut wanted = &mut buffer.bytes()[position(offset)..position(end)];
        while !wanted.is_empty() {
            let count = connection.payload(wanted).await?;
            wanted = &mut wanted[count..];
        }
        self.fetched_bytes += u64::from(length);
        asked.at = end;
        if end < span.end {
            return Ok(());
        }
        let value = match (asked.with_values, asked.value.take()) {
            (false, _) => None,
            (true, Some((of, value))) if of == index => Some(value),
            (true, _) => return Err(AttemptEnd::protocol("a block without its value")),
        };
        if let Some(buffer) = asked.buffer.take()
            && !asked.is_dead
        {
            self.writing += 1;
            let download = Arc::clone(&asked.download);
            let length_bytes = position(span.end);
            self.writer.write(Arrived { download, index, value, length_bytes, buffer });
        }
        Ok(())
    }

    fn hear_reply(
        &mut self,
        reply: Reply,
        asked: &mut VecDeque<Asked>,
        tell: &mut (dyn FnMut(Told) + Send),
    ) -> Result<bool, AttemptEnd> {
        match reply {
            Reply::Read(ReadReply::Begins(begins)) => {
                let asked = first(asked, begins.channel)?;
                if asked.has_begun || !is_what_was_asked(&begins, asked) {
                    return Err(AttemptEnd::protocol("bytes of another file, or other ones"));
                }
                asked.has_begun = true;
                Ok(true)
            }
            Reply::Read(ReadReply::Ends(ends)) => {
                let ended = first(asked, ends.channel)?;
                if !ended.has_begun || ended.at != ended.end {
                    return Err(AttemptEnd::protocol("an end before the last byte"));
                }
                asked.pop_front();
                Ok(true)
            }
            Reply::Error(error) => {
                if asked.front().is_none_or(|asked| asked.channel != error.channel) {
                    return Err(AttemptEnd::refused(error));
                }
                let Some(ended) = asked.pop_front() else { return Ok(true) };
                if !ended.is_dead {
                    match AttemptEnd::refused(error) {
                        AttemptEnd::Failed(failure) => {
                            self.fail(&ended.download, failure, asked, tell);
                        }
                        end => return Err(end),
                    }
                }
                Ok(true)
            }
            // The server reads a file from its disk before it sends anything of it.
            Reply::Progress(_) => Ok(true),
            _ => Ok(false),
        }
    }

    fn hear_of(
        &mut self,
        done: Done,
        asked: &mut VecDeque<Asked>,
        tell: &mut (dyn FnMut(Told) + Send),
    ) {
        match done {
            Done::Written { download, bytes } => {
                self.writing -= 1;
                self.made_headway = true;
                let Some(place) = self.place(&download) else { return };
                let active = &mut self.active[place];
                active.left_bytes -= bytes.min(active.left_bytes);
                let left_bytes = active.left_bytes;
                if left_bytes == 0 {
                    self.active.remove(place);
                    self.finish(Arc::clone(&download));
                }
                tell(Told::Progress { download, left_bytes });
            }
            Done::Passed => self.writing -= 1,
            Done::Bad { download, index } => {
                self.writing -= 1;
                let Some(place) = self.place(&download) else { return };
                let active = &mut self.active[place];
                active.bad_blocks += 1;
                if active.bad_blocks > BAD_BLOCKS_MAX {
                    let reason = format!(
                        "block {} has arrived damaged {BAD_BLOCKS_MAX} times: something on the way \
                         changes the bytes, or the file on the server is damaged",
                        index.get()
                    );
                    let document_id = Some(download.document_id);
                    let failure = Failure::Integrity { reason, document_id };
                    return self.fail(&download, failure, asked, tell);
                }
                // Without its value: then the server compares the block before it sends it.
                active.again.push(index);
                if download.is_for_output() {
                    // What follows the block has to come behind it.
                    active.next = index.span(download.expected.filesize).end;
                    kill(&download, asked);
                }
            }
            Done::Failed(download, failure) => {
                self.writing -= 1;
                self.fail(&download, failure, asked, tell);
            }
            Done::Finished(download) => {
                self.finishing -= 1;
                tell(Told::Ended(Ended::of(&download, Outcome::Fetched)));
            }
            Done::Unfinished(download, failure) => {
                self.finishing -= 1;
                tell(Told::Ended(Ended::of(&download, Outcome::Failed(Box::new(failure)))));
            }
        }
    }

    fn place(&self, download: &Arc<Download>) -> Option<usize> {
        self.active.iter().position(|active| active.download.number == download.number)
    }

    /// A file cannot be fetched; the others go on.
    fn fail(
        &mut self,
        download: &Arc<Download>,
        failure: Failure,
        asked: &mut VecDeque<Asked>,
        tell: &mut (dyn FnMut(Told) + Send),
    ) {
        let Some(place) = self.place(download) else { return };
        self.active.remove(place);
        kill(download, asked);
        tell(Told::Ended(Ended::of(download, Outcome::Failed(Box::new(failure)))));
    }
}

/// What still comes of a file is read and forgotten.
fn kill(download: &Arc<Download>, asked: &mut VecDeque<Asked>) {
    for asked in asked.iter_mut().filter(|asked| asked.download.number == download.number) {
        asked.is_dead = true;
    }
}

/// The number of bytes that were asked for and have not come.
fn window(asked: &VecDeque<Asked>) -> u64 {
    asked.iter().map(|asked| asked.end - asked.at).sum()
}

/// The request that is answered now: the server answers in the order in which it was asked.
fn first(asked: &mut VecDeque<Asked>, channel: Channel) -> Result<&mut Asked, AttemptEnd> {
    asked
        .front_mut()
        .filter(|asked| asked.channel == channel)
        .ok_or_else(|| AttemptEnd::protocol("bytes that were not asked for"))
}

fn is_what_was_asked(begins: &ReadBegin, asked: &Asked) -> bool {
    let Download { document_id, expected, .. } = &*asked.download;
    begins.document_id == *document_id
        && begins.filesize == expected.filesize
        && begins.blake3 == expected.blake3
        && begins.offset.get() == asked.at
        && begins.length == asked.end - asked.at
}
