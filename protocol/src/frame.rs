//! Frames: the bytes between two parties, before anybody asks what they mean.
//!
//! ```text
//! ┌────────────┬────────┬───────────────────────────────┐
//! │ length u32 │ kind   │ body                          │
//! └────────────┴────────┴───────────────────────────────┘
//!   control 1:  JSON object
//!   chunk 2:    channel u32 · offset u64 · payload (≥ 1 byte)
//!   block 3:    channel u32 · index u64 · value (32 bytes)
//!   block list 4: channel u32 · first index u64 · values (32 bytes each)
//! ```
//!
//! `length` counts the kind and the body. All integers are big-endian.

mod decoder;
mod pages;

pub(crate) use pages::{pages, pages_without_end};

pub use decoder::{Decoder, FrameError, FrameLimits, Part};

use crate::limits::{BLOCK_LIST_VALUES_MAX, CHUNK_HEADER_BYTES, LENGTH_PREFIX_BYTES, VALUE_BYTES};
use serde::{Deserialize, Serialize};
use std::fmt;
use towline_types::{BlockIndex, ChainingValue, Offset};

/// Which of a connection's uploads a frame belongs to; the client chooses it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Channel(pub u32);

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A JSON object with an `action`.
    Control = 1,
    /// A piece of a file.
    Chunk = 2,
    /// The chaining value of one block.
    Block = 3,
    /// Chaining values of consecutive blocks that the server holds.
    BlockList = 4,
}

impl Kind {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Control),
            2 => Some(Self::Chunk),
            3 => Some(Self::Block),
            4 => Some(Self::BlockList),
            _ => None,
        }
    }
}

/// The length of everything before a chunk's payload.
pub const CHUNK_HEAD_BYTES: usize = LENGTH_PREFIX_BYTES + CHUNK_HEADER_BYTES as usize;

/// The length of a whole block frame.
pub const BLOCK_FRAME_BYTES: usize = CHUNK_HEAD_BYTES + VALUE_BYTES as usize;

/// A control frame around a message.
///
/// # Panics
/// Never: control messages hold only text and numbers.
#[must_use]
pub fn control(message: &impl Serialize) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 0, Kind::Control as u8];
    serde_json::to_writer(&mut frame, message).expect("a message is always JSON");
    let length = u32::try_from(frame.len() - LENGTH_PREFIX_BYTES).expect("a message is short");
    frame[..LENGTH_PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    frame
}

/// What precedes the payload of a chunk; `length` is the payload's, at least 1
/// and at most [`CHUNK_BYTES_MAX`](crate::limits::CHUNK_BYTES_MAX).
#[must_use]
pub fn chunk_head(channel: Channel, offset: Offset, length: u32) -> [u8; CHUNK_HEAD_BYTES] {
    head(Kind::Chunk, length + CHUNK_HEADER_BYTES, channel, offset.get())
}

/// A block frame.
#[must_use]
pub fn block(channel: Channel, index: BlockIndex, value: ChainingValue) -> [u8; BLOCK_FRAME_BYTES] {
    let length = CHUNK_HEADER_BYTES + VALUE_BYTES;
    let mut frame = [0; BLOCK_FRAME_BYTES];
    frame[..CHUNK_HEAD_BYTES].copy_from_slice(&head(Kind::Block, length, channel, index.get()));
    frame[CHUNK_HEAD_BYTES..].copy_from_slice(value.as_bytes());
    frame
}

/// The block list frames that carry these blocks, which must be in ascending
/// order: one frame for each run of neighbours, split where the cap demands it.
#[must_use]
pub fn block_lists(channel: Channel, blocks: &[(BlockIndex, ChainingValue)]) -> Vec<u8> {
    let mut frames = Vec::new();
    let neighbours = blocks.chunk_by(|(left, _), (right, _)| left.next() == *right);
    for run in neighbours.flat_map(|run| run.chunks(BLOCK_LIST_VALUES_MAX as usize)) {
        let values = u32::try_from(run.len()).expect("a list is at most the cap");
        let length = CHUNK_HEADER_BYTES + values * VALUE_BYTES;
        frames.extend_from_slice(&head(Kind::BlockList, length, channel, run[0].0.get()));
        for (_, value) in run {
            frames.extend_from_slice(value.as_bytes());
        }
    }
    frames
}

fn head(kind: Kind, length: u32, channel: Channel, position: u64) -> [u8; CHUNK_HEAD_BYTES] {
    let mut head = [0; CHUNK_HEAD_BYTES];
    head[0..4].copy_from_slice(&length.to_be_bytes());
    head[4] = kind as u8;
    head[5..9].copy_from_slice(&channel.0.to_be_bytes());
    head[9..17].copy_from_slice(&position.to_be_bytes());
    head
}
