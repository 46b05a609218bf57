//! A small file that is here whole before anything was done about it: its `upload`, all
//! of its bytes in one piece, and its `complete`.
//!
//! Nobody has to hear of an upload that is over before it could be gone on with. So
//! there is no lease and nothing to resume, and where the long way writes a row three
//! times this does it twice:
//!
//! 1. Its bytes are hashed, and written to a file of its own, under a name that says that
//!    nothing was promised of it: where that is all there is, recovery removes it.
//! 2. They are synced, unless durability is relaxed and there is a place (P2).
//! 3. The row is made, and says `publishing` from the beginning (P4).
//!
//! From there it goes as with all files: see [`Publishing`]. What is unusual about it, what
//! turns out to be needless, and what does not get its name, goes the long way, from the
//! start. (What is needless costs a file and a sync then; a client that has heard so
//! of one file sends no other before it is asked for it.)

use super::begin::Asked;
use super::{ChannelDesk, Queued, SHORT_PIECE_BYTES, Slot, Task};
use crate::failpoint;
use crate::failure::Failure;
use crate::newborn::Birth;
use crate::publish::{Order, Publishing};
use crate::service::Service;
use crate::settling::Place;
use crate::storage::Publishable;
use std::collections::VecDeque;
use std::sync::Arc;
use towline_protocol::block::{hash_block, hash_file};
use towline_protocol::reply::{Granted, Reply};
use towline_protocol::request::{Complete, Request, Upload};
use towline_protocol::{BlockIndex, ChainingValue, DocumentId, FileHash, Offset};
use towline_state::CatalogError;
use towline_state::catalog::{self, Bytes, Catalog, Created, Document, NewDocument, Unless};
use towline_upload::{Phase, Upload as Rules};

/// See the module's description: the tasks that it was made of, in order.
pub(crate) struct Parcel(VecDeque<Queued>);

/// What is in it.
struct Contents<'a> {
    upload: &'a Upload,
    bytes: &'a [u8],
    /// The value of its block, where that was said.
    value: Option<ChainingValue>,
    complete: &'a Complete,
    /// So many tasks.
    tasks: usize,
}

/// What has become of a parcel: it has a file.
pub(super) struct Posted {
    order: Order,
    new: NewDocument,
    unless: Unless,
    file: File,
    birth: Birth,
    /// Where it need not be durable at once.
    room: Option<Place>,
    /// Nothing yet, where the bytes are to be synced first.
    created: Option<catalog::Reply<Created<(Document, u32)>>>,
}

/// Its file.
struct File {
    service: Arc<Service>,
    staging: Arc<dyn Publishable>,
    id: DocumentId,
    /// No row speaks of it, nor will: it goes where this goes.
    is_nobodys: bool,
}

impl Drop for File {
    fn drop(&mut self) {
        let Self { service, id, is_nobodys, .. } = self;
        if *is_nobodys && let Err(error) = service.storage.discard_whole(*id) {
            tracing::warn!(document_id = %id, %error, "the staging area could not be removed");
        }
    }
}

impl Parcel {
    /// Takes one from the queue, if all of it is there.
    pub(super) fn take(queue: &mut VecDeque<Queued>) -> Option<Queued> {
        let tasks = Contents::of(queue)?.tasks;
        let parcel = Self(queue.drain(..tasks).collect());
        Some(Queued { task: Task::Parcel(parcel), place: None })
    }
}

impl<'a> Contents<'a> {
    /// What comes first in a queue, if it is a small file.
    fn of(queue: &'a VecDeque<Queued>) -> Option<Self> {
        let mut tasks = queue.iter().map(|queued| &queued.task).enumerate();
        let (_, Task::Request(Request::Upload(upload))) = tasks.next()? else { return None };
        let (_, Task::Piece { offset: Offset::ZERO, buffer }) = tasks.next()? else { return None };
        let bytes = buffer.bytes();
        let is_whole = upload.filesize.get() == bytes.len() as u64;
        if !is_whole || bytes.len() > SHORT_PIECE_BYTES {
            return None;
        }
        let mut value = None;
        loop {
            match tasks.next()? {
                (_, Task::Block { index: BlockIndex::FIRST, value: said }) if value.is_none() => {
                    value = Some(*said);
                }
                // About this very file, and in the manner that was asked for.
                (last, Task::Request(Request::Complete(complete)))
                    if complete.document_id.is_none()
                        && complete.on_conflict.is_none_or(|wish| wish == upload.on_conflict) =>
                {
                    return Some(Self { upload, bytes, value, complete, tasks: last + 1 });
                }
                _ => return None,
            }
        }
    }

    /// The hash of the bytes, where nobody says that it is another.
    fn hash(&self) -> Option<FileHash> {
        let filesize = self.upload.filesize;
        let value = hash_block(BlockIndex::FIRST, filesize, self.bytes);
        let hash = hash_file(filesize, [value]);
        let is_right = self.value.is_none_or(|said| said == value)
            && self.upload.blake3.is_none_or(|said| said == hash)
            && self.complete.blake3.is_none_or(|said| said == hash)
            // Where values were announced for, somebody has to vouch for the bytes.
            && (!self.upload.blocks || self.value.is_some() || self.complete.blake3.is_some());
        is_right.then_some(hash)
    }
}

impl ChannelDesk {
    /// Sends it on its way; on the short one, if that can be.
    pub(super) fn send_whole(&mut self, parcel: Parcel) -> Option<Asked> {
        self.leave_for_another();
        let Some(posted) = self.post(&parcel) else {
            self.taken = parcel.0;
            return None;
        };
        Some(Asked::Parcel(parcel, Box::new(posted)))
    }

    /// Step 1; and the next is begun.
    fn post(&self, parcel: &Parcel) -> Option<Posted> {
        let service = &self.service;
        let contents = Contents::of(&parcel.0)?;
        let Contents { upload, bytes, .. } = contents;
        let Upload { filesize, chunk_size, .. } = *upload;
        if service.catalog.is_read_only() {
            return None;
        }
        let path = upload.path().ok()?;
        self.check_user(upload.user_id).ok()?;
        Rules::admit(filesize, service.config.max_filesize).ok()?;
        let blake3 = contents.hash()?;
        let document_id = service.catalog.reserve_document_id(self.user).ok()?;
        let birth = service.newborns.begin(document_id);
        let room = service.settling.place(filesize);
        let staging = match room {
            Some(_) => service.storage.create_nameless(document_id, bytes).ok()?,
            None => service.storage.create_whole(document_id, bytes).ok()?,
        };
        let file =
            File { service: Arc::clone(service), staging, id: document_id, is_nobodys: true };
        failpoint::reach("whole.file_made");
        let (user_id, started_at) = (self.user, service.clock().now());
        let on_conflict = upload.on_conflict;
        let mut posted = Posted {
            order: Order { document_id, owner: user_id, blake3, on_conflict },
            new: NewDocument { user_id, path, filesize, on_conflict, chunk_size, started_at },
            unless: Unless { same_bytes: upload.blake3, unfinished: upload.new_only },
            file,
            birth,
            room,
            created: None,
        };
        if posted.room.is_some() {
            posted.ask_for_row(&service.catalog);
        } else {
            // Where many are published, the first sync finds the bytes of all of them on
            // the device.
            posted.file.staging.start_writeback(Offset::ZERO, filesize.get());
        }
        Some(posted)
    }

    /// The next step.
    pub(super) fn go_on_with_parcel(
        &mut self,
        parcel: Parcel,
        mut posted: Box<Posted>,
    ) -> Result<Option<Asked>, Failure> {
        let Some(created) = posted.created.take() else {
            let synced = posted.file.staging.sync_data();
            synced.inspect_err(|_| self.backlog.settled())?;
            failpoint::reach("publish.synced");
            posted.ask_for_row(&self.service.catalog);
            return Ok(Some(Asked::Parcel(parcel, posted)));
        };
        let Posted { order, new, mut file, birth, room, .. } = *posted;
        let row = match created.wait() {
            Ok(Created::New(row)) => row,
            needless => {
                // What there is in its place, or what is wrong, the long way finds out
                // again. Where the catalog failed there may be a row behind a restart.
                file.is_nobodys = matches!(needless, Ok(_) | Err(CatalogError::Refused(_)));
                self.taken = parcel.0;
                return Ok(None);
            }
        };
        let id = order.document_id;
        let whole = (Arc::clone(&file.staging), birth);
        let stage = Publishing::of_whole(&self.service, order, whole, row, room);
        if stage.is_err() {
            let row = self.service.catalog.document(id).wait();
            if row.is_ok_and(|row| row.is_some_and(|row| row.phase == Phase::Failed)) {
                // It came to nothing, and nobody has heard of it: the long way says why,
                // and may keep the bytes.
                self.taken = parcel.0;
                return Ok(None);
            }
        }
        self.backlog.settled();
        self.slot = Slot::Whole(id);
        self.reply(Reply::Upload(Granted {
            channel: self.channel,
            document_id: id,
            offset: Offset::ZERO,
            filesize: new.filesize,
            lease: None,
        }));
        Ok(self.went(stage?))
    }
}

impl Posted {
    /// Step 3.
    fn ask_for_row(&mut self, catalog: &Catalog) {
        let bytes = match self.room {
            Some(_) => Bytes::Cached { inode: self.file.staging.inode() },
            None => Bytes::Synced,
        };
        self.file.is_nobodys = false;
        let (Order { document_id, blake3, .. }, new) = (self.order, self.new.clone());
        self.created = Some(catalog.publish_new(document_id, new, self.unless, blake3, bytes));
    }
}
