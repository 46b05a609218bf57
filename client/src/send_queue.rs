//! The frames that wait to be written to the socket, and how much of them is written.
//!
//! The payload stays in the buffer that it was read into: the chunk heads of a block and slices of
//! its bytes are written together, in vectored writes.

use crate::block_reader::Block;
use std::collections::VecDeque;
use std::io::IoSlice;
use towline_protocol::Channel;
use towline_protocol::frame::{self, BLOCK_FRAME_BYTES, CHUNK_HEAD_BYTES};
use towline_types::Offset;

/// The number of slices in one write: enough for a block in chunks of 32 KiB.
pub(crate) const SLICES: usize = 66;

/// The number of blocks in the queue. While the next block is fetched, the socket still has bytes
/// of the last one; with two blocks, the first would no longer be in the processor's cache when it
/// is written.
const BLOCKS: usize = 1;

/// Small frames are gathered into buffers of at most this number of bytes.
const GATHER_BYTES: usize = 64 << 10;

/// A queue of frames. [`slices`](Self::slices) shows what to write next, and
/// [`advance`](Self::advance) takes the number of bytes that were written.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    items: VecDeque<Item>,
    /// How many bytes of the first item are written.
    written: usize,
    blocks: usize,
    payload_bytes: u64,
}

#[derive(Debug)]
enum Item {
    /// Whole frames.
    Frames(Vec<u8>),
    Block(Framed),
    /// One chunk frame.
    Chunk(Vec<u8>),
}

/// A block cut into chunk frames, and its block frame.
#[derive(Debug)]
struct Framed {
    block: Block,
    heads: Vec<[u8; CHUNK_HEAD_BYTES]>,
    chunk_bytes: usize,
    value: [u8; BLOCK_FRAME_BYTES],
    /// The length of the item in bytes; shorter than the frames once the item was cut.
    end: usize,
}

impl SendQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether one more block may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.blocks < BLOCKS
    }

    pub(crate) fn push_frames(&mut self, frames: Vec<u8>) {
        match self.items.back_mut() {
            // So that many small messages become few large writes.
            Some(Item::Frames(last)) if last.len() + frames.len() <= GATHER_BYTES => {
                last.extend_from_slice(&frames);
            }
            _ if frames.is_empty() => {}
            _ => self.items.push_back(Item::Frames(frames)),
        }
    }

    pub(crate) fn push_block(&mut self, channel: Channel, chunk_bytes: u32, block: Block) {
        self.blocks += 1;
        self.items.push_back(Item::Block(Framed::new(channel, chunk_bytes, block)));
    }

    /// One chunk, which counts as a block for the room that there is.
    pub(crate) fn push_chunk(&mut self, channel: Channel, offset: Offset, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("a chunk is at most a block");
        let head = frame::chunk_head(channel, offset, length);
        self.blocks += 1;
        self.items.push_back(Item::Chunk([&head[..], bytes].concat()));
    }

    /// Fills in what to write next, and returns the number of slices.
    pub(crate) fn slices<'a>(
        &'a self,
        slices: &mut [IoSlice<'a>; SLICES],
        bytes_max: usize,
    ) -> usize {
        let mut count = 0;
        let mut room = bytes_max;
        let mut position = self.written;
        for item in &self.items {
            while position < item.end() {
                if count == SLICES || room == 0 {
                    return count;
                }
                let slice = item.slice_at(position);
                let slice = &slice[..slice.len().min(room)];
                room -= slice.len();
                slices[count] = IoSlice::new(slice);
                count += 1;
                position += slice.len();
            }
            position = 0;
        }
        count
    }

    /// Takes note that `count` bytes were written.
    pub(crate) fn advance(&mut self, count: usize) {
        let mut from = self.written;
        self.written += count;
        while let Some(item) = self.items.front().filter(|item| item.end() <= self.written) {
            self.payload_bytes += item.payload_between(from, item.end());
            from = 0;
            self.written -= item.end();
            self.blocks -= usize::from(item.takes_room());
            self.items.pop_front();
        }
        if let Some(item) = self.items.front() {
            self.payload_bytes += item.payload_between(from, self.written);
        }
    }

    /// Drops everything, also the rest of a frame that is half written.
    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.written = 0;
        self.blocks = 0;
    }

    /// How many bytes of files were written so far.
    pub(crate) fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Drops everything except the rest of the frame that is half written.
    pub(crate) fn cut_after_frame(&mut self) {
        self.items.truncate(1);
        if let Some(Item::Block(framed)) = self.items.front_mut() {
            framed.end = framed.frame_end(self.written);
        } else if self.written == 0 {
            self.items.clear();
        }
        self.blocks = usize::from(self.items.front().is_some_and(Item::takes_room));
        self.advance(0);
    }
}

impl Item {
    fn takes_room(&self) -> bool {
        matches!(self, Self::Block(_) | Self::Chunk(_))
    }

    fn end(&self) -> usize {
        match self {
            Self::Frames(bytes) | Self::Chunk(bytes) => bytes.len(),
            Self::Block(framed) => framed.end,
        }
    }

    fn slice_at(&self, position: usize) -> &[u8] {
        match self {
            Self::Frames(bytes) | Self::Chunk(bytes) => &bytes[position..],
            Self::Block(framed) => framed.slice_at(position),
        }
    }

    fn payload_between(&self, from: usize, to: usize) -> u64 {
        match self {
            Self::Frames(_) => 0,
            Self::Chunk(_) => {
                let before = |place: usize| place.saturating_sub(CHUNK_HEAD_BYTES);
                (before(to) - before(from)) as u64
            }
            Self::Block(framed) => (framed.payload_before(to) - framed.payload_before(from)) as u64,
        }
    }
}

impl Framed {
    fn new(channel: Channel, chunk_bytes: u32, block: Block) -> Self {
        let chunk_bytes = chunk_bytes.max(1) as usize;
        let start = block.index.start().plus(block.skip_bytes() as u64);
        let mut offset = start;
        let heads: Vec<_> = block
            .payload()
            .chunks(chunk_bytes)
            .map(|chunk| {
                let length = u32::try_from(chunk.len()).expect("a chunk is at most a block");
                let head = frame::chunk_head(channel, offset, length);
                offset = offset.plus(chunk.len() as u64);
                head
            })
            .collect();
        let value = frame::block(channel, block.index, block.value);
        let mut framed = Self { block, heads, chunk_bytes, value, end: 0 };
        framed.end = framed.chunks_end() + BLOCK_FRAME_BYTES;
        framed
    }

    /// The position where the chunks end and the block frame begins.
    fn chunks_end(&self) -> usize {
        self.heads.len() * CHUNK_HEAD_BYTES + self.block.payload().len()
    }

    /// How many payload bytes lie before `position`.
    fn payload_before(&self, position: usize) -> usize {
        let stride = CHUNK_HEAD_BYTES + self.chunk_bytes;
        let within = (position % stride).saturating_sub(CHUNK_HEAD_BYTES);
        (position / stride * self.chunk_bytes + within).min(self.block.payload().len())
    }

    /// The bytes from `position` on that lie together in memory.
    fn slice_at(&self, position: usize) -> &[u8] {
        let stop = self.end - position;
        let slice = if let Some(within) = position.checked_sub(self.chunks_end()) {
            &self.value[within..]
        } else {
            let stride = CHUNK_HEAD_BYTES + self.chunk_bytes;
            let (chunk, within) = (position / stride, position % stride);
            if let Some(within) = within.checked_sub(CHUNK_HEAD_BYTES) {
                let payload = self.block.payload();
                let first = chunk * self.chunk_bytes;
                &payload[first + within..payload.len().min(first + self.chunk_bytes)]
            } else {
                &self.heads[chunk][within..]
            }
        };
        &slice[..slice.len().min(stop)]
    }

    /// The end of the frame that contains `position`, or the position itself where it lies between
    /// two frames.
    fn frame_end(&self, position: usize) -> usize {
        let chunks_end = self.chunks_end();
        if position >= chunks_end {
            return if position == chunks_end { position } else { self.end };
        }
        let stride = CHUNK_HEAD_BYTES + self.chunk_bytes;
        (position.div_ceil(stride) * stride).min(chunks_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_reader::BlockReader;
    use crate::plan::BlockRange;
    use crate::source::Source;
    use std::io::Write as _;
    use std::sync::Arc;
    use towline_protocol::frame::{Decoder, FrameLimits, Part};
    use towline_types::BlockIndex;

    async fn block(bytes: &[u8], skip_bytes: u64) -> Block {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let source = Arc::new(Source::open(file.path()).unwrap());
        let mut reader = BlockReader::new(source);
        reader.read(BlockRange { skip_bytes, ..BlockRange::whole(BlockIndex::FIRST) });
        reader.next().await.unwrap()
    }

    /// Writes everything, at most `bite` bytes at a time.
    fn drain(send_queue: &mut SendQueue, bite: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while !send_queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = send_queue.slices(&mut slices, usize::MAX);
            let bytes: Vec<u8> =
                slices[..count].iter().flat_map(|slice| slice.iter().copied()).take(bite).collect();
            assert!(!bytes.is_empty());
            send_queue.advance(bytes.len());
            written.extend(bytes);
        }
        written
    }

    /// The payload and the number of block frames in `bytes`; panics where a frame is incomplete.
    fn decode(bytes: &[u8]) -> (Vec<u8>, usize) {
        let mut decoder = Decoder::new(FrameLimits::SERVER);
        let (mut payload, mut blocks, mut rest) = (Vec::new(), 0, bytes);
        while !rest.is_empty() || !decoder.is_between_frames() {
            if let Some(part) = decoder.next_part().unwrap() {
                match part {
                    Part::Chunk { length, .. } => {
                        let mut chunk = vec![0; length as usize];
                        let taken = decoder.take_payload(&mut chunk);
                        let left = chunk.len() - taken;
                        chunk[taken..].copy_from_slice(&rest[..left]);
                        decoder.payload_came(left);
                        rest = &rest[left..];
                        payload.extend(chunk);
                    }
                    Part::Block { .. } => blocks += 1,
                    _ => {}
                }
                continue;
            }
            assert!(!rest.is_empty(), "a frame is torn");
            let space = decoder.space();
            let count = space.len().min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            decoder.filled(count);
            rest = &rest[count..];
        }
        (payload, blocks)
    }

    #[tokio::test]
    async fn whatever_the_socket_takes_the_frames_are_the_same() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| i.to_le_bytes()[0]).collect();
        for chunk_bytes in [1000, 4096, 65_536, 1 << 20] {
            for skip in [0, 1, 4096, 99_999, 100_000] {
                let mut whole = None;
                for bite in [1_000_000, 65_553, 7001, 16] {
                    let mut send_queue = SendQueue::default();
                    send_queue.push_frames(frame::control(&serde_json::json!({"action":"ping"})));
                    send_queue.push_block(Channel(3), chunk_bytes, block(&bytes, skip).await);
                    send_queue.push_frames(frame::control(&serde_json::json!({"action":"ping"})));
                    let written = drain(&mut send_queue, bite);
                    assert_eq!(send_queue.payload_bytes(), 100_000 - skip);
                    let (payload, blocks) = decode(&written);
                    assert_eq!(payload, bytes[usize::try_from(skip).unwrap()..]);
                    assert_eq!(blocks, 1);
                    assert_eq!(whole.get_or_insert_with(|| written.clone()), &written);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_pause_ends_between_two_frames() {
        let bytes = vec![9; 10_000];
        for written in [0, 1, 30, 31, 32, 4113, 4114, 10_081, 10_082, 10_083, 10_100] {
            let mut send_queue = SendQueue::default();
            send_queue.push_frames(frame::control(&serde_json::json!({"action":"ping"})));
            send_queue.push_block(Channel(1), 4096, block(&bytes, 0).await);
            send_queue.push_block(Channel(1), 4096, block(&bytes, 0).await);
            let mut all = Vec::new();
            let mut left = written;
            while left > 0 {
                let mut slices = [IoSlice::new(&[]); SLICES];
                send_queue.slices(&mut slices, usize::MAX);
                let count = slices[0].len().min(left);
                all.extend_from_slice(&slices[0][..count]);
                send_queue.advance(count);
                left -= count;
            }
            send_queue.cut_after_frame();
            let rest = drain(&mut send_queue, 1 << 20);
            assert!(rest.len() < 4096 + 100);
            all.extend(rest);
            let (payload, _) = decode(&all);
            assert_eq!(send_queue.payload_bytes(), payload.len() as u64);
            assert!(send_queue.has_room());
        }
    }
}
