//! When the last ones have kept all others waiting for too long.

use std::time::Duration;
use tokio::time::Instant;

/// So long the others wait, and again whenever so much has come meanwhile.
const WAITS: Duration = Duration::from_secs(5);
const WORTH_BYTES: u64 = 256 << 10;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// When the waiting began, and how much there was then.
    since: Option<(Instant, u64)>,
}

impl Lag {
    /// Nobody waits, or somebody has just come.
    pub(super) fn reset(&mut self) {
        self.since = None;
    }

    /// When to look again.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.since.map(|(since, _)| since + WAITS)
    }

    /// Whether it has been too long, where so much has come by now.
    pub(super) fn is_too_long(&mut self, now: Instant, bytes: u64) -> bool {
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
    fn who_comes_forward_is_waited_for() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut lag = Lag::default();
        assert_eq!(lag.ends(), None);
        for count in 0..60 {
            assert!(!lag.is_too_long(now + second * count, u64::from(count) * 100_000));
        }
    }

    #[test]
    fn who_stands_still_or_crawls_is_not() {
        let now = Instant::now();
        for crawl in [0, 1000, 50_000] {
            let mut lag = Lag::default();
            assert!(!lag.is_too_long(now, 7));
            assert_eq!(lag.ends(), Some(now + WAITS));
            assert!(!lag.is_too_long(now + WAITS / 2, 7 + crawl));
            assert!(lag.is_too_long(now + WAITS, 7 + crawl));
            lag.reset();
            assert!(!lag.is_too_long(now + WAITS, 7 + crawl));
        }
    }
}
