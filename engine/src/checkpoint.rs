//! Turns received bytes into durable ones, for all uploads of the volume together.
//!
//! The order keeps the promise (P1): the data is synced, then offset and block values are recorded
//! in one transaction, and only then a client hears of it. Bytes that arrive meanwhile wait for the
//! next checkpoint.

pub(crate) mod pace;
pub(crate) mod queue;

use crate::active::ActiveUpload;
use crate::background::blocking;
use crate::error::Error;
use crate::metrics::SyncTimes;
use crate::shared::Shared;
use crate::storage::{StorageError, Synced};
use crate::{end, failpoint, uploads};
use queue::{GROUP, Pass};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};
use towline_state::catalog::Checkpoint;
use towline_types::Timestamp;
use towline_upload::{Phase, Snapshot};

/// The pause after a pass that failed while the engine is stopping.
const BETWEEN_FAILURES: Duration = Duration::from_millis(20);

/// Runs the checkpoints of the volume, until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let pace = shared.checkpoints.pace();
    let (mut rest, mut recorded) = (pace.shortest_rest, true);
    loop {
        shared.checkpoints.dirty().await;
        if recorded {
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = shared.checkpoints.urgent() => {}
            }
        } else {
            // A checkpoint that failed is tried again, but not whenever a connection ends, which
            // wakes this task at once: the disk may be full for days.
            tokio::time::sleep(BETWEEN_FAILURES).await;
            tokio::select! {
                () = tokio::time::sleep(pace.longest_rest) => {}
                () = shared.stopping.cancelled() => {}
            }
        }
        let begun = Instant::now();
        let here = Arc::clone(&shared);
        let message = "a checkpoint did not come to its end";
        recorded = blocking(&shared.tracker, message, move || pass(&here)).await.unwrap_or(false);
        rest = pace.rest_after(begun.elapsed());
        shared.state_copy.changed();
    }
}

/// How many uploads one thread syncs, where several threads do it.
const SYNCS_PER_THREAD: usize = 8;

/// Makes a checkpoint of each upload that had received bytes when the pass began, and of those that
/// are paused while it goes on. Returns whether the catalog recorded all that was synced.
fn pass(shared: &Shared) -> bool {
    let Pass { mut dirty, mut paused, waiters } = shared.checkpoints.begin_pass();
    let mut recorded = true;
    while dirty > 0 || paused > 0 {
        let group = shared.checkpoints.next(dirty);
        dirty -= group.turns;
        paused = paused.saturating_sub(group.paused.len());
        if group.turns == 0 && group.paused.is_empty() {
            break;
        }
        recorded &= checkpoint(shared, &group.uploads);
        // Only now the tasks that wait for a pause go on.
        drop(group);
    }
    uploads::close_idle(shared, usize::MAX);
    for done in waiters {
        let _ = done.send(());
    }
    recorded
}

/// Makes one checkpoint of these uploads together. Returns whether the catalog recorded all that
/// was synced.
fn checkpoint(shared: &Shared, together: &[Arc<ActiveUpload>]) -> bool {
    let mut recorded = true;
    let work = |uploads: &[Arc<ActiveUpload>]| recorded &= record(shared, uploads);
    for active in isolated(together, work) {
        shared.checkpoints.mark_dirty(active, 0);
        recorded = false;
    }
    recorded
}

/// Calls `work` with all of `together`. If that panics, calls it with each of them alone, because a
/// mistake in our code about one upload must not keep the others from their checkpoints. Returns
/// those with which it panics even alone.
fn isolated<T>(together: &[T], mut work: impl FnMut(&[T])) -> Vec<&T> {
    let mut panics = |some: &[T]| catch_unwind(AssertUnwindSafe(|| work(some))).is_err();
    if !panics(together) {
        return Vec::new();
    }
    tracing::error!("a checkpoint panicked; what it would have promised is tried one by one");
    together.iter().filter(|one| panics(slice::from_ref(one))).collect()
}

/// Syncs and records these uploads; returns whether the catalog recorded all that was synced. An
/// upload whose row lock another thread has waits for the next checkpoint, and the others do not
/// wait for it.
fn record(shared: &Shared, uploads: &[Arc<ActiveUpload>]) -> bool {
    let mut due = Vec::new();
    let patience = shared.config.timings.checkpoint;
    for active in uploads {
        if active.is_about_to_complete(patience) {
            shared.checkpoints.mark_dirty(active, 0);
            continue;
        }
        let Some(row_guard) = active.try_lock_row() else {
            // A publishing syncs the upload itself, and may take as long as a copy to another disk.
            // If the publishing fails, it puts the upload back into the queue.
            if !active.ask(|upload| upload.phase() == Phase::Publishing) {
                shared.checkpoints.mark_dirty(active, 0);
            }
            continue;
        };
        let Some((snapshot, last_chunk_at)) = active.snapshot(&row_guard) else { continue };
        due.push((active, row_guard, snapshot, last_chunk_at));
    }
    let actives: Vec<&Arc<ActiveUpload>> = due.iter().map(|(active, ..)| *active).collect();
    let outcomes = sync_all(&shared.metrics.syncs, &actives);
    let mut synced = Vec::new();
    for ((active, row_guard, snapshot, last_chunk_at), outcome) in due.into_iter().zip(outcomes) {
        match outcome {
            Ok(proof) => {
                let row = row(active, proof, &snapshot, last_chunk_at);
                synced.push((active, row_guard, snapshot, row));
            }
            Err(error) => {
                let error = Error::Storage(error);
                // If the volume was closed by the failed sync of another upload, this upload does
                // not fail: the bytes that were promised stay.
                if error.is_fatal_to_upload() {
                    end::fail(shared, active, &row_guard, &error);
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
        .map(|(active, row_guard, snapshot, row)| (row, (active, row_guard, snapshot)))
        .unzip();
    match shared.catalog.checkpoint(rows).wait() {
        Ok(recorded) => {
            failpoint::reach("checkpoint.recorded");
            for (active, row_guard, snapshot) in &synced {
                let promised = recorded.iter().find(|(id, _)| *id == active.document_id);
                if let Some((_, durable)) = promised {
                    active.recorded(row_guard, snapshot, *durable);
                }
            }
            true
        }
        // Nothing was promised, nothing is lost: the next checkpoint tries again,
        // unless the catalog has closed itself.
        Err(error) => {
            // Counted in one line of the log with the requests that meet the same fault: the
            // operator repairs it once.
            shared.summary.fault(None, &Error::Catalog(error));
            shared.storage_follows_catalog();
            if !shared.catalog.is_read_only() {
                for (active, ..) in synced {
                    shared.checkpoints.mark_dirty(active, 0);
                }
            }
            false
        }
    }
}

/// What the catalog records of an upload. The snapshot was taken before the sync, so all bytes in
/// it were there when the sync began (P1).
fn row(
    active: &ActiveUpload,
    synced: Synced,
    snapshot: &Snapshot,
    last_chunk_at: Timestamp,
) -> Checkpoint {
    debug_assert!(synced.is_of(active.staging().file_number()), "another upload was synced");
    Checkpoint {
        document_id: active.document_id,
        durable_offset: snapshot.offset,
        new_blocks: snapshot.blocks.clone(),
        last_chunk_at,
    }
}

/// Syncs each of them; if there are many, by several threads at the same time.
fn sync_all(
    times: &SyncTimes,
    uploads: &[&Arc<ActiveUpload>],
) -> Vec<Result<Synced, StorageError>> {
    let sync = |uploads: &[&Arc<ActiveUpload>]| -> Vec<_> {
        let one =
            |active: &&Arc<ActiveUpload>| times.timed(|| Synced::by_sync_of(active.staging()));
        uploads.iter().map(one).collect()
    };
    if uploads.len() <= GROUP {
        return sync(uploads);
    }
    std::thread::scope(|scope| {
        let parts = uploads.chunks(SYNCS_PER_THREAD);
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || sync(part))).collect();
        // A panic of one of the threads goes on here; `isolated` then tries the uploads one by one.
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
