//! The catalog: the SQLite database that holds all that is promised to clients,
//! and the only authority about it. Only the files under `catalog/` and
//! `migrations/` contain SQL; `FORMAT.md` describes the tables.
//!
//! # How calls travel
//!
//! One thread owns the connection that writes. A call puts a job into that thread's
//! bounded queue and hands back a [`Reply`], to be awaited in async code or
//! waited for on a blocking thread. The thread takes whatever is queued and runs
//! all writes of such a group in *one* transaction, so that a hundred calls cost
//! one sync of the disk and not a hundred. Each call has its own savepoint: one
//! that is refused is undone alone. Nobody is answered before the commit.
//!
//! A second thread has a connection that changes nothing, for what must not wait for
//! writes: logins, and questions about documents. It sees all that was answered before it
//! is asked; what was only asked for, it may not see yet.
//!
//! Every query has a limit, or asks for a page, or says why it needs neither: what a
//! user can make many of must not be read all at once.
//!
//! # When the storage fails
//!
//! After a failure of the storage below (not after contention, refusals or a
//! full disk) nothing that was written can be believed to be there on a second
//! try, so writes are refused with [`CatalogError::ReadOnly`] until the process
//! starts anew. Reads go on.

mod availability;
mod availability_column;
mod backup;
mod block_pages;
mod blocks;
mod cancellations;
mod change;
mod change_log;
mod checkpoint;
mod completed_duplicates;
mod connection;
mod cursor;
mod description;
mod document;
mod documents;
mod durable;
mod ended_uploads;
mod ending;
mod error;
mod file_stamp;
mod find;
mod folder;
mod forgotten_upload;
mod found_in_trash;
mod history;
mod inventory;
mod job;
mod joins;
mod listing;
mod locate;
mod lookup;
mod making;
mod migration_functions;
mod moves;
mod names_in_use;
mod needless;
mod node;
mod node_row;
mod node_wish;
mod numbered_name;
mod peek;
mod place;
mod publish;
mod quarantine;
mod quota;
mod reply;
mod reservation;
mod retention;
mod row;
mod scan_jobs;
mod schema;
mod settle;
mod shared;
mod store;
mod thread;
mod tokens;
mod trash;
mod unfinished;
mod unseen;
mod usage;
mod users;
mod verdict;
mod versions;
mod waiting;

pub use availability::Availability;
pub use backup::{back_up, put_back};
pub use block_pages::BLOCKS_PER_PAGE;
pub use cancellations::CancelledBy;
pub use change::{Change, Changed, Op};
pub use change_log::Delta;
pub use checkpoint::Checkpoint;
pub use cursor::{BadCursor, Cursor, LogHead};
pub use description::{Description, METADATA_BYTES, TAG_BYTES, TAGS_MAX};
pub use document::{Bytes, Document, FileStamp, NewDocument, OnConflict};
pub use durable::DurableOffset;
pub use ended_uploads::EndedKept;
pub use error::{CatalogError, QuotaKind, Refusal, ResetReason};
pub use find::Found;
pub use history::History;
pub use joins::{Invitation, NewInvitation};
pub use listing::{BadPosition, Depth, ListEntry, ListPage, ListPosition};
pub use locate::{Located, NodeRef};
pub use making::Made;
pub use moves::{Move, RemovalGuard, Spot};
pub use needless::{Created, Unless};
pub use node::{Node, NodeVersion, PAGE_TEXT_BYTES};
pub use node_wish::NodeWish;
pub use peek::Peek;
pub use place::Kept;
pub use quarantine::Held;
pub use quota::{OwnLimit, OwnQuota, Quota, UserShare};
pub use reply::Reply;
pub use retention::Retention;
pub use scan_jobs::{
    DEATHS_MAX, DeadWorkers, Death, JobKind, LeasedJob, NewLease, OpenJobs, ScanRecord,
};
pub use shared::Counters;
pub use store::Store;
pub use tokens::{IssuedToken, Standing, TokenRow};
pub use towline_upload::Length;
pub use trash::{ExpiredTrash, TrashEntry, TrashPage, TrashPosition};
pub use unfinished::{Unfinished, UnfinishedPage};
pub use unseen::Unseen;
pub use usage::{Sum, Usage};
pub use users::{User, UserRef};
pub use verdict::{ScanOutcome, ScanVerdict};
pub use versions::{ExpiredVersions, FileVersion, VersionPage};

use job::{Job, Share, Work};
use lookup::Looker;
use rusqlite::Connection;
use shared::Shared;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many calls may wait in the queue. A call beyond that waits in its
/// [`Reply`], so a slow disk slows its callers and memory stays bounded.
const QUEUE_JOBS: usize = 1024;

/// A handle on the catalog; clones share its threads and connections. When the
/// last is dropped the threads finish what is queued and close the database.
#[derive(Debug, Clone)]
pub struct Catalog {
    queue: mpsc::Sender<Job>,
    /// Of the thread that looks things up; the same where there is but one.
    looks: mpsc::Sender<Job>,
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
        let connection = connection::open(path)?;
        let beside = connection::open_beside(path)?;
        Self::over(connection, Some(beside), path)
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
        Self::over(connection::open_to_look(path)?, None, path)
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

    fn over(
        connection: Connection,
        beside: Option<Connection>,
        path: &Path,
    ) -> Result<Self, CatalogError> {
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS);
        let shared =
            Arc::new(Shared::new(documents::last_number(&connection)?, store::read(&connection)?));
        let failed = |source| CatalogError::Io {
            action: "start the threads of",
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let (mut looks, mut looker) = (queue.clone(), None);
        if let Some(beside) = beside {
            let (sender, receiver) = mpsc::channel(QUEUE_JOBS);
            looks = sender.clone();
            let started = Looker::start(beside, sender, receiver, Arc::clone(&shared));
            looker = Some(started.map_err(failed)?);
        }
        thread::start(connection, jobs, looker, Arc::clone(&shared)).map_err(failed)?;
        Ok(Self { queue, looks, shared })
    }

    /// Queues a job that looks and changes nothing, and need not see what was asked for
    /// and not answered yet.
    fn look<T: Send + 'static>(
        &self,
        share: Share,
        work: impl FnOnce(&Connection) -> Result<T, CatalogError> + Send + 'static,
    ) -> Reply<T> {
        let (answer, reply) = oneshot::channel();
        Reply::new(&self.looks, Job::Look(share, Work::new(work, answer)), reply)
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
