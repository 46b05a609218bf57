//! A block of which some bytes are here.

use crate::BlockValue;
use std::ops::Range;
use towline_types::ChainingValue;

/// A block that is not held: which of its bytes are here. Positions are those in the block.
#[derive(Debug, Clone)]
pub(super) struct OpenBlock {
    /// The bytes that are here without a gap, from the block's start.
    prefix_bytes: u64,
    /// Ranges that are here behind a gap: ascending, and with a gap between them.
    beyond: Vec<Range<u64>>,
    /// Each byte came after the one before it, so that a hasher can have followed.
    is_in_order: bool,
    /// Known once the block is whole and hashed.
    pub(super) value: Option<BlockValue>,
    /// What its writer says.
    pub(super) announced: Option<ChainingValue>,
}

impl OpenBlock {
    /// Nothing of it is here.
    pub(super) const fn empty() -> Self {
        Self::with_prefix(0)
    }

    /// Its first bytes are here.
    pub(super) const fn with_prefix(prefix_bytes: u64) -> Self {
        let beyond = Vec::new();
        Self { prefix_bytes, beyond, is_in_order: true, value: None, announced: None }
    }

    pub(super) const fn prefix_bytes(&self) -> u64 {
        self.prefix_bytes
    }

    pub(super) const fn is_in_order(&self) -> bool {
        self.is_in_order
    }

    /// Whether no byte of it is here.
    pub(super) const fn is_empty(&self) -> bool {
        self.prefix_bytes == 0 && self.beyond.is_empty()
    }

    pub(super) fn filled_bytes(&self) -> u64 {
        let beyond: u64 = self.beyond.iter().map(|range| range.end - range.start).sum();
        self.prefix_bytes + beyond
    }

    /// Behind the last byte that is here, gaps or not.
    pub(super) fn reach(&self) -> u64 {
        self.beyond.last().map_or(self.prefix_bytes, |range| range.end)
    }

    /// What is here, ascending.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        let prefix = (self.prefix_bytes > 0).then_some(0..self.prefix_bytes);
        prefix.into_iter().chain(self.beyond.iter().cloned())
    }

    /// How many bytes there is room for from that position on, in a block of that length:
    /// none where the byte is here already.
    pub(super) fn room_at(&self, at: u64, block_bytes: u64) -> u64 {
        let is_here = at < self.prefix_bytes || self.beyond.iter().any(|range| range.contains(&at));
        let next = self.beyond.iter().map(|range| range.start).find(|start| *start > at);
        if is_here { 0 } else { next.unwrap_or(block_bytes).saturating_sub(at) }
    }

    /// Whether bytes from that position on would be a range of their own.
    pub(super) fn begins_range(&self, at: u64) -> bool {
        at != self.prefix_bytes && self.beyond.iter().all(|range| range.end != at)
    }

    /// How many ranges lie behind a gap.
    pub(super) const fn ranges_beyond(&self) -> usize {
        self.beyond.len()
    }

    /// These bytes are here, none of which was before.
    pub(super) fn fill(&mut self, at: u64, length_bytes: u64) {
        let end = at + length_bytes;
        if at == self.prefix_bytes {
            self.prefix_bytes = end;
        } else {
            self.is_in_order = false;
            let place = self.beyond.partition_point(|range| range.start < at);
            match place.checked_sub(1).map(|before| &mut self.beyond[before]) {
                Some(before) if before.end == at => before.end = end,
                _ => self.beyond.insert(place, at..end),
            }
        }
        // Where a gap is closed, what lay behind it is joined.
        let mut index = 0;
        while index < self.beyond.len() {
            if self.beyond[index].start == self.prefix_bytes {
                self.prefix_bytes = self.beyond.remove(index).end;
            } else if index > 0 && self.beyond[index].start == self.beyond[index - 1].end {
                self.beyond[index - 1].end = self.beyond.remove(index).end;
            } else {
                index += 1;
            }
        }
    }

    /// These bytes are here no longer. What is left, if anything, is hashed by reading it back.
    pub(super) fn take_back(&mut self, range: &Range<u64>) {
        let left: Vec<_> = self
            .ranges()
            .flat_map(|here| {
                [here.start..here.end.min(range.start), here.start.max(range.end)..here.end]
            })
            .filter(|here| here.start < here.end)
            .collect();
        let (is_in_order, announced) = (left.is_empty(), self.announced);
        *self = Self { is_in_order, announced, ..Self::empty() };
        for here in left {
            self.fill(here.start, here.end - here.start);
        }
    }

    /// Forgets what lies behind a gap, and what its writer said.
    pub(super) fn forget_beyond(&mut self) {
        self.beyond.clear();
        self.announced = None;
    }
}
