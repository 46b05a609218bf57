//! Bytes to send that lie nowhere: one block, again and again, with the values that it
//! has at its places. Neither reading nor hashing them takes anything from the server
//! that is measured on the same machine.

use fastrand::Rng;
use towline_types::block::{BLOCK_SIZE_BYTES, hash_block};
use towline_types::{BlockIndex, ChainingValue, FileSize};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Pattern {
    block: Vec<u8>,
    /// The value where the block is a file by itself.
    alone: ChainingValue,
    /// The values at the places of a longer file.
    values: Vec<ChainingValue>,
}

impl Pattern {
    /// Random bytes for files of whole blocks, up to that length.
    pub(crate) fn up_to(filesize: FileSize, random: &mut Rng) -> Self {
        let mut block = vec![0; usize::try_from(BLOCK_SIZE_BYTES).unwrap_or_default()];
        random.fill(&mut block);
        let one = size(BLOCK_SIZE_BYTES);
        let indices = (0..filesize.get() / BLOCK_SIZE_BYTES).filter_map(BlockIndex::new);
        // The value of a block hangs on its place, and not on what is behind it.
        let long = size(filesize.get().max(2 * BLOCK_SIZE_BYTES));
        let values = indices.map(|index| hash_block(index, long, &block)).collect();
        Self { alone: hash_block(BlockIndex::FIRST, one, &block), values, block }
    }

    /// The bytes of every block.
    pub(crate) fn block(&self) -> &[u8] {
        &self.block
    }

    /// The value of a block in a file of that size.
    ///
    /// # Panics
    /// Where the file is longer than the pattern was made for.
    pub(crate) fn value(&self, index: BlockIndex, filesize: FileSize) -> ChainingValue {
        if filesize.get() <= BLOCK_SIZE_BYTES {
            return self.alone;
        }
        let index = usize::try_from(index.get()).unwrap_or(usize::MAX);
        *self.values.get(index).expect("the pattern is as long as the longest file")
    }
}

/// A length that every file may have.
///
/// # Panics
/// Beyond what the protocol knows.
pub(crate) fn size(bytes: u64) -> FileSize {
    FileSize::try_from(bytes).expect("a length of this program's own")
}
