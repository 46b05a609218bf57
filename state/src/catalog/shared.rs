//! What the handles and the threads of a catalog have in common.

use super::error::CatalogError;
use super::folder::FolderCache;
use super::job::Task;
use super::quota::DefaultQuota;
use super::store::Store;
use rusqlite::Connection;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

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
    pub(super) transactions: AtomicU64,
    pub(super) read_only: AtomicBool,
    /// The highest number that a document has had, or may have soon.
    last_document: AtomicI64,
    /// Which store this is.
    store: Store,
    /// Of the thread that writes.
    pub(super) folders: FolderCache,
    pub(super) default_quota: DefaultQuota,
    /// Documents wait for a scan from their completion on.
    pub(super) scans: AtomicBool,
}

impl Shared {
    pub(super) fn new(last_document: i64, store: Store) -> Self {
        Self {
            jobs: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            read_only: AtomicBool::new(false),
            last_document: AtomicI64::new(last_document),
            store,
            folders: FolderCache::default(),
            default_quota: DefaultQuota::default(),
            scans: AtomicBool::new(false),
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

    /// Makes the next number of a document larger than this one.
    pub(super) fn skip_documents(&self, last: i64) {
        self.last_document.fetch_max(last, Ordering::Relaxed);
    }

    pub(super) fn count_job(&self) {
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

/// Runs looks, together in a transaction: each sees the catalog as it is at one moment, also with
/// more than one statement, and the file's locks are taken once for all.
pub(super) fn read(
    connection: &Connection,
    shared: &Shared,
    reads: Vec<Box<dyn Task>>,
) -> Result<(), CatalogError> {
    let together = !reads.is_empty() && execute(connection, "BEGIN").is_ok();
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

/// Executes a statement without parameters and without an answer.
pub(super) fn execute(connection: &Connection, sql: &'static str) -> Result<(), CatalogError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
