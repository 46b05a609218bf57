//! Whether the wall clock is believed when it says that days have passed.
//!
//! A clock that is ten years ahead (an empty battery, a restored virtual machine, a mistake of the
//! operator) would otherwise end every unfinished upload at once, and these uploads would not come
//! back when the clock is corrected. So days count only once the clock has run evenly for half a
//! day while this server was running: it is compared with a clock that cannot be set. A jump in
//! either direction begins the half day anew.
//!
//! The half day is also the time in which owners can come back after the server itself was down for
//! longer than an upload may wait.

use crate::Clock;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use towline_types::Timestamp;

/// How long the clock has to run evenly: long enough for an operator to notice a wrong clock, and
/// short enough that a server which is restarted every night still ends abandoned uploads.
const WATCH: Duration = Duration::from_secs(12 * 3600);

/// How far the two clocks may differ before that counts as a jump: more than network time corrects
/// at once, and less than any useful time limit of uploads.
const SLACK: Duration = Duration::from_secs(60);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct ClockTrust {
    clock: Clock,
    /// How long an upload waits for its next byte.
    expire_after: Duration,
    even_since: Mutex<Reading>,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    wall: Timestamp,
    steady: Duration,
}

impl ClockTrust {
    /// Begins to compare the two clocks.
    pub(crate) fn new(clock: Clock, expire_after: Duration) -> Self {
        let even_since = Mutex::new(read(&clock));
        Self { clock, expire_after, even_since }
    }

    /// How long an upload waits for its next byte: for ever while the clock is not trusted.
    pub(crate) fn expire_after(&self) -> Duration {
        if self.is_trusted() { self.expire_after } else { Duration::MAX }
    }

    /// Whether the clock has run evenly for long enough.
    pub(crate) fn is_trusted(&self) -> bool {
        self.is_trusted_for(self.expire_after)
    }

    /// Whether the clock has run evenly for long enough to delete what is kept for `kept_for`. That
    /// is at most as long as `kept_for` itself: an operator who keeps the trash for an hour does
    /// not want to wait for half a day.
    pub(crate) fn is_trusted_for(&self, kept_for: Duration) -> bool {
        let now = read(&self.clock);
        let mut even_since = self.even_since.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.steady.saturating_sub(even_since.steady);
        let expected = even_since.wall.plus(passed);
        if now.wall.since(expected).max(expected.since(now.wall)) > SLACK {
            tracing::warn!(%expected, found = %now.wall, "the clock was set; nothing expires for half a day");
            *even_since = now;
            return false;
        }
        passed >= WATCH.min(kept_for)
    }
}

fn read(clock: &Clock) -> Reading {
    Reading { wall: clock.now(), steady: clock.steady() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    const HOUR: u64 = 3600;
    const WEEK: Duration = Duration::from_secs(7 * 24 * HOUR);

    /// A `ClockTrust`, and its two clocks in seconds: wall, steady.
    fn clock_trust(expire_after: Duration) -> (ClockTrust, [Arc<AtomicU64>; 2]) {
        let clocks = [1 << 30, 5].map(|start| Arc::new(AtomicU64::new(start)));
        let [wall, steady] = clocks.clone();
        let clock = Clock::with_steady(
            move || Timestamp::from_secs(wall.load(Ordering::SeqCst)),
            move || Duration::from_secs(steady.load(Ordering::SeqCst)),
        );
        (ClockTrust::new(clock, expire_after), clocks)
    }

    fn pass(clocks: &[Arc<AtomicU64>], seconds: u64) {
        for clock in clocks {
            clock.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_even_clock_is_believed_after_half_a_day() {
        let (clock_trust, clocks) = clock_trust(WEEK);
        assert_eq!(clock_trust.expire_after(), Duration::MAX);
        pass(&clocks, 12 * HOUR - 1);
        assert_eq!(clock_trust.expire_after(), Duration::MAX);
        pass(&clocks, 1);
        assert_eq!(clock_trust.expire_after(), WEEK);
        // Small corrections do not matter.
        clocks[0].fetch_add(59, Ordering::SeqCst);
        assert_eq!(clock_trust.expire_after(), WEEK);
    }

    #[test]
    fn a_jump_begins_the_half_day_anew_in_either_direction() {
        for ten_years_back in [false, true] {
            let (clock_trust, clocks) = clock_trust(WEEK);
            pass(&clocks, 12 * HOUR);
            assert_eq!(clock_trust.expire_after(), WEEK);
            let ten_years = 10 * 365 * 24 * HOUR;
            if ten_years_back {
                clocks[0].fetch_sub(ten_years, Ordering::SeqCst);
            } else {
                clocks[0].fetch_add(ten_years, Ordering::SeqCst);
            }
            assert_eq!(clock_trust.expire_after(), Duration::MAX);
            pass(&clocks, 12 * HOUR - 1);
            assert_eq!(clock_trust.expire_after(), Duration::MAX);
            pass(&clocks, 1);
            assert_eq!(clock_trust.expire_after(), WEEK);
        }
    }

    #[test]
    fn who_waits_for_an_hour_waits_for_an_hour() {
        let hour = Duration::from_secs(HOUR);
        let (clock_trust, clocks) = clock_trust(hour);
        pass(&clocks, HOUR - 1);
        assert_eq!(clock_trust.expire_after(), Duration::MAX);
        pass(&clocks, 1);
        assert_eq!(clock_trust.expire_after(), hour);
    }
}
