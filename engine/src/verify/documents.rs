//! From a document's row to its file.

use super::{Content, Verification, VerifyError, Wrong};
use crate::storage::StorageError;
use std::path::PathBuf;
use towline_state::catalog::Document;
use towline_types::FileSize;

impl Verification<'_> {
    /// What is wrong with the file of a row that says where it lies, and with which
    /// hash.
    pub(super) fn document(
        &mut self,
        row: &Document,
    ) -> Result<Option<(PathBuf, Wrong)>, VerifyError> {
        // The schema's own checks see to it that such a row has both.
        let (Some(place), Some(blake3)) = (&row.file_path, row.blake3) else { return Ok(None) };
        let path = self.scan.path_of(row.user_id, place);
        let expected = Content { filesize: row.filesize, blake3: Some(blake3) };
        let (file, filesize) = match self.scan.published(row.user_id, place) {
            Ok(Some(found)) => found,
            Ok(None) => {
                // What a repair has moved away itself, before it was cut off, is no
                // sign of a disk that is not mounted.
                let deserted = self.scan.may_be_unmounted(row.user_id, place, row.stamp)?
                    && !self.scan.was_set_aside(row.document_id, row.user_id, place);
                return Ok(Some((path, Wrong::Missing { replaced: false, deserted })));
            }
            // A link, a folder, or a file in the place of one of the folders.
            Err(StorageError::Unsafe { .. } | StorageError::NotAFolder) => {
                return Ok(Some((path, Wrong::Missing { replaced: true, deserted: false })));
            }
            Err(error) => return Ok(Some((path, unreadable(&error)))),
        };
        if filesize != row.filesize {
            let found = Content { filesize, blake3: None };
            return Ok(Some((path, Wrong::Damaged { expected, found })));
        }
        let read = self.reader.hash(&file, filesize);
        self.summary.bytes = self.reader.bytes();
        let found = match read {
            Ok(Some(found)) if found == blake3 => return Ok(None),
            Ok(Some(found)) => Content { filesize, blake3: Some(found) },
            // It has become shorter while it was read.
            Ok(None) => {
                let length = file.metadata().map_or(0, |about| about.len());
                let filesize = FileSize::try_from(length).unwrap_or(FileSize::MIN);
                Content { filesize, blake3: None }
            }
            Err(error) => return Ok(Some((path, Wrong::Unreadable(error.to_string())))),
        };
        Ok(Some((path, Wrong::Damaged { expected, found })))
    }
}

/// The file may be as it should be; what keeps us from reading it is what the
/// system says.
pub(super) fn unreadable(error: &StorageError) -> Wrong {
    Wrong::Unreadable(match error {
        StorageError::Io { source, .. } => source.to_string(),
        error => error.to_string(),
    })
}
