//! Documents that are complete wait for a scan, in a queue that loses none and gives each to one
//! worker at a time.

use crate::fixture::{Fixture, at, refusal};
use towline_state::catalog::{
    Availability, Bytes, DeadWorkers, JobKind, LeasedJob, NewLease, OnConflict, Refusal,
    ScanOutcome, ScanRecord, ScanVerdict,
};
use towline_types::{DocumentId, UserId};

/// A queue of a catalog with a scanner.
struct Queue {
    f: Fixture,
    lease: i64,
}

impl Queue {
    fn new() -> Self {
        let f = Fixture::new();
        f.catalog.scan_what_completes(true);
        Self { f, lease: 0 }
    }

    fn take(&mut self, behind: Option<UserId>, now: u64) -> Option<LeasedJob> {
        self.lease += 1;
        let new =
            NewLease { lease: self.lease, patience_ms: 100, bytes_a_ms: 1000, behind, scans: true };
        self.f.catalog.lease_job(new, at(now)).wait().unwrap()
    }

    fn record(&self, job: LeasedJob, outcome: ScanOutcome, then: Availability) -> bool {
        let verdict = ScanVerdict {
            outcome,
            scanner: Some("test".to_owned()),
            signatures: None,
            detail: None,
            content_type: Some("text/plain".to_owned()),
            at: at(50),
        };
        let record = ScanRecord { verdict, sha256: None, then };
        self.f.catalog.record_scan(job, record).wait().unwrap().is_some()
    }

    fn state(&self, id: DocumentId) -> Availability {
        self.f.document(id).availability
    }

    fn died(&self, which: DeadWorkers, now: u64) -> Vec<bool> {
        let deaths = self.f.catalog.workers_died(which, at(now + 1), at(now)).wait().unwrap();
        deaths.into_iter().map(|death| death.is_last).collect()
    }
}

#[test]
fn a_document_has_its_job_from_its_completion_on_and_one_worker_has_it() {
    let mut queue = Queue::new();
    let (id, _) = queue.f.complete("a", 5);
    assert_eq!(queue.state(id), Availability::Scanning);
    assert!(queue.f.catalog.has_due_jobs(true, at(30)).wait().unwrap());
    assert!(!queue.f.catalog.has_due_jobs(false, at(30)).wait().unwrap());
    let job = queue.take(None, 30).unwrap();
    assert_eq!((job.document_id, job.kind, job.attempts), (id, JobKind::Scan, 0));
    assert_eq!(queue.take(None, 30), None);
    // Not tried, and tried: the second counts.
    queue.f.catalog.return_job(job, at(40), None).wait().unwrap();
    assert_eq!(queue.take(None, 39), None);
    let again = queue.take(None, 40).unwrap();
    assert_eq!(again.attempts, 0);
    queue.f.catalog.return_job(again, at(41), Some("away".to_owned())).wait().unwrap();
    let last = queue.take(None, 41).unwrap();
    assert_eq!(last.attempts, 1);
    // A worker that has no lease any more changes nothing.
    assert!(!queue.record(again, ScanOutcome::Infected, Availability::Isolating));
    assert_eq!(queue.state(id), Availability::Scanning);
    assert!(queue.record(last, ScanOutcome::Clean, Availability::Available));
    assert_eq!(queue.state(id), Availability::Available);
    assert!(!queue.record(last, ScanOutcome::Infected, Availability::Isolating));
    let verdict = queue.f.catalog.verdict(id).wait().unwrap().unwrap();
    assert_eq!(verdict.outcome, ScanOutcome::Clean);
    assert_eq!(queue.take(None, 1000), None);
}

#[test]
fn users_take_turns_and_the_first_of_each_comes_first() {
    let mut queue = Queue::new();
    let bob = queue.f.catalog.add_user("bob", None, at(1)).wait().unwrap().user_id;
    let of_ann: Vec<_> = ["a", "b", "c"].map(|name| queue.f.complete(name, 5).0).into();
    queue.f.user = bob;
    let of_bob = queue.f.complete("d", 5).0;
    let (mut order, mut behind) = (Vec::new(), None);
    while let Some(job) = queue.take(behind, 30) {
        (behind, _) = (Some(job.user_id), order.push(job.document_id));
    }
    assert_eq!(order, [of_ann[0], of_bob, of_ann[1], of_ann[2]]);
}

#[test]
fn after_two_dead_workers_a_document_has_failed() {
    let mut queue = Queue::new();
    let (id, _) = queue.f.complete("a", 5000);
    let first = queue.take(None, 30).unwrap();
    assert_eq!(queue.died(DeadWorkers::Of(first.lease + 1), 31), [false; 0]);
    // 100 ms, and one more for each 1,000 bytes.
    assert_eq!(queue.died(DeadWorkers::Late, 134), [false; 0]);
    assert_eq!(queue.died(DeadWorkers::Late, 135), [false]);
    assert_eq!(queue.state(id), Availability::Scanning);
    queue.take(None, 136).unwrap();
    assert_eq!(queue.died(DeadWorkers::OfEarlierRun, 137), [true]);
    assert_eq!(queue.state(id), Availability::Failed);
    assert_eq!(queue.take(None, 10_000), None);
    let verdict = queue.f.catalog.verdict(id).wait().unwrap().unwrap();
    assert_eq!(verdict.outcome, ScanOutcome::Failed);
    // The operator has it scanned again.
    queue.f.catalog.ask_scan(id, at(200)).wait().unwrap();
    assert_eq!(queue.state(id), Availability::Scanning);
    assert_eq!(queue.take(None, 200).unwrap().document_id, id);
}

#[test]
fn a_document_goes_into_the_quarantine_and_out_in_steps_that_exclude_others() {
    let mut queue = Queue::new();
    let (id, _) = queue.f.complete("a", 5);
    // Another document is about to be its next version: its file may be replaced at any moment.
    let next = queue.f.create("a", 5);
    let begin = |queue: &Queue, id| queue.f.begin_from(id, OnConflict::Replace, 0);
    begin(&queue, next).unwrap();
    let job = queue.take(None, 30).unwrap();
    let verdict = |outcome| ScanVerdict {
        outcome,
        scanner: None,
        signatures: None,
        detail: None,
        content_type: None,
        at: at(50),
    };
    let infected = ScanRecord {
        verdict: verdict(ScanOutcome::Infected),
        sha256: None,
        then: Availability::Isolating,
    };
    let record = |queue: &Queue, job| queue.f.catalog.record_scan(job, infected.clone()).wait();
    assert_eq!(refusal(record(&queue, job)), Refusal::Busy);
    assert_eq!(queue.f.document(next).replaces, Some(id));
    queue.f.catalog.return_to_uploading(next, at(31)).wait().unwrap();
    assert!(record(&queue, job).unwrap().is_some());
    assert_eq!(queue.state(id), Availability::Isolating);
    // While the file is on its way nothing moves or replaces it.
    assert_eq!(refusal(begin(&queue, next)), Refusal::Busy);
    queue.f.catalog.finish_isolation(id).wait().unwrap();
    assert_eq!(queue.state(id), Availability::Quarantined);
    // Nothing has its name now, so nothing is replaced.
    begin(&queue, next).unwrap();
    assert_eq!(queue.f.document(next).replaces, None);
    assert!(queue.f.catalog.ask_release(id, at(60)).wait().unwrap());
    let job = queue.take(None, 60).unwrap();
    assert_eq!(job.kind, JobKind::Release);
    assert_eq!(refusal(queue.f.catalog.begin_release(job, at(61)).wait()), Refusal::Busy);
    queue.f.catalog.complete_publish(next, None, at(62)).wait().unwrap();
    assert!(queue.f.catalog.begin_release(job, at(63)).wait().unwrap().is_some());
    assert_eq!(queue.state(id), Availability::Releasing);
    queue.f.catalog.finish_release(id, at(64)).wait().unwrap();
    assert_eq!(queue.state(id), Availability::Available);
    assert!(!queue.f.catalog.ask_release(id, at(65)).wait().unwrap(), "it is given out already");
    assert!(!queue.f.catalog.ask_delete(id, at(65)).wait().unwrap(), "it is not there");
}

#[test]
fn without_a_scanner_a_document_is_given_out_and_no_job_is_made() {
    let mut queue = Queue::new();
    queue.f.catalog.scan_what_completes(false);
    let (id, _) = queue.f.complete("a", 5);
    assert_eq!(queue.state(id), Availability::Available);
    assert_eq!(queue.f.catalog.verdict(id).wait().unwrap(), None);
    assert_eq!(queue.take(None, 1000), None);
    assert_eq!(queue.f.document(id).bytes, Bytes::Synced);
}

#[test]
fn nothing_waits_where_no_scanner_comes_and_nothing_is_forgotten() {
    let mut queue = Queue::new();
    let ids: Vec<_> = (0..5).map(|number| queue.f.complete(&number.to_string(), 5).0).collect();
    queue.f.edit(&format!("DELETE FROM jobs WHERE document_id = {}", ids[0]));
    assert_eq!(queue.f.catalog.queue_forgotten_scans(10, at(40)).wait().unwrap(), 1);
    assert_eq!(queue.f.catalog.queue_forgotten_scans(10, at(40)).wait().unwrap(), 0);
    let give_up = |limit| queue.f.catalog.give_up_scans("none", limit, at(41)).wait().unwrap();
    assert_eq!([give_up(3), give_up(3), give_up(3)], [3, 2, 0]);
    for id in ids {
        assert_eq!(queue.state(id), Availability::Failed);
    }
    assert_eq!(queue.take(None, 1000), None);
}
