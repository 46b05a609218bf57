//! Turns received bytes into durable ones, for all uploads of the volume together.
//!
//! The order is the promise (P1): the data is synced, then offset and values are
//! recorded in one transaction, and only then does a client hear of it. What
//! arrives meanwhile waits for the next checkpoint.

use crate::config::Durability;
use crate::failpoint;
use crate::failure::Failure;
use crate::live::Live;
use crate::service::Service;
use crate::storage::{StorageError, Synced};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use towline_state::catalog::Checkpoint;
use towline_state::turns::Turns;
use towline_types::{DocumentId, Timestamp, UserId};
use towline_upload::{Phase, Snapshot, Upload};

/// Uploads that have moved since their last checkpoint.
///
/// A pass of checkpoints takes them a few at a time: users in turn, each user's oldest
/// first, and those that a pause waits for before the others. So no upload waits for the
/// syncs of all others, and a pause waits for those that are under way and for its own.
/// That changes the order in which uploads get their promises, and nothing about the order
/// of the steps for one (P1): its lock, its sync, its row, its word.
pub(crate) struct Checkpoints {
    rhythm: Rhythm,
    waiting: Mutex<Waiting>,
    moved: Notify,
    urgent: Notify,
}

#[derive(Default)]
struct Waiting {
    uploads: HashMap<DocumentId, Arc<Live>>,
    /// Their turns. One that has ended is among them and not among `uploads`.
    turns: Turns<UserId, DocumentId>,
    /// Those that a pause waits for; it hears of the end when all have dropped their sender.
    paused: Turns<UserId, (Arc<Live>, Paused)>,
    bytes: u64,
    told: Vec<oneshot::Sender<()>>,
}

type Paused = Arc<oneshot::Sender<()>>;

/// When a checkpoint begins.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    /// At the latest when so much has come.
    bytes: u64,
    /// After a pause of at least that.
    rest: Duration,
}

impl Rhythm {
    const fn of(durability: Durability) -> Self {
        match durability {
            Durability::Durable => Self { bytes: 64 << 20, rest: GATHER },
            // What a lost server costs a slow link is worth a checkpoint; a fast one
            // is done before.
            Durability::Relaxed => Self { bytes: u64::MAX, rest: Duration::from_secs(5) },
        }
    }
}

impl Checkpoints {
    pub(crate) fn new(durability: Durability) -> Self {
        Self {
            rhythm: Rhythm::of(durability),
            waiting: Mutex::default(),
            moved: Notify::new(),
            urgent: Notify::new(),
        }
    }

    /// The upload has received so many bytes.
    pub(crate) fn moved(&self, live: &Arc<Live>, bytes: u64) {
        let mut waiting = self.waiting();
        if waiting.uploads.insert(live.document_id, Arc::clone(live)).is_none() {
            waiting.turns.push(live.owner, live.document_id);
        }
        waiting.bytes += bytes;
        let enough = waiting.bytes >= self.rhythm.bytes;
        drop(waiting);
        self.moved.notify_one();
        if enough {
            self.urgent.notify_one();
        }
    }

    /// The upload is not published after all: it takes bytes again, and what it has received
    /// is made durable.
    pub(crate) fn unpublished(&self, live: &Arc<Live>) {
        // In this order: a checkpoint leaves out what is being published.
        live.tell(Upload::unpublish);
        self.moved(live, 0);
    }

    /// The upload is over: nothing of it is to be recorded, nor to be held open for that.
    pub(crate) fn forget(&self, id: DocumentId) {
        self.waiting().uploads.remove(&id);
    }

    /// Makes everything durable that has come so far; ready when that is done or has
    /// failed. For a stop.
    pub(crate) fn now(&self) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        self.waiting().told.push(done);
        self.moved.notify_one();
        self.urgent.notify_one();
        told
    }

    /// Makes these durable before others; ready when that is done or has failed. For a
    /// pause. Cancel-safe: given up, it only is not heard of.
    pub(crate) async fn pause(&self, uploads: impl Iterator<Item = Arc<Live>>) {
        let (done, told) = oneshot::channel();
        let done = Arc::new(done);
        {
            let mut waiting = self.waiting();
            for live in uploads {
                waiting.paused.push(live.owner, (live, Arc::clone(&done)));
            }
        }
        drop(done);
        self.moved.notify_one();
        self.urgent.notify_one();
        // Nothing is ever sent: the end of all senders is the word.
        let _ = told.await;
    }

    /// How many uploads a pass has to go through, moved ones and paused ones, and the
    /// senders to be told of its end.
    fn begin_pass(&self) -> (usize, usize, Vec<oneshot::Sender<()>>) {
        let mut waiting = self.waiting();
        waiting.bytes = 0;
        let told = std::mem::take(&mut waiting.told);
        (waiting.turns.len(), waiting.paused.len(), told)
    }

    /// The uploads that go next: at most `moved` of those that have moved, and beside
    /// them as many that are paused.
    fn next(&self, moved: usize) -> Group {
        let mut waiting = self.waiting();
        let mut group = Group::default();
        let together = if waiting.turns.len() > MANY { TOGETHER_OF_MANY } else { TOGETHER };
        while group.uploads.len() < together / 2
            && let Some((live, paused)) = waiting.paused.pop()
        {
            // Its turn among the others would find nothing new. Another `Live` of the same
            // document, begun since, has a turn of its own.
            let same = waiting.uploads.get(&live.document_id);
            if same.is_some_and(|same| Arc::ptr_eq(same, &live)) {
                waiting.uploads.remove(&live.document_id);
            }
            group.uploads.push(live);
            group.paused.push(paused);
        }
        while group.moved < moved.min(together - together / 2)
            && let Some(id) = waiting.turns.pop()
        {
            group.moved += 1;
            group.uploads.extend(waiting.uploads.remove(&id));
        }
        group
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After a checkpoint comes a pause of so many times its own length: a fast disk
/// promises every few milliseconds, a slow one is not kept busy with promising.
const REST: u32 = 20;

/// Uploads that move at the same moment share a checkpoint.
const GATHER: Duration = Duration::from_millis(20);

/// Runs the checkpoints of a volume, until it is dropped.
pub(crate) async fn run(service: Arc<Service>) {
    let shortest = service.checkpoints.rhythm.rest;
    let longest = service.config.timings.checkpoint.max(shortest);
    let (mut rest, mut recorded) = (shortest, true);
    loop {
        service.checkpoints.moved.notified().await;
        if recorded {
            tokio::select! {
                () = tokio::time::sleep(rest.min(longest)) => {}
                () = service.checkpoints.urgent.notified() => {}
            }
        } else {
            // One that failed is tried again, but the disk may be full for days, and
            // with every connection that ends somebody is in a hurry.
            tokio::time::sleep(GATHER).await;
            tokio::select! {
                () = tokio::time::sleep(longest) => {}
                () = service.stopping.cancelled() => {}
            }
        }
        let begun = Instant::now();
        let here = Arc::clone(&service);
        let pass = service.tracker.spawn_blocking(move || pass(&here));
        recorded = pass.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a checkpoint did not come to its end");
            false
        });
        rest = (begun.elapsed() * REST).max(shortest);
        service.mirror.changed();
    }
}

/// As many uploads are recorded together. More would keep those that are synced
/// first waiting for the last.
const TOGETHER: usize = 16;

/// Where more than this wait, more are synced together, by several threads: a file system
/// writes its journal once for all that are being synced at the same moment.
const MANY: usize = 64;

/// As many then.
const TOGETHER_OF_MANY: usize = 64;

/// How many uploads one of those threads syncs.
const SYNCS_PER_THREAD: usize = 8;

/// Uploads that are synced and recorded together.
#[derive(Default)]
struct Group {
    uploads: Vec<Arc<Live>>,
    /// As many of those that have moved were passed.
    moved: usize,
    /// Dropped when all is recorded.
    paused: Vec<Paused>,
}

/// Goes through all that had moved when it began, and through those that are paused
/// meanwhile. Says whether the catalog took all that was synced.
fn pass(service: &Service) -> bool {
    let (mut moved, mut paused, told) = service.checkpoints.begin_pass();
    let mut recorded = true;
    while moved > 0 || paused > 0 {
        let group = service.checkpoints.next(moved);
        moved -= group.moved;
        paused = paused.saturating_sub(group.paused.len());
        if group.moved == 0 && group.paused.is_empty() {
            break;
        }
        recorded &= checkpoint(service, &group.uploads);
        // Only now those that paused hear of it.
        drop(group);
    }
    service.close_idle(usize::MAX);
    for done in told {
        let _ = done.send(());
    }
    recorded
}

/// Says whether the catalog took all that was synced.
fn checkpoint(service: &Service, together: &[Arc<Live>]) -> bool {
    let mut recorded = true;
    let work = |uploads: &[Arc<Live>]| recorded &= record(service, uploads);
    for live in isolated(together, work) {
        service.checkpoints.moved(live, 0);
        recorded = false;
    }
    recorded
}

/// Does something with all of them together, and where that panics with each alone: a
/// mistake of ours about one must not starve the others. Says with which it panics
/// even so.
fn isolated<T>(together: &[T], mut work: impl FnMut(&[T])) -> Vec<&T> {
    let mut panics = |some: &[T]| catch_unwind(AssertUnwindSafe(|| work(some))).is_err();
    if !panics(together) {
        return Vec::new();
    }
    tracing::error!("a checkpoint panicked; what it would have promised is tried one by one");
    together.iter().filter(|one| panics(slice::from_ref(one))).collect()
}

/// An upload that another thread is recording waits for the next checkpoint, and the others
/// do not wait for it.
fn record(service: &Service, uploads: &[Arc<Live>]) -> bool {
    let mut due = Vec::new();
    let patience = service.config.timings.checkpoint;
    for live in uploads {
        if live.is_about_to_complete(patience) {
            service.checkpoints.moved(live, 0);
            continue;
        }
        let Some(recording) = live.try_recording() else {
            // A publishing syncs all of it, and may take as long as a copy to another disk.
            // Where it does not come to its end, it brings the upload back.
            if !live.ask(|upload| upload.phase() == Phase::Publishing) {
                service.checkpoints.moved(live, 0);
            }
            continue;
        };
        let Some((snapshot, last_chunk_at)) = live.snapshot(&recording) else { continue };
        due.push((live, recording, snapshot, last_chunk_at));
    }
    let lives: Vec<&Arc<Live>> = due.iter().map(|(live, ..)| *live).collect();
    let outcomes = sync_all(&lives);
    let mut synced = Vec::new();
    for ((live, recording, snapshot, last_chunk_at), outcome) in due.into_iter().zip(outcomes) {
        match outcome {
            Ok(proof) => {
                let row = row(live, proof, &snapshot, last_chunk_at);
                synced.push((live, recording, snapshot, row));
            }
            Err(error) => {
                let failure = Failure::Storage(error);
                // A volume that another upload's failed sync has closed takes
                // nothing from this one: what was promised stays.
                if failure.is_fatal_to_upload() {
                    service.fail(live, &recording, &failure);
                }
            }
        }
    }
    if synced.is_empty() {
        return true;
    }
    failpoint::reach("checkpoint.synced");
    let (rows, synced): (Vec<_>, Vec<_>) = synced
        .into_iter()
        .map(|(live, recording, snapshot, row)| (row, (live, recording, snapshot)))
        .unzip();
    match service.catalog.checkpoint(rows).wait() {
        Ok(recorded) => {
            failpoint::reach("checkpoint.recorded");
            for (live, recording, snapshot) in &synced {
                let promised = recorded.iter().find(|(id, _)| *id == live.document_id);
                if let Some((_, durable)) = promised {
                    live.recorded(recording, snapshot, *durable);
                }
            }
            true
        }
        // Nothing was promised, nothing is lost: the next checkpoint tries again,
        // unless the catalog has closed itself.
        Err(error) => {
            // In one line with the requests that meet the same: the operator mends it once.
            service.summary.fault(None, &Failure::Catalog(error));
            service.storage_follows_catalog();
            if !service.catalog.is_read_only() {
                for (live, ..) in synced {
                    service.checkpoints.moved(live, 0);
                }
            }
            false
        }
    }
}

/// What is recorded of an upload: the snapshot was taken before the sync, so all that it speaks
/// of was there when the sync began (P1).
fn row(live: &Live, synced: Synced, snapshot: &Snapshot, last_chunk_at: Timestamp) -> Checkpoint {
    debug_assert!(synced.is_of(live.staging().file_number()), "another upload was synced");
    Checkpoint {
        document_id: live.document_id,
        durable_offset: snapshot.offset,
        new_blocks: snapshot.blocks.clone(),
        last_chunk_at,
    }
}

/// Syncs each; many of them by several threads at a time.
fn sync_all(uploads: &[&Arc<Live>]) -> Vec<Result<Synced, StorageError>> {
    let sync = |uploads: &[&Arc<Live>]| -> Vec<_> {
        uploads.iter().map(|live| live.staging().sync()).collect()
    };
    if uploads.len() <= TOGETHER {
        return sync(uploads);
    }
    std::thread::scope(|scope| {
        let parts = uploads.chunks(SYNCS_PER_THREAD);
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || sync(part))).collect();
        // A panic goes on here, where all that was to be synced is tried one by one.
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::isolated;

    #[test]
    fn one_that_panics_every_time_takes_nobody_along() {
        let mut done = Vec::new();
        let left = isolated(&[1, 2, 3], |some| {
            assert!(!some.contains(&2), "a mistake");
            done.extend_from_slice(some);
        });
        assert_eq!(left, [&2]);
        assert_eq!(done, [1, 3]);

        let mut calls = 0;
        assert!(isolated(&[1, 2, 3], |_| calls += 1).is_empty());
        assert_eq!(calls, 1, "together where nothing is wrong");
    }
}
