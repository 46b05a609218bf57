//! One extra connection: it joins the lease, sends the blocks that it is given, and
//! comes back when it is lost.

use crate::connection::{Connection, Patience, Said, Step, for_channel};
use crate::failure::Failure;
use crate::feeder::Block;
use crate::retry::Backoff;
use crate::route::Route;
use crate::stop::Stop;
use crate::token::Token;
use crate::transfer::pace::Pace;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;
use towline_protocol::request::{DocumentRef, Join};
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{BlockIndex, DocumentId, Generation};

/// What all strands of a transfer have in common.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    pub(crate) route: Route,
    pub(crate) token: Token,
    pub(crate) patience: Patience,
    pub(crate) document_id: DocumentId,
    pub(crate) lease: Generation,
    /// The least and the most that a chunk may have.
    pub(crate) chunk_bytes: (u32, u32),
    /// What all of them have sent so far.
    pub(crate) sent_bytes: Arc<AtomicU64>,
}

/// What a strand is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Send this.
    Send(Block),
    /// Say when all that was sent has been dealt with.
    Confirm(u64),
}

/// What a strand says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It may be given one more block.
    Room,
    /// This block did not arrive as it was sent.
    Damaged(BlockIndex),
    /// The answer to [`Order::Confirm`] of that number.
    Confirmed(u64),
    /// Its connection is lost, with what was on it. It comes back.
    Lost,
    /// The same, and it does not.
    Over,
}

/// The task behind a strand. It ends when the channel of its orders is closed.
pub(super) struct Worker {
    pub(super) number: u32,
    pub(super) errand: Errand,
    pub(super) orders: UnboundedReceiver<Order>,
    pub(super) reports: UnboundedSender<(u32, News)>,
    pub(super) backoff: Arc<Mutex<Backoff>>,
    pub(super) is_given_up: Arc<AtomicBool>,
}

/// A connection that has joined.
struct Joined {
    link: Connection,
    channel: Channel,
    pace: Pace,
    /// A block was asked for and has not come.
    wants: bool,
    /// Confirmations that the server was asked for.
    asked: VecDeque<u64>,
    counted_bytes: u64,
    is_given_up: Arc<AtomicBool>,
}

impl Drop for Joined {
    fn drop(&mut self) {
        if self.is_given_up.load(Ordering::Relaxed) {
            self.link.abandon();
        }
    }
}

impl Worker {
    pub(super) async fn run(mut self) {
        // One has failed before in whose place this is.
        if self.backoff().failed() > 0 {
            self.wait().await;
        }
        loop {
            let ended = match self.connect().await {
                Ok(mut joined) => {
                    let ended = self.serve(&mut joined).await;
                    self.count(&mut joined);
                    if ended.is_err() {
                        joined.link.abandon();
                    }
                    ended
                }
                Err(stop) => Err(stop),
            };
            match ended {
                Ok(()) => return,
                Err(stop) if is_passing(&stop) => self.report(News::Lost),
                // The main connection will hear of it, too, where it concerns the upload.
                Err(_) => return self.report(News::Over),
            }
            self.wait().await;
        }
    }

    /// Until it is time to try again.
    async fn wait(&self) {
        let wait = self.backoff().next_wait(fastrand::f64());
        tokio::time::sleep(wait.unwrap_or_default()).await;
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Joined, Stop> {
        let Errand { route, token, patience, document_id, lease, chunk_bytes, .. } = &self.errand;
        let mut link = Connection::open(route, token, *patience, patience.answer_within).await?;
        let channel = link.new_channel();
        let join = Join { channel, document_id: *document_id, lease: *lease };
        match link.ask(&Request::Join(join)).await? {
            Reply::Join(granted)
                if granted.document_id == *document_id && granted.lease == Some(*lease) => {}
            Reply::Error(error) => return Err(Stop::refused(error)),
            other => return Err(Stop::protocol(format!("'join' was answered {other:?}"))),
        }
        let pace = Pace::new(chunk_bytes.0, chunk_bytes.1);
        let asked = VecDeque::new();
        let is_given_up = Arc::clone(&self.is_given_up);
        Ok(Joined { link, channel, pace, wants: false, asked, counted_bytes: 0, is_given_up })
    }

    /// Sends what it is given. Ends well when there will be no more orders.
    async fn serve(&mut self, joined: &mut Joined) -> Result<(), Stop> {
        loop {
            let room = joined.link.has_room();
            if room && !joined.wants {
                joined.wants = true;
                self.report(News::Room);
            }
            tokio::select! {
                // Cancel-safe, both: what was written or read is accounted for in the
                // connection, and an order is either taken or still there.
                step = joined.link.next(!room) => {
                    if let Step::Said(said) = step? {
                        self.heard(joined, said)?;
                    }
                }
                order = self.orders.recv() => match order {
                    None => return Ok(()),
                    Some(Order::Send(block)) => {
                        joined.wants = false;
                        let chunk_bytes = joined.pace.queued(Instant::now());
                        joined.link.queue_block(joined.channel, chunk_bytes, block);
                    }
                    Some(Order::Confirm(ticket)) => {
                        // Requests are answered behind the pieces before them, and behind
                        // what there is to object to these; a ping is not.
                        let about =
                            DocumentRef { channel: joined.channel, document_id: self.errand.document_id };
                        joined.link.queue(&Request::Status(about));
                        joined.asked.push_back(ticket);
                    }
                },
            }
            if self.count(joined) >= BLOCK_SIZE_BYTES {
                self.backoff().progressed();
            }
        }
    }

    fn heard(&self, joined: &mut Joined, said: Said) -> Result<(), Stop> {
        let reply = match said {
            Said::Reply(reply) => for_channel(reply, joined.channel)?,
            Said::BlockList { .. } => {
                return Err(Stop::protocol("a block list that was not asked for"));
            }
        };
        match reply {
            // How far the upload is the main connection hears, too.
            None | Some(Reply::Progress(_)) => Ok(()),
            Some(Reply::Status(_)) => match joined.asked.pop_front() {
                Some(ticket) => {
                    self.count(joined);
                    self.report(News::Confirmed(ticket));
                    Ok(())
                }
                None => Err(Stop::protocol("a status that was not asked for")),
            },
            Some(Reply::Error(ErrorReply {
                code: Code::BlockMismatch,
                index: Some(index),
                ..
            })) => {
                self.report(News::Damaged(index));
                Ok(())
            }
            // What it was to send is known to the server in part: what of it is missing is
            // found out for all at once.
            Some(Reply::Error(error)) if error.code == Code::OffsetMismatch => {
                Err(Stop::Lost(error.message))
            }
            Some(Reply::Error(error)) => Err(Stop::refused(error)),
            Some(other) => Err(Stop::protocol(format!("unexpected: {other:?}"))),
        }
    }

    /// Adds what was sent since it was last counted; says how much this connection has
    /// sent.
    fn count(&self, joined: &mut Joined) -> u64 {
        let sent_bytes = joined.link.payload_bytes();
        let before = std::mem::replace(&mut joined.counted_bytes, sent_bytes);
        self.errand.sent_bytes.fetch_add(sent_bytes - before, Ordering::Relaxed);
        sent_bytes
    }

    fn report(&self, news: News) {
        // The transfer has ended: no more orders come either.
        let _ = self.reports.send((self.number, news));
    }
}

/// Whether it is worth coming back. Where there are too many connections, or begun blocks,
/// there may soon be fewer.
fn is_passing(stop: &Stop) -> bool {
    match stop {
        Stop::Unreached(_)
        | Stop::Lost(_)
        | Stop::Silent(_)
        | Stop::Later(_)
        | Stop::Garbled(_)
        | Stop::Realign => true,
        Stop::Failed(Failure::Refused { reply, .. }) => reply.code == Code::TooMany,
        Stop::Failed(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_is_not_for_ever() {
        let refused = |code| Stop::refused(ErrorReply::new(code, ""));
        for code in [Code::TooMany, Code::ShuttingDown, Code::TooSlow, Code::BadFrame] {
            assert!(is_passing(&refused(code)), "{code}");
        }
        for code in [Code::Superseded, Code::Unauthorized, Code::NotFound, Code::BadState] {
            assert!(!is_passing(&refused(code)), "{code}");
        }
    }
}
