//! Uploads what comes through a pipe, over connections that may be lost.

use super::Client;
use super::retry::Attempts;
use crate::attempt_end::AttemptEnd;
use crate::connection::{Connection, Incoming, Step, WaitFor, for_channel};
use crate::document::Document;
use crate::events::{Event, Listener, Receipt, UploadStatus};
use crate::failure::{Failure, ends_upload};
use crate::pipe::{Pipe, STANDARD_INPUT, Whole};
use crate::place;
use crate::text::shell_word;
use crate::transfer::options::PutOptions;
use std::io::Read;
use std::path::PathBuf;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use towline_protocol::reply::{Granted, Progress, Success};
use towline_protocol::request::{Complete, DocumentRef, Resume, Upload};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_types::{DocumentId, DocumentPath, FileSize, Name, Offset};

/// The most bytes of a chunk where no size was asked for.
const CHUNK_BYTES: u32 = 256 << 10;

/// The upload, as it outlives a connection.
struct PipeUpload {
    document: Document,
    options: PutOptions,
    pipe: Pipe,
    channel: Channel,
    /// Absent until the server has granted it.
    document_id: Option<DocumentId>,
    /// The place of the byte that is sent next.
    position: u64,
    received: Offset,
    durable: Offset,
    sent_bytes: u64,
    /// How much was durable when the attempts were last counted from the beginning.
    headway: Offset,
}

/// How far an attempt is. Whenever this changes, the time after which the connection counts as lost
/// begins again.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Reached {
    payload_bytes: u64,
    received: Offset,
    durable: Offset,
    copied: Option<Offset>,
}

impl Client {
    /// Uploads what comes through a pipe, whose length is not known before its end, as
    /// `remote`. A lost connection is replaced, as by [`put`](Self::put): what the server may still
    /// lose is kept in memory, at most 64 MiB, and beyond that the pipe waits.
    ///
    /// What was read cannot be read again, so the upload ends with this call: where it fails or is
    /// cancelled, what has arrived is given up on the server, if the server can be reached.
    ///
    /// # Errors
    /// See [`Failure`].
    ///
    /// # Cancel safety
    /// A call that is dropped leaves an upload on the server that nobody can continue; it expires.
    pub async fn put_pipe(
        &mut self,
        pipe: impl Read + Send + 'static,
        remote: DocumentPath,
        options: &PutOptions,
        cancel: &CancellationToken,
        listener: Listener<'_>,
    ) -> Result<Receipt, Failure> {
        let local = PathBuf::from(STANDARD_INPUT);
        let pipe = Pipe::start(pipe).map_err(|source| Failure::File {
            action: "read",
            path: local.clone(),
            source,
            kept: None,
        })?;
        let mut upload = PipeUpload {
            document: Document { local, remote },
            options: options.clone(),
            pipe,
            channel: Channel::default(),
            document_id: None,
            position: 0,
            received: Offset::ZERO,
            durable: Offset::ZERO,
            sent_bytes: 0,
            headway: Offset::ZERO,
        };
        let ended = tokio::select! {
            biased;
            // Cancel-safe: the upload is only given up after that.
            () = cancel.cancelled() => Err(Failure::Interrupted(None)),
            ended = self.try_pipe(&mut upload, listener) => ended,
        };
        match ended {
            Ok(success) => {
                let issuer = self.connection.as_ref().and_then(|connection| connection.issuer());
                let issuer = issuer.map(|issuer| &**issuer);
                let receipt = Receipt::of(&upload.document, success, upload.sent_bytes, issuer);
                listener(Event::Completed(receipt.clone()));
                Ok(receipt)
            }
            Err(failure) => {
                let Some(document_id) = upload.document_id else { return Err(failure) };
                let is_gone = self.give_up_pipe(document_id).await;
                let cancel = (!is_gone).then(|| self.words_to_cancel(document_id));
                Err(Failure::OfPipe { failure: Box::new(failure), cancel })
            }
        }
    }

    async fn try_pipe(
        &mut self,
        upload: &mut PipeUpload,
        listener: Listener<'_>,
    ) -> Result<Success, Failure> {
        let mut attempts = Attempts::new(self.retries);
        loop {
            let end = match self.attempt_pipe(upload, listener).await {
                Ok(success) => return Ok(success),
                Err(end) => end,
            };
            if upload.durable > upload.headway {
                upload.headway = upload.durable;
                attempts.begin_anew();
            }
            let Some(wait) = self.wait_before_next(end, &mut attempts).await? else { continue };
            let next_in = wait.next_in;
            listener(Event::Waiting {
                path: upload.document.local.clone(),
                reason: wait.reason,
                attempt: wait.attempt,
                next_in,
            });
            tokio::time::sleep(next_in).await;
        }
    }

    async fn attempt_pipe(
        &mut self,
        upload: &mut PipeUpload,
        listener: Listener<'_>,
    ) -> Result<Success, AttemptEnd> {
        let server = self.server().clone();
        let connection = self.connected().await?;
        if !connection.knows("open_length") {
            return Err(Failure::NotSupported { server }.into());
        }
        let before = connection.payload_bytes();
        let sent_before = upload.sent_bytes;
        let ended = match upload.agree(connection, listener).await? {
            Some(success) => Ok(success),
            None => upload.send(connection, sent_before, before, listener).await,
        };
        upload.sent_bytes = sent_before + (connection.payload_bytes() - before);
        upload.check(&ended?)
    }

    /// Cancels an upload from a pipe, which no later run can continue. Returns whether the server
    /// says that nothing of it stays there.
    ///
    /// There may be no connection, or one that is lost and does not know it yet: while the server
    /// has no room the client waits without one. So it is tried over a second one.
    async fn give_up_pipe(&mut self, document_id: DocumentId) -> bool {
        let closing = self.timeouts.closing;
        for _ in 0..2 {
            match timeout(closing, self.cancel_pipe(document_id)).await {
                Ok(Some(is_gone)) => return is_gone,
                Ok(None) | Err(_) => self.connection = None,
            }
        }
        false
    }

    /// Cancels the upload over the connection that there is, or a new one; `None` where it was
    /// lost.
    async fn cancel_pipe(&mut self, document_id: DocumentId) -> Option<bool> {
        let store = self.known.id;
        self.connected().await.ok()?;
        // In another store the number is another document's.
        if self.known.id != store {
            return Some(false);
        }
        let connection = self.connection.as_mut()?;
        connection.drop_queue();
        let channel = connection.new_channel();
        let cancel = Request::Cancel(DocumentRef { channel, document_id });
        match connection.ask(&cancel).await.ok()? {
            Reply::Error(error) => Some(ends_upload(error.code)),
            _ => Some(true),
        }
    }

    /// The command with which a person cancels the upload.
    fn words_to_cancel(&self, document_id: DocumentId) -> String {
        let token = self.token.file().map(|path| shell_word(path));
        let token = token.map_or_else(String::new, |file| format!(" --token-file {file}"));
        format!("towline cancel {document_id} --to {}{token}", self.server())
    }
}

impl PipeUpload {
    /// Begins the upload, or finds out where it goes on. Returns the receipt where it is complete.
    async fn agree(
        &mut self,
        connection: &mut Connection,
        listener: Listener<'_>,
    ) -> Result<Option<Success>, AttemptEnd> {
        self.channel = connection.new_channel();
        if let Some(document_id) = self.document_id {
            let resume = Request::Resume(Resume {
                channel: self.channel,
                document_id,
                offset: None,
                filename: None,
                filesize: None,
                user_id: None,
                blocks: false,
                grow: false,
            });
            match connection.ask(&resume).await? {
                Reply::Success(success) => return Ok(Some(success)),
                Reply::Resume(granted) => {
                    self.goes_on(&granted)?;
                    let left_bytes = self.pipe.window.end() - self.position;
                    let status = self.status(document_id);
                    listener(Event::Resumed { status, left_bytes, changed: false });
                    return Ok(None);
                }
                // All of it is still here: it is sent from its beginning.
                Reply::Error(error) if ends_upload(error.code) && self.pipe.window.start() == 0 => {
                    self.document_id = None;
                    (self.position, self.received, self.durable) = (0, Offset::ZERO, Offset::ZERO);
                }
                Reply::Error(error) => return Err(refused(error)),
                other => return Err(AttemptEnd::protocol(format!("unexpected: {other:?}"))),
            }
        }
        let welcome = connection.welcome();
        let upload = Request::Upload(Upload {
            channel: self.channel,
            filename: self.document.remote.filename().to_string(),
            folder: self.folder(),
            user_id: Some(welcome.user_id),
            on_conflict: self.options.on_conflict.unwrap_or_default(),
            ..Upload::default()
        });
        match connection.ask(&upload).await? {
            Reply::Upload(granted) if granted.offset == Offset::ZERO => {
                self.document_id = Some(granted.document_id);
                listener(Event::Started(self.status(granted.document_id)));
                Ok(None)
            }
            Reply::Error(error) => Err(refused(error)),
            other => Err(AttemptEnd::protocol(format!("unexpected: {other:?}"))),
        }
    }

    /// The server says from where on bytes are missing. These bytes are here: the window begins at
    /// the first byte that was not durable.
    fn goes_on(&mut self, granted: &Granted) -> Result<(), AttemptEnd> {
        let place = granted.offset.get();
        let is_here = self.pipe.window.start() <= place && place <= self.pipe.window.end();
        if Some(granted.document_id) != self.document_id || !is_here {
            return Err(AttemptEnd::protocol("it goes on at a byte that it does not lack"));
        }
        self.position = place;
        (self.received, self.durable) = (granted.offset, granted.offset);
        Ok(())
    }

    async fn send(
        &mut self,
        connection: &mut Connection,
        sent_before: u64,
        payload_before: u64,
        listener: Listener<'_>,
    ) -> Result<Success, AttemptEnd> {
        let chunk_bytes = self.options.chunk_bytes.unwrap_or(CHUNK_BYTES);
        let chunk_bytes = chunk_bytes.clamp(1, connection.welcome().max_chunk_size.max(1));
        let mut is_complete_said = false;
        let mut copied = None;
        let (mut reached, mut moved) = (None, Instant::now());
        loop {
            if connection.has_room()
                && let Some(bytes) =
                    self.pipe.window.bytes_from(self.position, chunk_bytes as usize)
            {
                let offset = Offset::try_from(self.position)
                    .map_err(|_| AttemptEnd::protocol("a pipe without an end"))?;
                connection.queue_chunk(self.channel, offset, bytes);
                self.position += bytes.len() as u64;
            }
            if let Some(Whole { filesize, blake3 }) = self.pipe.whole()
                && self.position == filesize.get()
                && !is_complete_said
            {
                is_complete_said = true;
                let (filesize, blake3) = (Some(filesize), Some(blake3));
                let (channel, document_id) = (self.channel, self.document_id);
                let complete =
                    Complete { channel, document_id, filesize, blake3, on_conflict: None };
                connection.queue(&Request::Complete(complete));
            }
            let payload_bytes = connection.payload_bytes();
            self.sent_bytes = sent_before + (payload_bytes - payload_before);
            let (received, durable) = (self.received, self.durable);
            let now = Reached { payload_bytes, received, durable, copied };
            if reached.replace(now) != Some(now) {
                moved = Instant::now();
            }
            let stall_ends = moved + connection.timeouts().progress;
            // Where the server has all that has come, the pipe is waited for.
            let is_awaited = is_complete_said || self.received.get() < self.position;
            if is_awaited && Instant::now() >= stall_ends {
                let what = "the server answers and takes nothing more".to_owned();
                return Err(AttemptEnd::Lost(what));
            }
            let has_more = self.position < self.pipe.window.end();
            let wait_for = if has_more { WaitFor::IncomingOrRoom } else { WaitFor::Incoming };
            tokio::select! {
                // All are cancel-safe.
                step = connection.next(wait_for) => {
                    if let Step::Incoming(Incoming::Reply(reply)) = step?
                        && let Some(reply) = for_channel(reply, self.channel)?
                    {
                        match reply {
                            Reply::Progress(progress) => {
                                copied = progress.copied.or(copied);
                                self.progressed(&progress, listener);
                            }
                            Reply::Success(success) => return Ok(success),
                            Reply::Error(error) if error.code == Code::OffsetMismatch => {
                                return Err(AttemptEnd::Realign);
                            }
                            Reply::Error(error) => return Err(refused(error)),
                            other => {
                                let what = format!("unexpected: {other:?}");
                                return Err(AttemptEnd::protocol(what));
                            }
                        }
                    }
                }
                read = self.pipe.read(), if self.pipe.wants_more() => read?,
                () = sleep_until(stall_ends), if is_awaited => {}
            }
        }
    }

    fn progressed(&mut self, progress: &Progress, listener: Listener<'_>) {
        let Progress { document_id, received, durable, .. } = *progress;
        let is_possible = Some(document_id) == self.document_id
            && durable <= received
            && received.get() <= self.position
            && durable >= self.durable;
        if is_possible {
            (self.received, self.durable) = (received, durable);
            self.pipe.window.forget_before(durable.get());
            listener(Event::Progress(self.status(document_id)));
        }
    }

    /// SUCCESS counts only for all that came through the pipe, in its place.
    fn check(&self, success: &Success) -> Result<Success, AttemptEnd> {
        let on_conflict = self.options.on_conflict.unwrap_or_default();
        let Some(Whole { filesize, blake3 }) = self.pipe.whole() else {
            return Err(AttemptEnd::protocol("SUCCESS before the end"));
        };
        if !place::is_allowed(success, &self.document.remote, on_conflict) {
            let place = place::words(success);
            return Err(AttemptEnd::protocol(format!("SUCCESS for another place: {place}")));
        }
        if success.filesize != filesize || Some(success.document_id) != self.document_id {
            return Err(AttemptEnd::protocol("SUCCESS for another file"));
        }
        if success.blake3 != blake3 {
            let (document_id, there, here) = (success.document_id, success.blake3, blake3);
            return Err(Failure::OtherHash { document_id, there, here }.into());
        }
        Ok(success.clone())
    }

    fn folder(&self) -> Vec<String> {
        self.document.remote.folder().iter().map(Name::to_string).collect()
    }

    fn status(&self, document_id: DocumentId) -> UploadStatus {
        UploadStatus {
            path: self.document.local.clone(),
            document_id,
            filename: self.document.remote.filename().to_string(),
            folder: self.folder(),
            filesize: FileSize::try_from(self.pipe.window.end()).unwrap_or(FileSize::MIN),
            is_open: true,
            received: self.received,
            durable: self.durable,
            held_bytes: self.received.get(),
            safe_bytes: self.durable.get(),
            sent_bytes: self.sent_bytes,
            progress: format!("{} bytes", self.received),
        }
    }
}

/// What an error reply means: a pipe waits until the server's disk has room again.
fn refused(error: towline_protocol::ErrorReply) -> AttemptEnd {
    match error.code {
        Code::NoSpace => AttemptEnd::Later(Box::new(error)),
        _ => AttemptEnd::refused(error),
    }
}
