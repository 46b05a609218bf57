//! An upload of bytes that the server has already. Where the same file is in the same place,
//! nothing is left to do; where the bytes are in another document, a copy becomes the new document.
//!
//! The copy is made like a file that came whole (see [`staged_whole`](super::staged_whole)): first
//! a file, under a name that says that nothing was promised of it, which is read, verified and
//! synced, and only then a row. So a crash leaves nothing of an unfinished copy (P4), no file gets
//! a final name before it was read (P2), and no row speaks of bytes that a power cut could take
//! (P3).

use super::answer::Stored;
use super::begin::Begun;
use super::staged_whole::{Origin, StagedWhole};
use super::state::{OrderedWriter, SHORT_FILE_BYTES};
use crate::audit::AuditAction;
use crate::error::Error;
use crate::jobs;
use crate::presence::{self, Presence};
use crate::publish::reserved_name::PublishSpec;
use crate::receipt::Receipt;
use crate::storage::{Copied, Published};
use tokio::sync::OwnedSemaphorePermit;
use towline_state::catalog::{Document, Located, NodeRef, NodeWish};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{DocumentId, FileHash, FileSize, OnConflict};

/// Documents that may have the bytes that the client is about to send.
pub(super) struct KnownBytes {
    begun: Box<Begun>,
    documents: Vec<Document>,
    use_: Use,
    /// The permit to read large files, to verify them.
    permit: Option<OwnedSemaphorePermit>,
}

/// What is wanted of these documents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// To know whether one of them is what the client asks for.
    Look,
    /// A copy of their bytes.
    Copy,
}

/// What follows from a look at them.
pub(super) enum KnownOutcome {
    /// Their files are large: they are read on a thread of their own.
    Read(Box<KnownBytes>),
    /// A file with their bytes was made.
    Staged(Box<StagedWhole>),
    /// None of them helps.
    Useless(Box<Begun>),
    /// One of them is what was asked for, and the client has its receipt.
    Done,
}

impl KnownBytes {
    pub(super) fn filesize(&self) -> FileSize {
        self.begun.request.length.bound()
    }

    /// The document that is looked at first.
    pub(super) fn first(&self) -> Option<(DocumentId, FileSize)> {
        self.documents.first().map(|document| (document.document_id, self.filesize()))
    }

    /// The same with the permit that it waited for. Without a permit the files are not read: the
    /// answer is [`Error::CutShort`], and not that the bytes are not there.
    pub(super) fn with_permit(self, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { permit, ..self }
    }

    /// Whether a large file is to be read, and there is no permit for it yet.
    pub(super) fn wants_permit(&self) -> bool {
        let is_large = self.filesize().get() > BLOCK_SIZE_BYTES;
        is_large && !self.documents.is_empty() && self.use_ == Use::Look && self.permit.is_none()
    }

    /// Whether the file is too long to be read while other writers of the batch wait.
    pub(super) fn is_long(&self) -> bool {
        self.filesize().get() > SHORT_FILE_BYTES
    }
}

impl OrderedWriter {
    /// Looks whether the file of one of these documents, which have the place that was
    /// asked for, is there.
    pub(super) fn look_at_known(
        &mut self,
        begun: Box<Begun>,
        documents: Vec<Document>,
    ) -> Result<KnownOutcome, Error> {
        let mut unread = Vec::new();
        for document in documents {
            match presence::of(&self.shared, &document) {
                _ if !presence::stands_for(&self.shared, &document, &begun.request.path) => {}
                // It is not there, and to send it again under another name would help nobody.
                _ if document.availability.is_quarantined() => jobs::refuse_held(&document)?,
                Presence::Promised(_) => return self.is_there(&begun, document),
                Presence::Unread(_) => unread.push(document),
                Presence::Gone => drop(presence::fail_missing(&self.shared, &document)),
                Presence::Other | Presence::Unknown => {}
            }
        }
        let known = KnownBytes { begun, documents: unread, use_: Use::Look, permit: None };
        if known.is_long() && !known.documents.is_empty() {
            return Ok(KnownOutcome::Read(Box::new(known)));
        }
        self.use_known(known)
    }

    /// Copies the bytes of one of these documents, whatever their places.
    pub(super) fn copy_known(
        &mut self,
        begun: Box<Begun>,
        documents: Vec<Document>,
    ) -> Result<KnownOutcome, Error> {
        let known = KnownBytes { begun, documents, use_: Use::Copy, permit: None };
        if known.is_long() {
            return Ok(KnownOutcome::Read(Box::new(known)));
        }
        self.use_known(known)
    }

    /// Reads the files, which may take long.
    pub(super) fn use_known(&mut self, known: KnownBytes) -> Result<KnownOutcome, Error> {
        if known.wants_permit() {
            return Err(Error::CutShort);
        }
        let KnownBytes { mut begun, documents, use_, permit: _permit } = known;
        match use_ {
            Use::Look => {
                for document in documents {
                    if self.is_read_and_right(&document)? {
                        return self.is_there(&begun, document);
                    }
                }
                begun.unless.same_place = None;
            }
            Use::Copy => {
                if let Some(blake3) = begun.request.hash
                    && let Some(staged) = self.copy(&begun, &documents, blake3)?
                {
                    let staged = staged.from(Origin::Copy(begun));
                    return Ok(KnownOutcome::Staged(Box::new(staged)));
                }
                begun.unless.same_bytes = None;
            }
        }
        Ok(KnownOutcome::Useless(begun))
    }

    /// The document is what was asked for: no byte is to be sent or copied.
    fn is_there(&mut self, begun: &Begun, document: Document) -> Result<KnownOutcome, Error> {
        self.describe(begun, &document)?;
        if let Some(receipt) = Receipt::of(document) {
            self.observe_receipt(&receipt, AuditAction::Exists);
            self.finish(receipt, Stored::Before);
        }
        Ok(KnownOutcome::Done)
    }

    /// Gives the file the time and the mode that the client has told, where they are others: what
    /// is there then is what the client has. A client that does not want what is there to change
    /// has asked for that.
    fn describe(&self, begun: &Begun, document: &Document) -> Result<(), Error> {
        let NodeWish { mtime, mode, .. } = begun.request.wish;
        let may_change =
            matches!(begun.request.on_conflict, OnConflict::Rename | OnConflict::Replace);
        let Some(node_id) = document.node_id.filter(|_| may_change) else { return Ok(()) };
        if mtime.is_none() && mode.is_none() {
            return Ok(());
        }
        let catalog = &self.shared.catalog;
        // A look costs no transaction, and as a rule nothing is different.
        let node = match catalog.locate(self.user, NodeRef::Id(node_id)).wait()? {
            Located::Living { node, .. } => node,
            Located::Root | Located::InTrash { .. } => return Ok(()),
        };
        let is_same = mtime.is_none_or(|mtime| node.mtime == Some(mtime))
            && mode.is_none_or(|mode| node.mode == Some(mode));
        if !is_same && catalog.set_metadata(self.user, node_id, mtime, mode, begun.now).wait()? {
            self.shared.notifier.raise(self.user);
        }
        Ok(())
    }

    fn is_read_and_right(&self, document: &Document) -> Result<bool, Error> {
        let Presence::Unread(found) = presence::of(&self.shared, document) else {
            return Ok(false);
        };
        let goes_on = &mut self.at_work(document.document_id, document.filesize);
        presence::verify(&self.shared, document, &found, goes_on)?.ok_or(Error::CutShort)
    }

    /// A file with the bytes of the first of these documents that still has them; nothing where the
    /// client is to send them.
    fn copy(
        &self,
        begun: &Begun,
        documents: &[Document],
        blake3: FileHash,
    ) -> Result<Option<StagedWhole>, Error> {
        let shared = &self.shared;
        let filesize = begun.request.length.bound();
        // A copy of one block is not cut off once it has begun, so the end of the session is looked
        // at before: see [`Self::at_work`].
        if self.ending.is_cancelled() {
            return Err(Error::CutShort);
        }
        let Some(storage) = shared.storage.copies() else { return Ok(None) };
        let is_large = filesize.get() > BLOCK_SIZE_BYTES;
        let permit = shared.large_reads.clone().try_acquire_owned().ok();
        if is_large && permit.is_none() {
            return Ok(None);
        }
        for document in documents {
            let Some(found) = self.source(document) else { continue };
            let document_id = shared.catalog.reserve_document_id(self.user)?;
            let guard = shared.pending.begin(document_id);
            let deferred = shared.deferred.permit(filesize);
            let goes_on = &mut self.at_work(document_id, filesize);
            let content = (filesize, blake3);
            let copied = storage.create_copy(document_id, &found, content, goes_on);
            let from = document.document_id;
            match copied {
                Ok(Copied::Whole(staging)) => {
                    let on_conflict = begun.request.on_conflict;
                    let owner = self.user;
                    let spec =
                        PublishSpec { document_id, owner, blake3, on_conflict, is_copy: true };
                    tracing::debug!(%document_id, %from, "copied");
                    let staged =
                        StagedWhole::copied(shared, spec, begun, (staging, guard), deferred);
                    return Ok(Some(staged));
                }
                Ok(Copied::Stopped) => return Err(Error::CutShort),
                Ok(Copied::OtherBytes) => presence::mark_damaged(shared, document),
                // A fault that prevents the copy will also be met by the upload, which reports it.
                Err(error) => {
                    tracing::debug!(document_id = %from, %error, "its file could not be copied");
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// The file of a document, if it may be the right one.
    fn source(&self, document: &Document) -> Option<Published> {
        // It may have been held back since the catalog named it.
        jobs::refuse_held(document).ok()?;
        let path = document.file_path.as_ref()?;
        match self.shared.storage.published(self.user, path) {
            Ok(Some(found)) => (found.filesize == document.filesize).then_some(found),
            Ok(None) => {
                if let Presence::Gone = presence::of(&self.shared, document) {
                    presence::fail_missing(&self.shared, document);
                }
                None
            }
            Err(_) => None,
        }
    }
}
