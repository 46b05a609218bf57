//! What it costs to hash: a block where it is read and where it arrives, a file from
//! the values of its blocks.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use towline_types::block::hash_block;
use towline_types::file_hash::hash_file;
use towline_types::{BlockHasher, BlockIndex, ChainingValue, FileSize};

fn main() {
    divan::main();
}

const BLOCK_BYTES: usize = 1 << 20;

/// Of a file that has more than one block.
fn file(blocks: u64) -> FileSize {
    FileSize::try_from(blocks * BLOCK_BYTES as u64).expect("a legal size")
}

#[divan::bench]
fn hash_a_whole_block(bencher: Bencher) {
    let bytes = vec![7; BLOCK_BYTES];
    bencher
        .counter(BytesCount::new(BLOCK_BYTES))
        .bench_local(|| hash_block(BlockIndex::FIRST, file(2), black_box(&bytes)));
}

/// As chunks arrive.
#[divan::bench(args = [4 << 10, 16 << 10, 64 << 10])]
fn hash_a_block_in_pieces(bencher: Bencher, piece: usize) {
    let bytes = vec![7; BLOCK_BYTES];
    bencher.counter(BytesCount::new(BLOCK_BYTES)).bench_local(|| {
        let mut hasher = BlockHasher::new(BlockIndex::FIRST, file(2));
        black_box(&bytes).chunks(piece).for_each(|bytes| hasher.update(bytes));
        hasher.finish()
    });
}

/// 1 GiB, and 64 GiB.
#[divan::bench(args = [1 << 10, 1 << 16])]
fn hash_a_file_of_blocks(bencher: Bencher, blocks: u64) {
    let values = vec![ChainingValue::from_bytes([7; 32]); usize::try_from(blocks).unwrap_or(0)];
    bencher
        .counter(ItemsCount::new(blocks))
        .bench_local(|| hash_file(file(blocks), black_box(&values).iter().copied()));
}
