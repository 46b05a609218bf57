//! The decoder finds the same frames in a stream however the stream is cut into reads, and they are
//! the frames that `SPEC.md` describes: this file has a second, much simpler reader of section 2 to
//! compare with.

use super::input::Input;
use std::mem;
use towline_protocol::frame::{Decoder, FrameError, FrameLimits, Part};
use towline_protocol::limits::CHUNK_BYTES_MAX;

/// An item of a stream. A chunk has as much of its payload as the stream has.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Control(Vec<u8>),
    Chunk { channel: u32, offset: u64, length: u32, payload: Vec<u8> },
    Block { channel: u32, index: u64, value: [u8; 32] },
    BlockList { channel: u32, first: u64, values: Vec<[u8; 32]> },
    Broken(FrameError),
}

/// The lengths of the reads from a stream.
#[derive(Debug, Clone, Copy)]
struct Reading<'a> {
    /// The largest number of bytes of each read; the list is repeated.
    reads: &'a [usize],
    /// Payload is taken from the reads directly wherever the decoder allows that.
    straight: bool,
}

/// The first byte of the input chooses which frames are allowed, and the second byte chooses how
/// many lengths of reads follow; the rest is the stream.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let (first, then) = match choice % 5 {
        0 => (FrameLimits::LOGIN, FrameLimits::SERVER),
        1 => (FrameLimits::SERVER, FrameLimits::SERVER),
        2 if choice & 0x80 != 0 => (FrameLimits::CLIENT, FrameLimits::READING_CLIENT),
        2 => (FrameLimits::CLIENT, FrameLimits::CLIENT),
        3 => (FrameLimits::LOGIN, FrameLimits::LOGIN),
        _ => {
            let small = FrameLimits {
                control_bytes: u32::from(input.byte()),
                chunk_bytes: u32::from(input.byte()),
                blocks: choice & 0x80 != 0,
                block_list_values: u32::from(input.byte() % 8),
            };
            (small, small)
        }
    };
    let count = usize::from(input.byte() % 16);
    let mut reads: Vec<usize> = (0..count).map(|_| usize::from(input.byte()) + 1).collect();
    reads.push(usize::MAX);
    let stream = input.rest();
    let expected = plainly(first, then, stream);
    for reads in [&[usize::MAX][..], &[1], &reads] {
        for straight in [false, true] {
            let reading = Reading { reads, straight };
            let found = decoded(first, then, stream, reading);
            assert_eq!(found, expected, "{reading:?}");
        }
    }
}

/// The items that the decoder finds.
fn decoded(
    first: FrameLimits,
    then: FrameLimits,
    mut stream: &[u8],
    reading: Reading<'_>,
) -> Vec<Found> {
    let mut decoder = Decoder::new(first);
    let mut found = Vec::new();
    let mut reads = reading.reads.iter().copied().cycle();
    let longest = longest(&first).max(longest(&then));
    loop {
        loop {
            let part = match decoder.next_part() {
                Ok(Some(part)) => own(part),
                Ok(None) => break,
                Err(error) => {
                    found.push(Found::Broken(error));
                    return found;
                }
            };
            found.push(part);
            decoder.set_limits(then);
            take_buffered(&mut decoder, &mut found);
        }
        if stream.is_empty() {
            break;
        }
        let most = reads.next().unwrap_or(1).min(stream.len());
        let left = decoder.payload_left();
        let count = if left > 0 && reading.straight && !decoder.has_buffered() {
            let count = most.min(left);
            decoder.payload_came(count);
            payload_of(&mut found).extend_from_slice(&stream[..count]);
            count
        } else {
            let space = decoder.space();
            assert!(!space.is_empty(), "there is always room");
            assert!(space.len() <= longest, "room for {} bytes", space.len());
            let count = most.min(space.len());
            space[..count].copy_from_slice(&stream[..count]);
            decoder.filled(count);
            take_buffered(&mut decoder, &mut found);
            count
        };
        stream = &stream[count..];
    }
    let is_cut = match found.last() {
        Some(Found::Chunk { length, payload, .. }) => payload.len() < *length as usize,
        _ => false,
    };
    assert_eq!(decoder.payload_left() > 0, is_cut, "payload is counted");
    assert!(!(decoder.is_between_frames() && is_cut), "a cut chunk is no good end");
    found
}

/// The largest number of bytes that the decoder may ask for: one frame that it holds whole, or a
/// few pages for many short frames.
fn longest(caps: &FrameLimits) -> usize {
    let lists = caps.block_list_values as usize * 32 + 13;
    (4 + lists.max(caps.control_bytes as usize + 1)).max(8 << 10)
}

fn take_buffered(decoder: &mut Decoder, found: &mut [Found]) {
    let mut scratch = [0; 1000];
    while decoder.payload_left() > 0 && decoder.has_buffered() {
        let count = decoder.take_payload(&mut scratch);
        assert!(count > 0, "buffered payload can be taken");
        payload_of(found).extend_from_slice(&scratch[..count]);
    }
}

fn payload_of(found: &mut [Found]) -> &mut Vec<u8> {
    match found.last_mut() {
        Some(Found::Chunk { payload, .. }) => payload,
        other => panic!("payload belongs to a chunk, not to {other:?}"),
    }
}

fn own(part: Part<'_>) -> Found {
    match part {
        Part::Control(json) => Found::Control(json.to_vec()),
        Part::Chunk { channel, offset, length } => {
            Found::Chunk { channel: channel.0, offset: offset.get(), length, payload: Vec::new() }
        }
        Part::Block { channel, index, value } => {
            Found::Block { channel: channel.0, index: index.get(), value: *value.as_bytes() }
        }
        Part::BlockList { channel, first, values } => Found::BlockList {
            channel: channel.0,
            first: first.get(),
            values: values.iter().map(|value| *value.as_bytes()).collect(),
        },
    }
}

/// The items of the same stream by the rules of `SPEC.md`.
fn plainly(first: FrameLimits, then: FrameLimits, mut stream: &[u8]) -> Vec<Found> {
    let (mut caps, mut found) = (first, Vec::new());
    while let Some((next, rest)) = one_plainly(mem::replace(&mut caps, then), stream) {
        let is_broken = matches!(next, Found::Broken(_));
        found.push(next);
        if is_broken {
            break;
        }
        stream = rest;
    }
    found
}

/// The first frame of a stream and the bytes after it; nothing while the frame is not complete.
fn one_plainly(caps: FrameLimits, stream: &[u8]) -> Option<(Found, &[u8])> {
    let broken = |error| Some((Found::Broken(error), stream));
    let length = u32::from_be_bytes(*stream.first_chunk()?);
    let absolute = CHUNK_BYTES_MAX + 13;
    match length {
        0 => return broken(FrameError::Empty),
        _ if length > absolute => {
            return broken(FrameError::TooLarge { length, max: absolute });
        }
        _ => {}
    }
    let kind = *stream.get(4)?;
    let (max, fits) = match kind {
        1 if caps.control_bytes > 0 => (caps.control_bytes + 1, true),
        2 if caps.chunk_bytes > 0 => (caps.chunk_bytes + 13, length >= 14),
        3 if caps.blocks => (45, length == 45),
        4 if caps.block_list_values > 0 => {
            (caps.block_list_values * 32 + 13, length >= 45 && (length - 13) % 32 == 0)
        }
        _ => return broken(FrameError::UnknownKind(kind)),
    };
    if length > max {
        return broken(FrameError::TooLarge { length, max });
    }
    if !fits {
        return broken(FrameError::BadLength { kind, length });
    }
    let end = 4 + length as usize;
    if kind == 1 {
        return Some((Found::Control(stream.get(5..end)?.to_vec()), &stream[end..]));
    }
    if kind != 2 && stream.len() < end {
        return None;
    }
    let channel = u32::from_be_bytes(*stream.get(5..)?.first_chunk()?);
    let position = u64::from_be_bytes(*stream.get(9..)?.first_chunk()?);
    if position > if kind == 2 { (1 << 63) - 1 } else { (1 << 43) - 1 } {
        return broken(FrameError::BadPosition(position));
    }
    if kind == 2 && position + u64::from(length - 13) > (1 << 63) - 1 {
        return broken(FrameError::BadPosition(position));
    }
    if kind == 2 {
        let end = end.min(stream.len());
        let payload = stream[17..end].to_vec();
        let chunk = Found::Chunk { channel, offset: position, length: length - 13, payload };
        return Some((chunk, &stream[end..]));
    }
    let values = stream[17..end].as_chunks::<32>().0.to_vec();
    let found = if kind == 3 {
        Found::Block { channel, index: position, value: values[0] }
    } else {
        Found::BlockList { channel, first: position, values }
    };
    Some((found, &stream[end..]))
}
