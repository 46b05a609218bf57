//! From a whole upload to a document in its place: the one recipe, for a client's
//! `complete` and for recovery alike.

use crate::failpoint;
use crate::failure::Failure;
use crate::live::{Live, Recording};
use crate::moving::{Move, Standing};
use crate::newborn::Birth;
use crate::presence::{ALL_NAMES_LOOKED_AT, NAMES_LOOKED_AT};
use crate::receipt::Receipt;
use crate::service::Service;
use crate::settling::{self, Named};
use crate::storage::{GoesOn, NewName, Publishable, Put, StorageError};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use towline_state::CatalogError;
use towline_state::catalog::Refusal::{FolderTaken, PathTaken};
use towline_state::catalog::{self, Bytes, Document, FileStamp};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{DocumentId, DocumentPath, FileHash, Offset, OnConflict, Timestamp, UserId};
use towline_upload::Phase;

/// What is to be published, and under which rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) document_id: DocumentId,
    pub(crate) owner: UserId,
    pub(crate) blake3: FileHash,
    pub(crate) on_conflict: OnConflict,
    /// Its bytes are those of another document.
    pub(crate) is_copy: bool,
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
    fn of((document, copy): (Document, u32)) -> Self {
        let path = document.file_path.as_ref().unwrap_or(&document.path).clone();
        Self { document, path, copy }
    }
}

/// The publishing of a whole, verified upload.
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
///
/// It goes in strides, each of which ends where something is waited for that other
/// publishings wait for too: then a commit, and a sync of a folder, serve them all.
pub(crate) struct Publishing {
    order: Order,
    subject: Subject,
    stride: Stride,
}

/// Where the bytes that are published come from.
enum Subject {
    /// An upload's; no other thread changes what the catalog says of it.
    Live(Arc<Live>, #[allow(dead_code, reason = "held, not read")] Recording),
    /// Those of a file that came whole: a request that names its number waits until it has its
    /// place, or until it is being copied to another file system. From then on its [`Move`]
    /// keeps every other thread from it, and who asks hears how far the copy is.
    Whole(Arc<dyn Publishable>, #[allow(dead_code, reason = "held, not read")] Option<Birth>),
}

impl Subject {
    fn staging(&self) -> &dyn Publishable {
        match self {
            Self::Live(live, _) => live.staging(),
            Self::Whole(staging, _) => &**staging,
        }
    }

    /// Where its bytes are, as far as anybody may count on it.
    fn bytes(&self, is_cached: bool) -> Bytes {
        match is_cached {
            true => Bytes::Cached { inode: self.staging().file_number() },
            false => Bytes::Synced,
        }
    }

    /// Gives up the documents without a file whose rows keep every name from it that it may
    /// have. A file that came whole begins anew, as an upload that can be resumed.
    fn give_up_gone(&self, service: &Service, order: Order) -> bool {
        let Order { owner, on_conflict, .. } = order;
        let Self::Live(live, _) = self else { return false };
        let copies = match on_conflict {
            OnConflict::Rename => ALL_NAMES_LOOKED_AT,
            OnConflict::Reject => 1,
        };
        service.give_up_gone_at(owner, &live.ask(|upload| upload.path().clone()), copies)
    }

    /// What becomes of the document where its file did not get its name. One that came whole
    /// is ended: no client has heard of it, and its file may have no name at all to be found
    /// by. Only where the disk does not say what it did, the row stays as it is, for the next
    /// request that names it or the next start.
    fn not_moved(
        &self,
        service: &Service,
        order: Order,
        path: &DocumentPath,
        error: StorageError,
    ) -> Failure {
        match self {
            Self::Live(..) => not_moved(service, order, Some(path), error),
            Self::Whole(..) if error.is_damage() => Failure::Unsettled(error),
            Self::Whole(..) => {
                let failure = Failure::Storage(error);
                end_whole(service, order.document_id, &failure);
                failure
            }
        }
    }

    /// What becomes of the document where no name was found for it. One that came whole is
    /// ended: its row has no name yet, or says one that another's file has.
    fn no_place(&self, service: &Service, id: DocumentId, failure: Failure) -> Failure {
        if let Self::Whole(..) = self {
            end_whole(service, id, &failure);
        }
        failure
    }
}

fn end_whole(service: &Service, id: DocumentId, failure: &Failure) {
    if let Err(error) = service.end(id, Phase::Failed, &failure.rejection().message) {
        tracing::error!(document_id = %id, %error, "the failure was not recorded");
    }
}

/// What comes next.
enum Stride {
    /// To sync the data, whose write-back has begun.
    Sync,
    /// To hear which name it got.
    Name { chosen: catalog::Reply<(Document, u32)>, room: Option<settling::Place> },
    /// To copy it to the file system of its folder, and all that follows.
    Copy(Box<Copying>),
    /// To make the name durable.
    Settle(Box<dyn NewName>),
    /// To hear that the row says so.
    Record(catalog::Reply<Document>),
}

/// A copy to another file system that is to be made.
struct Copying {
    place: Place,
    copy: Move,
    /// Its place among the large files that are read at a time.
    turn: Option<OwnedSemaphorePermit>,
}

/// How far a publishing is.
pub(crate) enum Stage {
    GoesOn(Box<Publishing>),
    Done(Box<Receipt>),
}

impl Publishing {
    /// Begins. The bytes are verified and on their way to the device.
    pub(crate) fn begin(
        service: &Service,
        order: Order,
        live: Arc<Live>,
        recording: Recording,
    ) -> Self {
        failpoint::reach("publish.verified");
        // A promised byte must not hang on what a power cut leaves of the others.
        let is_promised = live.ask(|upload| upload.progress().has_promises());
        let room = service.settling.place(live.filesize()).filter(|_| !is_promised);
        let stride = match room {
            Some(room) => {
                let bytes = Bytes::Cached { inode: live.staging().file_number() };
                let chosen = choose(service, order, bytes, 0);
                Stride::Name { chosen, room: Some(room) }
            }
            None => {
                // Where many are published, the first sync finds the bytes of all of them
                // on the device.
                live.staging().start_writeback(Offset::ZERO, live.filesize().get());
                Stride::Sync
            }
        };
        Self { order, subject: Subject::Live(live, recording), stride }
    }

    /// Begins with step 3, for a file that came whole: its row says `publishing`, and
    /// what it says of the bytes is so. Blocks.
    pub(crate) fn of_whole(
        service: &Service,
        order: Order,
        (staging, birth): (Arc<dyn Publishable>, Birth),
        row: (Document, u32),
        room: Option<settling::Place>,
    ) -> Result<Stage, Failure> {
        let subject = Subject::Whole(staging, Some(birth));
        let went = name(service, order, &subject, Place::of(row), room);
        Self::after(service, order, subject, went)
    }

    /// Where the bytes that are published come from.
    pub(crate) fn document_id(&self) -> DocumentId {
        self.order.document_id
    }

    /// Whether it has to wait for its turn to be copied to another file system.
    pub(crate) fn wants_turn(&self) -> bool {
        matches!(&self.stride, Stride::Copy(copying) if copying.turn.is_none())
    }

    /// It is its turn; or, with nothing, the connection has ended before.
    pub(crate) fn take_turn(&mut self, turn: Option<OwnedSemaphorePermit>) {
        if let Stride::Copy(copying) = &mut self.stride {
            copying.turn = turn;
        }
    }

    /// Waits for what it waits for, and goes on from there. `say` hears how far a copy to
    /// another file system is. Blocks.
    pub(crate) fn go_on(
        self,
        service: &Service,
        say: &mut dyn FnMut(Standing),
    ) -> Result<Stage, Failure> {
        let Self { order, subject, stride } = self;
        let went = match stride {
            Stride::Copy(copying) => copy(service, order, *copying, say),
            Stride::Sync => sync(service, order, subject.staging()),
            Stride::Name { chosen, room } => match chosen.wait() {
                Ok(row) => name(service, order, &subject, Place::of(row), room),
                Err(CatalogError::Refused(PathTaken | FolderTaken))
                    if subject.give_up_gone(service, order) =>
                {
                    let chosen = choose(service, order, subject.bytes(room.is_some()), 0);
                    Ok(Went::On(Stride::Name { chosen, room }))
                }
                Err(error) => Err(subject.no_place(service, order.document_id, error.into())),
            },
            Stride::Settle(name) => settle(service, order, subject.staging(), name),
            Stride::Record(recorded) => {
                hear_recorded(order, recorded).map(|receipt| Went::Done(Box::new(receipt)))
            }
        };
        Self::after(service, order, subject, went)
    }

    fn after(
        service: &Service,
        order: Order,
        mut subject: Subject,
        went: Result<Went, Failure>,
    ) -> Result<Stage, Failure> {
        if let (Ok(Went::On(Stride::Copy(_))), Subject::Whole(_, birth)) = (&went, &mut subject) {
            drop(birth.take());
        }
        match went {
            Ok(Went::On(stride)) => Ok(Stage::GoesOn(Box::new(Self { order, subject, stride }))),
            Ok(Went::Done(receipt)) => {
                if let Subject::Live(live, _) = &subject {
                    live.published();
                }
                Ok(Stage::Done(receipt))
            }
            Err(failure) => {
                after_failure(service, order.document_id, &subject, &failure);
                Err(failure)
            }
        }
    }
}

enum Went {
    On(Stride),
    Done(Box<Receipt>),
}

/// The row decides what a failed publishing leaves: an upload that can be completed again, or
/// a move that the next request for the document finishes. A file that came whole is sent
/// again.
fn after_failure(service: &Service, id: DocumentId, subject: &Subject, failure: &Failure) {
    let row = service.catalog.document(id).wait();
    if !row.is_ok_and(|row| row.is_some_and(|row| row.phase == Phase::Uploading)) {
        return;
    }
    match subject {
        Subject::Live(live, _) => service.checkpoints.unpublished(live),
        Subject::Whole(_, Some(_)) => end_whole(service, id, failure),
        // A request that named it may have taken it up, or be completing it, since the row says
        // so.
        Subject::Whole(_, None) => {
            match service.give_up(id, Phase::Failed, &failure.rejection().message) {
                Ok(()) | Err(Failure::Refused(_) | Failure::StillPublishing) => {}
                Err(error) => {
                    tracing::error!(document_id = %id, %error, "the failure was not recorded");
                }
            }
        }
    }
}

/// Step 1, and step 2 is asked for.
fn sync(service: &Service, order: Order, staging: &dyn Publishable) -> Result<Went, Failure> {
    staging.sync_data()?;
    failpoint::reach("publish.synced");
    let chosen = choose(service, order, Bytes::Synced, 0);
    Ok(Went::On(Stride::Name { chosen, room: None }))
}

/// Step 2.
fn choose(
    service: &Service,
    order: Order,
    bytes: Bytes,
    first_copy: u32,
) -> catalog::Reply<(Document, u32)> {
    let Order { document_id, blake3, on_conflict, .. } = order;
    let now = service.clock().now();
    service.catalog.begin_publish(document_id, blake3, bytes, on_conflict, first_copy, now)
}

/// Step 3, up to its sync. Who has a place among those that may wait for theirs has a
/// receipt now, which says so.
fn name(
    service: &Service,
    order: Order,
    subject: &Subject,
    place: Place,
    room: Option<settling::Place>,
) -> Result<Went, Failure> {
    failpoint::reach("publish.row_publishing");
    let Order { document_id, owner, blake3, is_copy, .. } = order;
    let staging = subject.staging();
    // A name that only a row has is free: the disk decides. Each time there is a row less.
    let copies = place.copy.min(NAMES_LOOKED_AT);
    if copies > 0 && service.give_up_gone_at(owner, &place.document.path, copies) {
        let chosen = choose(service, order, place.document.bytes, 0);
        return Ok(Went::On(Stride::Name { chosen, room }));
    }
    let renamed = match staging.rename(owner, &place.path) {
        Ok(renamed) => renamed,
        Err(error) => {
            let aside = step_aside(service, order, &place, error);
            let chosen =
                aside.map_err(|error| subject.not_moved(service, order, &place.path, error))?;
            return Ok(Went::On(Stride::Name { chosen, room }));
        }
    };
    match (renamed, room) {
        (Some(name), None) => Ok(Went::On(Stride::Settle(name))),
        (Some(_), Some(room)) => {
            failpoint::reach("publish.named");
            let Place { document, path, .. } = place;
            let (stamp, named_at) = (staging.stamp(), document.last_chunk_at);
            service.settling.add(Named { document_id, owner, path, stamp, named_at, place: room });
            let receipt = Receipt::relaxed(document, blake3, named_at, is_copy);
            Ok(Went::Done(Box::new(receipt)))
        }
        // The storage knows no such steps, and nothing has happened.
        (None, room) => {
            let mut place = place;
            if room.is_some() {
                // Step 1 is still to be done, and the row is to say so: a copy may take long,
                // and what is told of the bytes meanwhile is what the row promises (P1).
                let synced = staging.sync_data();
                synced.map_err(|error| not_moved(service, order, None, error))?;
                let row = service.catalog.bytes_synced(document_id).wait();
                let row =
                    row.map_err(|error| subject.no_place(service, document_id, error.into()))?;
                place.document = row;
            }
            let filesize = place.document.filesize;
            if room.is_some() && filesize.get() > BLOCK_SIZE_BYTES {
                // The copy takes long: step 2 again, so that the row promises the bytes
                // meanwhile (P1), and a start need not read them before it makes the copy.
                let chosen = choose(service, order, Bytes::Synced, place.copy);
                return Ok(Went::On(Stride::Name { chosen, room: None }));
            }
            if filesize.get() <= BLOCK_SIZE_BYTES {
                let receipt = put_in_place(service, order, place, &mut |_| true)?;
                return Ok(Went::Done(Box::new(receipt)));
            }
            let copy = service.moving.begin(&place.document);
            let copy = copy.ok_or(Failure::StillPublishing)?;
            Ok(Went::On(Stride::Copy(Box::new(Copying { place, copy, turn: None }))))
        }
    }
}

/// The end of step 3 and step 4, where the folder is on another file system. The connection
/// may end meanwhile, the copy goes on: only a stop of the server cuts it off.
fn copy(
    service: &Service,
    order: Order,
    copying: Copying,
    say: &mut dyn FnMut(Standing),
) -> Result<Went, Failure> {
    let Copying { place, copy, turn } = copying;
    let row = place.document.clone();
    let Some(_turn) = turn else {
        drop(copy);
        service.moving.leave(&row);
        return Err(Failure::StillPublishing);
    };
    let receipt = put_in_place(service, order, place, &mut |copied| {
        copy.reached(copied);
        say(Standing::of(&row, copied));
        !service.stopping.is_cancelled()
    });
    Ok(Went::Done(Box::new(receipt?)))
}

/// The end of step 3, and step 4 is asked for.
fn settle(
    service: &Service,
    order: Order,
    staging: &dyn Publishable,
    name: Box<dyn NewName>,
) -> Result<Went, Failure> {
    name.sync_name().map_err(|error| not_moved(service, order, None, error))?;
    failpoint::reach("publish.in_place");
    let (id, now) = (order.document_id, service.clock().now());
    let recorded = service.catalog.complete_publish(id, staging.stamp(), now);
    Ok(Went::On(Stride::Record(recorded)))
}

/// Steps 3 and 4 for a row that says `publishing` already. Its own name comes
/// first: the move may have happened, and the row must go on saying where. Blocks.
pub(crate) fn publish_again(
    service: &Service,
    order: Order,
    document: Document,
    goes_on: GoesOn<'_>,
) -> Result<Receipt, Failure> {
    put_in_place(service, order, Place::of((document, 0)), goes_on)
}

/// Steps 3 and 4 at once. Where a copy to another file system is not to go on, the row goes
/// on saying `publishing`.
fn put_in_place(
    service: &Service,
    order: Order,
    mut place: Place,
    goes_on: GoesOn<'_>,
) -> Result<Receipt, Failure> {
    let Order { document_id: id, owner, blake3, .. } = order;
    // Where `SUCCESS` may have been said already, it was said with that moment in it.
    let said_at = said_at(&place.document);
    loop {
        match service.storage.publish(id, owner, &place.path, blake3, goes_on) {
            Ok(Put::InPlace) => break,
            Ok(Put::Stopped) => return Err(Failure::StillPublishing),
            Err(error) => {
                let aside = step_aside(service, order, &place, error);
                let chosen =
                    aside.map_err(|error| not_moved(service, order, Some(&place.path), error))?;
                place = Place::of(chosen.wait()?);
            }
        }
    }
    let created_at = said_at.unwrap_or_else(|| service.clock().now());
    // Without it the file is read when it is asked for, that is all.
    let found = service.storage.published(owner, &place.path);
    let stamp = found.ok().flatten().map(|found| found.stamp);
    let receipt = record(service, order, stamp, created_at)?;
    // A copy on another disk has left it. It was the place of the promised bytes until the
    // row was committed (P1). What cannot be removed now, the next start removes.
    if let Err(error) = service.storage.discard(id) {
        tracing::warn!(document_id = %id, %error, "the staging file of a published document could not be removed");
    }
    Ok(receipt)
}

/// Step 4. Blocks.
pub(crate) fn record(
    service: &Service,
    order: Order,
    stamp: Option<FileStamp>,
    created_at: Timestamp,
) -> Result<Receipt, Failure> {
    failpoint::reach("publish.in_place");
    hear_recorded(order, service.catalog.complete_publish(order.document_id, stamp, created_at))
}

fn hear_recorded(order: Order, recorded: catalog::Reply<Document>) -> Result<Receipt, Failure> {
    let document = recorded.wait()?;
    failpoint::reach("publish.row_completed");
    Ok(Receipt::durable(document, order.blake3, order.is_copy))
}

/// When `SUCCESS` was said of a document that is publishing, if it may have been.
pub(crate) fn said_at(document: &Document) -> Option<Timestamp> {
    match document.bytes {
        Bytes::Synced => None,
        Bytes::Cached { .. } => Some(document.last_chunk_at),
    }
}

/// A file that no row knows is in the way: it stays, and another name is asked for,
/// where that is allowed. Else the error is as it was.
fn step_aside(
    service: &Service,
    order: Order,
    place: &Place,
    error: StorageError,
) -> Result<catalog::Reply<(Document, u32)>, StorageError> {
    match error {
        StorageError::Exists if order.on_conflict == OnConflict::Rename => {
            Ok(choose(service, order, place.document.bytes, place.copy + 1))
        }
        error => Err(error),
    }
}

/// What a failed move leaves. While the staging area still has its name, and the place
/// is not the same file already, nothing has moved, and the upload can be completed again.
/// Else it is not known whether the new name is durable: the row goes on saying
/// `publishing`, and the next request for the document, or the next start, finishes it.
fn not_moved(
    service: &Service,
    order: Order,
    path: Option<&DocumentPath>,
    error: StorageError,
) -> Failure {
    let Order { document_id: id, owner, .. } = order;
    match (service.storage.open(id), error) {
        (Err(StorageError::Lost(_)), error @ StorageError::Lost(_)) => error.into(),
        (Err(_), error) => Failure::Unsettled(error),
        (Ok(staging), error)
            if path.is_some_and(|path| leads_to(service, owner, path, staging.file_number())) =>
        {
            Failure::Unsettled(error)
        }
        (Ok(_), error) => match service.catalog.return_to_uploading(id).wait() {
            Ok(()) => error.into(),
            Err(catalog) => catalog.into(),
        },
    }
}

/// Whether that place is that very file, under a second name.
fn leads_to(service: &Service, owner: UserId, path: &DocumentPath, file_number: u64) -> bool {
    let file = service.storage.published(owner, path);
    file.is_ok_and(|file| file.is_some_and(|file| file.file_number() == file_number))
}
