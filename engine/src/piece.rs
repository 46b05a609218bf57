//! Bytes of a document that were read and are to be given out.

use crate::reading::room::ReadBuffer;
use towline_types::{BlockIndex, ChainingValue, Offset};

/// Consecutive bytes of one block. They lie in a buffer of the pool, which is free again when this
/// is dropped: a door drops it when its client has taken the bytes, and until then no more than a
/// few MiB are read for the session.
#[derive(Debug)]
pub struct Piece {
    pub(crate) offset: Offset,
    pub(crate) value: Option<(BlockIndex, ChainingValue)>,
    pub(crate) buffer: ReadBuffer,
}

impl Piece {
    /// Where the bytes begin in the file.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The value of the block that begins here, where the reader verifies and the range has all of
    /// the block.
    #[must_use]
    pub fn value(&self) -> Option<(BlockIndex, ChainingValue)> {
        self.value
    }

    /// The bytes: at least one, and none of the next block.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.buffer.bytes()
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}
