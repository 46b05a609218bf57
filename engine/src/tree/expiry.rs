//! What is kept no longer: what was removed long ago, versions of files by the
//! [retention](crate::Keep), and the beginning of the change log.
//!
//! Files are deleted before the rows that know them, durably: a crash in between leaves rows whose
//! files are gone, and the next sweep deletes both (P4); in the other order it would leave files
//! of which no row knows. Files that no row knows are other programs', and are set aside by the
//! store. What is deleted here is seen by no user any more: nothing that a list shows, and no
//! version that is the one of its file.
//!
//! The clock has to be trusted: see [`ClockTrust`](crate::expiry::clock_trust::ClockTrust).

use crate::error::Error;
use crate::failpoint;
use crate::log;
use crate::may_block::MayBlock;
use crate::shared::Shared;
use crate::storage::{Deleted, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;
use towline_state::CatalogError;
use towline_state::catalog::{Located, Node, NodeRef, Refusal};
use towline_types::{DocumentId, Name, NodeId, Timestamp, UserId};

/// How many rows are asked for, or forgotten, at a time: so many share a transaction, and other
/// requests wait for it.
const PAGE: u32 = 256;

/// What a sweep has deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Things that had been removed, each with all that was below it.
    pub(crate) removed: u64,
    /// Older versions of files.
    pub(crate) versions: u64,
    /// Entries of the change log.
    pub(crate) changes: u64,
}

/// Deletes everything that is kept no longer, a page at a time, until nothing is left or the
/// engine is to end. Blocks.
pub(crate) fn sweep(shared: &Shared) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    if !shared.clock_trust.is_trusted() || shared.storage.latch().is_closed() {
        return Ok(swept);
    }
    sweep_trash(shared, &mut swept)?;
    sweep_versions(shared, &mut swept)?;
    sweep_changes(shared, &mut swept)?;
    Ok(swept)
}

/// The moment that lies so long before now; none before 1970.
fn before(shared: &Shared, kept_for: Duration) -> Option<Timestamp> {
    let kept_ms = u64::try_from(kept_for.as_millis()).ok()?;
    let moment = shared.clock().now().get().checked_sub(kept_ms)?;
    Timestamp::try_from(moment).ok()
}

fn sweep_trash(shared: &Shared, swept: &mut Swept) -> Result<(), Error> {
    let Some(moment) = before(shared, shared.config.keep.trash) else { return Ok(()) };
    let mut failed = 0;
    loop {
        // What could not be deleted comes first the next time, and is passed over.
        let expired = shared.catalog.expired_trash(moment, PAGE + failed).wait()?;
        let mut deleted = 0;
        for (user, root) in expired {
            if shared.stopping.is_cancelled() {
                return Ok(());
            }
            match delete_removed(shared, user, root) {
                Ok(true) => deleted += 1,
                // It is being restored, or the engine is to end.
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(node_id = %root, %user, error = log::chain(&error), "something in the trash could not be deleted");
                    failed += 1;
                }
            }
        }
        swept.removed += deleted;
        if deleted == 0 {
            return Ok(());
        }
    }
}

/// Whether a removed node is kept no longer: from then on it is deleted, and not restored. While
/// the clock is not trusted nothing is.
pub(super) fn is_past_its_time(shared: &Shared, removed: &Node) -> bool {
    let moment = before(shared, shared.config.keep.trash);
    shared.clock_trust.is_trusted()
        && removed.deleted_at.is_some_and(|at| moment.is_some_and(|moment| at < moment))
}

/// Deletes one thing that was removed, with all that is below it; returns whether all of it is
/// gone.
fn delete_removed(shared: &Shared, user: UserId, root: NodeId) -> Result<bool, Error> {
    // A restoration that began before the time was over ends first; none begins from now on.
    drop(shared.places.change(user, MayBlock::on_own_thread()));
    if shared.places.may_differ(user) {
        return Ok(false);
    }
    match shared.catalog.locate(user, NodeRef::Id(root)).wait() {
        Ok(Located::InTrash { below, .. }) if below.is_empty() => {}
        Ok(_) | Err(CatalogError::Refused(Refusal::NoSuchNode)) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let (mut unknown, mut current) = (None, Vec::new());
    let mut judge = |below: &[Name]| {
        if shared.stopping.is_cancelled() {
            return Verdict::Stop;
        }
        match shared.catalog.in_trash(user, root, below).wait() {
            Ok(Some(document)) => {
                current.push(document.document_id);
                Verdict::Delete
            }
            Ok(None) => Verdict::Keep,
            Err(error) => {
                unknown = Some(error);
                Verdict::Stop
            }
        }
    };
    let deleted = shared.storage.delete_trash(user, root, &mut judge)?;
    if let Some(error) = unknown {
        return Err(error.into());
    }
    match deleted {
        Deleted::All => {}
        Deleted::Kept(place) => {
            let place = place.display();
            tracing::warn!(node_id = %root, %user, %place, "files of other programs lay in a removed folder; they were set aside");
        }
        Deleted::Stopped => return Ok(false),
    }
    // A replacement that was given up may have left a second name of a current version.
    for versions in current.chunks(PAGE as usize) {
        shared.storage.delete_versions(user, versions)?;
    }
    let mut after = None;
    loop {
        let versions = shared.catalog.versions_in_trash(root, after, PAGE).wait()?;
        let Some(last) = versions.last() else { break };
        after = Some(*last);
        shared.storage.delete_versions(user, &versions)?;
    }
    failpoint::reach("expiry.deleted");
    loop {
        match shared.catalog.forget_trash(user, root, PAGE).wait() {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(CatalogError::Refused(Refusal::Busy)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

fn sweep_versions(shared: &Shared, swept: &mut Swept) -> Result<(), Error> {
    let (retention, now) = (shared.config.keep.versions, shared.clock().now());
    let mut after = None;
    loop {
        let expired = shared.catalog.expired_versions(after, retention, now, PAGE).wait()?;
        let mut of_users: BTreeMap<UserId, Vec<DocumentId>> = BTreeMap::new();
        for (user, version) in expired.versions {
            of_users.entry(user).or_default().push(version);
        }
        for (user, versions) in of_users {
            if shared.stopping.is_cancelled() {
                return Ok(());
            }
            shared.storage.delete_versions(user, &versions)?;
            failpoint::reach("expiry.versions_deleted");
            swept.versions += versions.len() as u64;
            shared.catalog.forget_versions(versions).wait()?;
        }
        after = expired.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn sweep_changes(shared: &Shared, swept: &mut Swept) -> Result<(), Error> {
    let Some(moment) = before(shared, shared.config.keep.changes) else { return Ok(()) };
    for user in shared.catalog.users().wait()?.into_iter().flatten() {
        loop {
            if shared.stopping.is_cancelled() {
                return Ok(());
            }
            let trimmed = shared.catalog.trim_changes(user.user_id, moment, PAGE).wait()?;
            swept.changes += trimmed;
            if trimmed == 0 {
                break;
            }
        }
    }
    Ok(())
}
