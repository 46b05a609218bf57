//! Uploads many files, and the folders and links around them: small files, folders and links
//! together, the other files one after another.

use super::Client;
use super::make;
use super::work::{Work, Worked};
use crate::document::Document;
use crate::events::{Listener, Receipt};
use crate::failure::Failure;
use crate::feed::{Feed, FeedItem};
use crate::item::{Item, Sent};
use crate::small_file_batch::SmallFileBatch;
use crate::small_file_batch::item::{PriorAttempt, Remaining};
use crate::transfer::options::PutOptions;
use std::collections::VecDeque;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Called with each file when it has ended, and with its place among all files; returns whether
/// to go on.
pub type Ending<'a> =
    &'a mut (dyn FnMut(usize, &Document, Result<Receipt, Failure>) -> bool + Send);

/// The same for files, folders and links.
pub(crate) type ItemEnding<'a> =
    &'a mut (dyn FnMut(&FeedItem, Result<Sent, Failure>) -> bool + Send);

impl Client {
    /// Uploads many files. Small ones are sent together, and none of them waits for the answer to
    /// another one. The others follow one after another, as with [`put`](Self::put).
    ///
    /// `files` is asked for the next file when there is room for it, on a thread that may block:
    /// it may look for files while others are being sent, and no more than about a thousand are
    /// held at a time.
    ///
    /// `ended` is called with each file, by its place among `files`, when it is done or has
    /// failed. Where a file has failed, a `false` leaves the rest unbegun. The order is not that
    /// of `files`. Returns those files that were taken from `files` and have not ended.
    ///
    /// # Cancel safety
    /// As for [`put`](Self::put): a call that is dropped loses no byte that the server has.
    pub async fn put_many(
        &mut self,
        files: impl Iterator<Item = (Document, PutOptions)> + Send + 'static,
        cancel: &CancellationToken,
        listener: Listener<'_>,
        ended: Ending<'_>,
    ) -> Vec<Document> {
        let items = files.map(|(document, options)| (Item::file(document), options));
        let mut ended = |item: &FeedItem, sent| match sent {
            Ok(Sent::File(receipt)) => ended(item.index, &item.document, Ok(receipt)),
            Ok(Sent::Made { .. } | Sent::LeftOut(_)) => true,
            Err(failure) => ended(item.index, &item.document, Err(failure)),
        };
        let left = self.put_all(items, cancel, listener, &mut ended).await;
        left.into_iter().map(|item| item.document).collect()
    }

    /// The same for files, folders and links.
    ///
    /// # Cancel safety
    /// As for [`put_many`](Self::put_many).
    pub(crate) async fn put_all(
        &mut self,
        items: impl Iterator<Item = (Item, PutOptions)> + Send + 'static,
        cancel: &CancellationToken,
        listener: Listener<'_>,
        ended: ItemEnding<'_>,
    ) -> Vec<FeedItem> {
        let feed = Feed::new(items);
        let (mut now, mut behind) = (Queue::default(), Queue::default());
        loop {
            // Cancel-safe: what was found for the feed stays in it.
            let ready = tokio::select! {
                biased;
                () = cancel.cancelled() => 0,
                ready = feed.fill(2) => ready,
            };
            // A batch of one file gains nothing.
            let is_for_batch = ready >= 2 && feed.is_next(FeedItem::is_plain);
            let batch = match is_for_batch {
                true => self.batch(&feed, cancel, listener, ended).await,
                false => None,
            };
            match batch {
                Some(BatchEnd { remaining, loss }) => {
                    // The connection was lost before a file was begun: one file is put alone,
                    // which waits for the server.
                    let first = if remaining.is_empty() && loss.is_some() {
                        feed.take_ready().map(|item| (item, PriorAttempt::Nothing))
                    } else {
                        None
                    };
                    // Without retries, a lost connection ends the files that were sent on it.
                    if let Some(reason) = loss.filter(|_| self.retries == Some(0)) {
                        for (item, before) in remaining.into_iter().chain(first) {
                            self.queue(&mut now, item, before);
                        }
                        while let Some((item, ..)) = now.pop() {
                            let lost = self.first_loss(&reason);
                            if !ended(&item, Err(lost)) {
                                return self.leave(now, behind, &feed).await;
                            }
                        }
                        continue;
                    }
                    // The files that were on a lost connection are put one by one, which waits
                    // for the server and finds what it has of them; then the rest is sent
                    // together again.
                    for (item, before) in remaining.into_iter().chain(first) {
                        self.queue(&mut now, item, before);
                    }
                }
                None => {
                    let first = feed.take_ready();
                    first.into_iter().for_each(|item| {
                        self.queue(&mut now, item, PriorAttempt::Nothing);
                    });
                }
            }
            // A file that fails for a reason which concerns only this file must not delay the files
            // that were not begun: it goes behind all of them.
            let is_last = feed.is_over() || (now.is_empty() && cancel.is_cancelled());
            if is_last {
                now.0.append(&mut behind.0);
            }
            let late = (!is_last).then_some(&mut behind);
            let goes_on = self.put_each(&mut now, late, cancel, listener, ended).await;
            if is_last || !goes_on {
                return self.leave(now, behind, &feed).await;
            }
        }
    }

    fn queue(&self, queue: &mut Queue, item: FeedItem, before: PriorAttempt) {
        queue.push(item, Work::new(before, self.retries), Instant::now());
    }

    fn first_loss(&self, reason: &str) -> Failure {
        let reason = crate::text::printable(reason);
        Failure::ConnectionLost { server: self.server().clone(), attempts: 1, reason, kept: None }
    }

    /// Writes to the list how far those files are that were begun. Returns all items that have
    /// not ended.
    async fn leave(&self, now: Queue, behind: Queue, feed: &Feed) -> Vec<FeedItem> {
        let mut left = Vec::new();
        for (item, work, _) in now.0.into_iter().chain(behind.0) {
            self.note_rest(&work).await;
            left.push(item);
        }
        left.extend(std::iter::from_fn(|| feed.take_ready()));
        left
    }

    /// Uploads the files of the queue one after another; returns whether to go on. A file that
    /// fails for a reason which concerns only this file waits behind the others until it is tried
    /// again. With `late`, there are files that are not in the queue: then such a file goes to
    /// `late` and is not tried again here.
    async fn put_each(
        &mut self,
        queue: &mut Queue,
        mut late: Option<&mut Queue>,
        cancel: &CancellationToken,
        listener: Listener<'_>,
        ended: ItemEnding<'_>,
    ) -> bool {
        while let Some((item, mut work, due)) = queue.pop() {
            tokio::select! {
                biased;
                // Both are cancel-safe. After a cancellation the work ends as interrupted.
                () = cancel.cancelled() => {}
                () = sleep_until(due) => {}
            }
            let FeedItem { document, kind, options, .. } = &item;
            let others_wait = late.is_some() || !queue.is_empty();
            let worked = if kind.is_file() {
                self.work_on(&mut work, document, options, others_wait, cancel, listener).await
            } else {
                self.make(&mut work, &item, others_wait, cancel, listener).await
            };
            match worked {
                Worked::Ended(put) => {
                    if let Ok(sent) = &*put
                        && !kind.is_file()
                    {
                        make::tell(&item, sent, listener);
                    }
                    if !ended(&item, *put) {
                        return false;
                    }
                }
                Worked::Later(wait) => {
                    let queue = late.as_deref_mut().unwrap_or(&mut *queue);
                    queue.push(item, work, Instant::now() + wait);
                }
            }
        }
        true
    }

    /// Sends a batch. Nothing where it could not be begun.
    async fn batch(
        &mut self,
        feed: &Feed,
        cancel: &CancellationToken,
        listener: Listener<'_>,
        ended: ItemEnding<'_>,
    ) -> Option<BatchEnd> {
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
        let mut done = |item: FeedItem, sent: Sent| {
            make::tell(&item, &sent, listener);
            ended(&item, Ok(sent));
        };
        let connection = self.connection.as_mut()?;
        // Without this feature a second upload of the same file could begin.
        if !connection.knows("new_only") {
            return None;
        }
        let mut batch = SmallFileBatch::new(connection, feed.clone(), known).ok()?;
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            // Cancel-safe, as `run` documents.
            outcome = batch.run(&mut done) => Some(outcome),
        };
        let mut in_flight = batch.into_in_flight();
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
                        if let Some((item, sent)) = in_flight.ended_by(reply) {
                            done(item, sent);
                        }
                    };
                    connection.close_gracefully(None, listen).await;
                }
            }
        }
        Some(BatchEnd { remaining: in_flight.into_remaining(), loss })
    }
}

/// What is left to do when a batch has ended.
struct BatchEnd {
    remaining: Remaining,
    /// Why the connection was lost, where it was.
    loss: Option<String>,
}

/// The files that wait until they are tried, each with the time at which it is due.
#[derive(Default)]
struct Queue(VecDeque<(FeedItem, Work, Instant)>);

/// The largest number of files that are held open while they wait.
const HELD_OPEN: usize = 64;

impl Queue {
    fn push(&mut self, item: FeedItem, mut work: Work, due: Instant) {
        if self.0.iter().filter(|(_, work, _)| work.holds_file()).count() >= HELD_OPEN {
            work.let_go();
        }
        self.0.push_back((item, work, due));
    }

    /// The first file that is due; where none is due, the file that is due next.
    fn pop(&mut self) -> Option<(FeedItem, Work, Instant)> {
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
}
