//! From a whole upload to a document under its name. A `complete` of a client and the recovery
//! after a crash follow the same steps.

pub(crate) mod content_check;
pub(crate) mod deferred;
pub(crate) mod deferred_queue;
pub(crate) mod finish_on_request;
mod in_place;
pub(crate) mod leftover_copies;
pub(crate) mod remaining_steps;
pub(crate) mod reserved_name;
mod source;
pub(crate) mod volume_copies;

use crate::active::pending::PendingGuard;
use crate::active::{ActiveUpload, RowGuard};
use crate::error::Error;
use crate::failpoint;
use crate::may_block::MayBlock;
use crate::presence::{self, NAMES_LOOKED_AT};
use crate::receipt::Receipt;
use crate::shared::Shared;
use crate::storage::{NewName, Publishable};
use deferred_queue::{DeferredPermit, UnsyncedDocument};
use in_place::{completed, put_in_place};
use reserved_name::{NameReply, PublishSpec, ReservedName, reserve_another, reserve_name};
use source::{Source, give_up_whole, not_renamed};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use towline_state::CatalogError;
use towline_state::catalog::Refusal::{Busy, FolderTaken, PathTaken};
use towline_state::catalog::{self, Bytes, Document};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{DocumentId, Offset};
use volume_copies::{CopyProgress, VolumeCopy};

/// The publishing of a whole, verified upload.
///
/// 1. The data is synced. Otherwise the row would say `publishing` of bytes that a power cut could
///    still take (P2).
/// 2. The row says `publishing`, and the name. From here on recovery can finish the publishing
///    (P4).
/// 3. The file is renamed, never over another, and its directory is synced (P2, P3).
/// 4. The row says `completed`. Only then is there a receipt (P3).
///
/// The receipt is made right after the rename, and says that it is not durable, if three things
/// hold: durability is relaxed, there is a deferred permit, and no byte of the upload was ever
/// promised (P1). Step 1, the sync of step 3 and step 4 follow in [`deferred`]. Until then the row
/// says that the bytes may be in the page cache only, so recovery reads and hashes them before it
/// serves them under the name (P2).
///
/// Where the folder is on another file system, step 3 is a copy. The copy of a large file takes
/// long, and its client hears meanwhile that all bytes are durable. So the name of the staging
/// file, under which a start finds these bytes, is synced before (P1).
///
/// Where the document becomes the next version of a file, step 3 keeps the file that has the name
/// as a version, durably, before the new one is renamed over it: so the name always has a whole
/// file (P2), and nothing that was promised is lost (P1). Step 4 then gives the file its new
/// version and keeps the row of the old one. In this case the data is always synced first, and the
/// receipt is durable.
///
/// Where a move of one of the folders is under way, or another document is being published into the
/// same file, the catalog keeps no name (step 2) until that is over.
///
/// Each call of [`advance`](Self::advance) ends before it would wait for the catalog or for the sync
/// of a folder. This lets several publishings share one commit or one sync.
pub(crate) struct Publishing {
    spec: PublishSpec,
    source: Source,
    step: PublishStep,
    /// When the catalog first said that a move, or another document, is in the way.
    busy_since: Option<Instant>,
}

/// What comes next.
enum PublishStep {
    /// To sync the data. Its write-back has begun.
    SyncData,
    /// To wait for the name that the catalog has kept, and to rename the file.
    Rename { reserved: NameReply, permit: Option<DeferredPermit> },
    /// To ask for the name again, when the change that was in the way may be over.
    AwaitMove { permit: Option<DeferredPermit> },
    /// To copy the file to the file system of its folder, and all that follows.
    Copy(Box<Copying>),
    /// To make the name durable.
    SyncName(Box<dyn NewName>),
    /// To wait until the row says `completed`.
    RecordCompleted(catalog::Reply<Document>),
    /// Nothing.
    Done(Box<Receipt>),
}

/// How long a publishing waits for a move, or for another document of the same file. A move is a
/// few syncs of the disk; a relaxed document has its sync within some seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A copy to another file system that is to be made.
struct Copying {
    name: ReservedName,
    copy: VolumeCopy,
    /// The permit to read a large file; none while it waits for one.
    turn: Option<OwnedSemaphorePermit>,
}

/// How far a publishing is.
pub(crate) enum Advance {
    Continue(Box<Publishing>),
    Done(Box<Receipt>),
}

impl Publishing {
    /// Begins a publishing. The bytes are verified, and are written or on their way to the device.
    pub(crate) fn begin(
        shared: &Shared,
        spec: PublishSpec,
        active: Arc<ActiveUpload>,
        row_guard: RowGuard,
    ) -> Self {
        failpoint::reach("publish.verified");
        // A byte that was promised must not depend on what a power cut leaves of the other bytes
        // (P1).
        let is_promised = active.ask(|upload| upload.progress().has_promises());
        let permit = shared.deferred.permit(active.filesize()).filter(|_| !is_promised);
        let step = match permit {
            Some(permit) => {
                let bytes = Bytes::Cached { inode: active.staging().file_number() };
                let reserved = reserve_name(shared, spec, bytes, 0);
                PublishStep::Rename { reserved, permit: Some(permit) }
            }
            None => {
                // Where many uploads are published at the same time, their write-back begins before
                // the first sync, which then finds the bytes of all of them on the device.
                active.staging().start_writeback(Offset::ZERO, active.filesize().get());
                PublishStep::SyncData
            }
        };
        Self { spec, source: Source::Upload(active, row_guard), step, busy_since: None }
    }

    /// Begins with step 3, for a file that came whole: its row says `publishing`, and says rightly
    /// whether its bytes are synced. Blocks.
    pub(crate) fn of_whole(
        shared: &Shared,
        spec: PublishSpec,
        (staging, pending_guard): (Arc<dyn Publishable>, PendingGuard),
        row: (Document, u32),
        permit: Option<DeferredPermit>,
    ) -> Result<Advance, Error> {
        let source = Source::Whole(staging, Some(pending_guard));
        let next = rename(shared, spec, &source, ReservedName::of(row), permit);
        Self::then(shared, spec, source, next, None)
    }

    /// The document that is published.
    pub(crate) fn document_id(&self) -> DocumentId {
        self.spec.document_id
    }

    /// Whether it has to wait for its turn to be copied to another file system.
    pub(crate) fn wants_turn(&self) -> bool {
        matches!(&self.step, PublishStep::Copy(copying) if copying.turn.is_none())
    }

    /// Whether it has to wait for a move, or for another document of the same file, before its next
    /// step, which asks for the name again.
    pub(crate) fn waits_for_move(&self) -> bool {
        matches!(&self.step, PublishStep::AwaitMove { .. })
    }

    /// Whether its next step takes long, so that no other writer may wait for it.
    pub(crate) fn needs_thread(&self) -> bool {
        matches!(&self.step, PublishStep::Copy(_))
    }

    /// Gets the permit that it waited for; none if the connection has ended before.
    pub(crate) fn take_turn(&mut self, turn: Option<OwnedSemaphorePermit>) {
        if let PublishStep::Copy(copying) = &mut self.step {
            copying.turn = turn;
        }
    }

    /// Waits for the answer that it asked for, and does the next step. `say` is called with the
    /// progress of a copy to another file system. Blocks; a copy is made only where `may_block`
    /// allows it.
    pub(crate) fn advance(
        self,
        shared: &Shared,
        may_block: Option<MayBlock>,
        say: &mut dyn FnMut(CopyProgress),
    ) -> Result<Advance, Error> {
        let Self { spec, source, step, mut busy_since } = self;
        let next = match step {
            PublishStep::SyncData => sync_data(shared, spec, source.staging()),
            PublishStep::Rename { reserved, permit } => match reserved.wait() {
                Ok(row) => rename(shared, spec, &source, ReservedName::of(row), permit),
                Err(CatalogError::Refused(PathTaken | FolderTaken))
                    if source.fail_missing(shared, spec) =>
                {
                    let reserved = reserve_name(shared, spec, source.bytes(permit.as_ref()), 0);
                    Ok(PublishStep::Rename { reserved, permit })
                }
                Err(CatalogError::Refused(Busy))
                    if busy_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE
                        && !shared.stopping.is_cancelled() =>
                {
                    Ok(PublishStep::AwaitMove { permit })
                }
                Err(error) => Err(source.without_name(shared, spec.document_id, error.into())),
            },
            PublishStep::AwaitMove { permit } => {
                let reserved = reserve_name(shared, spec, source.bytes(permit.as_ref()), 0);
                Ok(PublishStep::Rename { reserved, permit })
            }
            PublishStep::Copy(copying) => match may_block {
                Some(may_block) => {
                    let copied = copy(shared, spec, *copying, say);
                    if let (Err(error), Source::Whole(..)) = (&copied, &source) {
                        // The pending guard was dropped when the copy began.
                        give_up_whole(shared, spec.document_id, error, may_block);
                    }
                    copied
                }
                None => Ok(PublishStep::Copy(copying)),
            },
            PublishStep::SyncName(name) => sync_name(shared, spec, source.staging(), name),
            PublishStep::RecordCompleted(recorded) => completed(shared, spec, recorded)
                .map(|receipt| PublishStep::Done(Box::new(receipt))),
            done @ PublishStep::Done(_) => Ok(done),
        };
        Self::then(shared, spec, source, next, busy_since)
    }

    fn then(
        shared: &Shared,
        spec: PublishSpec,
        mut source: Source,
        next: Result<PublishStep, Error>,
        busy_since: Option<Instant>,
    ) -> Result<Advance, Error> {
        if let (Ok(PublishStep::Copy(_)), Source::Whole(_, pending_guard)) = (&next, &mut source) {
            drop(pending_guard.take());
        }
        match next {
            Ok(PublishStep::Done(receipt)) => {
                if let Source::Upload(active, _) = &source {
                    active.published();
                }
                Ok(Advance::Done(receipt))
            }
            Ok(step) => Ok(Advance::Continue(Box::new(Self { spec, source, step, busy_since }))),
            Err(error) => {
                source.after_error(shared, spec.document_id, &error);
                Err(error)
            }
        }
    }
}

/// Does step 1, and asks the catalog for step 2.
fn sync_data(
    shared: &Shared,
    spec: PublishSpec,
    staging: &dyn Publishable,
) -> Result<PublishStep, Error> {
    shared.metrics.syncs.timed(|| staging.sync_data())?;
    failpoint::reach("publish.synced");
    let reserved = reserve_name(shared, spec, Bytes::Synced, 0);
    Ok(PublishStep::Rename { reserved, permit: None })
}

/// Does step 3, up to its sync. With a deferred permit the publishing is done then, with a receipt
/// that says that it is not durable.
fn rename(
    shared: &Shared,
    spec: PublishSpec,
    source: &Source,
    mut name: ReservedName,
    permit: Option<DeferredPermit>,
) -> Result<PublishStep, Error> {
    failpoint::reach("publish.row_publishing");
    let PublishSpec { document_id, owner, blake3, is_copy, .. } = spec;
    let staging = source.staging();
    // A name is free if a row has it and no file does: the disk decides. Each turn ends one such
    // row, so there is a last turn.
    let copies = name.copy.min(NAMES_LOOKED_AT);
    if copies > 0 && presence::fail_missing_at(shared, owner, &name.document.path, copies) {
        let reserved = reserve_name(shared, spec, name.document.bytes, 0);
        return Ok(PublishStep::Rename { reserved, permit });
    }
    let renamed = match name.document.replaces {
        // The old file is kept as a version before the new one gets its name: this is done as for a
        // copy to another file system, in one call of the store.
        Some(_) => Ok(None),
        None => staging.rename(owner, &name.path),
    };
    let renamed = match renamed {
        Ok(renamed) => renamed,
        Err(error) => {
            let another = reserve_another(shared, spec, &name, error);
            let reserved =
                another.map_err(|error| source.not_renamed(shared, spec, &name.path, error))?;
            return Ok(PublishStep::Rename { reserved, permit });
        }
    };
    match (renamed, permit) {
        (Some(new_name), None) => Ok(PublishStep::SyncName(new_name)),
        (Some(_), Some(permit)) => {
            failpoint::reach("publish.named");
            let ReservedName { document, path, .. } = name;
            let (stamp, named_at) = (staging.stamp(), document.last_chunk_at);
            let unsynced = UnsyncedDocument { document_id, owner, path, stamp, named_at, permit };
            shared.deferred.add(unsynced);
            let availability = shared.availability_at_completion();
            let document = Document { availability, ..document };
            let receipt = Receipt::relaxed(document, blake3, named_at, is_copy);
            Ok(PublishStep::Done(Box::new(receipt)))
        }
        // The folder is on another file system, or has the file that is replaced: nothing was
        // renamed.
        (None, permit) => {
            if permit.is_some() {
                // Step 1 is still to be done, and recorded: a copy may take long, and meanwhile the
                // client is told what the row promises of the bytes (P1).
                let synced = staging.sync_data();
                synced.map_err(|error| not_renamed(shared, spec, None, error))?;
                let row = shared.catalog.bytes_synced(document_id).wait();
                name.document =
                    row.map_err(|error| source.without_name(shared, document_id, error.into()))?;
            }
            let filesize = name.document.filesize;
            if filesize.get() <= BLOCK_SIZE_BYTES {
                let receipt = put_in_place(shared, spec, name, &mut |_| true)?;
                return Ok(PublishStep::Done(Box::new(receipt)));
            }
            if permit.is_some() {
                // The copy takes long. So step 2 is done again: then the row promises the bytes
                // meanwhile (P1), and a start need not read them before it makes the copy.
                let reserved = reserve_name(shared, spec, Bytes::Synced, name.copy);
                return Ok(PublishStep::Rename { reserved, permit: None });
            }
            let synced = source.sync_staged(shared, document_id);
            synced.map_err(|error| not_renamed(shared, spec, None, error))?;
            let copy = shared.volume_copies.begin(&name.document);
            let copy = copy.ok_or(Error::StillPublishing)?;
            Ok(PublishStep::Copy(Box::new(Copying { name, copy, turn: None })))
        }
    }
}

/// Does the rest of step 3, and step 4, where the folder is on another file system. The copy goes
/// on when the connection ends: only a stop of the server cuts it off.
fn copy(
    shared: &Shared,
    spec: PublishSpec,
    copying: Copying,
    say: &mut dyn FnMut(CopyProgress),
) -> Result<PublishStep, Error> {
    let Copying { name, copy, turn } = copying;
    let row = name.document.clone();
    let Some(_turn) = turn else {
        drop(copy);
        shared.volume_copies.enqueue(&row);
        return Err(Error::StillPublishing);
    };
    let receipt = put_in_place(shared, spec, name, &mut |copied| {
        copy.reached(copied);
        say(CopyProgress::of(&row, copied));
        !shared.stopping.is_cancelled()
    });
    Ok(PublishStep::Done(Box::new(receipt?)))
}

/// Does the rest of step 3, and asks the catalog for step 4.
fn sync_name(
    shared: &Shared,
    spec: PublishSpec,
    staging: &dyn Publishable,
    name: Box<dyn NewName>,
) -> Result<PublishStep, Error> {
    name.sync_name().map_err(|error| not_renamed(shared, spec, None, error))?;
    failpoint::reach("publish.in_place");
    let (id, now) = (spec.document_id, shared.clock().now());
    let recorded = shared.catalog.complete_publish(id, staging.stamp(), now);
    Ok(PublishStep::RecordCompleted(recorded))
}
