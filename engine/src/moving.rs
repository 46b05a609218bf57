//! Documents that are being copied to the file system of their folder, where that is
//! another than the one of the staging files.
//!
//! Such a copy may take minutes. At most one thread copies a document. A copy that has begun
//! goes on when the connection ends whose `complete` began it. One that still waits for its
//! turn then, or finds that another thread is at the document, is made by [`run`]. A copy ends
//! unfinished only when the server stops: then the row says `publishing`, the bytes are where
//! they were promised (P1), and the next start copies anew, behind its open port (P4). Other
//! channels that ask for such a document wait for the end of the copy without a thread, and
//! hear how far it is.

use crate::failure::Failure;
use crate::service::Service;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use towline_state::catalog::{Document, DurableOffset};
use towline_types::{DocumentId, FileSize, Offset};

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Moving {
    under_way: Mutex<HashMap<DocumentId, Standing>>,
    ended: Notify,
    /// Those that no channel copies.
    left: Mutex<VecDeque<DocumentId>>,
    /// How far those are that were left and wait for their turn.
    waiting: Mutex<HashMap<DocumentId, Standing>>,
    more: Notify,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) copied: Offset,
    pub(crate) filesize: FileSize,
    pub(crate) durable: DurableOffset,
}

impl Standing {
    /// Of a row that says `publishing`, that many bytes are copied.
    pub(crate) fn of(row: &Document, copied: Offset) -> Self {
        Self { copied, filesize: row.filesize, durable: row.durable() }
    }
}

/// A copy under way. It is none any more when this is dropped.
#[derive(Debug)]
pub(crate) struct Move {
    moving: Arc<Moving>,
    id: DocumentId,
}

impl Moving {
    /// Begins the copy of a document; nothing where it is under way.
    pub(crate) fn begin(self: &Arc<Self>, row: &Document) -> Option<Move> {
        let id = row.document_id;
        let mut under_way = lock(&self.under_way);
        if under_way.contains_key(&id) {
            return None;
        }
        under_way.insert(id, Standing::of(row, Offset::ZERO));
        lock(&self.waiting).remove(&id);
        Some(Move { moving: Arc::clone(self), id })
    }

    /// How far a document is whose copy waits for its turn, and for no channel.
    pub(crate) fn waiting(&self, id: DocumentId) -> Option<Standing> {
        lock(&self.waiting).get(&id).copied()
    }

    /// How far the copy of a document is; nothing where none is under way.
    pub(crate) fn standing(&self, id: DocumentId) -> Option<Standing> {
        lock(&self.under_way).get(&id).copied()
    }

    /// Waits until no copy of that document is under way. Cancel-safe: it changes nothing.
    pub(crate) async fn over(&self, id: DocumentId) {
        loop {
            let ended = self.ended.notified();
            if self.standing(id).is_none() {
                return;
            }
            ended.await;
        }
    }

    /// Leaves the copy of a document to [`run`]. Its row says `publishing`.
    pub(crate) fn leave(&self, row: &Document) {
        lock(&self.waiting).insert(row.document_id, Standing::of(row, Offset::ZERO));
        self.leave_again(row.document_id);
    }

    fn leave_again(&self, id: DocumentId) {
        let mut left = lock(&self.left);
        if !left.contains(&id) {
            left.push_back(id);
        }
        drop(left);
        self.more.notify_one();
    }

    async fn next(&self) -> DocumentId {
        loop {
            if let Some(id) = lock(&self.left).pop_front() {
                return id;
            }
            self.more.notified().await;
        }
    }
}

impl Move {
    /// The copy is that far.
    pub(crate) fn reached(&self, copied: Offset) {
        if let Some(standing) = lock(&self.moving.under_way).get_mut(&self.id) {
            standing.copied = copied;
        }
    }
}

impl Drop for Move {
    fn drop(&mut self) {
        lock(&self.moving.under_way).remove(&self.id);
        self.moving.ended.notify_waiters();
    }
}

/// Finishes what is left to it, one document after another, until it is dropped: what an
/// earlier run began to publish, and what no channel finishes.
pub(crate) async fn run(service: Arc<Service>) {
    loop {
        let id = service.moving.next().await;
        let Ok(place) = Arc::clone(&service.copies).acquire_owned().await else { return };
        let here = Arc::clone(&service);
        let settling = move || here.settle_with(id, Some(place), &mut |_| {});
        match service.tracker.spawn_blocking(settling).await {
            Ok(Ok(())) => {}
            Ok(Err(Failure::StillPublishing)) => {
                service.tracker.spawn(again(Arc::clone(&service), id));
            }
            Ok(Err(failure)) => service.summary.fault(Some(id), &failure),
            Err(error) => {
                tracing::error!(document_id = %id, %error, "its copy did not come to its end")
            }
        }
    }
}

/// Another thread publishes or copies the document, and it may yet leave the rest: leaves it to
/// [`run`] once more when that thread may have ended. The row tells [`run`] whether there is a
/// rest. Where the server stops, the next start sees to it.
async fn again(service: Arc<Service>, id: DocumentId) {
    let ended = async {
        tokio::time::sleep(service.config.timings.report).await;
        service.moving.over(id).await;
    };
    tokio::select! {
        () = service.stopping.cancelled() => {}
        () = ended => service.moving.leave_again(id),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
