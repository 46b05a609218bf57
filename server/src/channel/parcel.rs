//! A small file that is here whole before anything was done about it: its `upload`, all
//! of its bytes in one piece, and its `complete`.
//!
//! Nobody has to hear of an upload that is over before it could be gone on with. So
//! there is no lease and nothing to resume, and where the long way writes a row three
//! times this does it twice: see [`posted`](super::posted). What is unusual about it, what
//! turns out to be needless, and what does not get its name, goes the long way, from the
//! start. (What is needless costs a file and a sync then; a client that has heard so
//! of one file sends no other before it is asked for it.)

use super::begin::Asked;
use super::posted::{Posted, Source};
use super::{ChannelDesk, Queued, SHORT_PIECE_BYTES, Task};
use crate::command::{Command, CompleteRequest, NewUpload};
use crate::log::Since;
use crate::publish::Order;
use std::collections::VecDeque;
use towline_state::catalog::{NewDocument, Unless};
use towline_types::block::{hash_block, hash_file};
use towline_types::{BlockIndex, ChainingValue, FileHash, Offset};
use towline_upload::{Order as BlockOrder, Upload as Rules};

/// See the module's description: the tasks that it was made of, in order.
pub(crate) struct Parcel(VecDeque<Queued>);

/// What is in it.
struct Contents<'a> {
    upload: &'a NewUpload,
    bytes: &'a [u8],
    /// The value of its block, where that was said.
    value: Option<ChainingValue>,
    complete: &'a CompleteRequest,
    /// So many tasks.
    tasks: usize,
}

impl Parcel {
    /// Takes one from the queue, if all of it is there.
    pub(super) fn take(queue: &mut VecDeque<Queued>) -> Option<Queued> {
        let tasks = Contents::of(queue)?.tasks;
        let parcel = Self(queue.drain(..tasks).collect());
        Some(Queued { task: Task::Parcel(parcel), place: None })
    }

    /// What it was made of, for the long way.
    pub(super) fn into_tasks(self) -> VecDeque<Queued> {
        self.0
    }
}

impl<'a> Contents<'a> {
    /// What comes first in a queue, if it is a small file.
    fn of(queue: &'a VecDeque<Queued>) -> Option<Self> {
        let commands = queue.iter().map_while(|queued| match &queued.task {
            Task::Command(command) => Some(command),
            Task::Parcel(_) | Task::Release(_) => None,
        });
        let mut commands = commands.enumerate();
        let (_, Command::Begin(upload)) = commands.next()? else { return None };
        let (_, Command::Data { offset: Offset::ZERO, buffer }) = commands.next()? else {
            return None;
        };
        let bytes = buffer.bytes();
        let is_whole = upload.filesize.get() == bytes.len() as u64;
        if !is_whole || bytes.len() > SHORT_PIECE_BYTES {
            return None;
        }
        let mut value = None;
        loop {
            match commands.next()? {
                (_, Command::Announce { index: BlockIndex::FIRST, value: said })
                    if value.is_none() =>
                {
                    value = Some(*said);
                }
                // About this very file, and in the manner that was asked for.
                (last, Command::Complete(complete))
                    if complete.id.is_none()
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
            && self.upload.hash.is_none_or(|said| said == hash)
            && self.complete.hash.is_none_or(|said| said == hash)
            // Where values were announced for, somebody has to vouch for the bytes.
            && (self.upload.order == BlockOrder::Sequence
                || self.value.is_some()
                || self.complete.hash.is_some());
        is_right.then_some(hash)
    }
}

impl ChannelDesk {
    /// Sends it on its way; on the short one, if that can be.
    pub(super) fn send_whole(&mut self, parcel: Parcel) -> Option<Asked> {
        self.leave_for_another();
        self.since = Since::now(0);
        let Some(posted) = self.post(&parcel) else {
            self.taken = parcel.0;
            return None;
        };
        Some(Asked::Posted(Box::new(posted.of(Source::Parcel(parcel)))))
    }

    /// Step 1; and the next is begun.
    fn post(&self, parcel: &Parcel) -> Option<Posted> {
        let service = &self.service;
        let contents = Contents::of(&parcel.0)?;
        let Contents { upload, bytes, .. } = contents;
        let NewUpload { filesize, chunk_size, .. } = *upload;
        if service.catalog.is_read_only() {
            return None;
        }
        let path = upload.path.clone();
        Rules::admit(filesize, service.config.max_filesize).ok()?;
        let blake3 = contents.hash()?;
        let document_id = service.catalog.reserve_document_id(self.user).ok()?;
        let birth = service.newborns.begin(document_id);
        let room = service.settling.place(filesize);
        let staging = match room {
            Some(_) => service.storage.create_nameless(document_id, bytes).ok()?,
            None => service.storage.create_whole(document_id, bytes).ok()?,
        };
        let (user_id, started_at) = (self.user, service.clock().now());
        let (owner, on_conflict) = (user_id, upload.on_conflict);
        let order = Order { document_id, owner, blake3, on_conflict, is_copy: false };
        let new = NewDocument { user_id, path, filesize, on_conflict, chunk_size, started_at };
        // Equal bytes elsewhere make it no less wanted: its own are here.
        let (same_place, unfinished) = (upload.hash, upload.new_only);
        let unless = Unless { same_place, same_bytes: None, unfinished };
        Some(Posted::written(service, order, (new, unless), (staging, birth), room))
    }
}
