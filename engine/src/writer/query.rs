//! Questions about documents. The writer's own upload stays as it is.

use super::state::{OrderedWriter, SHORT_FILE_BYTES};
use crate::error::Error;
use crate::event::{Answer, Found, Position, Status};
use crate::may_block::MayBlock;
use crate::presence::{self, Presence};
use crate::uploads;
use towline_state::catalog;
use towline_types::{DocumentId, DocumentPath};
use towline_upload::Phase;

impl OrderedWriter {
    pub(super) fn status(&self, id: DocumentId, may_block: MayBlock) -> Result<(), Error> {
        let document = uploads::document_of(&self.shared, self.user, id, may_block)?;
        let active = self.shared.registry.get(document.document_id);
        let waiting = document.phase == Phase::Uploading;
        let (durable, length) = (document.durable_offset, document.length());
        let status = |position, is_active| {
            let status = Status {
                phase: document.phase,
                path: document.file_path.unwrap_or(document.path),
                position,
                is_active,
                hash: document.blake3,
                created_at: document.created_at,
                expires_at: waiting
                    .then(|| document.last_chunk_at.plus(self.shared.config.expire_after)),
                reason: document.reason,
            };
            self.answer(Some(document.document_id), Answer::Status(status));
        };
        match active {
            Some(active) => active.say_standing(|position, is_active| {
                // The name, the size and all else are those of the row.
                status(Position { length, ..position }, is_active);
            }),
            None => status(Position { received: durable.get(), durable, length }, false),
        }
        Ok(())
    }

    /// Answers `find`.
    pub(super) fn found(&self, path: &DocumentPath, found: catalog::Found) {
        // A file that takes long to read is not read here, and counts as not there: `upload` reads
        // it.
        let is_there = |document: &&catalog::Document| {
            if !presence::stands_for(&self.shared, document, path) {
                return false;
            }
            match presence::of(&self.shared, document) {
                Presence::Promised(_) => true,
                Presence::Unread(file) if document.filesize.get() <= SHORT_FILE_BYTES => {
                    let verified = presence::verify(&self.shared, document, &file, &mut |_| true);
                    matches!(verified, Ok(Some(true)))
                }
                _ => false,
            }
        };
        let same = found.same_place.iter().find(is_there).map(|document| document.document_id);
        let found = Found {
            same_size: found.same_size,
            same_place: same,
            is_known: found.is_known && same.is_none(),
            unfinished: found
                .unfinished
                .map(|document| (document.document_id, document.durable_offset)),
        };
        self.answer(None, Answer::Found(found));
    }
}
