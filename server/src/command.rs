//! What a door may ask of a writer. Commands of one writer are done in the order in which
//! they were given.

use crate::data_source::DataSource;
use crate::pool::Buffer;
use crate::rejection::Rejection;
use std::ops::Range;
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, DocumentPath, FileHash, FileSize, Generation, Offset,
    OnConflict,
};
use towline_upload::Order;

/// Something to be done for one writer.
pub(crate) enum Command {
    /// Begins a new upload. What the writer had open is let go of.
    Begin(Box<NewUpload>),
    /// Continues an upload and takes it over from its writers.
    Resume(Box<ResumeRequest>),
    /// Writes to an upload beside the writers that have its lease.
    Join { id: DocumentId, lease: Generation },
    /// Bytes of one block, in order.
    Data { offset: Offset, buffer: Buffer },
    /// The value of a block.
    Announce { index: BlockIndex, value: ChainingValue },
    /// Takes blocks back, to send them again with other bytes. Blocks behind the end of
    /// the file are left out.
    Withdraw(Vec<Range<BlockIndex>>),
    /// All bytes were sent.
    Complete(CompleteRequest),
    /// A small file, all of it in one command: it is published without ever being an
    /// unfinished upload. Where that cannot be, it becomes one.
    Whole(Box<WholeUpload>),
    /// Data and announcements that the source brings, for as long as it has some.
    Pull(Box<dyn DataSource>),
    /// A question; the writer's own upload stays as it is.
    Query(Query),
    /// The door refuses a request. The writer says so in its turn, so that a refusal
    /// overtakes no answer.
    Reject { rejection: Rejection, request: RejectedRequest },
}

/// A new upload.
#[derive(Debug, Clone)]
pub(crate) struct NewUpload {
    pub(crate) path: DocumentPath,
    pub(crate) filesize: FileSize,
    pub(crate) on_conflict: OnConflict,
    pub(crate) order: Order,
    /// The hash of the file, where the client knows it: bytes that are here already need
    /// not be sent.
    pub(crate) hash: Option<FileHash>,
    /// Begins only where no unfinished upload has this path and size.
    pub(crate) new_only: bool,
    /// The payload in bytes that the client means to send in one chunk.
    pub(crate) chunk_size: Option<u32>,
}

/// A new upload with all of its bytes.
pub(crate) struct WholeUpload {
    pub(crate) new: NewUpload,
    /// The bytes, at most [`WHOLE_BYTES_MAX`].
    pub(crate) data: Buffer,
    /// The value of its only block, where the client announced it.
    pub(crate) value: Option<ChainingValue>,
    /// The hash that the whole must have.
    pub(crate) hash: Option<FileHash>,
}

/// The largest file in bytes that may come in one command.
pub(crate) const WHOLE_BYTES_MAX: usize = 64 << 10;

/// An upload that is to go on.
#[derive(Debug, Clone)]
pub(crate) struct ResumeRequest {
    pub(crate) id: DocumentId,
    pub(crate) order: Order,
    /// Where given, it must be the upload's.
    pub(crate) filename: Option<String>,
    /// Where given, it must be the upload's, or with `grow` not below it.
    pub(crate) filesize: Option<FileSize>,
    /// The file has become longer since: `filesize` is its length now.
    pub(crate) grow: bool,
    /// Where the client believes the upload stands.
    pub(crate) offset: Option<Offset>,
}

/// The end of an upload.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CompleteRequest {
    /// The document, where it is another than the writer has open.
    pub(crate) id: Option<DocumentId>,
    /// The hash that the whole must have.
    pub(crate) hash: Option<FileHash>,
    /// Overrides what the beginning of the upload said.
    pub(crate) on_conflict: Option<OnConflict>,
}

/// A question, answered in its turn.
#[derive(Debug, Clone)]
pub(crate) enum Query {
    /// Whether these bytes, or an upload of them, are here already.
    Find { path: DocumentPath, filesize: FileSize, hash: Option<FileHash> },
    /// How a document stands.
    Status(DocumentId),
    /// Which blocks of an upload are held.
    HeldBlocks(DocumentId),
    /// To give an upload up.
    Cancel(DocumentId),
}

/// Which kind of request a door refused: what follows from it for the writer's upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RejectedRequest {
    /// One for another upload: what was open is let go of, and what still comes for the
    /// refused one is dropped.
    Upload(Option<DocumentId>),
    /// One about the open upload, which stays open.
    Change,
    /// A question.
    Query,
}
