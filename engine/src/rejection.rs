//! What is wrong with a request, without the words of any protocol: a kind with its numbers, and a
//! sentence for people. Each door maps the kinds to the codes of its protocol.

use std::borrow::Cow;
use towline_state::catalog::{Node, ResetReason};
use towline_types::{BlockIndex, FileSize, Offset};
use towline_upload::Phase;

/// Why a request was not done, as a client may hear it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The kind, with its numbers.
    pub kind: RejectionKind,
    /// What happened and what can be done now, for people: no field names, no codes.
    pub message: Cow<'static, str>,
}

impl Rejection {
    /// A rejection.
    pub fn new(kind: RejectionKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into() }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $({ $($field:ident: $type:ty),* })? $word:literal,)*) => {
        /// The kind of a rejection. A door maps every kind to a code of its own, in a match without
        /// a `_` arm: so a new kind does not compile before it has a code.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum RejectionKind {
            $($(#[$doc])* #[allow(missing_docs, reason = "the figures of the sentence above")] $name $({ $($field: $type),* })?,)*
        }

        impl RejectionKind {
            /// The word for the kind in the log.
            pub const fn as_str(&self) -> &'static str {
                match self { $(Self::$name $({ $($field: _),* })? => $word,)* }
            }
        }
    };
}

kinds! {
    /// No such document, or another user's.
    NotFound "not_found",
    /// The folder in which the node is to lie is not there.
    NoSuchFolder "not_found",
    /// The file is larger than the server takes; `max` is the limit, where it is a number.
    SizeLimit { max: Option<FileSize> } "size_limit",
    /// The disk is full.
    NoSpace { missing_bytes: Option<u64> } "no_space",
    /// The user may have no more; `limit` is how much that is, in bytes or in files.
    QuotaUsedUp { limit: u64 } "quota",
    /// The name is taken, and the client did not allow another one.
    NameTaken "exists",
    /// A file has the name of one of the folders.
    FolderTaken "exists",
    /// `node` has the name, and the client did not allow another one.
    NodeExists { node: Box<Node> } "exists",
    /// The node is not, or no longer, as the request says; `node` is how it is now, and none where
    /// it is gone.
    Conflict { node: Option<Box<Node>> } "conflict",
    /// Below the folder are `count` nodes that are newer than what the client has seen.
    Unseen { count: u64 } "unseen",
    /// A folder would lie in itself.
    Cycle "cycle",
    /// The folder is not empty.
    NotEmpty "not_empty",
    /// The node is no folder.
    NotAFolder "bad_request",
    /// It was removed together with the folder `node`, and is restored with it.
    RemovedWithFolder { node: Box<Node> } "bad_state",
    /// Another change, or an upload, is under way in its place.
    Busy "busy",
    /// The text is no cursor, or another user's.
    BadCursor "bad_cursor",
    /// The change log does not reach back to the cursor.
    CursorReset { reason: ResetReason } "cursor_reset",
    /// The bytes do not begin at the first byte that is missing, `expected`.
    OffsetMismatch { expected: Offset } "offset_mismatch",
    /// The bytes reach beyond the size that was announced.
    SizeExceeded { filesize: FileSize } "size_exceeded",
    /// The block differs from the value that was announced for it.
    BlockMismatch { index: BlockIndex } "block_mismatch",
    /// The file has no such block.
    NoSuchBlock { index: BlockIndex } "bad_request",
    /// Bytes are missing from `expected` on.
    Incomplete { expected: Offset } "incomplete",
    /// The length of the file is still to be declared.
    LengthUnknown "bad_state",
    /// The whole differs from the hash that was expected; the upload has failed.
    HashMismatch "hash_mismatch",
    /// A later lease has been granted to another writer.
    Superseded "superseded",
    /// The lease allows one writer alone.
    NotShared "bad_state",
    /// The file is not the one that the upload was begun with.
    FileChanged "file_changed",
    /// The upload was given up because no byte came for too long.
    Expired "expired",
    /// The upload was given up by its owner.
    Cancelled "cancelled",
    /// The upload was given up by the server.
    Failed "failed",
    /// Too many uploads, writers or requests at the same time.
    TooMany { max: u64 } "too_many",
    /// No upload is open for the writer.
    NoActiveUpload "bad_state",
    /// The upload is in a phase in which this cannot be done.
    WrongPhase { phase: Phase } "bad_state",
    /// The server's system refuses this name or place for good.
    StorageRefused "storage_refused",
    /// The disk did not keep what was written; the upload has failed.
    StorageFailed "storage_failed",
    /// A folder or a link was to be read.
    NoBytes "bad_state",
    /// The file of the document is not the one that was uploaded, or was removed from the disk;
    /// `index` is the block that has other bytes, where that is known.
    Damaged { index: Option<BlockIndex> } "damaged",
    /// A scanner has not said yet what the document is.
    Scanning "scanning",
    /// A scanner has found something in the document.
    Quarantined "quarantined",
    /// The document could not be scanned, and is not given out.
    Unscanned "unscanned",
    /// The disk failed earlier: the server takes no changes until it was looked at.
    StorageReadOnly "storage_read_only",
    /// The upload was changed by others whenever it was looked at.
    Contended "internal",
    /// The server stops; the bytes that were received are kept.
    Stopping "shutting_down",
    /// A fault of the server's own.
    Internal "internal",
    /// The user was removed.
    UserGone "unauthorized",
    /// The name is refused.
    BadName "bad_name",
    /// A request with more in it than is allowed, or that makes no sense.
    BadRequest { field: Option<String>, max: Option<u64> } "bad_request",
    /// The request names another user than the one who asks.
    WrongUser "wrong_user",
}
