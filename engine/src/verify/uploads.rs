//! From the row of an upload to its staging file.
//!
//! What arrived was hashed as it arrived, and `complete` does not read it again:
//! bytes that rot in a staging file are found here, or by the verification of the
//! document that they became.

use super::documents::unreadable;
use super::{Verification, VerifyError, Wrong};
use crate::storage::StorageError;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use towline_state::catalog::{Bytes, Document};
use towline_types::{BlockIndex, ChainingValue, Offset};

impl Verification<'_> {
    /// What is wrong with the promised bytes of an upload on its way.
    pub(super) fn upload(
        &mut self,
        row: &Document,
    ) -> Result<Option<(PathBuf, Wrong)>, VerifyError> {
        // The promises first: bytes are synced before they are promised, and a
        // staging file never becomes shorter while a server is at work on it.
        let blocks = self.catalog.blocks(row.document_id).wait()?;
        let blocks_end = blocks.last().map(|(index, _)| index.end(row.filesize));
        let promised = row.durable_offset.get().max(blocks_end.unwrap_or(Offset::ZERO));
        let path = self.scan.staging_path(row.document_id);
        let (file, length) = match self.scan.staging(row.document_id) {
            Ok(Some(found)) => found,
            // Cut off before its file was made: nothing was promised.
            Ok(None) if promised == Offset::ZERO => return Ok(None),
            Ok(None) | Err(StorageError::Lost(_)) => {
                return Ok(Some((path, Wrong::UploadShort { promised, found_bytes: None })));
            }
            Err(error) => return Ok(Some((path, unreadable(&error)))),
        };
        if length < promised.get() {
            let found_bytes = Some(length);
            return Ok(Some((path, Wrong::UploadShort { promised, found_bytes })));
        }
        let differing = match self.differing(row, &file, &blocks) {
            Ok(differing) => differing,
            Err(error) => return Ok(Some((path, Wrong::Unreadable(error.to_string())))),
        };
        if differing.is_empty() {
            return Ok(None);
        }
        // Its owner may have sent other bytes meanwhile: the row of such a block is
        // taken back first and comes back last, with another value.
        let now: HashMap<_, _> = self.catalog.blocks(row.document_id).wait()?.into_iter().collect();
        let unchanged: Vec<_> =
            differing.into_iter().filter(|(index, value)| now.get(index) == Some(value)).collect();
        match self.differing(row, &file, &unchanged) {
            Ok(differing) if differing.is_empty() => Ok(None),
            Ok(differing) => Ok(Some((path, Wrong::UploadDamaged { blocks: ranges(&differing) }))),
            Err(error) => Ok(Some((path, Wrong::Unreadable(error.to_string())))),
        }
    }

    /// What is wrong with a document that is on its way to its name: its bytes are
    /// under the old name or the new one.
    pub(super) fn publishing(
        &mut self,
        row: &Document,
    ) -> Result<Option<(PathBuf, Wrong)>, VerifyError> {
        let staged = match self.scan.staging(row.document_id) {
            Ok(Some((file, length))) if length == row.filesize.get() => Some(file),
            _ => None,
        };
        let Some(file) = staged else {
            // The file is under neither name: it has none before its final one, or has lost both,
            // and nothing else was promised. The thread that publishes it, or the next start,
            // finds out which; and another file in its place is not its own.
            return if self.is_nowhere(row)? { Ok(None) } else { self.document(row) };
        };
        let path = self.scan.staging_path(row.document_id);
        let read = self.reader.hash(&file, row.filesize);
        self.summary.bytes = self.reader.bytes();
        match read {
            Ok(found) if found == row.blake3 => Ok(None),
            Ok(_) => {
                let blocks = self.catalog.blocks(row.document_id).wait()?;
                let differing = self.differing(row, &file, &blocks);
                let blocks = ranges(&differing.unwrap_or_default());
                Ok(Some((path, Wrong::UploadDamaged { blocks })))
            }
            Err(error) => Ok(Some((path, Wrong::Unreadable(error.to_string())))),
        }
    }

    /// Whether its final name does not lead to the one file that the row speaks of.
    fn is_nowhere(&self, row: &Document) -> Result<bool, VerifyError> {
        let (Bytes::Cached { inode }, Some(place)) = (row.bytes, &row.file_path) else {
            return Ok(false);
        };
        match self.scan.published(row.user_id, place) {
            Ok(Some((file, _))) => {
                let about = file.metadata().map_err(StorageError::unreadable)?;
                Ok(about.ino() != inode)
            }
            Ok(None) | Err(StorageError::Unsafe { .. } | StorageError::NotAFolder) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// Those of the blocks whose bytes are not what was recorded.
    fn differing(
        &mut self,
        row: &Document,
        file: &File,
        blocks: &[(BlockIndex, ChainingValue)],
    ) -> io::Result<Vec<(BlockIndex, ChainingValue)>> {
        let mut differing = Vec::new();
        for (index, value) in blocks {
            if self.reader.value(file, row.filesize, *index)? != Some(*value) {
                differing.push((*index, *value));
            }
        }
        self.summary.bytes = self.reader.bytes();
        Ok(differing)
    }
}

/// Blocks in order, neighbours together.
fn ranges(blocks: &[(BlockIndex, ChainingValue)]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for (index, _) in blocks {
        match ranges.last_mut() {
            Some(last) if last.end == index.get() => last.end += 1,
            _ => ranges.push(index.get()..index.get() + 1),
        }
    }
    ranges
}
