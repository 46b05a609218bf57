//! How large chunks are to be: small on a slow link, where each must arrive within the
//! server's patience, and as large as can be on a fast one, where each costs both ends
//! a system call.

use std::time::Duration;
use tokio::time::Instant;
use towline_types::block::BLOCK_SIZE_BYTES;

/// What a chunk should take on its way.
const CHUNK: Duration = Duration::from_millis(100);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Pace {
    least: u32,
    most: u32,
    /// Blocks that were queued so far. The first ones find room in the socket, so the time
    /// between them says little of the link.
    blocks: u32,
    /// When the last block found its place in the queue.
    queued: Instant,
    chunk_bytes: u32,
}

impl Pace {
    /// Begins with the least.
    pub(super) fn new(least: u32, most: u32) -> Self {
        Self { least, most: most.max(least), blocks: 0, queued: Instant::now(), chunk_bytes: least }
    }

    /// A block is queued, since the one before it has left: its chunks' size.
    pub(super) fn queued(&mut self, now: Instant) -> u32 {
        let before = std::mem::replace(&mut self.queued, now);
        self.blocks = self.blocks.saturating_add(1);
        if self.blocks > 2 {
            // At least a microsecond, so that this is a number.
            let took = now.duration_since(before).as_micros().max(1);
            let fits = u128::from(BLOCK_SIZE_BYTES) * CHUNK.as_micros() / took;
            let fits = u32::try_from(fits).unwrap_or(u32::MAX);
            // By doubling: one block that went fast may have gone into a buffer.
            let grown = self.chunk_bytes.saturating_mul(2);
            self.chunk_bytes = fits.min(grown).clamp(self.least, self.most);
        }
        self.chunk_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_on_a_fast_link_and_shrink_on_a_slow_one() {
        let mut pace = Pace::new(64 << 10, 1 << 20);
        let mut now = Instant::now();
        let mut after = |time| {
            now += time;
            pace.queued(now)
        };
        let fast = Duration::from_millis(1);
        assert_eq!(after(fast), 64 << 10, "nothing is known yet");
        assert_eq!(after(fast), 64 << 10, "nothing of the link");
        assert_eq!(after(fast), 128 << 10);
        assert_eq!(after(fast), 256 << 10);
        assert_eq!(after(fast), 512 << 10);
        assert_eq!(after(fast), 1 << 20);
        assert_eq!(after(fast), 1 << 20);
        assert_eq!(after(Duration::from_millis(400)), 256 << 10);
        assert_eq!(after(Duration::from_secs(60)), 64 << 10);
    }
}
