//! The way into the quarantine and out of it, and its end.
//!
//! # Which promise each step keeps
//!
//! **Into it**
//!
//! 1. One transaction records the verdict, takes the job out of the queue and makes the document
//!    `isolating`. From here on no byte of it is given out, wherever its file lies, and it has not
//!    been given out before, since it was `scanning`. The catalog refuses the step while the file
//!    is being moved or replaced, and from here on refuses both, so the file stays where the row says
//!    (P4).
//! 2. The file is renamed to `.quarantine/<user>/<document_id>` of its own file system, never over
//!    another (P2), and both folders are synced, the new name first: no power cut leaves it without a
//!    name (P1).
//! 3. The row says `quarantined`.
//!
//! A crash between 1 and 3 leaves `isolating`: what is to be done is decided by the row and the disk
//! alone. Where the file has its old name, step 2 is done; where it has the new one, its folders are
//! synced again; step 3 follows. This may itself be cut off, and is then done again (P4). A fault of
//! the disk leaves `isolating` as well, and the watchdog tries again: meanwhile the document is as much
//! held back as later (P5).
//!
//! **Out of it** the same steps lead back: the row says `releasing`, the file is renamed to the place
//! that its node has by then, the row says that it is given out. Only then is a byte of it given
//! out, so nobody finds half a way (P2). Where something else has the name, the release is taken
//! back, and nothing is written over (P2).
//!
//! **Its end**: the operator has it deleted. The file goes first, durably, and then the row, as for
//! what is in the trash too long: a crash in between leaves a row whose file is gone, and the job is
//! done again; in the other order it would leave a file that no row knows (P4). Its owner is told why.

use super::{again, jitter, wait_before};
use crate::audit::{AuditAction, AuditRecord, AuditResult};
use crate::error::Error;
use crate::failpoint;
use crate::log;
use crate::may_block::MayBlock;
use crate::presence;
use crate::shared::Shared;
use crate::storage::{Spot, StorageError};
use towline_state::CatalogError;
use towline_state::catalog::{
    Availability, Document, Kept, LeasedJob, Refusal, ScanOutcome, ScanVerdict,
};

/// Where the file of a completed document lies, as its row says.
pub(super) fn spot_of(document: &Document) -> Option<Spot> {
    match document.availability {
        Availability::Quarantined => Some(Spot::Quarantine(document.document_id)),
        _ => own_spot(document),
    }
}

/// Where it lies while it is not in the quarantine.
fn own_spot(document: &Document) -> Option<Spot> {
    Some(match (&document.file_path, &document.kept) {
        (Some(path), _) => Spot::Living(path.clone()),
        (None, Kept::OldVersion) => Spot::Version(document.document_id),
        (None, Kept::InTrash { root, below }) if below.is_empty() => Spot::Trash(*root),
        (None, Kept::InTrash { root, below }) => {
            Spot::BelowTrash { root: *root, below: below.clone() }
        }
        (None, Kept::InPlace) => return None,
    })
}

/// Does steps 2 and 3 for a document that is on its way; nothing for any other. The caller keeps the
/// places of its user as they are. Blocks.
pub(super) fn finish(shared: &Shared, document: &Document) -> Result<(), Error> {
    let id = document.document_id;
    match document.availability {
        Availability::Isolating => {
            failpoint::reach("isolation.intended");
            rename(shared, document, Way::In)?;
            failpoint::reach("isolation.renamed");
            shared.catalog.finish_isolation(id).wait()?;
            failpoint::reach("isolation.recorded");
        }
        Availability::Releasing => {
            failpoint::reach("release.intended");
            match rename(shared, document, Way::Out) {
                Err(Error::Storage(error @ (StorageError::Exists | StorageError::NotAFolder))) => {
                    shared.catalog.drop_release(id).wait()?;
                    tracing::warn!(
                        document = %id, user = %document.user_id, error = log::chain(&error),
                        "a document stays in the quarantine: something else has its place"
                    );
                    return Ok(());
                }
                renamed => renamed?,
            }
            failpoint::reach("release.renamed");
            shared.catalog.finish_release(id, shared.clock().now()).wait()?;
            failpoint::reach("release.recorded");
        }
        _ => {}
    }
    Ok(())
}

/// Into the quarantine, or out of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Step 2.
fn rename(shared: &Shared, document: &Document, way: Way) -> Result<(), Error> {
    let quarantine = Spot::Quarantine(document.document_id);
    let Some(own) = own_spot(document) else { return Ok(()) };
    let (from, to) = match way {
        Way::In => (&own, &quarantine),
        Way::Out => (&quarantine, &own),
    };
    let user = document.user_id;
    match shared.storage.relocate(user, from, to) {
        // It is there already, and another program has put something in its old place since.
        Err(StorageError::Exists) if way == Way::In && is_right(shared, document, to)? => Ok(()),
        // The operator has removed it by hand: there is nothing to be held back, or to be given out.
        Err(error @ StorageError::Lost(_)) => {
            tracing::error!(
                document = %document.document_id, %user, error = log::chain(&error),
                "the file of a document that is held back is not there"
            );
            Ok(())
        }
        relocated => Ok(relocated?),
    }
}

fn is_right(shared: &Shared, document: &Document, spot: &Spot) -> Result<bool, Error> {
    let found = shared.storage.open_spot(document.user_id, spot, &[])?;
    Ok(found.is_some_and(|found| presence::is_known_apart(&found, document)))
}

/// Finishes what a crash or a fault has cut off. What cannot be finished now stays as it is: the
/// watchdog comes again. Blocks.
///
/// # Errors
/// Where the catalog cannot be read.
pub(super) fn finish_all(shared: &Shared) -> Result<(), Error> {
    for state in [Availability::Isolating, Availability::Releasing] {
        let mut after = None;
        loop {
            let page = shared.catalog.held(state, after, super::PAGE).wait()?;
            let Some(last) = page.last() else { break };
            after = Some(last.document.document_id);
            for held in page {
                finish_one(shared, &held.document);
            }
        }
    }
    Ok(())
}

fn finish_one(shared: &Shared, found: &Document) {
    let (id, user) = (found.document_id, found.user_id);
    let guard = shared.places.change(user, MayBlock::on_own_thread());
    if guard.is_unsettled() {
        return;
    }
    // The worker that has begun it may have come to its end since.
    let finished = match shared.catalog.document(id).wait() {
        Ok(Some(document)) => finish(shared, &document),
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    drop(guard);
    match finished {
        Ok(()) => {
            tracing::info!(document = %id, %user, "what was on its way into the quarantine or out of it is there");
            shared.notifier.raise(user);
        }
        Err(error) => {
            let error = log::chain(&error);
            tracing::error!(document = %id, %user, error, "a document that is held back could not be moved; it is not given out, and is tried again");
        }
    }
}

/// Gives a document out that is held back: the operator wants it. Blocks.
pub(super) fn release(shared: &Shared, job: LeasedJob) -> Result<(), Error> {
    let guard = shared.places.change(job.user_id, MayBlock::on_own_thread());
    let begun = match guard.is_unsettled() {
        true => Err(CatalogError::Refused(Refusal::Busy)),
        false => shared.catalog.begin_release(job, shared.clock().now()).wait(),
    };
    let document = match begun {
        Ok(Some(document)) => document,
        Ok(None) | Err(CatalogError::Refused(Refusal::NoSuchDocument | Refusal::WrongPhase(_))) => {
            return Ok(());
        }
        Err(CatalogError::Refused(Refusal::Busy)) => {
            drop(guard);
            return wait(shared, job, "its place is being changed");
        }
        Err(error) => return Err(error.into()),
    };
    let moved = finish(shared, &document);
    drop(guard);
    shared.notifier.raise(document.user_id);
    moved?;
    if let Some(verdict) = shared.catalog.verdict(document.document_id).wait()? {
        tell(shared, &document, &verdict);
    }
    Ok(())
}

/// Deletes a document in the quarantine: the operator wants it. Blocks.
pub(super) fn delete(shared: &Shared, job: LeasedJob) -> Result<(), Error> {
    let guard = shared.places.change(job.user_id, MayBlock::on_own_thread());
    let row = shared.catalog.document(job.document_id).wait()?;
    let Some(document) = row.filter(|row| row.availability == Availability::Quarantined) else {
        drop(guard);
        return wait(shared, job, "it is on its way into the quarantine");
    };
    shared.storage.delete_versions(document.user_id, &[document.document_id])?;
    failpoint::reach("quarantine.deleted");
    let verdict = shared.catalog.verdict(document.document_id).wait()?;
    let threat = verdict.as_ref().and_then(|verdict| verdict.detail.clone());
    let reason = format!(
        "the server's operator has deleted it from the quarantine ({})",
        threat.as_deref().unwrap_or("a scanner has found something in it")
    );
    let lost = shared.catalog.lose(job.document_id, reason.clone(), shared.clock().now()).wait();
    drop(guard);
    match lost {
        Ok(()) => {}
        Err(CatalogError::Refused(Refusal::Busy)) => {
            return wait(shared, job, "its place is being changed");
        }
        Err(error) => return Err(error.into()),
    }
    shared.notifier.raise(document.user_id);
    tracing::info!(
        document = %document.document_id, user = %document.user_id,
        "a document was deleted from the quarantine"
    );
    observe(shared, &document, AuditAction::Delete, AuditResult::Ended(reason));
    Ok(())
}

fn wait(shared: &Shared, job: LeasedJob, why: &str) -> Result<(), Error> {
    again(shared, job, wait_before(job.attempts, jitter(job)), Some(why.to_owned()))
}

/// Says in the log, and to the observer, what was found out about a document.
pub(super) fn tell(shared: &Shared, document: &Document, verdict: &ScanVerdict) {
    let (id, user) = (document.document_id, document.user_id);
    let path = document.file_path.as_ref().unwrap_or(&document.path).to_string();
    let (scanner, detail) = (verdict.scanner.as_deref(), verdict.detail.as_deref());
    let outcome = verdict.outcome.as_str();
    match verdict.outcome {
        ScanOutcome::Clean => {
            tracing::debug!(document = %id, %user, path = ?path, scanner, "scanned: clean");
        }
        ScanOutcome::Infected => tracing::warn!(
            document = %id, %user, path = ?path, scanner, threat = detail,
            "scanned: infected; the document is in the quarantine and is not given out"
        ),
        ScanOutcome::Unscannable | ScanOutcome::Failed => tracing::warn!(
            document = %id, %user, path = ?path, scanner, reason = detail, outcome,
            "a document could not be scanned"
        ),
        ScanOutcome::Released => tracing::info!(
            document = %id, %user, path = ?path, found = detail,
            "the operator has released a document; it is given out"
        ),
    }
    let action = match verdict.outcome {
        ScanOutcome::Clean => return,
        ScanOutcome::Released => AuditAction::Release,
        ScanOutcome::Infected | ScanOutcome::Unscannable | ScanOutcome::Failed => AuditAction::Hold,
    };
    let result = match (verdict.outcome, detail) {
        (ScanOutcome::Released, _) | (_, None) => AuditResult::Done,
        (_, Some(detail)) => AuditResult::Ended(format!("{outcome}: {detail}")),
    };
    observe(shared, document, action, result);
}

fn observe(shared: &Shared, document: &Document, action: AuditAction, result: AuditResult) {
    shared.observe(|| AuditRecord {
        document: Some(document.document_id),
        node: document.node_id,
        path: Some(document.file_path.as_ref().unwrap_or(&document.path).to_string()),
        bytes: Some(document.filesize.get()),
        result,
        ..AuditRecord::done(action, document.user_id)
    });
}
