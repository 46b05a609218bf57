//! Uploads that wait for a checkpoint, and the order in which they get it.

use super::pace::Pace;
use crate::active::ActiveUpload;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};
use towline_state::turns::Turns;
use towline_types::{DocumentId, UserId};
use towline_upload::Upload;

/// Uploads that have received bytes or block values since their last checkpoint.
///
/// A pass of checkpoints takes them a few at a time: the users in turn, the oldest upload of each
/// user first, and uploads that a pause waits for before the others. So no upload waits for the
/// syncs of all others, and a pause waits only for the syncs that are under way and for its own.
/// This changes the order in which uploads get their promises, and not the order of the steps for
/// one upload (P1): row lock, sync, row, event.
pub(crate) struct CheckpointQueue {
    pace: Pace,
    waiting: Mutex<Waiting>,
    /// An upload, a pause or a flush waits for a pass.
    dirty: Notify,
    /// One of them waits that must not wait for the pause between two passes.
    urgent: Notify,
}

#[derive(Default)]
struct Waiting {
    uploads: HashMap<DocumentId, Arc<ActiveUpload>>,
    /// The order of `uploads`. An upload that has ended may still have a turn here while it is not
    /// among `uploads` any more.
    turns: Turns<UserId, DocumentId>,
    /// Uploads that a pause waits for. The pause ends when the last clone of its sender is dropped.
    paused: Turns<UserId, (Arc<ActiveUpload>, Paused)>,
    /// Bytes received since the last pass began.
    bytes: u64,
    /// Each of them is told when the next pass has ended.
    waiters: Vec<oneshot::Sender<()>>,
}

type Paused = Arc<oneshot::Sender<()>>;

/// How many uploads one pass goes through.
pub(super) struct Pass {
    /// Uploads that have received something.
    pub(super) dirty: usize,
    /// Uploads that a pause waits for.
    pub(super) paused: usize,
    pub(super) waiters: Vec<oneshot::Sender<()>>,
}

/// Uploads that are synced and recorded together.
#[derive(Default)]
pub(super) struct Group {
    pub(super) uploads: Vec<Arc<ActiveUpload>>,
    /// How many turns of uploads that have received something were taken.
    pub(super) turns: usize,
    /// Dropped when all is recorded.
    pub(super) paused: Vec<Paused>,
}

/// How many uploads are synced and recorded together. In a larger group those that are synced first
/// would wait long for the last one.
pub(super) const GROUP: usize = 16;

/// Where more uploads than this wait, a group is [`LARGE_GROUP`] and is synced by several
/// threads: a file system writes its journal once for all files that are being synced at the
/// same moment.
const MANY: usize = 64;

/// How many uploads are synced and recorded together where more than [`MANY`] wait.
const LARGE_GROUP: usize = 64;

impl CheckpointQueue {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, waiting: Mutex::default(), dirty: Notify::new(), urgent: Notify::new() }
    }

    /// The upload has received that many bytes more.
    pub(crate) fn mark_dirty(&self, active: &Arc<ActiveUpload>, bytes: u64) {
        let mut waiting = self.waiting();
        if waiting.uploads.insert(active.document_id, Arc::clone(active)).is_none() {
            waiting.turns.push(active.owner, active.document_id);
        }
        waiting.bytes += bytes;
        let enough = waiting.bytes >= self.pace.bytes;
        drop(waiting);
        self.dirty.notify_one();
        if enough {
            self.urgent.notify_one();
        }
    }

    /// The upload is not published after all: it takes bytes again, and what it has received
    /// is made durable.
    pub(crate) fn unpublished(&self, active: &Arc<ActiveUpload>) {
        // In this order, because a checkpoint leaves out an upload that is being published.
        active.tell(Upload::unpublish);
        self.mark_dirty(active, 0);
    }

    /// The upload has ended: nothing of it is to be recorded, and the queue must not keep its file
    /// open.
    pub(crate) fn forget(&self, id: DocumentId) {
        self.waiting().uploads.remove(&id);
    }

    /// Makes all bytes durable that were received up to now; the receiver is told when that is done
    /// or has failed. For the stop of the engine.
    pub(crate) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        self.waiting().waiters.push(done);
        self.wake_at_once();
        flushed
    }

    /// Makes these uploads durable before others; returns when that is done or has failed. For
    /// uploads that are paused. Cancel-safe: dropped, it changes nothing about what is made
    /// durable.
    pub(crate) async fn pause(&self, uploads: impl Iterator<Item = Arc<ActiveUpload>>) {
        let (done, ended) = oneshot::channel();
        let done = Arc::new(done);
        {
            let mut waiting = self.waiting();
            for active in uploads {
                waiting.paused.push(active.owner, (active, Arc::clone(&done)));
            }
        }
        drop(done);
        self.wake_at_once();
        // Nothing is ever sent: the drop of the last sender is the signal.
        let _ = ended.await;
    }

    fn wake_at_once(&self) {
        self.dirty.notify_one();
        self.urgent.notify_one();
    }

    /// When the passes begin.
    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Waits until a pass has something to do. Cancel-safe.
    pub(super) async fn dirty(&self) {
        self.dirty.notified().await;
    }

    /// Waits until a pass has something to do that must not wait for the end of the pause.
    /// Cancel-safe.
    pub(super) async fn urgent(&self) {
        self.urgent.notified().await;
    }

    pub(super) fn begin_pass(&self) -> Pass {
        let mut waiting = self.waiting();
        waiting.bytes = 0;
        let waiters = std::mem::take(&mut waiting.waiters);
        Pass { dirty: waiting.turns.len(), paused: waiting.paused.len(), waiters }
    }

    /// The uploads that go next: at most `dirty` of those that have received something, and besides
    /// them uploads that a pause waits for. Each of the two kinds gets at most half of the group.
    pub(super) fn next(&self, dirty: usize) -> Group {
        let mut waiting = self.waiting();
        let mut group = Group::default();
        let most = if waiting.turns.len() > MANY { LARGE_GROUP } else { GROUP };
        while group.uploads.len() < most / 2
            && let Some((active, paused)) = waiting.paused.pop()
        {
            // It leaves the other queue, where its turn would find nothing new. Another
            // `ActiveUpload` of the same document, begun since, keeps its own turn.
            let same = waiting.uploads.get(&active.document_id);
            if same.is_some_and(|same| Arc::ptr_eq(same, &active)) {
                waiting.uploads.remove(&active.document_id);
            }
            group.uploads.push(active);
            group.paused.push(paused);
        }
        while group.turns < dirty.min(most - most / 2)
            && let Some(id) = waiting.turns.pop()
        {
            group.turns += 1;
            group.uploads.extend(waiting.uploads.remove(&id));
        }
        group
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
