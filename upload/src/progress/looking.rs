//! Questions about what is here. They change nothing.

use super::{OpenBlock, Progress, Snapshot};
use crate::Length;
use std::ops::Range;
use towline_types::{BlockIndex, ChainingValue, FileSize, Offset};

impl Progress {
    /// How long the file is.
    #[must_use]
    pub fn length(&self) -> Length {
        self.length
    }

    /// The length of the file, or the largest that it may become.
    #[must_use]
    pub fn filesize(&self) -> FileSize {
        self.length.bound()
    }

    /// The bytes that are here without a gap, from the beginning.
    #[must_use]
    pub fn received(&self) -> Offset {
        let filled = self.open.get(&self.frontier).map_or(0, OpenBlock::prefix_bytes);
        self.frontier.start().min(self.length.bound().end()).plus(filled)
    }

    /// The bytes that survive a power cut.
    #[must_use]
    pub fn durable(&self) -> Offset {
        self.durable
    }

    /// The blocks that are held, in order, with their values.
    pub fn held(&self) -> impl Iterator<Item = (BlockIndex, ChainingValue)> {
        self.held_from(BlockIndex::FIRST)
    }

    /// The same from that block on. An answer to a client takes a page of them: of a file of
    /// 5 TB there are 5,000,000.
    pub fn held_from(&self, from: BlockIndex) -> impl Iterator<Item = (BlockIndex, ChainingValue)> {
        self.held.range(from..).map(|(index, value)| (*index, *value))
    }

    /// The ranges of the file that are here, from that byte on, ascending and with a gap
    /// between them. They may lie in blocks that are not held; nothing is promised of them
    /// but what [`durable`](Self::durable) says.
    pub fn received_ranges(&self, from: Offset) -> impl Iterator<Item = Range<u64>> {
        let mut pieces = Pieces::new(self, BlockIndex::at(from)).peekable();
        std::iter::from_fn(move || {
            let mut range = pieces.next()?;
            while let Some(next) = pieces.next_if(|next| next.start == range.end) {
                range.end = next.end;
            }
            Some(range)
        })
        .map(move |range| range.start.max(from.get())..range.end)
        .filter(|range| range.start < range.end)
    }

    /// The block that is open at the frontier and the bytes of it that are here without a gap.
    /// After a restart they must be hashed again: at most one block.
    #[must_use]
    pub fn open_bytes(&self) -> Option<(BlockIndex, Range<u64>)> {
        let open = self.open.get(&self.frontier).filter(|open| open.prefix_bytes() > 0)?;
        let start = self.frontier.start().get();
        Some((self.frontier, start..start + open.prefix_bytes()))
    }

    /// Blocks that are whole and whose value is not known: a read failed, or the length was
    /// declared just now. They are to be read back, at most as many as may be open.
    #[must_use]
    pub fn unhashed(&self) -> Vec<BlockIndex> {
        let is_unhashed = |index: BlockIndex, open: &OpenBlock| {
            open.value.is_none() && open.filled_bytes() == self.block_bytes(index)
        };
        let open = self.open.iter().filter(|(index, open)| is_unhashed(**index, open));
        open.map(|(index, _)| *index).collect()
    }

    /// Behind the last byte that is here, gaps or not.
    #[must_use]
    pub fn reach(&self) -> Offset {
        let held = self.held.last_key_value().map(|(index, _)| index.end(self.length.bound()));
        let open = self.open.iter().filter(|(_, open)| !open.is_empty());
        let open = open.map(|(index, open)| index.start().plus(open.reach()));
        open.chain(held).chain([self.durable]).max().unwrap_or(Offset::ZERO)
    }

    /// Whether the catalog vouches for anything of it.
    #[must_use]
    pub fn has_promises(&self) -> bool {
        self.durable > Offset::ZERO || self.held.len() > self.unrecorded.len()
    }

    /// Whether there is anything that a checkpoint could make durable.
    #[must_use]
    pub fn is_ahead_of_catalog(&self) -> bool {
        self.recordable() != self.durable || self.recordable_blocks().next().is_some()
    }

    /// What is here now and can be promised. What arrives while the data is being synced is
    /// not part of it, nor are bytes of requests that may still be taken back: a promise is
    /// never taken back with them (P1).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let value = |index: BlockIndex| self.held.get(&index).map(|value| (index, *value));
        let blocks = self.recordable_blocks().filter_map(value).collect();
        Snapshot { offset: self.recordable(), blocks }
    }

    fn recordable(&self) -> Offset {
        let received = self.received();
        let first = self.requests.first_byte().and_then(|byte| Offset::try_from(byte).ok());
        first.map_or(received, |first| first.min(received))
    }

    fn recordable_blocks(&self) -> impl Iterator<Item = BlockIndex> {
        let bound = self.length.bound();
        let blocks = self.unrecorded.iter().copied();
        blocks.filter(move |index| !self.requests.touch(&index.span(bound)))
    }
}

/// What is here, block by block.
struct Pieces<'a> {
    progress: &'a Progress,
    next: BlockIndex,
    /// What is left of an open block.
    open: Vec<Range<u64>>,
}

impl<'a> Pieces<'a> {
    fn new(progress: &'a Progress, next: BlockIndex) -> Self {
        Self { progress, next, open: Vec::new() }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        loop {
            if let Some(piece) = self.open.pop() {
                return Some(piece);
            }
            let held = self.progress.held.range(self.next..).next().map(|(index, _)| *index);
            let open = self.progress.open.range(self.next..).next().map(|(index, _)| *index);
            let index = held.into_iter().chain(open).min()?;
            self.next = index.next();
            if held == Some(index) {
                return Some(index.span(self.progress.length.bound()));
            }
            let start = index.start().get();
            self.open = self.progress.open[&index]
                .ranges()
                .map(|range| start + range.start..start + range.end)
                .collect();
            self.open.reverse();
        }
    }
}
