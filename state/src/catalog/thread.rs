//! The thread that owns the connection that writes, and its group commit.

use super::error::CatalogError;
use super::lookup::{Looker, Share};
use super::store::Store;
use rusqlite::Connection;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// How many jobs share a transaction at most: enough to make the sync cheap,
/// few enough that another process soon gets its turn.
const GROUP_JOBS: usize = 256;

/// What the thread is asked to do.
pub(super) enum Job {
    /// For the thread that writes: it sees what was asked for before it.
    Read(Box<dyn Task>),
    /// For the thread that looks things up.
    Look(Share, Box<dyn Task>),
    Write(Box<dyn Task>),
    Close(oneshot::Sender<Result<(), CatalogError>>),
}

/// A job without its types: it is run, and answered once its fate is known.
pub(super) trait Task: Send {
    /// Does the work and keeps its result. An error means that it must be undone.
    fn run(&mut self, connection: &Connection) -> Result<(), CatalogError>;

    /// Answers with the result; with the error where the whole group failed.
    fn answer(self: Box<Self>, group: Result<(), CatalogError>);
}

/// A job with its types.
pub(super) struct Work<T, F> {
    work: Option<F>,
    result: Result<T, CatalogError>,
    answer: oneshot::Sender<Result<T, CatalogError>>,
}

impl<T, F> Work<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, CatalogError> + Send + 'static,
{
    #[expect(clippy::new_ret_no_self, reason = "nobody needs the type, only what it can do")]
    pub(super) fn new(work: F, answer: oneshot::Sender<Result<T, CatalogError>>) -> Box<dyn Task> {
        Box::new(Self { work: Some(work), result: Err(CatalogError::Closed), answer })
    }
}

impl<T, F> Task for Work<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, CatalogError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), CatalogError> {
        if let Some(work) = self.work.take() {
            self.result = work(connection);
        }
        self.result.as_ref().map(drop).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, group: Result<(), CatalogError>) {
        // Whoever asked may have gone; the work is done all the same.
        let _ = self.answer.send(group.and(self.result));
    }
}

/// What the catalog has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Calls carried out, refused ones included.
    pub jobs: u64,
    /// Write transactions that were committed.
    pub transactions: u64,
}

/// What the handles see of the thread.
#[derive(Debug)]
pub(super) struct Shared {
    jobs: AtomicU64,
    transactions: AtomicU64,
    read_only: AtomicBool,
    /// The highest number that a document has had, or may have soon.
    last_document: AtomicI64,
    /// Which store this is.
    store: Store,
}

impl Shared {
    pub(super) fn new(last_document: i64, store: Store) -> Self {
        Self {
            jobs: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            read_only: AtomicBool::new(false),
            last_document: AtomicI64::new(last_document),
            store,
        }
    }

    pub(super) fn store(&self) -> Store {
        self.store
    }

    /// A number that no document has had.
    pub(super) fn next_document(&self) -> i64 {
        // Behind the last number of all come negative ones, which no row can have.
        self.last_document.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    fn count_job(&self) {
        self.jobs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            jobs: self.jobs.load(Ordering::Relaxed),
            transactions: self.transactions.load(Ordering::Relaxed),
        }
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }
}

/// Starts the thread.
pub(super) fn start(
    connection: Connection,
    jobs: mpsc::Receiver<Job>,
    looker: Option<Looker>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    std::thread::Builder::new()
        .name("catalog".to_owned())
        .spawn(move || Owner { connection, shared }.serve(jobs, looker))
        .map(drop)
}

/// Runs looks. Many share a transaction, which takes the file's locks once for all.
pub(super) fn read(
    connection: &Connection,
    shared: &Shared,
    reads: Vec<Box<dyn Task>>,
) -> Result<(), CatalogError> {
    let together = reads.len() > 1 && execute(connection, "BEGIN").is_ok();
    for mut task in reads {
        // The result is with the task.
        let _ = task.run(connection);
        shared.count_job();
        task.answer(Ok(()));
    }
    // Some failures have ended it already.
    if together && !connection.is_autocommit() {
        execute(connection, "COMMIT")?;
    }
    Ok(())
}

fn execute(connection: &Connection, sql: &'static str) -> Result<(), CatalogError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

struct Owner {
    connection: Connection,
    shared: Arc<Shared>,
}

impl Owner {
    fn serve(self, mut queue: mpsc::Receiver<Job>, looker: Option<Looker>) {
        let mut group = Vec::with_capacity(GROUP_JOBS);
        let mut closers = Vec::new();
        while queue.blocking_recv_many(&mut group, GROUP_JOBS) > 0 {
            let mut reads = Vec::new();
            let mut writes = Vec::new();
            for job in group.drain(..) {
                match job {
                    // A catalog that is only looked at has no other thread.
                    Job::Read(task) | Job::Look(_, task) => reads.push(task),
                    Job::Write(task) => writes.push(task),
                    Job::Close(closer) => {
                        queue.close();
                        closers.push(closer);
                    }
                }
            }
            // Reads last: they then see every write that was asked for before
            // them, and only what is committed.
            self.write(writes);
            if let Err(error) = read(&self.connection, &self.shared, reads) {
                self.undo(&error);
            }
        }
        // Its connection first: the last one to be closed clears the journal away.
        if let Some(looker) = looker {
            looker.close();
        }
        let closed = self.connection.close().map_err(|(_, error)| CatalogError::from(error));
        if let Err(error) = &closed {
            tracing::warn!(%error, "the catalog did not close cleanly; nothing promised is lost");
        }
        for closer in closers {
            let _ = closer.send(closed.clone());
        }
    }

    fn write(&self, mut writes: Vec<Box<dyn Task>>) {
        if writes.is_empty() {
            return;
        }
        let outcome = if self.shared.is_read_only() {
            Err(CatalogError::ReadOnly)
        } else {
            self.commit(&mut writes)
        };
        if let Err(error) = &outcome {
            self.undo(error);
        }
        for task in writes {
            self.shared.count_job();
            task.answer(outcome.clone());
        }
    }

    /// Runs the writes in one transaction, each in its own savepoint.
    fn commit(&self, writes: &mut [Box<dyn Task>]) -> Result<(), CatalogError> {
        execute(&self.connection, "BEGIN IMMEDIATE")?;
        for task in writes {
            execute(&self.connection, "SAVEPOINT job")?;
            match task.run(&self.connection) {
                Ok(()) => {}
                Err(error) if error.dooms_the_group() => return Err(error),
                // Some failures make SQLite roll back everything by itself: the
                // work of the neighbours is gone with it.
                Err(error) if self.connection.is_autocommit() => return Err(error),
                Err(_) => execute(&self.connection, "ROLLBACK TO job")?,
            }
            execute(&self.connection, "RELEASE job")?;
        }
        self.connection
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute([]))
            .map_err(CatalogError::of_commit)?;
        self.shared.transactions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves no transaction open behind a failed group, and latches where the
    /// storage cannot be trusted any more.
    fn undo(&self, error: &CatalogError) {
        if let CatalogError::Storage(source) = error {
            self.shared.read_only.store(true, Ordering::Relaxed);
            tracing::error!(error = %source, "the catalog's storage failed; read-only until restart");
        }
        if !self.connection.is_autocommit()
            && let Err(error) = execute(&self.connection, "ROLLBACK")
        {
            // A transaction that can be neither kept nor undone blocks every other.
            self.shared.read_only.store(true, Ordering::Relaxed);
            tracing::error!(%error, "the catalog cannot roll back; read-only until restart");
        }
    }
}
