//! Where the bytes come from that are published, and what a failed publishing leaves of them.

use super::deferred_queue::DeferredPermit;
use super::reserved_name::PublishSpec;
use crate::active::pending::PendingGuard;
use crate::active::{ActiveUpload, RowGuard};
use crate::end;
use crate::error::Error;
use crate::made_folders;
use crate::may_block::MayBlock;
use crate::presence::{self, ALL_NAMES_LOOKED_AT};
use crate::shared::Shared;
use crate::storage::{Publishable, StorageError};
use std::sync::Arc;
use towline_state::catalog::Bytes;
use towline_types::{DocumentId, DocumentPath, OnConflict, UserId};
use towline_upload::Phase;

/// See the module's description.
pub(super) enum Source {
    /// The bytes of an upload; no other thread changes what the catalog says of it.
    Upload(Arc<ActiveUpload>, #[allow(dead_code, reason = "held, not read")] RowGuard),
    /// The bytes of a file that came whole. While there is a pending guard, a request for the
    /// document waits: until the file has its name, or until its copy to another file system
    /// begins. During the copy, the [`VolumeCopy`](super::volume_copies::VolumeCopy) keeps every
    /// other thread from the document, and a request for it is told how far the copy is.
    Whole(
        Arc<dyn Publishable>,
        #[allow(dead_code, reason = "held, not read")] Option<PendingGuard>,
    ),
}

impl Source {
    pub(super) fn staging(&self) -> &dyn Publishable {
        match self {
            Self::Upload(active, _) => active.staging(),
            Self::Whole(staging, _) => &**staging,
        }
    }

    /// Makes the bytes durable, together with the name under which a start finds them. This is done
    /// before a copy to another file system: the copy takes long, and its client hears meanwhile
    /// that the bytes are durable (P1).
    pub(super) fn sync_staged(&self, shared: &Shared, id: DocumentId) -> Result<(), StorageError> {
        match self {
            Self::Upload(active, _) => active.staging().sync(),
            // Until here the name of the staging file said that nothing was promised of it. `open`
            // gives it the name of an upload.
            Self::Whole(..) => shared.storage.open(id)?.sync(),
        }
    }

    /// What the row is to say of the bytes.
    pub(super) fn bytes(&self, permit: Option<&DeferredPermit>) -> Bytes {
        match permit {
            Some(_) => Bytes::Cached { inode: self.staging().file_number() },
            None => Bytes::Synced,
        }
    }

    /// Looks at the rows that have the names which this document may get, and ends those documents
    /// among them that have no file any more. Returns whether there were any. A file that came
    /// whole does nothing here: it begins again as an upload that can be resumed.
    pub(super) fn fail_missing(&self, shared: &Shared, spec: PublishSpec) -> bool {
        let PublishSpec { owner, on_conflict, .. } = spec;
        let Self::Upload(active, _) = self else { return false };
        let copies = match on_conflict {
            OnConflict::Rename => ALL_NAMES_LOOKED_AT,
            OnConflict::Reject | OnConflict::Replace | OnConflict::Skip => 1,
        };
        let path = active.ask(|upload| upload.path().clone());
        presence::fail_missing_at(shared, owner, &path, copies)
    }

    /// What becomes of a document when its file did not get its name. A document that came whole
    /// fails: no client knows of it, and its file may have no name under which it could be found.
    /// The exception is an error after which the name may be there: then the row stays as it is,
    /// and the next request for the document, or the next start, finds out.
    pub(super) fn not_renamed(
        &self,
        shared: &Shared,
        spec: PublishSpec,
        path: &DocumentPath,
        error: StorageError,
    ) -> Error {
        match self {
            Self::Upload(..) => not_renamed(shared, spec, Some(path), error),
            Self::Whole(..) if error.is_damage() => Error::NameUnsynced(error),
            Self::Whole(..) => {
                let error = Error::Storage(error);
                fail_whole(shared, spec.document_id, &error);
                error
            }
        }
    }

    /// What becomes of a document when no name was found for it. A document that came whole fails:
    /// its row has no name yet, or a name that another file has.
    pub(super) fn without_name(&self, shared: &Shared, id: DocumentId, error: Error) -> Error {
        if let Self::Whole(..) = self {
            fail_whole(shared, id, &error);
        }
        error
    }

    /// The row decides what a failed publishing leaves: an upload that can be completed again,
    /// or a rename that the next request for the document finishes. A file that came whole is
    /// sent again.
    pub(super) fn after_error(&self, shared: &Shared, id: DocumentId, error: &Error) {
        if !is_uploading(shared, id) {
            return;
        }
        match self {
            Self::Upload(active, _) => shared.checkpoints.unpublished(active),
            Self::Whole(_, Some(_)) => fail_whole(shared, id, error),
            // The copy of the file has failed: see `give_up_whole`.
            Self::Whole(_, None) => {}
        }
    }
}

fn fail_whole(shared: &Shared, id: DocumentId, error: &Error) {
    made_folders::record_of(shared, id);
    if let Err(error) = end::end(shared, id, Phase::Failed, &error.rejection().message) {
        not_recorded(id, &error);
    }
}

/// Ends the document of a file that came whole, after its copy to another file system has failed.
/// Does nothing unless the row says `uploading`. Meanwhile a request for the document may resume or
/// complete the upload. Blocks.
pub(super) fn give_up_whole(shared: &Shared, id: DocumentId, error: &Error, may_block: MayBlock) {
    if !is_uploading(shared, id) {
        return;
    }
    match end::give_up(shared, id, Phase::Failed, &error.rejection().message, may_block) {
        Ok(()) | Err(Error::Refused(_) | Error::StillPublishing) => {}
        Err(error) => not_recorded(id, &error),
    }
}

fn is_uploading(shared: &Shared, id: DocumentId) -> bool {
    let row = shared.catalog.document(id).wait();
    row.is_ok_and(|row| row.is_some_and(|row| row.phase == Phase::Uploading))
}

fn not_recorded(id: DocumentId, error: &Error) {
    tracing::error!(document_id = %id, %error, "the failure was not recorded");
}

/// What a failed rename leaves. Nothing was renamed if the staging file still has its name, and the
/// final name does not belong to the same file: then the upload can be completed again. Otherwise
/// it is not known whether the new name is durable. Then the row goes on saying `publishing`, and
/// the next request for the document, or the next start, finishes it (P3, P4).
pub(super) fn not_renamed(
    shared: &Shared,
    spec: PublishSpec,
    path: Option<&DocumentPath>,
    error: StorageError,
) -> Error {
    let PublishSpec { document_id: id, owner, .. } = spec;
    match (shared.storage.open(id), error) {
        (Err(StorageError::Lost(_)), error @ StorageError::Lost(_)) => error.into(),
        (Err(_), error) => Error::NameUnsynced(error),
        (Ok(staging), error)
            if path.is_some_and(|path| is_file_at(shared, owner, path, staging.file_number())) =>
        {
            Error::NameUnsynced(error)
        }
        (Ok(_), error) => {
            // The folders are recorded while the row still has the name, and so keeps it from
            // others.
            made_folders::record_of(shared, id);
            match shared.catalog.return_to_uploading(id, shared.clock().now()).wait() {
                Ok(()) => error.into(),
                Err(catalog) => catalog.into(),
            }
        }
    }
}

/// Whether the file with that number (its inode) has that name as well.
fn is_file_at(shared: &Shared, owner: UserId, path: &DocumentPath, file_number: u64) -> bool {
    let file = shared.storage.published(owner, path);
    file.is_ok_and(|file| file.is_some_and(|file| file.file_number() == file_number))
}
