//! The file of a completed document as an open file of the system.

use super::document_file::{self, Opening};
use crate::error::Error;
use crate::shared::Shared;
use crate::storage::StorageError;
use std::fs::File;
use towline_types::{DocumentId, UserId};

/// Opens the file of a completed document; none where the store has no files. Returns also whether
/// its stamp proves that its bytes are those that were uploaded. Blocks.
///
/// The file is looked for as for a read, so it is the document's own, also where it was moved or
/// replaced in the meantime.
pub(crate) fn open_file(
    shared: &Shared,
    user: UserId,
    id: DocumentId,
) -> Result<Option<(File, bool)>, Error> {
    let (file, is_known) = match document_file::open(shared, user, id)? {
        Opening::Open(file) => (file.published().file(), file.is_known()),
        Opening::Unread(file) => (file.published().file(), false),
    };
    let file = file.map_err(StorageError::unreadable)?;
    Ok(file.map(|file| (file, is_known)))
}
