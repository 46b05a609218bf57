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

/// How long a wait for a checkpoint lasts before it asks how far the upload is. If another writer
/// takes bytes back or completes the upload, only that other writer is told of it.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// An upload that takes bytes. Dropped, it lets go of the upload as a lost connection does: the
/// bytes that were received are made durable, and the upload can be resumed.
///
/// The kind of an error says what became of the upload: after a `BlockMismatch`, `NoSuchBlock`,
/// `Incomplete`, `LengthUnknown`, `NameTaken`, `FolderTaken` or `BadRequest` it goes on, and after
/// any other kind it is no longer open here.
pub struct UploadHandle {
    exchange: Exchange,
    id: DocumentId,
    grant: Grant,
    /// A request of the client has begun, and its bytes may still be taken back.
    is_in_request: bool,
}

impl UploadHandle {
    pub(super) fn new(exchange: Exchange, id: DocumentId, grant: Grant) -> Self {
        Self { exchange, id, grant, is_in_request: false }
    }

    /// The number that the document will have.
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

    /// Gives the writer bytes of one block, to be written at that offset. Returns when they are
    /// queued; an error about them is returned by the next method that waits for an answer. Waits
    /// while the session has as much payload under way as it may have (P6). Not cancel-safe:
    /// dropped, it may lose these bytes, and nothing else.
    ///
    /// # Errors
    /// Where the engine ends.
    pub async fn write(&mut self, offset: Offset, buffer: BlockBuffer) -> Result<(), Rejection> {
        self.exchange.push(Command::Data { offset, buffer }).await
    }

    /// Tells the writer the chaining value of a block, before or after its bytes. As
    /// [`write`](Self::write).
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

    /// Takes blocks back, so that the client can send them again with other bytes. Returns the
    /// first byte that is missing then. Not cancel-safe: dropped, the blocks are taken back all the
    /// same.
    ///
    /// # Errors
    /// The first error since the last answer.
    pub async fn withdraw(&mut self, blocks: Vec<Range<BlockIndex>>) -> Result<Offset, Rejection> {
        match self.exchange.ask(Command::Withdraw(blocks)).await? {
            Outcome::Withdrawn(offset) => Ok(offset),
            _ => Err(no_upload()),
        }
    }

    /// Begins a request of the client: all bytes that are written until its
    /// [end](Self::end_request) belong to it, and begin at that offset. They follow each other, and
    /// stay or are taken back together. Before its end none of them is promised. As
    /// [`write`](Self::write).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn begin_request(&mut self, offset: Offset) -> Result<(), Rejection> {
        self.is_in_request = true;
        self.exchange.push(Command::BeginRequest(offset)).await
    }

    /// Ends the request: its bytes stay, or exactly these bytes are taken back. Returns how far the
    /// upload is then. Not cancel-safe: dropped, the request has ended all the same.
    ///
    /// # Errors
    /// The first error since the last answer.
    pub async fn end_request(&mut self, end: RequestEnd) -> Result<Position, Rejection> {
        self.is_in_request = false;
        self.exchange.push(Command::EndRequest(end)).await?;
        self.position().await
    }

    /// Tells the writer how long the file is, where that was not known when the upload began. To
    /// declare the same length twice is fine. Returns how far the upload is. Not cancel-safe:
    /// dropped, the length may be declared.
    ///
    /// # Errors
    /// The first error since the last answer: `SizeExceeded` where bytes lie after that end,
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

    /// Waits until all bytes that were received up to now survive a power cut (P1). The upload
    /// takes part in the next checkpoint, which takes at most about a second, or five seconds where
    /// durability is relaxed. This does not wait for bytes that another writer takes back
    /// meanwhile. Cancel-safe: it changes nothing.
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

    /// Completes the upload after its last byte was given: the whole file is verified and
    /// published, and the receipt is the proof of that (P2, P3). Not cancel-safe: dropped, the publishing goes
    /// on, and [`Account::receipt`](super::Account::receipt) returns the receipt; only where the
    /// file was still being read for its second hash, the upload is paused.
    ///
    /// A completed upload takes no more bytes, and is answered with the same receipt if it is
    /// completed once more.
    ///
    /// # Errors
    /// The first error since the last answer. After an `Incomplete`, `LengthUnknown`, `NameTaken` or
    /// `FolderTaken` the upload is still open here: once what is missing was given, it can be
    /// completed again.
    pub async fn complete(&mut self, hash: Option<FileHash>) -> Result<Completion, Rejection> {
        self.complete_with(CompleteRequest { hash, ..CompleteRequest::default() }).await
    }

    /// As [`complete`](Self::complete), with everything that a client may say about the whole file.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn complete_with(
        &mut self,
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
        self.exchange.close().await.0
    }

    /// As [`pause`](Self::pause), for a caller who says that the bytes were taken. Not cancel-safe:
    /// dropped, the upload is paused all the same.
    ///
    /// # Errors
    /// The first error since the last answer, and how the upload has ended: where its sync fails,
    /// it has failed, and its bytes were not taken (P5).
    pub async fn pause_durably(self) -> Result<Option<Position>, Rejection> {
        match self.exchange.close().await {
            (_, Some(rejection)) => Err(rejection),
            (position, None) => Ok(position),
        }
    }
}
