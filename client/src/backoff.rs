//! How long to wait before the next attempt. Pure.

use std::time::Duration;

/// The upper limit of the first wait; the limit of each further wait is twice as long.
const FIRST: Duration = Duration::from_millis(100);

/// The largest limit of a wait: when the server or the network is back, the upload continues within
/// 30 s.
const LONGEST: Duration = Duration::from_secs(30);

/// The waits between the attempts to reach a server that has never answered, where the system gives
/// a definite reason. They are long enough for a server that is being restarted, and short enough
/// for a person who has misspelt its name.
pub(crate) const FIRST_CONTACT_WAITS: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Waits with a limit that doubles. Each wait is taken at random between 0 and its limit ("full
/// jitter"), so that the clients of a server that was away do not all connect at the same moment.
///
/// Call [`next_wait`](Self::next_wait) after each failure, and [`progressed`](Self::progressed)
/// after an attempt in which bytes became durable.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    /// The number of attempts in a row without progress that are allowed; no limit where `None`.
    allowed: Option<u32>,
    failed: u32,
}

impl Backoff {
    pub(crate) fn new(allowed: Option<u32>) -> Self {
        Self { allowed, failed: 0 }
    }

    /// How long to wait, or nothing where the client gives up. `dice` is a random number in
    /// 0.0..1.0.
    pub(crate) fn next_wait(&mut self, dice: f64) -> Option<Duration> {
        if self.allowed.is_some_and(|allowed| self.failed >= allowed) {
            return None;
        }
        let most = FIRST.saturating_mul(1 << self.failed.min(16)).min(LONGEST);
        self.count();
        Some(most.mul_f64(dice.clamp(0.0, 1.0)))
    }

    /// Counts an attempt that has failed where the caller waits by another rule.
    pub(crate) fn count(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// The number of failures in a row without progress.
    pub(crate) fn failed(&self) -> u32 {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute() {
        let mut backoff = Backoff::new(None);
        let waits: Vec<u128> =
            (0..12).map(|_| backoff.next_wait(1.0).unwrap().as_millis()).collect();
        assert_eq!(
            waits,
            [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]
        );
        assert_eq!(backoff.next_wait(0.0), Some(Duration::ZERO));
        backoff.progressed();
        assert_eq!(backoff.next_wait(1.0), Some(FIRST));
    }

    #[test]
    fn so_many_retries_and_no_more() {
        let mut backoff = Backoff::new(Some(2));
        assert!(backoff.next_wait(0.5).is_some());
        assert!(backoff.next_wait(0.5).is_some());
        assert!(backoff.next_wait(0.5).is_none());
        backoff.progressed();
        assert!(backoff.next_wait(0.5).is_some());
        assert!(Backoff::new(Some(0)).next_wait(0.5).is_none());
    }
}
