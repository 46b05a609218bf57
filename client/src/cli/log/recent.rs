//! A map of bounded size that keeps the values that were used last.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// See the module's description.
pub(super) struct Recent<K, V> {
    /// Each value, with the number of its last use.
    values: HashMap<K, (u64, V)>,
    /// The keys by the numbers of their last uses.
    uses: BTreeMap<u64, K>,
    next: u64,
    max: usize,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    /// An empty map, which has at most `max` values.
    pub(super) fn of(max: usize) -> Self {
        Self { values: HashMap::new(), uses: BTreeMap::new(), next: 0, max }
    }

    /// The value, which counts as used.
    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        let (last, value) = self.values.get_mut(key)?;
        self.uses.remove(last);
        self.uses.insert(self.next, *key);
        *last = self.next;
        self.next += 1;
        Some(value)
    }

    /// Adds a value. Where there are too many then, the one that was not used for longest goes.
    pub(super) fn put(&mut self, key: K, value: V) {
        if let Some((last, _)) = self.values.insert(key, (self.next, value)) {
            self.uses.remove(&last);
        }
        self.uses.insert(self.next, key);
        self.next += 1;
        if self.values.len() > self.max
            && let Some((_, oldest)) = self.uses.pop_first()
        {
            self.values.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut recent = Recent::of(3);
        for key in 1..=3 {
            recent.put(key, key * 10);
        }
        assert_eq!(recent.get(&1), Some(&10));
        recent.put(4, 40);
        assert_eq!(recent.get(&2), None);
        recent.put(3, 31);
        recent.put(5, 50);
        assert_eq!(recent.get(&1), None);
        assert_eq!([3, 4, 5].map(|key| recent.get(&key).copied()), [Some(31), Some(40), Some(50)]);
        for key in 0..1000 {
            recent.put(key, key);
            recent.get(&key);
        }
        assert_eq!((recent.values.len(), recent.uses.len()), (3, 3));
    }
}
