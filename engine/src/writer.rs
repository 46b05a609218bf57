//! One ordered writer: it does the commands of a client for one upload after another, in their
//! order. Everything here blocks and runs in the lane of the writer, off the async threads.

mod answer;
mod audit;
mod begin;
mod cancel;
mod complete;
mod held_blocks;
mod known_bytes;
mod query;
mod receive;
mod release;
mod resume;
mod staged_whole;
mod state;
mod step;
mod tree;
mod waiting;
mod whole;

use crate::event::EventKind;
use crate::lane::{Handler, Outcome};
use crate::may_block::MayBlock;
use release::PauseLog;
use state::WriterState;
pub(crate) use state::{OrderedWriter, Permits, QueuedCommand, Task};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use step::Continuation;
pub(crate) use step::is_short;

impl Handler for OrderedWriter {
    type Work = QueuedCommand;
    type Continuation = Continuation;

    fn is_short(work: &QueuedCommand) -> bool {
        match &work.task {
            Task::Command(command) => is_short(command),
            Task::Release(_) => false,
        }
    }

    fn take(queue: &mut VecDeque<QueuedCommand>) -> Option<QueuedCommand> {
        whole::take(queue).or_else(|| queue.pop_front())
    }

    fn begin(&mut self, work: QueuedCommand, may_block: Option<MayBlock>) -> Outcome<Continuation> {
        let outcome = self.begin_one(work, may_block);
        self.and_unfolded(outcome, may_block)
    }

    fn resume(
        &mut self,
        continuation: Continuation,
        may_block: Option<MayBlock>,
    ) -> Outcome<Continuation> {
        let outcome = self.resume_command(continuation, may_block);
        self.and_unfolded(outcome, may_block)
    }

    fn is_vacant(&self) -> bool {
        !self.is_under_way && !matches!(self.state, WriterState::Active(_))
    }

    fn vacated(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.vacated)
    }

    fn panicked(&mut self) {
        self.unfolded.clear();
        self.leave(PauseLog::Line);
        self.tell(None, EventKind::Panicked);
    }
}

impl OrderedWriter {
    /// When a command is done, begins the next of those in `unfolded`, which come before the queue.
    fn and_unfolded(
        &mut self,
        mut outcome: Outcome<Continuation>,
        may_block: Option<MayBlock>,
    ) -> Outcome<Continuation> {
        while let Outcome::Done = outcome {
            let Some(work) = self.unfolded.pop_front() else { break };
            outcome = self.begin_one(work, may_block);
        }
        outcome
    }

    fn begin_one(
        &mut self,
        work: QueuedCommand,
        may_block: Option<MayBlock>,
    ) -> Outcome<Continuation> {
        self.permits = work.permits;
        self.look_at_lease();
        let done = match work.task {
            Task::Command(command) => self.carry_out(command, may_block),
            Task::Release(done) => {
                let _ = done.send(self.leave(PauseLog::Line));
                Ok(None)
            }
        };
        self.conclude(done, may_block)
    }
}
