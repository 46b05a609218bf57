//! A file that the server has whole before there is a row of it: it came in one piece, or is a copy
//! of another file.
//!
//! 1. It is written to a file of its own, under a name that says that nothing was promised
//!    of it: where that is all there is, recovery removes it.
//! 2. It is synced, unless durability is relaxed and there is a permit (P2).
//! 3. The row is made, and says `publishing` from the beginning (P4).
//!
//! The rest is as for all files: see [`Publishing`].

use super::begin::Begun;
use super::state::{OrderedWriter, WriterState};
use crate::active::pending::PendingGuard;
use crate::command::WholeUpload;
use crate::error::Error;
use crate::event::{EventKind, Grant, GrantedBy};
use crate::failpoint;
use crate::publish::deferred_queue::DeferredPermit;
use crate::publish::reserved_name::PublishSpec;
use crate::publish::{Advance, Publishing};
use crate::shared::Shared;
use crate::storage::Publishable;
use std::sync::Arc;
use towline_state::CatalogError;
use towline_state::catalog::{self, Bytes, Created, Document, NewDocument, Unless};
use towline_types::{DocumentId, Offset};
use towline_upload::Phase;

/// A file for which step 1 of the module's description is done.
pub(super) struct StagedWhole {
    spec: PublishSpec,
    new: NewDocument,
    unless: Unless,
    file: UnclaimedFile,
    guard: PendingGuard,
    /// The permit to be made durable only after `SUCCESS`; none where it must be durable before.
    permit: Option<DeferredPermit>,
    step: StagedStep,
    origin: Origin,
}

type RowReply = catalog::Reply<Created<(Document, u32)>>;

/// What comes next.
enum StagedStep {
    Sync,
    Row(RowReply),
}

/// Where the bytes are from, which decides what is done if the file does not become a document.
pub(super) enum Origin {
    /// Not known yet.
    Unsaid,
    /// The client: the steps of a resumable upload begin with these bytes.
    Whole(Box<WholeUpload>),
    /// Another document: the upload begins anew.
    Copy(Box<Begun>),
}

/// What follows from a step.
pub(super) enum StagedOutcome {
    Next(Box<StagedWhole>),
    Publish(Advance),
    /// The file got no row, or no name.
    NoDocument(Origin, Option<CatalogError>),
}

/// A staging file that belongs to no row yet. Either a row [claims](Self::claim) it, or it is
/// [removed](Self::remove).
struct UnclaimedFile {
    shared: Arc<Shared>,
    staging: Arc<dyn Publishable>,
    id: DocumentId,
    is_decided: bool,
}

impl UnclaimedFile {
    /// A row speaks of the file, or may speak of it after a restart.
    fn claim(&mut self) {
        self.is_decided = true;
    }

    fn remove(&mut self) {
        self.is_decided = true;
        if let Err(error) = self.shared.storage.discard_whole(self.id) {
            let id = self.id;
            tracing::warn!(document_id = %id, %error, "the staging area could not be removed");
        }
    }
}

impl Drop for UnclaimedFile {
    /// After a panic the file is removed here: on a full disk it would take the room of the next
    /// try.
    fn drop(&mut self) {
        if !self.is_decided {
            tracing::error!(document_id = %self.id, "a staged file was dropped before it had a row");
            self.remove();
        }
    }
}

impl StagedWhole {
    /// A copy of another document was made.
    pub(super) fn copied(
        shared: &Arc<Shared>,
        spec: PublishSpec,
        begun: &Begun,
        (staging, guard): (Arc<dyn Publishable>, PendingGuard),
        permit: Option<DeferredPermit>,
    ) -> Self {
        let new = begun.new_document(spec.owner);
        let unless = Unless { same_bytes: None, ..begun.unless };
        Self::written(shared, spec, (new, unless), (staging, guard), permit)
    }

    /// A file that came whole was written.
    pub(super) fn written(
        shared: &Arc<Shared>,
        spec: PublishSpec,
        (new, unless): (NewDocument, Unless),
        (staging, guard): (Arc<dyn Publishable>, PendingGuard),
        permit: Option<DeferredPermit>,
    ) -> Self {
        let (shared, id) = (Arc::clone(shared), spec.document_id);
        let file = UnclaimedFile { shared, staging, id, is_decided: false };
        failpoint::reach("whole.file_made");
        let (step, origin) = (StagedStep::Sync, Origin::Unsaid);
        let mut staged = Self { spec, new, unless, file, guard, permit, step, origin };
        if staged.permit.is_some() {
            staged.make_row();
        } else {
            // Where many files are published at the same time, their write-back begins before the
            // first sync, which then finds the bytes of all of them on the device.
            staged.file.staging.start_writeback(Offset::ZERO, staged.new.length.bound().get());
        }
        staged
    }

    pub(super) fn from(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// Step 3.
    fn make_row(&mut self) {
        let bytes = match self.permit {
            Some(_) => Bytes::Cached { inode: self.file.staging.file_number() },
            None => Bytes::Synced,
        };
        self.file.claim();
        let (PublishSpec { document_id, blake3, .. }, new) = (self.spec, self.new.clone());
        let catalog = &self.file.shared.catalog;
        let row = catalog.publish_new(document_id, new, self.unless, blake3, bytes);
        self.step = StagedStep::Row(row);
    }
}

impl OrderedWriter {
    /// Does the next step.
    pub(super) fn resume_staged(
        &mut self,
        mut staged: Box<StagedWhole>,
    ) -> Result<StagedOutcome, Error> {
        match std::mem::replace(&mut staged.step, StagedStep::Sync) {
            StagedStep::Sync => self.sync_staged(staged),
            StagedStep::Row(created) => self.publish_staged(*staged, created),
        }
    }

    fn sync_staged(&mut self, mut staged: Box<StagedWhole>) -> Result<StagedOutcome, Error> {
        let syncs = &self.shared.metrics.syncs;
        if let Err(error) = syncs.timed(|| staged.file.staging.sync_data()) {
            if let Origin::Whole(_) = &staged.origin {
                self.in_flight.done();
            }
            staged.file.remove();
            return Err(error.into());
        }
        failpoint::reach("publish.synced");
        staged.make_row();
        Ok(StagedOutcome::Next(staged))
    }

    fn publish_staged(
        &mut self,
        staged: StagedWhole,
        created: RowReply,
    ) -> Result<StagedOutcome, Error> {
        let StagedWhole { spec, new, mut file, guard, permit, origin, .. } = staged;
        let row = match created.wait() {
            Ok(Created::New(row)) => row,
            needless => {
                // After these answers no row was committed, so the file belongs to no document and
                // is removed: on a full disk it would take the room of the next try. After any
                // other failure of the catalog the row may be there after a restart, and the file
                // stays for it.
                if matches!(
                    needless,
                    Ok(_)
                        | Err(CatalogError::Refused(_)
                            | CatalogError::Busy
                            | CatalogError::DiskFull
                            | CatalogError::ReadOnly)
                ) {
                    file.remove();
                }
                drop((file, guard));
                return Ok(StagedOutcome::NoDocument(origin, needless.err()));
            }
        };
        let id = spec.document_id;
        let whole = (Arc::clone(&file.staging), guard);
        let advance = Publishing::of_whole(&self.shared, spec, whole, row, permit);
        if let Origin::Copy(_) = origin {
            self.state = WriterState::Whole(id);
            return Ok(StagedOutcome::Publish(advance?));
        }
        if advance.is_err() {
            let row = self.shared.catalog.document(id).wait();
            if row.is_ok_and(|row| row.is_some_and(|row| row.phase == Phase::Failed)) {
                // The document has failed, and the client has no answer yet: the steps of a
                // resumable upload answer with the reason, and may keep the bytes.
                return Ok(StagedOutcome::NoDocument(origin, None));
            }
        }
        self.in_flight.done();
        self.shared.metrics.counters.received_bytes.add(new.length.bound().get());
        self.state = WriterState::Whole(id);
        let (offset, length) = (Offset::ZERO, new.length);
        let grant = Grant { by: GrantedBy::Begin, offset, length, lease: None };
        self.tell(Some(id), EventKind::Granted(grant));
        Ok(StagedOutcome::Publish(advance?))
    }
}
