//! The payload size of the next chunks. Pure.
//!
//! On a slow link chunks are small, because each has to arrive within the server's timeout. On a
//! fast link they are as large as possible, because each chunk costs both ends a system call.

use std::time::Duration;
use tokio::time::Instant;
use towline_types::block::BLOCK_SIZE_BYTES;

/// The time that one chunk should take on the link.
const CHUNK: Duration = Duration::from_millis(100);

/// The smallest and the largest payload that a chunk may have, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkRange {
    pub(super) min_bytes: u32,
    pub(super) max_bytes: u32,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct ChunkSizer {
    range: ChunkRange,
    /// The number of blocks that were queued so far. The first ones go into the buffer of the
    /// socket, so the time between them says little about the link.
    blocks: u32,
    /// When the last block was queued.
    queued: Instant,
    chunk_bytes: u32,
}

impl ChunkSizer {
    /// Begins with the smallest size.
    pub(super) fn new(ChunkRange { min_bytes, max_bytes }: ChunkRange) -> Self {
        let range = ChunkRange { min_bytes, max_bytes: max_bytes.max(min_bytes) };
        Self { range, blocks: 0, queued: Instant::now(), chunk_bytes: min_bytes }
    }

    /// A block is queued, because the socket has taken the one before it. Returns the payload
    /// of its chunks in bytes.
    pub(super) fn queued(&mut self, now: Instant) -> u32 {
        let before = std::mem::replace(&mut self.queued, now);
        self.blocks = self.blocks.saturating_add(1);
        if self.blocks > 2 {
            // At least a microsecond, so that nothing is divided by 0.
            let took = now.duration_since(before).as_micros().max(1);
            let fits = u128::from(BLOCK_SIZE_BYTES) * CHUNK.as_micros() / took;
            let fits = u32::try_from(fits).unwrap_or(u32::MAX);
            // The size at most doubles: a block that left fast may only be in a buffer.
            let grown = self.chunk_bytes.saturating_mul(2);
            self.chunk_bytes = fits.min(grown).clamp(self.range.min_bytes, self.range.max_bytes);
        }
        self.chunk_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_on_a_fast_link_and_shrink_on_a_slow_one() {
        let range = ChunkRange { min_bytes: 64 << 10, max_bytes: 1 << 20 };
        let mut sizer = ChunkSizer::new(range);
        let mut now = Instant::now();
        let mut after = |time| {
            now += time;
            sizer.queued(now)
        };
        let fast = Duration::from_millis(1);
        assert_eq!(after(fast), 64 << 10, "nothing is known yet");
        assert_eq!(after(fast), 64 << 10, "the first blocks go into the socket's buffer");
        assert_eq!(after(fast), 128 << 10);
        assert_eq!(after(fast), 256 << 10);
        assert_eq!(after(fast), 512 << 10);
        assert_eq!(after(fast), 1 << 20);
        assert_eq!(after(fast), 1 << 20);
        assert_eq!(after(Duration::from_millis(400)), 256 << 10);
        assert_eq!(after(Duration::from_secs(60)), 64 << 10);
    }
}
