//! How often received bytes are made durable: by number of bytes, or by time.

use crate::config::{Durability, EngineTimings};
use std::time::Duration;

/// When a pass of checkpoints begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The next pass begins without a pause when this many bytes have been received since the last
    /// one began.
    pub(super) bytes: u64,
    /// The shortest pause between two passes.
    pub(super) shortest_rest: Duration,
    /// The longest one, which is also the pause after a pass that failed.
    pub(super) longest_rest: Duration,
}

/// The pause after a pass, in multiples of the time that the pass took: on a fast disk checkpoints
/// follow each other every few milliseconds, and a slow disk is not kept busy with them.
const REST: u32 = 20;

impl Pace {
    /// As the timings say; where durability is relaxed, the pauses are longer.
    pub(crate) fn of(durability: Durability, timings: EngineTimings) -> Self {
        let (bytes, shortest_rest) = match durability {
            Durability::Durable => (64 << 20, timings.checkpoint_rest),
            // A slow upload needs checkpoints, because it would lose much if the server crashed; a
            // fast one is complete before the first of them.
            Durability::Relaxed => (u64::MAX, timings.checkpoint_rest.max(Duration::from_secs(5))),
        };
        Self { bytes, shortest_rest, longest_rest: timings.checkpoint.max(shortest_rest) }
    }

    /// The pause after a pass that took that long.
    pub(super) fn rest_after(&self, pass: Duration) -> Duration {
        (pass * REST).clamp(self.shortest_rest, self.longest_rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace(durability: Durability) -> Pace {
        let timings = EngineTimings {
            checkpoint: 1000 * MS,
            checkpoint_rest: 20 * MS,
            ..EngineTimings::default()
        };
        Pace::of(durability, timings)
    }

    #[test]
    fn a_slow_disk_has_a_longer_rest_and_none_has_a_longer_one_than_was_promised() {
        let pace = pace(Durability::Durable);
        for (pass, rest) in [(0, 20), (1, 20), (2, 40), (30, 600), (50, 1000), (9000, 1000)] {
            assert_eq!(pace.rest_after(pass * MS), rest * MS, "{pass}");
        }
        assert_eq!(pace.bytes, 67_108_864, "64 MiB");
    }

    #[test]
    fn where_durability_is_relaxed_only_time_brings_a_checkpoint() {
        let pace = pace(Durability::Relaxed);
        assert_eq!((pace.shortest_rest, pace.longest_rest), (5000 * MS, 5000 * MS));
        assert_eq!(pace.bytes, u64::MAX);
    }
}
