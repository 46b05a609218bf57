//! Bytes that a writer fetches by itself, for as long as they come fast.

use crate::buffer::BlockBuffer;
use std::time::Instant;
use towline_types::{BlockIndex, ChainingValue, Offset};

/// The socket of a door, lent to the thread of one writer. When it is dropped, the door has its
/// reader again, with all bytes that have come and were not pulled.
pub trait DataSource: Send {
    /// The next data or block value for the writer. None where nothing came until `until`, or where
    /// the next bytes are for another writer: then the writer gives the source back. Blocks, at
    /// most until `until`.
    fn pull(&mut self, until: Instant) -> Option<Pulled>;
}

/// What a source brings.
pub enum Pulled {
    /// Bytes of one block, in the order of the file.
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
}
