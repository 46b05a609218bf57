//! From a whole upload to a document in its place: the one recipe, for a client's
//! `complete` and for recovery alike.

use crate::failure::Failure;
use crate::service::Service;
use crate::storage::{Staging, StorageError};
use towline_protocol::reply::Success;
use towline_protocol::{Channel, DocumentId, FileHash, OnConflict, UserId};
use towline_state::catalog::Document;
use towline_upload::Phase;

/// Proof that the document is in its place: file, name and row survive a power
/// cut (P3). Only this room makes one, and `SUCCESS` is only made of one.
#[derive(Debug)]
pub(crate) struct Receipt {
    document: Document,
    blake3: FileHash,
}

/// What is to be published, and under which rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) document_id: DocumentId,
    pub(crate) owner: UserId,
    pub(crate) blake3: FileHash,
    pub(crate) on_conflict: OnConflict,
}

impl Receipt {
    /// The receipt of a document that is completed already: the same as the first.
    pub(crate) fn of(document: Document) -> Option<Self> {
        let blake3 = document.blake3.filter(|_| document.phase == Phase::Completed)?;
        Some(Self { document, blake3 })
    }

    /// Whether it is that document's.
    pub(crate) fn is_of(&self, id: DocumentId) -> bool {
        self.document.document_id == id
    }

    /// The words for the client.
    pub(crate) fn success(&self, channel: Channel, existing: bool) -> Success {
        let document = &self.document;
        let path = document.file_path.as_ref().unwrap_or(&document.path);
        Success {
            channel,
            document_id: document.document_id,
            filename: path.filename().to_string(),
            folder: path.folder().iter().map(ToString::to_string).collect(),
            filesize: document.filesize,
            blake3: self.blake3,
            created_at: document.created_at.unwrap_or(document.started_at),
            durable: true,
            existing,
        }
    }
}

/// Publishes a whole, verified upload. Blocks.
///
/// 1. The data is synced: the row must never say `publishing` of bytes that a
///    power cut could still take (P2).
/// 2. The row says `publishing` and under which name: recovery finishes from here
///    (P4).
/// 3. The file is renamed, never over another, and its directory is synced (P2, P3).
/// 4. The row says `completed`. Only then is there a receipt (P3).
pub(crate) fn publish(
    service: &Service,
    order: Order,
    staging: &dyn Staging,
) -> Result<Receipt, Failure> {
    staging.sync_data()?;
    put_in_place(service, order)
}

/// Steps 2 to 4, for bytes that were synced before: where recovery begins.
pub(crate) fn put_in_place(service: &Service, order: Order) -> Result<Receipt, Failure> {
    let Order { document_id, owner, blake3, on_conflict } = order;
    let mut first_copy = 0;
    loop {
        let begun = service.catalog.begin_publish(
            document_id,
            blake3,
            on_conflict,
            first_copy,
            service.clock().now(),
        );
        let (path, copy) = begun.wait()?;
        match service.storage.publish(document_id, owner, &path) {
            Ok(()) => break,
            // A file that no row knows is in the way; it stays, we step aside.
            Err(StorageError::Exists) if on_conflict == OnConflict::Rename => first_copy = copy + 1,
            Err(error @ (StorageError::Exists | StorageError::NotAFolder)) => {
                service.catalog.return_to_uploading(document_id).wait()?;
                return Err(error.into());
            }
            Err(error @ StorageError::Lost(_)) => return Err(error.into()),
            // Whether the name is durable nobody can say now: the row goes on saying
            // `publishing`, and recovery will know.
            Err(error) => return Err(Failure::Unsettled(error)),
        }
    }
    record(service, document_id, blake3)
}

/// Step 4.
pub(crate) fn record(
    service: &Service,
    document_id: DocumentId,
    blake3: FileHash,
) -> Result<Receipt, Failure> {
    let document = service.catalog.complete_publish(document_id, service.clock().now()).wait()?;
    Ok(Receipt { document, blake3 })
}
