//! Continuing an upload that the server has: what it holds is compared with the local file.

use super::agree::Agreed;
use super::{AttemptContext, Transfer};
use crate::attempt_end::AttemptEnd;
use crate::events::Event;
use crate::plan::Plan;
use std::collections::BTreeMap;
use towline_protocol::reply::{Granted, Progress, Success};
use towline_protocol::request::{Resume, Withdraw};
use towline_protocol::{Code, Reply, Request};
use towline_types::{ChainingValue, DocumentId, Offset};

impl Transfer {
    /// Continues an upload. Returns nothing where the upload was given up because the server
    /// cannot continue it.
    pub(super) async fn resume(
        &mut self,
        context: &mut AttemptContext<'_>,
        document_id: DocumentId,
    ) -> Result<Option<Agreed>, AttemptEnd> {
        let known = self.upload.known_mut();
        let (mut offset, grow) =
            known.map_or((None, false), |it| (it.take_expected_offset(), it.has_grown()));
        loop {
            let resume = Request::Resume(Resume {
                channel: self.channel,
                document_id,
                offset,
                filename: Some(self.filename()),
                filesize: Some(self.filesize()),
                user_id: None,
                blocks: true,
                grow,
            });
            let (local, filesize) = (self.document.local.clone(), self.filesize());
            let AttemptContext { connection, listener, .. } = context;
            // The file may have arrived completely, and the server still copies it to the disk
            // of its folder.
            let mut watch = |progress: &Progress| {
                if let Some(copied) = progress.copied.filter(|_| progress.filesize == filesize) {
                    listener(Event::copying(local.clone(), filesize, copied));
                }
            };
            match connection.ask_and_watch(&resume, &mut watch).await? {
                Reply::Resume(granted) => {
                    self.check(&granted, document_id)?;
                    if let Some(known) = self.upload.known_mut() {
                        known.was_resumed(granted.lease);
                    }
                    let plan = self.plan_rest(context, granted).await?;
                    return Ok(Some(Agreed::Granted(plan)));
                }
                Reply::Success(success) => return self.was_completed(context, success).await,
                // The server's offset counts: the client asks again, without an offset.
                Reply::Error(error) if error.code == Code::OffsetMismatch && offset.is_some() => {
                    offset = None;
                }
                Reply::Error(error) if is_gone(error.code) => {
                    self.notice(
                        context,
                        format!(
                            "the earlier upload cannot be continued ({}); the file is sent from \
                             the beginning",
                            crate::text::printable(&error.message)
                        ),
                    );
                    self.give_up(context, document_id).await;
                    return Ok(None);
                }
                Reply::Error(error) => return Err(AttemptEnd::refused(error)),
                other => {
                    return Err(AttemptEnd::protocol(format!("'resume' was answered {other:?}")));
                }
            }
        }
    }

    /// Makes the plan for the rest of the file, after the server has granted to continue.
    async fn plan_rest(
        &mut self,
        context: &mut AttemptContext<'_>,
        granted: Granted,
    ) -> Result<Plan, AttemptEnd> {
        let document_id = granted.document_id;
        let count = self.values.len() as u64;
        let held = context.connection.held_blocks(self.channel, document_id, count).await?;
        self.compare(context, &held).await?;
        let plan =
            Plan::resume(self.filesize(), granted.offset, &held, &self.values, &self.begun_bytes);
        let withdrawn = self.withdraw(context, &plan, document_id).await?;
        let offset = withdrawn.unwrap_or(granted.offset);
        self.position.planned(&plan, self.filesize(), offset);
        let left_bytes = plan.bytes(self.filesize());
        // More may be durable than the server had reported when the connection was lost.
        self.headway.granted(self.position.held_bytes(self.filesize()));
        if let Some(status) = self.status() {
            let changed = !plan.withdraw.is_empty();
            (context.listener)(Event::Resumed { status, left_bytes, changed });
        }
        Ok(plan)
    }

    /// Withdraws the blocks that the plan names. Returns the offset after that; nothing where the
    /// plan names none.
    pub(super) async fn withdraw(
        &mut self,
        context: &mut AttemptContext<'_>,
        plan: &Plan,
        document_id: DocumentId,
    ) -> Result<Option<Offset>, AttemptEnd> {
        let mut offset = None;
        for ranges in plan.withdrawals() {
            let channel = self.channel;
            let withdraw = Request::Withdraw(Withdraw { channel, ranges: ranges.to_vec() });
            match context.connection.ask(&withdraw).await? {
                Reply::Withdraw(granted) => {
                    self.check(&granted, document_id)?;
                    offset = Some(granted.offset);
                }
                Reply::Error(error) => return Err(AttemptEnd::refused(error)),
                other => {
                    return Err(AttemptEnd::protocol(format!("'withdraw' was answered {other:?}")));
                }
            }
        }
        Ok(offset)
    }

    /// Finds out the local values of all held blocks: from the proof of an earlier run where it
    /// covers them, else by reading the file.
    async fn compare(
        &mut self,
        context: &mut AttemptContext<'_>,
        held: &BTreeMap<u64, ChainingValue>,
    ) -> Result<(), AttemptEnd> {
        if let Some(proof) = self.upload.known_mut().and_then(|known| known.proof.take()) {
            let proven = proof.proven(self.source.identity(), held);
            for (number, value) in (0..proven).zip(&mut self.values) {
                *value = value.or_else(|| held.get(&number).copied());
            }
        }
        self.hash_local(context, |number| held.contains_key(&number)).await
    }

    /// The server says that the upload was completed: an earlier SUCCESS was lost, or the local
    /// file has changed since.
    async fn was_completed(
        &mut self,
        context: &mut AttemptContext<'_>,
        success: Success,
    ) -> Result<Option<Agreed>, AttemptEnd> {
        let document_id = success.document_id;
        let why = if !self.is_in_place(&success) {
            let place = crate::place::words(&success);
            format!(
                "the file was completed as document {document_id} in another place ({place}); it \
                 is uploaded to this one"
            )
        } else if self.hash(context).await? != success.blake3 {
            format!(
                "an earlier version of the file was completed as document {document_id}; it has \
                 changed since and is uploaded anew"
            )
        } else {
            return Ok(Some(Agreed::Done(self.conclude(context, success).await?)));
        };
        self.notice(context, why);
        self.give_up(context, document_id).await;
        Ok(None)
    }
}

/// Whether an upload cannot be continued by this client, so that a new one has to begin.
fn is_gone(code: Code) -> bool {
    matches!(
        code,
        Code::NotFound | Code::Expired | Code::Cancelled | Code::Failed | Code::FileChanged
    )
}
