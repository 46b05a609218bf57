//! The rules and the model side by side.

mod checks;

use crate::command::{Command, Joiner};
use crate::ranges::Ranges;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use towline_types::block::{BLOCK_SIZE_BYTES, block_count};
use towline_types::file_hash;
use towline_types::limits::{OPEN_BLOCKS_MAX, WRITERS_MAX};
use towline_types::{
    BlockIndex, ChainingValue, DocumentPath, FileHash, FileSize, Offset, Timestamp, UserId,
};
use towline_upload::limits::RANGES_PER_BLOCK_MAX;
use towline_upload::{
    Append, BlockOrder, BlockValue, Hashing, Integrity, Lease, Length, Phase, Progress, Refusal,
    RequestId, ResumeClaim, SendingMode, Upload, Verdict,
};

/// The file, or the longest that it may be.
const FILESIZE: u64 = 4 * BLOCK_SIZE_BYTES + 1000;
const PATIENCE: Duration = Duration::from_secs(7 * 86_400);

/// A request under way: the model's idea of its bytes.
struct Request {
    id: RequestId,
    /// Those that are here.
    bytes: Ranges,
    /// Where its next byte belongs.
    next: u64,
}

pub(crate) struct World {
    upload: Upload,
    lease: Option<Lease>,
    /// How many share it.
    writers: usize,
    old: Vec<Lease>,
    /// The model: which bytes are here, and what was said of the length.
    here: Ranges,
    declared: Option<u64>,
    requests: Vec<Request>,
    /// Each open block's hasher, as a caller has it: how many bytes it has taken in.
    hashers: BTreeMap<BlockIndex, u64>,
    /// What the catalog has been told.
    durable: u64,
    recorded: BTreeMap<BlockIndex, ChainingValue>,
    now: Timestamp,
}

fn owner() -> UserId {
    UserId::try_from(7).unwrap()
}

fn size(bytes: u64) -> FileSize {
    FileSize::try_from(bytes).unwrap()
}

fn offset(bytes: u64) -> Offset {
    Offset::try_from(bytes).unwrap()
}

fn block_at(index: u64) -> BlockIndex {
    BlockIndex::new(index).unwrap()
}

/// The value of a block in a file of several.
fn value_of_several(index: BlockIndex) -> ChainingValue {
    ChainingValue::from_bytes([u8::try_from(index.get()).unwrap() + 1; 32])
}

/// The value of the first block where no other follows.
fn only_value() -> ChainingValue {
    ChainingValue::from_bytes([200; 32])
}

impl World {
    pub(crate) fn new(mode: SendingMode, is_declared: bool) -> Self {
        let now = Timestamp::from_secs(1_000_000);
        let path = DocumentPath::parse("doc.pdf").unwrap();
        let max = size(FILESIZE);
        let length = if is_declared { Length::Declared(max) } else { Length::Open { max } };
        let (upload, lease) = Upload::begin(owner(), path, length, mode, now);
        Self {
            upload,
            lease: Some(lease),
            writers: 1,
            old: Vec::new(),
            here: Ranges::default(),
            declared: is_declared.then_some(FILESIZE),
            requests: Vec::new(),
            hashers: BTreeMap::new(),
            durable: 0,
            recorded: BTreeMap::new(),
            now,
        }
    }

    fn bound(&self) -> FileSize {
        size(self.declared.unwrap_or(FILESIZE))
    }

    fn length(&self) -> Length {
        let max = size(FILESIZE);
        self.declared.map_or(Length::Open { max }, |declared| Length::Declared(size(declared)))
    }

    fn span(&self, index: BlockIndex) -> Range<u64> {
        index.span(self.bound())
    }

    fn indexes(&self) -> impl Iterator<Item = BlockIndex> + use<> {
        (0..block_count(self.bound())).map(block_at)
    }

    fn is_whole(&self, index: BlockIndex) -> bool {
        index.get() < block_count(self.bound()) && self.here.cover(&self.span(index))
    }

    fn is_held(&self, index: BlockIndex) -> bool {
        self.upload.progress().held_from(index).next().is_some_and(|(held, _)| held == index)
    }

    /// The true value of a block: any function of its place, and of whether it is the only one.
    fn value(&self, index: BlockIndex) -> ChainingValue {
        match self.declared {
            Some(declared) if block_count(size(declared)) == 1 => only_value(),
            _ => value_of_several(index),
        }
    }

    fn hash_of(&self, index: BlockIndex) -> BlockValue {
        match self.declared {
            None if index == BlockIndex::FIRST => {
                BlockValue::of_first(self.value(index), only_value())
            }
            _ => self.value(index).into(),
        }
    }

    /// The bytes without a gap: blocks that are held, and what is here of the
    /// first that is not. A block that awaits its announcement is not held.
    fn prefix(&self) -> u64 {
        let frontier = self.indexes().find(|index| !self.is_held(*index));
        frontier.map_or(self.bound().get(), |index| {
            let span = self.span(index);
            self.here.end_from(span.start).min(span.end)
        })
    }

    /// The first byte that a request may still take back.
    fn first_unconfirmed(&self) -> Option<u64> {
        let ranges = self.requests.iter().flat_map(|request| request.bytes.iter());
        ranges.map(|range| range.start).min()
    }

    fn request(&self, number: u8) -> Option<usize> {
        let count = self.requests.len();
        (count > 0).then(|| usize::from(number) % count)
    }

    fn take_back(&mut self, lease: Lease, first: u64, count: u64) {
        let range = block_at(first)..block_at(first + count);
        self.upload.withdraw(lease, range.clone()).unwrap();
        self.recorded.retain(|index, _| !range.contains(index));
        self.durable = self.upload.progress().durable().get();
        let gone = range.start.start().get()..range.end.start().get();
        self.here.remove(&gone);
        for request in &mut self.requests {
            request.bytes.remove(&gone);
        }
    }

    /// What a caller does about a block that differs from its announcement: bytes of requests that
    /// have not ended are forgotten, if there are any in the block, else the whole block.
    fn mismatched(&mut self, lease: Lease, index: BlockIndex) {
        let span = self.span(index);
        let mut is_unconfirmed = false;
        for request in &mut self.requests {
            let mut others = request.bytes.clone();
            others.remove(&span);
            for range in request.bytes.iter() {
                let range = range.start.max(span.start)..range.end.min(span.end);
                is_unconfirmed |= range.start < range.end;
                self.here.remove(&range);
            }
            request.bytes = others;
        }
        assert_eq!(self.upload.take_back_unconfirmed(lease, index), Ok(is_unconfirmed));
        if is_unconfirmed {
            self.hashers.remove(&index);
        } else {
            self.take_back(lease, index.get(), 1);
        }
    }

    fn resume(&mut self, mode: SendingMode, offset: Option<Offset>) -> Result<Lease, Refusal> {
        let claim = ResumeClaim {
            user: owner(),
            mode,
            filename: Some("doc.pdf"),
            filesize: self.declared.map(size),
            grow: false,
            offset,
        };
        let frontier = self.indexes().find(|index| !self.is_held(*index));
        let lease = self.upload.resume(&claim, self.now, PATIENCE)?;
        assert!(self.old.iter().chain(&self.lease).all(|old| *old != lease), "a number of its own");
        self.old.extend(self.lease.replace(lease));
        self.writers = 1;
        self.requests.clear();
        if mode.order != BlockOrder::AnyRange {
            // What was begun behind the first gap was known to the old writers alone.
            let held = self.upload.progress().held();
            let mut kept: Vec<_> = held.map(|(index, _)| self.span(index)).collect();
            kept.extend(frontier.map(|index| {
                let span = self.span(index);
                span.start..self.here.end_from(span.start).min(span.end)
            }));
            self.here.keep(&kept);
        }
        // A caller keeps the hasher of one block at the most.
        self.hashers.retain(|index, _| Some(*index) == frontier);
        Ok(lease)
    }

    pub(crate) fn apply(&mut self, command: &Command) {
        let Some(lease) = self.lease else {
            // A paused upload can only be resumed; everything else needs a lease.
            if let Some(old) = self.old.last() {
                let refused = self.upload.join(owner(), old.generation());
                assert_eq!(refused, Err(Refusal::Superseded));
            }
            let mode = match *command {
                Command::Resume { mode, .. } => mode,
                _ => SendingMode::RANGES,
            };
            let offset = Some(self.upload.progress().received());
            self.resume(mode, offset).unwrap();
            return;
        };
        match *command {
            Command::Append { block, shift, length, request } => {
                let request = request.and_then(|number| self.request(number));
                self.append(lease, self.place(block, shift), length, request);
            }
            Command::Announce { block, is_right } => self.announce(lease, block, is_right),
            Command::Withdraw { first, count } => self.take_back(lease, first, count),
            Command::BeginRequest { block, shift } => {
                let at = self.place(block, shift);
                match self.upload.begin_request(lease, offset(at)) {
                    Ok(id) => {
                        let bytes = Ranges::default();
                        self.requests.push(Request { id, bytes, next: at });
                    }
                    Err(refusal) => {
                        assert_eq!(refusal, Refusal::TooManyWriters { max: self.requests.len() });
                    }
                }
            }
            Command::ConfirmRequest { request } => {
                let Some(number) = self.request(request) else { return };
                let Request { id, .. } = self.requests.remove(number);
                self.upload.confirm_request(lease, id).unwrap();
                let twice = self.upload.confirm_request(lease, id);
                assert_eq!(twice, Err(Refusal::Superseded));
            }
            Command::TakeBackRequest { request } => {
                let Some(number) = self.request(request) else { return };
                let Request { id, bytes, .. } = self.requests.remove(number);
                let held: Vec<_> = self.upload.progress().held().map(|(index, _)| index).collect();
                let taken_back = self.upload.take_back_request(lease, id).unwrap();
                assert!(taken_back.iter().eq(bytes.iter()));
                for range in bytes.iter() {
                    self.here.remove(range);
                }
                let block_bytes = |index: BlockIndex| {
                    let start = index.start().get();
                    start..start + BLOCK_SIZE_BYTES
                };
                // They have taken in bytes that are gone.
                self.hashers.retain(|index, _| !bytes.touch(&block_bytes(*index)));
                for index in held.into_iter().filter(|index| bytes.touch(&block_bytes(*index))) {
                    self.check_announcement_stays(lease, index);
                }
            }
            Command::Declare { further } => self.declare(lease, further),
            Command::Resume { mode, offset_is_right } => {
                let expected = self.upload.progress().received();
                let offset = if offset_is_right { expected } else { expected.plus(1) };
                let granted = self.resume(mode, Some(offset));
                assert_eq!(granted.is_ok(), offset_is_right);
                if !offset_is_right {
                    assert_eq!(granted, Err(Refusal::OffsetMismatch { expected }));
                    assert_eq!(self.upload.lease(), Some(lease), "nothing was taken over");
                }
            }
            Command::Join { who } => self.join(lease, who),
            Command::Release => {
                assert!(self.upload.release(lease));
                self.writers -= 1;
                if self.writers == 0 {
                    self.old.push(lease);
                    self.lease = None;
                    self.requests.clear();
                }
            }
            Command::Checkpoint => self.checkpoint(),
            Command::Restart => self.restart(),
            Command::Complete { is_right } => self.complete(lease, is_right),
            Command::OldWriters => {
                for old in &self.old {
                    let refused = self.upload.append(*old, self.upload.progress().received(), 0);
                    assert_eq!(refused, Err(Refusal::Superseded));
                }
            }
        }
    }

    /// Behind what is here of a block without a gap, moved by so many bytes.
    fn place(&self, block: u64, shift: i64) -> u64 {
        let start = block * BLOCK_SIZE_BYTES;
        let end = self.here.end_from(start).min(start + BLOCK_SIZE_BYTES);
        end.saturating_add_signed(shift)
    }

    fn announce(&mut self, lease: Lease, block: u64, is_right: bool) {
        let index = block_at(block);
        let wrong = ChainingValue::from_bytes([0; 32]);
        let announced = if is_right { self.value(index) } else { wrong };
        let is_whole = self.is_whole(index);
        match self.upload.announce(lease, index, announced) {
            Ok(Verdict::Held) => assert!(is_right && is_whole),
            Ok(Verdict::Awaiting) => assert!(!is_whole),
            Err(Refusal::NoSuchBlock { .. }) => assert!(block >= block_count(self.bound())),
            Err(Refusal::BlockMismatch { .. }) => {
                assert!(!is_right && is_whole);
                self.mismatched(lease, index);
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn declare(&mut self, lease: Lease, further: i64) {
        let reach = self.here.end();
        let wanted = reach.saturating_add_signed(further).min(FILESIZE + 1);
        let was_held = self.is_held(BlockIndex::FIRST);
        let declared = self.upload.declare(lease, size(wanted));
        match self.declared {
            Some(known) if known == wanted => assert_eq!(declared, Ok(())),
            Some(_) => {
                assert_eq!(declared, Err(Refusal::FileChanged { what: "filesize" }));
            }
            None if wanted > FILESIZE => {
                let (filesize, max) = (size(wanted), size(FILESIZE));
                assert_eq!(declared, Err(Refusal::OwnLimit { filesize, max }));
            }
            None if wanted < reach => {
                assert_eq!(declared, Err(Refusal::SizeExceeded { filesize: size(wanted) }));
            }
            None => {
                assert_eq!(declared, Ok(()));
                self.declared = Some(wanted);
                if block_count(size(wanted)) == 1 {
                    // The caller's transaction: the value of the first block is another now.
                    self.recorded.clear();
                }
                for index in self.upload.progress().unhashed() {
                    assert!(self.is_whole(index));
                    self.check_hasher(index);
                    // It may have been announced before the length was known.
                    let value = match index {
                        BlockIndex::FIRST => {
                            BlockValue::of_first(value_of_several(index), only_value())
                        }
                        _ => self.hash_of(index),
                    };
                    self.hashed_to(lease, index, value);
                }
                assert!(!was_held || self.is_held(BlockIndex::FIRST), "nothing is asked for twice");
            }
        }
    }

    fn append(&mut self, lease: Lease, at: u64, length: u64, request: Option<usize>) {
        let number = request;
        let request = number.map(|number| &self.requests[number]);
        let at = request.map_or(at, |request| request.next);
        let granted = match request {
            Some(request) => {
                let elsewhere = offset(at + 1);
                let refused = self.upload.append_to_request(lease, request.id, elsewhere, 1);
                assert_eq!(refused, Err(Refusal::OffsetMismatch { expected: offset(at) }));
                self.upload.append_to_request(lease, request.id, offset(at), length)
            }
            None => self.upload.append(lease, offset(at), length),
        };
        let index = BlockIndex::at(offset(at));
        match granted {
            Ok(append) => {
                self.check_leave(lease, at, append);
                match number {
                    Some(number) => {
                        let request = &mut self.requests[number];
                        self.upload.appended_to_request(request.id, append, self.now);
                        request.next = at + append.length_bytes;
                        request.bytes.add(at..request.next);
                    }
                    None => self.upload.appended(append, self.now),
                }
                self.here.add(at..at + append.length_bytes);
                assert_eq!(append.ends, self.is_whole(index));
                self.hash(at, append);
                if append.ends {
                    self.check_hasher(index);
                    self.hashed(lease, index);
                }
            }
            Err(refusal) => self.check_refusal(lease, at, length, refusal),
        }
    }

    /// What a caller does with the bytes, and with no others.
    fn hash(&mut self, at: u64, append: Append) {
        let Append { index, length_bytes, hashing, .. } = append;
        match hashing {
            Hashing::Begins => {
                assert_eq!(at, index.start().get());
                self.hashers.insert(index, length_bytes);
            }
            Hashing::Continues => {
                if let Some(hashed) = self.hashers.get_mut(&index) {
                    assert_eq!(index.start().get() + *hashed, at, "no byte is passed over");
                    *hashed += length_bytes;
                }
            }
            Hashing::ReadsBack => drop(self.hashers.remove(&index)),
        }
    }

    fn hashed(&mut self, lease: Lease, index: BlockIndex) {
        self.hashed_to(lease, index, self.hash_of(index));
    }

    fn hashed_to(&mut self, lease: Lease, index: BlockIndex, value: BlockValue) {
        match self.upload.hashed(lease, index, value) {
            Ok(Verdict::Held) => assert!(self.is_held(index)),
            Ok(Verdict::Awaiting) => {
                assert_eq!(lease.mode().integrity, Integrity::Announced);
            }
            Err(Refusal::BlockMismatch { .. }) => self.mismatched(lease, index),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// The bytes without a gap, whether their blocks are held or not.
    fn next_in_order(&self) -> u64 {
        self.here.end_from(0)
    }

    fn checkpoint(&mut self) {
        let snapshot = self.upload.progress().snapshot();
        let first = self.first_unconfirmed().unwrap_or(u64::MAX);
        assert_eq!(snapshot.offset.get(), self.prefix().min(first), "what can be promised");
        assert!(snapshot.offset.get() >= self.durable, "a promise is kept");
        self.durable = snapshot.offset.get();
        self.recorded.extend(snapshot.blocks.iter().copied());
        let unconfirmed = |index: BlockIndex| {
            let span = self.span(index);
            self.requests.iter().any(|request| request.bytes.touch(&span))
        };
        let held = self.upload.progress().held().map(|(index, _)| index);
        for index in held {
            let is_recorded = self.recorded.contains_key(&index);
            assert!(is_recorded || unconfirmed(index), "every held block is recorded in time");
        }
        assert!(!snapshot.blocks.iter().any(|(index, _)| unconfirmed(*index)));
        self.upload.recorded(&snapshot);
        assert!(!self.upload.progress().is_ahead_of_catalog());
    }

    fn complete(&mut self, lease: Lease, is_right: bool) {
        let hash =
            file_hash::hash_file(self.bound(), self.indexes().map(|index| self.value(index)));
        let claimed = if is_right { hash } else { FileHash::from_bytes([9; 32]) };
        let is_whole = self.indexes().all(|index| self.is_whole(index));
        match self.upload.complete(lease, Some(claimed)) {
            Ok(actual) => {
                assert!(is_whole && is_right && self.declared.is_some());
                assert_eq!(self.first_unconfirmed(), None);
                assert_eq!(actual, hash);
                assert_eq!(self.upload.phase(), Phase::Publishing);
                let refused = self.upload.append(lease, Offset::ZERO, 1);
                assert_eq!(refused, Err(Refusal::NotUploading(Phase::Publishing)));
                self.upload.unpublish();
            }
            Err(Refusal::LengthUnknown) => assert_eq!(self.declared, None),
            Err(Refusal::Incomplete { expected }) if is_whole => {
                assert_eq!(Some(expected.get()), self.first_unconfirmed());
            }
            Err(Refusal::Incomplete { expected }) => assert_eq!(expected.get(), self.prefix()),
            Err(Refusal::HashMismatch { .. }) => assert!(is_whole && !is_right),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn join(&mut self, lease: Lease, who: Joiner) {
        let stranger = UserId::try_from(8).unwrap();
        let (user, asked) = match who {
            Joiner::Owner => (owner(), lease),
            Joiner::Stranger => (stranger, lease),
            Joiner::Late => match self.old.last() {
                Some(old) => (owner(), *old),
                None => return,
            },
        };
        match (self.upload.join(user, asked.generation()), who) {
            (Ok(joined), Joiner::Owner) => {
                assert_eq!(joined, lease);
                assert_ne!(lease.mode().order, BlockOrder::InOrder);
                self.writers += 1;
                assert!(self.writers <= WRITERS_MAX);
            }
            (Err(Refusal::NotShared), Joiner::Owner) => {
                assert_eq!(lease.mode().order, BlockOrder::InOrder);
            }
            (Err(Refusal::TooManyWriters { max }), Joiner::Owner) => {
                assert_eq!(self.writers, max);
            }
            (Err(Refusal::NotFound), Joiner::Stranger)
            | (Err(Refusal::Superseded), Joiner::Late) => {}
            (other, _) => panic!("{who:?}: {other:?}"),
        }
        assert_eq!(self.upload.lease(), Some(lease), "nothing was taken over");
    }

    fn restart(&mut self) {
        let blocks = self.recorded.clone();
        let progress = Progress::restore(self.length(), offset(self.durable), blocks);
        let path = DocumentPath::parse("doc.pdf").unwrap();
        self.upload = Upload::restore(owner(), path, Phase::Uploading, progress, self.now);
        self.hashers.clear();
        if let Some((index, span)) = self.upload.progress().open_bytes() {
            if span == self.span(index) {
                self.upload.read_back(index, self.hash_of(index));
            } else {
                self.hashers.insert(index, span.end - span.start);
            }
        }
        assert_eq!(self.upload.progress().received().get(), self.durable, "a promise is kept");
        self.lease = None;
        self.writers = 0;
        self.old.clear();
        self.requests.clear();
        self.here = Ranges::default();
        for index in self.recorded.keys() {
            self.here.add(self.span(*index));
        }
        self.here.add(0..self.durable);
    }
}
