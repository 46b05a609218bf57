//! The thread that looks things up, on a second connection that changes nothing.
//!
//! A login, a look at whether a user still may be here, and a question about a document
//! wait for no write here and for no sync. Each user's questions take turns with those of
//! others and with the logins, so that a flood of one user holds up that user alone.
//! SQLite's journal lets both connections work at the same time: a look sees every write
//! that was answered before it was asked for.

use super::error::CatalogError;
use super::job::Job;
use super::shared::{Shared, read};
use crate::turns::Turns;
use rusqlite::Connection;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// How many looks share a transaction at most: enough to take the file's locks seldom, few
/// enough that one that has just come has its turn soon.
const GROUP_LOOKS: usize = 32;

/// The thread, for the one that ends it.
pub(super) struct Looker {
    queue: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl Looker {
    /// Starts the thread.
    pub(super) fn start(
        connection: Connection,
        queue: mpsc::Sender<Job>,
        looks: mpsc::Receiver<Job>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let thread = std::thread::Builder::new()
            .name("catalog look-ups".to_owned())
            .spawn(move || serve(connection, looks, &shared))?;
        Ok(Self { queue, thread })
    }

    /// Has it answer what waits, and waits until its connection is closed. Blocks.
    pub(super) fn close(self) {
        // Where it is gone already, so is its connection.
        let _ = self.queue.blocking_send(Job::Close(oneshot::channel().0));
        let _ = self.thread.join();
    }
}

fn serve(connection: Connection, mut queue: mpsc::Receiver<Job>, shared: &Shared) {
    let mut waiting = Turns::default();
    loop {
        let first = if waiting.is_empty() { queue.blocking_recv() } else { None };
        if first.is_none() && waiting.is_empty() {
            break;
        }
        let more = std::iter::from_fn(|| queue.try_recv().ok());
        for look in first.into_iter().chain(more).collect::<Vec<_>>() {
            match look {
                Job::Look(share, task) => waiting.push(share, task),
                Job::Close(_) => queue.close(),
                // Those are for the other thread.
                Job::Read(_) | Job::Write(_) => {}
            }
        }
        let group = std::iter::from_fn(|| waiting.pop()).take(GROUP_LOOKS).collect();
        if let Err(error) = read(&connection, shared, group) {
            tracing::warn!(%error, "the look-ups' transaction did not end well");
        }
    }
    if let Err((_, error)) = connection.close() {
        let error = CatalogError::from(error);
        tracing::warn!(%error, "the look-ups' connection did not close cleanly; nothing is lost");
    }
}
