//! The most bytes that are sent in a second, over all connections of a client. Pure: the time comes
//! in as an argument.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes are sent in pieces of this time's worth: a system call for each of fewer bytes would cost
/// more than it is worth.
const PIECE: Duration = Duration::from_millis(50);

/// After a pause, this time's worth may be sent at once.
const BURST: Duration = Duration::from_millis(200);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct RateLimit {
    bytes_per_second: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes that may be sent at that time.
    room: u64,
    at: Instant,
}

impl RateLimit {
    /// At most that number of bytes in a second, at least 1.
    pub(crate) fn new(bytes_per_second: u64, now: Instant) -> Self {
        let bytes_per_second = bytes_per_second.max(1);
        Self { bytes_per_second, state: Mutex::new(State { room: 0, at: now }) }
    }

    /// Takes as many of these bytes as may be sent now; none where it is too early for a piece.
    pub(crate) fn take(&self, wanted: usize, now: Instant) -> usize {
        let mut state = self.refilled(now);
        let taken = state.room.min(wanted as u64);
        if taken < self.piece().min(wanted as u64) {
            return 0;
        }
        state.room -= taken;
        usize::try_from(taken).unwrap_or(wanted)
    }

    /// Gives back what was taken and not sent.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.lock().room += bytes as u64;
    }

    /// When the next piece may be sent.
    pub(crate) fn next_piece(&self, now: Instant) -> Instant {
        let missing = self.piece().saturating_sub(self.refilled(now).room);
        let nanos = u128::from(missing) * 1_000_000_000 / u128::from(self.bytes_per_second);
        now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)) + ROUNDING
    }

    fn piece(&self) -> u64 {
        self.worth(PIECE).max(1)
    }

    fn worth(&self, time: Duration) -> u64 {
        let bytes = u128::from(self.bytes_per_second) * time.as_nanos() / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn refilled(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let grown = self.worth(now.saturating_duration_since(state.at));
        // The rest of a byte is not lost.
        if grown > 0 {
            state.at = now;
            state.room = (state.room + grown).min(self.worth(BURST).max(self.piece()));
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the division above has cut off.
const ROUNDING: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_rate_is_kept_and_nothing_waits_for_ever() {
        for rate in [1, 10_000, 5_000_000] {
            let begin = Instant::now();
            let limit = RateLimit::new(rate, begin);
            let (mut now, mut sent) = (begin, 0u64);
            while now < begin + Duration::from_secs(10) {
                let taken = limit.take(1 << 20, now);
                // A socket that takes less than it was offered.
                let written = taken.div_ceil(2);
                limit.give_back(taken - written);
                sent += written as u64;
                let next = limit.next_piece(now);
                assert!(taken > 0 || next > now);
                now = next.max(now + Duration::from_millis(1));
            }
            let expected = rate * 10;
            assert!(sent <= expected + limit.worth(BURST) + 1, "{sent} of {expected}");
            assert!(sent >= expected * 8 / 10, "{sent} of {expected}");
        }
    }
}
