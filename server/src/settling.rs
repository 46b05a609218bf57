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
use towline_protocol::{DocumentId, DocumentPath, Timestamp, UserId};
use towline_state::catalog::{CatalogError, Refusal};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Settling {
    /// Places for documents that wait; none where durability is not relaxed.
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    moved: Notify,
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

/// So many may wait. Who finds no place waits for a sync of its own: what a power
/// cut can take, and what a start has to read, stay bounded (P6).
const WAITING_MAX: usize = 8192;

/// What is named within this time shares a sync: it is the price of being relaxed.
const GATHER: Duration = Duration::from_secs(1);

impl Settling {
    pub(crate) fn new(durability: Durability) -> Self {
        let places = match durability {
            Durability::Durable => 0,
            Durability::Relaxed => WAITING_MAX,
        };
        Self {
            room: Arc::new(Semaphore::new(places)),
            waiting: Mutex::default(),
            moved: Notify::new(),
        }
    }

    /// A place for one more; nothing where the document has to be durable first.
    pub(crate) fn place(&self) -> Option<Place> {
        Arc::clone(&self.room).try_acquire_owned().ok().map(Place)
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

    fn take(&self) -> Vec<Named> {
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
    let named = service.settling.take();
    if !named.is_empty() {
        settle_together(service, &named);
    }
    for done in &named {
        service.settling.forget(done.document_id);
    }
}

/// One that cannot be settled must not hold the others up: then each is tried alone.
fn settle_together(service: &Service, named: &[Named]) {
    let places: Vec<_> = named.iter().map(|one| (one.owner, one.path.clone())).collect();
    match service.storage.settle_all(&places) {
        Ok(()) => record(service, named),
        Err(error) => match named {
            // The row goes on saying `publishing`: whoever asks, or the next start,
            // looks at what is there.
            [one] => tracing::error!(document_id = %one.document_id, %error, "not durable yet"),
            many => many.iter().for_each(|one| settle_together(service, std::slice::from_ref(one))),
        },
    }
}

/// All rows in as few transactions as it takes.
fn record(service: &Service, named: &[Named]) {
    failpoint::reach("settling.settled");
    let rows: Vec<_> = named
        .iter()
        .map(|one| (one, service.catalog.complete_publish(one.document_id, one.named_at)))
        .collect();
    for (one, recorded) in rows {
        match recorded.wait() {
            // Somebody asked for it meanwhile, and it was completed for them.
            Ok(_) | Err(CatalogError::Refused(Refusal::WrongPhase(_))) => {}
            Err(error) => {
                tracing::error!(document_id = %one.document_id, %error, "not recorded as complete");
            }
        }
    }
    service.mirror.changed();
}
