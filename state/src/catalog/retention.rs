//! Which earlier versions of a file are kept: a pure rule.

use std::collections::HashSet;
use std::time::Duration;
use towline_types::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long earlier versions are kept, counted from when each was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// All of them for that long.
    pub all: Duration,
    /// Then the last of each hour, until they are that old.
    pub hourly: Duration,
    /// Then the last of each day, until they are that old. Older ones are not kept.
    pub daily: Duration,
}

impl Default for Retention {
    /// A day, a week, thirty days.
    fn default() -> Self {
        Self { all: DAY, hourly: 7 * DAY, daily: 30 * DAY }
    }
}

impl Retention {
    /// Which of the versions that were replaced at those moments are kept. Hours and days are
    /// those of UTC, so that a version that is the last of its day now is so tomorrow, too. One
    /// that was replaced in the future, by a clock that was wrong, is kept.
    #[must_use]
    pub fn kept(&self, replaced_at: &[Timestamp], now: Timestamp) -> Vec<bool> {
        let last_of = |span: Duration| {
            let mut order: Vec<usize> = (0..replaced_at.len()).collect();
            // Of two that were replaced in the same millisecond the later one counts.
            order.sort_by_key(|at| (replaced_at[*at], *at));
            let mut spans = HashSet::new();
            let mut last = HashSet::new();
            for at in order.into_iter().rev() {
                if spans.insert(u128::from(replaced_at[at].get()) / span.as_millis()) {
                    last.insert(at);
                }
            }
            last
        };
        let (of_hour, of_day) = (last_of(HOUR), last_of(DAY));
        let keep = |(at, moment): (usize, &Timestamp)| {
            let age = now.since(*moment);
            age < self.all
                || (age < self.hourly && of_hour.contains(&at))
                || (age < self.daily && of_day.contains(&at))
        };
        replaced_at.iter().enumerate().map(keep).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const DAY_MS: u64 = 24 * HOUR_MS;
    /// A moment at the beginning of a day.
    const NOW: u64 = 20_000 * DAY_MS;

    /// Which of the versions of these ages, in milliseconds, are kept.
    fn kept(ages: &[u64]) -> Vec<bool> {
        let at = |ms| Timestamp::try_from(ms).unwrap();
        let times: Vec<_> = ages.iter().map(|age| at(NOW - age)).collect();
        Retention::default().kept(&times, at(NOW))
    }

    #[test]
    fn a_day_long_all_are_kept() {
        let ages: Vec<_> = (0..1000).map(|n| n * DAY_MS / 1000).collect();
        assert!(kept(&ages).into_iter().all(|kept| kept));
    }

    #[test]
    fn a_week_long_the_last_of_each_hour_is_kept() {
        let hour = |n: u64, minute: u64| 2 * DAY_MS - n * HOUR_MS - minute * 60_000;
        assert_eq!(
            kept(&[hour(0, 10), hour(0, 50), hour(1, 5), hour(0, 20)]),
            [false, true, true, false]
        );
        // Also where a later one of the hour is so new that all are kept.
        assert_eq!(kept(&[DAY_MS + 60_000, DAY_MS - 60_000]), [true, true]);
        assert_eq!(kept(&[DAY_MS + 1, DAY_MS + 2]), [true, false]);
    }

    #[test]
    fn thirty_days_long_the_last_of_each_day_is_kept() {
        let day = |n: u64, hour: u64| n * DAY_MS - hour * HOUR_MS;
        assert_eq!(
            kept(&[day(20, 1), day(20, 5), day(20, 9), day(10, 2)]),
            [false, false, true, true]
        );
        assert_eq!(kept(&[30 * DAY_MS, 31 * DAY_MS, 30 * DAY_MS - 1]), [false, false, true]);
    }

    #[test]
    fn what_is_kept_on_a_later_day_was_kept_on_each_day_before() {
        let at = |ms| Timestamp::try_from(ms).unwrap();
        let times: Vec<_> = (0..500_u64).map(|n| at(NOW + n * n * 40_000)).collect();
        let mut alive = times.clone();
        for hour in 0..(45 * 24) {
            let now = at(NOW + hour * HOUR_MS);
            let kept = Retention::default().kept(&alive, now);
            let all = Retention::default().kept(&times, now);
            let step: Vec<_> =
                alive.iter().zip(&kept).filter(|(_, k)| **k).map(|(t, _)| *t).collect();
            let once: Vec<_> =
                times.iter().zip(&all).filter(|(_, k)| **k).map(|(t, _)| *t).collect();
            assert_eq!(step, once, "in steps or at once is the same, hour {hour}");
            alive = step;
        }
    }

    #[test]
    fn of_one_moment_the_later_version_counts() {
        assert_eq!(kept(&[3 * DAY_MS, 3 * DAY_MS]), [false, true]);
        assert_eq!(kept(&[]), Vec::<bool>::new());
    }
}
