//! When an attempt has not advanced for too long, whatever the server sends. Pure.

use std::time::Duration;
use tokio::time::Instant;

/// How far an attempt is: a change of one of the numbers restarts the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reached {
    /// The bytes that were sent over all connections.
    pub(super) sent_bytes: u64,
    /// The received offset that the server has reported.
    pub(super) received: u64,
    /// The durable offset that the server has reported.
    pub(super) durable: u64,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct StallTimer {
    reached: Reached,
    /// When the last change happened, or when the server last advanced in its own work.
    since: Instant,
}

impl StallTimer {
    pub(super) fn new(now: Instant) -> Self {
        Self { reached: Reached::default(), since: now }
    }

    /// The attempt is that far now.
    pub(super) fn reach(&mut self, reached: Reached, now: Instant) {
        if reached != self.reached {
            *self = Self { reached, since: now };
        }
    }

    /// The server has advanced in work of its own.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = now;
    }

    /// When the attempt counts as stalled, where `allowed` is the longest time without a change.
    pub(super) fn ends(&self, allowed: Duration) -> Instant {
        self.since + allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_restarts_the_time_and_the_same_again_does_not() {
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let mut timer = StallTimer::new(began);
        timer.reach(Reached::default(), began + second);
        assert_eq!(timer.ends(second), began + second);
        let further = Reached { received: 5, ..Reached::default() };
        timer.reach(further, began + second);
        assert_eq!(timer.ends(second), began + second * 2);
        // An upload that goes back was changed as well: blocks were withdrawn.
        timer.reach(Reached::default(), began + second * 2);
        assert_eq!(timer.ends(second), began + second * 3);
        timer.restart(began + second * 4);
        assert_eq!(timer.ends(second), began + second * 5);
    }
}
