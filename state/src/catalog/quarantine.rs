//! Documents that are not given out: how they get out of that state, and what the operator is shown.
//!
//! A file goes into the quarantine, and comes back, as a node gets another place: the row says so
//! first, then the file is renamed, then the row says that it is done. A start finds what a crash
//! has cut off (P4).

use super::availability::Availability;
use super::availability_column;
use super::document::{self, COLUMNS, Document};
use super::error::{CatalogError, Refusal};
use super::folder::Tree;
use super::job::Share;
use super::scan_jobs::{self, JobKind, LeasedJob};
use super::verdict::{self, ScanOutcome, ScanVerdict};
use super::{Catalog, Reply};
use rusqlite::{Connection, params};
use std::sync::Arc;
use towline_types::{DocumentId, Timestamp};
use towline_upload::Phase;

/// A document that is not given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The document.
    pub document: Document,
    /// What was found out about it.
    pub verdict: Option<ScanVerdict>,
    /// Why the job about it did not come to an end the last time.
    pub last_error: Option<String>,
}

impl Catalog {
    /// Documents in that state, after that number and at most `limit` of them. A row that does not
    /// read is left out.
    pub fn held(
        &self,
        availability: Availability,
        after: Option<DocumentId>,
        limit: u32,
    ) -> Reply<Vec<Held>> {
        self.look(Share::Documents, move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM documents INDEXED BY documents_held \
                 WHERE availability = $1 AND document_id > $2 ORDER BY document_id LIMIT $3"
            );
            let behind = after.map_or(0, DocumentId::to_i64);
            let found = document::readable(
                connection,
                &sql,
                params![availability.as_str(), behind, limit],
            )?;
            let held = |document: Document| {
                let verdict = verdict::of(connection, document.document_id)?;
                let last_error = last_error(connection, document.document_id)?;
                Ok(Held { document, verdict, last_error })
            };
            found.into_iter().map(held).collect()
        })
    }

    /// Has the server scan a document, again or for the first time. It is not given out until then;
    /// one in the quarantine stays there.
    ///
    /// Refused: [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`] where it is not completed;
    /// [`Refusal::Busy`] where its file is on its way into the quarantine or back.
    pub fn ask_scan(&self, document_id: DocumentId, now: Timestamp) -> Reply<Document> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let document = completed(connection, document_id)?;
            scan_jobs::enqueue(connection, document_id, document.user_id, JobKind::Scan, now)?;
            match document.availability {
                Availability::Isolating | Availability::Releasing => Err(Refusal::Busy.into()),
                Availability::Quarantined | Availability::Scanning => Ok(document),
                Availability::Available | Availability::Failed => {
                    let (cache, user_id) = (&shared.folders, document.user_id);
                    let tree = Tree { connection, cache, user_id };
                    tree.change_availability(document, Availability::Scanning, now)
                }
            }
        })
    }

    /// Has the server give a document out that it holds back. `false` where it does not hold it back.
    ///
    /// Refused: as [`ask_scan`](Self::ask_scan).
    pub fn ask_release(&self, document_id: DocumentId, now: Timestamp) -> Reply<bool> {
        self.ask(document_id, JobKind::Release, now, |held| !held.is_available())
    }

    /// Has the server delete the file of a document in the quarantine. `false` where it is not there.
    ///
    /// Refused: as [`ask_scan`](Self::ask_scan).
    pub fn ask_delete(&self, document_id: DocumentId, now: Timestamp) -> Reply<bool> {
        self.ask(document_id, JobKind::Delete, now, Availability::is_quarantined)
    }

    fn ask(
        &self,
        document_id: DocumentId,
        kind: JobKind,
        now: Timestamp,
        may: impl FnOnce(Availability) -> bool + Send + 'static,
    ) -> Reply<bool> {
        self.write(move |connection| {
            let document = completed(connection, document_id)?;
            if document.availability.is_under_way() {
                return Err(Refusal::Busy.into());
            }
            if !may(document.availability) {
                return Ok(false);
            }
            scan_jobs::enqueue(connection, document_id, document.user_id, kind, now)?;
            Ok(true)
        })
    }

    /// Records that the file of a document lies in the quarantine, durably.
    pub fn finish_isolation(&self, document_id: DocumentId) -> Reply<()> {
        self.write(move |connection| {
            if availability_column::of(connection, document_id)? == Availability::Isolating {
                availability_column::set(connection, document_id, Availability::Quarantined)?;
            }
            Ok(())
        })
    }

    /// Begins to give out a document that is held back. One in the quarantine is
    /// [`Releasing`](Availability::Releasing) from now on, and its file is to be renamed; any other is
    /// given out at once. Answers with the document as it is now; nothing where the job is not the
    /// worker's any more.
    ///
    /// Refused: [`Refusal::Busy`] where another document is just being published in its place, or a
    /// folder above it is moved.
    pub fn begin_release(&self, job: LeasedJob, now: Timestamp) -> Reply<Option<Document>> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            if !scan_jobs::holds_lease(connection, job)? {
                return Ok(None);
            }
            let document = completed(connection, job.document_id)?;
            let (cache, user_id) = (&shared.folders, document.user_id);
            let tree = Tree { connection, cache, user_id };
            let then = match document.availability {
                Availability::Quarantined => Availability::Releasing,
                // A start, or the watchdog, finishes what is under way.
                held if held.is_under_way() => return Err(Refusal::Busy.into()),
                _ => Availability::Available,
            };
            if then.is_under_way() {
                tree.refuse_file_in_use(&document)?;
            }
            let found = verdict::of(connection, job.document_id)?;
            let released = ScanVerdict {
                outcome: ScanOutcome::Released,
                at: now,
                ..found.unwrap_or(ScanVerdict {
                    outcome: ScanOutcome::Released,
                    scanner: None,
                    signatures: None,
                    detail: None,
                    content_type: None,
                    at: now,
                })
            };
            verdict::record(connection, job.document_id, &released)?;
            scan_jobs::forget(connection, job.document_id)?;
            tree.change_availability(document, then, now).map(Some)
        })
    }

    /// Records that the file of a document is back in its place, durably: from now on it is given
    /// out.
    pub fn finish_release(&self, document_id: DocumentId, now: Timestamp) -> Reply<()> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let document = completed(connection, document_id)?;
            if document.availability != Availability::Releasing {
                return Ok(());
            }
            let (cache, user_id) = (&shared.folders, document.user_id);
            let tree = Tree { connection, cache, user_id };
            tree.change_availability(document, Availability::Available, now).map(drop)
        })
    }

    /// Takes a release back: the file stays in the quarantine.
    pub fn drop_release(&self, document_id: DocumentId) -> Reply<()> {
        self.write(move |connection| {
            if availability_column::of(connection, document_id)? == Availability::Releasing {
                availability_column::set(connection, document_id, Availability::Quarantined)?;
            }
            Ok(())
        })
    }
}

fn completed(connection: &Connection, document_id: DocumentId) -> Result<Document, CatalogError> {
    document::in_phase(connection, document_id, &[Phase::Completed])
}

fn last_error(
    connection: &Connection,
    document_id: DocumentId,
) -> Result<Option<String>, CatalogError> {
    let sql = "SELECT max(last_error) FROM jobs WHERE document_id = $1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([document_id.to_i64()], |row| row.get(0))?)
}
