//! How long the last extra connections may keep all other connections waiting. Pure.

use std::time::Duration;
use tokio::time::Instant;

/// How long the other connections wait, and wait again whenever [`WORTH_BYTES`] have been sent
/// or received meanwhile.
const WAITS: Duration = Duration::from_secs(5);
const WORTH_BYTES: u64 = 256 << 10;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct StragglerTimer {
    /// When the waiting began, and how many bytes were sent and received by then.
    since: Option<(Instant, u64)>,
}

impl StragglerTimer {
    /// No connection waits, or one of the last ones has just confirmed.
    pub(super) fn reset(&mut self) {
        self.since = None;
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|(since, _)| since + WAITS)
    }

    /// Whether the others have waited too long; `bytes` were sent and received by now.
    pub(super) fn are_too_late(&mut self, now: Instant, bytes: u64) -> bool {
        let (since, before) = *self.since.get_or_insert((now, bytes));
        if bytes >= before.saturating_add(WORTH_BYTES) {
            self.since = Some((now, bytes));
            return false;
        }
        now.duration_since(since) >= WAITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_get_on_are_waited_for() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut timer = StragglerTimer::default();
        assert_eq!(timer.due(), None);
        for count in 0..60 {
            assert!(!timer.are_too_late(now + second * count, u64::from(count) * 100_000));
        }
    }

    #[test]
    fn connections_that_stand_still_or_crawl_are_not() {
        let now = Instant::now();
        for crawl in [0, 1000, 50_000] {
            let mut timer = StragglerTimer::default();
            assert!(!timer.are_too_late(now, 7));
            assert_eq!(timer.due(), Some(now + WAITS));
            assert!(!timer.are_too_late(now + WAITS / 2, 7 + crawl));
            assert!(timer.are_too_late(now + WAITS, 7 + crawl));
            timer.reset();
            assert!(!timer.are_too_late(now + WAITS, 7 + crawl));
        }
    }
}
