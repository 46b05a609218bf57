//! The state of a document by the rules of `SPEC.md`: which bytes are where, and which answers each
//! command may get. Nothing of Towline's own rules is used here.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use towline_protocol::Code;
use towline_protocol::reply::Success;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{ChainingValue, DocumentId, FileHash};

/// The order of blocks that the writer has announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Sequence,
    Blocks,
}

#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Uploading,
    Completed(Success),
    Failed,
    Cancelled,
}

/// A block on the server.
#[derive(Debug, Clone, Default)]
struct Block {
    filled: usize,
    is_held: bool,
    announced: Option<ChainingValue>,
}

/// Bytes and blocks of an upload.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    bytes: Vec<u8>,
    blocks: Vec<Block>,
}

/// The limits of what an upload may have after a step whose result was not reported: at least this
/// much, and at most `content`.
#[derive(Debug, Clone)]
struct Doubt {
    received: usize,
    held: BTreeSet<usize>,
}

/// One document of one user.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) id: DocumentId,
    pub(crate) owner: usize,
    pub(crate) name: &'static str,
    pub(crate) rejects: bool,
    /// The file of the upload's writer.
    pub(crate) test_file: TestFile,
    pub(crate) phase: Phase,
    /// The bytes that are there; where there is a doubt, the most that may be there.
    pub(crate) content: Content,
    doubt: Option<Doubt>,
    /// The promised offset: the durable offset never falls below it.
    pub(crate) promised: usize,
    /// The smallest number of bytes that were there since all messages were read. A message that is
    /// read later may have been sent before a block was dropped.
    pub(crate) ebb: usize,
}

/// An error that answers a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum No {
    OffsetMismatch(usize),
    BlockMismatch(usize),
    UnknownBlock(usize),
    /// The message does not say how many bytes before the end were kept, and an earlier part may
    /// have been refused.
    SizeExceeded,
    Incomplete(usize),
    HashMismatch,
}

impl No {
    pub(crate) fn code(self) -> Code {
        match self {
            Self::OffsetMismatch(_) => Code::OffsetMismatch,
            Self::BlockMismatch(_) => Code::BlockMismatch,
            Self::UnknownBlock(_) => Code::BadRequest,
            Self::SizeExceeded => Code::SizeExceeded,
            Self::Incomplete(_) => Code::Incomplete,
            Self::HashMismatch => Code::HashMismatch,
        }
    }

    /// Whether the server answers nothing more on the channel until the next `upload` or `resume`.
    pub(crate) fn refuses_channel(self) -> bool {
        matches!(self, Self::OffsetMismatch(_) | Self::SizeExceeded | Self::HashMismatch)
    }
}

impl Content {
    fn new(size: usize) -> Self {
        let blocks = vec![Block::default(); size.div_ceil(BLOCK)];
        Self { bytes: vec![0; size], blocks }
    }

    fn size(&self) -> usize {
        self.bytes.len()
    }

    fn length(&self, index: usize) -> usize {
        BLOCK.min(self.size() - index * BLOCK)
    }

    /// The first block that is not held.
    fn frontier(&self) -> usize {
        self.blocks.iter().take_while(|block| block.is_held).count()
    }

    /// The number of bytes without a gap; they end in the first block that is not held.
    pub(crate) fn received(&self) -> usize {
        let frontier = self.frontier();
        match self.blocks.get(frontier) {
            Some(block) => frontier * BLOCK + block.filled,
            None => self.size(),
        }
    }

    pub(crate) fn held(&self) -> BTreeSet<usize> {
        (0..self.blocks.len()).filter(|&index| self.blocks[index].is_held).collect()
    }

    fn is_full(&self, index: usize) -> bool {
        self.blocks[index].filled == self.length(index)
    }

    /// The value of the bytes that are there.
    pub(crate) fn value(&self, index: usize) -> ChainingValue {
        TestFile { bytes: self.bytes.clone() }.value(index)
    }

    pub(crate) fn hash(&self) -> FileHash {
        FileHash::from_bytes(*blake3::hash(&self.bytes).as_bytes())
    }

    /// The offset at which a chunk for that block has to begin.
    pub(crate) fn next_in(&self, index: usize) -> usize {
        index * BLOCK + self.blocks.get(index).map_or(0, |block| block.filled)
    }

    fn drop_block(&mut self, index: usize) {
        self.blocks[index] = Block::default();
    }

    /// Handles the last byte of a block, or its announcement. Returns the error, if it leads to
    /// one.
    fn settle(&mut self, index: usize, order: Order) -> Option<No> {
        if !self.is_full(index) {
            return None;
        }
        match (self.blocks[index].announced, order) {
            (Some(announced), _) if announced != self.value(index) => {
                self.drop_block(index);
                Some(No::BlockMismatch(index))
            }
            (None, Order::Blocks) => None,
            _ => {
                self.blocks[index].is_held = true;
                None
            }
        }
    }

    fn chunk(&mut self, order: Order, mut at: usize, mut bytes: &[u8]) -> Vec<No> {
        let mut said = Vec::new();
        while !bytes.is_empty() {
            let index = at / BLOCK;
            let in_turn = match order {
                Order::Sequence => at == self.received(),
                Order::Blocks => at == self.next_in(index),
            };
            if !in_turn || self.blocks[index].is_held || self.is_full(index) {
                said.push(No::OffsetMismatch(self.received()));
                return said;
            }
            let length = bytes.len().min(self.length(index) - self.blocks[index].filled);
            let (now, later) = bytes.split_at(length);
            self.bytes[at..at + length].copy_from_slice(now);
            self.blocks[index].filled += length;
            said.extend(self.settle(index, order));
            (at, bytes) = (at + length, later);
        }
        said
    }

    fn announce(&mut self, index: usize, value: ChainingValue) -> Option<No> {
        if index >= self.blocks.len() {
            return Some(No::UnknownBlock(index));
        }
        self.blocks[index].announced = Some(value);
        self.settle(index, Order::Blocks)
    }

    /// Drops what a `resume` does not keep.
    fn resume(&mut self, order: Order) {
        let frontier = self.frontier();
        for (index, block) in self.blocks.iter_mut().enumerate() {
            block.announced = None;
            if index != frontier && !block.is_held {
                *block = Block::default();
            }
        }
        if frontier < self.blocks.len() {
            self.settle(frontier, order);
        }
    }
}

impl Document {
    pub(crate) fn new(
        id: DocumentId,
        owner: usize,
        name: &'static str,
        test_file: TestFile,
        rejects: bool,
    ) -> Self {
        let content = Content::new(test_file.size());
        let phase = Phase::Uploading;
        Self {
            id,
            owner,
            name,
            rejects,
            test_file,
            phase,
            content,
            doubt: None,
            promised: 0,
            ebb: 0,
        }
    }

    /// A document that the server has made from another one with the same bytes.
    pub(crate) fn copied(self) -> Self {
        let mut copied = self;
        let bytes = copied.test_file.bytes.clone();
        copied.content.chunk(Order::Sequence, 0, &bytes);
        copied
    }

    /// Whether the document is complete and is in the place of this name: it has the name, or it
    /// was uploaded under the name and got a number, where a number is allowed.
    pub(crate) fn is_at(&self, name: &str, rejects: bool) -> bool {
        let Phase::Completed(success) = &self.phase else { return false };
        success.filename == name || (!rejects && self.name == name)
    }

    pub(crate) fn is_uploading(&self) -> bool {
        matches!(self.phase, Phase::Uploading)
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// The numbers of received bytes that the server may report.
    pub(crate) fn received(&self) -> RangeInclusive<usize> {
        let most = self.content.received();
        self.doubt.as_ref().map_or(most, |doubt| doubt.received.min(most))..=most
    }

    /// Whether `blocks` may list exactly these values.
    pub(crate) fn may_hold(&self, held: &BTreeSet<usize>) -> bool {
        match &self.doubt {
            None => *held == self.content.held(),
            Some(doubt) => held.is_superset(&doubt.held) && held.is_subset(&self.content.held()),
        }
    }

    /// Writes a chunk. Where it reaches beyond the end, the server does not report how many bytes
    /// it kept.
    pub(crate) fn chunk(&mut self, order: Order, at: usize, bytes: &[u8]) -> Vec<No> {
        let size = self.content.size();
        if at + bytes.len() <= size {
            let said = self.content.chunk(order, at, bytes);
            self.dropped(&said);
            return said;
        }
        let doubt = self.exactly();
        if at < size {
            let fits = bytes[..size - at].to_vec();
            let before = self.content.clone();
            let said = self.content.chunk(order, at, &fits);
            if said.iter().any(|no| matches!(no, No::BlockMismatch(_))) {
                // The bytes were kept and dropped, or never kept.
                self.content = before;
                (self.promised, self.ebb) = (0, 0);
                self.doubt = Some(Doubt { received: 0, held: BTreeSet::new() });
                return vec![No::SizeExceeded];
            }
        }
        self.doubt = Some(doubt);
        vec![No::SizeExceeded]
    }

    /// Whether a chunk is at the right offset and leads to no answer.
    pub(crate) fn takes(&self, order: Order, at: usize, bytes: &[u8]) -> bool {
        self.content.clone().chunk(order, at, bytes).is_empty()
    }

    /// A chunk at the right offset was sent, and it may have arrived.
    pub(crate) fn chunk_perhaps(&mut self, order: Order, at: usize, bytes: &[u8]) {
        let doubt = self.exactly();
        let said = self.content.chunk(order, at, bytes);
        assert!(said.is_empty(), "{said:?}");
        self.doubt = Some(doubt);
    }

    pub(crate) fn announce(&mut self, index: usize, value: ChainingValue) -> Option<No> {
        let no = self.content.announce(index, value);
        self.dropped(no.as_slice());
        no
    }

    pub(crate) fn withdraw(&mut self, first: usize, count: usize) {
        for index in first..(first + count).min(self.content.blocks.len()) {
            self.content.drop_block(index);
        }
        self.cap_promise();
    }

    /// The answers to `complete` with that hash: the receipt where it returns `Ok`.
    pub(crate) fn complete(&self, claimed: Option<FileHash>) -> Result<(), Vec<No>> {
        let all_held = self.content.blocks.iter().all(|block| block.is_held);
        let all_full = (0..self.content.blocks.len()).all(|index| self.content.is_full(index));
        let incomplete = No::Incomplete(self.content.received());
        let verdict = match claimed {
            Some(claimed) if claimed != self.content.hash() => Err(vec![No::HashMismatch]),
            _ => Ok(()),
        };
        match (all_held, all_full && claimed.is_some()) {
            (true, _) => verdict,
            (false, false) => Err(vec![incomplete]),
            // A block was never announced. That is an error of the client, and the server may
            // accept the hash of the whole file in its place, or not.
            (false, true) => match verdict {
                Ok(()) => Ok(()),
                Err(mut nos) => {
                    nos.push(incomplete);
                    Err(nos)
                }
            },
        }
    }

    /// The hash of the whole file takes the place of every announcement that is missing.
    pub(crate) fn vouched_for(&mut self) {
        for block in &mut self.content.blocks {
            block.is_held = true;
        }
    }

    pub(crate) fn resume(&mut self, order: Order) {
        self.content.resume(order);
    }

    /// The answers to `resume` and `blocks` end every doubt.
    pub(crate) fn learn(&mut self, offset: usize, held: &BTreeSet<usize>) {
        if self.doubt.take().is_none() {
            return;
        }
        for (index, block) in self.content.blocks.iter_mut().enumerate() {
            *block = Block { is_held: held.contains(&index), ..Block::default() };
            if block.is_held {
                block.filled = BLOCK.min(self.test_file.size() - index * BLOCK);
            }
        }
        let frontier = self.content.frontier();
        let begins = frontier * BLOCK;
        assert!(
            offset >= begins.min(self.test_file.size()),
            "{offset} lies in a block that is held"
        );
        if frontier < self.content.blocks.len() {
            let filled = offset - begins;
            assert!(filled <= self.content.length(frontier), "{offset} lies behind a gap");
            self.content.blocks[frontier].filled = filled;
        }
    }

    /// After an orderly pause all bytes survive a power cut, and nothing changes.
    pub(crate) fn paused_well(&mut self) {
        if self.doubt.is_none() {
            self.promised = self.content.received();
        }
    }

    /// The server was killed: only the promised bytes are certain.
    pub(crate) fn killed(&mut self) {
        self.doubt = Some(Doubt { received: self.promised, held: BTreeSet::new() });
    }

    /// The server has reported this durable offset.
    pub(crate) fn promise(&mut self, durable: usize) {
        self.promised = self.promised.max(durable.min(self.ebb));
    }

    /// All messages about the document were read.
    pub(crate) fn all_heard(&mut self) {
        self.ebb = self.content.received();
    }

    fn cap_promise(&mut self) {
        self.ebb = self.ebb.min(self.content.received());
        self.promised = self.promised.min(self.ebb);
    }

    /// A block that was dropped takes the promises beyond it with it.
    fn dropped(&mut self, nos: &[No]) {
        for no in nos {
            if let No::BlockMismatch(index) = no {
                self.ebb = self.ebb.min(index * BLOCK);
            }
        }
        self.cap_promise();
    }

    fn exactly(&mut self) -> Doubt {
        self.doubt.take().unwrap_or_else(|| Doubt {
            received: self.content.received(),
            held: self.content.held(),
        })
    }
}
