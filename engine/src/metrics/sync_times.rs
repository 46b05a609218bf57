//! How long syncs took in the last minutes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a sync counts.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// The most syncs that are kept: 96 KiB of memory. Where there are more within [`KEPT_FOR`], the
/// latest of them count.
const KEPT_MAX: usize = 4096;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct SyncTimes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    count: u64,
    latest: VecDeque<(Instant, Duration)>,
}

/// How long the syncs of the last five minutes took; zero where there were none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncSummary {
    /// How many there were, 4,096 at most.
    pub count: u64,
    /// Half of them took no longer than this.
    pub median: Duration,
    /// 99 % of them took no longer than this.
    pub most: Duration,
    /// The longest of them.
    pub largest: Duration,
}

impl SyncTimes {
    /// Does the work and counts it as a sync. A sync that fails counts as well: it took its time.
    pub(crate) fn timed<T>(&self, sync: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = sync();
        let ended = Instant::now();
        self.add(ended, ended.duration_since(begun));
        done
    }

    fn add(&self, ended: Instant, took: Duration) {
        let mut state = self.state();
        state.count += 1;
        if state.latest.len() >= KEPT_MAX {
            state.latest.pop_front();
        }
        state.latest.push_back((ended, took));
    }

    /// How many syncs there were.
    pub(crate) fn count(&self) -> u64 {
        self.state().count
    }

    pub(crate) fn summary(&self) -> SyncSummary {
        self.summary_at(Instant::now())
    }

    fn summary_at(&self, now: Instant) -> SyncSummary {
        let state = self.state();
        let is_late = |ended: &Instant| now.saturating_duration_since(*ended) <= KEPT_FOR;
        let latest = state.latest.iter().filter(|(ended, _)| is_late(ended));
        let mut times: Vec<Duration> = latest.map(|(_, took)| *took).collect();
        drop(state);
        times.sort_unstable();
        // The smallest time that at least that part of them did not exceed.
        let percentile = |percent: usize| {
            let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(at).copied().unwrap_or_default()
        };
        SyncSummary {
            count: times.len() as u64,
            median: percentile(50),
            most: percentile(99),
            largest: times.last().copied().unwrap_or_default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_of_the_last_minutes_alone() {
        let times = SyncTimes::default();
        let start = Instant::now();
        assert_eq!(times.summary_at(start), SyncSummary::default());
        let ms = Duration::from_millis;
        times.add(start, ms(9000));
        for number in 1..=200 {
            times.add(start + ms(1000), ms(number));
        }
        let summary = times.summary_at(start + ms(1000) + KEPT_FOR);
        let expected = SyncSummary { count: 200, median: ms(100), most: ms(198), largest: ms(200) };
        assert_eq!(summary, expected);
        assert_eq!(times.summary_at(start).largest, ms(9000));
        assert_eq!(times.count(), 201);
        for _ in 0..KEPT_MAX {
            times.add(start + ms(2000), ms(1));
        }
        assert_eq!(times.summary_at(start + ms(2000)).largest, ms(1));
        assert_eq!(times.state().latest.len(), KEPT_MAX);
    }
}
