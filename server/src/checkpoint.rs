//! Turns received bytes into durable ones, for all uploads of the volume together.
//!
//! The order is the promise (P1): the data is synced, then offset and values are
//! recorded in one transaction, and only then does a client hear of it. What
//! arrives meanwhile waits for the next checkpoint.

use crate::failpoint;
use crate::failure::Failure;
use crate::live::Live;
use crate::refrain::Refrain;
use crate::service::Service;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use towline_protocol::DocumentId;
use towline_state::catalog::Checkpoint;

/// Uploads that have moved since their last checkpoint.
#[derive(Default)]
pub(crate) struct Checkpoints {
    waiting: Mutex<Waiting>,
    moved: Notify,
    urgent: Notify,
    unrecorded: Refrain,
}

#[derive(Default)]
struct Waiting {
    uploads: BTreeMap<DocumentId, Arc<Live>>,
    bytes: u64,
    told: Vec<oneshot::Sender<()>>,
}

/// A checkpoint begins at the latest when so much has come.
const CHECKPOINT_BYTES: u64 = 64 << 20;

impl Checkpoints {
    /// The upload has received so many bytes.
    pub(crate) fn moved(&self, live: &Arc<Live>, bytes: u64) {
        let mut waiting = self.waiting();
        waiting.uploads.insert(live.document_id, Arc::clone(live));
        waiting.bytes += bytes;
        let enough = waiting.bytes >= CHECKPOINT_BYTES;
        drop(waiting);
        self.moved.notify_one();
        if enough {
            self.urgent.notify_one();
        }
    }

    /// Makes everything durable that has come so far; ready when that is done or
    /// has failed. For a pause.
    pub(crate) fn now(&self) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        self.waiting().told.push(done);
        self.moved.notify_one();
        self.urgent.notify_one();
        told
    }

    fn take(&self) -> Waiting {
        std::mem::take(&mut *self.waiting())
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After a checkpoint comes a pause of so many times its own length: a fast disk
/// promises every few milliseconds, a slow one is not kept busy with promising.
const REST: u32 = 20;

/// Uploads that move at the same moment share a checkpoint.
const GATHER: Duration = Duration::from_millis(20);

/// Runs the checkpoints of a volume, until it is dropped.
pub(crate) async fn run(service: Arc<Service>) {
    let mut pause = GATHER;
    loop {
        service.checkpoints.moved.notified().await;
        let pausing = tokio::time::sleep(pause.min(service.config.timings.checkpoint));
        tokio::select! {
            () = pausing => {}
            () = service.checkpoints.urgent.notified() => {}
        }
        let Waiting { uploads, told, .. } = service.checkpoints.take();
        let uploads: Vec<_> = uploads.into_values().collect();
        let begun = Instant::now();
        let (here, all) = (Arc::clone(&service), uploads.clone());
        let work = move || checkpoint(&here, &all);
        let recorded = service.tracker.spawn_blocking(work).await.unwrap_or_else(|panic| {
            tracing::error!(%panic, "a checkpoint panicked; what it would have promised waits");
            for live in &uploads {
                service.checkpoints.moved(live, 0);
            }
            false
        });
        // One that failed is tried again, but the disk may be full for days.
        let rest = (begun.elapsed() * REST).max(GATHER);
        pause = if recorded { rest } else { service.config.timings.checkpoint };
        for done in told {
            let _ = done.send(());
        }
        service.mirror.changed();
    }
}

/// So many uploads are recorded together. More would keep those that are synced
/// first waiting for the last.
const TOGETHER: usize = 16;

/// Says whether the catalog took all that was synced.
fn checkpoint(service: &Service, uploads: &[Arc<Live>]) -> bool {
    let mut recorded = true;
    for together in uploads.chunks(TOGETHER) {
        recorded &= record(service, together);
    }
    recorded
}

/// An upload that somebody else is recording (it is being published, say) waits
/// for the next checkpoint, and nobody waits for it.
fn record(service: &Service, uploads: &[Arc<Live>]) -> bool {
    let mut synced = Vec::new();
    for live in uploads {
        let Some(recording) = live.try_recording() else {
            service.checkpoints.moved(live, 0);
            continue;
        };
        let Some((snapshot, last_chunk_at)) = live.snapshot(&recording) else { continue };
        match live.staging().sync() {
            Ok(()) => synced.push((live, recording, snapshot, last_chunk_at)),
            Err(error) => {
                let failure = Failure::Storage(error);
                // A volume that another upload's failed sync has closed takes
                // nothing from this one: what was promised stays.
                if failure.is_fatal_to_upload() {
                    service.fail(live, &recording, &failure);
                }
            }
        }
    }
    if synced.is_empty() {
        return true;
    }
    failpoint::reach("checkpoint.synced");
    let rows = synced.iter().map(|(live, _, snapshot, last_chunk_at)| Checkpoint {
        document_id: live.document_id,
        durable_offset: snapshot.offset,
        new_blocks: snapshot.blocks.clone(),
        last_chunk_at: *last_chunk_at,
    });
    match service.catalog.checkpoint(rows.collect()).wait() {
        Ok(recorded) => {
            failpoint::reach("checkpoint.recorded");
            for (live, recording, snapshot, _) in &synced {
                if recorded.contains(&live.document_id) {
                    live.recorded(recording, snapshot);
                }
            }
            true
        }
        // Nothing was promised, nothing is lost: the next checkpoint tries again,
        // unless the catalog has closed itself.
        Err(error) => {
            if let Some(others) = service.checkpoints.unrecorded.due() {
                tracing::error!(%error, others, "the catalog did not record a checkpoint");
            }
            service.storage_follows_catalog();
            if !service.catalog.is_read_only() {
                for (live, ..) in synced {
                    service.checkpoints.moved(live, 0);
                }
            }
            false
        }
    }
}
