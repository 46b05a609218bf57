//! Sending the blocks again that were lost with an extra connection.

use super::sending::SendState;
use super::{AttemptContext, Transfer};
use crate::attempt_end::AttemptEnd;
use crate::connection::{Incoming, Step, WaitFor};
use crate::plan::Plan;
use tokio::time::{Instant, timeout_at};
use towline_protocol::reply::Success;
use towline_protocol::request::DocumentRef;
use towline_protocol::{Reply, Request};
use towline_types::DocumentId;

/// How often blocks may be sent again before client and server agree again on what is to be sent.
const RESENDS: u32 = 64;

impl Transfer {
    /// Finds out which of the blocks that were handed out are missing, and queues them again.
    /// The server may have begun each of them and have promised its first bytes, so the block is
    /// withdrawn before it is sent from its start. All extra connections have to have confirmed
    /// before. Returns SUCCESS, where that is the answer to an earlier `complete`.
    pub(super) async fn resend_lost(
        &mut self,
        context: &mut AttemptContext<'_>,
        state: &mut SendState,
    ) -> Result<Option<Success>, AttemptEnd> {
        let Some(document_id) = self.document_id() else { return Err(AttemptEnd::Realign) };
        state.resends += 1;
        if state.resends > RESENDS {
            return Err(AttemptEnd::Realign);
        }
        if let Some(success) = self.confirm_main(context, state, document_id).await? {
            return Ok(Some(success));
        }
        let count = self.values.len() as u64;
        let held = context.connection.held_blocks(self.channel, document_id, count).await?;
        let missing: Vec<u64> =
            state.handed.iter().copied().filter(|number| !held.contains_key(number)).collect();
        let plan = Plan::anew(missing.iter().copied());
        if let Some(offset) = self.withdraw(context, &plan, document_id).await? {
            self.position.went_back_to(offset);
        }
        for number in &missing {
            state.handed.remove(number);
        }
        for range in plan.ranges {
            state.reader.read(range);
        }
        state.extra.lost_are_queued();
        Ok(None)
    }

    /// Waits until the server has handled all that the main connection has sent, and its errors
    /// about that have come: an error must not be taken for the answer to the next question.
    async fn confirm_main(
        &mut self,
        context: &mut AttemptContext<'_>,
        state: &mut SendState,
        document_id: DocumentId,
    ) -> Result<Option<Success>, AttemptEnd> {
        let channel = self.channel;
        context.connection.queue(&Request::Status(DocumentRef { channel, document_id }));
        loop {
            let stall_ends = self.stall_ends(context, state);
            let step = timeout_at(stall_ends, context.connection.next(WaitFor::Incoming)).await;
            if step.is_err() || Instant::now() >= stall_ends {
                return Err(AttemptEnd::Lost("the server leaves a question unanswered".to_owned()));
            }
            match step.unwrap_or(Ok(Step::Room))? {
                Step::Incoming(Incoming::Reply(Reply::Status(status)))
                    if status.channel == channel =>
                {
                    return Ok(None);
                }
                Step::Incoming(incoming) => {
                    if let Some(success) = self.handle(context, state, incoming)? {
                        return Ok(Some(success));
                    }
                }
                Step::Room => {}
            }
        }
    }
}
