//! From a whole upload to a document in its place: the one recipe, for a client's
//! `complete` and for recovery alike.

use crate::failpoint;
use crate::failure::Failure;
use crate::live::Live;
use crate::service::Service;
use crate::settling::{self, Named};
use crate::storage::StorageError;
use towline_protocol::reply::Success;
use towline_protocol::{
    Channel, DocumentId, DocumentPath, FileHash, OnConflict, Timestamp, UserId,
};
use towline_state::catalog::{Bytes, Document};
use towline_upload::Phase;

/// Proof that the document is in its place. Where it says `durable`, file, name and
/// row survive a power cut (P3). Only this room makes one, and `SUCCESS` is only made
/// of one.
#[derive(Debug)]
pub(crate) struct Receipt {
    document: Document,
    blake3: FileHash,
    created_at: Timestamp,
    durable: bool,
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
        let created_at = document.created_at?;
        Some(Self { document, blake3, created_at, durable: true })
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
            created_at: self.created_at,
            durable: self.durable,
            existing,
        }
    }
}

/// A name that the catalog keeps for a document.
#[derive(Debug)]
struct Place {
    document: Document,
    path: DocumentPath,
    /// Which way out of taken names it is; 0 is the name that was asked for.
    copy: u32,
}

impl Place {
    fn of(document: Document, copy: u32) -> Self {
        let path = document.file_path.as_ref().unwrap_or(&document.path).clone();
        Self { document, path, copy }
    }
}

/// Publishes a whole, verified upload. Blocks.
///
/// 1. The data is synced: the row must never say `publishing`, and nothing else, of
///    bytes that a power cut could still take (P2).
/// 2. The row says `publishing` and under which name: recovery finishes from here
///    (P4).
/// 3. The file is renamed, never over another, and its directory is synced (P2, P3).
/// 4. The row says `completed`. Only then is there a receipt (P3).
///
/// Where durability is relaxed, there is a place, and nothing was ever promised of the
/// upload (P1), the receipt is made after the rename, and says that it is not durable.
/// Step 1, the sync of step 3 and step 4 follow in [`settling`](crate::settling). Until
/// then the row says that the bytes may be in the page cache only, so recovery reads and
/// hashes them before a name that they do not deserve is served (P2).
pub(crate) fn publish(service: &Service, order: Order, live: &Live) -> Result<Receipt, Failure> {
    failpoint::reach("publish.verified");
    // A promised byte must not hang on what a power cut leaves of the others.
    let is_promised = live.ask(|upload| upload.progress().has_promises());
    let room = service.settling.place(live.filesize()).filter(|_| !is_promised);
    if let Some(room) = room
        && let Some(receipt) = name(service, order, live.staging().inode(), room)?
    {
        return Ok(receipt);
    }
    live.staging().sync_data()?;
    failpoint::reach("publish.synced");
    let place = choose(service, order, Bytes::Synced, 0)?;
    failpoint::reach("publish.row_publishing");
    put_in_place(service, order, place)
}

/// Steps 3 and 4 for a row that says `publishing` already. Its own name comes
/// first: the move may have happened, and the row must go on saying where.
pub(crate) fn publish_again(
    service: &Service,
    order: Order,
    document: Document,
) -> Result<Receipt, Failure> {
    put_in_place(service, order, Place::of(document, 0))
}

/// Step 4.
pub(crate) fn record(
    service: &Service,
    document_id: DocumentId,
    blake3: FileHash,
    created_at: Timestamp,
) -> Result<Receipt, Failure> {
    failpoint::reach("publish.in_place");
    let document = service.catalog.complete_publish(document_id, created_at).wait()?;
    failpoint::reach("publish.row_completed");
    Ok(Receipt { document, blake3, created_at, durable: true })
}

/// Step 2.
fn choose(
    service: &Service,
    order: Order,
    bytes: Bytes,
    first_copy: u32,
) -> Result<Place, Failure> {
    let Order { document_id, blake3, on_conflict, .. } = order;
    let now = service.clock().now();
    let chosen = service
        .catalog
        .begin_publish(document_id, blake3, bytes, on_conflict, first_copy, now)
        .wait()?;
    let (document, copy) = chosen;
    Ok(Place::of(document, copy))
}

fn put_in_place(service: &Service, order: Order, place: Place) -> Result<Receipt, Failure> {
    // Where `SUCCESS` may have been said already, it was said with that moment in it.
    let said_at = said_at(&place.document);
    let rename =
        |place: &Place| service.storage.publish(order.document_id, order.owner, &place.path);
    find_place(service, order, place, rename)?;
    let created_at = said_at.unwrap_or_else(|| service.clock().now());
    record(service, order.document_id, order.blake3, created_at)
}

/// When `SUCCESS` was said of a document that is publishing, if it may have been.
pub(crate) fn said_at(document: &Document) -> Option<Timestamp> {
    match document.bytes {
        Bytes::Synced => None,
        Bytes::Cached { .. } => Some(document.last_chunk_at),
    }
}

/// Steps 2 and 3 without a sync, and a receipt that says so. None where the storage
/// cannot do that, and then nothing has happened.
fn name(
    service: &Service,
    order: Order,
    inode: u64,
    room: settling::Place,
) -> Result<Option<Receipt>, Failure> {
    let place = choose(service, order, Bytes::Cached { inode }, 0)?;
    failpoint::reach("publish.row_publishing");
    let Order { document_id, owner, blake3, .. } = order;
    let rename = |place: &Place| service.storage.rename(document_id, owner, &place.path);
    let (Place { document, path, .. }, is_named) = find_place(service, order, place, rename)?;
    if !is_named {
        service.catalog.return_to_uploading(document_id).wait()?;
        return Ok(None);
    }
    failpoint::reach("publish.named");
    let named_at = document.last_chunk_at;
    service.settling.add(Named { document_id, owner, path, named_at, place: room });
    Ok(Some(Receipt { document, blake3, created_at: named_at, durable: false }))
}

/// Moves the file to its place, or to the next where that is not free.
fn find_place<T>(
    service: &Service,
    order: Order,
    mut place: Place,
    rename: impl Fn(&Place) -> Result<T, StorageError>,
) -> Result<(Place, T), Failure> {
    loop {
        match rename(&place) {
            Ok(renamed) => return Ok((place, renamed)),
            // A file that no row knows is in the way; it stays, we step aside.
            Err(StorageError::Exists) if order.on_conflict == OnConflict::Rename => {
                place = choose(service, order, place.document.bytes, place.copy + 1)?;
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
