//! What was found and is not sent yet: a bounded queue between two threads.

use crate::item::Item;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The number of items that are found ahead of the sending: at about 400 bytes each, 3 MiB.
const ITEMS_MAX: usize = 8192;

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// Nothing more is put in.
    is_at_end: bool,
    /// Nothing more is taken out.
    is_closed: bool,
}

impl Queue {
    /// Waits for room, and puts an item in. Returns `false` where the queue is closed.
    pub(super) fn put(&self, item: Item) -> bool {
        let mut state = self.lock();
        while state.items.len() >= ITEMS_MAX && !state.is_closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed {
            return false;
        }
        state.items.push_back(item);
        self.changed.notify_all();
        true
    }

    pub(super) fn end(&self) {
        self.lock().is_at_end = true;
        self.changed.notify_all();
    }

    /// Waits for an item, and takes it out; nothing at the end.
    pub(super) fn take(&self) -> Option<Item> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                self.changed.notify_all();
                return Some(item);
            }
            if state.is_at_end || state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends both sides; returns what is in the queue.
    pub(super) fn close(&self) -> Vec<Item> {
        let mut state = self.lock();
        state.is_closed = true;
        self.changed.notify_all();
        std::mem::take(&mut state.items).into()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits until the condition is true, or no more is put in, or that time has passed. The
    /// condition is asked when something has changed.
    pub(super) fn wait(&self, at_most: Duration, is_enough: impl Fn() -> bool) {
        let state = self.lock();
        let goes_on = |state: &mut State| !state.is_at_end && !state.is_closed && !is_enough();
        drop(self.changed.wait_timeout_while(state, at_most, goes_on));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use std::sync::Arc;

    fn file(name: &str) -> Item {
        Item::file(Document::in_folder(name, Vec::new()).unwrap())
    }

    #[test]
    fn a_full_queue_waits_and_a_closed_one_does_not() {
        let queue = Arc::new(Queue::default());
        let putting = Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while putting.put(file("a")) {
                count += 1;
            }
            count
        });
        assert!(queue.take().is_some());
        // As soon as it is full, the thread waits for room.
        while queue.lock().items.len() < ITEMS_MAX {
            std::thread::yield_now();
        }
        assert_eq!(queue.close().len(), ITEMS_MAX);
        assert_eq!(thread.join().unwrap(), ITEMS_MAX + 1);
        assert!(queue.take().is_none() && !queue.put(file("b")));
    }

    #[test]
    fn the_end_comes_behind_what_was_put_in() {
        let queue = Queue::default();
        assert!(queue.put(file("a")));
        queue.end();
        queue.wait(Duration::from_secs(30), || false);
        assert!(queue.take().is_some() && queue.take().is_none());
    }
}
