//! The receiving side of one connection: asks for ranges of files, checks what comes, and hands
//! whole blocks to the writer.
//!
//! Several requests are under way at a time, so that the link is never idle between files or
//! ranges. What they ask for bounds the bytes that may come.

use super::queue::{Piece, Proof};
use super::receiver::{FileListener, Receiver};
use super::writer::{Arrived, Buffer};
use crate::attempt_end::AttemptEnd;
use crate::connection::{Connection, Incoming, Step, WaitFor};
use crate::failure::Failure;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};
use towline_protocol::reply::{Read as ReadReply, ReadBegin};
use towline_protocol::request::Read;
use towline_protocol::{Channel, ErrorReply, Reply, Request};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::block::hash_block;
use towline_types::{BlockIndex, ChainingValue, Offset};

/// The number of requests that are under way.
const ASKED_MAX: usize = 224;

/// A request that is not answered to its end.
#[derive(Debug)]
struct Asked {
    channel: Channel,
    piece: Piece,
    /// Everything of the piece before it has come.
    at: u64,
    has_begun: bool,
    value: Option<(BlockIndex, ChainingValue)>,
    buffer: Option<Buffer>,
}

/// What is under way on one connection. What has not come goes back when this is dropped.
struct Lane<'a> {
    receiver: &'a Receiver,
    asked: VecDeque<Asked>,
    /// A whole block or file has come.
    made_headway: &'a mut bool,
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        for asked in &self.asked {
            self.receiver.give_back(&asked.piece, asked.at);
        }
    }
}

/// Fetches on a connection what the receiver has to fetch, for as long as the connection lasts.
/// `made_headway` becomes true when something has come.
///
/// # Cancel safety
/// Cancel-safe: what has arrived of the block under way is fetched again. The connection is of use
/// only where nothing was under way.
pub(crate) async fn receive(
    receiver: &Receiver,
    connection: &mut Connection,
    made_headway: &mut bool,
    tell: FileListener<'_>,
) -> AttemptEnd {
    connection.accept_files();
    let _place = receiver.place();
    let mut lane = Lane { receiver, asked: VecDeque::new(), made_headway };
    match lane.run(connection, tell).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

impl Lane<'_> {
    async fn run(
        &mut self,
        connection: &mut Connection,
        tell: FileListener<'_>,
    ) -> Result<std::convert::Infallible, AttemptEnd> {
        let mut more = self.receiver.more();
        let mut moved = Instant::now();
        loop {
            more.mark_unchanged();
            self.ask(connection);
            let is_idle = self.asked.is_empty();
            let stall_ends = moved + connection.timeouts().progress;
            if !is_idle && Instant::now() >= stall_ends {
                return Err(AttemptEnd::Lost("the server sends nothing of the file".to_owned()));
            }
            tokio::select! {
                // Cancel-safe, all. The sender lives as long as the receiver.
                biased;
                step = connection.next(WaitFor::Incoming) => {
                    let Step::Incoming(incoming) = step? else { continue };
                    if self.hear(incoming, connection, tell).await? || is_idle {
                        moved = Instant::now();
                    }
                }
                _ = more.changed() => {
                    if is_idle {
                        moved = Instant::now();
                    }
                }
                () = sleep_until(stall_ends), if !is_idle => {}
            }
        }
    }

    /// Asks for as much as there is room for.
    fn ask(&mut self, connection: &mut Connection) {
        let mut window = self.asked.iter().map(|asked| asked.piece.range.end - asked.at).sum();
        while self.asked.len() < ASKED_MAX {
            let Some(piece) = self.receiver.take(window) else { return };
            let channel = connection.new_channel();
            let (start, length) = (piece.range.start, piece.range.end - piece.range.start);
            connection.queue(&Request::Read(Read {
                channel,
                document_id: Some(piece.download.document_id),
                // The place lies within a file, so it is an offset.
                offset: Offset::try_from(start).ok(),
                length: Some(length),
                blocks: piece.proof == Proof::Values,
                ..Read::default()
            }));
            window += length;
            let (at, has_begun, value, buffer) = (start, false, None, None);
            self.asked.push_back(Asked { channel, piece, at, has_begun, value, buffer });
        }
    }

    /// Returns whether it is about what was asked for.
    async fn hear(
        &mut self,
        incoming: Incoming,
        connection: &mut Connection,
        tell: FileListener<'_>,
    ) -> Result<bool, AttemptEnd> {
        match incoming {
            Incoming::Reply(reply) => self.hear_reply(reply, tell),
            Incoming::Block { channel, index, value } => {
                let asked = self.first(channel)?;
                let is_next = asked.at == index.start().get();
                if asked.piece.proof != Proof::Values || !asked.has_begun || !is_next {
                    return Err(garbled("a value that was not asked for"));
                }
                asked.value = Some((index, value));
                Ok(true)
            }
            Incoming::Chunk { channel, offset, length } => {
                self.hear_chunk(channel, offset.get(), length, connection).await?;
                Ok(true)
            }
            Incoming::BlockList { .. } => Err(garbled("a list of blocks that was not asked for")),
        }
    }

    async fn hear_chunk(
        &mut self,
        channel: Channel,
        offset: u64,
        length: u32,
        connection: &mut Connection,
    ) -> Result<(), AttemptEnd> {
        let receiver = self.receiver;
        let asked = self.first(channel)?;
        let end = offset + u64::from(length);
        let index = BlockIndex::try_from(offset / BLOCK_SIZE_BYTES)
            .map_err(|_| garbled("bytes beyond any file"))?;
        let span = index.span(asked.piece.download.expected.filesize);
        let is_next = asked.has_begun && offset == asked.at;
        if !is_next || end > asked.piece.range.end || end > span.end {
            return Err(garbled("bytes that were not asked for"));
        }
        if asked.buffer.is_none() {
            asked.buffer = Some(receiver.buffer().await);
        }
        let Some(buffer) = asked.buffer.as_mut() else { return Ok(()) };
        let position = |at: u64| usize::try_from(at - span.start).unwrap_or(usize::MAX);
        let mut wanted = &mut buffer.bytes()[position(offset)..position(end)];
        while !wanted.is_empty() {
            let count = connection.payload(wanted).await?;
            receiver.came(count as u64);
            wanted = &mut wanted[count..];
        }
        if end < span.end {
            asked.at = end;
            return Ok(());
        }
        let values = match (&asked.piece.proof, asked.value.take()) {
            (Proof::OneOf(values), _) => values.clone(),
            (Proof::Values, Some((of, value))) if of == index => vec![value],
            (Proof::Values, _) => return Err(garbled("a block without its value")),
        };
        asked.at = end;
        if let Some(mut buffer) = asked.buffer.take()
            && receiver.wants(&asked.piece)
        {
            let download = Arc::clone(&asked.piece.download);
            let length_bytes = position(span.end);
            let bytes = &buffer.bytes()[..length_bytes];
            let value = hash_block(index, download.expected.filesize, bytes);
            receiver.write(Arrived { download, index, value, values, length_bytes, buffer });
            *self.made_headway = true;
        }
        Ok(())
    }

    fn hear_reply(&mut self, reply: Reply, tell: FileListener<'_>) -> Result<bool, AttemptEnd> {
        match reply {
            Reply::Read(ReadReply::Begins(begins)) => {
                let asked = self.first(begins.channel)?;
                if asked.has_begun || !is_what_was_asked(&begins, asked) {
                    return Err(AttemptEnd::protocol("bytes of another file, or other ones"));
                }
                asked.has_begun = true;
                Ok(true)
            }
            Reply::Read(ReadReply::Ends(ends)) => {
                let ended = self.first(ends.channel)?;
                if !ended.has_begun || ended.at != ended.piece.range.end {
                    return Err(AttemptEnd::protocol("an end before the last byte"));
                }
                self.asked.pop_front();
                Ok(true)
            }
            Reply::Error(error) => self.hear_error(error, tell),
            // The server reads a file from its disk before it sends anything of it.
            Reply::Progress(_) => Ok(true),
            _ => Ok(false),
        }
    }

    fn hear_error(
        &mut self,
        error: ErrorReply,
        tell: FileListener<'_>,
    ) -> Result<bool, AttemptEnd> {
        let is_about = |asked: &Asked| asked.channel == error.channel;
        if !self.asked.front().is_some_and(is_about) {
            return Err(AttemptEnd::refused(error));
        }
        match AttemptEnd::refused(error) {
            AttemptEnd::Failed(failure) => {
                if let Some(ended) = self.asked.pop_front()
                    && self.receiver.wants(&ended.piece)
                {
                    self.receiver.fail(&ended.piece.download, failure, tell);
                }
                Ok(true)
            }
            // What was asked for goes back.
            end => Err(end),
        }
    }

    /// The request that is answered now: the server answers in the order in which it was asked.
    fn first(&mut self, channel: Channel) -> Result<&mut Asked, AttemptEnd> {
        self.asked
            .front_mut()
            .filter(|asked| asked.channel == channel)
            .ok_or_else(|| garbled("bytes that were not asked for"))
    }
}

/// A frame that does not fit what was asked for: the link may have damaged it, so another
/// connection is tried, a limited number of times.
fn garbled(what: &str) -> AttemptEnd {
    AttemptEnd::Garbled(Failure::Protocol(what.to_owned()))
}

fn is_what_was_asked(begins: &ReadBegin, asked: &Asked) -> bool {
    let Piece { download, range, .. } = &asked.piece;
    begins.document_id == download.document_id
        && begins.filesize == download.expected.filesize
        && begins.blake3 == download.expected.blake3
        && begins.offset.get() == asked.at
        && begins.length == range.end - asked.at
}
