//! What is done about documents after their last byte: scans, and the quarantine.
//!
//! The queue is a table of the catalog. A job comes into it in the transaction that makes it
//! necessary, so a crash at any moment leaves the job (P4), and `SUCCESS` waits for no scanner: the
//! bytes are safe before. A worker takes one job at a time, with a lease; users take turns, and as
//! many workers work at a time as [`workers`] says, so a queue of any length costs the same memory
//! (P6).
//!
//! While a document waits for its scan, and after one that has not found it clean, no door gives its
//! bytes out: [`refuse_held`] is asked wherever bytes leave the engine.
//!
//! Nothing waits for ever:
//!
//! - A worker whose process was killed has died: the next start gives its job back.
//! - A worker that does not end in the time of its lease is taken for dead by the watchdog.
//! - A job whose workers have died twice ends, and its document has failed.
//! - Where no scanner is configured any more, documents that wait for one have failed.
//! - Where the scanner is away, the job is tried again, after a time that doubles up to a limit.
//!
//! What has failed the operator can have scanned again, or release.

mod isolation;
mod scan;

use crate::background::blocking;
use crate::error::Error;
use crate::log;
use crate::scanning::BYTES_A_SECOND;
use crate::shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use towline_state::catalog::{
    Availability, DeadWorkers, Death, Document, JobKind, LeasedJob, NewLease,
};
use towline_types::UserId;

/// The time between two looks into the queue. What this process puts there is taken at once; the
/// commands of the operator write beside it.
const EVERY: Duration = Duration::from_secs(5);

/// The time between two rounds of the watchdog.
const WATCH_EVERY: Duration = Duration::from_secs(60);

/// How much longer a lease is than the work may take.
const LEASE_MARGIN: Duration = Duration::from_secs(60);

/// The wait before a job is tried again for the first time. It doubles with each attempt.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How many rows are in memory at a time.
const PAGE: u32 = 256;

/// Why documents fail that wait for a scanner that there is not.
const NO_SCANNER: &str = "the server has no scanner";

/// How many documents are scanned at the same time.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).saturating_sub(1).clamp(1, 4)
}

/// Refuses a document that is not given out. No byte of one leaves the engine, whatever the way: this
/// is asked after the row was read from which the file is opened.
pub(crate) fn refuse_held(document: &Document) -> Result<(), Error> {
    match document.availability {
        Availability::Available => Ok(()),
        held => Err(Error::Held(held)),
    }
}

/// Puts in order what an earlier run left, before the first connection is taken: its workers are
/// dead, and what was on its way into the quarantine, or out of it, gets there. What cannot be done
/// now the watchdog tries again. Blocks.
///
/// # Errors
/// Where the catalog cannot be read.
pub(crate) fn recover(shared: &Shared) -> Result<(), Error> {
    if shared.catalog.open_jobs().wait()?.has_leases {
        died(shared, DeadWorkers::OfEarlierRun)?;
    }
    isolation::finish_all(shared)
}

/// Takes jobs as they come, until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(workers()));
    let scans = shared.config.scanning.is_some();
    let (mut behind, mut watched) = (None, None);
    loop {
        if watched.is_none_or(|at: Instant| at.elapsed() >= WATCH_EVERY) {
            let here = Arc::clone(&shared);
            let message = "the watchdog of scans panicked";
            let done = blocking(&shared.tracker, message, move || watch(&here, scans)).await;
            warn_of(done);
            watched = Some(Instant::now());
        }
        loop {
            // A place first: a job that is taken begins at once.
            let place = timeout(WATCH_EVERY, Arc::clone(&places).acquire_owned()).await;
            let Ok(Ok(place)) = place else { break };
            let here = Arc::clone(&shared);
            let message = "the queue of jobs panicked";
            let taken =
                blocking(&shared.tracker, message, move || take(&here, scans, behind)).await;
            let Some(Some(job)) = warn_of(taken) else { break };
            behind = Some(job.user_id);
            let here = Arc::clone(&shared);
            shared.tracker.spawn(async move {
                let worker = Arc::clone(&here);
                let message = "a worker has panicked at a document";
                let tracker = here.tracker.clone();
                let done = blocking(&tracker, message, move || work(&worker, job)).await;
                if done.is_none() {
                    let buried = Arc::clone(&here);
                    let message = "the end of a worker could not be recorded";
                    let which = DeadWorkers::Of(job.lease);
                    warn_of(blocking(&tracker, message, move || died(&buried, which)).await);
                }
                warn_of(done);
                drop(place);
                here.jobs.wake();
            });
        }
        shared.jobs.wait(EVERY).await;
    }
}

fn warn_of<T>(done: Option<Result<T, Error>>) -> Option<T> {
    match done? {
        Ok(done) => Some(done),
        Err(error) => {
            let error = log::chain(&error);
            tracing::warn!(error, "a job about a document was not done; it is tried again");
            None
        }
    }
}

/// Takes the next job that is due. Blocks.
fn take(shared: &Shared, scans: bool, behind: Option<UserId>) -> Result<Option<LeasedJob>, Error> {
    let now = shared.clock().now();
    let is_closed = shared.storage.latch().is_closed() || shared.catalog.is_read_only();
    if shared.stopping.is_cancelled()
        || is_closed
        || !shared.catalog.has_due_jobs(scans, now).wait()?
    {
        return Ok(None);
    }
    let timeout =
        shared.config.scanning.as_ref().map_or(Duration::ZERO, |scanning| scanning.timeout);
    let patience_ms = u64::try_from((timeout + LEASE_MARGIN).as_millis()).unwrap_or(u64::MAX);
    let lease = shared.jobs.next_lease(now);
    let bytes_a_ms = BYTES_A_SECOND / 1000;
    let new = NewLease { lease, patience_ms, bytes_a_ms, behind, scans };
    Ok(shared.catalog.lease_job(new, now).wait()?)
}

/// Does a job. Blocks.
fn work(shared: &Shared, job: LeasedJob) -> Result<(), Error> {
    match job.kind {
        JobKind::Scan => match &shared.config.scanning {
            Some(scanning) => scan::scan(shared, scanning, job),
            None => give_up(shared, job, NO_SCANNER),
        },
        JobKind::Release => isolation::release(shared, job),
        JobKind::Delete => isolation::delete(shared, job),
    }
}

/// Gives a job back, to be tried again. `why` is nothing where it was not tried.
fn again(
    shared: &Shared,
    job: LeasedJob,
    wait: Duration,
    why: Option<String>,
) -> Result<(), Error> {
    shared.jobs.wake_after(wait);
    let run_after = shared.clock().now().plus(wait);
    Ok(shared.catalog.return_job(job, run_after, why).wait()?)
}

/// Ends a job that can never be done.
fn give_up(shared: &Shared, job: LeasedJob, why: &str) -> Result<(), Error> {
    shared.catalog.give_up_job(job, why, shared.clock().now()).wait()?;
    shared.metrics.verdicts.increment("failed");
    tracing::warn!(
        document = %job.document_id, user = %job.user_id, job = job.kind.as_str(), reason = why,
        "a job about a document has failed; `towlined quarantine` lists what is not given out"
    );
    shared.notifier.raise(job.user_id);
    Ok(())
}

/// How long to wait before an attempt that follows on that many: doubled each time, and up to a
/// quarter more or less, so that what failed together is not tried again together.
fn wait_before(attempts: u32, jitter: f64) -> Duration {
    let doubled =
        FIRST_WAIT.saturating_mul(1_u32.checked_shl(attempts.min(16)).unwrap_or(u32::MAX));
    doubled.min(LONGEST_WAIT).mul_f64(jitter.clamp(0.0, 1.0).mul_add(0.5, 0.75))
}

/// A number between 0 and 1, another one for each job.
fn jitter(job: LeasedJob) -> f64 {
    let bits = (job.lease.unsigned_abs() ^ job.document_id.get().rotate_left(17))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

/// Gives back the jobs of workers that are dead. Blocks.
fn died(shared: &Shared, which: DeadWorkers) -> Result<(), Error> {
    let now = shared.clock().now();
    let deaths = shared.catalog.workers_died(which, now.plus(FIRST_WAIT), now).wait()?;
    for Death { document_id, user_id, kind, is_last } in deaths {
        let job = kind.as_str();
        if is_last {
            tracing::error!(
                document = %document_id, user = %user_id, job,
                "workers have died at a document again and again; it has failed and is not given out"
            );
            shared.metrics.verdicts.increment("failed");
            shared.notifier.raise(user_id);
        } else {
            tracing::warn!(
                document = %document_id, user = %user_id, job,
                "the worker of a document has died; it is tried again"
            );
        }
    }
    shared.jobs.wake_after(FIRST_WAIT);
    Ok(())
}

/// One round of the watchdog: nothing waits for what will never come. Blocks.
fn watch(shared: &Shared, scans: bool) -> Result<(), Error> {
    if shared.stopping.is_cancelled()
        || shared.storage.latch().is_closed()
        || shared.catalog.is_read_only()
    {
        return Ok(());
    }
    let open = shared.catalog.open_jobs().wait()?;
    if open.has_leases {
        died(shared, DeadWorkers::Late)?;
    }
    isolation::finish_all(shared)?;
    // A server that scans nothing writes nothing.
    if !open.has_scans {
        return Ok(());
    }
    let now = shared.clock().now();
    if scans {
        let queued = shared.catalog.queue_forgotten_scans(PAGE, now).wait()?;
        if queued > 0 {
            tracing::warn!(queued, "documents waited for a scan that was not in the queue");
        }
        return Ok(());
    }
    let mut failed = 0;
    loop {
        let queued = shared.catalog.queue_forgotten_scans(PAGE, now).wait()?;
        let page = shared.catalog.give_up_scans(NO_SCANNER, PAGE, now).wait()?;
        failed += page;
        if queued + page == 0 || shared.stopping.is_cancelled() {
            break;
        }
    }
    if failed > 0 {
        tracing::warn!(
            failed,
            "documents wait for a scanner, and the server has none; they are not given out: start the \
             server with its scanner and run `towlined quarantine rescan --failed`"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_have_an_end() {
        assert_eq!(wait_before(0, 0.5), FIRST_WAIT);
        assert_eq!(wait_before(3, 0.5), FIRST_WAIT * 8);
        for attempts in [9, 16, 40, u32::MAX] {
            assert_eq!(wait_before(attempts, 0.5), LONGEST_WAIT);
        }
        assert_eq!(wait_before(0, 0.0), FIRST_WAIT * 3 / 4);
        assert_eq!(wait_before(0, 1.0), FIRST_WAIT * 5 / 4);
    }
}
