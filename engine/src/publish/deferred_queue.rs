//! Documents that have their names and wait for their sync, where durability is relaxed.

use crate::active::lock_order::{Held, Rank};
use crate::config::Durability;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, FileSize, Timestamp, UserId};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct DeferredQueue {
    /// Permits, each for [`UNIT_BYTES`] bytes; none where durability is not relaxed.
    permits: Arc<Semaphore>,
    /// Documents that this process has written: the page cache has all their bytes. A document
    /// leaves the queue when it is synced and recorded, and not before: if that is cut off, it is
    /// tried again.
    waiting: Mutex<BTreeMap<DocumentId, Arc<UnsyncedDocument>>>,
    added: Notify,
    sync: Mutex<()>,
}

/// Allows one document to be durable only after its `SUCCESS`.
#[derive(Debug)]
pub(crate) struct DeferredPermit(
    #[allow(dead_code, reason = "held, not read")] OwnedSemaphorePermit,
);

/// Keeps every other thread from syncing and recording deferred documents. While it lives, a row
/// that says `publishing` with cached bytes stays as it is. Its rank among the locks is in the table
/// of [`active`](crate::active).
#[allow(dead_code, reason = "held, not read")]
pub(crate) struct SyncGuard<'a>(MutexGuard<'a, ()>, Held);

/// A document that has its name, and bytes that may be in the page cache only.
#[derive(Debug)]
pub(crate) struct UnsyncedDocument {
    pub(crate) document_id: DocumentId,
    pub(crate) owner: UserId,
    pub(crate) path: DocumentPath,
    /// The stamp of its file, by which the catalog knows it.
    pub(crate) stamp: Option<FileStamp>,
    /// When `SUCCESS` was said. The row keeps that moment.
    pub(crate) named_at: Timestamp,
    #[allow(dead_code, reason = "held, not read")]
    pub(crate) permit: DeferredPermit,
}

/// How many units of [`UNIT_BYTES`] may wait: 4 GiB, and 32,768 documents. A document that gets
/// no permit is made durable before its `SUCCESS`. So what a power cut can take, and what a
/// start has to read, is bounded in bytes and in number (P6).
const UNITS: usize = 32 << 10;
const UNIT_BYTES: u64 = 128 << 10;

impl DeferredQueue {
    pub(crate) fn new(durability: Durability) -> Self {
        let units = match durability {
            Durability::Durable => 0,
            Durability::Relaxed => UNITS,
        };
        Self {
            permits: Arc::new(Semaphore::new(units)),
            waiting: Mutex::default(),
            added: Notify::new(),
            sync: Mutex::default(),
        }
    }

    /// A permit for a document of that size; nothing where it has to be durable before its
    /// `SUCCESS`.
    pub(crate) fn permit(&self, filesize: FileSize) -> Option<DeferredPermit> {
        // An empty document costs the next start a look as well, so it takes one unit.
        let units = u32::try_from(filesize.get().div_ceil(UNIT_BYTES).max(1)).ok()?;
        Arc::clone(&self.permits).try_acquire_many_owned(units).ok().map(DeferredPermit)
    }

    /// Adds a document that has its name.
    pub(crate) fn add(&self, document: UnsyncedDocument) {
        self.waiting().insert(document.document_id, Arc::new(document));
        self.added.notify_one();
    }

    /// Whether this process wrote that document and has not synced it yet. Then its bytes need not
    /// be checked.
    pub(crate) fn knows(&self, id: DocumentId) -> bool {
        self.waiting().contains_key(&id)
    }

    /// How many documents wait for their sync.
    pub(crate) fn count(&self) -> u64 {
        self.waiting().len() as u64
    }

    /// Waits until no other thread syncs deferred documents, and keeps other threads from it.
    pub(crate) fn lock(&self) -> SyncGuard<'_> {
        let held = Held::before(Rank::Sync);
        SyncGuard(self.sync.lock().unwrap_or_else(PoisonError::into_inner), held)
    }

    /// Waits for the next document. Cancel-safe.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    pub(super) fn all(&self, _: &SyncGuard<'_>) -> Vec<Arc<UnsyncedDocument>> {
        self.waiting().values().cloned().collect()
    }

    /// Removes a document, and so gives its permit back.
    pub(super) fn forget(&self, id: DocumentId) {
        self.waiting().remove(&id);
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<DocumentId, Arc<UnsyncedDocument>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_testkit::size;

    #[test]
    fn what_waits_is_bounded_in_bytes_and_in_number() {
        let queue = DeferredQueue::new(Durability::Relaxed);
        assert!(queue.permit(size((4 << 30) + 1)).is_none());
        let most = queue.permit(size((4 << 30) - UNIT_BYTES)).unwrap();
        let last = queue.permit(size(UNIT_BYTES)).unwrap();
        assert!(queue.permit(size(0)).is_none());
        drop(last);
        assert!(queue.permit(size(UNIT_BYTES + 1)).is_none());
        drop(most);
        let small: Vec<_> = (0..UNITS).map(|_| queue.permit(size(0)).unwrap()).collect();
        assert!(queue.permit(size(0)).is_none());
        drop(small);
        assert!(queue.permit(size(4 << 30)).is_some());
        assert!(DeferredQueue::new(Durability::Durable).permit(size(0)).is_none());
    }
}
