//! What one user may ask: questions with one answer each, reading, and uploads.
//!
//! A door that sends many requests at the same time over one connection takes a [`Session`]; a
//! door that sends one request and waits for its answer takes an [`UploadHandle`]. Both are built
//! on the same writers, so every rule holds at every door.

mod content;
mod exchange;
mod held_bytes;
mod open_file;
mod tree;
mod upload_handle;

use crate::buffer::{BlockBuffer, BufferRequest};
use crate::command::{
    BlockPages, Command, CompleteRequest, NewUpload, Query, ReadRequest, ResumeRequest, WholeUpload,
};
use crate::error::Error;
use crate::event::{Answer, EventReceiver, Found, Status};
use crate::lane::WorkerPool;
use crate::origin::Origin;
use crate::rejection::Rejection;
use crate::session::Session;
use crate::shared::Shared;
use crate::writer::OrderedWriter;
pub use content::Content;
pub use exchange::Completion;
use exchange::{Exchange, Outcome, no_upload};
pub use held_bytes::HeldBytes;
pub use open_file::OpenFile;
use std::ops::Range;
use std::sync::Arc;
use towline_state::catalog::{Description, ScanVerdict};
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, DocumentPath, FileHash, FileSize, Generation, Offset,
    UserId,
};
pub use upload_handle::UploadHandle;

/// One user of an engine, whom the door has authenticated. A clone is the same user.
#[derive(Clone)]
pub struct Account {
    shared: Arc<Shared>,
    workers: Arc<WorkerPool<OrderedWriter>>,
    user: UserId,
    origin: Origin,
}

/// What a request for an upload led to.
pub enum Begun {
    /// The upload takes bytes.
    Uploading(Box<UploadHandle>),
    /// The document is there already; nothing is to be sent.
    Stored(Completion),
    /// There is an unfinished upload to this path, and a new one was asked for only where
    /// there is none.
    Unfinished(Found),
}

impl Account {
    pub(crate) fn new(
        (shared, workers): (Arc<Shared>, Arc<WorkerPool<OrderedWriter>>),
        user: UserId,
        origin: Origin,
    ) -> Self {
        Self { shared, workers, user, origin }
    }

    /// A session with at most `writers_max` writers at the same time, and the events for the client
    /// after it.
    #[must_use]
    pub fn session(&self, writers_max: usize) -> (Session, EventReceiver) {
        let engine = (Arc::clone(&self.shared), Arc::clone(&self.workers));
        Session::new(engine, self.user, self.origin.clone(), writers_max)
    }

    /// A buffer of `bytes` bytes, at most [`WHOLE_BYTES`](crate::WHOLE_BYTES), for data of this
    /// user: when there is room for it, and it is the turn of the user. Cancel-safe: dropped, it
    /// loses its place in the queue.
    pub fn buffer(&self, bytes: usize) -> BufferRequest {
        self.shared.buffers.take(self.user, bytes)
    }

    fn exchange(&self) -> Exchange {
        Exchange::new(self.session(1))
    }

    async fn query(&self, query: Query) -> Result<Answer, Rejection> {
        match self.exchange().ask(Command::Query(query)).await? {
            Outcome::Answer(answer) => Ok(answer),
            _ => Err(no_upload()),
        }
    }

    /// Looks up a file that a client has: whether the user has it on the server already, or has an
    /// unfinished upload of it that could go on. Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// Where the catalog cannot be asked.
    pub async fn find(
        &self,
        path: DocumentPath,
        filesize: FileSize,
        hash: Option<FileHash>,
    ) -> Result<Found, Rejection> {
        match self.query(Query::Find { path, filesize, hash }).await? {
            Answer::Found(found) => Ok(found),
            _ => Err(no_upload()),
        }
    }

    /// How a document stands. Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the user has no such document.
    pub async fn status(&self, id: DocumentId) -> Result<Status, Rejection> {
        match self.query(Query::Status(id)).await? {
            Answer::Status(status) => Ok(status),
            _ => Err(no_upload()),
        }
    }

    /// How a document stands, once all bytes that an upload has received survive a power cut (P1).
    /// So a client that lost its connection is not sent back to bytes that the engine already has.
    /// Cancel-safe: it changes nothing but how early these bytes are made durable.
    ///
    /// # Errors
    /// `NotFound` where the user has no such document.
    pub async fn status_when_durable(&self, id: DocumentId) -> Result<Status, Rejection> {
        let status = self.status(id).await?;
        if status.position.received <= status.position.durable.get() {
            return Ok(status);
        }
        // The answer above says that the document belongs to this user.
        let Some(active) = self.shared.registry.get(id) else { return Ok(status) };
        self.shared.checkpoints.pause(std::iter::once(active)).await;
        self.status(id).await
    }

    /// What the client has said of a document that no rule reads. Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the user has no such document.
    pub async fn description(&self, id: DocumentId) -> Result<Description, Rejection> {
        self.status(id).await?;
        let said = self.shared.catalog.description(id).await;
        said.map_err(|error| Error::from(error).rejection())
    }

    /// What was found out about a document after its last byte; nothing where it was never scanned.
    /// Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the user has no such document.
    pub async fn verdict(&self, id: DocumentId) -> Result<Option<ScanVerdict>, Rejection> {
        self.status(id).await?;
        let verdict = self.shared.catalog.verdict(id).await;
        verdict.map_err(|error| Error::from(error).rejection())
    }

    /// The ranges of an upload that are here, in bytes, ascending and with a gap between them, from
    /// `from` on and at most `max` of them, which is never more than
    /// [`PAGE_RANGES_MAX`](crate::PAGE_RANGES_MAX). Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the user has no such document.
    pub async fn received_ranges(
        &self,
        id: DocumentId,
        from: Offset,
        max: u32,
    ) -> Result<Vec<Range<u64>>, Rejection> {
        match self.query(Query::ReceivedRanges { id, from, max }).await? {
            Answer::ReceivedRanges(ranges) => Ok(ranges),
            _ => Err(no_upload()),
        }
    }

    /// The blocks of an upload that are held, in the order of the file, from `from` on and at most
    /// `max` of them, which is never more than [`PAGE_BLOCKS`](crate::PAGE_BLOCKS). Cancel-safe: it
    /// changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the user has no such document.
    pub async fn held_blocks(
        &self,
        id: DocumentId,
        from: BlockIndex,
        max: u32,
    ) -> Result<Vec<(BlockIndex, ChainingValue)>, Rejection> {
        let pages = BlockPages::One { from, max };
        match self.query(Query::HeldBlocks { id, pages }).await? {
            Answer::HeldBlocks { blocks, .. } => Ok(blocks),
            _ => Err(no_upload()),
        }
    }

    /// Gives an upload up: it ends without a document, its bytes are deleted, and its writers are
    /// told. To cancel an upload twice is fine. Not cancel-safe: dropped, the upload may be given
    /// up all the same.
    ///
    /// # Errors
    /// `NotFound` where the user has no such document, `WrongPhase` where it is complete, `Failed`
    /// or `Expired` where the upload has ended so already.
    pub async fn cancel(&self, id: DocumentId) -> Result<(), Rejection> {
        self.exchange().ask(Command::Cancel(id)).await.map(drop)
    }

    /// The proof that a document is in its place; a publishing that was cut off is finished first
    /// (P4). Cancel-safe.
    ///
    /// # Errors
    /// `NotFound` where the user has no such document, `NoActiveUpload` where it is still being
    /// uploaded, and how an upload ended that has ended without a document.
    pub async fn receipt(&self, id: DocumentId) -> Result<Completion, Rejection> {
        let request = CompleteRequest { id: Some(id), ..CompleteRequest::default() };
        match self.exchange().ask(Command::Complete(request)).await? {
            Outcome::Completed(completion) => Ok(completion),
            _ => Err(no_upload()),
        }
    }

    /// Opens a completed document, to read a part of it. A file that another program may have
    /// written since it was uploaded is read and verified first, which takes as long as the file is
    /// large. Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the user has no such document, `WrongPhase` where it is not complete, and
    /// how an upload ended that has ended without a document; `Damaged` where the file is not the
    /// one that was uploaded, or was removed; `BadRequest` where the range begins after the end of
    /// the file.
    pub async fn read(&self, request: ReadRequest) -> Result<Content, Rejection> {
        Content::open(self.session(1), request).await
    }

    /// Begins an upload. Not cancel-safe: dropped, the upload may have begun, and is paused then.
    ///
    /// # Errors
    /// Where the file is refused, for its size or its name, or because the disk has no room for it.
    pub async fn begin(&self, new: NewUpload) -> Result<Begun, Rejection> {
        self.open(Command::Begin(Box::new(new))).await
    }

    /// Continues an upload and takes it over from its writers, who are told. Not cancel-safe:
    /// dropped, the upload may have been taken over, and is paused then.
    ///
    /// # Errors
    /// `NotFound`, `FileChanged`, `OffsetMismatch`, and how an upload ended that has ended.
    pub async fn resume(&self, request: ResumeRequest) -> Result<Begun, Rejection> {
        self.open(Command::Resume(Box::new(request))).await
    }

    /// Writes to an upload beside the writers that have its lease. Not cancel-safe, as
    /// [`resume`](Self::resume).
    ///
    /// # Errors
    /// `Superseded` where that lease is over, `NotShared` where it has one writer alone.
    pub async fn join(&self, id: DocumentId, lease: Generation) -> Result<Begun, Rejection> {
        self.open(Command::Join { id, lease }).await
    }

    async fn open(&self, command: Command) -> Result<Begun, Rejection> {
        let mut exchange = self.exchange();
        match exchange.ask(command).await? {
            Outcome::Granted(id, grant) => {
                Ok(Begun::Uploading(Box::new(UploadHandle::new(exchange, id, grant))))
            }
            Outcome::Completed(completion) => Ok(Begun::Stored(completion)),
            Outcome::Answer(Answer::Found(found)) => Ok(Begun::Unfinished(found)),
            _ => Err(no_upload()),
        }
    }

    /// Stores a small file in one step: its row in the catalog is written twice and not three
    /// times, and there is no unfinished upload unless something is unusual about the file. `data`
    /// is at most [`WHOLE_BYTES_MAX`](crate::WHOLE_BYTES_MAX) long. Not cancel-safe: dropped, the
    /// document may be stored all the same.
    ///
    /// # Errors
    /// As [`begin`](Self::begin); `HashMismatch` where the bytes have another hash than `hash`.
    pub async fn put_whole(
        &self,
        new: NewUpload,
        data: BlockBuffer,
        hash: Option<FileHash>,
    ) -> Result<Completion, Rejection> {
        let whole = WholeUpload { new, data, value: None, hash };
        match self.exchange().ask(Command::Whole(Box::new(whole))).await? {
            Outcome::Completed(completion) => Ok(completion),
            _ => Err(no_upload()),
        }
    }
}
