//! Sending the blocks of a plan, handling what the server says about them, and completing the
//! upload.

use super::chunk_sizer::{ChunkRange, ChunkSizer};
use super::completion::Completion;
use super::extra_connections::{ConnectionScaler, ExtraConnections, JoinSpec};
use super::stall::{Reached, StallTimer};
use super::upload::BegunBy;
use super::{AttemptContext, Transfer};
use crate::attempt_end::AttemptEnd;
use crate::block_reader::{Block, BlockReader};
use crate::connection::{Incoming, Step, WaitFor, for_channel};
use crate::events::Event;
use crate::failure::Failure;
use crate::long_work::{Advance, LongWork, slow_disk};
use crate::parallel::Parallel;
use crate::plan::{BlockRange, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use towline_protocol::reply::Success;
use towline_protocol::request::Complete;
use towline_protocol::{Code, ErrorReply, Reply, Request};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::file_hash::hash_file;
use towline_types::{BlockIndex, Offset};

/// How often one block may arrive damaged before the upload fails: then the link, or a machine at
/// one of its ends, damages data again and again.
const REPAIRS: u32 = 8;

/// How often the position of the upload is written to the state file.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// What is known only while one plan is being carried out.
pub(super) struct SendState {
    pub(super) reader: BlockReader,
    pub(super) extra: ExtraConnections,
    scaler: ConnectionScaler,
    /// The numbers of the blocks that were handed to a connection, except those that have to be
    /// read again.
    pub(super) handed: BTreeSet<u64>,
    /// How often lost blocks were queued again.
    pub(super) resends: u32,
    chunk_sizer: ChunkSizer,
    completion: Completion,
    /// How often each block arrived damaged.
    repairs: BTreeMap<BlockIndex, u32>,
    /// When the state file was last told a durable offset, and which.
    noted: Option<(Instant, Offset)>,
    stall: StallTimer,
    /// The copy that the server makes after `complete`, to the file system of the folder.
    copy: LongWork,
}

impl Transfer {
    /// Carries out the plan and completes the upload.
    pub(super) async fn send(
        &mut self,
        context: &mut AttemptContext<'_>,
        plan: Plan,
    ) -> Result<Success, AttemptEnd> {
        let mut reader = BlockReader::new(Arc::clone(&self.source));
        for range in plan.ranges {
            reader.read(range);
        }
        let (extra, scaler) = self.extra_connections(context, reader.outstanding());
        let mut state = SendState {
            reader,
            extra,
            scaler,
            handed: BTreeSet::new(),
            resends: 0,
            chunk_sizer: ChunkSizer::new(self.chunk_range(context)),
            completion: Completion::default(),
            repairs: BTreeMap::new(),
            noted: None,
            stall: StallTimer::new(Instant::now()),
            copy: LongWork::default(),
        };
        let sent = self.carry_out(context, &mut state).await;
        if !matches!(sent, Ok(_) | Err(AttemptEnd::Failed(_))) {
            state.extra.flush().await;
        }
        sent
    }

    async fn carry_out(
        &mut self,
        context: &mut AttemptContext<'_>,
        state: &mut SendState,
    ) -> Result<Success, AttemptEnd> {
        loop {
            let more = state.hands_out();
            if more {
                state.extra.start_missing();
                let served = state.reader.serve_connections(1 + state.extra.wanted());
                served.map_err(|error| self.unreadable(error))?;
                state.extra.no_stragglers();
            } else if !state.completion.is_current() && !state.extra.confirm_all().await {
                if !context.connection.is_idle() {
                    state.extra.no_stragglers();
                } else if state.extra.give_up_stragglers(self.position.received().get()).await {
                    continue;
                }
            } else if !state.completion.is_current() {
                state.extra.no_stragglers();
                if state.extra.have_lost() {
                    if let Some(success) = self.resend_lost(context, state).await? {
                        return Ok(success);
                    }
                    continue;
                }
                self.check_unchanged().await?;
                self.ask_to_complete(context);
                state.completion.asked();
            }
            let stall_ends = self.stall_ends(context, state);
            if Instant::now() >= stall_ends {
                return Err(AttemptEnd::Lost(
                    "the server answers and takes nothing more".to_owned(),
                ));
            }
            let room = context.connection.has_room();
            let stragglers_due = state.extra.stragglers_due();
            let next_look = state.scaler.next_look().filter(|_| more);
            let wants_room = more && !room;
            let wait_for = if wants_room { WaitFor::IncomingOrRoom } else { WaitFor::Incoming };
            tokio::select! {
                // All are cancel-safe: what was written, read or handed over is recorded
                // before they wait.
                step = context.connection.next(wait_for) => {
                    if let Step::Incoming(incoming) = step?
                        && let Some(success) = self.handle(context, state, incoming)?
                    {
                        return Ok(success);
                    }
                }
                block = state.reader.next(),
                    if more && (room || state.extra.want_a_block()) =>
                {
                    let block = block.map_err(|error| self.unreadable(error))?;
                    self.hand_out(context, state, block);
                }
                damaged = state.extra.next(), if !state.extra.is_empty() => {
                    if let Some(index) = damaged {
                        self.repair(state, index)?;
                    }
                }
                () = sleep_until(stall_ends) => {}
                () = sleep_until(stragglers_due.unwrap_or_else(Instant::now)), if stragglers_due.is_some() => {}
                () = sleep_until(next_look.unwrap_or_else(Instant::now)), if next_look.is_some() => {
                    Self::look_at_rate(context, state);
                }
            }
        }
    }

    /// When the attempt counts as lost, because it has not advanced for too long.
    pub(super) fn stall_ends(
        &mut self,
        context: &AttemptContext<'_>,
        state: &mut SendState,
    ) -> Instant {
        self.sent.count(context.connection.payload_bytes());
        let reached = Reached {
            sent_bytes: context.connection.payload_bytes() + state.extra.sent_bytes(),
            received: self.position.received().get(),
            durable: self.position.durable().get(),
        };
        state.stall.reach(reached, Instant::now());
        // A server may read the whole file back before it says SUCCESS.
        let is_completing = state.completion.is_current();
        let work = if is_completing { slow_disk(self.filesize().get()) } else { Duration::ZERO };
        state.stall.ends(context.timeouts.progress + work)
    }

    /// The connections besides the main one, for an upload with `blocks` blocks to send, and
    /// the rule by which more are added.
    fn extra_connections(
        &self,
        context: &AttemptContext<'_>,
        blocks: u64,
    ) -> (ExtraConnections, ConnectionScaler) {
        let known = self.upload.known().filter(|_| context.connection.knows("join"));
        let joined = known.and_then(|known| Some((known.document_id, known.lease?)));
        let spec = joined.map(|(document_id, lease)| JoinSpec {
            route: context.route.clone(),
            token: context.token.clone(),
            timeouts: context.timeouts,
            document_id,
            lease,
            chunk_range: self.chunk_range(context),
            sent_bytes: Arc::clone(self.sent.extra()),
        });
        let wanted = match self.options.parallel {
            // An attempt begins with one connection, also where the attempt before had more:
            // only the rate on this connection tells whether more are worth it.
            Parallel::Auto => 0,
            Parallel::Connections(count) => count.get() - 1,
        };
        // No more connections than blocks.
        let most = usize::try_from(blocks.saturating_sub(1)).unwrap_or(usize::MAX);
        let extra = ExtraConnections::new(spec, wanted.min(most));
        let is_auto = self.options.parallel == Parallel::Auto && extra.are_possible();
        let scaler =
            if is_auto { ConnectionScaler::new(Instant::now()) } else { ConnectionScaler::fixed() };
        (extra, scaler)
    }

    fn look_at_rate(context: &AttemptContext<'_>, state: &mut SendState) {
        let sent_bytes = context.connection.payload_bytes() + state.extra.sent_bytes();
        let left_bytes = state.reader.outstanding().saturating_mul(BLOCK_SIZE_BYTES);
        let connections = 1 + state.extra.wanted();
        if state.scaler.look(Instant::now(), sent_bytes, left_bytes, connections) {
            state.extra.add_one();
        }
    }

    /// The sizes that a chunk may have: the one that was asked for, or all from the server's
    /// proposal up to its limit.
    fn chunk_range(&self, context: &AttemptContext<'_>) -> ChunkRange {
        let min_bytes = self.chunk_bytes(context);
        let max_bytes = match self.options.chunk_bytes {
            Some(_) => min_bytes,
            None => context.connection.welcome().max_chunk_size,
        };
        ChunkRange { min_bytes, max_bytes }
    }

    /// Gives a block to a connection that has room: to the main one, where that has room.
    fn hand_out(&mut self, context: &mut AttemptContext<'_>, state: &mut SendState, block: Block) {
        if let Some(value) =
            usize::try_from(block.index.get()).ok().and_then(|n| self.values.get_mut(n))
        {
            // The value of the bytes that are sent replaces what was known before.
            *value = Some(block.value);
        }
        self.begun_bytes.remove(&block.index.get());
        state.handed.insert(block.index.get());
        state.extra.handed_out();
        if context.connection.has_room() {
            let chunk_bytes = state.chunk_sizer.queued(Instant::now());
            context.connection.queue_block(self.channel, chunk_bytes, block);
        } else {
            state.extra.hand_out(block);
        }
    }

    fn ask_to_complete(&self, context: &mut AttemptContext<'_>) {
        let blake3 = hash_file(self.filesize(), self.values.iter().copied().flatten());
        // The run that began the upload may have asked for something else on a conflict.
        let begun_by = self.upload.known().map(|known| known.begun_by);
        let is_from_earlier_run = begun_by == Some(BegunBy::EarlierRun);
        let on_conflict = self.options.on_conflict.filter(|_| is_from_earlier_run);
        context.connection.queue(&Request::Complete(Complete {
            channel: self.channel,
            document_id: self.document_id(),
            blake3: Some(blake3),
            on_conflict,
            ..Complete::default()
        }));
    }

    /// Handles a message of the server. Returns SUCCESS, where that was the message.
    pub(super) fn handle(
        &mut self,
        context: &mut AttemptContext<'_>,
        state: &mut SendState,
        incoming: Incoming,
    ) -> Result<Option<Success>, AttemptEnd> {
        let reply = match incoming {
            Incoming::Reply(reply) => for_channel(reply, self.channel)?,
            // The answer to a question about an earlier upload.
            Incoming::BlockList { channel, .. } if channel != self.channel => None,
            Incoming::BlockList { .. } => {
                return Err(AttemptEnd::protocol("a block list that was not asked for"));
            }
            Incoming::Block { .. } | Incoming::Chunk { .. } => {
                return Err(AttemptEnd::protocol("bytes of a file that were not asked for"));
            }
        };
        match reply {
            None => {}
            Some(Reply::Progress(progress)) => {
                let before = (self.position.received(), self.position.durable());
                if !self.progressed(&progress) {
                    return Err(AttemptEnd::protocol(format!("impossible progress: {progress:?}")));
                }
                if let Some(copied) = progress.copied {
                    let (path, bytes) = (self.document.local.clone(), self.filesize().get());
                    let copied_bytes = copied.get().min(bytes);
                    if state.completion.is_awaited()
                        && state.copy.reported(copied_bytes) != Advance::None
                    {
                        state.stall.restart(Instant::now());
                    }
                    (context.listener)(Event::Copying { path, bytes, copied_bytes });
                }
                // A server that repeats its last progress has not advanced.
                if before != (self.position.received(), self.position.durable()) {
                    self.note_down(context, state);
                    if let Some(status) = self.status() {
                        (context.listener)(Event::Progress(status));
                    }
                }
            }
            Some(Reply::Success(success)) if state.completion.is_awaited() => {
                if Some(success.document_id) != self.document_id() {
                    return Err(AttemptEnd::protocol("SUCCESS for another document"));
                }
                return Ok(Some(success));
            }
            Some(Reply::Error(error)) => self.handle_error(state, error)?,
            Some(other) => return Err(AttemptEnd::protocol(format!("unexpected: {other:?}"))),
        }
        Ok(None)
    }

    /// Writes to the state file how far the upload is, at most once in [`NOTED_EVERY`].
    fn note_down(&self, context: &AttemptContext<'_>, state: &mut SendState) {
        let due = state.noted.is_none_or(|(when, what)| {
            when.elapsed() >= NOTED_EVERY && what != self.position.durable()
        });
        if let Some(document_id) = self.document_id()
            && due
            && self.position.durable() > Offset::ZERO
        {
            state.noted = Some((Instant::now(), self.position.durable()));
            context.uploads.reached(
                context.server,
                document_id,
                self.position.durable(),
                self.proof_now(),
            );
        }
    }

    /// Repairs a damaged block; every other error ends the attempt.
    fn handle_error(&mut self, state: &mut SendState, error: ErrorReply) -> Result<(), AttemptEnd> {
        match (error.code, error.index) {
            (Code::BlockMismatch, Some(index)) => self.repair(state, index),
            (Code::Incomplete, _) if state.completion.is_awaited() => {
                if state.completion.incomplete() { Err(AttemptEnd::Realign) } else { Ok(()) }
            }
            _ => Err(self.refusal(error)),
        }
    }

    /// Queues a block again that arrived damaged.
    fn repair(&self, state: &mut SendState, index: BlockIndex) -> Result<(), AttemptEnd> {
        if index.get() >= self.values.len() as u64 {
            return Err(AttemptEnd::protocol(format!("the file has no block {index}")));
        }
        let repairs = state.repairs.entry(index).or_default();
        *repairs += 1;
        if *repairs > REPAIRS {
            let reason = format!(
                "block {index} arrived damaged {repairs} times; the link, or a machine at \
                 one of its ends, damages data"
            );
            return Err(Failure::Integrity { reason, document_id: self.document_id() }.into());
        }
        // The server has withdrawn the block.
        state.handed.remove(&index.get());
        state.reader.read(BlockRange::whole(index));
        state.completion.is_early();
        Ok(())
    }
}

impl SendState {
    /// Whether blocks are handed out now: there are some to read, and no lost blocks that have
    /// to be queued first.
    fn hands_out(&self) -> bool {
        self.reader.has_more() && !self.extra.must_resend()
    }
}
