//! The engine as a whole: opening, tasks in the background, and an orderly end.

use crate::account::Account;
use crate::active::registry::Registry;
use crate::buffer::BufferPool;
use crate::checkpoint::pace::Pace;
use crate::checkpoint::queue::CheckpointQueue;
use crate::config::{Durability, EngineConfig};
use crate::core_shares::CoreShares;
use crate::ended_uploads::EndedUploads;
use crate::error::Error;
use crate::expiry::clock_trust::ClockTrust;
use crate::history::written::WrittenHistory;
use crate::identity::{self, IdentityError};
use crate::job_signal::JobSignal;
use crate::lane::WorkerPool;
use crate::log::{self, Summary};
use crate::metrics::{Figures, Metrics};
use crate::origin::Origin;
use crate::publish::deferred_queue::DeferredQueue;
use crate::publish::volume_copies::LARGE_READS_MAX;
use crate::publish::{deferred, leftover_copies};
use crate::reading::room::ReadShare;
use crate::shared::Shared;
use crate::standing;
use crate::state_file_copy::file::{StateCopyError, StateFileCopy};
use crate::storage::{
    DataFolder, DiskStorage, FolderError, FolderLock, MemoryStorage, PathError, Storage,
    StorageError,
};
use crate::strict_modes::{self, LooseRights};
use crate::tree::notifier::ChangeNotifier;
use crate::tree::place_locks::PlaceLocks;
use crate::writer::OrderedWriter;
use crate::{Clock, checkpoint, expiry, history, jobs, recovery, state_file_copy, tidying};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towline_state::catalog::{
    Catalog, CatalogError, Invitation, IssuedToken, NewInvitation, Reply, Standing, Store,
    TokenRow, User, UserRef,
};
use towline_state::state_file::StateFile;
use towline_types::{JoinHash, StoreId, Timestamp, TokenId, UserId};

/// Why a store takes no uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// A write has failed, so nothing more is written until the server starts anew.
    #[error(
        "a write to the disk has failed; files can be read, and nothing is written until the server is started again"
    )]
    ReadOnly,
    /// The catalog does not answer.
    #[error("the catalog does not answer")]
    Catalog,
}

/// Why an engine does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The data folder is not the whole store.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Other users of the machine may change it, or read its keys.
    #[error(transparent)]
    Rights(#[from] LooseRights),
    /// The storage in it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The catalog in it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// What a crash left could not be put in order.
    #[error("what an earlier run left could not be put in order")]
    Recovery(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The state file.
    #[error("the state file could not be written")]
    StateFile(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why an engine did not end in good order.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    /// The catalog could not be closed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A part of the engine has panicked.
    #[error("a part of the server has panicked")]
    Panicked,
}

/// The store of one data folder, and the tasks that work on it. A clone is the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// The threads for the short work of all writers.
    workers: Arc<WorkerPool<OrderedWriter>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// The data folder of an engine in memory, which is removed with it.
    temporary: Mutex<Option<TempDir>>,
}

impl Drop for Inner {
    /// For an engine that was dropped without [`Engine::shut_down`]: it must not keep its data
    /// folder locked. What is durable stays so.
    fn drop(&mut self) {
        for task in self.take_tasks() {
            task.abort();
        }
    }
}

impl Inner {
    fn take_tasks(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How long the last checkpoint may take, together with the threads that work on it.
const LAST_CHECKPOINT: Duration = Duration::from_millis(1500);

/// How long the closing of state file and catalog may take. Together with the time for connections,
/// for the last checkpoint and for threads that hang, it is less than the ten seconds after which a
/// service manager kills the process.
const LAST_WRITES: Duration = Duration::from_millis(1500);

/// The time between two checks of the lock file.
const LOCK_LOOKS: Duration = Duration::from_secs(1);

impl Engine {
    /// Opens the data folder, or makes a new store in an empty one, and puts in order what an
    /// earlier run left (P4). Blocks; what goes on in the background runs on `runtime`.
    ///
    /// # Errors
    /// Where the folder cannot be opened or put in order, or another engine has it. Where a part of
    /// the store is missing, nothing was changed.
    pub fn open(config: EngineConfig, runtime: &Handle) -> Result<Self, OpenError> {
        Self::open_over(config, runtime, disk_storage)
    }

    /// As [`open`](Self::open), with the bytes of documents in `storage` instead of the data
    /// folder, which keeps the catalog and all else. Where `storage` cannot
    /// [defer a sync](Storage::deferred), durability is not relaxed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_storage(
        config: EngineConfig,
        storage: Arc<dyn Storage>,
        runtime: &Handle,
    ) -> Result<Self, OpenError> {
        Self::open_over(config, runtime, |_, config| {
            if storage.deferred().is_none() {
                config.durability = Durability::Durable;
            }
            storage
        })
    }

    /// An engine for tests, and for a door that is tried without a disk: it has room for
    /// `capacity_bytes` of documents in memory, and loses all of them with its last clone. Blocks.
    ///
    /// The catalog is a database in a temporary folder, and not in memory: it has two connections
    /// that read and write at the same time, and the journal that allows that (SQLite's WAL) exists
    /// for files only. So an engine in memory has the same catalog as any other.
    ///
    /// # Errors
    /// Where no temporary folder can be made.
    pub fn open_in_memory(capacity_bytes: u64, runtime: &Handle) -> Result<Self, OpenError> {
        let folder = tempfile::tempdir()
            .map_err(PathError::of::<FolderError>("make a folder in", &std::env::temp_dir()))?;
        let mut config = EngineConfig::new(folder.path());
        config.reserve_bytes = 0;
        let storage = Arc::new(MemoryStorage::new(capacity_bytes));
        let engine = Self::open_with_storage(config, storage, runtime)?;
        *engine.0.temporary.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder);
        Ok(engine)
    }

    fn open_over(
        config: EngineConfig,
        runtime: &Handle,
        storage: impl FnOnce(&FolderLock, &mut EngineConfig) -> Arc<dyn Storage>,
    ) -> Result<Self, OpenError> {
        let shared = put_in_order(config, Scans::AsConfigured, storage)?;
        let tasks = vec![
            runtime.spawn(checkpoint::run(Arc::clone(&shared))),
            runtime.spawn(deferred::run(Arc::clone(&shared))),
            runtime.spawn(leftover_copies::run(Arc::clone(&shared))),
            runtime.spawn(state_file_copy::run(Arc::clone(&shared))),
            runtime.spawn(expiry::run(Arc::clone(&shared))),
            runtime.spawn(tidying::run(Arc::clone(&shared))),
            runtime.spawn(jobs::run(Arc::clone(&shared))),
            runtime.spawn(history::run(Arc::clone(&shared))),
            runtime.spawn(log::run(Arc::clone(&shared.summary))),
        ];
        shared.state_copy.changed();
        let workers = WorkerPool::new(shared.tracker.clone());
        Ok(Self(Arc::new(Inner {
            shared,
            workers,
            tasks: Mutex::new(tasks),
            temporary: Mutex::default(),
        })))
    }

    /// The account of one user, whom the door has authenticated. `origin` says in the log where the
    /// requests come from.
    #[must_use]
    pub fn account(&self, user: UserId, origin: Origin) -> Account {
        let engine = (Arc::clone(&self.0.shared), Arc::clone(&self.0.workers));
        Account::new(engine, user, origin)
    }

    /// The buffers into which a door reads payload.
    #[must_use]
    pub fn buffers(&self) -> &Arc<BufferPool> {
        &self.0.shared.buffers
    }

    /// The configuration of this engine.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.0.shared.config
    }

    /// What this engine has done since it was opened, and how it stands now. Looks at every upload
    /// that is under way, and waits for the disk to say how much is free. Blocks.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let shared = &self.0.shared;
        shared.metrics.figures(standing::of(shared))
    }

    /// Whether the store takes uploads now: its volume has had no failed write, and its catalog
    /// answers. Waits for the catalog; cancel-safe.
    ///
    /// # Errors
    /// Why it takes none.
    pub async fn ready(&self) -> Result<(), Unready> {
        let shared = &self.0.shared;
        if shared.storage.latch().is_closed() || shared.catalog.is_read_only() {
            return Err(Unready::ReadOnly);
        }
        match shared.catalog.standing(UserRef::Number(UserId::MIN), None).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Unready::Catalog),
        }
    }

    /// The clock of this engine.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.0.shared.clock()
    }

    /// The identity of the store.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.0.shared.catalog.store_id()
    }

    /// The identity of the store and its history: a door that issues tokens needs both, to make
    /// tokens for this store alone.
    #[must_use]
    pub fn store(&self) -> Store {
        self.0.shared.catalog.store()
    }

    /// Looks a user up together with the token that was shown, for a door that authenticates. The
    /// answer can be waited for and polled.
    pub fn standing(&self, user: UserRef, token: Option<TokenId>) -> Reply<Option<Standing>> {
        self.0.shared.catalog.standing(user, token)
    }

    /// The same for a user who is logged in and shows another token.
    pub fn standing_of_next(
        &self,
        logged_in: UserId,
        user: UserRef,
        token: Option<TokenId>,
    ) -> Reply<Option<Standing>> {
        self.0.shared.catalog.standing_of_next(logged_in, user, token)
    }

    /// Records that a token is in use, once in that time. The answer need not be waited for.
    pub fn note_token_use(&self, token: IssuedToken, now: Timestamp, every: Duration) -> Reply<()> {
        self.0.shared.catalog.note_token_use(token, now, every)
    }

    /// Records an invitation, for a door that has no command line beside it.
    pub fn invite(&self, new: NewInvitation) -> Reply<()> {
        self.0.shared.catalog.invite(new)
    }

    /// The tokens of a user, for a door that has no command line beside it. A row that does not read is
    /// an error in its place.
    pub fn tokens(&self, of: UserId) -> Reply<Vec<Result<TokenRow, CatalogError>>> {
        self.0.shared.catalog.tokens(Some(of))
    }

    /// The invitation with that secret, for a door that exchanges the secret for a token.
    pub fn invitation(&self, secret: JoinHash) -> Reply<Option<Invitation>> {
        self.0.shared.catalog.invitation(secret, self.clock().now())
    }

    /// Uses an invitation up and records the token of its client, in one transaction. `None` where
    /// the invitation is not good, or no longer.
    pub fn accept_invitation(&self, secret: JoinHash, token: IssuedToken) -> Reply<Option<User>> {
        self.0.shared.catalog.accept_invitation(secret, token, self.clock().now())
    }

    /// Adds a user with the next free number, for a door that has no command line beside it. The
    /// answer can be waited for and polled.
    pub fn add_user(&self, name: impl Into<String>) -> Reply<User> {
        self.0.shared.catalog.add_user(name, None, self.clock().now())
    }

    /// Waits until the lock file has lost its name: then another engine could begin to work on
    /// the same folder, and this one must end. Cancel-safe: it changes nothing.
    pub async fn lock_removed(&self) {
        let lock = &self.0.shared.lock;
        let mut looks = tokio::time::interval(LOCK_LOOKS);
        loop {
            looks.tick().await;
            if !lock.has_its_name() {
                tracing::error!(path = %lock.path().display(), "the lock file was removed");
                return;
            }
        }
    }

    /// The folder of the keys, beside the documents in the data folder.
    #[must_use]
    pub fn keys_path(&self) -> PathBuf {
        self.0.shared.lock.folder().keys_path()
    }

    /// The lock file.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.0.shared.lock.path()
    }

    /// Tells all work that takes long that the engine is to end. To be called before the sessions
    /// are closed.
    pub fn begin_shut_down(&self) {
        self.0.shared.stopping.cancel();
    }

    /// Ends the engine: all uploads are paused and made durable, the state file is written and the
    /// catalog closed. The sessions are to be closed before; their threads are waited for until
    /// `deadline`. Not cancel-safe: after a shut-down that was dropped, the next start puts the
    /// store in order.
    ///
    /// # Errors
    /// Where the catalog cannot be closed, or a thread has panicked. Nothing durable is lost.
    pub async fn shut_down(self, deadline: Instant) -> Result<(), ShutdownError> {
        self.begin_shut_down();
        let shared = &self.0.shared;
        shared.tracker.close();
        // Sessions pause their uploads, and wait for the checkpoints that make their bytes durable.
        if timeout_at(deadline, shared.tracker.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time; what is durable is kept");
        }
        // A session does not wait for an upload that its writer has let go of before the end, so
        // this flush makes such uploads durable.
        let last = Instant::now() + LAST_CHECKPOINT;
        let _ = timeout_at(last, shared.checkpoints.flush()).await;
        for task in self.0.take_tasks() {
            task.abort();
            // Waits until the task has dropped its share of the data folder.
            let _ = task.await;
        }
        let _ = timeout_at(last, shared.tracker.wait()).await;
        // Documents that have their names and are not durable yet: else the next start has to read
        // them.
        let here = Arc::clone(shared);
        let synced = tokio::task::spawn_blocking(move || deferred::sync_deferred(&here));
        if timeout_at(deadline, synced).await.is_err() {
            tracing::warn!("the disk is slow: the next start reads what is not durable yet");
        }
        let here = Arc::clone(shared);
        let closed = tokio::task::spawn_blocking(move || close(&here));
        match timeout(LAST_WRITES, closed).await {
            Ok(closed) => closed.map_err(|_| ShutdownError::Panicked)??,
            // All promises are in the catalog already, whether or not it was closed in good order.
            Err(_) => tracing::warn!("the disk is slow: the state file may not say the last of it"),
        }
        Ok(())
    }
}

/// Whether documents that are completed while a store is put in order wait for a scan.
enum Scans {
    /// Where a scanner is configured.
    AsConfigured,
    /// Where the store has had one: a command that works without a server knows of no scanner, and
    /// must not give out what a server would scan.
    AsBefore,
}

/// Opens the data folder and puts in order what an earlier run left (P4). Nothing runs in the
/// background yet. Blocks.
fn put_in_order(
    mut config: EngineConfig,
    scans: Scans,
    storage: impl FnOnce(&FolderLock, &mut EngineConfig) -> Arc<dyn Storage>,
) -> Result<Arc<Shared>, OpenError> {
    // Before anything is made: a disk that is not mounted must not become a store (P1).
    identity::check_for_server(&config)?;
    LooseRights::refuse(strict_modes::look(&config.data_dir)?, config.strict_modes)?;
    let folder = DataFolder::open(&config.data_dir)?;
    let lock = folder.lock()?;
    // Once more under the lock: another server may have taken the folder in between.
    identity::check_for_server(&config)?;
    let storage = storage(&lock, &mut config);
    // The first look came before anything was made. Another user may have changed rights since.
    let faults = strict_modes::look(folder.path())?;
    LooseRights::refuse(faults.clone(), config.strict_modes)?;
    for fault in faults {
        tracing::warn!("{fault}");
    }
    let state_file = StateFile::at(folder.state_file_path());
    let tracker = TaskTracker::new();
    let buffers = BufferPool::new(config.limits.buffers);
    let catalog = Catalog::open(folder.catalog_path())?;
    catalog.set_default_quota(config.limits.quota);
    let scans = match scans {
        Scans::AsConfigured => config.scanning.is_some(),
        Scans::AsBefore => catalog.has_scanned().wait()?,
    };
    catalog.scan_what_completes(scans);
    let shared = Arc::new(Shared {
        catalog,
        storage,
        registry: Registry::default(),
        places: PlaceLocks::default(),
        notifier: ChangeNotifier::default(),
        checkpoints: CheckpointQueue::new(Pace::of(config.durability, config.timings)),
        deferred: DeferredQueue::new(config.durability),
        jobs: JobSignal::default(),
        state_copy: StateFileCopy::new(state_file, Catalog::open_to_look(folder.catalog_path())?),
        summary: Arc::new(Summary::default()),
        metrics: Metrics::default(),
        ended_uploads: EndedUploads::default(),
        written_history: WrittenHistory::default(),
        clock_trust: ClockTrust::new(config.clock.clone(), config.expire_after),
        read_share: ReadShare::new(&buffers, config.limits.buffers),
        buffers,
        pending: Arc::default(),
        volume_copies: Arc::default(),
        large_reads: Arc::new(Semaphore::new(LARGE_READS_MAX)),
        core_shares: CoreShares::of_machine(),
        loans: Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from))),
        tracker,
        stopping: CancellationToken::new(),
        config,
        lock,
    });
    // The folder of a later version of Towline is refused here, before anything in it is
    // changed.
    state_file_copy::check(&shared)
        .map_err(|error: StateCopyError| OpenError::StateFile(Box::new(error)))?;
    let adopt = shared.config.adopt_folders;
    identity::mark(&folder, &shared.catalog, adopt, shared.clock().now())?;
    // This comes before recovery gives any number: an older catalog would give numbers that were
    // given before.
    history::check(&shared)?;
    recovery::recover(&shared).map_err(|error: Error| OpenError::Recovery(Box::new(error)))?;
    Ok(shared)
}

/// Opens the data folder for work that no client asks for: nothing runs in the background, and no
/// new store is made. The caller ends the work with [`close`]. Blocks.
pub(crate) fn open_for_work(mut config: EngineConfig) -> Result<Arc<Shared>, OpenError> {
    config.require_store = true;
    put_in_order(config, Scans::AsBefore, disk_storage)
}

/// The data folder as the store of its documents. Where its disk cannot defer a sync,
/// durability is not relaxed.
fn disk_storage(lock: &FolderLock, config: &mut EngineConfig) -> Arc<dyn Storage> {
    if config.durability == Durability::Relaxed && !DiskStorage::can_defer_sync(lock) {
        tracing::warn!(
            "durability cannot be relaxed here: it takes Linux 5.8 and a local file system \
             (ext4, XFS, btrfs, F2FS); SUCCESS waits for the disk"
        );
        config.durability = Durability::Durable;
    }
    Arc::new(match config.durability {
        Durability::Durable => DiskStorage::new(lock, config.reserve_bytes),
        Durability::Relaxed => DiskStorage::unpaced(lock, config.reserve_bytes),
    })
}

/// The last writes: state file, then catalog. Blocks.
pub(crate) fn close(shared: &Shared) -> Result<(), ShutdownError> {
    // The state file is a copy that decides nothing: a stop without it is still in good order.
    if let Err(error) = state_file_copy::write(shared) {
        let error = log::chain(&error);
        tracing::warn!(
            error,
            "the state file could not be written at the end; nothing depends on it"
        );
    }
    history::write(shared);
    // This connection is closed first, because the last one to be closed copies the journal back
    // into the file of the catalog.
    let looked = shared.state_copy.close();
    shared.catalog.close().wait()?;
    Ok(looked?)
}
