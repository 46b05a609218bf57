//! From a whole upload to a document in its place: the one recipe, for a client's
//! `complete` and for recovery alike.

use crate::failpoint;
use crate::failure::Failure;
use crate::service::Service;
use crate::storage::{Staging, StorageError};
use towline_protocol::reply::Success;
use towline_protocol::{Channel, DocumentId, DocumentPath, FileHash, OnConflict, UserId};
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

/// A name that the catalog keeps for a document.
#[derive(Debug)]
struct Place {
    path: DocumentPath,
    /// Which way out of taken names it is; 0 is the name that was asked for.
    copy: u32,
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
    failpoint::reach("publish.verified");
    staging.sync_data()?;
    failpoint::reach("publish.synced");
    let place = choose(service, order, 0)?;
    failpoint::reach("publish.row_publishing");
    put_in_place(service, order, place)
}

/// Steps 3 and 4 for a row that says `publishing` already. Its own name comes
/// first: the move may have happened, and the row must go on saying where.
pub(crate) fn publish_again(
    service: &Service,
    order: Order,
    path: DocumentPath,
) -> Result<Receipt, Failure> {
    put_in_place(service, order, Place { path, copy: 0 })
}

/// Step 4.
pub(crate) fn record(
    service: &Service,
    document_id: DocumentId,
    blake3: FileHash,
) -> Result<Receipt, Failure> {
    failpoint::reach("publish.in_place");
    let document = service.catalog.complete_publish(document_id, service.clock().now()).wait()?;
    failpoint::reach("publish.row_completed");
    Ok(Receipt { document, blake3 })
}

/// Step 2.
fn choose(service: &Service, order: Order, first_copy: u32) -> Result<Place, Failure> {
    let Order { document_id, blake3, on_conflict, .. } = order;
    let now = service.clock().now();
    let chosen =
        service.catalog.begin_publish(document_id, blake3, on_conflict, first_copy, now).wait()?;
    Ok(Place { path: chosen.0, copy: chosen.1 })
}

fn put_in_place(service: &Service, order: Order, mut place: Place) -> Result<Receipt, Failure> {
    loop {
        match service.storage.publish(order.document_id, order.owner, &place.path) {
            Ok(()) => return record(service, order.document_id, order.blake3),
            // A file that no row knows is in the way; it stays, we step aside.
            Err(StorageError::Exists) if order.on_conflict == OnConflict::Rename => {
                place = choose(service, order, place.copy + 1)?;
            }
            Err(error) => return Err(not_moved(service, order.document_id, error)),
        }
    }
}

/// What a failed move leaves. While the staging area still has its name nothing
/// has moved, and the upload can be completed again. Where it has lost it nobody
/// can say whether the new name is durable: the row goes on saying `publishing`,
/// and whoever asks next, or recovery, finishes it.
fn not_moved(service: &Service, id: DocumentId, error: StorageError) -> Failure {
    match (service.storage.open(id), error) {
        (Err(StorageError::Lost(_)), error @ StorageError::Lost(_)) => error.into(),
        (Err(_), error) => Failure::Unsettled(error),
        (Ok(_), error) => match service.catalog.return_to_uploading(id).wait() {
            Ok(()) => error.into(),
            Err(catalog) => catalog.into(),
        },
    }
}
