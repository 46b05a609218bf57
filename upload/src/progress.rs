//! Which bytes of a file are here, which of them are verified, and which are safe. Kept by
//! block: a block is absent, open (some of its bytes are here), or held (whole and of the
//! right value).
//!
//! What grows with the file is one value of 32 bytes for each MiB.

mod looking;
mod open_block;
mod requests;
mod taking_back;

use crate::limits::RANGES_PER_BLOCK_MAX;
use crate::{BlockOrder, BlockValue, Integrity, Length, Refusal};
use open_block::OpenBlock;
pub use requests::RequestId;
use requests::Requests;
use std::collections::{BTreeMap, BTreeSet};
use towline_types::block::{BLOCK_SIZE_BYTES, block_count};
use towline_types::file_hash;
use towline_types::limits::{OPEN_BLOCKS_MAX, WRITERS_MAX};
use towline_types::{BlockIndex, ChainingValue, FileHash, FileSize, Offset};

/// See the module's description.
#[derive(Debug, Clone)]
pub struct Progress {
    length: Length,
    held: BTreeMap<BlockIndex, ChainingValue>,
    open: BTreeMap<BlockIndex, OpenBlock>,
    /// The first block that is not held.
    frontier: BlockIndex,
    /// Held blocks that the catalog does not know yet.
    unrecorded: BTreeSet<BlockIndex>,
    durable: Offset,
    /// The value of the first block if it turns out to be the only one; known while the block
    /// is held and the length is not declared.
    first_as_only: Option<ChainingValue>,
    requests: Requests,
}

/// Leave to write some bytes: they all belong to one block, and none of them is here. Say
/// [`Upload::appended`](crate::Upload::appended) once they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Append {
    /// The block they belong to.
    pub index: BlockIndex,
    /// Where the first of them lies in the file.
    pub offset: Offset,
    /// How many of the bytes offered may be written.
    pub length_bytes: u64,
    /// What becomes of the block's hasher.
    pub hashing: Hashing,
    /// The block is whole with them: its value is wanted next.
    pub ends: bool,
}

/// How a block gets its value when bytes come for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// They are the block's first: a new hasher takes them in.
    Begins,
    /// They follow all that a hasher has taken in. Where there is none any more, the block is
    /// read back once it is whole.
    Continues,
    /// They do not follow: the block is read back once it is whole, at most 1 MiB.
    ReadsBack,
}

/// What became of a whole block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is held.
    Held,
    /// Its writer has not announced its value yet.
    Awaiting,
}

/// What vouches for whole blocks whose values were not announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voucher {
    /// The hash of the whole file, or a writer who never meant to announce them.
    Given,
    /// Nothing.
    Missing,
}

/// What a checkpoint is about to make durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The bytes that were here without a gap.
    pub offset: Offset,
    /// Held blocks that the catalog does not know yet.
    pub blocks: Vec<(BlockIndex, ChainingValue)>,
}

impl Progress {
    /// Nothing is here.
    #[must_use]
    pub fn empty(length: Length) -> Self {
        Self::restore(length, Offset::ZERO, std::iter::empty())
    }

    /// What the catalog promised. Bytes between the last block held without a
    /// gap and `durable` belong to a block that was open; see [`Self::open_bytes`].
    #[must_use]
    pub fn restore(
        length: Length,
        durable: Offset,
        blocks: impl IntoIterator<Item = (BlockIndex, ChainingValue)>,
    ) -> Self {
        let mut progress = Self {
            length,
            held: blocks.into_iter().collect(),
            open: BTreeMap::new(),
            frontier: BlockIndex::FIRST,
            unrecorded: BTreeSet::new(),
            durable,
            first_as_only: None,
            requests: Requests::default(),
        };
        progress.advance();
        // Never more than one block is open at the frontier, whatever the row says.
        let filled_bytes = durable.get().saturating_sub(progress.frontier.start().get());
        let filled_bytes = filled_bytes.min(progress.block_bytes(progress.frontier));
        if filled_bytes > 0 {
            progress.open.insert(progress.frontier, OpenBlock::with_prefix(filled_bytes));
        }
        progress.durable = durable.min(progress.received());
        progress
    }

    /// Behind the last byte of those that are here without a gap. It passes whole blocks that
    /// await their announcement: where bytes come in order, more may come after such a block.
    fn next_in_order(&self) -> Offset {
        let mut index = self.frontier;
        let is_whole = |index: BlockIndex| {
            self.held.contains_key(&index)
                || self.open.get(&index).is_some_and(|open| open.value.is_some())
        };
        while is_whole(index) {
            index = index.next();
        }
        let filled_bytes = self.open.get(&index).map_or(0, OpenBlock::prefix_bytes);
        index.start().min(self.length.bound().end()).plus(filled_bytes)
    }

    /// May `length_bytes` bytes be written at `offset`? Those of them that
    /// belong to the first block may, up to the next byte that is here; ask again for the rest.
    pub(crate) fn append(
        &self,
        order: BlockOrder,
        offset: Offset,
        length_bytes: u64,
    ) -> Result<Append, Refusal> {
        self.check_end(offset, length_bytes)?;
        let index = BlockIndex::at(offset);
        let at = offset.get() - index.start().get();
        let (open, block_bytes) = (self.open.get(&index), self.block_bytes(index));
        let (filled_bytes, follows, room) = match open {
            Some(open) => {
                let follows = at == open.prefix_bytes();
                (open.filled_bytes(), follows, open.room_at(at, block_bytes))
            }
            None => (0, at == 0, block_bytes.saturating_sub(at)),
        };
        let (expected, is_in_turn) = match order {
            BlockOrder::InOrder => {
                let next = self.next_in_order();
                (next, offset == next)
            }
            BlockOrder::AnyBlock => (self.received(), follows),
            BlockOrder::AnyRange => (self.received(), room > 0),
        };
        if !is_in_turn || self.held.contains_key(&index) {
            return Err(Refusal::OffsetMismatch { expected });
        }
        match open {
            None => self.check_room_for_block()?,
            Some(open) if open.begins_range(at) && open.ranges_beyond() >= RANGES_PER_BLOCK_MAX => {
                return Err(Refusal::TooManyRanges { max: RANGES_PER_BLOCK_MAX });
            }
            Some(_) => {}
        }
        let hashing = match open {
            _ if !follows => Hashing::ReadsBack,
            Some(open) if !open.is_in_order() => Hashing::ReadsBack,
            _ if at == 0 => Hashing::Begins,
            _ => Hashing::Continues,
        };
        let length_bytes = length_bytes.min(room);
        let ends = filled_bytes + length_bytes == block_bytes;
        Ok(Append { index, offset, length_bytes, hashing, ends })
    }

    fn check_end(&self, offset: Offset, length_bytes: u64) -> Result<(), Refusal> {
        let bound = self.length.bound();
        if length_bytes <= bound.get().saturating_sub(offset.get()) {
            return Ok(());
        }
        Err(match self.length {
            Length::Declared(filesize) => Refusal::SizeExceeded { filesize },
            Length::Open { max } => {
                let end = offset.get().saturating_add(length_bytes);
                let filesize = FileSize::try_from(end).unwrap_or(FileSize::MAX);
                Refusal::OwnLimit { filesize, max }
            }
        })
    }

    /// The bytes are written.
    pub(crate) fn appended(&mut self, append: Append) {
        let at = append.offset.get() - append.index.start().get();
        let open = self.open.entry(append.index).or_insert_with(OpenBlock::empty);
        open.fill(at, append.length_bytes);
    }

    /// The value of a block that is whole now.
    pub(crate) fn hashed(
        &mut self,
        integrity: Integrity,
        index: BlockIndex,
        value: BlockValue,
    ) -> Result<Verdict, Refusal> {
        let length = self.length;
        let open = self.open.entry(index).or_insert_with(OpenBlock::empty);
        open.value = Some(value.in_file(length));
        match open.announced {
            Some(announced) if !value.matches(announced) => Err(Refusal::BlockMismatch { index }),
            None if integrity == Integrity::Announced => Ok(Verdict::Awaiting),
            _ => {
                self.hold(index, value);
                Ok(Verdict::Held)
            }
        }
    }

    /// The writer says which value a block has.
    pub(crate) fn announce(
        &mut self,
        index: BlockIndex,
        announced: ChainingValue,
    ) -> Result<Verdict, Refusal> {
        if index.get() >= block_count(self.length.bound()) {
            return Err(Refusal::NoSuchBlock { index });
        }
        match self.value_of_whole(index) {
            Some(value) if !value.matches(announced) => Err(Refusal::BlockMismatch { index }),
            Some(value) => {
                self.hold(index, value);
                Ok(Verdict::Held)
            }
            None => {
                if !self.open.contains_key(&index) {
                    self.check_room_for_block()?;
                }
                let open = self.open.entry(index).or_insert_with(OpenBlock::empty);
                open.announced = Some(announced);
                Ok(Verdict::Awaiting)
            }
        }
    }

    /// The same for a file that has become longer. Blocks that are whole in both stay as they
    /// are. The last block of the shorter file ends elsewhere now, and is forgotten; so is
    /// the only block of a file, whose value is made otherwise where there are more.
    pub(crate) fn grown(&self, filesize: FileSize) -> Self {
        let before = self.length.bound();
        let mut grown = Self { length: Length::Declared(filesize), ..self.clone() };
        let count = block_count(before);
        let whole = if count > 1 { before.get() / BLOCK_SIZE_BYTES } else { 0 };
        if let (Some(first), Some(end)) = (BlockIndex::new(whole), BlockIndex::new(count)) {
            grown.withdraw(first..end);
        }
        grown
    }

    /// The same where the length of the file is declared.
    ///
    /// Where no more blocks follow the first, its value is the one of an only block. A block
    /// that ended elsewhere before, or whose value as the only one is not known any more, is
    /// whole and not hashed then: see [`unhashed`](Self::unhashed). If it was held, its bytes
    /// have to be those that it was held with, and its writer need not announce them again.
    pub(crate) fn declared(&self, filesize: FileSize) -> Result<Self, Refusal> {
        let max = match self.length {
            Length::Declared(known) if known == filesize => return Ok(self.clone()),
            Length::Declared(_) => return Err(Refusal::FileChanged { what: "filesize" }),
            Length::Open { max } => max,
        };
        if filesize > max {
            return Err(Refusal::OwnLimit { filesize, max });
        }
        if self.reach() > filesize.end() {
            return Err(Refusal::SizeExceeded { filesize });
        }
        let length = Length::Declared(filesize);
        let mut declared = Self { length, first_as_only: None, ..self.clone() };
        // Blocks of which a value was announced, and that the file does not have.
        declared.open.retain(|index, _| index.get() < block_count(filesize));
        let is_only = block_count(filesize) == 1;
        if let Some(first) = declared.open.get_mut(&BlockIndex::FIRST) {
            let is_known = |value: &BlockValue| !is_only || value.as_only_block().is_some();
            first.value = first.value.filter(is_known).map(|value| value.in_file(length));
        }
        if is_only && let Some(value) = declared.held.remove(&BlockIndex::FIRST) {
            declared.unrecorded.remove(&BlockIndex::FIRST);
            declared.frontier = BlockIndex::FIRST;
            match self.first_as_only {
                Some(value) => declared.hold(BlockIndex::FIRST, value.into()),
                None => {
                    let mut whole = OpenBlock::with_prefix(filesize.get());
                    whole.announced = Some(value);
                    declared.open.insert(BlockIndex::FIRST, whole);
                }
            }
        }
        Ok(declared)
    }

    /// Forgets begun blocks and ranges behind the bytes that are here without a gap: only the
    /// writers that began them knew of them.
    pub(crate) fn forget_open_beyond_frontier(&mut self) {
        self.open.retain(|index, _| *index == self.frontier);
        if let Some(open) = self.open.get_mut(&self.frontier) {
            open.forget_beyond();
            if open.is_empty() {
                self.open.remove(&self.frontier);
            }
        }
    }

    /// Forgets what the writers of an earlier lease announced of blocks that are not held.
    pub(crate) fn forget_announcements(&mut self) {
        for open in self.open.values_mut() {
            open.announced = None;
        }
        self.open.retain(|_, open| !open.is_empty());
    }

    /// Takes whole blocks for good whose writer will not announce them.
    pub(crate) fn accept_unannounced(&mut self) {
        let whole: Vec<_> =
            self.open.iter().filter_map(|(index, open)| Some((*index, open.value?))).collect();
        for (index, value) in whole {
            self.hold(index, value);
        }
    }

    /// The hash of the whole file. Whole blocks that await their announcement count where
    /// something vouches for them.
    pub(crate) fn file_hash(&self, voucher: Voucher) -> Result<FileHash, Refusal> {
        let Some(filesize) = self.length.declared() else { return Err(Refusal::LengthUnknown) };
        let mut values = Vec::with_capacity(self.held.len());
        for index in (0..block_count(filesize)).map_while(BlockIndex::new) {
            let value = match (self.held.get(&index), voucher) {
                (Some(value), _) => Some(*value),
                (None, Voucher::Given) => self.value_of_whole(index).map(BlockValue::value),
                (None, Voucher::Missing) => None,
            };
            values.push(value.ok_or(Refusal::Incomplete { expected: self.received() })?);
        }
        if let Some(first) = self.requests.first_byte() {
            let expected = Offset::try_from(first).unwrap_or(Offset::MAX);
            return Err(Refusal::Incomplete { expected });
        }
        Ok(file_hash::hash_file(filesize, values))
    }

    /// The data of the snapshot is synced and the catalog has recorded it.
    pub(crate) fn recorded(&mut self, snapshot: &Snapshot) {
        for (index, _) in &snapshot.blocks {
            self.unrecorded.remove(index);
        }
        self.durable = snapshot.offset.min(self.received());
    }

    /// The value of a block that is whole, held or not.
    fn value_of_whole(&self, index: BlockIndex) -> Option<BlockValue> {
        match self.held.get(&index) {
            Some(value) => Some(match self.first_as_only.filter(|_| index == BlockIndex::FIRST) {
                Some(as_only_block) => BlockValue::of_first(*value, as_only_block),
                None => (*value).into(),
            }),
            None => self.open.get(&index)?.value,
        }
    }

    fn block_bytes(&self, index: BlockIndex) -> u64 {
        index.length_bytes(self.length.bound())
    }

    fn hold(&mut self, index: BlockIndex, value: BlockValue) {
        let value = value.in_file(self.length);
        self.open.remove(&index);
        if self.held.insert(index, value.value()).is_none() {
            self.unrecorded.insert(index);
        }
        if value.as_only_block().is_some() {
            self.first_as_only = value.as_only_block();
        }
        self.advance();
    }

    fn advance(&mut self) {
        while self.held.contains_key(&self.frontier) {
            self.frontier = self.frontier.next();
        }
    }

    fn check_room_for_block(&self) -> Result<(), Refusal> {
        if self.open.len() >= OPEN_BLOCKS_MAX {
            return Err(Refusal::TooManyOpen { max: OPEN_BLOCKS_MAX });
        }
        Ok(())
    }
}
