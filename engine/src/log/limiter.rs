//! Log lines that would be repeated often are written once a second for each kind: the first line
//! is written at once, and lines that follow within a second are counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two lines of one kind.
const REST: Duration = Duration::from_secs(1);

/// The most kinds that are counted one by one at the same time. Further kinds are counted
/// together, so that a client cannot fill the log, or the memory, with kinds.
const KINDS_MAX: usize = 32;

/// See the module's description.
#[derive(Debug)]
pub struct Limiter<K = ()>(Mutex<State<K>>);

#[derive(Debug)]
struct State<K> {
    kinds: HashMap<K, Count>,
    /// How many lines of further kinds were left out.
    others: u64,
}

#[derive(Debug)]
struct Count {
    said_at: Instant,
    left_out: u64,
}

/// How often lines were left out.
#[derive(Debug, PartialEq, Eq)]
pub struct LeftOut<K> {
    /// The number for each kind of which lines were left out.
    pub kinds: Vec<(K, u64)>,
    /// The number for all kinds beyond the limit of kinds that are counted one by one.
    pub others: u64,
}

impl<K> LeftOut<K> {
    /// The same, with a name for each kind.
    #[must_use]
    pub fn named(self, name: impl Fn(&K) -> String) -> LeftOut<String> {
        let kinds = self.kinds.iter().map(|(kind, count)| (name(kind), *count)).collect();
        LeftOut { kinds, others: self.others }
    }
}

impl LeftOut<String> {
    /// Writes a line for each kind: `what` happened that often and was left out.
    pub fn tell(self, what: &str) {
        for (kind, count) in self.kinds {
            tracing::info!(count, "{what} within the last second: {kind}");
        }
        if self.others > 0 {
            let count = self.others;
            tracing::info!(count, "{what} within the last second, of further kinds");
        }
    }
}

impl<K> Default for Limiter<K> {
    fn default() -> Self {
        Self(Mutex::new(State { kinds: HashMap::new(), others: 0 }))
    }
}

impl<K: Eq + Hash + Clone> Limiter<K> {
    /// Whether a line of that kind is to be written now, and how many were left out since
    /// the last one.
    pub fn due(&self, kind: K) -> Option<u64> {
        self.due_at(kind, Instant::now())
    }

    fn due_at(&self, kind: K, now: Instant) -> Option<u64> {
        let mut state = self.state();
        if let Some(count) = state.kinds.get_mut(&kind) {
            if now.duration_since(count.said_at) < REST {
                count.left_out += 1;
                return None;
            }
            count.said_at = now;
            return Some(std::mem::take(&mut count.left_out));
        }
        if state.kinds.len() >= KINDS_MAX {
            state
                .kinds
                .retain(|_, count| count.left_out > 0 || now.duration_since(count.said_at) < REST);
        }
        if state.kinds.len() >= KINDS_MAX {
            state.others += 1;
            return None;
        }
        state.kinds.insert(kind, Count { said_at: now, left_out: 0 });
        Some(0)
    }

    /// The lines that were left out and not reported yet. The caller asks once a second, and writes
    /// them.
    pub fn left_out(&self) -> LeftOut<K> {
        self.left_out_at(Instant::now())
    }

    fn left_out_at(&self, now: Instant) -> LeftOut<K> {
        let mut state = self.state();
        let mut kinds = Vec::new();
        state.kinds.retain(|kind, count| {
            if now.duration_since(count.said_at) < REST {
                return true;
            }
            if count.left_out == 0 {
                return false;
            }
            kinds.push((kind.clone(), std::mem::take(&mut count.left_out)));
            count.said_at = now;
            true
        });
        LeftOut { kinds, others: std::mem::take(&mut state.others) }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_a_second_and_what_was_left_out_is_counted() {
        let limiter = Limiter::default();
        let start = Instant::now();
        assert_eq!(limiter.due_at((), start), Some(0));
        assert_eq!(limiter.due_at((), start + REST / 2), None);
        assert_eq!(limiter.due_at((), start + REST / 2), None);
        assert_eq!(limiter.due_at((), start + REST), Some(2));
        assert_eq!(limiter.due_at((), start + REST * 3), Some(0));
    }

    #[test]
    fn what_was_left_out_is_told_though_nothing_more_comes() {
        let limiter = Limiter::default();
        let start = Instant::now();
        for kind in ["a", "a", "a", "b"] {
            limiter.due_at(kind, start);
        }
        assert_eq!(limiter.left_out_at(start + REST / 2).kinds, []);
        assert_eq!(limiter.left_out_at(start + REST).kinds, [("a", 2)]);
        // That was said, so the next one waits again.
        assert_eq!(limiter.due_at("a", start + REST), None);
        assert_eq!(limiter.due_at("b", start + REST), Some(0));
        assert_eq!(limiter.left_out_at(start + REST * 2).kinds, [("a", 1)]);
        assert_eq!(limiter.left_out_at(start + REST * 3).kinds, []);
        assert!(limiter.state().kinds.is_empty());
    }

    #[test]
    fn kinds_beyond_the_most_are_counted_together() {
        let limiter = Limiter::default();
        let start = Instant::now();
        let said = (0..1000).filter(|kind| limiter.due_at(*kind, start).is_some()).count();
        assert_eq!(said, KINDS_MAX);
        assert_eq!(limiter.left_out_at(start).others, 1000 - KINDS_MAX as u64);
        assert_eq!(limiter.due_at(1000, start + REST), Some(0), "the places are free again");
    }
}
