//! The hash of a whole file, merged from the values of its blocks: the very one that
//! `b3sum` prints.

use crate::block::block_count;
use crate::digest::{ChainingValue, FileHash};
use crate::number::FileSize;
use blake3::hazmat;

/// The hash of a whole file from the values of its blocks, in order.
///
/// # Panics
/// Where the number of values is not [`block_count`] of the file's size: the
/// caller has forgotten blocks, and any hash would be a lie.
#[must_use]
pub fn hash_file(filesize: FileSize, values: impl IntoIterator<Item = ChainingValue>) -> FileHash {
    let mut hasher = FileHasher::default();
    values.into_iter().for_each(|value| hasher.push(value));
    assert_eq!(hasher.blocks(), block_count(filesize), "one value for every block");
    hasher.finish()
}

/// Makes the hash of a whole file from the values of its blocks, which are pushed in the order of
/// the file. It holds one value for each level of the tree: at most 44, whatever the file's size.
#[derive(Debug, Clone, Default)]
pub struct FileHasher {
    blocks: u64,
    /// The values of the largest subtrees that are complete, from left to right. Two of equal
    /// height at the end are merged only when another block follows: the merge of the last two is
    /// the root, and the root is hashed in another way.
    subtrees: Vec<[u8; 32]>,
}

impl FileHasher {
    /// Takes the value of the next block.
    pub fn push(&mut self, value: ChainingValue) {
        // As many subtrees are complete as the number of blocks has ones among its binary digits.
        while self.subtrees.len() > self.blocks.count_ones() as usize {
            let right = self.subtrees.pop().expect("there are at least two");
            let left = self.subtrees.pop().expect("there are at least two");
            self.subtrees.push(hazmat::merge_subtrees_non_root(&left, &right, hazmat::Mode::Hash));
        }
        self.subtrees.push(*value.as_bytes());
        self.blocks += 1;
    }

    /// How many values it has taken.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The hash of the file that consists of these blocks alone.
    #[must_use]
    pub fn finish(&self) -> FileHash {
        let Some((last, before)) = self.subtrees.split_last() else {
            return FileHash::from_bytes(*blake3::hash(b"").as_bytes());
        };
        let mut right = *last;
        let Some((first, between)) = before.split_first() else {
            // The only block is the root: its value is the hash of the file.
            return FileHash::from_bytes(right);
        };
        for left in between.iter().rev() {
            right = hazmat::merge_subtrees_non_root(left, &right, hazmat::Mode::Hash);
        }
        let root = hazmat::merge_subtrees_root(first, &right, hazmat::Mode::Hash);
        FileHash::from_bytes(*root.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockIndex, hash_block};

    fn by_blocks(bytes: &[u8]) -> FileHash {
        let filesize = FileSize::try_from(bytes.len() as u64).unwrap();
        let values = bytes.chunks(1 << 20).enumerate().map(|(index, block)| {
            hash_block(BlockIndex::new(index as u64).unwrap(), filesize, block)
        });
        hash_file(filesize, values)
    }

    #[test]
    fn the_blocks_of_a_file_give_the_hash_of_the_file() {
        for length in
            [0, 1, 1023, 1024, 1025, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 7, 9 << 20]
                .into_iter()
                .chain((2..18).map(|blocks| blocks << 20))
        {
            let bytes: Vec<u8> =
                (0..length).map(|i: usize| u8::try_from(i * 31 % 251).unwrap()).collect();
            assert_eq!(by_blocks(&bytes).as_bytes(), blake3::hash(&bytes).as_bytes(), "{length}");
        }
    }
}
