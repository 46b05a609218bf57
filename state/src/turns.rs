//! A queue with turns: each thing in it has an owner, and the next thing to be taken is the
//! oldest one of the owner whose turn it is. A thousand things of one owner do not hold up
//! the single thing of another.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// See the module's description.
#[derive(Debug)]
pub struct Turns<K, T> {
    /// The owners of the things that wait; the next one is first.
    order: VecDeque<K>,
    waiting: HashMap<K, VecDeque<T>>,
    count: usize,
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), waiting: HashMap::new(), count: 0 }
    }
}

impl<K: Copy + Eq + Hash, T> Turns<K, T> {
    /// Adds a thing of that owner.
    pub fn push(&mut self, whose: K, thing: T) {
        let own = self.waiting.entry(whose).or_default();
        if own.is_empty() {
            self.order.push_back(whose);
        }
        own.push_back(thing);
        self.count += 1;
    }

    /// Takes the oldest thing of the owner whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let whose = self.order.pop_front()?;
        let own = self.waiting.get_mut(&whose)?;
        let thing = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&whose);
        } else {
            self.order.push_back(whose);
        }
        self.count -= usize::from(thing.is_some());
        thing
    }

    /// How many things wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_does_not_wait_for_all_of_another() {
        let mut turns = Turns::default();
        for number in 0..1000 {
            turns.push("mallory", number);
        }
        turns.push("ada", 5000);
        turns.push("zoe", 6000);
        turns.push("ada", 5001);
        let first: Vec<_> = std::iter::from_fn(|| turns.pop()).take(6).collect();
        assert_eq!(first, [0, 5000, 6000, 1, 5001, 2]);
        assert_eq!(turns.len(), 997);
        turns.push("ada", 5002);
        let rest: Vec<_> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!((rest[..3].to_vec(), rest.len()), (vec![3, 5002, 4], 998));
        assert!(turns.is_empty() && turns.pop().is_none());
    }
}
