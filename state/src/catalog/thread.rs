//! The thread that owns the connection that writes, and its group commit.

use super::error::CatalogError;
use super::job::{Job, Task};
use super::lookup::Looker;
use super::shared::{Shared, execute, read};
use rusqlite::Connection;
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// How many jobs share a transaction at most: enough to make the sync cheap,
/// few enough that another process soon gets its turn.
const GROUP_JOBS: usize = 256;

/// Starts the thread.
pub(super) fn start(
    connection: Connection,
    jobs: mpsc::Receiver<Job>,
    looker: Option<Looker>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    std::thread::Builder::new()
        .name("catalog".to_owned())
        .spawn(move || Owner { connection, shared, data_version: Cell::new(0) }.serve(jobs, looker))
        .map(drop)
}

struct Owner {
    connection: Connection,
    shared: Arc<Shared>,
    /// Another one where another connection has changed the database.
    data_version: Cell<i64>,
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
        self.forget_what_others_changed()?;
        for task in writes {
            execute(&self.connection, "SAVEPOINT job")?;
            match task.run(&self.connection) {
                Ok(()) => {}
                Err(error) if error.dooms_the_group() => return Err(error),
                // Some failures make SQLite roll back everything by itself: the
                // work of the neighbours is gone with it.
                Err(error) if self.connection.is_autocommit() => return Err(error),
                Err(_) => {
                    // It may know folders that are undone with the job.
                    self.shared.folders.clear();
                    execute(&self.connection, "ROLLBACK TO job")?;
                }
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

    /// Clears the cache of folders where another connection has changed the database since the
    /// last transaction of this one.
    fn forget_what_others_changed(&self) -> Result<(), CatalogError> {
        let mut statement = self.connection.prepare_cached("PRAGMA data_version")?;
        let version: i64 = statement.query_row([], |row| row.get(0))?;
        if self.data_version.replace(version) != version {
            self.shared.folders.clear();
        }
        Ok(())
    }

    /// Leaves no transaction open after a failed group, and latches where the
    /// storage cannot be trusted any more.
    fn undo(&self, error: &CatalogError) {
        self.shared.folders.clear();
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
