//! Bytes that are taken back, so that they can be sent again.

use super::{OPEN_BLOCKS_MAX, OpenBlock, Progress, RequestId, WRITERS_MAX};
use crate::{Integrity, Refusal};
use std::ops::Range;
use towline_types::{BlockIndex, Offset};

impl Progress {
    /// Forgets blocks, held and open, so that they can be sent again. What the
    /// catalog promised beyond them is taken back with them.
    pub(crate) fn withdraw(&mut self, blocks: Range<BlockIndex>) {
        self.held.retain(|index, _| !blocks.contains(index));
        self.open.retain(|index, _| !blocks.contains(index));
        self.unrecorded.retain(|index| !blocks.contains(index));
        if blocks.contains(&BlockIndex::FIRST) {
            self.first_as_only = None;
        }
        self.requests.forget(&(blocks.start.start().get()..blocks.end.start().get()));
        self.step_back(blocks.start);
    }

    /// Forgets the bytes of a block that requests under way have brought, and what its writer
    /// announced. The other bytes of the block stay. Returns whether there were such bytes.
    pub(crate) fn take_back_unconfirmed(&mut self, index: BlockIndex) -> bool {
        let taken_back = self.requests.forget(&index.span(self.length.bound()));
        for range in &taken_back {
            self.take_back_from(index, range, Integrity::Unannounced);
        }
        if let Some(open) = self.open.get_mut(&index)
            && !taken_back.is_empty()
        {
            open.announced = None;
            if open.is_empty() {
                self.open.remove(&index);
            }
        }
        self.step_back(index);
        !taken_back.is_empty()
    }

    /// A request begins whose bytes may be taken back as long as it is not confirmed. They
    /// begin at `offset` and follow each other.
    pub(crate) fn begin_request(&mut self, offset: Offset) -> Result<RequestId, Refusal> {
        if self.requests.len() >= WRITERS_MAX {
            return Err(Refusal::TooManyWriters { max: WRITERS_MAX });
        }
        Ok(self.requests.begin(offset.get()))
    }

    /// Whether bytes of that request may begin there.
    pub(crate) fn check_request(&self, id: RequestId, offset: Offset) -> Result<(), Refusal> {
        let next = self.requests.next_byte(id).ok_or(Refusal::Superseded)?;
        if next != offset.get() {
            let expected = Offset::try_from(next).unwrap_or(Offset::MAX);
            return Err(Refusal::OffsetMismatch { expected });
        }
        Ok(())
    }

    /// Bytes have come for it.
    pub(crate) fn extend_request(&mut self, id: RequestId, length_bytes: u64) {
        self.requests.extend(id, length_bytes);
    }

    /// The bytes of the request stay.
    pub(crate) fn confirm_request(&mut self, id: RequestId) -> Result<(), Refusal> {
        self.requests.end(id).map(|_| ()).ok_or(Refusal::Superseded)
    }

    /// The bytes of all requests stay.
    pub(crate) fn confirm_all_requests(&mut self) {
        self.requests.end_all();
    }

    /// Forgets exactly the bytes of a request. No checkpoint has recorded any of them, so all
    /// that is promised stays (P1) and the catalog need not know. Of a block that keeps other
    /// bytes the value is found by reading it back when it is whole again.
    ///
    /// What was announced stays announced, because an announcement is no byte of the request. That
    /// holds for [`OPEN_BLOCKS_MAX`] blocks: the memory of more would grow with the file (P6), so
    /// their values are to be announced again.
    pub(crate) fn take_back_request(
        &mut self,
        id: RequestId,
        integrity: Integrity,
    ) -> Result<Vec<Range<u64>>, Refusal> {
        let ranges = self.requests.end(id).ok_or(Refusal::Superseded)?;
        let block_of = |byte: u64| Offset::try_from(byte).map(BlockIndex::at).ok();
        for range in &ranges {
            let (Some(first), Some(last)) = (block_of(range.start), block_of(range.end - 1)) else {
                continue;
            };
            let mut index = first;
            while index <= last {
                self.take_back_from(index, range, integrity);
                index = index.next();
            }
            self.step_back(first);
        }
        Ok(ranges)
    }

    fn take_back_from(&mut self, index: BlockIndex, range: &Range<u64>, integrity: Integrity) {
        let start = index.start().get();
        let local = range.start.saturating_sub(start)..range.end - start;
        self.unrecorded.remove(&index);
        if let Some(value) = self.held.remove(&index) {
            let mut open = OpenBlock::with_prefix(self.block_bytes(index));
            if integrity == Integrity::Announced && self.open.len() < OPEN_BLOCKS_MAX {
                open.announced = Some(value);
            }
            self.open.insert(index, open);
            if index == BlockIndex::FIRST {
                self.first_as_only = None;
            }
        }
        if let Some(open) = self.open.get_mut(&index) {
            open.take_back(&local);
            if open.is_empty() && open.announced.is_none() {
                self.open.remove(&index);
            }
        }
    }

    /// The first block that is not held may be an earlier one now.
    fn step_back(&mut self, to: BlockIndex) {
        self.frontier = self.frontier.min(to);
        self.advance();
        self.durable = self.durable.min(self.received());
    }
}
