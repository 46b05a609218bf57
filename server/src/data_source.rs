//! Bytes that a writer fetches by itself, for as long as they come fast.

use crate::pool::Buffer;
use std::time::Instant;
use towline_types::{BlockIndex, ChainingValue, Offset};

/// A door's socket, lent to the thread of one writer. Dropped, it takes the reader back to
/// the door, with all that has come and was not pulled.
pub(crate) trait DataSource: Send {
    /// What came next for the writer; none where the source goes home: nothing came until
    /// then, or what came is for another. Blocks until `until` at the most.
    fn pull(&mut self, until: Instant) -> Option<Pulled>;
}

/// What a source brings.
pub(crate) enum Pulled {
    /// Bytes of one block, in order.
    Data { offset: Offset, buffer: Buffer },
    /// The value of a block.
    Announce { index: BlockIndex, value: ChainingValue },
}
