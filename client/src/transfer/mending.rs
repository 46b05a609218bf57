//! Sending again what was lost with a connection besides the main one.

use super::sending::Course;
use super::{Means, Transfer};
use crate::connection::{Said, Step};
use crate::plan::Plan;
use crate::stop::Stop;
use tokio::time::{Instant, timeout_at};
use towline_protocol::reply::Success;
use towline_protocol::request::DocumentRef;
use towline_protocol::{Reply, Request};
use towline_types::DocumentId;

/// How often that may be done before client and server agree anew.
const MENDS: u32 = 64;

impl Transfer {
    /// Finds out which of the blocks that were handed out are missing, and has them read
    /// again. Each was begun perhaps, and the server may have promised its first bytes: it
    /// is withdrawn before it is sent from its start. Wants all other connections settled.
    /// The receipt, should an earlier `complete` have been enough.
    pub(super) async fn mend(
        &mut self,
        means: &mut Means<'_>,
        course: &mut Course,
    ) -> Result<Option<Success>, Stop> {
        let Some(document_id) = self.document_id else { return Err(Stop::Realign) };
        course.mends += 1;
        if course.mends > MENDS {
            return Err(Stop::Realign);
        }
        if let Some(success) = self.settle_main(means, course, document_id).await? {
            return Ok(Some(success));
        }
        let count = self.values.len() as u64;
        let held = means.link.held_blocks(self.channel, document_id, count).await?;
        let missing: Vec<u64> =
            course.handed.iter().copied().filter(|number| !held.contains_key(number)).collect();
        let plan = Plan::anew(missing.iter().copied());
        if let Some(offset) = self.withdraw(means, &plan, document_id).await? {
            self.position.went_back_to(offset);
        }
        for number in &missing {
            course.handed.remove(number);
        }
        for piece in plan.pieces {
            course.feeder.read(piece);
        }
        course.strands.mended();
        Ok(None)
    }

    /// Waits until all that the main connection has sent has been dealt with, objections
    /// and all: what follows is an exchange of questions and answers.
    async fn settle_main(
        &mut self,
        means: &mut Means<'_>,
        course: &mut Course,
        document_id: DocumentId,
    ) -> Result<Option<Success>, Stop> {
        let channel = self.channel;
        means.link.queue(&Request::Status(DocumentRef { channel, document_id }));
        loop {
            let stall_ends = self.stall_ends(means, course);
            let step = timeout_at(stall_ends, means.link.next(false)).await;
            if step.is_err() || Instant::now() >= stall_ends {
                return Err(Stop::Lost("the server leaves a question unanswered".to_owned()));
            }
            match step.unwrap_or(Ok(Step::Room))? {
                Step::Said(Said::Reply(Reply::Status(status))) if status.channel == channel => {
                    return Ok(None);
                }
                Step::Said(said) => {
                    if let Some(success) = self.heard(means, course, said)? {
                        return Ok(Some(success));
                    }
                }
                Step::Room => {}
            }
        }
    }
}
