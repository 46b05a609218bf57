//! When to add another connection, where the number of connections is automatic. Pure.
//!
//! One connection is held up by lost packets and by the windows of both ends; on a fast link a
//! second one gains nothing. So one is added to a long upload, and the next one only if the
//! last has made the upload faster. A weak link gets none: the block that each connection has
//! begun is lost when the link breaks, so more connections lose more.

use std::time::Duration;
use tokio::time::Instant;
use towline_types::block::BLOCK_SIZE_BYTES;

/// How long a new connection takes to reach its rate; the bytes that it sends first go into
/// socket buffers and say nothing about the link.
const SETTLES: Duration = Duration::from_secs(1);

/// How long the rate is measured after that.
const MEASURES: Duration = Duration::from_secs(1);

/// The largest number of connections that this rule leads to, the first one included.
const CONNECTIONS_MAX: usize = 4;

/// A connection is added only where this number of bytes has yet to be sent, or as many as take
/// [`WORTH`] at the present rate.
const WORTH_BYTES: u64 = 64 << 20;
const WORTH: Duration = Duration::from_secs(10);

/// The rate after the last connection was added, in percent of the rate before, that is needed
/// to add another one.
const GAIN_PERCENT: u128 = 120;

/// The longest time that a block may take on each of the connections: a link that breaks within
/// the first block has carried nothing.
const BLOCK_WITHIN: Duration = Duration::from_secs(2);

/// From this rate on the two machines limit the upload, not the link.
const FAST_BYTES_PER_SECOND: u128 = 64 << 20;

/// See the module's description. Call [`look`](Self::look) at the time that
/// [`next_look`](Self::next_look) says.
#[derive(Debug)]
pub(crate) struct ConnectionScaler {
    stage: Stage,
    /// The rate when the last connection was added, in bytes per second.
    before: Option<u128>,
}

#[derive(Debug)]
enum Stage {
    Settling { until: Instant },
    Measuring { since: Instant, sent_bytes: u64 },
    Over,
}

impl ConnectionScaler {
    /// Begins with one connection, now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { stage: Stage::Settling { until: now + SETTLES }, before: None }
    }

    /// Never adds a connection.
    pub(crate) fn fixed() -> Self {
        Self { stage: Stage::Over, before: None }
    }

    /// When the next look is due; nothing where no more connections are added.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        match self.stage {
            Stage::Settling { until } => Some(until),
            Stage::Measuring { since, .. } => Some(since + MEASURES),
            Stage::Over => None,
        }
    }

    /// Whether to add a connection now. There are `connections`, over which `sent_bytes` were
    /// sent in all, and `left_bytes` have yet to be sent.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        sent_bytes: u64,
        left_bytes: u64,
        connections: usize,
    ) -> bool {
        if self.next_look().is_none_or(|next| now < next) {
            return false;
        }
        let Stage::Measuring { since, sent_bytes: before } = self.stage else {
            self.stage = Stage::Measuring { since: now, sent_bytes };
            return false;
        };
        let took = now.duration_since(since).as_micros().max(1);
        let rate = u128::from(sent_bytes.saturating_sub(before)) * 1_000_000 / took;
        if rate >= FAST_BYTES_PER_SECOND || connections >= CONNECTIONS_MAX {
            self.stage = Stage::Over;
            return false;
        }
        if is_weak(rate, connections) {
            // The link may get better. This rate says nothing about the gain of the last
            // connection.
            self.stage = Stage::Measuring { since: now, sent_bytes };
            return false;
        }
        let has_grown = self.before.is_none_or(|before| rate * 100 >= before * GAIN_PERCENT);
        if !has_grown {
            self.stage = Stage::Over;
            return false;
        }
        self.stage = Stage::Settling { until: now + SETTLES };
        let is_long = u128::from(left_bytes) > rate * u128::from(WORTH.as_secs());
        let is_worth_it = left_bytes >= WORTH_BYTES || is_long;
        if is_worth_it {
            self.before = Some(rate);
        }
        is_worth_it
    }
}

/// Whether each of `connections` and one more would be too slow, at this rate in bytes per
/// second over all of them. A link that stands still is weak.
fn is_weak(rate: u128, connections: usize) -> bool {
    let shares = connections as u128 + 1;
    rate * u128::from(BLOCK_WITHIN.as_secs()) < shares * u128::from(BLOCK_SIZE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// How many connections there are in the end, and after which time, for an upload of `left`
    /// MiB; `rate` is how many MiB per second a number of connections carries.
    fn connections(left: u64, rate: impl Fn(usize) -> u64) -> (usize, Duration) {
        let began = Instant::now();
        let (mut scaler, mut now) = (ConnectionScaler::new(began), began);
        let (mut sent, mut left, mut count) = (0, left * MIB, 1);
        let mut last = now;
        while let Some(next) = scaler.next_look() {
            let passed = u64::try_from((next - now).as_millis()).unwrap();
            let bytes = rate(count) * MIB * passed / 1000;
            if bytes >= left {
                break;
            }
            (sent, left, now) = (sent + bytes, left - bytes, next);
            if scaler.look(now, sent, left, count) {
                count += 1;
                last = now;
            }
        }
        (count, last - began)
    }

    #[test]
    fn a_connection_is_added_while_each_makes_it_faster() {
        let each = |count| 5 * count as u64;
        assert_eq!(connections(2000, each), (4, Duration::from_secs(6)));
        // Two connections fill the link, and the third one shows that.
        assert_eq!(connections(2000, |count| 5 * count.min(2) as u64).0, 3);
        // One connection fills the link.
        assert_eq!(connections(2000, |_| 5).0, 2);
    }

    #[test]
    fn a_short_upload_or_a_fast_link_needs_none() {
        assert_eq!(connections(60, |_| 20).0, 1);
        assert_eq!(connections(50, |count| 2 * count as u64).0, 2, "slow, and so it is long");
        assert_eq!(connections(100_000, |_| 300).0, 1);
    }

    /// Looks when the look is due; `sent_bytes` were sent until then.
    fn look(scaler: &mut ConnectionScaler, sent_bytes: u64, connections: usize) -> bool {
        scaler.look(scaler.next_look().unwrap(), sent_bytes, u64::MAX, connections)
    }

    #[test]
    fn a_weak_link_gets_none_until_it_is_better() {
        let mut scaler = ConnectionScaler::new(Instant::now());
        assert!(!look(&mut scaler, 0, 1));
        // With two connections, a block would take longer than two seconds on each.
        for second in 1..100 {
            assert!(!look(&mut scaler, second * (MIB - 1), 1));
        }
        assert!(look(&mut scaler, 100 * MIB, 1));
    }

    #[test]
    fn a_stall_is_no_gain_and_no_loss() {
        let mut scaler = ConnectionScaler::new(Instant::now());
        assert!(!look(&mut scaler, 5 * MIB, 1));
        assert!(!look(&mut scaler, 5 * MIB, 1), "it stands still");
        assert!(look(&mut scaler, 10 * MIB, 1));
        assert!(!look(&mut scaler, 15 * MIB, 2));
        assert!(!look(&mut scaler, 15 * MIB, 2), "it stands still");
        // The rate is compared with the rate before the stall.
        assert!(!look(&mut scaler, 20 * MIB, 2));
        assert_eq!(scaler.next_look(), None);
    }

    #[test]
    fn a_fixed_number_stays() {
        assert_eq!(ConnectionScaler::fixed().next_look(), None);
    }

    #[test]
    fn a_look_too_early_is_none() {
        let now = Instant::now();
        let mut scaler = ConnectionScaler::new(now);
        assert!(!scaler.look(now, 0, u64::MAX, 1));
        assert!(matches!(scaler.stage, Stage::Settling { .. }));
    }
}
