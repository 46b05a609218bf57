//! One attempt: from the present state of the upload to SUCCESS, over one main connection.

use super::agree::Agreed;
use super::{AttemptContext, Transfer};
use crate::attempt_end::AttemptEnd;
use crate::events::Receipt;
use crate::failure::Failure;
use crate::plan::Plan;
use towline_protocol::reply::Success;

/// How often client and server may find that they have different numbers for how far the upload is,
/// before the connection counts as lost.
const REALIGNMENTS: u32 = 8;

/// The result of an attempt.
pub(crate) struct Attempt {
    pub(crate) ended: Result<Receipt, AttemptEnd>,
    /// More bytes are durable on the server than after every earlier attempt.
    pub(crate) made_headway: bool,
    /// Bytes were sent, and the server has received none of them.
    pub(crate) was_in_vain: bool,
}

impl Attempt {
    /// An attempt for which there was no connection.
    pub(crate) fn not_begun(end: AttemptEnd) -> Self {
        Self { ended: Err(end), made_headway: false, was_in_vain: false }
    }
}

impl Transfer {
    /// Uploads over one main connection, from the present state of the upload to the receipt.
    ///
    /// # Cancel safety
    /// An attempt that is dropped leaves the transfer fit for a pause and for the next attempt.
    pub(crate) async fn attempt(&mut self, mut context: AttemptContext<'_>) -> Attempt {
        let received = self.position.received();
        self.sent.attempt_begins(context.connection.payload_bytes());
        let ended = self.upload_until_agreed(&mut context).await;
        self.sent.count(context.connection.payload_bytes());
        let sent_here_bytes = self.sent.attempt_ended();
        let sent_bytes = self.sent.total();
        Attempt {
            ended: ended.map(|success| {
                let issuer = context.connection.issuer().map(|issuer| &**issuer);
                Receipt::of(&self.document, success, sent_bytes, issuer)
            }),
            made_headway: self.headway.was_made(sent_bytes),
            was_in_vain: sent_here_bytes > 0 && self.position.received() <= received,
        }
    }

    async fn upload_until_agreed(
        &mut self,
        context: &mut AttemptContext<'_>,
    ) -> Result<Success, AttemptEnd> {
        for _ in 0..REALIGNMENTS {
            match self.agree(context).await? {
                Agreed::Done(success) => return Ok(success),
                Agreed::Granted(plan) => match self.send_and_list(context, plan).await {
                    Ok(success) => return self.conclude(context, success).await,
                    Err(AttemptEnd::Realign) => {}
                    Err(end) => return Err(end),
                },
            }
        }
        let reason = "client and server could not agree on how far the upload is";
        Err(AttemptEnd::Lost(reason.to_owned()))
    }

    /// Carries out the plan, and writes the upload to the state file meanwhile.
    async fn send_and_list(
        &mut self,
        context: &mut AttemptContext<'_>,
        plan: Plan,
    ) -> Result<Success, AttemptEnd> {
        let entry = self.document_id().map(|document_id| self.entry(document_id, context));
        let written = entry.map(|entry| context.uploads.granted(entry));
        if let Some(known) = self.upload.known_mut() {
            known.is_listed = true;
        }
        let sent = self.send(context, plan).await;
        if let Some(written) = written
            && let Err(error) = written.await
        {
            self.notice(context, Failure::from(error).to_string());
        }
        sent
    }

    /// The last step: SUCCESS counts only where the server has the same hash as the local file;
    /// then the state file forgets the upload.
    pub(super) async fn conclude(
        &mut self,
        context: &mut AttemptContext<'_>,
        success: Success,
    ) -> Result<Success, AttemptEnd> {
        if success.filesize != self.filesize() {
            return Err(AttemptEnd::protocol("SUCCESS for a file of another size"));
        }
        if !self.is_in_place(&success) {
            let place = crate::place::words(&success);
            return Err(AttemptEnd::protocol(format!("SUCCESS for another place: {place}")));
        }
        let here = self.hash(context).await?;
        let document_id = success.document_id;
        if success.blake3 != here {
            let there = success.blake3;
            return Err(Failure::OtherHash { document_id, there, here }.into());
        }
        if let Some(known) = self.document_id()
            && let Err(error) = context.uploads.remove(context.server, known).await
        {
            self.notice(context, Failure::from(error).to_string());
        }
        Ok(success)
    }
}
