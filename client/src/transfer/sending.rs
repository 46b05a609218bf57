//! Sending blocks and hearing what the server says about them.

use super::pace::Pace;
use super::strands::{Errand, Ramp, Strands};
use super::{Means, Transfer};
use crate::connection::{Said, Step, for_channel, slow_disk};
use crate::events::Event;
use crate::failure::Failure;
use crate::feeder::{Block, Feeder};
use crate::long_work::{Advance, LongWork};
use crate::parallel::Parallel;
use crate::plan::{Piece, Plan};
use crate::stop::Stop;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use towline_protocol::reply::Success;
use towline_protocol::request::Complete;
use towline_protocol::{Code, ErrorReply, Reply, Request};
use towline_types::block::{BLOCK_SIZE_BYTES, hash_file};
use towline_types::{BlockIndex, Offset};

/// How often one block may arrive damaged before the link, or a machine at one
/// of its ends, is beyond help.
const REPAIRS: u32 = 8;

/// How often the state file is told how far the upload is.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// What is known only while one plan is carried out.
pub(super) struct Course {
    pub(super) feeder: Feeder,
    pub(super) strands: Strands,
    ramp: Ramp,
    /// Blocks that were handed out, and none of those that are to be read again.
    pub(super) handed: BTreeSet<u64>,
    /// How often what strands had lost was sent again.
    pub(super) mends: u32,
    pace: Pace,
    /// `complete` was said since the last block was queued.
    asked: bool,
    /// How often `complete` was said and not answered yet.
    unanswered: u32,
    repairs: BTreeMap<BlockIndex, u32>,
    /// What the state file was told last, and when.
    noted: Option<(Instant, Offset)>,
    /// How far it was, and since when it is no further.
    stands: ([u64; 3], Instant),
    /// The copy to the file system of the folder, after `complete`.
    copy: LongWork,
}

impl Transfer {
    /// Carries out the plan and completes the upload.
    pub(super) async fn send(
        &mut self,
        means: &mut Means<'_>,
        plan: Plan,
    ) -> Result<Success, Stop> {
        let mut feeder = Feeder::new(Arc::clone(&self.source));
        for piece in plan.pieces {
            feeder.read(piece);
        }
        let (strands, ramp) = self.strands(means, feeder.outstanding());
        let (least, most) = self.chunk_range(means);
        let mut course = Course {
            feeder,
            strands,
            ramp,
            handed: BTreeSet::new(),
            mends: 0,
            pace: Pace::new(least, most),
            asked: false,
            unanswered: 0,
            repairs: BTreeMap::new(),
            noted: None,
            stands: ([0; 3], Instant::now()),
            copy: LongWork::default(),
        };
        let sent = self.carry_out(means, &mut course).await;
        if !matches!(sent, Ok(_) | Err(Stop::Failed(_))) {
            course.strands.flush().await;
        }
        sent
    }

    async fn carry_out(
        &mut self,
        means: &mut Means<'_>,
        course: &mut Course,
    ) -> Result<Success, Stop> {
        loop {
            let more = course.hands_out();
            if more {
                course.strands.fill_up();
                let served = course.feeder.serve_connections(1 + course.strands.wanted());
                served.map_err(|error| self.unreadable(error))?;
                course.strands.are_in_time();
            } else if !course.asked && !course.strands.settle().await {
                if !means.link.is_idle() {
                    course.strands.are_in_time();
                } else if course.strands.give_up_late(self.position.received().get()).await {
                    continue;
                }
            } else if !course.asked {
                course.strands.are_in_time();
                if course.strands.have_lost() {
                    if let Some(success) = self.mend(means, course).await? {
                        return Ok(success);
                    }
                    continue;
                }
                self.check_unchanged().await?;
                self.ask_to_complete(means);
                course.asked = true;
                course.unanswered += 1;
            }
            let stall_ends = self.stall_ends(means, course);
            if Instant::now() >= stall_ends {
                return Err(Stop::Lost("the server answers and takes nothing more".to_owned()));
            }
            let room = means.link.has_room();
            let lag_ends = course.strands.lag_ends();
            let next_look = course.ramp.next_look().filter(|_| more);
            tokio::select! {
                // Cancel-safe, all: what was written, read, said or handed over is
                // accounted for before they wait.
                step = means.link.next(more && !room) => {
                    if let Step::Said(said) = step?
                        && let Some(success) = self.heard(means, course, said)?
                    {
                        return Ok(success);
                    }
                }
                block = course.feeder.next(),
                    if more && (room || course.strands.want_a_block()) =>
                {
                    let block = block.map_err(|error| self.unreadable(error))?;
                    self.hand_out(means, course, block);
                }
                damaged = course.strands.next(), if !course.strands.is_empty() => {
                    if let Some(index) = damaged {
                        self.repair(course, index)?;
                    }
                }
                () = sleep_until(stall_ends) => {}
                () = sleep_until(lag_ends.unwrap_or_else(Instant::now)), if lag_ends.is_some() => {}
                () = sleep_until(next_look.unwrap_or_else(Instant::now)), if next_look.is_some() => {
                    Self::look_at_rate(means, course);
                }
            }
        }
    }

    /// When this has been without effect for too long, whatever the server says meanwhile.
    pub(super) fn stall_ends(&mut self, means: &Means<'_>, course: &mut Course) -> Instant {
        self.count_sent(means.link);
        let sent_bytes = means.link.payload_bytes() + course.strands.sent_bytes();
        let stands = [sent_bytes, self.position.received().get(), self.position.durable().get()];
        if stands != course.stands.0 {
            course.stands = (stands, Instant::now());
        }
        // A server may read the whole file back before it says SUCCESS.
        let work = if course.asked { slow_disk(self.filesize().get()) } else { Duration::ZERO };
        course.stands.1 + means.patience.headway + work
    }

    /// The connections besides the main one, for an upload with `blocks` blocks to send, and
    /// the rule by which more are added.
    fn strands(&self, means: &Means<'_>, blocks: u64) -> (Strands, Ramp) {
        let errand = self.document_id.zip(self.lease).filter(|_| means.link.knows("join"));
        let errand = errand.map(|(document_id, lease)| Errand {
            route: means.route.clone(),
            token: means.token.clone(),
            patience: means.patience,
            document_id,
            lease,
            chunk_bytes: self.chunk_range(means),
            sent_bytes: Arc::clone(&self.strands_sent_bytes),
        });
        let wanted = match self.options.parallel {
            // An attempt begins with one connection, also where the last one had more: only
            // the rate on this connection tells whether more are worth it.
            Parallel::Auto => 0,
            Parallel::Connections(count) => count.get() - 1,
        };
        // No more connections than blocks.
        let most = usize::try_from(blocks.saturating_sub(1)).unwrap_or(usize::MAX);
        let strands = Strands::new(errand, wanted.min(most));
        let is_open = self.options.parallel == Parallel::Auto && strands.are_possible();
        let ramp = if is_open { Ramp::new(Instant::now()) } else { Ramp::level() };
        (strands, ramp)
    }

    fn look_at_rate(means: &Means<'_>, course: &mut Course) {
        let sent_bytes = means.link.payload_bytes() + course.strands.sent_bytes();
        let left_bytes = course.feeder.outstanding().saturating_mul(BLOCK_SIZE_BYTES);
        let connections = 1 + course.strands.wanted();
        if course.ramp.look(Instant::now(), sent_bytes, left_bytes, connections) {
            course.strands.add_one();
        }
    }

    /// The least and the most that a chunk may have: what was asked for, or what the link
    /// bears.
    fn chunk_range(&self, means: &Means<'_>) -> (u32, u32) {
        let least = self.chunk_bytes(means);
        let most = means.link.welcome().max_chunk_size;
        (least, if self.options.chunk_bytes.is_some() { least } else { most })
    }

    /// Gives a block to whichever connection has room.
    fn hand_out(&mut self, means: &mut Means<'_>, course: &mut Course, block: Block) {
        if let Some(value) =
            usize::try_from(block.index.get()).ok().and_then(|n| self.values.get_mut(n))
        {
            // The value of the bytes that travel, whatever was known before.
            *value = Some(block.value);
        }
        self.fills.remove(&block.index.get());
        course.handed.insert(block.index.get());
        course.strands.handed_out();
        if means.link.has_room() {
            let chunk_bytes = course.pace.queued(Instant::now());
            means.link.queue_block(self.channel, chunk_bytes, block);
        } else {
            course.strands.hand_out(block);
        }
    }

    fn ask_to_complete(&self, means: &mut Means<'_>) {
        let blake3 = hash_file(self.filesize(), self.values.iter().copied().flatten());
        // What the run said that began the upload may not be what is wanted now.
        let on_conflict = self.options.on_conflict.filter(|_| self.inherited);
        means.link.queue(&Request::Complete(Complete {
            channel: self.channel,
            document_id: self.document_id,
            blake3: Some(blake3),
            on_conflict,
        }));
    }

    /// Takes in what the server said; the receipt, if it was that.
    pub(super) fn heard(
        &mut self,
        means: &mut Means<'_>,
        course: &mut Course,
        said: Said,
    ) -> Result<Option<Success>, Stop> {
        let reply = match said {
            Said::Reply(reply) => for_channel(reply, self.channel)?,
            // An answer to an earlier upload's question.
            Said::BlockList { channel, .. } if channel != self.channel => None,
            Said::BlockList { .. } => {
                return Err(Stop::protocol("a block list that was not asked for"));
            }
        };
        match reply {
            None => {}
            Some(Reply::Progress(progress)) => {
                let before = (self.position.received(), self.position.durable());
                if !self.progressed(&progress) {
                    return Err(Stop::protocol(format!("impossible progress: {progress:?}")));
                }
                if let Some(copied) = progress.copied {
                    let (path, bytes) = (self.document.local.clone(), self.filesize().get());
                    let copied_bytes = copied.get().min(bytes);
                    if course.unanswered > 0 && course.copy.reported(copied_bytes) != Advance::None
                    {
                        course.stands.1 = Instant::now();
                    }
                    (means.listener)(Event::Copying { path, bytes, copied_bytes });
                }
                // A server that says the same over and over is no news.
                if before != (self.position.received(), self.position.durable()) {
                    self.note_down(means, course);
                    if let Some(standing) = self.standing() {
                        (means.listener)(Event::Progress(standing));
                    }
                }
            }
            Some(Reply::Success(success)) if course.unanswered > 0 => {
                if Some(success.document_id) != self.document_id {
                    return Err(Stop::protocol("SUCCESS for another document"));
                }
                return Ok(Some(success));
            }
            Some(Reply::Error(error)) => self.objected(course, error)?,
            Some(other) => return Err(Stop::protocol(format!("unexpected: {other:?}"))),
        }
        Ok(None)
    }

    /// Tells the state file how far the upload is, now and then.
    fn note_down(&self, means: &Means<'_>, course: &mut Course) {
        let due = course.noted.is_none_or(|(when, what)| {
            when.elapsed() >= NOTED_EVERY && what != self.position.durable()
        });
        if let Some(document_id) = self.document_id
            && due
            && self.position.durable() > Offset::ZERO
        {
            course.noted = Some((Instant::now(), self.position.durable()));
            means.uploads.reached(
                means.server,
                document_id,
                self.position.durable(),
                self.proof_now(),
            );
        }
    }

    /// Repairs a damaged block; every other error ends the attempt.
    fn objected(&mut self, course: &mut Course, error: ErrorReply) -> Result<(), Stop> {
        match (error.code, error.index) {
            (Code::BlockMismatch, Some(index)) => self.repair(course, index),
            (Code::Incomplete, _) if course.unanswered > 0 => {
                course.unanswered -= 1;
                // An answer from before a repair is no news.
                if course.asked && course.unanswered == 0 { Err(Stop::Realign) } else { Ok(()) }
            }
            _ => Err(self.refusal(error)),
        }
    }

    /// Has a block that arrived damaged sent again.
    fn repair(&self, course: &mut Course, index: BlockIndex) -> Result<(), Stop> {
        if index.get() >= self.values.len() as u64 {
            return Err(Stop::protocol(format!("the file has no block {index}")));
        }
        let repairs = course.repairs.entry(index).or_default();
        *repairs += 1;
        if *repairs > REPAIRS {
            let reason = format!(
                "block {index} arrived damaged {repairs} times; the link, or a machine at \
                 one of its ends, damages data"
            );
            return Err(Failure::Integrity { reason, document_id: self.document_id }.into());
        }
        // The server has withdrawn it.
        course.handed.remove(&index.get());
        course.feeder.read(Piece::whole(index));
        course.asked = false;
        Ok(())
    }
}

impl Course {
    /// Whether blocks are to be handed out: there are some, and none that were lost come
    /// first.
    fn hands_out(&self) -> bool {
        self.feeder.has_more() && !self.strands.must_mend()
    }
}
