//! From `resume` or `join` to an upload that takes bytes.

use super::state::{OpenUpload, OrderedWriter, Room, WriterState};
use crate::active::{ActiveUpload, WriterId};
use crate::command::ResumeRequest;
use crate::error::Error;
use crate::log::Since;
use crate::may_block::MayBlock;
use crate::publish::finish_on_request;
use crate::storage::StorageError;
use crate::{end, uploads};
use std::sync::Arc;
use towline_state::catalog::Document;
use towline_types::{DocumentId, Generation};
use towline_upload::{Phase, Refusal, ResumeClaim, Upload as Rules};

/// How often a resume looks at an upload that has changed at each look, before it is refused.
const LOOKS_MAX: usize = 64;

impl OrderedWriter {
    /// Finds the upload and takes it over. If it changes meanwhile (it is completed, given up, or
    /// read back by another writer), the resume looks at it again.
    pub(super) fn resume(
        &mut self,
        request: &ResumeRequest,
        may_block: MayBlock,
    ) -> Result<(), Error> {
        self.leave_for_another();
        // Until the upload is granted, data for this writer belongs to no upload.
        self.state = WriterState::Rejected;
        let id = request.id;
        let claim = ResumeClaim {
            user: self.user,
            mode: request.mode,
            filename: request.filename.as_deref(),
            filesize: request.filesize,
            grow: request.grow,
            offset: request.offset,
        };
        if let (true, Some(filesize)) = (request.grow, request.filesize) {
            Rules::admit(filesize, self.shared.config.max_filesize)?;
        }
        let shared = Arc::clone(&self.shared);
        for _ in 0..LOOKS_MAX {
            let document = uploads::document_of(&shared, self.user, id, may_block)?;
            match document.phase {
                Phase::Completed => {
                    check_same_file(request, &document)?;
                    return self.receipt(document);
                }
                Phase::Publishing => {
                    finish_on_request::finish(&shared, id, may_block, &mut self.says_copied(id))?;
                    continue;
                }
                _ => {}
            }
            let document = still_open(document)?;
            match self.take_over(id, &claim, may_block) {
                Ok(Some((active, writer))) => {
                    shared.state_copy.changed();
                    let (on_conflict, room) = (document.on_conflict, Room::of(active.length()));
                    self.since = since(&active);
                    let open = OpenUpload { active, writer, on_conflict, room };
                    self.state = WriterState::Active(open);
                    self.observe_open();
                    return Ok(());
                }
                // The upload is retired, or is just ending: the next look at its row shows it.
                Ok(None) => {}
                Err(Error::Refused(Refusal::NotUploading(_))) => {
                    finish_on_request::finish(&shared, id, may_block, &mut self.says_copied(id))?;
                }
                Err(error @ Error::Storage(StorageError::Lost(_))) => {
                    uploads::fail(&shared, id, error, may_block)?;
                }
                Err(error @ Error::Refused(Refusal::Expired { .. })) => {
                    end::give_up(&shared, id, Phase::Expired, &error.to_string(), may_block)?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended)
    }

    fn take_over(
        &self,
        id: DocumentId,
        claim: &ResumeClaim<'_>,
        may_block: MayBlock,
    ) -> Result<Option<(Arc<ActiveUpload>, WriterId)>, Error> {
        let active = uploads::find_or_load(&self.shared, id)?;
        let is_taken_over = active.ask(|upload| upload.lease().is_some());
        let now = self.shared.clock().now();
        let expire_after = self.shared.clock_trust.expire_after();
        let writer = active.resume(
            claim,
            self.subscriber(),
            now,
            expire_after,
            &self.shared.catalog,
            may_block,
        )?;
        if writer.is_some() {
            let counters = &self.shared.metrics.counters;
            counters.uploads_resumed.increment();
            counters.takeovers.add(u64::from(is_taken_over));
        }
        Ok(writer.map(|writer| (active, writer)))
    }

    /// Adds this writer to those that share the lease of an upload. Unlike [`Self::resume`] it
    /// takes nothing over: an upload without writers has no lease.
    pub(super) fn join(
        &mut self,
        id: DocumentId,
        lease: Generation,
        may_block: MayBlock,
    ) -> Result<(), Error> {
        self.leave_for_another();
        self.state = WriterState::Rejected;
        let document = uploads::document_of(&self.shared, self.user, id, may_block)?;
        let document = still_open(document)?;
        let active = match (document.phase, self.shared.registry.get(document.document_id)) {
            (Phase::Uploading, Some(active)) => active,
            (Phase::Uploading, None) => return Err(Error::Refused(Refusal::Superseded)),
            (past, _) => return Err(Error::Refused(Refusal::NotUploading(past))),
        };
        let writer = active.join(self.user, lease, self.subscriber())?;
        self.since = since(&active);
        let (on_conflict, room) = (document.on_conflict, Room::of(active.length()));
        self.state = WriterState::Active(OpenUpload { active, writer, on_conflict, room });
        Ok(())
    }
}

/// When this writer began with the upload, and how many bytes the upload had then.
fn since(active: &ActiveUpload) -> Since {
    Since::now(active.ask(|upload| upload.progress().received().get()))
}

/// Checks what a request says of the file against the document that the upload became: the size,
/// and the name, which may be the one that was asked for or the one that the document got.
fn check_same_file(request: &ResumeRequest, document: &Document) -> Result<(), Error> {
    if request.filesize.is_some_and(|filesize| filesize != document.filesize) {
        return Err(Error::Refused(Refusal::FileChanged { what: "filesize" }));
    }
    let got = document.file_path.as_ref().unwrap_or(&document.path);
    let names = [document.path.filename().as_str(), got.filename().as_str()];
    match &request.filename {
        Some(filename) if !names.contains(&filename.as_str()) => {
            Err(Error::Refused(Refusal::FileChanged { what: "filename" }))
        }
        _ => Ok(()),
    }
}

/// The document, unless it has ended without one.
pub(super) fn still_open(document: Document) -> Result<Document, Error> {
    match document.phase {
        Phase::Failed | Phase::Cancelled | Phase::Expired => Err(Error::Ended {
            phase: document.phase,
            reason: document.reason.unwrap_or_else(|| "begin it again".to_owned()),
        }),
        Phase::Uploading | Phase::Publishing | Phase::Completed => Ok(document),
    }
}
