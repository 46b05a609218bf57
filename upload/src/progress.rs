//! Which bytes of a file are here, which of them are verified, and which are
//! safe. Kept by block: a block is absent, open (its first bytes are here), or
//! held (whole and of the right value).
//!
//! What grows with the file is one value of 32 bytes for each MiB.

use crate::{BlockOrder, Integrity, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use towline_types::block::{self, block_count};
use towline_types::limits::OPEN_BLOCKS_MAX;
use towline_types::{BlockIndex, ChainingValue, FileHash, FileSize, Offset};

/// See the module's description.
#[derive(Debug, Clone)]
pub struct Progress {
    filesize: FileSize,
    held: BTreeMap<BlockIndex, ChainingValue>,
    open: BTreeMap<BlockIndex, OpenBlock>,
    /// The first block that is not held.
    frontier: BlockIndex,
    /// Held blocks that the catalog does not know yet.
    fresh: BTreeSet<BlockIndex>,
    durable: Offset,
}

/// A block on its way.
#[derive(Debug, Clone, Copy, Default)]
struct OpenBlock {
    filled_bytes: u64,
    /// Known once the block is full.
    value: Option<ChainingValue>,
    /// What its writer says.
    announced: Option<ChainingValue>,
}

/// Leave to write some bytes: they all belong to one block and follow what is
/// there. Say [`Progress::appended`] once they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Append {
    /// The block they belong to.
    pub index: BlockIndex,
    /// How many of the bytes offered belong to it.
    pub length_bytes: u64,
    /// They are the block's first.
    pub begins: bool,
    /// They are the block's last: its value is wanted next.
    pub ends: bool,
}

/// What became of a full block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is held.
    Held,
    /// Its writer has not announced its value yet.
    Awaiting,
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
    pub fn empty(filesize: FileSize) -> Self {
        Self::restore(filesize, Offset::ZERO, std::iter::empty())
    }

    /// What the catalog promised. Bytes between the last block held without a
    /// gap and `durable` belong to a block that was open; see [`Self::open_bytes`].
    #[must_use]
    pub fn restore(
        filesize: FileSize,
        durable: Offset,
        blocks: impl IntoIterator<Item = (BlockIndex, ChainingValue)>,
    ) -> Self {
        let mut progress = Self {
            filesize,
            held: blocks.into_iter().collect(),
            open: BTreeMap::new(),
            frontier: BlockIndex::FIRST,
            fresh: BTreeSet::new(),
            durable,
        };
        progress.advance();
        // Never more than one block is open at the frontier, whatever the row says.
        let filled_bytes = durable.get().saturating_sub(progress.frontier.start().get());
        let filled_bytes = filled_bytes.min(progress.frontier.length_bytes(filesize));
        if filled_bytes > 0 {
            let open = OpenBlock { filled_bytes, ..OpenBlock::default() };
            progress.open.insert(progress.frontier, open);
        }
        progress.durable = durable.min(progress.received());
        progress
    }

    /// The whole length.
    #[must_use]
    pub fn filesize(&self) -> FileSize {
        self.filesize
    }

    /// The bytes that are here without a gap, from the beginning.
    #[must_use]
    pub fn received(&self) -> Offset {
        let filled = self.open.get(&self.frontier).map_or(0, |open| open.filled_bytes);
        self.frontier.start().min(self.filesize.end()).plus(filled)
    }

    /// The bytes that survive a power cut.
    #[must_use]
    pub fn durable(&self) -> Offset {
        self.durable
    }

    /// The blocks that are held, in order, with their values.
    pub fn held(&self) -> impl Iterator<Item = (BlockIndex, ChainingValue)> {
        self.held.iter().map(|(index, value)| (*index, *value))
    }

    /// The block that is open at the frontier and the bytes of it that are here.
    /// After a restart they must be hashed again: at most one block.
    #[must_use]
    pub fn open_bytes(&self) -> Option<(BlockIndex, Range<u64>)> {
        let open = self.open.get(&self.frontier).filter(|open| open.filled_bytes > 0)?;
        let start = self.frontier.start().get();
        Some((self.frontier, start..start + open.filled_bytes))
    }

    /// May `length_bytes` bytes be written at `offset`? Those of them that
    /// belong to the first block may; ask again for the rest.
    pub(crate) fn append(
        &self,
        order: BlockOrder,
        offset: Offset,
        length_bytes: u64,
    ) -> Result<Append, Refusal> {
        if length_bytes > self.filesize.get().saturating_sub(offset.get()) {
            return Err(Refusal::SizeExceeded { filesize: self.filesize });
        }
        let index = BlockIndex::at(offset);
        let open = self.open.get(&index).copied();
        let filled_bytes = open.map_or(0, |open| open.filled_bytes);
        let (expected, is_in_turn) = match order {
            BlockOrder::InOrder => {
                let next = self.next_in_order();
                (next, offset == next)
            }
            BlockOrder::AnyBlock => {
                let follows = offset == index.start().plus(filled_bytes);
                (self.received(), follows && !self.held.contains_key(&index))
            }
        };
        if !is_in_turn {
            return Err(Refusal::OffsetMismatch { expected });
        }
        if open.is_none() {
            self.room_for_another()?;
        }
        let room = index.length_bytes(self.filesize) - filled_bytes;
        let length_bytes = length_bytes.min(room);
        Ok(Append { index, length_bytes, begins: filled_bytes == 0, ends: length_bytes == room })
    }

    /// Behind the last byte of those that are here without a gap. Unlike
    /// [`received`](Self::received) it passes whole blocks that await their announcement:
    /// where bytes come in order, more may come behind such a block.
    fn next_in_order(&self) -> Offset {
        let mut index = self.frontier;
        let is_whole = |index: BlockIndex| {
            self.held.contains_key(&index)
                || self.open.get(&index).is_some_and(|open| open.value.is_some())
        };
        while is_whole(index) {
            index = index.next();
        }
        let filled_bytes = self.open.get(&index).map_or(0, |open| open.filled_bytes);
        index.start().min(self.filesize.end()).plus(filled_bytes)
    }

    /// The bytes are written.
    pub(crate) fn appended(&mut self, append: Append) {
        self.open.entry(append.index).or_default().filled_bytes += append.length_bytes;
    }

    /// The value of a block that is full now.
    pub(crate) fn hashed(
        &mut self,
        integrity: Integrity,
        index: BlockIndex,
        value: ChainingValue,
    ) -> Result<Verdict, Refusal> {
        let open = self.open.entry(index).or_default();
        open.value = Some(value);
        match open.announced {
            Some(announced) if announced != value => Err(Refusal::BlockMismatch { index }),
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
        if index.get() >= block_count(self.filesize) {
            return Err(Refusal::NoSuchBlock { index });
        }
        let known = self.held.get(&index).copied();
        match known.or_else(|| self.open.get(&index).and_then(|open| open.value)) {
            Some(value) if value != announced => Err(Refusal::BlockMismatch { index }),
            Some(value) => {
                self.hold(index, value);
                Ok(Verdict::Held)
            }
            None => {
                if !self.open.contains_key(&index) {
                    self.room_for_another()?;
                }
                self.open.entry(index).or_default().announced = Some(announced);
                Ok(Verdict::Awaiting)
            }
        }
    }

    /// Forgets blocks, held and open, so that they can be sent again. What the
    /// catalog promised beyond them is taken back with them.
    pub(crate) fn withdraw(&mut self, blocks: Range<BlockIndex>) {
        self.held.retain(|index, _| !blocks.contains(index));
        self.open.retain(|index, _| !blocks.contains(index));
        self.fresh.retain(|index| !blocks.contains(index));
        self.frontier = self.frontier.min(blocks.start);
        self.advance();
        self.durable = self.durable.min(self.received());
    }

    /// The same for a file that has become longer. Blocks that are whole in both stay as they
    /// are. The last block of the shorter file ends elsewhere now, and is forgotten; so is
    /// the only block of a file, whose value is made otherwise where there are more.
    pub(crate) fn grown(&self, filesize: FileSize) -> Self {
        let mut grown = Self { filesize, ..self.clone() };
        let count = block_count(self.filesize);
        let whole = if count > 1 { self.filesize.get() / block::BLOCK_SIZE_BYTES } else { 0 };
        if let (Some(first), Some(end)) = (BlockIndex::new(whole), BlockIndex::new(count)) {
            grown.withdraw(first..end);
        }
        grown
    }

    /// Forgets begun blocks beyond the frontier: only the writer that began
    /// them knew of them.
    pub(crate) fn drop_strays(&mut self) {
        self.open.retain(|index, _| *index == self.frontier);
        if let Some(open) = self.open.get_mut(&self.frontier) {
            open.announced = None;
        }
    }

    /// Takes full blocks for good whose writer will not announce them.
    pub(crate) fn accept_unannounced(&mut self) {
        let full: Vec<_> =
            self.open.iter().filter_map(|(index, open)| Some((*index, open.value?))).collect();
        for (index, value) in full {
            self.hold(index, value);
        }
    }

    /// The hash of the whole. Full blocks that await their announcement count only
    /// where something else vouches for them.
    pub(crate) fn whole(&self, unannounced_count: bool) -> Result<FileHash, Refusal> {
        let mut values = Vec::with_capacity(self.held.len());
        for index in (0..block_count(self.filesize)).map_while(BlockIndex::new) {
            let held = self.held.get(&index).copied();
            let full = || self.open.get(&index).and_then(|open| open.value);
            let value = held.or_else(|| full().filter(|_| unannounced_count));
            values.push(value.ok_or(Refusal::Incomplete { expected: self.received() })?);
        }
        Ok(block::hash_file(self.filesize, values))
    }

    /// Where the last byte lies that is here, gaps or not.
    #[must_use]
    pub fn reach(&self) -> Offset {
        let held = self.held.last_key_value().map(|(index, _)| index.end(self.filesize));
        let open = self.open.iter().map(|(index, open)| index.start().plus(open.filled_bytes));
        open.chain(held).chain([self.durable]).max().unwrap_or(Offset::ZERO)
    }

    /// Whether the catalog vouches for anything of it.
    #[must_use]
    pub fn has_promises(&self) -> bool {
        self.durable > Offset::ZERO || self.held.len() > self.fresh.len()
    }

    /// Whether there is anything that a checkpoint could make durable.
    #[must_use]
    pub fn is_ahead_of_catalog(&self) -> bool {
        self.received() != self.durable || !self.fresh.is_empty()
    }

    /// What is here now. Whatever arrives while the data is being synced is not
    /// part of it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let value = |index: &BlockIndex| self.held.get(index).map(|value| (*index, *value));
        Snapshot { offset: self.received(), blocks: self.fresh.iter().filter_map(value).collect() }
    }

    /// The data of the snapshot is synced and the catalog has recorded it.
    pub(crate) fn recorded(&mut self, snapshot: &Snapshot) {
        for (index, _) in &snapshot.blocks {
            self.fresh.remove(index);
        }
        self.durable = snapshot.offset.min(self.received());
    }

    fn hold(&mut self, index: BlockIndex, value: ChainingValue) {
        self.open.remove(&index);
        if self.held.insert(index, value).is_none() {
            self.fresh.insert(index);
        }
        self.advance();
    }

    fn advance(&mut self) {
        while self.held.contains_key(&self.frontier) {
            self.frontier = self.frontier.next();
        }
    }

    fn room_for_another(&self) -> Result<(), Refusal> {
        if self.open.len() >= OPEN_BLOCKS_MAX {
            return Err(Refusal::TooManyOpen { max: OPEN_BLOCKS_MAX });
        }
        Ok(())
    }
}
