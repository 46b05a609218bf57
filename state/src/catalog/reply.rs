//! The answer to a call, on its way.

use super::error::CatalogError;
use super::job::Job;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::{self, OwnedPermit, error::SendError, error::TrySendError};
use tokio::sync::oneshot;

/// What the catalog will answer: await it in async code, or [`wait`](Self::wait)
/// on a thread that may block.
///
/// Dropped, it takes nothing back: a call that has found room in the queue (and
/// only then) is carried out whether or not its answer is waited for. So a reply is
/// cancel-safe in the sense that the catalog stays whole, not that nothing happened.
#[must_use = "a call that finds the queue full is carried out only if it is waited for"]
pub struct Reply<T> {
    state: State,
    answer: oneshot::Receiver<Result<T, CatalogError>>,
}

enum State {
    /// The job is with the thread.
    Queued,
    /// The queue was full: the job waits here for room.
    Full { queue: mpsc::Sender<Job>, job: Option<Job>, room: Option<Room> },
}

type Room = Pin<Box<dyn Future<Output = Result<OwnedPermit<Job>, SendError<()>>> + Send>>;

impl<T> Reply<T> {
    pub(super) fn new(
        queue: &mpsc::Sender<Job>,
        job: Job,
        answer: oneshot::Receiver<Result<T, CatalogError>>,
    ) -> Self {
        let state = match queue.try_send(job) {
            // A closed queue drops the job, and the answer tells.
            Ok(()) | Err(TrySendError::Closed(_)) => State::Queued,
            Err(TrySendError::Full(job)) => {
                State::Full { queue: queue.clone(), job: Some(job), room: None }
            }
        };
        Self { state, answer }
    }

    /// Blocks until the answer is there.
    ///
    /// # Errors
    /// Those of the call.
    ///
    /// # Panics
    /// On a thread that drives async tasks, which must not be blocked.
    pub fn wait(self) -> Result<T, CatalogError> {
        if let State::Full { queue, job: Some(job), .. } = self.state {
            // A closed queue drops the job, and the answer tells.
            let _ = queue.blocking_send(job);
        }
        self.answer.blocking_recv().unwrap_or(Err(CatalogError::Closed))
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, CatalogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Full { queue, job, room } = &mut self.state {
            let room = room.get_or_insert_with(|| Box::pin(queue.clone().reserve_owned()));
            let permit = ready!(room.as_mut().poll(context));
            if let (Ok(permit), Some(job)) = (permit, job.take()) {
                permit.send(job);
            }
            self.state = State::Queued;
        }
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready(answer.unwrap_or(Err(CatalogError::Closed)))
    }
}

impl<T> std::fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}
