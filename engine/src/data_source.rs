//! Bytes that a writer fetches by itself, for as long as they come fast.

use crate::buffer::BlockBuffer;
use std::time::Instant;
use towline_types::{BlockIndex, ChainingValue, Offset};

/// A door's socket, lent to the thread of one writer. Dropped, it takes the reader back to
/// the door, with all that has come and was not pulled.
pub trait DataSource: Send {
    /// What came next for the writer; none where the source goes home: nothing came until
    /// then, or what came is for another. Blocks until `until` at the most.
    fn pull(&mut self, until: Instant) -> Option<Pulled>;
}

/// What a source brings.
pub enum Pulled {
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
}
