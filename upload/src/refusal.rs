//! Every no that the rules of an upload can say.

use crate::Phase;
use towline_types::{BlockIndex, FileHash, FileSize, Offset, Sha256Hash};

/// Why a command is not legal now. A refused command has changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such upload, or another user's: the two must not be told apart.
    #[error("there is no such document among yours")]
    NotFound,
    /// Larger than the server takes.
    #[error("the file has {filesize} bytes, and at most {max} are taken")]
    SizeLimit {
        /// What was announced.
        filesize: FileSize,
        /// What is allowed.
        max: FileSize,
    },
    /// Longer than the client said that the file may become, when it began the upload without
    /// its length.
    #[error("the file reaches byte {filesize}, and its upload was begun for at most {max}")]
    OwnLimit {
        /// How long the file would be.
        filesize: FileSize,
        /// What the client said.
        max: FileSize,
    },
    /// The upload is past the point where bytes may come.
    #[error("the upload is {0}")]
    NotUploading(Phase),
    /// A later lease has been granted.
    #[error("another connection has taken this upload over")]
    Superseded,
    /// The lease in force has one writer alone: the order of the bytes is all that is known of
    /// them.
    #[error("this upload is sent by one connection alone")]
    NotShared,
    /// Too many share the lease.
    #[error("{max} connections send this upload already")]
    TooManyWriters {
        /// How many may.
        max: usize,
    },
    /// The bytes do not follow those that are here.
    #[error("the upload continues at byte {expected}")]
    OffsetMismatch {
        /// Where they have to.
        expected: Offset,
    },
    /// The bytes reach beyond the end.
    #[error("the file was announced with {filesize} bytes, and this would reach beyond")]
    SizeExceeded {
        /// The size that was announced.
        filesize: FileSize,
    },
    /// Too many blocks are begun and not finished.
    #[error("{max} blocks are begun already; finish one first")]
    TooManyOpen {
        /// How many may be.
        max: usize,
    },
    /// Too many ranges of a block lie behind gaps.
    #[error("{max} ranges of this block are begun already; close a gap first")]
    TooManyRanges {
        /// How many may be.
        max: usize,
    },
    /// The length of the file is still to be declared.
    #[error("the length of the file was not declared yet")]
    LengthUnknown,
    /// The file has no such block.
    #[error("the file has no block {index}")]
    NoSuchBlock {
        /// The block that was named.
        index: BlockIndex,
    },
    /// The block's bytes are not those that its writer announced.
    #[error("block {index} did not arrive as it was sent; send it again")]
    BlockMismatch {
        /// The block to send again.
        index: BlockIndex,
    },
    /// Bytes are missing.
    #[error("the file is not complete: bytes are missing from {expected} on")]
    Incomplete {
        /// The first of them.
        expected: Offset,
    },
    /// The whole is not what its writer says it is.
    #[error("the file's hash is {actual}, and {claimed} was expected")]
    HashMismatch {
        /// The hash that came with `complete`.
        claimed: FileHash,
        /// The hash of what is here.
        actual: FileHash,
    },
    /// The whole has another SHA-256 hash than its writer says.
    #[error("the file's SHA-256 hash is {actual}, and {claimed} was expected")]
    Sha256Mismatch {
        /// The hash that came with `complete`.
        claimed: Sha256Hash,
        /// The hash of what is here.
        actual: Sha256Hash,
    },
    /// The file that goes on is not the one that was begun.
    #[error("the upload was begun with another {what}")]
    FileChanged {
        /// `filename` or `filesize`.
        what: &'static str,
    },
    /// No byte came for too long.
    #[error("no byte came for {} days, so the upload was given up", .days)]
    Expired {
        /// How long that is.
        days: u64,
    },
}
