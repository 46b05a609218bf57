//! Documents that are being copied to the file system of their folder, where that is not the file
//! system of the staging files.
//!
//! Such a copy may take minutes. At most one thread copies a document. The `complete` of a client
//! begins the copy, which goes on when the client's connection ends. If the connection ends while
//! the copy still waits for its permit, or if another thread works on the document, the copy is
//! left to [`leftover_copies`](super::leftover_copies). A copy ends unfinished only when the server
//! stops. Then the row says `publishing`, the bytes are where they were promised (P1), and the next
//! start copies anew, while it already takes connections (P4). Other writers that ask for such a
//! document wait for the end of the copy without a thread, and are told how far it is.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use towline_state::catalog::{Document, DurableOffset};
use towline_types::{DocumentId, FileSize, Offset};

/// How many large files are read at a time, over all connections, to be copied or to be verified:
/// each of them is as much work for the disk as many clients together (P6). If there is no permit
/// to copy bytes that the server has already, the client sends the bytes instead. All other reads
/// wait for a permit.
pub(crate) const LARGE_READS_MAX: usize = 4;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct VolumeCopies {
    under_way: Mutex<HashMap<DocumentId, CopyProgress>>,
    ended: Notify,
    /// Documents whose copies are left to [`leftover_copies`](super::leftover_copies).
    left: Mutex<VecDeque<DocumentId>>,
    /// The documents in `left` that wait for a permit, with their progress.
    waiting: Mutex<HashMap<DocumentId, CopyProgress>>,
    more: Notify,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CopyProgress {
    pub(crate) copied: Offset,
    pub(crate) filesize: FileSize,
    pub(crate) durable: DurableOffset,
}

impl CopyProgress {
    /// The progress of that row's document, when `copied` bytes are copied.
    pub(crate) fn of(row: &Document, copied: Offset) -> Self {
        Self { copied, filesize: row.filesize, durable: row.durable() }
    }
}

/// A copy under way. Its end is the drop of this value.
#[derive(Debug)]
pub(crate) struct VolumeCopy {
    volume_copies: Arc<VolumeCopies>,
    id: DocumentId,
}

impl VolumeCopies {
    /// Begins the copy of a document; nothing where a copy of it is under way already.
    pub(crate) fn begin(self: &Arc<Self>, row: &Document) -> Option<VolumeCopy> {
        let id = row.document_id;
        let mut under_way = lock(&self.under_way);
        if under_way.contains_key(&id) {
            return None;
        }
        under_way.insert(id, CopyProgress::of(row, Offset::ZERO));
        lock(&self.waiting).remove(&id);
        Some(VolumeCopy { volume_copies: Arc::clone(self), id })
    }

    /// The progress of a document, if its copy is left to
    /// [`leftover_copies`](super::leftover_copies) and waits for its permit.
    pub(crate) fn waiting(&self, id: DocumentId) -> Option<CopyProgress> {
        lock(&self.waiting).get(&id).copied()
    }

    /// How far the copy of a document is; nothing where none is under way.
    pub(crate) fn progress(&self, id: DocumentId) -> Option<CopyProgress> {
        lock(&self.under_way).get(&id).copied()
    }

    /// Waits until no copy of that document is under way. Cancel-safe: it changes nothing.
    pub(crate) async fn over(&self, id: DocumentId) {
        loop {
            let ended = self.ended.notified();
            if self.progress(id).is_none() {
                return;
            }
            ended.await;
        }
    }

    /// Leaves the copy of a document to [`leftover_copies`](super::leftover_copies). Its row says `publishing`.
    pub(crate) fn enqueue(&self, row: &Document) {
        lock(&self.waiting).insert(row.document_id, CopyProgress::of(row, Offset::ZERO));
        self.enqueue_again(row.document_id);
    }

    pub(super) fn enqueue_again(&self, id: DocumentId) {
        let mut left = lock(&self.left);
        if !left.contains(&id) {
            left.push_back(id);
        }
        drop(left);
        self.more.notify_one();
    }

    /// The next document whose copy is left to [`leftover_copies`](super::leftover_copies). Cancel-safe.
    pub(super) async fn next(&self) -> DocumentId {
        loop {
            if let Some(id) = lock(&self.left).pop_front() {
                return id;
            }
            self.more.notified().await;
        }
    }
}

impl VolumeCopy {
    /// Notes how far the copy is.
    pub(crate) fn reached(&self, copied: Offset) {
        if let Some(standing) = lock(&self.volume_copies.under_way).get_mut(&self.id) {
            standing.copied = copied;
        }
    }
}

impl Drop for VolumeCopy {
    fn drop(&mut self) {
        lock(&self.volume_copies.under_way).remove(&self.id);
        self.volume_copies.ended.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
