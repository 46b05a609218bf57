//! The uploads of a user that are not complete.

use super::pieces::{Piece, in_pieces};
use super::request::{PAGE_ENTRIES_MAX, UnfinishedUpload, UploadPage};
use crate::error::Error;
use crate::shared::Shared;
use towline_state::catalog::Document;
use towline_types::{DocumentId, UserId};
use towline_upload::Phase;

/// A page of these uploads. It costs a few looks at the catalog, by an index, and one at the
/// registry for each upload of the page, so the work that a client can cause is bounded (P6).
/// Blocks.
pub(crate) fn uploads(
    shared: &Shared,
    user: UserId,
    after: Option<DocumentId>,
    limit: u32,
) -> Result<UploadPage, Error> {
    let mut uploads = Vec::new();
    let next = in_pieces(limit.min(PAGE_ENTRIES_MAX), after, |after, wanted| {
        let rows = shared.catalog.uploads_of(user, after, wanted).wait()?;
        let (found, last) = (rows.len(), rows.last().map(|row| row.document_id));
        uploads.extend(rows.into_iter().map(|row| standing(shared, row)));
        let next = last.filter(|_| found >= wanted as usize);
        Ok(Piece { rows: found, shown: found, next })
    })?;
    Ok(UploadPage { uploads, next })
}

fn standing(shared: &Shared, row: Document) -> UnfinishedUpload {
    let (durable, length) = (row.durable_offset, row.length());
    let expires = shared.config.expire_after;
    let mut upload = UnfinishedUpload {
        document_id: row.document_id,
        phase: row.phase,
        path: row.file_path.unwrap_or(row.path),
        received: durable.get(),
        durable,
        length,
        is_active: false,
        expires_at: (row.phase == Phase::Uploading).then(|| row.last_chunk_at.plus(expires)),
    };
    if let Some(active) = shared.registry.get(row.document_id) {
        let position = active.position();
        (upload.received, upload.durable) = (position.received, position.durable);
        upload.is_active = active.ask(|rules| rules.lease().is_some());
    }
    upload
}
