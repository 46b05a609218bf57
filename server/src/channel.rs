//! What a client asks on one channel, done in order. Everything here blocks and
//! runs in the channel's lane, off the async threads.

use crate::event::{Event, Events};
use crate::failure::Failure;
use crate::lane::Handler;
use crate::live::Live;
use crate::pool::Buffer;
use crate::publish::{self, Order as Publication, Receipt};
use crate::service::Service;
use crate::storage::StorageError;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use towline_protocol::block::block_count;
use towline_protocol::reply::{Blocks, Cancelled, Found, Granted, Reply, Status, Unfinished};
use towline_protocol::request::{About, Complete, Find, Request, Resume, Upload, Withdraw};
use towline_protocol::{
    BlockIndex, ChainingValue, Channel, DocumentId, ErrorReply, Offset, OnConflict, UserId, frame,
    limits,
};
use towline_state::catalog::{CatalogError, Document, NewDocument, Refusal as Unrecorded};
use towline_upload::{Ask, Lease, Order, Phase, Refusal, Upload as Rules};

/// One channel of one connection.
pub(crate) struct ChannelDesk {
    service: Arc<Service>,
    user: UserId,
    channel: Channel,
    events: Events,
    slot: Slot,
}

/// What the channel stands for just now.
enum Slot {
    /// Nothing yet.
    Empty,
    /// An upload that this channel writes to, or did until it was superseded.
    Open(Open),
    /// A request was refused: what still comes for it is dropped.
    Refused,
    /// The document is complete: what still comes for it is dropped.
    Done(Box<Receipt>),
}

struct Open {
    live: Arc<Live>,
    lease: Lease,
    on_conflict: OnConflict,
}

/// Something to be done.
pub(crate) enum Task {
    /// A control message.
    Request(Request),
    /// Bytes of one block, in order.
    Piece { offset: Offset, buffer: Buffer },
    /// The value of a block.
    Block { index: BlockIndex, value: ChainingValue },
    /// The connection has ended. Answers with the upload that is paused by it.
    Release(oneshot::Sender<Option<Arc<Live>>>),
}

/// A task, and the place that it takes in its connection's queue.
pub(crate) struct Queued {
    pub(crate) task: Task,
    pub(crate) _place: Option<OwnedSemaphorePermit>,
}

impl Handler for ChannelDesk {
    type Work = Queued;

    fn handle(&mut self, work: Queued) {
        let done = match work.task {
            Task::Request(Request::Upload(upload)) => self.upload(&upload),
            Task::Request(Request::Resume(resume)) => self.resume(&resume),
            Task::Request(Request::Complete(complete)) => self.complete(&complete),
            Task::Request(Request::Withdraw(withdraw)) => self.withdraw(&withdraw),
            Task::Request(question) => {
                self.answer(&question);
                Ok(())
            }
            Task::Piece { offset, buffer } => self.write(offset, buffer.bytes()),
            Task::Block { index, value } => self.announce(index, value),
            Task::Release(done) => {
                let _ = done.send(self.leave());
                Ok(())
            }
        };
        if let Err(failure) = done {
            self.refuse(&failure);
        }
    }

    fn is_vacant(&self) -> bool {
        !matches!(self.slot, Slot::Open(_))
    }

    fn panicked(&mut self) {
        self.leave();
        self.events.send(Event::Broken);
    }
}

impl ChannelDesk {
    pub(crate) fn new(
        service: Arc<Service>,
        user: UserId,
        channel: Channel,
        events: Events,
    ) -> Self {
        Self { service, user, channel, events, slot: Slot::Empty }
    }

    /// Requests that are not about the channel's own upload: a no to one of them
    /// leaves it as it is.
    fn answer(&mut self, question: &Request) {
        let answered = match question {
            Request::Status(about) => self.status(about),
            Request::Blocks(about) => self.blocks(about),
            Request::Cancel(about) => self.cancel(about),
            Request::Find(find) => self.find(find),
            // The first four are dealt with above, the last two by the session.
            Request::Upload(_)
            | Request::Resume(_)
            | Request::Complete(_)
            | Request::Withdraw(_)
            | Request::Hello(_)
            | Request::Ping(_) => Ok(()),
        };
        if let Err(failure) = answered {
            self.reply(Reply::Error(self.error(&failure, None)));
        }
    }

    fn upload(&mut self, request: &Upload) -> Result<(), Failure> {
        self.leave();
        self.check_user(request.user_id)?;
        let path = request.path()?;
        Rules::admit(request.filesize, self.service.config.max_filesize)?;
        if let Some(blake3) = request.blake3
            && let Some(document) = self.service.same_bytes(self.user, request.filesize, blake3)?
            && let Some(receipt) = Receipt::of(document)
        {
            self.finish(receipt, true);
            return Ok(());
        }
        let now = self.service.clock().now();
        let new = NewDocument {
            user_id: self.user,
            path: path.clone(),
            filesize: request.filesize,
            on_conflict: request.on_conflict,
            chunk_size: request.chunk_size,
            started_at: now,
        };
        let limit = self.service.config.limits.unfinished_per_user;
        let id = self.service.catalog.create_document(new, limit).wait()?;
        let staging = match self.service.storage.create(id, request.filesize) {
            Ok(staging) => staging,
            Err(error) => {
                let failure = Failure::Storage(error);
                self.service.end(id, Phase::Failed, &failure.to_string())?;
                return Err(failure);
            }
        };
        let order = order(request.blocks);
        let (rules, lease) = Rules::begin(self.user, path, request.filesize, order, now);
        let live = Live::begin(id, staging, rules, self.channel, self.events.clone());
        let live = Arc::new(live);
        self.service.registry.insert(Arc::clone(&live));
        self.service.mirror.changed();
        self.reply(Reply::Upload(self.granted(&live, Offset::ZERO)));
        self.slot = Slot::Open(Open { live, lease, on_conflict: request.on_conflict });
        Ok(())
    }

    fn resume(&mut self, request: &Resume) -> Result<(), Failure> {
        self.leave();
        self.check_user(request.user_id)?;
        let ask = Ask {
            user: self.user,
            order: order(request.blocks),
            filename: request.filename.as_deref(),
            filesize: request.filesize,
            offset: request.offset,
        };
        loop {
            let document = self.service.document_of(self.user, request.document_id)?;
            if document.phase == Phase::Completed {
                return self.receipt(document);
            }
            let document = still_open(document)?;
            let live = self.open(&document)?;
            let now = self.service.clock().now();
            let patience = self.service.config.patience;
            match live.resume(&ask, self.channel, &self.events, now, patience) {
                Ok(Some((lease, offset))) => {
                    self.service.mirror.changed();
                    self.reply(Reply::Resume(self.granted(&live, offset)));
                    let on_conflict = document.on_conflict;
                    self.slot = Slot::Open(Open { live, lease, on_conflict });
                    return Ok(());
                }
                Ok(None) => self.service.registry.remove(&live),
                // Another connection's `complete` is being carried out: its end
                // decides what this one is told.
                Err(Failure::Refused(Refusal::NotUploading(Phase::Publishing))) => {
                    self.settle(&live)?;
                }
                // It is being given up: the row will say so when that is done.
                Err(Failure::Refused(Refusal::NotUploading(_))) => {
                    let _recording = live.recording();
                    self.service.registry.remove(&live);
                }
                Err(failure @ Failure::Refused(Refusal::Expired { .. })) => {
                    let why = failure.to_string();
                    self.service.give_up(&live, &live.recording(), Phase::Expired, &why)?;
                    return Err(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The upload of that row, with its bytes where they belong. Lost bytes end
    /// it: an upload never goes on over a gap.
    fn open(&self, document: &Document) -> Result<Arc<Live>, Failure> {
        let opened = self.service.live(document).and_then(|live| {
            live.staging().check_holds(live.ask(|upload| upload.progress().durable()))?;
            Ok(live)
        });
        if let Err(failure @ Failure::Storage(StorageError::Lost(_))) = &opened {
            let why = failure.reply().message;
            match self.service.registry.get(document.document_id) {
                Some(live) => {
                    self.service.give_up(&live, &live.recording(), Phase::Failed, &why)?;
                }
                None => self.service.end(document.document_id, Phase::Failed, &why)?,
            }
        }
        opened
    }

    fn write(&mut self, offset: Offset, bytes: &[u8]) -> Result<(), Failure> {
        let Slot::Open(open) = &self.slot else { return self.drop_or_complain() };
        let now = self.service.clock().now();
        open.live.write(open.lease, offset, bytes, now).map_err(|failure| match failure {
            Failure::Storage(StorageError::NoSpace { .. }) => {
                let missing_bytes = self.service.missing_bytes(open.live.filesize(), &open.live);
                Failure::Storage(StorageError::NoSpace { missing_bytes })
            }
            other => other,
        })?;
        self.service.checkpoints.moved(&open.live, bytes.len() as u64);
        open.live.report_if_due(self.service.config.timings.report);
        Ok(())
    }

    fn announce(&mut self, index: BlockIndex, value: ChainingValue) -> Result<(), Failure> {
        let Slot::Open(open) = &self.slot else { return self.drop_or_complain() };
        open.live.announce(open.lease, index, value)?;
        self.service.checkpoints.moved(&open.live, 0);
        Ok(())
    }

    fn withdraw(&mut self, request: &Withdraw) -> Result<(), Failure> {
        let Slot::Open(open) = &self.slot else { return self.drop_or_complain() };
        if request.ranges.len() > limits::WITHDRAW_RANGES_MAX {
            let max = limits::WITHDRAW_RANGES_MAX as u64;
            return Err(Failure::TooLong { field: "ranges", max });
        }
        let count = block_count(open.live.filesize());
        let ranges: Vec<_> =
            request.ranges.iter().filter_map(|range| within(*range, count)).collect();
        let offset = open.live.withdraw(open.lease, &ranges, &self.service.catalog)?;
        self.reply(Reply::Withdraw(self.granted(&open.live, offset)));
        Ok(())
    }

    fn complete(&mut self, request: &Complete) -> Result<(), Failure> {
        let open = match &self.slot {
            Slot::Open(open) if is_about(request, &open.live) => open,
            _ => return self.complete_again(request),
        };
        let live = Arc::clone(&open.live);
        let lease = open.lease;
        let on_conflict = request.on_conflict.unwrap_or(open.on_conflict);
        let receipt = {
            let _recording = live.recording();
            let blake3 = live.tell(|upload| upload.complete(lease, request.blake3))?;
            // The user's own three checks: size, existence, permissions.
            live.staging().check(live.filesize())?;
            let document_id = live.document_id;
            let order = Publication { document_id, owner: self.user, blake3, on_conflict };
            let published = publish::publish(&self.service, order, live.staging());
            if published.is_err() {
                self.after_failed_publish(&live);
            }
            published?
        };
        live.tell(Rules::published);
        self.service.registry.remove(&live);
        self.service.mirror.changed();
        self.finish(receipt, false);
        Ok(())
    }

    /// The row decides what a failed publishing leaves: an upload that can be
    /// completed again, or a move that recovery finishes.
    fn after_failed_publish(&self, live: &Live) {
        let row = self.service.catalog.document(live.document_id).wait();
        if row.is_ok_and(|row| row.is_some_and(|row| row.phase == Phase::Uploading)) {
            live.tell(Rules::unpublish);
        }
    }

    /// `complete` for a document that is not open here: after a lost `SUCCESS`.
    fn complete_again(&mut self, request: &Complete) -> Result<(), Failure> {
        let id = match (&self.slot, request.document_id) {
            (_, Some(id)) => id,
            (Slot::Open(open), None) => open.live.document_id,
            (Slot::Done(receipt), None) => {
                self.reply(Reply::Success(receipt.success(self.channel, false)));
                return Ok(());
            }
            (_, None) => return self.drop_or_complain(),
        };
        let mut document = self.service.document_of(self.user, id)?;
        if document.phase == Phase::Publishing {
            if let Some(live) = self.service.registry.get(id) {
                self.settle(&live)?;
            }
            document = self.service.document_of(self.user, id)?;
        }
        match document.phase {
            Phase::Completed => self.receipt(document),
            _ => {
                still_open(document)?;
                Err(Failure::NothingOpen)
            }
        }
    }

    /// Waits until nobody publishes the upload any more, and finishes what a
    /// failure of the catalog left half done.
    fn settle(&self, live: &Arc<Live>) -> Result<(), Failure> {
        let _recording = live.recording();
        let Some(row) = self.service.catalog.document(live.document_id).wait()? else {
            return Err(Failure::Refused(Refusal::NotFound));
        };
        if let (Phase::Publishing, Some(blake3)) = (row.phase, row.blake3) {
            let order = Publication {
                document_id: row.document_id,
                owner: row.user_id,
                blake3,
                on_conflict: row.on_conflict,
            };
            publish::put_in_place(&self.service, order)?;
            live.tell(Rules::published);
            self.service.registry.remove(live);
            self.service.mirror.changed();
        }
        Ok(())
    }

    fn status(&self, request: &About) -> Result<(), Failure> {
        let document = self.service.document_of(self.user, request.document_id)?;
        let live = self.service.registry.get(document.document_id);
        let progress = live.as_ref().map(|live| live.progress(self.channel));
        let path = document.file_path.as_ref().unwrap_or(&document.path);
        let waiting = document.phase == Phase::Uploading;
        self.reply(Reply::Status(Status {
            channel: self.channel,
            document_id: document.document_id,
            status: document.phase.to_string(),
            filename: path.filename().to_string(),
            folder: path.folder().iter().map(ToString::to_string).collect(),
            filesize: document.filesize,
            received: progress.as_ref().map_or(document.durable_offset, |now| now.received),
            durable: progress.as_ref().map_or(document.durable_offset, |now| now.durable),
            active: live.is_some_and(|live| live.ask(|upload| upload.lease().is_some())),
            blake3: document.blake3,
            created_at: document.created_at,
            expires_at: waiting.then(|| document.last_chunk_at.plus(self.service.config.patience)),
            reason: document.reason,
        }));
        Ok(())
    }

    fn blocks(&self, request: &About) -> Result<(), Failure> {
        let document = self.service.document_of(self.user, request.document_id)?;
        let blocks = match self.service.registry.get(document.document_id) {
            Some(live) => live.ask(|upload| upload.progress().held().collect()),
            None => self.service.catalog.blocks(document.document_id).wait()?,
        };
        self.events.send(Event::Frames(frame::block_lists(self.channel, &blocks)));
        self.reply(Reply::Blocks(Blocks {
            channel: self.channel,
            document_id: document.document_id,
            count: blocks.len() as u64,
        }));
        Ok(())
    }

    fn cancel(&mut self, request: &About) -> Result<(), Failure> {
        let document = self.service.document_of(self.user, request.document_id)?;
        let id = document.document_id;
        if let Slot::Open(open) = &self.slot
            && open.live.document_id == id
        {
            self.leave();
        }
        match document.phase {
            Phase::Cancelled => {}
            Phase::Uploading | Phase::Publishing => match self.service.registry.get(id) {
                Some(live) => {
                    self.service.give_up(&live, &live.recording(), Phase::Cancelled, GIVEN_UP)?;
                }
                None => self.service.end(id, Phase::Cancelled, GIVEN_UP)?,
            },
            ended => return Err(Failure::Refused(Refusal::NotUploading(ended))),
        }
        let status = Phase::Cancelled.to_string();
        self.reply(Reply::Cancel(Cancelled { channel: self.channel, document_id: id, status }));
        Ok(())
    }

    fn find(&self, request: &Find) -> Result<(), Failure> {
        let path = request.path()?;
        let catalog = &self.service.catalog;
        let same_size = catalog.has_completed_of_size(self.user, request.filesize).wait()?;
        let document = match request.blake3 {
            Some(blake3) => self.service.same_bytes(self.user, request.filesize, blake3)?,
            None => None,
        };
        let unfinished = catalog.find_unfinished(self.user, &path, request.filesize).wait()?;
        self.reply(Reply::Find(Found {
            channel: self.channel,
            same_size,
            document_id: document.map(|document| document.document_id),
            unfinished: unfinished.map(|document| Unfinished {
                document_id: document.document_id,
                offset: document.durable_offset,
            }),
        }));
        Ok(())
    }

    /// Answers with the receipt of a completed document.
    fn receipt(&mut self, document: Document) -> Result<(), Failure> {
        let phase = document.phase;
        let receipt = Receipt::of(document);
        let receipt = receipt.ok_or(Failure::Refused(Refusal::NotUploading(phase)))?;
        self.finish(receipt, false);
        Ok(())
    }

    fn finish(&mut self, receipt: Receipt, existing: bool) {
        self.reply(Reply::Success(receipt.success(self.channel, existing)));
        // A receipt asked for by number leaves the channel's own upload as it is.
        let other = matches!(&self.slot, Slot::Open(open) if !receipt.is_of(open.live.document_id));
        if !other {
            self.slot = Slot::Done(Box::new(receipt));
        }
    }

    /// What comes for an upload that was refused or is done is dropped in
    /// silence; what comes for none at all is a mistake of the client's.
    fn drop_or_complain(&self) -> Result<(), Failure> {
        if matches!(self.slot, Slot::Empty) { Err(Failure::NothingOpen) } else { Ok(()) }
    }

    /// Says no, and does what follows from it.
    fn refuse(&mut self, failure: &Failure) {
        let open = match std::mem::replace(&mut self.slot, Slot::Refused) {
            Slot::Open(open) => Some(open),
            Slot::Done(receipt) => {
                self.slot = Slot::Done(receipt);
                None
            }
            _ => None,
        };
        tracing::debug!(user = %self.user, channel = %self.channel, %failure, "refused");
        let Some(open) = open else {
            self.reply(Reply::Error(self.error(failure, None)));
            return;
        };
        let live = Arc::clone(&open.live);
        match failure {
            // Whoever took the upload over, or gave it up, has told us already.
            Failure::Refused(Refusal::Superseded | Refusal::NotUploading(_)) => return,
            failure if failure.is_fatal_to_upload() => {
                self.service.fail(&live, &live.recording(), failure);
                return;
            }
            Failure::Refused(Refusal::BlockMismatch { index }) => {
                let block = *index..index.next();
                if let Err(failure) = live.withdraw(open.lease, &[block], &self.service.catalog) {
                    self.reply(Reply::Error(self.error(&failure, Some(live.document_id))));
                    return;
                }
            }
            _ => {}
        }
        if failure.refuses_channel() {
            self.pause(&open);
        } else {
            self.slot = Slot::Open(open);
        }
        self.service.storage_follows_catalog();
        self.reply(Reply::Error(self.error(failure, Some(live.document_id))));
    }

    /// Lets go of the channel's upload, if it has one; says which one is paused
    /// by it.
    fn leave(&mut self) -> Option<Arc<Live>> {
        match std::mem::replace(&mut self.slot, Slot::Empty) {
            Slot::Open(open) => self.pause(&open).then_some(open.live),
            _ => None,
        }
    }

    fn pause(&self, open: &Open) -> bool {
        let paused = open.live.release(open.lease);
        if paused {
            self.service.checkpoints.moved(&open.live, 0);
            self.service.mirror.changed();
        }
        paused
    }

    fn check_user(&self, named: Option<UserId>) -> Result<(), Failure> {
        match named {
            Some(user) if user != self.user => Err(Failure::WrongUser),
            _ => Ok(()),
        }
    }

    fn granted(&self, live: &Live, offset: Offset) -> Granted {
        let (document_id, filesize) = (live.document_id, live.filesize());
        Granted { channel: self.channel, document_id, offset, filesize }
    }

    fn error(&self, failure: &Failure, document_id: Option<DocumentId>) -> ErrorReply {
        failure.reply().on(self.channel, document_id)
    }

    fn reply(&self, reply: Reply) {
        self.events.reply(reply);
    }
}

/// Why a cancelled upload ended.
const GIVEN_UP: &str = "its owner gave it up";

const fn order(blocks: bool) -> Order {
    if blocks { Order::AnyBlock } else { Order::Sequence }
}

/// Whether the request is about this upload, and it is still to be completed.
fn is_about(request: &Complete, live: &Live) -> bool {
    request.document_id.is_none_or(|named| named == live.document_id)
        && live.ask(|upload| upload.phase() == Phase::Uploading)
}

/// The document, unless it has ended without one.
fn still_open(document: Document) -> Result<Document, Failure> {
    match document.phase {
        Phase::Failed | Phase::Cancelled | Phase::Expired => Err(Failure::Ended {
            phase: document.phase,
            reason: document.reason.unwrap_or_else(|| "begin it again".to_owned()),
        }),
        Phase::Uploading | Phase::Publishing | Phase::Completed => Ok(document),
    }
}

/// A range of blocks from the wire, as far as the file has them.
fn within((first, length): (BlockIndex, u64), count: u64) -> Option<Range<BlockIndex>> {
    let end = BlockIndex::new(first.get().saturating_add(length).min(count))?;
    (first < end).then_some(first..end)
}

impl From<Unrecorded> for Failure {
    fn from(refusal: Unrecorded) -> Self {
        Self::Catalog(CatalogError::Refused(refusal))
    }
}
