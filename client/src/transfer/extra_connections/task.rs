//! The task of one extra connection: it joins the lease, sends the blocks that it is given, and
//! connects again when the connection is lost.

use crate::attempt_end::AttemptEnd;
use crate::backoff::Backoff;
use crate::block_reader::Block;
use crate::connection::{Connection, Incoming, Step, WaitFor, for_channel};
use crate::failure::Failure;
use crate::route::Route;
use crate::timeouts::Timeouts;
use crate::token::TokenSource;
use crate::transfer::chunk_sizer::{ChunkRange, ChunkSizer};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;
use towline_protocol::request::{DocumentRef, Join};
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{BlockIndex, DocumentId, Generation};

/// What all extra connections of a transfer need to join it.
#[derive(Debug, Clone)]
pub(crate) struct JoinSpec {
    pub(crate) route: Route,
    pub(crate) token: TokenSource,
    pub(crate) timeouts: Timeouts,
    pub(crate) document_id: DocumentId,
    pub(crate) lease: Generation,
    pub(crate) chunk_range: ChunkRange,
    /// The number of bytes of the file that all of them have sent so far.
    pub(crate) sent_bytes: Arc<AtomicU64>,
}

/// What the transfer tells an extra connection.
#[derive(Debug)]
pub(super) enum ConnectionCommand {
    /// Send this block.
    Send(Block),
    /// Send [`ConnectionEvent::Confirmed`] with this ticket once the server has handled all
    /// that was sent before.
    Confirm(u64),
}

/// What an extra connection tells the transfer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ConnectionEvent {
    /// The connection has joined and has room for one more block.
    Room,
    /// This block did not arrive as it was sent.
    Damaged(BlockIndex),
    /// The answer to [`ConnectionCommand::Confirm`] with this ticket.
    Confirmed(u64),
    /// The connection is lost, with the blocks on it. The task connects again.
    Lost,
    /// The connection is lost, with the blocks on it, and the task has ended.
    Ended,
}

/// The task of an extra connection. It ends when the channel of its commands is closed.
pub(super) struct ConnectionTask {
    pub(super) number: u32,
    pub(super) spec: JoinSpec,
    pub(super) commands: UnboundedReceiver<ConnectionCommand>,
    pub(super) events: UnboundedSender<(u32, ConnectionEvent)>,
    pub(super) backoff: Arc<Mutex<Backoff>>,
    pub(super) is_given_up: Arc<AtomicBool>,
}

/// A connection that has joined.
struct Joined {
    connection: Connection,
    channel: Channel,
    chunk_sizer: ChunkSizer,
    /// A block was asked for and has not come.
    awaits_block: bool,
    /// The tickets of the confirmations that the server was asked for.
    asked: VecDeque<u64>,
    /// How many of the bytes sent are added to [`JoinSpec::sent_bytes`].
    counted_bytes: u64,
    is_given_up: Arc<AtomicBool>,
}

impl Drop for Joined {
    fn drop(&mut self) {
        if self.is_given_up.load(Ordering::Relaxed) {
            self.connection.abandon();
        }
    }
}

impl ConnectionTask {
    pub(super) async fn run(mut self) {
        // This connection takes the place of one that has failed.
        if self.backoff().failed() > 0 {
            self.wait().await;
        }
        loop {
            let ended = match self.connect().await {
                Ok(mut joined) => {
                    let ended = self.serve(&mut joined).await;
                    self.count(&mut joined);
                    if ended.is_err() {
                        joined.connection.abandon();
                    }
                    ended
                }
                Err(end) => Err(end),
            };
            match ended {
                Ok(()) => return,
                Err(end) if may_pass(&end) => self.report(ConnectionEvent::Lost),
                // A refusal that concerns the upload reaches the main connection as well.
                Err(_) => return self.report(ConnectionEvent::Ended),
            }
            self.wait().await;
        }
    }

    /// Waits until it is time to try again.
    async fn wait(&self) {
        let wait = self.backoff().next_wait(fastrand::f64());
        tokio::time::sleep(wait.unwrap_or_default()).await;
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Joined, AttemptEnd> {
        let JoinSpec { route, token, timeouts, document_id, lease, chunk_range, .. } = &self.spec;
        let login = timeouts.ping_answer;
        let mut connection = Connection::open(route, token, *timeouts, login).await?;
        let channel = connection.new_channel();
        let join = Join { channel, document_id: *document_id, lease: *lease };
        match connection.ask(&Request::Join(join)).await? {
            Reply::Join(granted)
                if granted.document_id == *document_id && granted.lease == Some(*lease) => {}
            Reply::Error(error) => return Err(AttemptEnd::refused(error)),
            other => return Err(AttemptEnd::protocol(format!("'join' was answered {other:?}"))),
        }
        Ok(Joined {
            connection,
            channel,
            chunk_sizer: ChunkSizer::new(*chunk_range),
            awaits_block: false,
            asked: VecDeque::new(),
            counted_bytes: 0,
            is_given_up: Arc::clone(&self.is_given_up),
        })
    }

    /// Sends the blocks that it is given, until the channel of the commands is closed.
    async fn serve(&mut self, joined: &mut Joined) -> Result<(), AttemptEnd> {
        loop {
            let room = joined.connection.has_room();
            if room && !joined.awaits_block {
                joined.awaits_block = true;
                self.report(ConnectionEvent::Room);
            }
            let wait_for = if room { WaitFor::Incoming } else { WaitFor::IncomingOrRoom };
            tokio::select! {
                // Both are cancel-safe: what was written or read is recorded in the
                // connection, and a command is either taken or still in the channel.
                step = joined.connection.next(wait_for) => {
                    if let Step::Incoming(said) = step? {
                        self.heard(joined, said)?;
                    }
                }
                command = self.commands.recv() => match command {
                    None => return Ok(()),
                    Some(ConnectionCommand::Send(block)) => {
                        joined.awaits_block = false;
                        let chunk_bytes = joined.chunk_sizer.queued(Instant::now());
                        joined.connection.queue_block(joined.channel, chunk_bytes, block);
                    }
                    Some(ConnectionCommand::Confirm(ticket)) => {
                        // The server answers a request after it has handled the chunks before
                        // it, and after it has sent its errors about them. It answers a ping
                        // at once.
                        let about =
                            DocumentRef { channel: joined.channel, document_id: self.spec.document_id };
                        joined.connection.queue(&Request::Status(about));
                        joined.asked.push_back(ticket);
                    }
                },
            }
            if self.count(joined) >= BLOCK_SIZE_BYTES {
                self.backoff().progressed();
            }
        }
    }

    fn heard(&self, joined: &mut Joined, said: Incoming) -> Result<(), AttemptEnd> {
        let reply = match said {
            Incoming::Reply(reply) => for_channel(reply, joined.channel)?,
            Incoming::BlockList { .. } => {
                return Err(AttemptEnd::protocol("a block list that was not asked for"));
            }
            Incoming::Block { .. } | Incoming::Chunk { .. } => {
                return Err(AttemptEnd::protocol("bytes of a file that were not asked for"));
            }
        };
        match reply {
            // The main connection gets the same progress.
            None | Some(Reply::Progress(_)) => Ok(()),
            Some(Reply::Status(_)) => match joined.asked.pop_front() {
                Some(ticket) => {
                    self.count(joined);
                    self.report(ConnectionEvent::Confirmed(ticket));
                    Ok(())
                }
                None => Err(AttemptEnd::protocol("a status that was not asked for")),
            },
            Some(Reply::Error(ErrorReply {
                code: Code::BlockMismatch,
                index: Some(index),
                ..
            })) => {
                self.report(ConnectionEvent::Damaged(index));
                Ok(())
            }
            // The server has a part of the block. The transfer finds out what is missing, for
            // all lost blocks at once.
            Some(Reply::Error(error)) if error.code == Code::OffsetMismatch => {
                Err(AttemptEnd::Lost(error.message))
            }
            Some(Reply::Error(error)) => Err(AttemptEnd::refused(error)),
            Some(other) => Err(AttemptEnd::protocol(format!("unexpected: {other:?}"))),
        }
    }

    /// Adds the bytes that were sent since the last count to those of all connections. Returns
    /// how many bytes of the file this connection has sent.
    fn count(&self, joined: &mut Joined) -> u64 {
        let sent_bytes = joined.connection.payload_bytes();
        let before = std::mem::replace(&mut joined.counted_bytes, sent_bytes);
        self.spec.sent_bytes.fetch_add(sent_bytes - before, Ordering::Relaxed);
        sent_bytes
    }

    fn report(&self, event: ConnectionEvent) {
        // Where the transfer has ended, the channel of the commands is closed as well.
        let _ = self.events.send((self.number, event));
    }
}

/// Whether another connection may succeed. Where the server has too many connections or begun
/// blocks, it may soon have fewer.
fn may_pass(end: &AttemptEnd) -> bool {
    match end {
        AttemptEnd::Unreached(_)
        | AttemptEnd::Lost(_)
        | AttemptEnd::Silent(_)
        | AttemptEnd::Later(_)
        | AttemptEnd::Garbled(_)
        | AttemptEnd::Realign => true,
        AttemptEnd::Failed(Failure::Refused { reply, .. }) => reply.code == Code::TooMany,
        AttemptEnd::Failed(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_is_not_for_ever() {
        let refused = |code| AttemptEnd::refused(ErrorReply::new(code, ""));
        for code in [Code::TooMany, Code::ShuttingDown, Code::TooSlow, Code::BadFrame] {
            assert!(may_pass(&refused(code)), "{code}");
        }
        for code in [Code::Superseded, Code::Unauthorized, Code::NotFound, Code::BadState] {
            assert!(!may_pass(&refused(code)), "{code}");
        }
    }
}
