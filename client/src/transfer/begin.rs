//! Beginning an upload, unless the server has the file, or an upload of it, already.

use super::agree::Agreed;
use super::position::Position;
use super::upload::{BegunBy, KnownUpload, OfferHash, Upload};
use super::{AttemptContext, Transfer};
use crate::attempt_end::AttemptEnd;
use crate::events::Event;
use crate::plan::Plan;
use crate::source::Attributes;
use crate::uploads::BegunWith;
use towline_protocol::reply::{Found, Granted, Progress};
use towline_protocol::request::{Find, Upload as UploadRequest};
use towline_protocol::{Reply, Request};
use towline_types::{DocumentId, Offset};

impl Transfer {
    /// Begins an upload. Returns nothing where another question has to follow: another run has
    /// begun one meanwhile, or the server has the same bytes in another place only.
    pub(super) async fn begin(
        &mut self,
        context: &mut AttemptContext<'_>,
    ) -> Result<Option<Agreed>, AttemptEnd> {
        let found = self.find(context).await?;
        // Between `find` and `upload` the server may still handle what was sent on an older
        // connection. With `new_only` it begins nothing beside an upload that began there.
        let new_only = found.unfinished.is_none() && context.connection.knows("new_only");
        if let Some(unfinished) = found.unfinished
            && !self.upload.was_given_up(unfinished.document_id)
            && self.is_ours(context, unfinished.document_id).await?
        {
            let known = KnownUpload::new(unfinished.document_id, BegunBy::EarlierRun);
            self.upload = Upload::Known(known);
            self.position = Position::at(unfinished.offset.min(self.filesize().end()));
            return Ok(None);
        }
        let blake3 = if self.offer_hash.applies(found.same_size) {
            Some(self.hash(context).await?)
        } else {
            None
        };
        let welcome = context.connection.welcome();
        let Attributes { mtime, mode } = self.source.attributes().for_server(welcome);
        let upload = Request::Upload(UploadRequest {
            channel: self.channel,
            filename: self.filename(),
            folder: self.folder(),
            filesize: Some(self.filesize()),
            user_id: Some(Self::user(context)),
            chunk_size: Some(self.chunk_bytes(context)),
            blake3,
            on_conflict: self.options.on_conflict.unwrap_or_default(),
            blocks: true,
            new_only,
            mtime_ms: mtime,
            mode,
            ..UploadRequest::default()
        });
        let (local, filesize) = (self.document.local.clone(), self.filesize());
        let AttemptContext { connection, listener, .. } = context;
        // A server that has these bytes in another document copies them, and reports its progress.
        let mut watch = |progress: &Progress| {
            if blake3.is_some() && progress.filesize == filesize {
                listener(Event::copying(local.clone(), filesize, progress.received));
            }
        };
        match connection.ask_and_watch(&upload, &mut watch).await? {
            // An upload has begun since `find`.
            Reply::Find(_) if new_only => Ok(None),
            Reply::Upload(granted) => Ok(Some(self.was_granted(context, &granted)?)),
            // An earlier server answers with any document that has the same bytes.
            Reply::Success(success)
                if success.existing && blake3.is_some() && !self.is_in_place(&success) =>
            {
                self.offer_hash = OfferHash::Never;
                Ok(None)
            }
            Reply::Success(success) if (success.existing || success.copied) && blake3.is_some() => {
                Ok(Some(Agreed::Done(self.conclude(context, success).await?)))
            }
            Reply::Error(error) => Err(AttemptEnd::refused(error)),
            other => Err(AttemptEnd::protocol(format!("'upload' was answered {other:?}"))),
        }
    }

    async fn find(&mut self, context: &mut AttemptContext<'_>) -> Result<Found, AttemptEnd> {
        let find = Request::Find(Find {
            channel: self.channel,
            filename: self.filename(),
            folder: self.folder(),
            filesize: self.filesize(),
            blake3: None,
        });
        match context.connection.ask(&find).await? {
            Reply::Find(found) => Ok(found),
            Reply::Error(error) => Err(AttemptEnd::refused(error)),
            other => Err(AttemptEnd::protocol(format!("'find' was answered {other:?}"))),
        }
    }

    /// The server has granted a new upload: the whole file is to be sent.
    fn was_granted(
        &mut self,
        context: &mut AttemptContext<'_>,
        granted: &Granted,
    ) -> Result<Agreed, AttemptEnd> {
        self.check(granted, granted.document_id)?;
        if granted.offset != Offset::ZERO {
            return Err(AttemptEnd::protocol("a new upload does not begin at 0"));
        }
        self.upload = Upload::Known(KnownUpload {
            lease: granted.lease,
            ..KnownUpload::new(granted.document_id, BegunBy::ThisRun)
        });
        self.headway.granted(0);
        let plan = Plan::whole_file(self.filesize());
        self.position.planned(&plan, self.filesize(), Offset::ZERO);
        if let Some(status) = self.status() {
            (context.listener)(Event::Started(status));
        }
        Ok(Agreed::Granted(plan))
    }

    /// Whether an upload under this name may be an upload of this file: as far as the state file
    /// knows, it was not begun with another file, and the blocks that the server holds agree with
    /// the local ones. Without this check, two files of the same name and size would continue the
    /// same upload in turn, and each would withdraw the blocks of the other.
    async fn is_ours(
        &mut self,
        context: &mut AttemptContext<'_>,
        document_id: DocumentId,
    ) -> Result<bool, AttemptEnd> {
        let begun_with =
            context.uploads.begun_with(context.server, document_id, self.source.path()).await;
        let must_all_agree = match begun_with {
            BegunWith::This => false,
            BegunWith::Another => return Ok(false),
            // A file that was moved has the same time of modification; without such a time, all of
            // its blocks must agree.
            BegunWith::Gone(modified) => modified.is_none() || modified != self.source.modified(),
        };
        let count = self.values.len() as u64;
        let held = context.connection.held_blocks(self.channel, document_id, count).await?;
        self.hash_local(context, |number| held.contains_key(&number)).await?;
        let mut held_here = (0..)
            .zip(&self.values)
            .filter_map(|(number, value)| Some(*value.as_ref()? == *held.get(&number)?));
        let agrees = if must_all_agree {
            held_here.all(|is_same| is_same)
        } else {
            held_here.any(|is_same| is_same)
        };
        Ok(agrees || held.is_empty())
    }
}
