//! Questions about documents. The writer's own upload stays as it is.

use super::state::{OrderedWriter, SHORT_FILE_BYTES};
use crate::command::{PAGE_BLOCKS, PAGE_RANGES_MAX};
use crate::error::Error;
use crate::event::{Answer, Found, Position, Status};
use crate::may_block::MayBlock;
use crate::presence::{self, Presence};
use crate::uploads;
use std::ops::Range;
use towline_state::catalog;
use towline_types::{BlockIndex, DocumentId, DocumentPath, Offset};
use towline_upload::{Phase, Progress};

impl OrderedWriter {
    pub(super) fn status(&self, id: DocumentId, may_block: MayBlock) -> Result<(), Error> {
        let document = uploads::document_of(&self.shared, self.user, id, may_block)?;
        let active = self.shared.registry.get(document.document_id);
        let waiting = document.phase == Phase::Uploading;
        let (durable, length) = (document.durable_offset, document.length());
        let status = |position, is_active| {
            let status = Status {
                phase: document.phase,
                availability: document.availability,
                path: document.file_path.unwrap_or(document.path),
                position,
                is_active,
                hash: document.blake3,
                sha256: document.sha256,
                node_id: document.node_id,
                chunk_size: document.chunk_size,
                started_at: document.started_at,
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

    /// Says which bytes of an upload are here: those of an upload without a writer as the catalog
    /// has recorded them.
    pub(super) fn received_ranges(
        &self,
        id: DocumentId,
        from: Offset,
        max: u32,
        may_block: MayBlock,
    ) -> Result<(), Error> {
        let document = uploads::document_of(&self.shared, self.user, id, may_block)?;
        let max = max.min(PAGE_RANGES_MAX) as usize;
        let of = |progress: &Progress| progress.received_ranges(from).take(max).collect();
        let ranges = match (self.shared.registry.get(id), document.phase) {
            (Some(active), _) => active.ask(|upload| of(upload.progress())),
            (None, Phase::Uploading) => self.recorded_ranges(&document, from, max)?,
            (None, Phase::Publishing | Phase::Completed) => {
                let end = document.filesize.get();
                (from.get() < end).then_some(from.get()..end).into_iter().collect()
            }
            (None, Phase::Failed | Phase::Cancelled | Phase::Expired) => Vec::new(),
        };
        self.answer(Some(id), Answer::ReceivedRanges(ranges));
        Ok(())
    }

    /// The same from the rows of blocks, a page at a time: a file of 5 TB has 5,000,000 of them.
    fn recorded_ranges(
        &self,
        document: &catalog::Document,
        from: Offset,
        max: usize,
    ) -> Result<Vec<Range<u64>>, Error> {
        let (end, durable) = (document.filesize, document.durable_offset.get());
        let mut ranges = Vec::new();
        if from < durable {
            add(&mut ranges, from.get()..durable.get(), max);
        }
        let mut next = BlockIndex::at(from.max(durable));
        loop {
            let id = document.document_id;
            let page = self.shared.catalog.blocks_from(id, next, PAGE_BLOCKS).wait()?;
            let is_last = page.len() < PAGE_BLOCKS as usize;
            for (index, _) in page {
                let start = index.start().get().max(from.get());
                let stop = index.end(end).get();
                if start < stop && !add(&mut ranges, start..stop, max) {
                    return Ok(ranges);
                }
                next = index.next();
            }
            if is_last {
                return Ok(ranges);
            }
        }
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

/// Adds a range that begins at or behind the end of the last one, where there is room for it.
/// Returns whether there was.
fn add(ranges: &mut Vec<Range<u64>>, range: Range<u64>, max: usize) -> bool {
    if let Some(last) = ranges.last_mut().filter(|last| range.start <= last.end) {
        last.end = last.end.max(range.end);
        return true;
    }
    let has_room = ranges.len() < max;
    if has_room {
        ranges.push(range);
    }
    has_room
}
