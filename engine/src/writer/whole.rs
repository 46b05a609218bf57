//! A small file that the server has whole before it has done anything for it.
//!
//! No client has to be told of an upload that ends before it could be resumed. So there is no lease
//! and nothing to resume, and the row is written twice, where the steps of a resumable upload write
//! it three times: see [`staged_whole`](super::staged_whole). A file that is unusual, that turns
//! out to be needless, or that does not get its name, takes the steps of a resumable upload, from
//! the first one. (A file that turns out to be needless has cost a file and a sync then. A client
//! that was told so of one file sends no other file before the server asks for it.)

use super::staged_whole::{Origin, StagedWhole};
use super::state::{OrderedWriter, Permits, QueuedCommand, Task};
use crate::command::{Command, CompleteRequest, WHOLE_BYTES_MAX, WholeUpload};
use crate::log::Since;
use crate::publish::reserved_name::PublishSpec;
use std::collections::VecDeque;
use towline_state::catalog::{NewDocument, NodeWish, Unless};
use towline_types::block::hash_block;
use towline_types::file_hash::hash_file;
use towline_types::{BlockIndex, FileHash, FileSize, Offset, OnConflict, SecondDigest};
use towline_upload::{Integrity, Length, Upload as Rules};

/// Takes the commands of a small file from the beginning of a queue, and makes one command of them,
/// if all of them are there.
pub(super) fn take(queue: &mut VecDeque<QueuedCommand>) -> Option<QueuedCommand> {
    let length = length(queue)?;
    let mut permits = Permits::default();
    let (mut new, mut bytes, mut value, mut hash) = (None, None, None, None);
    for QueuedCommand { task, permits: own } in queue.drain(..length) {
        permits.merge(own);
        match task {
            Task::Command(Command::Begin(upload)) => new = Some(*upload),
            Task::Command(Command::Data { buffer, .. }) => bytes = Some(buffer),
            Task::Command(Command::Announce { value: said, .. }) => value = Some(said),
            Task::Command(Command::Complete(complete)) => hash = complete.hash,
            _ => unreachable!("`length` has looked at each"),
        }
    }
    let whole = WholeUpload { new: new?, data: bytes?, value, hash };
    Some(QueuedCommand { task: Task::Command(Command::Whole(Box::new(whole))), permits })
}

/// How many commands at the beginning of the queue are those of a small file, if all of them are
/// there.
fn length(queue: &VecDeque<QueuedCommand>) -> Option<usize> {
    let mut commands = queue.iter().map_while(|queued| match &queued.task {
        Task::Command(command) => Some(command),
        Task::Release(_) => None,
    });
    let Command::Begin(new) = commands.next()? else { return None };
    if new.second_digest != SecondDigest::None {
        return None;
    }
    let Command::Data { offset: Offset::ZERO, buffer } = commands.next()? else { return None };
    let bytes = buffer.bytes().len();
    if new.length != length_of(bytes) || bytes > WHOLE_BYTES_MAX {
        return None;
    }
    let mut count = 2;
    for command in commands {
        count += 1;
        match command {
            Command::Announce { index: BlockIndex::FIRST, .. } if count == 3 => {}
            // About this very file, and with the same `on_conflict` with which it began.
            Command::Complete(complete)
                if complete.id.is_none()
                    && complete.sha256.is_none()
                    && complete
                        .filesize
                        .is_none_or(|said| Length::Declared(said) == new.length)
                    && complete.on_conflict.is_none_or(|wish| wish == new.on_conflict) =>
            {
                return Some(count);
            }
            _ => return None,
        }
    }
    None
}

/// The length that is declared for that many bytes, which are in memory.
fn length_of(bytes: usize) -> Length {
    Length::Declared(FileSize::try_from(bytes as u64).unwrap_or(FileSize::MAX))
}

impl WholeUpload {
    /// The hash of the bytes, if all values and hashes that the client gave agree with it.
    fn verified_hash(&self) -> Option<FileHash> {
        let filesize = self.new.length.bound();
        // An empty file has no block, and nothing that could be vouched for.
        let is_empty = filesize == FileSize::MIN;
        let value = (!is_empty).then(|| hash_block(BlockIndex::FIRST, filesize, self.data.bytes()));
        let hash = hash_file(filesize, value);
        let is_right = self.value.is_none_or(|said| Some(said) == value)
            && self.new.hash.is_none_or(|said| said == hash)
            && self.hash.is_none_or(|said| said == hash)
            // If the client said that it announces values, a value or a hash must confirm the
            // bytes.
            && (self.new.mode.integrity == Integrity::Unannounced
                || is_empty
                || self.value.is_some()
                || self.hash.is_some());
        is_right.then_some(hash)
    }

    /// The commands of a resumable upload of the same file.
    pub(super) fn into_commands(self, permits: Permits) -> VecDeque<QueuedCommand> {
        let Self { new, data, value, hash } = self;
        let begin = Command::Begin(Box::new(new));
        let data = Command::Data { offset: Offset::ZERO, buffer: data };
        let announce = value.map(|value| Command::Announce { index: BlockIndex::FIRST, value });
        let complete = Command::Complete(CompleteRequest { hash, ..CompleteRequest::default() });
        let queued =
            |command| QueuedCommand { task: Task::Command(command), permits: Permits::default() };
        let mut commands: VecDeque<_> =
            [begin, data].into_iter().chain(announce).chain([complete]).map(queued).collect();
        // The permits of the file are given back after the last command.
        if let Some(last) = commands.back_mut() {
            last.permits = permits;
        }
        commands
    }
}

impl OrderedWriter {
    /// Publishes the file at once, if that can be; else it becomes an upload.
    pub(super) fn whole(&mut self, whole: Box<WholeUpload>) -> Option<Box<StagedWhole>> {
        self.leave_for_another();
        self.since = Since::now(0);
        let Some(staged) = self.stage(&whole) else {
            self.unfold(*whole);
            return None;
        };
        Some(Box::new(staged.from(Origin::Whole(whole))))
    }

    /// Goes on with the steps of a resumable upload, from the first one.
    pub(super) fn unfold(&mut self, whole: WholeUpload) {
        self.unfolded = whole.into_commands(std::mem::take(&mut self.permits));
    }

    /// Does step 1 of [`staged_whole`](super::staged_whole), and begins the next one.
    fn stage(&self, whole: &WholeUpload) -> Option<StagedWhole> {
        let shared = &self.shared;
        let WholeUpload { new, data, .. } = whole;
        // Only the steps of a resumable upload find a second hash, and a folder or file by its
        // number.
        let NodeWish { onto_node, into_folder, .. } = new.wish;
        if new.second_digest != SecondDigest::None || onto_node.or(into_folder).is_some() {
            return None;
        }
        if shared.catalog.is_read_only() || new.length != length_of(data.bytes().len()) {
            return None;
        }
        let (filesize, on_conflict) = (new.length.bound(), new.on_conflict);
        Rules::admit(filesize, shared.config.max_filesize).ok()?;
        let blake3 = whole.verified_hash()?;
        let document_id = shared.catalog.reserve_document_id(self.user).ok()?;
        let guard = shared.pending.begin(document_id);
        let permit = shared.deferred.permit(filesize);
        let staging = match permit.as_ref().and_then(|_| shared.storage.deferred()) {
            // A file that replaces another needs a name that a start finds.
            Some(storage) if on_conflict != OnConflict::Replace => {
                storage.create_unnamed(document_id, data.bytes()).ok()?
            }
            _ => shared.storage.create_whole(document_id, data.bytes()).ok()?,
        };
        let (user_id, started_at) = (self.user, shared.clock().now());
        let spec = PublishSpec { document_id, owner: user_id, blake3, on_conflict, is_copy: false };
        // A document elsewhere with the same bytes does not make it needless, because all its bytes
        // are here.
        let unless = Unless { same_place: new.hash, same_bytes: None, unfinished: new.new_only };
        let new = NewDocument {
            user_id,
            path: new.path.clone(),
            length: Length::Declared(filesize),
            on_conflict,
            chunk_size: new.chunk_size,
            second_digest: SecondDigest::None,
            wish: new.wish,
            description: new.description.clone(),
            started_at,
        };
        Some(StagedWhole::written(shared, spec, (new, unless), (staging, guard), permit))
    }
}
