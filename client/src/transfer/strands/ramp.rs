//! When another connection is worth it, where nobody has said how many.
//!
//! One connection is held up by its losses and by the windows of both ends, a fast
//! link by nothing that a second one would mend. So one is added to a long upload, and
//! the next only if the last made it faster. A link that is slow because it is weak gets
//! none: what each has begun is lost when the link breaks, and would be more.

use std::time::Duration;
use tokio::time::Instant;
use towline_types::block::BLOCK_SIZE_BYTES;

/// What a new connection needs to find its pace; what it fills first, socket buffers,
/// says nothing of the link.
const SETTLES: Duration = Duration::from_secs(1);

/// How long the rate is measured then.
const MEASURES: Duration = Duration::from_secs(1);

/// As many as are ever added to, the first one included.
const CONNECTIONS_MAX: usize = 4;

/// So much must still be to go, or what takes so long.
const WORTH_BYTES: u64 = 64 << 20;
const WORTH: Duration = Duration::from_secs(10);

/// What the last connection must have made of the rate before another is added.
const GAIN_PERCENT: u128 = 120;

/// A block must not take longer than that on each of them: a link that breaks before it
/// has carried one has carried nothing.
const BLOCK_WITHIN: Duration = Duration::from_secs(2);

/// From here on the two machines are at work, not the link.
const FAST_BYTES_PER_SECOND: u128 = 64 << 20;

/// See the module's description. [`look`](Self::look) at [`next_look`](Self::next_look).
#[derive(Debug)]
pub(crate) struct Ramp {
    stage: Stage,
    /// The rate when the last connection was added.
    before: Option<u128>,
}

#[derive(Debug)]
enum Stage {
    Settling { until: Instant },
    Measuring { since: Instant, sent_bytes: u64 },
    Over,
}

impl Ramp {
    /// Begins with one connection, now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { stage: Stage::Settling { until: now + SETTLES }, before: None }
    }

    /// Never asks for any.
    pub(crate) fn level() -> Self {
        Self { stage: Stage::Over, before: None }
    }

    /// When it wants to look again.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        match self.stage {
            Stage::Settling { until } => Some(until),
            Stage::Measuring { since, .. } => Some(since + MEASURES),
            Stage::Over => None,
        }
    }

    /// Whether to add a connection now to that many, where so much was sent over all of
    /// them and so much is left.
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
            // It may get better; this says nothing of what the last one was worth.
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

/// Whether one more than so many would be too slow, each by itself; a link that stands
/// still is.
fn is_weak(rate: u128, connections: usize) -> bool {
    let shares = connections as u128 + 1;
    rate * u128::from(BLOCK_WITHIN.as_secs()) < shares * u128::from(BLOCK_SIZE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// How many connections come to be, where so many bring so many MiB a second.
    fn connections(left: u64, rate: impl Fn(usize) -> u64) -> (usize, Duration) {
        let began = Instant::now();
        let (mut ramp, mut now) = (Ramp::new(began), began);
        let (mut sent, mut left, mut count) = (0, left * MIB, 1);
        let mut last = now;
        while let Some(next) = ramp.next_look() {
            let passed = u64::try_from((next - now).as_millis()).unwrap();
            let bytes = rate(count) * MIB * passed / 1000;
            if bytes >= left {
                break;
            }
            (sent, left, now) = (sent + bytes, left - bytes, next);
            if ramp.look(now, sent, left, count) {
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
        // Two fill the link, and the third shows it.
        assert_eq!(connections(2000, |count| 5 * count.min(2) as u64).0, 3);
        // One does.
        assert_eq!(connections(2000, |_| 5).0, 2);
    }

    #[test]
    fn a_short_upload_or_a_fast_link_needs_none() {
        assert_eq!(connections(60, |_| 20).0, 1);
        assert_eq!(connections(50, |count| 2 * count as u64).0, 2, "slow, and so it is long");
        assert_eq!(connections(100_000, |_| 300).0, 1);
    }

    /// Looks when it is time to, where so many bytes more have been sent.
    fn look(ramp: &mut Ramp, sent_bytes: u64, connections: usize) -> bool {
        ramp.look(ramp.next_look().unwrap(), sent_bytes, u64::MAX, connections)
    }

    #[test]
    fn a_weak_link_gets_none_until_it_is_better() {
        let mut ramp = Ramp::new(Instant::now());
        assert!(!look(&mut ramp, 0, 1));
        // Two would take longer than two seconds for a block each.
        for second in 1..100 {
            assert!(!look(&mut ramp, second * (MIB - 1), 1));
        }
        assert!(look(&mut ramp, 100 * MIB, 1));
    }

    #[test]
    fn a_stall_is_no_gain_and_no_loss() {
        let mut ramp = Ramp::new(Instant::now());
        assert!(!look(&mut ramp, 5 * MIB, 1));
        assert!(!look(&mut ramp, 5 * MIB, 1), "it stands still");
        assert!(look(&mut ramp, 10 * MIB, 1));
        assert!(!look(&mut ramp, 15 * MIB, 2));
        assert!(!look(&mut ramp, 15 * MIB, 2), "it stands still");
        // Against what there was before the stall.
        assert!(!look(&mut ramp, 20 * MIB, 2));
        assert_eq!(ramp.next_look(), None);
    }

    #[test]
    fn what_was_told_how_many_adds_none() {
        assert_eq!(Ramp::level().next_look(), None);
    }

    #[test]
    fn a_look_too_early_is_none() {
        let now = Instant::now();
        let mut ramp = Ramp::new(now);
        assert!(!ramp.look(now, 0, u64::MAX, 1));
        assert!(matches!(ramp.stage, Stage::Settling { .. }));
    }
}
