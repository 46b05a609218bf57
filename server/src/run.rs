//! A server from start to stop.

use crate::calendar::Calendar;
use crate::channel::COPIES_MAX;
use crate::checkpoint::{self, Checkpoints};
use crate::failure::Failure;
use crate::identity::{self, IdentityError};
use crate::lane::Crew;
use crate::log::{self, Summary};
use crate::mirror::{self, Mirror, MirrorError};
use crate::moving;
use crate::pool::Pool;
use crate::registry::Registry;
use crate::service::Service;
use crate::settling::{self, Settling};
use crate::storage::{DataFolder, DiskStorage, FolderError, StorageError};
use crate::token::{KeyError, Tokens};
use crate::{Config, Durability, expiry, listener, recovery};
use std::future::Future;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towline_state::catalog::{Catalog, CatalogError};
use towline_state::state_file::StateFile;

/// Why a server did not start, or did not stop as it should.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The data folder is not the whole store.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The storage in it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The catalog in it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The key in it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What a crash left could not be put in order.
    #[error("what an earlier run left could not be put in order")]
    Recovery(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The state file.
    #[error("the state file could not be written")]
    StateFile(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The lock file was removed: a second server could have begun to work beside this one.
    #[error(
        "the lock file {} was removed, so the server has stopped: it must be alone in its data \
         folder. What is durable is kept; start it again",
        path.display()
    )]
    LockRemoved {
        /// The lock file.
        path: std::path::PathBuf,
    },
    /// A part of the server has panicked.
    #[error("a part of the server has panicked")]
    Panicked,
}

/// A server that has put everything in order and can take connections.
pub struct Server {
    service: Arc<Service>,
}

/// So long the last checkpoint may take, and the threads that are not through with it.
const LAST_CHECKPOINT: Duration = Duration::from_millis(1500);

/// So long state file and catalog may take to be closed. With the time for connections, that
/// for the last checkpoint and the one for threads that hang, it is less than the ten seconds
/// after which a service manager kills.
const LAST_WRITES: Duration = Duration::from_millis(1500);

/// Serves on the listener until `shutdown` is ready, then stops in order: no more
/// connections, every upload paused and durable, the state file written.
///
/// # Errors
/// Where the server cannot start. Once it serves, only a failure to write down
/// what it knows at the end is an error.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    Server::open(config).await?.serve(listener, shutdown).await
}

impl Server {
    /// Opens the data folder and puts in order what an earlier run left.
    ///
    /// # Errors
    /// Where that cannot be done, or another server has the folder.
    pub async fn open(config: Config) -> Result<Self, RunError> {
        let opening = tokio::task::spawn_blocking(move || open(config));
        Ok(Self { service: opening.await.map_err(|_| RunError::Panicked)?? })
    }

    /// Serves; see [`run`].
    ///
    /// # Errors
    /// Where what is known at the end cannot be written down.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let service = &self.service;
        let helpers = [
            tokio::spawn(checkpoint::run(Arc::clone(service))),
            tokio::spawn(settling::run(Arc::clone(service))),
            tokio::spawn(moving::run(Arc::clone(service))),
            tokio::spawn(mirror::run(Arc::clone(service))),
            tokio::spawn(expiry::run(Arc::clone(service))),
            tokio::spawn(log::run(Arc::clone(service))),
        ];
        service.mirror.changed();
        let door = tokio::spawn(listener::run(listener, Arc::clone(service)));
        let is_alone = tokio::select! {
            () = shutdown => true,
            () = lock_removed(service) => false,
        };
        tracing::info!("stopping");
        service.stopping.cancel();
        let enough = Instant::now() + service.config.timings.stop;
        let _ = door.await;
        service.tracker.close();
        // Connections pause their uploads, and the checkpoints that they wait for
        // make durable what came.
        if timeout_at(enough, service.tracker.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time; what is durable is kept");
        }
        // What was paused on a channel a moment ago has nobody else to wait for it.
        let last = Instant::now() + LAST_CHECKPOINT;
        let _ = timeout_at(last, service.checkpoints.now()).await;
        for helper in helpers {
            helper.abort();
            // Until it has let go of the data folder.
            let _ = helper.await;
        }
        let _ = timeout_at(last, service.tracker.wait()).await;
        // What has its name and is not durable: the next start would have to read it.
        let here = Arc::clone(service);
        let settled = tokio::task::spawn_blocking(move || settling::settle(&here));
        if timeout_at(enough, settled).await.is_err() {
            tracing::warn!("the disk is slow: the next start reads what is not durable yet");
        }
        let path = service.lock.path();
        let closed = tokio::task::spawn_blocking(move || self.close());
        match timeout(LAST_WRITES, closed).await {
            Ok(closed) => closed.map_err(|_| RunError::Panicked)??,
            // What was promised is in the catalog already, closed in good order or not.
            Err(_) => tracing::warn!("the disk is slow: the state file may not say the last of it"),
        }
        if is_alone { Ok(()) } else { Err(RunError::LockRemoved { path }) }
    }

    /// The last words: state file, then catalog. Blocks.
    fn close(self) -> Result<(), RunError> {
        // The copy decides nothing: a stop without it is a stop in good order.
        if let Err(error) = mirror::write(&self.service) {
            let error = log::chain(&error);
            tracing::warn!(
                error,
                "the state file could not be written at the end; nothing depends on it"
            );
        }
        // The last connection brings the journal back into the catalog.
        let looked = self.service.mirror.close();
        self.service.catalog.close().wait()?;
        looked.map_err(RunError::Catalog)
    }
}

/// The time between two looks at the lock file.
const LOCK_LOOKS: Duration = Duration::from_secs(1);

/// Waits until the lock file has lost its name.
async fn lock_removed(service: &Service) {
    let mut looks = tokio::time::interval(LOCK_LOOKS);
    loop {
        looks.tick().await;
        if !service.lock.has_its_name() {
            tracing::error!(path = %service.lock.path().display(), "the lock file was removed");
            return;
        }
    }
}

/// Opens everything and puts it in order. Blocks.
fn open(mut config: Config) -> Result<Arc<Service>, RunError> {
    // A connection costs one, a paused upload another, and publishing a few more.
    let descriptors = usize::try_from(raise_descriptor_limit()).unwrap_or(usize::MAX);
    config.limits.connections = config.limits.connections.min(descriptors / 2);
    config.limits.paused_kept_open = config.limits.paused_kept_open.min(descriptors / 8);
    // Before anything is made: a disk that is not mounted must not become a store (P1).
    identity::check_for_server(&config)?;
    let folder = DataFolder::open(&config.data_dir)?;
    let lock = folder.lock()?;
    // And under the lock, for the folder may be another server's by now.
    identity::check_for_server(&config)?;
    if config.durability == Durability::Relaxed && !DiskStorage::can_settle_together(&lock) {
        tracing::warn!(
            "durability cannot be relaxed here: it takes Linux 5.8 and a local file system (ext4, \
             XFS, btrfs, F2FS); SUCCESS waits for the disk"
        );
        config.durability = Durability::Durable;
    }
    let storage = match config.durability {
        Durability::Durable => DiskStorage::new(&lock, config.reserve_bytes),
        Durability::Relaxed => DiskStorage::unpaced(&lock, config.reserve_bytes),
    };
    crate::rights::warn(folder.path(), &folder.keys_path());
    let state_file = StateFile::at(folder.state_file_path());
    let catalog = Catalog::open(folder.catalog_path())?;
    let tokens = Tokens::open(&folder.keys_path(), &catalog.store(), config.clock.clone())?;
    let tracker = TaskTracker::new();
    let service = Arc::new(Service {
        catalog,
        storage: Arc::new(storage),
        tokens,
        registry: Registry::default(),
        checkpoints: Checkpoints::new(config.durability),
        settling: Settling::new(config.durability),
        mirror: Mirror::new(state_file, Catalog::open_to_look(folder.catalog_path())?),
        summary: Summary::default(),
        calendar: Calendar::new(config.clock.clone(), config.patience),
        pool: Pool::new(config.limits.buffers),
        newborns: Arc::default(),
        moving: Arc::default(),
        crew: Crew::new(tracker.clone()),
        copies: Arc::new(Semaphore::new(COPIES_MAX)),
        taps: Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from))),
        tracker,
        stopping: CancellationToken::new(),
        config,
        lock,
    });
    // A later Towline's folder is left alone before anything in it is changed.
    mirror::check(&service).map_err(|error: MirrorError| RunError::StateFile(Box::new(error)))?;
    let adopt = service.config.adopt_folders;
    identity::mark(&folder, &service.catalog, adopt, service.clock().now())?;
    recovery::recover(&service).map_err(|error: Failure| RunError::Recovery(Box::new(error)))?;
    Ok(service)
}

/// One descriptor for each connection and each upload: the soft limit of 1,024
/// is for programs that use `select`. Says what the limit is now.
fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::debug!(%error, "the limit of descriptors stays as it is");
            limit.current.unwrap_or(u64::MAX)
        }
    }
}
