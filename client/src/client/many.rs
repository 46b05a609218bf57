//! Uploads many files: small ones together, the others one after another.

use super::Client;
use super::work::{Work, Worked};
use crate::document::Document;
use crate::events::{Event, Listener, Receipt};
use crate::failure::Failure;
use crate::small_file_batch::item::{BatchItem, PriorAttempt, Remaining};
use crate::small_file_batch::{BatchEnd, SmallFileBatch};
use crate::transfer::options::PutOptions;
use std::collections::VecDeque;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use towline_protocol::Reply;

/// Called with the index of each file when the file has ended; returns whether to go on.
pub type Ending<'a> = &'a mut (dyn FnMut(usize, Result<Receipt, Failure>) -> bool + Send);

impl Client {
    /// Uploads many files. Small ones are sent together, and none of them waits for the answer to
    /// another one. The others follow one after another, as with [`put`](Self::put).
    ///
    /// `ended` is called with the index of each file in `jobs` when the file is done or has failed.
    /// Where a file has failed and `ended` returns `false`, the files that were not begun stay
    /// unbegun. The order is not the order of `jobs`.
    ///
    /// # Cancel safety
    /// As for [`put`](Self::put): a call that is dropped loses no byte that the server has.
    pub async fn put_many(
        &mut self,
        jobs: &[(Document, PutOptions)],
        cancel: &CancellationToken,
        listener: Listener<'_>,
        ended: Ending<'_>,
    ) {
        let mut waiting: Remaining = (0..jobs.len()).map(|n| (n, PriorAttempt::Nothing)).collect();
        let mut behind = Queue::default();
        loop {
            let fresh = waiting.iter().filter(|(_, before)| **before == PriorAttempt::Nothing);
            let items: Vec<_> = fresh.filter_map(|(n, _)| item(*n, &jobs[*n])).collect();
            // A batch of one file gains nothing.
            if items.len() < 2 {
                break;
            }
            let batch = self.batch(&items, cancel, listener, ended).await;
            let Some((BatchEnd { remaining, unbegun }, loss)) = batch else { break };
            for item in &items {
                waiting.remove(&item.index);
            }
            let first = unbegun.first().filter(|_| remaining.is_empty()).copied();
            let is_cut_short = !unbegun.is_empty() && !cancel.is_cancelled();
            waiting.extend(unbegun.into_iter().map(|n| (n, PriorAttempt::Nothing)));
            // Without retries, a lost connection ends the files that were sent on it.
            if let Some(reason) = loss.filter(|_| self.retries == Some(0)) {
                for n in remaining.into_keys().chain(first) {
                    waiting.remove(&n);
                    let (server, reason) = (self.server().clone(), crate::text::printable(&reason));
                    let kept = None;
                    let lost = Failure::ConnectionLost { server, attempts: 1, reason, kept };
                    if !ended(n, Err(lost)) {
                        return;
                    }
                }
                continue;
            }
            if !is_cut_short {
                waiting.extend(remaining);
                break;
            }
            // The connection was lost. The files that were sent on it are uploaded one by one: that
            // waits for the server, and finds out what the server has of them. Then the other files
            // are sent together again.
            let now: Remaining =
                remaining.into_iter().chain(first.map(|n| (n, PriorAttempt::Nothing))).collect();
            waiting.retain(|n, _| !now.contains_key(n));
            // A file that fails for a reason which concerns only this file must not delay the files
            // that were not begun: it goes behind all of them.
            let late = (!waiting.is_empty()).then_some(&mut behind);
            let queue = self.queue_of(now);
            if !self.put_each(queue, late, jobs, cancel, listener, ended).await {
                for work in behind.into_works() {
                    self.note_rest(&work).await;
                }
                return;
            }
        }
        let mut queue = self.queue_of(waiting);
        for (n, work, due) in behind.0 {
            queue.push(n, work, due);
        }
        self.put_each(queue, None, jobs, cancel, listener, ended).await;
    }

    fn queue_of(&self, some: Remaining) -> Queue {
        let mut queue = Queue::default();
        for (n, before) in some {
            queue.push(n, Work::new(before, self.retries), Instant::now());
        }
        queue
    }

    /// Uploads the files of the queue one after another; returns whether to go on. A file that
    /// fails for a reason which concerns only this file waits behind the others until it is tried
    /// again. With `late`, there are files that are not in the queue: then such a file goes to
    /// `late` and is not tried again here.
    async fn put_each(
        &mut self,
        mut queue: Queue,
        mut late: Option<&mut Queue>,
        jobs: &[(Document, PutOptions)],
        cancel: &CancellationToken,
        listener: Listener<'_>,
        ended: Ending<'_>,
    ) -> bool {
        while let Some((n, mut work, due)) = queue.pop() {
            tokio::select! {
                biased;
                // Both are cancel-safe. After a cancellation the work ends as interrupted.
                () = cancel.cancelled() => {}
                () = sleep_until(due) => {}
            }
            let (document, options) = &jobs[n];
            let others_wait = late.is_some() || !queue.is_empty();
            let worked = self.work_on(&mut work, document, options, others_wait, cancel, listener);
            match worked.await {
                Worked::Ended(put) => {
                    if !ended(n, *put) {
                        for work in queue.into_works() {
                            self.note_rest(&work).await;
                        }
                        return false;
                    }
                }
                Worked::Later(wait) => {
                    let queue = late.as_deref_mut().unwrap_or(&mut queue);
                    queue.push(n, work, Instant::now() + wait);
                }
            }
        }
        true
    }

    /// Sends a batch. Returns why the connection was lost, if it was; nothing where the batch could
    /// not begin.
    async fn batch(
        &mut self,
        items: &[BatchItem<'_>],
        cancel: &CancellationToken,
        listener: Listener<'_>,
        ended: Ending<'_>,
    ) -> Option<(BatchEnd, Option<String>)> {
        let connected = async {
            let known = self.uploads.locals().await;
            self.connected().await.map(|_| known)
        };
        // Cancel-safe: nothing was sent on a connection that is not open yet.
        let known = tokio::select! {
            biased;
            () = cancel.cancelled() => return None,
            known = connected => known.ok()?,
        };
        let mut done = |n, receipt: Receipt| {
            listener(Event::Completed(receipt.clone()));
            ended(n, Ok(receipt));
        };
        let connection = self.connection.as_mut()?;
        // Without this feature a second upload of the same file could begin.
        if !connection.knows("new_only") {
            return None;
        }
        let mut batch = SmallFileBatch::new(connection, items, known).ok()?;
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            // Cancel-safe, as `run` documents.
            outcome = batch.run(&mut done) => Some(outcome),
        };
        let (mut in_flight, unbegun) = batch.into_in_flight();
        let mut loss = None;
        match outcome {
            Some(Ok(())) => {}
            Some(Err(end)) => {
                self.connection = None;
                loss = end.loss();
            }
            None => {
                if let Some(connection) = self.connection.take() {
                    let listen = |reply| {
                        if let Reply::Success(success) = reply
                            && let Some((n, receipt)) =
                                in_flight.succeeded(success.channel, success)
                        {
                            done(n, receipt);
                        }
                    };
                    connection.close_gracefully(None, listen).await;
                }
            }
        }
        Some((BatchEnd { remaining: in_flight.into_remaining(), unbegun }, loss))
    }
}

/// The files that wait until they are tried, each with the time at which it is due.
#[derive(Default)]
struct Queue(VecDeque<(usize, Work, Instant)>);

/// The largest number of files that are held open while they wait.
const HELD_OPEN: usize = 64;

impl Queue {
    fn push(&mut self, n: usize, mut work: Work, due: Instant) {
        if self.0.iter().filter(|(_, work, _)| work.holds_file()).count() >= HELD_OPEN {
            work.let_go();
        }
        self.0.push_back((n, work, due));
    }

    /// The first file that is due; where none is due, the file that is due next.
    fn pop(&mut self) -> Option<(usize, Work, Instant)> {
        let now = Instant::now();
        let first = self.0.iter().position(|(_, _, due)| *due <= now);
        let next = || {
            let places = self.0.iter().enumerate();
            places.min_by_key(|(_, (_, _, due))| *due).map(|(place, _)| place)
        };
        self.0.remove(first.or_else(next)?)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn into_works(self) -> impl Iterator<Item = Work> {
        self.0.into_iter().map(|(_, work, _)| work)
    }
}

/// The file as an item of a batch, unless its upload is named by a number or its chunk size is
/// given.
fn item(index: usize, (document, options): &(Document, PutOptions)) -> Option<BatchItem<'_>> {
    let PutOptions { on_conflict, again, document_id, chunk_bytes, parallel: _ } = *options;
    let plain = document_id.is_none() && chunk_bytes.is_none();
    plain.then_some(BatchItem { index, document, on_conflict, again })
}
