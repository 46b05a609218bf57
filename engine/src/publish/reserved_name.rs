//! What is to be published, and the name that the catalog keeps for it (step 2).

use crate::shared::Shared;
use crate::storage::StorageError;
use towline_state::catalog::{self, Bytes, Document};
use towline_types::{DocumentId, DocumentPath, FileHash, OnConflict, UserId};

/// What is to be published, and under which rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublishSpec {
    pub(crate) document_id: DocumentId,
    pub(crate) owner: UserId,
    pub(crate) blake3: FileHash,
    pub(crate) on_conflict: OnConflict,
    /// Its bytes are those of another document.
    pub(crate) is_copy: bool,
}

/// A name that the catalog keeps for a document.
#[derive(Debug)]
pub(super) struct ReservedName {
    pub(super) document: Document,
    pub(super) path: DocumentPath,
    /// The number in the name; 0 is the name that was asked for.
    pub(super) copy: u32,
}

/// The answer of the catalog: the row, which says `publishing` and has the name, and the number in
/// that name.
pub(super) type NameReply = catalog::Reply<(Document, u32)>;

impl ReservedName {
    pub(super) fn of((document, copy): (Document, u32)) -> Self {
        let path = document.file_path.as_ref().unwrap_or(&document.path).clone();
        Self { document, path, copy }
    }
}

/// Asks the catalog for a name whose number is `first_copy` or higher.
pub(super) fn reserve_name(
    shared: &Shared,
    spec: PublishSpec,
    bytes: Bytes,
    first_copy: u32,
) -> NameReply {
    let PublishSpec { document_id, blake3, on_conflict, .. } = spec;
    let now = shared.clock().now();
    shared.catalog.begin_publish(document_id, blake3, bytes, on_conflict, first_copy, now)
}

/// A file that no row knows has the name: it stays, and the catalog is asked for another name, if
/// the client allows another.
///
/// # Errors
/// The error as it was, where another name is not allowed or would not help.
pub(super) fn reserve_another(
    shared: &Shared,
    spec: PublishSpec,
    name: &ReservedName,
    error: StorageError,
) -> Result<NameReply, StorageError> {
    match error {
        StorageError::Exists if spec.on_conflict == OnConflict::Rename => {
            Ok(reserve_name(shared, spec, name.document.bytes, name.copy + 1))
        }
        error => Err(error),
    }
}
