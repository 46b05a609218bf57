//! The data that many modules of an engine share. Nothing is decided here: each field is used by
//! the module that has its name or type.

use crate::active::pending::PendingUploads;
use crate::active::registry::Registry;
use crate::audit::AuditRecord;
use crate::buffer::BufferPool;
use crate::checkpoint::queue::CheckpointQueue;
use crate::core_shares::CoreShares;
use crate::ended_uploads::EndedUploads;
use crate::expiry::clock_trust::ClockTrust;
use crate::history::written::WrittenHistory;
use crate::job_signal::JobSignal;
use crate::log::Summary;
use crate::metrics::Metrics;
use crate::publish::deferred_queue::DeferredQueue;
use crate::publish::volume_copies::VolumeCopies;
use crate::reading::room::ReadShare;
use crate::state_file_copy::file::StateFileCopy;
use crate::storage::{FolderLock, Storage};
use crate::tree::notifier::ChangeNotifier;
use crate::tree::place_locks::PlaceLocks;
use crate::{Clock, EngineConfig};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towline_state::catalog::{Availability, Catalog};

/// See the module's description.
pub(crate) struct Shared {
    pub(crate) config: EngineConfig,
    pub(crate) catalog: Catalog,
    pub(crate) storage: Arc<dyn Storage>,
    /// The uploads that are being written.
    pub(crate) registry: Registry,
    /// Uploads that have a row and are not in the registry yet: see
    /// [`document_of`](crate::uploads::document_of).
    pub(crate) pending: Arc<PendingUploads>,
    /// Keeps looks at the places of a user's documents and changes of these places apart.
    pub(crate) places: PlaceLocks,
    /// Wakes those who wait for a change of a user's tree.
    pub(crate) notifier: ChangeNotifier,
    /// Uploads that wait for a checkpoint.
    pub(crate) checkpoints: CheckpointQueue,
    /// Documents that have their names and wait for their sync.
    pub(crate) deferred: DeferredQueue,
    /// Wakes the task that scans documents.
    pub(crate) jobs: JobSignal,
    /// Documents that are being copied to another file system, or wait for it.
    pub(crate) volume_copies: Arc<VolumeCopies>,
    /// The state file, a copy of what the catalog says.
    pub(crate) state_copy: StateFileCopy,
    /// Uploads that have ended without a document.
    pub(crate) ended_uploads: EndedUploads,
    /// How far the catalog had come when that was last written down.
    pub(crate) written_history: WrittenHistory,
    pub(crate) clock_trust: ClockTrust,
    /// Counts log lines that a client could cause without limit.
    pub(crate) summary: Arc<Summary>,
    /// What is counted while the engine works.
    pub(crate) metrics: Metrics,
    /// The buffers for payload.
    pub(crate) buffers: Arc<BufferPool>,
    /// How much of the buffers all readers may have together.
    pub(crate) read_share: Arc<ReadShare>,
    /// Permits to read a large file, to copy or to verify it: see
    /// [`LARGE_READS_MAX`](crate::publish::volume_copies::LARGE_READS_MAX).
    pub(crate) large_reads: Arc<Semaphore>,
    /// The cores, divided among the users who write.
    pub(crate) core_shares: CoreShares,
    /// Permits for lent readers: one for each core, because each has a thread of its own.
    pub(crate) loans: Arc<Semaphore>,
    /// Sessions, and all threads that work for them.
    pub(crate) tracker: TaskTracker,
    /// Cancelled when the engine is to stop.
    pub(crate) stopping: CancellationToken,
    /// The lock of the data folder, held until the last thread of the engine has ended.
    pub(crate) lock: FolderLock,
}

impl Shared {
    pub(crate) fn clock(&self) -> &Clock {
        &self.config.clock
    }

    /// Tells the observer of what the engine does by itself, if there is one.
    pub(crate) fn observe(&self, record: impl FnOnce() -> AuditRecord) {
        if let Some(observer) = &self.config.audit {
            observer.observe(record());
        }
    }

    /// What a document is whose completion the catalog records just now.
    pub(crate) fn availability_at_completion(&self) -> Availability {
        match self.config.scanning {
            Some(_) => Availability::Scanning,
            None => Availability::Available,
        }
    }

    /// A document is complete: where there is a scanner, its job is in the queue.
    pub(crate) fn wake_scanner(&self) {
        if self.config.scanning.is_some() {
            self.jobs.wake();
        }
    }

    /// Closes the volume if the catalog takes no more changes: without the catalog no promise is
    /// possible, so the volume takes no more bytes either (P5).
    pub(crate) fn storage_follows_catalog(&self) {
        if self.catalog.is_read_only() && !self.storage.latch().is_closed() {
            self.storage.latch().close();
        }
    }
}
