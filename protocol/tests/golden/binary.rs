//! Chunks, blocks and block lists, with their golden bytes.

use crate::file::*;
use crate::values::*;
use towline_protocol::frame::{self, Channel, FrameLimits, Part};
use towline_types::{BlockIndex, ChainingValue, Offset};

/// What a frame that is no control message carries.
enum Binary {
    Chunk(Channel, Offset, &'static [u8]),
    Block(Channel, BlockIndex, ChainingValue),
    BlockList(Channel, Vec<(BlockIndex, ChainingValue)>),
}

#[test]
fn binary_frames_have_their_golden_bytes() {
    let far = offset(i64::MAX.cast_unsigned() - 1);
    let ab = ChainingValue::from_bytes([0xab; 32]);
    let list = vec![(index(1), value(VALUE_1)), (index(2), value(VALUE_2))];
    let meanings = vec![
        ("chunk-first", Binary::Chunk(Channel(0), Offset::ZERO, b"T")),
        ("chunk", Binary::Chunk(Channel(7), offset(65_536), b"Towline")),
        ("chunk-far", Binary::Chunk(Channel(u32::MAX), far, b"\0")),
        ("block", Binary::Block(Channel(7), index(1), value(VALUE_1))),
        ("block-far", Binary::Block(Channel(0), index((1 << 43) - 1), ab)),
        ("block-list", Binary::BlockList(Channel(7), list)),
    ];
    for (golden, meaning) in paired(include_str!("binary.hex"), meanings) {
        let name = &golden.name;
        match meaning {
            Binary::Chunk(channel, offset, payload) => {
                let length = u32::try_from(payload.len()).unwrap();
                let mut frame = frame::chunk_head(channel, offset, length).to_vec();
                frame.extend_from_slice(payload);
                assert_eq!(frame, golden.bytes, "{name}");

                for limits in [FrameLimits::SERVER, FrameLimits::READING_CLIENT] {
                    let mut decoder = fed(limits, &golden.bytes);
                    let part = Part::Chunk { channel, offset, length };
                    assert_eq!(decoder.next_part(), Ok(Some(part)));
                    let mut taken = vec![0; payload.len()];
                    assert_eq!(decoder.take_payload(&mut taken), payload.len());
                    assert_eq!(taken, payload, "{name}");
                    assert!(decoder.is_between_frames());
                }
            }
            Binary::Block(channel, index, value) => {
                assert_eq!(frame::block(channel, index, value)[..], golden.bytes, "{name}");
                for limits in [FrameLimits::SERVER, FrameLimits::READING_CLIENT] {
                    let mut decoder = fed(limits, &golden.bytes);
                    let part = Part::Block { channel, index, value };
                    assert_eq!(decoder.next_part(), Ok(Some(part)));
                    assert!(decoder.is_between_frames());
                }
            }
            Binary::BlockList(channel, blocks) => {
                assert_eq!(frame::block_lists(channel, &blocks), golden.bytes, "{name}");
                let mut decoder = fed(FrameLimits::CLIENT, &golden.bytes);
                let first = blocks[0].0;
                let values = blocks.into_iter().map(|(_, value)| value).collect();
                let part = Part::BlockList { channel, first, values };
                assert_eq!(decoder.next_part(), Ok(Some(part)));
                assert!(decoder.is_between_frames());
            }
        }
    }
}

#[test]
fn block_lists_are_cut_at_gaps_and_at_the_cap() {
    let value = ChainingValue::from_bytes([7; 32]);
    let most = u64::from(towline_protocol::limits::BLOCK_LIST_VALUES_MAX);
    let indices = [0, 1, 4].into_iter().chain(10..10 + most + 1);
    let blocks: Vec<_> = indices.map(|at| (index(at), value)).collect();
    let mut decoder = fed(FrameLimits::CLIENT, &frame::block_lists(Channel(3), &blocks));
    let mut runs = Vec::new();
    while let Some(part) = decoder.next_part().unwrap() {
        let Part::BlockList { channel: Channel(3), first, values } = part else { panic!() };
        runs.push((first.get(), values.len() as u64));
    }
    assert_eq!(runs, [(0, 2), (4, 1), (10, most), (10 + most, 1)]);
    assert!(frame::block_lists(Channel(3), &[]).is_empty());
}
