//! Blocks and their chaining values: how a file is verified piece by piece.
//!
//! BLAKE3 hashes a tree whose leaves are 1 KiB chunks. A subtree over an
//! aligned power-of-two span can be hashed knowing only its bytes and its
//! position, and neighbours merge pairwise up to the root (BLAKE3 specification,
//! section 2.1; `blake3::hazmat`). A block here is such a subtree of 1 MiB, so
//! the values of the blocks alone give the hash of the whole file
//! ([`hash_file`](crate::file_hash::hash_file)), in whatever order the blocks came.
//!
//! A file of one block or none has no merge: its only block *is* the root, and
//! the block's value is then the file's hash itself.

use crate::digest::ChainingValue;
use crate::number::{FileSize, Offset};
use blake3::hazmat::HasherExt as _;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// The length of every block but a file's last: 1 MiB.
pub const BLOCK_SIZE_BYTES: u64 = 1 << 20;

/// The place of a block in its file: block `n` begins at `n` MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct BlockIndex(u64);

impl BlockIndex {
    /// The first block.
    pub const FIRST: Self = Self(0);

    /// The last block that a legal file can have.
    pub const MAX: Self = Self(i64::MAX.cast_unsigned() / BLOCK_SIZE_BYTES);

    /// The block at that place; nothing where no legal file reaches so far.
    #[must_use]
    pub const fn new(index: u64) -> Option<Self> {
        if index <= Self::MAX.0 { Some(Self(index)) } else { None }
    }

    /// The block that holds the byte at `offset`.
    #[must_use]
    pub const fn at(offset: Offset) -> Self {
        Self(offset.get() / BLOCK_SIZE_BYTES)
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The block after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Where the block begins.
    #[must_use]
    pub fn start(self) -> Offset {
        Offset::ZERO.plus(self.0.saturating_mul(BLOCK_SIZE_BYTES))
    }

    /// Where the block ends in a file of that size.
    #[must_use]
    pub fn end(self, filesize: FileSize) -> Offset {
        self.start().plus(BLOCK_SIZE_BYTES).min(filesize.end())
    }

    /// How many bytes the block has in a file of that size.
    #[must_use]
    pub fn length_bytes(self, filesize: FileSize) -> u64 {
        self.end(filesize).get().saturating_sub(self.start().get())
    }

    /// The bytes of the block, as positions in the file.
    #[must_use]
    pub fn span(self, filesize: FileSize) -> Range<u64> {
        self.start().get()..self.end(filesize).get()
    }
}

impl TryFrom<u64> for BlockIndex {
    type Error = &'static str;

    fn try_from(index: u64) -> Result<Self, Self::Error> {
        Self::new(index).ok_or("no file has such a block")
    }
}

impl From<BlockIndex> for u64 {
    fn from(index: BlockIndex) -> u64 {
        index.0
    }
}

impl fmt::Display for BlockIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many blocks a file has. An empty file has none.
#[must_use]
pub const fn block_count(filesize: FileSize) -> u64 {
    filesize.get().div_ceil(BLOCK_SIZE_BYTES)
}

/// Hashes one block, piece by piece, in order.
#[derive(Debug, Clone)]
pub struct BlockHasher {
    hasher: blake3::Hasher,
    alone: bool,
}

impl BlockHasher {
    /// A hasher for the block at `index` of a file of that size.
    #[must_use]
    pub fn new(index: BlockIndex, filesize: FileSize) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(index.start().get());
        Self { hasher, alone: block_count(filesize) <= 1 }
    }

    /// Takes in the bytes that come next. Pieces of 16 KiB and more are fastest.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The value of the block.
    #[must_use]
    pub fn finish(&self) -> ChainingValue {
        self.value(self.alone)
    }

    /// The value of the block in a file of another size than it was begun for: of a file
    /// whose size is not known at first, the first block may turn out to be the only one.
    #[must_use]
    pub fn finish_in(&self, filesize: FileSize) -> ChainingValue {
        self.value(block_count(filesize) <= 1)
    }

    fn value(&self, alone: bool) -> ChainingValue {
        ChainingValue::from_bytes(if alone {
            *self.hasher.finalize().as_bytes()
        } else {
            self.hasher.finalize_non_root()
        })
    }
}

/// The value of a block whose bytes are all at hand.
#[must_use]
pub fn hash_block(index: BlockIndex, filesize: FileSize, bytes: &[u8]) -> ChainingValue {
    let mut hasher = BlockHasher::new(index, filesize);
    hasher.update(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn pieces_of_any_length_give_the_same_value(cuts in prop::collection::vec(1usize..70_000, 1..12)) {
            let length: usize = cuts.iter().sum();
            let bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i % 253).unwrap()).collect();
            let filesize = FileSize::try_from(5 << 20).unwrap();
            let index = BlockIndex::new(3).unwrap();
            let mut hasher = BlockHasher::new(index, filesize);
            let mut rest = &bytes[..];
            for cut in cuts {
                let (piece, next) = rest.split_at(cut);
                hasher.update(piece);
                rest = next;
            }
            prop_assert_eq!(hasher.finish(), hash_block(index, filesize, &bytes));
        }
    }
}
