//! Documents that have their names and are not durable yet: what `relaxed` leaves
//! to do behind `SUCCESS`.
//!
//! Each of them has a row that says `publishing` and that its bytes may be in the
//! page cache only. Here they are synced, many together, and then the rows say
//! `completed` (P3, later). Cut off anywhere, recovery reads and hashes such a file
//! before it believes in it (P2), and settles it (P4).

use crate::config::Durability;
use crate::failpoint;
use crate::log;
use crate::service::Service;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use towline_state::catalog::{CatalogError, FileStamp, Refusal};
use towline_types::{DocumentId, DocumentPath, FileSize, Timestamp, UserId};
use towline_upload::Phase;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Settling {
    /// Room for documents that wait; none where durability is not relaxed.
    room: Arc<Semaphore>,
    /// Written by this very process, whose page cache has them whole. They go when they
    /// are settled and not before: whatever cuts that off, they wait again.
    waiting: Mutex<BTreeMap<DocumentId, Arc<Named>>>,
    moved: Notify,
    settled: Mutex<()>,
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
    /// What its file is known by.
    pub(crate) stamp: Option<FileStamp>,
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

/// So long what could not be settled waits for the next try.
const AGAIN: Duration = Duration::from_secs(5);

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
        self.waiting().insert(named.document_id, Arc::new(named));
        self.moved.notify_one();
    }

    /// Whether this process wrote that document and has not settled it yet: its
    /// bytes need no second look.
    pub(crate) fn knows(&self, id: DocumentId) -> bool {
        self.waiting().contains_key(&id)
    }

    /// Waits for whoever settles just now, and keeps others out.
    pub(crate) fn alone(&self) -> Alone<'_> {
        Alone(self.settled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn all(&self, _: &Alone<'_>) -> Vec<Arc<Named>> {
        self.waiting().values().cloned().collect()
    }

    /// Its place is free for another.
    fn forget(&self, id: DocumentId) {
        self.waiting().remove(&id);
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<DocumentId, Arc<Named>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settles what comes, until it is dropped.
pub(crate) async fn run(service: Arc<Service>) {
    loop {
        service.settling.moved.notified().await;
        tokio::time::sleep(GATHER).await;
        loop {
            let here = Arc::clone(&service);
            match service.tracker.spawn_blocking(move || settle(&here)).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "settling did not come to its end"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Settles what waits; says whether nothing of it has to be tried again. Blocks.
pub(crate) fn settle(service: &Service) -> bool {
    let alone = service.settling.alone();
    let named = service.settling.all(&alone);
    if named.is_empty() {
        return true;
    }
    let places: Vec<_> = named.iter().map(|one| (one.owner, one.path.clone())).collect();
    // Only documents of a store that can do this get here: see [`Settling::place`].
    let Some(storage) = service.storage.deferred() else { return true };
    if let Err(error) = storage.sync_deferred(&places) {
        // The volume is closed. The rows go on saying `publishing`, and the next start
        // reads what the disk has kept (P5).
        tracing::error!(documents = named.len(), error = log::chain(&error), "not durable");
        named.iter().for_each(|one| service.settling.forget(one.document_id));
        return true;
    }
    record(service, &named)
}

/// Rows that are recorded together: as many as share a transaction.
const TOGETHER: usize = 256;

fn record(service: &Service, named: &[Arc<Named>]) -> bool {
    failpoint::reach("settling.settled");
    let mut all = true;
    for together in named.chunks(TOGETHER) {
        let complete = |one: &Arc<Named>| {
            service.catalog.complete_publish(one.document_id, one.stamp, one.named_at)
        };
        let rows: Vec<_> = together.iter().map(complete).collect();
        for (one, recorded) in together.iter().zip(rows) {
            let id = one.document_id;
            match recorded.wait() {
                // Somebody asked for it before, and it was completed for them.
                Ok(_) | Err(CatalogError::Refused(Refusal::WrongPhase(Phase::Completed))) => {}
                Err(error) => {
                    tracing::error!(document_id = %id, error = log::chain(&error), "not recorded as complete");
                    if may_be_recorded_later(&error) {
                        all = false;
                        continue;
                    }
                }
            }
            service.settling.forget(id);
        }
    }
    service.storage_follows_catalog();
    service.mirror.changed();
    all
}

/// Whether the row may still say `publishing`, and the catalog takes changes: then a
/// start would have to read the file, so it keeps its place (P6).
const fn may_be_recorded_later(error: &CatalogError) -> bool {
    matches!(error, CatalogError::Busy | CatalogError::DiskFull | CatalogError::Sql(_))
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
