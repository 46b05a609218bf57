//! Sending blocks and hearing what the server says about them.

use super::pace::Pace;
use super::{Means, Transfer};
use crate::connection::{Said, Step, for_channel};
use crate::events::Event;
use crate::failure::Failure;
use crate::feeder::{Block, Feeder};
use crate::plan::{Piece, Plan};
use crate::stop::Stop;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use towline_protocol::block::hash_file;
use towline_protocol::reply::Success;
use towline_protocol::request::Complete;
use towline_protocol::{BlockIndex, Code, ErrorReply, Offset, Reply, Request};

/// How often one block may arrive damaged before the link, or a machine at one
/// of its ends, is beyond help.
const REPAIRS: u32 = 8;

/// How often the state file is told how far the upload is.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// What is known only while one plan is carried out.
struct Course {
    feeder: Feeder,
    pace: Pace,
    /// `complete` was said since the last block was queued.
    asked: bool,
    /// How often `complete` was said and not answered yet.
    unanswered: u32,
    repairs: BTreeMap<BlockIndex, u32>,
    /// What the state file was told last, and when.
    noted: Option<(Instant, Offset)>,
}

impl Transfer {
    /// Carries out the plan and completes the upload.
    pub(super) async fn send(
        &mut self,
        means: &mut Means<'_>,
        plan: Plan,
    ) -> Result<Success, Stop> {
        let mut course = Course {
            feeder: Feeder::start(Arc::clone(&self.source)).map_err(|e| self.unreadable(e))?,
            pace: self.pace(means),
            asked: false,
            unanswered: 0,
            repairs: BTreeMap::new(),
            noted: None,
        };
        for piece in plan.pieces {
            course.feeder.read(piece);
        }
        loop {
            if !course.feeder.has_more() && !course.asked {
                self.check_unchanged().await?;
                self.ask_to_complete(means);
                course.asked = true;
                course.unanswered += 1;
            }
            let room = means.link.has_room();
            tokio::select! {
                // Cancel-safe, both: what was written, read or handed over is
                // accounted for before they wait.
                step = means.link.next(course.feeder.has_more() && !room) => {
                    if let Step::Said(said) = step?
                        && let Some(success) = self.heard(means, &mut course, said)?
                    {
                        return Ok(success);
                    }
                }
                block = course.feeder.next(), if room && course.feeder.has_more() => {
                    let block = block.map_err(|error| self.unreadable(error))?;
                    self.queue(means, &mut course, block);
                }
            }
        }
    }

    /// What was asked for, or what the link bears.
    fn pace(&self, means: &Means<'_>) -> Pace {
        let least = self.chunk_bytes(means);
        let most = means.link.welcome().max_chunk_size;
        Pace::new(least, if self.options.chunk_bytes.is_some() { least } else { most })
    }

    fn queue(&mut self, means: &mut Means<'_>, course: &mut Course, block: Block) {
        if let Some(value) =
            usize::try_from(block.index.get()).ok().and_then(|n| self.values.get_mut(n))
        {
            // The value of the bytes that travel, whatever was known before.
            *value = Some(block.value);
        }
        self.fills.remove(&block.index.get());
        let chunk_bytes = course.pace.queued(Instant::now());
        means.link.queue_block(self.channel, chunk_bytes, block);
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
    fn heard(
        &mut self,
        means: &mut Means<'_>,
        course: &mut Course,
        said: Said,
    ) -> Result<Option<Success>, Stop> {
        let reply = match said {
            Said::Reply(reply) => for_channel(reply, self.channel)?,
            // An answer to an earlier upload's question.
            Said::BlockList { channel, .. } if channel != self.channel => None,
            Said::BlockList { .. } => return Err(Stop::protocol("a block list nobody asked for")),
        };
        match reply {
            None => {}
            Some(Reply::Progress(progress)) => {
                if !self.progressed(&progress) {
                    return Err(Stop::protocol(format!("impossible progress: {progress:?}")));
                }
                self.note_down(means, course);
                if let Some(standing) = self.standing() {
                    (means.listener)(Event::Progress(standing));
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
        let due = course
            .noted
            .is_none_or(|(when, what)| when.elapsed() >= NOTED_EVERY && what != self.durable);
        if let Some(document_id) = self.document_id
            && due
            && self.durable > Offset::ZERO
        {
            course.noted = Some((Instant::now(), self.durable));
            means.uploads.reached(means.server, document_id, self.durable, self.proof_now());
        }
    }

    /// Mends what can be mended without ado.
    fn objected(&mut self, course: &mut Course, error: ErrorReply) -> Result<(), Stop> {
        match (error.code, error.index) {
            (Code::BlockMismatch, Some(index)) if index.get() < self.values.len() as u64 => {
                let repairs = course.repairs.entry(index).or_default();
                *repairs += 1;
                if *repairs > REPAIRS {
                    let reason = format!(
                        "block {index} arrived damaged {repairs} times; the link, or a machine at \
                         one of its ends, damages data"
                    );
                    return Err(Failure::Integrity { reason, document_id: self.document_id }.into());
                }
                course.feeder.read(Piece::whole(index));
                course.asked = false;
                Ok(())
            }
            (Code::Incomplete, _) if course.unanswered > 0 => {
                course.unanswered -= 1;
                // An answer from before a repair is no news.
                if course.asked && course.unanswered == 0 { Err(Stop::Realign) } else { Ok(()) }
            }
            _ => Err(self.refusal(error)),
        }
    }
}
