//! What a door may ask of a writer. The commands of one writer are done in the order in which they
//! were given.

use crate::audit::AuditAction;
use crate::buffer::BlockBuffer;
use crate::data_source::DataSource;
use crate::rejection::Rejection;
use crate::tree::request::TreeRequest;
use std::ops::Range;
use towline_state::catalog::{Description, NodeRef, NodeWish};
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, DocumentPath, FileHash, FileSize, Generation, Offset,
    OnConflict, SecondDigest, Sha256Hash,
};
use towline_upload::{Length, SendingMode};

/// Something to be done by one writer.
pub enum Command {
    /// Begins a new upload. The writer lets go of the upload that it has open.
    Begin(Box<NewUpload>),
    /// Continues an upload and takes it over from its writers.
    Resume(Box<ResumeRequest>),
    /// Writes to an upload beside the writers that have its lease.
    Join {
        /// The upload.
        id: DocumentId,
        /// The lease that was granted for it.
        lease: Generation,
    },
    /// Bytes of one block, in order.
    Data {
        /// Where they begin in the file.
        offset: Offset,
        /// The bytes.
        buffer: BlockBuffer,
    },
    /// The value of a block.
    Announce {
        /// Which block.
        index: BlockIndex,
        /// The value of its bytes.
        value: ChainingValue,
    },
    /// Takes blocks back, to send them again with other bytes. Blocks after the end of
    /// the file are left out.
    Withdraw(Vec<Range<BlockIndex>>),
    /// Begins a request of the client: the data that follows belongs to it, and begins at this
    /// offset. Its bytes follow each other, and stay or are taken back together at its end. Until
    /// then none of them is promised. Of a block that differs from its announcement, only the bytes
    /// of requests that have not ended are dropped; if the bytes of requests before them are wrong,
    /// the client [withdraws](Self::Withdraw) the block.
    BeginRequest(Offset),
    /// Ends that request.
    EndRequest(RequestEnd),
    /// The length of a file that was not known when its upload began. A length that is accepted
    /// gets no answer.
    Declare(FileSize),
    /// All bytes were sent.
    Complete(CompleteRequest),
    /// Gives an upload up, whether the writer has it open or not: it ends without a document.
    /// Another upload that the writer has open stays as it is.
    Cancel(DocumentId),
    /// A request about the user's files, folders and links. An upload that the writer has open
    /// stays as it is.
    Tree(Box<TreeRequest>),
    /// A small file, all of it in one command: it is published without ever being an unfinished
    /// upload. Where that is not possible, it takes the steps of an unfinished upload.
    Whole(Box<WholeUpload>),
    /// Data and block values, which the writer pulls from the source for as long as it has some.
    Pull(Box<dyn DataSource>),
    /// A question; the writer's own upload stays as it is.
    Query(Query),
    /// The door refuses a request. The writer tells the client so when its earlier commands are
    /// done, so that a refusal overtakes no answer.
    Reject {
        /// What is wrong with it.
        rejection: Rejection,
        /// What kind of request it was.
        request: RejectedRequest,
    },
}

/// What becomes of the bytes of a request. If a writer ends before its request does, the request
/// counts as confirmed: its bytes were received like all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestEnd {
    /// The bytes are right, or the client gave nothing to check them by.
    Confirmed,
    /// The bytes are not those that the client says it sent: exactly they are taken back. The
    /// answer is [`EventKind::Withdrawn`](crate::EventKind::Withdrawn).
    TakenBack,
}

/// A new upload.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// The folder and the name that the document is to have.
    pub path: DocumentPath,
    /// The length of the whole file in bytes. A length that is not known yet is
    /// [declared](Command::Declare) before the upload is completed. Until then each byte is checked
    /// against the smaller one of `max` and
    /// [`EngineConfig::max_filesize`](crate::EngineConfig::max_filesize).
    pub length: Length,
    /// What to do where the name is taken. A file that `wish` names by its number is replaced,
    /// whatever this says.
    pub on_conflict: OnConflict,
    /// In which order the bytes come, and whether the values of blocks are announced.
    pub mode: SendingMode,
    /// The hash of the file, where the client knows it: bytes that the server has already need not
    /// be sent.
    pub hash: Option<FileHash>,
    /// Begins only where no unfinished upload has this path and size.
    pub new_only: bool,
    /// A second hash of the whole file that the client wants besides BLAKE3: the receipt has it.
    pub second_digest: SecondDigest,
    /// The payload in bytes that the client means to send in one chunk.
    pub chunk_size: Option<u32>,
    /// What the client says of the file besides its bytes, and which file or folder it is to go to.
    pub wish: NodeWish,
    /// What the client says of it that no rule reads, and the SHA-256 hash that it expects.
    pub description: Description,
}

impl NewUpload {
    /// An upload that gets a numbered name where its own is taken, and for which the client gives
    /// no hash.
    #[must_use]
    pub fn new(path: DocumentPath, length: Length, mode: SendingMode) -> Self {
        Self {
            path,
            length,
            on_conflict: OnConflict::Rename,
            mode,
            hash: None,
            new_only: false,
            second_digest: SecondDigest::None,
            chunk_size: None,
            wish: NodeWish::default(),
            description: Description::default(),
        }
    }
}

/// A new upload with all of its bytes.
pub struct WholeUpload {
    /// The upload.
    pub new: NewUpload,
    /// The bytes, at most [`WHOLE_BYTES_MAX`].
    pub data: BlockBuffer,
    /// The value of its only block, where the client announced it.
    pub value: Option<ChainingValue>,
    /// The hash that the whole must have.
    pub hash: Option<FileHash>,
}

/// The largest file in bytes that may come in one command.
pub const WHOLE_BYTES_MAX: usize = 64 << 10;

/// A request to continue an upload.
#[derive(Debug, Clone)]
pub struct ResumeRequest {
    /// Which upload.
    pub id: DocumentId,
    /// As in [`NewUpload`].
    pub mode: SendingMode,
    /// Where given, it must be the upload's.
    pub filename: Option<String>,
    /// Where given, it must be the upload's, or with `grow` not below it.
    pub filesize: Option<FileSize>,
    /// The file has become longer since: `filesize` is its length now.
    pub grow: bool,
    /// The first byte that is missing, as the client believes. Where given, it must be right.
    pub offset: Option<Offset>,
}

impl ResumeRequest {
    /// Continues that upload wherever it stands, and checks nothing that the client says of the
    /// file.
    #[must_use]
    pub const fn of(id: DocumentId, mode: SendingMode) -> Self {
        Self { id, mode, filename: None, filesize: None, grow: false, offset: None }
    }
}

/// The end of an upload.
#[derive(Debug, Clone, Copy, Default)]
pub struct CompleteRequest {
    /// The document; none is the one that the writer has open.
    pub id: Option<DocumentId>,
    /// The length of the file. The writer [declares](Command::Declare) it for the upload that it
    /// has open before it completes that. A length that was declared already must be the same.
    pub filesize: Option<FileSize>,
    /// The hash that the whole must have.
    pub hash: Option<FileHash>,
    /// The SHA-256 hash that the whole must have. It may also be given for an upload that did not
    /// ask for it when it began; then all bytes are read once more.
    pub sha256: Option<Sha256Hash>,
    /// What to do where the name is taken; none is what [`NewUpload::on_conflict`] said.
    pub on_conflict: Option<OnConflict>,
}

/// A question, which is answered when all earlier commands of the writer are done.
#[derive(Debug, Clone)]
pub enum Query {
    /// Asks nothing: the answer says that all commands before it are done.
    Fence,
    /// Whether these bytes, or an upload of them, are here already.
    Find {
        /// Where the document would lie.
        path: DocumentPath,
        /// The length of the file in bytes.
        filesize: FileSize,
        /// The hash of the file, where these very bytes are looked for.
        hash: Option<FileHash>,
    },
    /// How a document stands.
    Status(DocumentId),
    /// Which bytes of an upload are here.
    ReceivedRanges {
        /// The upload.
        id: DocumentId,
        /// The first byte that is asked about.
        from: Offset,
        /// How many ranges the answer may have, at most [`PAGE_RANGES_MAX`].
        max: u32,
    },
    /// Which blocks of an upload are held.
    HeldBlocks {
        /// The upload.
        id: DocumentId,
        /// Which of them.
        pages: BlockPages,
    },
}

/// Which bytes are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadTarget {
    /// That document, also where it is not the current version of its file.
    Version(DocumentId),
    /// The current version of that file.
    Current(NodeRef),
}

/// A part of a completed document that is to be read, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// The document.
    pub target: ReadTarget,
    /// The first byte. It may be the end of the file, and not lie after it.
    pub offset: Offset,
    /// The most bytes that are wanted; none is the rest of the file. The range ends where the file
    /// ends.
    pub length_bytes: Option<u64>,
    /// Who makes sure that the bytes are those that were uploaded.
    pub verifier: Verifier,
}

impl ReadRequest {
    /// A whole document, which the engine verifies.
    #[must_use]
    pub const fn whole(id: DocumentId) -> Self {
        let target = ReadTarget::Version(id);
        Self { target, offset: Offset::ZERO, length_bytes: None, verifier: Verifier::Engine }
    }
}

/// Who compares the bytes of a block with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verifier {
    /// The engine, before it gives the bytes out: for readers that cannot compare them. Where the
    /// range has only a part of a block, the engine compares the whole block.
    Engine,
    /// The reader, with the value that comes with each block. Values that the engine has already
    /// are given out as they are, and the engine hashes nothing. Where the range has only a part of
    /// a block, no value comes with the part and nobody compares it. So such a reader asks for
    /// whole blocks.
    Reader,
}

/// Which of the held blocks an answer has. A file of 5 TB has 5,000,000 blocks, and each of them
/// takes 40 bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockPages {
    /// All of them: an answer for each page of [`PAGE_BLOCKS`]. The next page is made when the
    /// door has dropped the one before it.
    All,
    /// One page: at most `max` blocks from `from` on, and never more than [`PAGE_BLOCKS`].
    One {
        /// The first block that may be in it.
        from: BlockIndex,
        /// How many blocks there may be.
        max: u32,
    },
}

/// The number of blocks in a page: they hold 32 GiB of a file, and their values are 1 MiB.
pub const PAGE_BLOCKS: u32 = 1 << 15;

/// The most ranges in one answer to [`Query::ReceivedRanges`].
pub const PAGE_RANGES_MAX: u32 = 1 << 12;

/// Which kind of request a door refused. It decides what the writer does about its upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedRequest {
    /// A request for another upload: the writer lets go of the one that it has open, and drops the
    /// data that still comes for the refused one.
    Upload(Option<DocumentId>),
    /// A request about the open upload, which stays open.
    Change,
    /// A question.
    Query,
    /// A request that would have changed a file, folder or link that the user sees: which one, for
    /// the observer.
    Tree(AuditAction),
}
