//! What framing costs: heads written and read, payload passed by.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use towline_protocol::frame::{self, Channel, Decoder, FrameLimits, Part};
use towline_types::{BlockIndex, ChainingValue, Offset};

fn main() {
    divan::main();
}

const CHUNK_BYTES: [u32; 3] = [4 << 10, 64 << 10, 1 << 20];

/// The head of a chunk; its payload is sent from where it lies.
#[divan::bench]
fn encode_chunk_head() -> [u8; frame::CHUNK_HEAD_BYTES] {
    frame::chunk_head(black_box(Channel(7)), black_box(Offset::ZERO), black_box(64 << 10))
}

#[divan::bench]
fn encode_block() -> [u8; frame::BLOCK_FRAME_BYTES] {
    let value = ChainingValue::from_bytes([7; 32]);
    frame::block(black_box(Channel(7)), black_box(BlockIndex::FIRST), black_box(value))
}

/// A chunk as a server takes it: its head through the decoder, its payload past it.
#[divan::bench(args = CHUNK_BYTES)]
fn decode_chunk(bencher: Bencher, length: u32) {
    let head = frame::chunk_head(Channel(7), Offset::ZERO, length);
    let mut decoder = Decoder::new(FrameLimits::SERVER);
    let mut block = vec![0; length as usize];
    let payload = vec![1; length as usize];
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        feed(&mut decoder, &head);
        assert!(matches!(decoder.next_part(), Ok(Some(Part::Chunk { .. }))));
        // In the place of the read from the socket.
        block.copy_from_slice(black_box(&payload));
        decoder.payload_came(payload.len());
    });
}

#[divan::bench]
fn decode_block(bencher: Bencher) {
    let bytes = frame::block(Channel(7), BlockIndex::FIRST, ChainingValue::from_bytes([7; 32]));
    let mut decoder = Decoder::new(FrameLimits::SERVER);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        feed(&mut decoder, black_box(&bytes));
        assert!(matches!(decoder.next_part(), Ok(Some(Part::Block { .. }))));
    });
}

/// As bytes come from a socket.
fn feed(decoder: &mut Decoder, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = decoder.space();
        let count = space.len().min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        decoder.filled(count);
        bytes = &bytes[count..];
    }
}
