//! How many connections were lost with blocks on them, and when these blocks are to be sent
//! again. Pure.
//!
//! To find out which blocks are missing, all connections have to confirm, which takes a
//! moment. Until the missing blocks are sent, the server cannot promise any byte behind them.

use std::time::Duration;
use tokio::time::Instant;

/// The number of losses that may wait. Each loss leaves a begun block on the server, and a server
/// allows at most 64 of them, including those that are being sent.
const MOST: u32 = 16;

/// How long the oldest loss may wait, while other blocks are handed out.
const WAITS: Duration = Duration::from_secs(10);
const WAITS_BLOCKS: u32 = 256;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Losses {
    count: u32,
    /// When the oldest loss happened.
    since: Option<Instant>,
    /// The number of blocks that were handed out since.
    blocks: u32,
}

impl Losses {
    /// A connection was lost, with blocks on it.
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

    /// Whether the losses cannot wait any longer.
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
