//! The files, folders and links that a call was given and that are not begun yet. They come from an
//! iterator that may block (it may walk through folders), so threads that may block take them from
//! there.

use crate::document::Document;
use crate::item::{Item, ItemKind};
use crate::locked::lock;
use crate::transfer::options::PutOptions;
use crate::walk::NotKept;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// One file, folder or link of many.
#[derive(Debug, Clone)]
pub(crate) struct FeedItem {
    /// Its place among those that the iterator has given.
    pub(crate) index: usize,
    pub(crate) document: Document,
    pub(crate) kind: ItemKind,
    pub(crate) options: PutOptions,
    /// What no server keeps of it.
    pub(crate) not_kept: NotKept,
}

impl FeedItem {
    /// Whether it may go in a batch: a folder, a link, or a file whose upload is not named by a
    /// number and for which no chunk size was asked for.
    pub(crate) fn is_plain(&self) -> bool {
        let is_plain_file =
            self.options.document_id.is_none() && self.options.chunk_bytes.is_none();
        is_plain_file || !self.kind.is_file()
    }
}

type Items = Box<dyn Iterator<Item = (Item, PutOptions)> + Send>;

/// See the module's description. All clones are the same feed.
#[derive(Clone)]
pub(crate) struct Feed(Arc<Shared>);

struct Shared {
    /// Taken from the iterator, or given back: these are the next ones.
    ready: Mutex<VecDeque<FeedItem>>,
    /// The iterator, and the place that its next item has. The lock is held while the iterator
    /// blocks; the one of `ready` never is.
    items: Mutex<(Items, usize)>,
    is_at_end: AtomicBool,
}

impl Feed {
    pub(crate) fn new(items: impl Iterator<Item = (Item, PutOptions)> + Send + 'static) -> Self {
        Self(Arc::new(Shared {
            ready: Mutex::default(),
            items: Mutex::new((Box::new(items), 0)),
            is_at_end: AtomicBool::new(false),
        }))
    }

    /// The next item; nothing at the end. Blocks.
    pub(crate) fn next(&self) -> Option<FeedItem> {
        let item = lock(&self.0.ready).pop_front();
        item.or_else(|| self.take_from_iterator())
    }

    /// Takes an item back: it is the next one.
    pub(crate) fn give_back(&self, item: FeedItem) {
        lock(&self.0.ready).push_front(item);
    }

    /// Has that number of items ready, or all that are left, and returns how many there are.
    ///
    /// Cancel-safe: the thread that waits for the iterator keeps what it gets in the feed.
    pub(crate) async fn fill(&self, count: usize) -> usize {
        let feed = self.clone();
        let filled = tokio::task::spawn_blocking(move || {
            while feed.ready() < count {
                let Some(item) = feed.take_from_iterator() else { break };
                lock(&feed.0.ready).push_back(item);
            }
        });
        // Where the iterator has panicked, nothing comes from it any more.
        if filled.await.is_err() {
            self.0.is_at_end.store(true, Ordering::Release);
        }
        self.ready()
    }

    /// The first of the items that are ready.
    pub(crate) fn take_ready(&self) -> Option<FeedItem> {
        lock(&self.0.ready).pop_front()
    }

    /// Whether the first item that is ready satisfies the condition.
    pub(crate) fn is_next(&self, condition: impl FnOnce(&FeedItem) -> bool) -> bool {
        lock(&self.0.ready).front().is_some_and(condition)
    }

    /// Whether no item is left, as far as that is known.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_at_end.load(Ordering::Acquire) && self.ready() == 0
    }

    fn ready(&self) -> usize {
        lock(&self.0.ready).len()
    }

    fn take_from_iterator(&self) -> Option<FeedItem> {
        let mut items = lock(&self.0.items);
        let (items, index) = &mut *items;
        if self.0.is_at_end.load(Ordering::Acquire) {
            return None;
        }
        let Some((Item { document, kind, not_kept }, options)) = items.next() else {
            self.0.is_at_end.store(true, Ordering::Release);
            return None;
        };
        *index += 1;
        Some(FeedItem { index: *index - 1, document, kind, options, not_kept })
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(names: &'static [&'static str]) -> Feed {
        let file = |name: &&str| {
            let document = Document::in_folder(*name, Vec::new()).unwrap();
            (Item::file(document), PutOptions::default())
        };
        Feed::new(names.iter().map(file))
    }

    #[tokio::test]
    async fn what_is_given_back_comes_first_and_keeps_its_place() {
        let feed = feed(&["a", "b", "c"]);
        assert_eq!(feed.fill(2).await, 2);
        let first = feed.next().unwrap();
        assert_eq!(first.index, 0);
        feed.give_back(first);
        let places: Vec<_> = std::iter::from_fn(|| feed.next()).map(|item| item.index).collect();
        assert_eq!(places, [0, 1, 2]);
        assert!(feed.is_over());
        assert_eq!(feed.fill(1).await, 0);
    }

    #[tokio::test]
    async fn the_end_is_known_once_it_was_met() {
        let feed = feed(&["a"]);
        assert!(!feed.is_over());
        assert_eq!(feed.fill(2).await, 1);
        assert!(!feed.is_over());
        assert_eq!(feed.take_ready().unwrap().index, 0);
        assert!(feed.is_over() && feed.take_ready().is_none());
    }
}
