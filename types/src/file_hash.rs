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
    let mut level: Vec<[u8; 32]> = values.into_iter().map(|value| *value.as_bytes()).collect();
    assert_eq!(level.len() as u64, block_count(filesize), "one value for every block");
    match level.len() {
        0 => return FileHash::from_bytes(*blake3::hash(b"").as_bytes()),
        1 => return FileHash::from_bytes(level[0]),
        _ => {}
    }
    while level.len() > 2 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => hazmat::merge_subtrees_non_root(left, right, hazmat::Mode::Hash),
                odd => odd[0],
            })
            .collect();
    }
    let root = hazmat::merge_subtrees_root(&level[0], &level[1], hazmat::Mode::Hash);
    FileHash::from_bytes(*root.as_bytes())
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
        {
            let bytes: Vec<u8> =
                (0..length).map(|i: usize| u8::try_from(i * 31 % 251).unwrap()).collect();
            assert_eq!(by_blocks(&bytes).as_bytes(), blake3::hash(&bytes).as_bytes(), "{length}");
        }
    }
}
