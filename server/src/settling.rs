//! Documents that have their names and are not durable yet: what `relaxed` leaves
//! to do behind `SUCCESS`.
//!
//! Each of them has a row that says `publishing` and that its bytes may be in the
//! page cache only. Here they are synced, many together, and then the rows say
//! `completed` (P3, later). Cut off anywhere, recovery reads and hashes such a file
//! before it believes in it (P2), and settles it (P4).

use crate::config::Durability;
use crate::failpoint;
use crate::service::Service;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use towline_protocol::{DocumentId, DocumentPath, FileSize, Timestamp, UserId};
use towline_state::catalog::{CatalogError, Refusal};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Settling {
    /// Room for documents that wait; none where durability is not relaxed.
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    moved: Notify,
    settled: Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    named: Vec<Named>,
    /// Written by this very process, whose page cache has them whole.
    own: HashSet<DocumentId>,
}

/// A place among those that may wait.
#[derive(Debug)]
pub(crate) struct Place(#[allow(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// Keeps everybody else from settling anything: rows that say `publishing` with cached
/// bytes stay as they are as long as it lives. Taken behind a slot of the
/// [registry](crate::registry) and behind `recording`, never before.
pub(crate) struct Alone<'a>(#[allow(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);

/// A document that has its name.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) document_id: DocumentId,
    pub(crate) owner: UserId,
    pub(crate) path: DocumentPath,
    /// When `SUCCESS` was said, which goes on saying so.
    pub(crate) named_at: Timestamp,
    #[allow(dead_code, reason = "held, not read")]
    pub(crate) place: Place,
}

/// So many bytes may wait, so many times this: who finds no room becomes durable before
/// `SUCCESS`. What a power cut can take, and what a start has to read, stay bounded, in
/// bytes (4 GiB) and in number (P6).
const UNITS: usize = 32 << 10;
const UNIT_BYTES: u64 = 128 << 10;

/// What is named within this time shares a sync: it is the price of being relaxed.
const GATHER: Duration = Duration::from_secs(1);

impl Settling {
    pub(crate) fn new(durability: Durability) -> Self {
        let units = match durability {
            Durability::Durable => 0,
            Durability::Relaxed => UNITS,
        };
        Self {
            room: Arc::new(Semaphore::new(units)),
            waiting: Mutex::default(),
            moved: Notify::new(),
            settled: Mutex::default(),
        }
    }

    /// A place for a document of that size; nothing where it has to be durable first.
    pub(crate) fn place(&self, filesize: FileSize) -> Option<Place> {
        // Even an empty one takes a look of the next start.
        let units = u32::try_from(filesize.get().div_ceil(UNIT_BYTES).max(1)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(units).ok().map(Place)
    }

    /// Takes a document in that has its name.
    pub(crate) fn add(&self, named: Named) {
        let mut waiting = self.waiting();
        waiting.own.insert(named.document_id);
        waiting.named.push(named);
        drop(waiting);
        self.moved.notify_one();
    }

    /// Whether this process wrote that document and has not settled it yet: its
    /// bytes need no second look.
    pub(crate) fn knows(&self, id: DocumentId) -> bool {
        self.waiting().own.contains(&id)
    }

    /// Waits for whoever settles just now, and keeps others out.
    pub(crate) fn alone(&self) -> Alone<'_> {
        Alone(self.settled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, _: &Alone<'_>) -> Vec<Named> {
        std::mem::take(&mut self.waiting().named)
    }

    fn forget(&self, id: DocumentId) {
        self.waiting().own.remove(&id);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settles what comes, until it is dropped.
pub(crate) async fn run(service: Arc<Service>) {
    loop {
        service.settling.moved.notified().await;
        tokio::time::sleep(GATHER).await;
        let here = Arc::clone(&service);
        let settled = service.tracker.spawn_blocking(move || settle(&here)).await;
        if let Err(error) = settled {
            tracing::error!(%error, "settling did not come to its end; the next start will");
        }
    }
}

/// Settles what waits. Blocks.
pub(crate) fn settle(service: &Service) {
    let alone = service.settling.alone();
    let named = service.settling.take(&alone);
    if named.is_empty() {
        return;
    }
    let places: Vec<_> = named.iter().map(|one| (one.owner, one.path.clone())).collect();
    match service.storage.settle_all(&places) {
        Ok(()) => record(service, &named),
        // The volume is closed. The rows go on saying `publishing`, and the next start
        // reads what the disk has kept (P5).
        Err(error) => tracing::error!(documents = named.len(), %error, "not durable"),
    }
    for done in &named {
        service.settling.forget(done.document_id);
    }
}

/// Rows that are recorded together: as many as share a transaction.
const TOGETHER: usize = 256;

fn record(service: &Service, named: &[Named]) {
    failpoint::reach("settling.settled");
    for together in named.chunks(TOGETHER) {
        let complete =
            |one: &Named| service.catalog.complete_publish(one.document_id, one.named_at);
        let rows: Vec<_> = together.iter().map(complete).collect();
        for (one, recorded) in together.iter().zip(rows) {
            match recorded.wait() {
                // Somebody asked for it before, and it was completed for them.
                Ok(_) | Err(CatalogError::Refused(Refusal::WrongPhase(_))) => {}
                Err(error) => {
                    let id = one.document_id;
                    tracing::error!(document_id = %id, %error, "not recorded as complete");
                }
            }
        }
    }
    service.storage_follows_catalog();
    service.mirror.changed();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(bytes: u64) -> FileSize {
        FileSize::try_from(bytes).unwrap()
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_in_number() {
        let settling = Settling::new(Durability::Relaxed);
        assert!(settling.place(size((4 << 30) + 1)).is_none());
        let most = settling.place(size((4 << 30) - UNIT_BYTES)).unwrap();
        let last = settling.place(size(UNIT_BYTES)).unwrap();
        assert!(settling.place(size(0)).is_none());
        drop(last);
        assert!(settling.place(size(UNIT_BYTES + 1)).is_none());
        drop(most);
        let small: Vec<_> = (0..UNITS).map(|_| settling.place(size(0)).unwrap()).collect();
        assert!(settling.place(size(0)).is_none());
        drop(small);
        assert!(settling.place(size(4 << 30)).is_some());
        assert!(Settling::new(Durability::Durable).place(size(0)).is_none());
    }
}
