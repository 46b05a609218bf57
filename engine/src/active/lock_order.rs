//! Checks in debug builds that a thread takes locks in the order of the table in
//! [`active`](super). A release build has none of it.

/// A lock of the table, by its rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Slot = 1,
    Row = 2,
    Sync = 3,
    Places = 4,
    Inner = 5,
}

/// While this value lives, its thread holds a lock of that rank, or waits for it.
#[derive(Debug)]
pub(crate) struct Held {
    #[cfg(debug_assertions)]
    rank: Rank,
}

#[cfg(debug_assertions)]
mod checked {
    use super::{Held, Rank};
    use std::cell::RefCell;

    thread_local! {
        /// The ranks of the locks that this thread holds.
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    impl Held {
        /// This thread is about to wait for a lock of that rank.
        ///
        /// # Panics
        /// Where it holds one that comes later in the table, or one of the same rank.
        pub(crate) fn before(rank: Rank) -> Self {
            HELD.with_borrow_mut(|held| {
                let last = held.iter().max();
                assert!(
                    last.is_none_or(|last| *last < rank) || std::thread::panicking(),
                    "a thread that holds the lock {last:?} waits for {rank:?}"
                );
                held.push(rank);
            });
            Self { rank }
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            HELD.with_borrow_mut(|held| {
                if let Some(at) = held.iter().rposition(|rank| *rank == self.rank) {
                    held.remove(at);
                }
            });
        }
    }
}

#[cfg(not(debug_assertions))]
impl Held {
    #[inline(always)]
    pub(crate) const fn before(_: Rank) -> Self {
        Self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_taken_in_the_order_of_the_table() {
        let slot = Held::before(Rank::Slot);
        let inner = Held::before(Rank::Inner);
        drop(inner);
        let row = Held::before(Rank::Row);
        drop((slot, row));
        let _inner = Held::before(Rank::Inner);
    }

    #[test]
    #[should_panic(expected = "a thread that holds the lock Some(Inner) waits for Row")]
    fn a_lock_of_an_earlier_rank_is_not_waited_for() {
        let _inner = Held::before(Rank::Inner);
        let _row = Held::before(Rank::Row);
    }
}
