//! Agreeing with the server on what is to be sent: nothing, the whole file, or the rest.

use super::position::Position;
use super::upload::{BegunBy, Expected, KnownUpload, Upload};
use super::{AttemptContext, Transfer};
use crate::attempt_end::AttemptEnd;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::units;
use crate::uploads::{self, Remembered, Wanted};
use towline_protocol::reply::{Granted, Success};
use towline_protocol::request::DocumentRef;
use towline_protocol::{Code, ErrorReply, Reply, Request};
use towline_types::{DocumentId, Offset};

/// How many rounds of questions may follow each other, where each answer makes another question
/// necessary: the upload cannot be continued, or another run has begun one meanwhile.
const ROUNDS: u32 = 8;

/// What client and server agreed on.
pub(super) enum Agreed {
    /// The server has the file.
    Done(Success),
    /// The plan for the blocks that are to be sent.
    Granted(Plan),
}

impl Transfer {
    /// Continues the upload, where there is one, or begins one.
    pub(super) async fn agree(
        &mut self,
        context: &mut AttemptContext<'_>,
    ) -> Result<Agreed, AttemptEnd> {
        self.channel = context.connection.new_channel();
        self.keep_to_one_store(context);
        if matches!(self.upload, Upload::Unasked) {
            self.upload = self.look_up(context).await?;
        }
        for _ in 0..ROUNDS {
            let agreed = match self.document_id() {
                Some(document_id) => {
                    self.list(context);
                    self.resume(context, document_id).await?
                }
                None => self.begin(context).await?,
            };
            if let Some(agreed) = agreed {
                return Ok(agreed);
            }
        }
        let what = "whatever is asked for, the server offers something else".to_owned();
        Err(AttemptEnd::Garbled(Failure::Protocol(what)))
    }

    /// Drops an upload that belongs to another store than the one that answers now: its number
    /// means another document here. It stays in the state file, because the other server may come
    /// back.
    fn keep_to_one_store(&mut self, context: &mut AttemptContext<'_>) {
        let store = context.connection.welcome().server_id;
        if self.store.is_some() && store.is_some() && self.store != store {
            if self.upload.known().is_some() {
                self.notice(context, Self::other_server(context));
            }
            self.upload = match self.upload {
                // A number that a person gave is the number of an upload on the other server:
                // the state file is asked again, and says so.
                _ if self.options.document_id.is_some() => Upload::Unasked,
                Upload::Unasked => Upload::Unasked,
                Upload::None { .. } | Upload::Known(_) => Upload::None { given_up: None },
            };
            self.forget_position();
        }
        self.store = store.or(self.store);
    }

    fn other_server(context: &AttemptContext<'_>) -> String {
        format!(
            "another server answers at {} than the one that has a part of this file; that part \
             stays in the list (towline uploads) and is of no use here",
            context.server.address
        )
    }

    /// Writes an upload that was found on the server to the state file, before `resume`: the server
    /// may work long on its answer, and a person who interrupts that needs the number. Does not
    /// wait: the entry is written again when the upload continues, and an error of the disk is
    /// reported then.
    fn list(&mut self, context: &mut AttemptContext<'_>) {
        let unlisted = self.upload.known_mut().filter(|known| !known.is_listed);
        if let Some(known) = unlisted {
            known.is_listed = true;
            let document_id = known.document_id;
            drop(context.uploads.granted(self.entry(document_id, context)));
        }
    }

    /// Asks the state file which upload of this file an earlier run has begun.
    async fn look_up(&mut self, context: &mut AttemptContext<'_>) -> Result<Upload, AttemptEnd> {
        let asked_for = self.options.document_id;
        let wanted = Wanted {
            server: context.server.clone(),
            remote: self.document.remote.clone(),
            local: self.source.path().to_owned(),
            user_id: Self::user(context),
            document_id: asked_for,
        };
        let (document_id, entry) = match (context.uploads.find(wanted).await, asked_for) {
            (Remembered::Entry(document_id, entry), _) => (document_id, entry),
            (Remembered::OtherServer, Some(document_id)) => {
                let server = context.server.address.clone();
                let document_id = Some(document_id);
                return Err(Failure::OtherServer { document_id, server }.into());
            }
            // A person who names an upload does not expect that another one begins.
            (Remembered::Nothing, Some(document_id)) => {
                return Err(Failure::NotYours { document_id }.into());
            }
            (Remembered::OtherServer, None) => {
                self.notice(context, Self::other_server(context));
                return Ok(Upload::None { given_up: None });
            }
            (Remembered::Nothing, None) => return Ok(Upload::None { given_up: None }),
        };
        let has_grown = entry.total_size < self.filesize() && context.connection.knows("grow");
        if entry.total_size != self.filesize() && !has_grown {
            self.notice(
                context,
                format!(
                    "the file had {} when its upload began and has {} now; the old upload \
                     (document {document_id}) is cancelled and a new one begins",
                    units::size(entry.total_size.get()),
                    units::size(self.filesize().get())
                ),
            );
            self.cancel(context, document_id).await?;
            return Ok(Upload::None { given_up: Some(document_id) });
        }
        self.position = Position::at(entry.offset.min(self.filesize().end()));
        let is_untouched =
            entry.modified_ns.is_some() && entry.modified_ns == self.source.modified();
        if !is_untouched {
            self.notice(
                context,
                "the file may have changed since its upload began; only what differs is sent"
                    .to_owned(),
            );
        }
        Ok(Upload::Known(KnownUpload {
            is_listed: true,
            expected: if has_grown { Expected::Grown } else { Expected::At(entry.offset) },
            proof: if is_untouched { uploads::proof(&entry) } else { None },
            ..KnownUpload::new(document_id, BegunBy::EarlierRun)
        }))
    }

    /// Cancels an upload on the server, and takes it off the state file.
    async fn cancel(
        &mut self,
        context: &mut AttemptContext<'_>,
        document_id: DocumentId,
    ) -> Result<(), AttemptEnd> {
        let about = DocumentRef { channel: self.channel, document_id };
        match context.connection.ask(&Request::Cancel(about)).await? {
            Reply::Error(error)
                if matches!(AttemptEnd::refused(error.clone()), AttemptEnd::Later(_)) =>
            {
                return Err(AttemptEnd::refused(error));
            }
            // The upload is gone already, or completed: then there is nothing to cancel.
            _ => {}
        }
        self.unlist(context, document_id).await;
        Ok(())
    }

    async fn unlist(&mut self, context: &mut AttemptContext<'_>, document_id: DocumentId) {
        if let Err(error) = context.uploads.remove(context.server, document_id).await {
            self.notice(context, Failure::from(error).to_string());
        }
    }

    /// Gives up an upload that cannot be continued.
    pub(super) async fn give_up(
        &mut self,
        context: &mut AttemptContext<'_>,
        document_id: DocumentId,
    ) {
        self.unlist(context, document_id).await;
        self.upload = Upload::None { given_up: Some(document_id) };
        self.forget_position();
    }

    fn forget_position(&mut self) {
        self.position = Position::at(Offset::ZERO);
        self.begun_bytes.clear();
    }

    /// Checks what the server grants against what was asked for.
    pub(super) fn check(
        &self,
        granted: &Granted,
        document_id: DocumentId,
    ) -> Result<(), AttemptEnd> {
        if granted.document_id != document_id {
            return Err(AttemptEnd::protocol("the server speaks of another document"));
        }
        if granted.filesize != self.filesize() || granted.offset > self.filesize().end() {
            return Err(AttemptEnd::protocol(format!(
                "offset {} of {} bytes in a file of {} bytes",
                granted.offset,
                granted.filesize,
                self.filesize()
            )));
        }
        Ok(())
    }

    /// What an error on the upload's channel means for the attempt.
    pub(super) fn refusal(&mut self, error: ErrorReply) -> AttemptEnd {
        match error.code {
            Code::OffsetMismatch => {
                if let Some(expected) = error.expected
                    && expected < self.filesize().end()
                {
                    let block = towline_types::BlockIndex::at(expected);
                    let begun_bytes = expected.get() - block.start().get();
                    self.begun_bytes.insert(block.get(), begun_bytes);
                }
                AttemptEnd::Realign
            }
            // The client does not send such frames: they were damaged on the way.
            Code::BadState => {
                AttemptEnd::Garbled(Failure::Refused { reply: Box::new(error), kept: None })
            }
            _ => AttemptEnd::refused(error),
        }
    }
}
