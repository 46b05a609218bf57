//! How fast a number grows and when it reaches its total. Pure: the time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// After this time without growth, a person is told that the upload stalls.
pub(super) const STALL: Duration = Duration::from_secs(3);

/// Two points with less time between them than this are merged.
const CLOSE: Duration = Duration::from_millis(100);

/// A rate that was measured over less time than this is not shown.
const SETTLES: Duration = Duration::from_millis(400);

/// A position that grows towards a total. The rate counts neither what was there at the beginning
/// nor what is older than the window.
#[derive(Debug)]
pub(super) struct Meter {
    window: Duration,
    total: u64,
    /// The positions and their times; the first point is the last one before the window.
    points: VecDeque<(Instant, u64)>,
    position: u64,
    /// When the position last grew, or when the meter began.
    news: Instant,
}

impl Meter {
    pub(super) fn new(window: Duration, now: Instant, position: u64, total: u64) -> Self {
        Self { window, total, points: VecDeque::from([(now, position)]), position, news: now }
    }

    /// The position at this time. Where it fell, the meter begins anew.
    pub(super) fn connect(&mut self, now: Instant, position: u64) {
        if position < self.position {
            *self = Self::new(self.window, now, position, self.total);
            return;
        }
        if position == self.position {
            return;
        }
        self.position = position;
        self.news = now;
        match self.points.back_mut() {
            Some((last, there)) if now.duration_since(*last) < CLOSE && *there > 0 => {
                *there = position;
            }
            _ => self.points.push_back((now, position)),
        }
        while self.points.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= self.window) {
            self.points.pop_front();
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes per second over the window; nothing where too little time has passed.
    pub(super) fn rate(&self, now: Instant) -> Option<u64> {
        let age = |(then, _): &&(Instant, u64)| now.duration_since(*then);
        let before = self.points.iter().rev().find(|point| age(point) >= self.window);
        let base = before.or(self.points.front())?;
        let elapsed = age(&base).min(self.window);
        if elapsed < SETTLES {
            return None;
        }
        let grown = u128::from(self.position - base.1) * 1000;
        u64::try_from(grown / elapsed.as_millis().max(1)).ok()
    }

    /// The time until the position reaches the total, at this rate.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let rate = self.rate(now).filter(|rate| *rate > 0)?;
        Some(Duration::from_secs((self.total.saturating_sub(self.position)).div_ceil(rate)))
    }

    /// How long the position has not grown, where that is at least [`STALL`].
    pub(super) fn stall(&self, now: Instant) -> Option<Duration> {
        let silence = now.duration_since(self.news);
        (silence >= STALL && self.position < self.total).then_some(silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(3);

    fn at(begin: Instant, millis: u64) -> Instant {
        begin + Duration::from_millis(millis)
    }

    #[test]
    fn what_was_there_before_is_no_speed() {
        let begin = Instant::now();
        let mut meter = Meter::new(WINDOW, begin, 5_000_000, 10_000_000);
        assert_eq!(meter.rate(begin), None);
        meter.connect(at(begin, 1000), 5_100_000);
        assert_eq!(meter.rate(at(begin, 1000)), Some(100_000));
        assert_eq!(meter.left(at(begin, 1000)), Some(Duration::from_secs(49)));
    }

    #[test]
    fn a_stall_brings_the_rate_to_nothing_within_three_seconds() {
        let begin = Instant::now();
        let mut meter = Meter::new(WINDOW, begin, 0, 1 << 40);
        for step in 1..=100 {
            meter.connect(at(begin, step * 100), step * 1_000_000);
        }
        let still = at(begin, 10_000);
        assert_eq!(meter.rate(still), Some(10_000_000));
        let half = meter.rate(at(begin, 11_500)).unwrap();
        assert!((4_000_000..6_000_000).contains(&half), "{half}");
        assert_eq!(meter.rate(at(begin, 13_000)), Some(0));
        assert_eq!(meter.left(at(begin, 13_000)), None);
        assert_eq!(meter.stall(at(begin, 12_900)), None);
        assert_eq!(meter.stall(at(begin, 13_000)), Some(STALL));
        meter.connect(at(begin, 14_000), 101_000_000);
        assert_eq!(meter.stall(at(begin, 14_000)), None);
    }

    #[test]
    fn a_faster_line_is_seen_at_once() {
        let begin = Instant::now();
        let mut meter = Meter::new(WINDOW, begin, 0, 1 << 40);
        let mut position = 0;
        for step in 1..=130 {
            position += if step <= 100 { 5_000 } else { 100_000 };
            meter.connect(at(begin, step * 100), position);
        }
        // Three seconds after the line has become twenty times as fast.
        assert_eq!(meter.rate(at(begin, 13_000)), Some(1_000_000));
    }

    #[test]
    fn a_position_that_falls_begins_anew() {
        let begin = Instant::now();
        let mut meter = Meter::new(WINDOW, begin, 0, 100);
        meter.connect(at(begin, 500), 90);
        meter.connect(at(begin, 1000), 10);
        assert_eq!((meter.position(), meter.rate(at(begin, 1100))), (10, None));
    }
}
