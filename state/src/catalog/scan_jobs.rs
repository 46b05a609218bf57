//! The queue of work about documents that are complete: scans, and what the operator wants done
//! with the quarantine.
//!
//! A job is put here in the transaction that makes it necessary, so no crash loses one (P4). A worker
//! takes it for a time, the lease. A worker that does not come back within that time, or does not
//! come back because its process has ended, has died; a job whose workers have died
//! [twice](DEATHS_MAX) is not tried again, so that one file cannot take the whole queue (P6). Only the
//! worker that has the lease ends the job: what one says that was taken for dead changes nothing.

use super::availability::Availability;
use super::availability_column;
use super::change::{Kind, version_of};
use super::document::{self, Document};
use super::error::{CatalogError, Refusal};
use super::folder::Tree;
use super::job::Share;
use super::row::NamedRow;
use super::verdict::{self, ScanOutcome, ScanVerdict};
use super::{Catalog, Reply, node_row};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use towline_types::{DocumentId, Sha256Hash, Timestamp, UserId};
use towline_upload::Phase;

/// After so many deaths of workers a job is not tried again.
pub const DEATHS_MAX: u32 = 2;

/// What is to be done about a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// A scanner looks through it.
    Scan,
    /// It comes out of the quarantine.
    Release,
    /// Its file in the quarantine is deleted.
    Delete,
}

impl JobKind {
    const ALL: [Self; 3] = [Self::Scan, Self::Release, Self::Delete];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Release => "release",
            Self::Delete => "delete",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|one| one.as_str() == word);
        named.ok_or_else(|| format!("{word:?} is no kind of job"))
    }
}

/// A job that a worker has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasedJob {
    /// The document that it is about.
    pub document_id: DocumentId,
    /// Whose that is.
    pub user_id: UserId,
    /// What is to be done.
    pub kind: JobKind,
    /// How often it was tried before.
    pub attempts: u32,
    /// The number of the lease, by which the worker ends the job.
    pub lease: i64,
}

/// A lease that a worker asks for.
#[derive(Debug, Clone, Copy)]
pub struct NewLease {
    /// A number that no other lease has.
    pub lease: i64,
    /// How long the worker is not taken for dead, in milliseconds,
    pub patience_ms: u64,
    /// and a millisecond more for each such number of bytes of the document.
    pub bytes_a_ms: u64,
    /// The user whose job was taken last: it is the turn of the others.
    pub behind: Option<UserId>,
    /// Scans are taken as well.
    pub scans: bool,
}

/// What there is of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenJobs {
    /// A worker has one.
    pub has_leases: bool,
    /// A document waits for a scan.
    pub has_scans: bool,
}

/// Workers that are dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadWorkers {
    /// All that there were: the process that they were in has ended.
    OfEarlierRun,
    /// Those whose time is over.
    Late,
    /// The one that has that lease.
    Of(i64),
}

/// A job whose worker has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// The document that it was about.
    pub document_id: DocumentId,
    /// Whose that is.
    pub user_id: UserId,
    /// What was to be done.
    pub kind: JobKind,
    /// It is not tried again.
    pub is_last: bool,
}

/// What a worker has found out about a document.
#[derive(Debug, Clone)]
pub struct ScanRecord {
    /// What it is.
    pub verdict: ScanVerdict,
    /// The SHA-256 hash of the whole, where it was read to its end.
    pub sha256: Option<Sha256Hash>,
    /// What becomes of a document that is not in the quarantine:
    /// [`Available`](Availability::Available), [`Failed`](Availability::Failed) or
    /// [`Isolating`](Availability::Isolating).
    pub then: Availability,
}

impl Catalog {
    /// Says whether documents wait for a scan from their completion on.
    pub fn scan_what_completes(&self, scans: bool) {
        self.shared.scans.store(scans, Ordering::Relaxed);
    }

    /// Whether documents of this store were scanned, or wait for it.
    pub fn has_scanned(&self) -> Reply<bool> {
        self.look(Share::Users, |connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM verdicts) OR EXISTS (SELECT 1 FROM jobs)";
            Ok(connection.query_row(sql, [], |row| row.get(0))?)
        })
    }

    /// Whether there is a job that can be taken now.
    pub fn has_due_jobs(&self, scans: bool, now: Timestamp) -> Reply<bool> {
        self.look(Share::Users, move |connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE lease IS NULL \
                       AND run_after <= $1 AND (kind <> 'scan' OR $2))";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row(params![now.to_i64(), scans], |row| row.get(0))?)
        })
    }

    /// Whether any worker has a job, and whether any document waits for a scan: where neither is so,
    /// nothing has to be written to put the queue in order.
    pub fn open_jobs(&self) -> Reply<OpenJobs> {
        self.look(Share::Users, |connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE lease IS NOT NULL), \
                       EXISTS (SELECT 1 FROM jobs WHERE kind = 'scan') \
                       OR EXISTS (SELECT 1 FROM documents WHERE availability = 'scanning')";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row([], |row| {
                Ok(OpenJobs { has_leases: row.get(0)?, has_scans: row.get(1)? })
            })?)
        })
    }

    /// Takes the next job that is due: users take turns, and of each user's jobs the one comes first
    /// that has waited longest (P6).
    pub fn lease_job(&self, new: NewLease, now: Timestamp) -> Reply<Option<LeasedJob>> {
        self.write(move |connection| {
            let behind = new.behind.map_or(0, UserId::to_i64);
            let found = match next(connection, new, behind, now)? {
                None if behind > 0 => next(connection, new, 0, now)?,
                found => found,
            };
            let Some(job) = found else { return Ok(None) };
            let sql = "SELECT coalesce(max(filesize), 0) FROM documents WHERE document_id = $1";
            let mut statement = connection.prepare_cached(sql)?;
            let filesize: i64 =
                statement.query_row([job.document_id.to_i64()], |row| row.get(0))?;
            let more_ms = filesize.unsigned_abs() / new.bytes_a_ms.max(1);
            let until = now.plus(Duration::from_millis(new.patience_ms.saturating_add(more_ms)));
            let sql = "UPDATE jobs SET lease = $1, lease_until = $2 WHERE document_id = $3";
            let taken = [new.lease, until.to_i64(), job.document_id.to_i64()];
            connection.prepare_cached(sql)?.execute(taken)?;
            Ok(Some(job))
        })
    }

    /// Gives a job back that is to be tried again at that moment. `why` is nothing where it was not
    /// tried.
    pub fn return_job(
        &self,
        job: LeasedJob,
        run_after: Timestamp,
        why: Option<String>,
    ) -> Reply<()> {
        self.write(move |connection| {
            let sql = "UPDATE jobs SET lease = NULL, lease_until = NULL, run_after = $1, \
                       attempts = attempts + $2, last_error = coalesce($3, last_error) \
                       WHERE document_id = $4 AND lease = $5";
            connection.prepare_cached(sql)?.execute(params![
                run_after.to_i64(),
                why.is_some(),
                why,
                job.document_id.to_i64(),
                job.lease,
            ])?;
            Ok(())
        })
    }

    /// Gives back the jobs of workers that are dead, to be tried again at `run_after`. A scan that
    /// has had [`DEATHS_MAX`] of them ends, and its document [fails](Availability::Failed).
    pub fn workers_died(
        &self,
        which: DeadWorkers,
        run_after: Timestamp,
        now: Timestamp,
    ) -> Reply<Vec<Death>> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let (late, lease) = match which {
                DeadWorkers::OfEarlierRun => (i64::MAX, None),
                DeadWorkers::Late => (now.to_i64(), None),
                DeadWorkers::Of(lease) => (i64::MAX, Some(lease)),
            };
            // At most one for each worker.
            let sql = "SELECT document_id, user_id, kind, attempts, lease, deaths FROM jobs \
                       WHERE lease IS NOT NULL AND lease_until <= $1 \
                       AND ($2 IS NULL OR lease = $2)";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![late, lease])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let deaths: u32 = row.get("deaths")?;
                found.push((leased(row)?, deaths + 1));
            }
            drop(rows);
            let mut died = Vec::new();
            for (job, deaths) in found {
                let is_last = deaths >= DEATHS_MAX;
                if is_last {
                    let why = format!("{deaths} workers have died at it, or had no time left");
                    give_up(connection, &shared.folders, job, why, now)?;
                } else {
                    let sql = "UPDATE jobs SET lease = NULL, lease_until = NULL, deaths = $1, \
                               run_after = $2, last_error = 'a worker has died at it' \
                               WHERE document_id = $3";
                    let again = [i64::from(deaths), run_after.to_i64(), job.document_id.to_i64()];
                    connection.prepare_cached(sql)?.execute(again)?;
                }
                let LeasedJob { document_id, user_id, kind, .. } = job;
                died.push(Death { document_id, user_id, kind, is_last });
            }
            Ok(died)
        })
    }

    /// Ends a job that can never be done. A document that waits for a scan has
    /// [failed](Availability::Failed).
    pub fn give_up_job(&self, job: LeasedJob, why: impl Into<String>, now: Timestamp) -> Reply<()> {
        let (why, shared) = (why.into(), Arc::clone(&self.shared));
        self.write(move |connection| match holds_lease(connection, job)? {
            true => give_up(connection, &shared.folders, job, why, now),
            false => Ok(()),
        })
    }

    /// Ends scans that no scanner will do, at most `limit` of them; returns of how many documents.
    pub fn give_up_scans(&self, why: &'static str, limit: u32, now: Timestamp) -> Reply<u64> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let sql = "SELECT document_id, user_id, kind, attempts, coalesce(lease, 0) AS lease \
                       FROM jobs WHERE kind = 'scan' LIMIT $1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(leased(row)?);
            }
            drop(rows);
            for job in &found {
                give_up(connection, &shared.folders, *job, why.to_owned(), now)?;
            }
            Ok(found.len() as u64)
        })
    }

    /// Puts documents that wait for a scan and have no job into the queue, at most `limit` of them;
    /// returns how many there were. No transaction leaves one; an operator who edits the catalog by
    /// hand may.
    pub fn queue_forgotten_scans(&self, limit: u32, now: Timestamp) -> Reply<u64> {
        self.write(move |connection| {
            let sql = "INSERT INTO jobs (document_id, user_id, kind, run_after, created_at) \
                       SELECT document_id, user_id, 'scan', 0, $1 FROM documents \
                       WHERE availability = 'scanning' AND NOT EXISTS (SELECT 1 FROM jobs \
                       WHERE jobs.document_id = documents.document_id) LIMIT $2";
            let queued = connection.prepare_cached(sql)?.execute(params![now.to_i64(), limit])?;
            Ok(queued as u64)
        })
    }

    /// Records what a scan has found, and ends its job. Answers with the document as it is now;
    /// nothing where the job is not the worker's any more, or the document is gone.
    ///
    /// A document in the quarantine stays there, unless it was found clean: then it comes out.
    ///
    /// Refused: [`Refusal::Busy`] where the document is to go into the quarantine, or to come out, and
    /// its file is just being moved, or another document is published in its place. Nothing was
    /// recorded then.
    pub fn record_scan(&self, job: LeasedJob, record: ScanRecord) -> Reply<Option<Document>> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            if !holds_lease(connection, job)? {
                return Ok(None);
            }
            let Some(document) = document::by_id(connection, job.document_id)? else {
                return Ok(None);
            };
            let is_clean = record.verdict.outcome == ScanOutcome::Clean;
            let then = match document.availability {
                Availability::Quarantined if is_clean => Availability::Releasing,
                held if held.is_quarantined() => held,
                _ => record.then,
            };
            let (cache, user_id) = (&shared.folders, document.user_id);
            let tree = Tree { connection, cache, user_id };
            if then.is_under_way() {
                tree.refuse_file_in_use(&document)?;
            }
            if let Some(sha256) = &record.sha256 {
                let sql =
                    "UPDATE documents SET sha256 = $1 WHERE document_id = $2 AND sha256 IS NULL";
                let known = params![sha256.as_bytes(), job.document_id.to_i64()];
                connection.prepare_cached(sql)?.execute(known)?;
            }
            verdict::record(connection, job.document_id, &record.verdict)?;
            forget(connection, job.document_id)?;
            let document = tree.change_availability(document, then, record.verdict.at)?;
            let sha256 = document.sha256.or(record.sha256);
            Ok(Some(Document { sha256, ..document }))
        })
    }
}

fn next(
    connection: &Connection,
    new: NewLease,
    behind: i64,
    now: Timestamp,
) -> Result<Option<LeasedJob>, CatalogError> {
    let sql = "SELECT document_id, user_id, kind, attempts, 0 AS lease FROM jobs \
               WHERE jobs.lease IS NULL AND user_id > $1 AND run_after <= $2 \
               AND (kind <> 'scan' OR $3) ORDER BY user_id, run_after, document_id LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let wanted = params![behind, now.to_i64(), new.scans];
    let found = statement.query_row(wanted, |row| Ok(leased(row))).optional()?;
    Ok(found.transpose()?.map(|job| LeasedJob { lease: new.lease, ..job }))
}

fn leased(row: &Row<'_>) -> Result<LeasedJob, CatalogError> {
    let row = NamedRow::new(row, "job", "document_id")?;
    Ok(LeasedJob {
        document_id: row.get("document_id", DocumentId::from_i64)?,
        user_id: row.get("user_id", UserId::from_i64)?,
        kind: row.get("kind", |word: String| JobKind::parse(&word))?,
        attempts: row.plain("attempts")?,
        lease: row.plain("lease")?,
    })
}

pub(super) fn holds_lease(connection: &Connection, job: LeasedJob) -> Result<bool, CatalogError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE document_id = $1 AND lease = $2)";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([job.document_id.to_i64(), job.lease], |row| row.get(0))?)
}

/// Ends a job without its end.
fn give_up(
    connection: &Connection,
    cache: &super::folder::FolderCache,
    job: LeasedJob,
    why: String,
    now: Timestamp,
) -> Result<(), CatalogError> {
    forget(connection, job.document_id)?;
    if job.kind != JobKind::Scan {
        return Ok(());
    }
    if availability_column::of(connection, job.document_id)? != Availability::Scanning {
        return Ok(());
    }
    let verdict = ScanVerdict {
        outcome: ScanOutcome::Failed,
        scanner: None,
        signatures: None,
        detail: Some(why),
        content_type: None,
        at: now,
    };
    verdict::record(connection, job.document_id, &verdict)?;
    match document::by_id(connection, job.document_id) {
        Ok(Some(document)) => {
            let tree = Tree { connection, cache, user_id: document.user_id };
            tree.change_availability(document, Availability::Failed, now).map(drop)
        }
        Ok(None) => Ok(()),
        // A row that does not read has failed all the same: nothing waits for ever.
        Err(CatalogError::BadRow { .. }) => {
            availability_column::set(connection, job.document_id, Availability::Failed)
        }
        Err(error) => Err(error),
    }
}

/// Puts a job about a document into the queue, in the place of another one about it. It is due at
/// once, whatever the clock says later.
pub(super) fn enqueue(
    connection: &Connection,
    document_id: DocumentId,
    user_id: UserId,
    kind: JobKind,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let sql = "INSERT INTO jobs (document_id, user_id, kind, run_after, created_at) \
               VALUES ($1, $2, $3, 0, $4) ON CONFLICT (document_id) DO UPDATE SET \
               kind = excluded.kind, run_after = excluded.run_after, attempts = 0, deaths = 0, \
               lease = NULL, lease_until = NULL, last_error = NULL";
    connection.prepare_cached(sql)?.execute(params![
        document_id.to_i64(),
        user_id.to_i64(),
        kind.as_str(),
        now.to_i64(),
    ])?;
    Ok(())
}

/// Takes the job about a document out of the queue.
pub(super) fn forget(connection: &Connection, document_id: DocumentId) -> Result<(), CatalogError> {
    let sql = "DELETE FROM jobs WHERE document_id = $1";
    connection.prepare_cached(sql)?.execute([document_id.to_i64()])?;
    Ok(())
}

impl Tree<'_> {
    /// Refuses a document whose file is just being moved, or replaced by another one.
    pub(super) fn refuse_file_in_use(self, document: &Document) -> Result<(), CatalogError> {
        let Some(node_id) = document.node_id else { return Ok(()) };
        self.refuse_moving_chain(Some(node_id))?;
        let node = node_row::by_id(self.connection, node_id)?;
        let is_replaced = |node: &node_row::NodeRow| {
            node.incoming_id.is_some() && node.version_id == Some(document.document_id)
        };
        match node.as_ref().is_some_and(is_replaced) {
            true => Err(Refusal::Busy.into()),
            false => Ok(()),
        }
    }

    /// Records another state of a completed document. Where the document is what a user sees under a
    /// name, and is shown in another way from now on, the log of changes tells of it.
    pub(super) fn change_availability(
        self,
        document: Document,
        to: Availability,
        now: Timestamp,
    ) -> Result<Document, CatalogError> {
        let from = document.availability;
        availability_column::set(self.connection, document.document_id, to)?;
        let document = Document { availability: to, ..document };
        if document.phase != Phase::Completed || from.shown() == to.shown() {
            return Ok(document);
        }
        let node = match document.node_id {
            Some(node_id) => node_row::by_id(self.connection, node_id)?,
            None => None,
        };
        let is_seen = |node: &node_row::NodeRow| {
            node.version_id == Some(document.document_id) && node.deleted_at.is_none()
        };
        if let Some(node) = node.filter(is_seen)
            && super::place::Places::new(self.connection).of_folder(node.parent_id)?.trash.is_none()
        {
            let change_id = self.take_number(now)?;
            self.record(change_id, Kind::DESCRIBED, &node, version_of(&document), now)?;
        }
        Ok(document)
    }
}
