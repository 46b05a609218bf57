//! What was lost with connections, and when it is to be sent again.
//!
//! To find out what is missing all connections are settled, which costs a moment; until
//! it is sent, the server can promise nothing behind it.

use std::time::Duration;
use tokio::time::Instant;

/// So many may wait. Each leaves a begun block behind, and a server bears no more than 64
/// of them, those under way included.
const MOST: u32 = 16;

/// The oldest may wait so long, and for so many blocks to be handed out.
const WAITS: Duration = Duration::from_secs(10);
const WAITS_BLOCKS: u32 = 256;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Losses {
    count: u32,
    /// When the oldest came about.
    since: Option<Instant>,
    /// Blocks handed out since.
    blocks: u32,
}

impl Losses {
    /// Blocks were lost with a connection.
    pub(super) fn add(&mut self, now: Instant) {
        self.count += 1;
        self.since.get_or_insert(now);
    }

    /// A block was handed out.
    pub(super) fn handed_out(&mut self) {
        self.blocks += u32::from(self.count > 0);
    }

    pub(super) fn is_none(&self) -> bool {
        self.count == 0
    }

    /// Whether they cannot wait any longer.
    pub(super) fn are_due(&self, now: Instant) -> bool {
        self.count >= MOST
            || self.blocks >= WAITS_BLOCKS
            || self.since.is_some_and(|since| now.duration_since(since) >= WAITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_may_wait_for_a_while() {
        let now = Instant::now();
        let mut losses = Losses::default();
        for _ in 0..1000 {
            losses.handed_out();
        }
        assert!(losses.is_none() && !losses.are_due(now + WAITS * 2));
        losses.add(now);
        losses.add(now + WAITS / 2);
        assert!(!losses.is_none() && !losses.are_due(now + WAITS / 2));
        assert!(losses.are_due(now + WAITS), "the oldest counts");
    }

    #[test]
    fn many_losses_or_many_blocks_are_enough() {
        let now = Instant::now();
        let mut many = Losses::default();
        for _ in 0..MOST {
            assert!(!many.are_due(now));
            many.add(now);
        }
        assert!(many.are_due(now));
        let mut one = Losses::default();
        one.add(now);
        for _ in 0..WAITS_BLOCKS {
            assert!(!one.are_due(now));
            one.handed_out();
        }
        assert!(one.are_due(now));
    }
}
