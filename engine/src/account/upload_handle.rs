//! An upload that is open for one writer, for doors that send one request at a time.

use super::exchange::{Completion, Exchange, Outcome, no_upload};
use crate::buffer::BlockBuffer;
use crate::command::{Command, CompleteRequest, Query, RequestEnd};
use crate::event::{Answer, Grant, Position};
use crate::rejection::{Rejection, RejectionKind};
use std::ops::Range;
use std::time::Duration;
use tokio::time::timeout;
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, FileHash, FileSize, Generation, Offset,
};
use towline_upload::Length;

/// How long a wait for a checkpoint takes before it asks how far the upload is. What another
/// writer does, which takes bytes back or completes the upload, is told to that writer alone.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// An upload that takes bytes. Dropped, it lets go of the upload as a lost connection does:
/// what came is made durable, and the upload can be resumed.
///
/// An error of a method says what became of the upload by its kind: after a `BlockMismatch`,
/// `NoSuchBlock` or `Incomplete` it goes on; after any other kind it is no longer open here.
pub struct UploadHandle {
    exchange: Exchange,
    id: DocumentId,
    grant: Grant,
    /// A request has begun whose bytes may still be taken back.
    is_in_request: bool,
}

impl UploadHandle {
    pub(super) fn new(exchange: Exchange, id: DocumentId, grant: Grant) -> Self {
        Self { exchange, id, grant, is_in_request: false }
    }

    /// The number of the document to be.
    #[must_use]
    pub fn id(&self) -> DocumentId {
        self.id
    }

    /// The first byte that was missing when the upload was granted.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.grant.offset
    }

    /// The length of the whole file in bytes, as far as it was known when the upload was granted.
    #[must_use]
    pub fn length(&self) -> Length {
        self.grant.length
    }

    /// The lease, with which [`Account::join`](super::Account::join) gives the upload a further
    /// writer.
    #[must_use]
    pub fn lease(&self) -> Option<Generation> {
        self.grant.lease
    }

    /// Gives the writer bytes of one block, to be written at that offset. Returns when they are on
    /// their way; an error about them is told by the next method that waits. Waits while as
    /// much payload as one session may have is under way (P6). Not cancel-safe: dropped, it may
    /// lose these bytes, and nothing else.
    ///
    /// # Errors
    /// Where the engine ends.
    pub async fn write(&mut self, offset: Offset, buffer: BlockBuffer) -> Result<(), Rejection> {
        self.exchange.push(Command::Data { offset, buffer }).await
    }

    /// Says which value a block has. As [`write`](Self::write).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn announce(
        &mut self,
        index: BlockIndex,
        value: ChainingValue,
    ) -> Result<(), Rejection> {
        self.exchange.push(Command::Announce { index, value }).await
    }

    /// Takes blocks back, to send them again with other bytes. Returns the first byte that is
    /// missing then. Not cancel-safe: dropped, the blocks are taken back all the same.
    ///
    /// # Errors
    /// The first error since the last answer.
    pub async fn withdraw(&mut self, blocks: Vec<Range<BlockIndex>>) -> Result<Offset, Rejection> {
        match self.exchange.ask(Command::Withdraw(blocks)).await? {
            Outcome::Withdrawn(offset) => Ok(offset),
            _ => Err(no_upload()),
        }
    }

    /// What is written from now on belongs to one request of the client's, which begins at that
    /// offset: its bytes follow each other, and they stay or go together when it
    /// [ends](Self::end_request). No promise is made of them before. As [`write`](Self::write).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn begin_request(&mut self, offset: Offset) -> Result<(), Rejection> {
        self.is_in_request = true;
        self.exchange.push(Command::BeginRequest(offset)).await
    }

    /// The request has ended: its bytes stay, or exactly they are taken back. Returns how far the
    /// upload is then. Not cancel-safe: dropped, the request has ended all the same.
    ///
    /// # Errors
    /// The first error since the last answer.
    pub async fn end_request(&mut self, end: RequestEnd) -> Result<Position, Rejection> {
        self.is_in_request = false;
        self.exchange.push(Command::EndRequest(end)).await?;
        self.position().await
    }

    /// Says how long the file is, where that was not known when the upload began. Twice is fine.
    /// Returns how far the upload is. Not cancel-safe: dropped, the length may be declared.
    ///
    /// # Errors
    /// The first error since the last answer: `SizeExceeded` where bytes lie behind that end,
    /// `SizeLimit`, `FileChanged` where another length was declared.
    pub async fn declare(&mut self, filesize: FileSize) -> Result<Position, Rejection> {
        self.exchange.push(Command::Declare(filesize)).await?;
        self.position().await
    }

    /// How far the upload is, when all bytes that were given before are written. Cancel-safe: it
    /// changes nothing.
    ///
    /// # Errors
    /// The first error since the last answer.
    pub async fn position(&mut self) -> Result<Position, Rejection> {
        match self.exchange.ask(Command::Query(Query::Status(self.id))).await? {
            Outcome::Answer(Answer::Status(status)) => Ok(status.position),
            _ => Err(no_upload()),
        }
    }

    /// Waits until all bytes that were received up to now survive a power cut (P1). It joins
    /// the next checkpoint, which takes at most about a second, or five where durability is
    /// relaxed. Bytes that another writer takes back meanwhile are not waited for. Cancel-safe:
    /// it changes nothing.
    ///
    /// # Errors
    /// The first error since the last answer, or one while it waits; and `BadRequest` before the
    /// end of a [request](Self::begin_request), whose bytes may still be taken back.
    pub async fn durable(&mut self) -> Result<Position, Rejection> {
        if self.is_in_request {
            let kind = RejectionKind::BadRequest { field: None, max: None };
            return Err(Rejection::new(
                kind,
                "the request has to end before its bytes are durable",
            ));
        }
        let mut position = self.position().await?;
        let mut wanted = position.received;
        while position.durable.get() < wanted {
            match timeout(ASK_AGAIN, self.exchange.durable(wanted)).await {
                Ok(durable) => return durable,
                Err(_) => position = self.position().await?,
            }
            wanted = wanted.min(position.received);
        }
        Ok(position)
    }

    /// All bytes were given: verifies the whole, publishes it, and returns the proof (P2, P3).
    /// Not cancel-safe: dropped, the publishing goes on, and
    /// [`Account::receipt`](super::Account::receipt) has its proof.
    ///
    /// # Errors
    /// The first error since the last answer. After an `Incomplete` the upload goes on: it is
    /// resumed with its number.
    pub async fn complete(self, hash: Option<FileHash>) -> Result<Completion, Rejection> {
        self.complete_with(CompleteRequest { hash, ..CompleteRequest::default() }).await
    }

    /// The same with all that a client may say of the whole.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn complete_with(
        mut self,
        request: CompleteRequest,
    ) -> Result<Completion, Rejection> {
        match self.exchange.ask(Command::Complete(request)).await? {
            Outcome::Completed(completion) => Ok(completion),
            _ => Err(no_upload()),
        }
    }

    /// Lets go of the upload when all bytes that were given are written, makes them durable, and
    /// returns how far it is. Not cancel-safe: dropped, the upload is paused all the same.
    pub async fn pause(self) -> Option<Position> {
        self.exchange.close().await
    }
}
