//! What a document is, as `SPEC.md` has it: which bytes of it are where, and which
//! answer each command may get. Nothing of Towline's own rules is used here.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use towline_protocol::Code;
use towline_protocol::reply::Success;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{ChainingValue, DocumentId, FileHash};

/// How the one who sends said that blocks come.
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

/// What an upload may be after something whose effect nobody reported: at least this,
/// at most that.
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
    /// The file that its writer has.
    pub(crate) test_file: TestFile,
    pub(crate) phase: Phase,
    /// What is there, or the most of it where there is doubt.
    pub(crate) content: Content,
    doubt: Option<Doubt>,
    /// What was promised: durable never goes below.
    pub(crate) promised: usize,
    /// The least that was there since everything that was said had been heard: what is
    /// heard later may have been said before a block was dropped.
    pub(crate) ebb: usize,
}

/// An error that a command is answered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum No {
    OffsetMismatch(usize),
    BlockMismatch(usize),
    UnknownBlock(usize),
    /// How much before the end was kept is not said, and a part before may have been
    /// refused.
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

    /// Whether the channel hears nothing more until the next upload or resume.
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

    /// The bytes without a gap; they end in the first block that is not held.
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

    /// Where a chunk for that block would have to begin.
    pub(crate) fn next_in(&self, index: usize) -> usize {
        index * BLOCK + self.blocks.get(index).map_or(0, |block| block.filled)
    }

    fn drop_block(&mut self, index: usize) {
        self.blocks[index] = Block::default();
    }

    /// The end of a block has come, or its announcement: what that makes of it.
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

    /// What a resume leaves of it.
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

    /// One that the server has made from another with the same bytes.
    pub(crate) fn copied(self) -> Self {
        let mut copied = self;
        let bytes = copied.test_file.bytes.clone();
        copied.content.chunk(Order::Sequence, 0, &bytes);
        copied
    }

    /// Whether it is complete, and in the place that is asked for by that name: it has the
    /// name, or was to have it and got a number, where that will do.
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

    /// What the server may say that it has received.
    pub(crate) fn received(&self) -> RangeInclusive<usize> {
        let most = self.content.received();
        self.doubt.as_ref().map_or(most, |doubt| doubt.received.min(most))..=most
    }

    /// Which values `blocks` may list.
    pub(crate) fn may_hold(&self, held: &BTreeSet<usize>) -> bool {
        match &self.doubt {
            None => *held == self.content.held(),
            Some(doubt) => held.is_superset(&doubt.held) && held.is_subset(&self.content.held()),
        }
    }

    /// Writes a chunk. Where it reaches beyond the end nobody says how much was kept.
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
                // Kept and dropped, or never kept.
                self.content = before;
                (self.promised, self.ebb) = (0, 0);
                self.doubt = Some(Doubt { received: 0, held: BTreeSet::new() });
                return vec![No::SizeExceeded];
            }
        }
        self.doubt = Some(doubt);
        vec![No::SizeExceeded]
    }

    /// Whether a chunk is in order, and nothing is to be said about it.
    pub(crate) fn takes(&self, order: Order, at: usize, bytes: &[u8]) -> bool {
        self.content.clone().chunk(order, at, bytes).is_empty()
    }

    /// A chunk in order was sent, and perhaps it arrived.
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

    /// What `complete` with that hash is answered by; nothing is the receipt.
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
            // A block was never announced. That is the client's fault, and the server
            // may or may not take the hash of the whole for it.
            (false, true) => match verdict {
                Ok(()) => Ok(()),
                Err(mut nos) => {
                    nos.push(incomplete);
                    Err(nos)
                }
            },
        }
    }

    /// The hash of the whole stands for every announcement that never came.
    pub(crate) fn vouched_for(&mut self) {
        for block in &mut self.content.blocks {
            block.is_held = true;
        }
    }

    pub(crate) fn resume(&mut self, order: Order) {
        self.content.resume(order);
    }

    /// What a resume and `blocks` have told ends all doubt.
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

    /// It survives a power cut, and stands still: a pause in good order.
    pub(crate) fn paused_well(&mut self) {
        if self.doubt.is_none() {
            self.promised = self.content.received();
        }
    }

    /// The server was killed: only promises are left for sure.
    pub(crate) fn killed(&mut self) {
        self.doubt = Some(Doubt { received: self.promised, held: BTreeSet::new() });
    }

    /// The server has said so.
    pub(crate) fn promise(&mut self, durable: usize) {
        self.promised = self.promised.max(durable.min(self.ebb));
    }

    /// All that was said about it has been heard.
    pub(crate) fn all_heard(&mut self) {
        self.ebb = self.content.received();
    }

    fn cap_promise(&mut self) {
        self.ebb = self.ebb.min(self.content.received());
        self.promised = self.promised.min(self.ebb);
    }

    /// Blocks that were dropped take the promises behind them with them.
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
