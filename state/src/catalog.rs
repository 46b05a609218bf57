//! The catalog: the SQLite database that holds all that is promised to clients,
//! and the only authority about it. Only the files under `catalog/` and
//! `migrations/` contain SQL; `FORMAT.md` describes the tables.
//!
//! # How calls travel
//!
//! One thread owns the only connection. A call puts a job into that thread's
//! bounded queue and hands back a [`Reply`], to be awaited in async code or
//! waited for on a blocking thread. The thread takes whatever is queued and runs
//! all writes of such a group in *one* transaction, so that a hundred calls cost
//! one sync of the disk and not a hundred. Each call has its own savepoint: one
//! that is refused is undone alone. Nobody is answered before the commit.
//!
//! # When the storage fails
//!
//! After a failure of the storage below (not after contention, refusals or a
//! full disk) nothing that was written can be believed to be there on a second
//! try, so writes are refused with [`CatalogError::ReadOnly`] until the process
//! starts anew. Reads go on.

mod blocks;
mod checkpoint;
mod connection;
mod document;
mod documents;
mod ending;
mod error;
mod found;
mod inventory;
mod publish;
mod reply;
mod row;
mod schema;
mod store;
mod thread;
mod unfinished;
mod users;

pub use checkpoint::Checkpoint;
pub use document::{Bytes, Document, FileStamp, NewDocument, OnConflict};
pub use documents::{Created, Unless};
pub use error::{CatalogError, Refusal};
pub use found::Found;
pub use reply::Reply;
pub use store::Store;
pub use thread::Counters;
pub use unfinished::Unfinished;
pub use users::User;

use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use thread::{Job, Shared, Work};
use tokio::sync::{mpsc, oneshot};

/// How many calls may wait in the queue. A call beyond that waits in its
/// [`Reply`], so a slow disk slows its callers and memory stays bounded.
const QUEUE_JOBS: usize = 1024;

/// A handle on the catalog; clones share one thread and one connection. When the
/// last is dropped the thread finishes what is queued and closes the database.
#[derive(Debug, Clone)]
pub struct Catalog {
    queue: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

impl Catalog {
    /// Opens the catalog at `path`, makes it where there is none, and brings its
    /// schema up to date. Blocks: call it before serving, or off the async threads.
    ///
    /// # Errors
    /// Where the file cannot be opened or made, is of a
    /// [newer schema](CatalogError::NewerSchema), or SQLite is
    /// [too old](CatalogError::TooOldSqlite) to be trusted.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CatalogError> {
        let path = path.as_ref();
        Self::over(connection::open(path)?, path)
    }

    /// Opens a catalog that is there to look at it, beside the server whose it may
    /// be. Nothing is made or changed, also not by closing it; what would change
    /// something is refused by SQLite. Blocks.
    ///
    /// # Errors
    /// As [`open`](Self::open); and [`CatalogError::NotThere`],
    /// [`CatalogError::OlderSchema`].
    pub fn open_to_look(path: impl AsRef<Path>) -> Result<Self, CatalogError> {
        let path = path.as_ref();
        Self::over(connection::open_to_look(path)?, path)
    }

    /// Finishes what is queued and closes the database; later calls on any
    /// handle are answered with [`CatalogError::Closed`]. The reply comes when
    /// the file is closed.
    pub fn close(&self) -> Reply<()> {
        let (answer, reply) = oneshot::channel();
        Reply::new(&self.queue, Job::Close(answer), reply)
    }

    /// How much the catalog has done since it was opened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// Whether a failure of the storage has ended all writing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.shared.is_read_only()
    }

    fn over(connection: Connection, path: &Path) -> Result<Self, CatalogError> {
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS);
        let shared =
            Arc::new(Shared::new(documents::last_number(&connection)?, store::read(&connection)?));
        thread::start(connection, jobs, Arc::clone(&shared)).map_err(|source| {
            let source = Arc::new(source);
            CatalogError::Io { action: "start the thread of", path: path.to_owned(), source }
        })?;
        Ok(Self { queue, shared })
    }

    /// Queues a job that looks and changes nothing.
    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, CatalogError> + Send + 'static,
    ) -> Reply<T> {
        let (answer, reply) = oneshot::channel();
        Reply::new(&self.queue, Job::Read(Work::new(work, answer)), reply)
    }

    /// Queues a job that may change something. Whatever it did is undone where it
    /// returns an error.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, CatalogError> + Send + 'static,
    ) -> Reply<T> {
        let (answer, reply) = oneshot::channel();
        Reply::new(&self.queue, Job::Write(Work::new(work, answer)), reply)
    }
}
