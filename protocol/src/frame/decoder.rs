//! Turns a stream of bytes into frames, without a socket.
//!
//! The owner of the socket reads into [`Decoder::space`], says how much came
//! ([`Decoder::filled`]) and asks for the [`next_part`](Decoder::next_part). After
//! [`Part::Chunk`] the payload is the owner's affair: first what the decoder has
//! already ([`Decoder::take_payload`]), then straight from the socket into the
//! place where the bytes belong ([`Decoder::payload_came`]), so that payload is
//! not copied through here.

use super::{CHUNK_HEAD_BYTES, Channel, Kind};
use crate::limits::{
    BLOCK_LIST_VALUES_MAX, CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, CONTROL_BYTES_MAX, FRAME_BYTES_MAX,
    HELLO_BYTES_MAX, LENGTH_PREFIX_BYTES, VALUE_BYTES,
};
use towline_types::{BlockIndex, ChainingValue, Offset};

/// What one side accepts from the other. Zero forbids a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// The longest control message.
    pub control_bytes: u32,
    /// The longest payload of a chunk.
    pub chunk_bytes: u32,
    /// Whether block frames may come.
    pub blocks: bool,
    /// The most values in one block list.
    pub block_list_values: u32,
}

impl FrameLimits {
    /// What a server accepts before login: one short control message.
    pub const LOGIN: Self = Self {
        control_bytes: HELLO_BYTES_MAX,
        chunk_bytes: 0,
        blocks: false,
        block_list_values: 0,
    };

    /// What a server accepts from a client that is logged in.
    pub const SERVER: Self = Self {
        control_bytes: CONTROL_BYTES_MAX,
        chunk_bytes: CHUNK_BYTES_MAX,
        blocks: true,
        block_list_values: 0,
    };

    /// What a client accepts from a server that it asks for no bytes of files.
    pub const CLIENT: Self = Self {
        control_bytes: CONTROL_BYTES_MAX,
        chunk_bytes: 0,
        blocks: false,
        block_list_values: BLOCK_LIST_VALUES_MAX,
    };

    /// What a client accepts from a server while it reads files.
    pub const READING_CLIENT: Self =
        Self { chunk_bytes: CHUNK_BYTES_MAX, blocks: true, ..Self::CLIENT };
}

/// The peer broke the framing. Nothing after it can be understood, so the
/// connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length of zero: not even a kind.
    #[error("a frame of length 0")]
    Empty,
    /// A kind that does not exist, or that this side does not accept.
    #[error("a frame of kind {0} is not accepted here")]
    UnknownKind(u8),
    /// Longer than its kind may be.
    #[error("a frame of {length} bytes where at most {max} are allowed")]
    TooLarge {
        /// What the frame said of itself.
        length: u32,
        /// What is allowed.
        max: u32,
    },
    /// Too short for its kind, or not a whole number of values.
    #[error("a frame of kind {kind} cannot be {length} bytes long")]
    BadLength {
        /// The kind byte.
        kind: u8,
        /// What the frame said of itself.
        length: u32,
    },
    /// An offset or index beyond any file.
    #[error("position {0} lies beyond any file")]
    BadPosition(u64),
}

/// What the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A whole control message: JSON, not yet looked at.
    Control(&'a [u8]),
    /// A chunk begins; its payload follows.
    Chunk {
        /// Whose it is.
        channel: Channel,
        /// Where its first byte belongs.
        offset: Offset,
        /// The length of the payload, at least 1.
        length: u32,
    },
    /// The value of a block.
    Block {
        /// Whose it is.
        channel: Channel,
        /// Which block.
        index: BlockIndex,
        /// Its value.
        value: ChainingValue,
    },
    /// Values of consecutive blocks.
    BlockList {
        /// Whose they are.
        channel: Channel,
        /// The block of the first value.
        first: BlockIndex,
        /// The values.
        values: Vec<ChainingValue>,
    },
}

/// Room for many small control messages in one read.
const SPACE_BYTES: usize = 4 << 10;

/// Behind a chunk at least this long the decoder reads heads alone: the bytes
/// that follow are most likely payload, and belong elsewhere.
const LEAN_ABOVE_BYTES: u32 = 8 << 10;

/// See the module's description.
#[derive(Debug)]
pub struct Decoder {
    frame_limits: FrameLimits,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    payload_left: u32,
    lean: bool,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub fn new(frame_limits: FrameLimits) -> Self {
        Self { frame_limits, buffer: Vec::new(), start: 0, end: 0, payload_left: 0, lean: false }
    }

    /// Accepts other frames from now on: after login.
    pub fn set_limits(&mut self, frame_limits: FrameLimits) {
        self.frame_limits = frame_limits;
    }

    /// Where the next bytes of the stream may be put. Never empty. The beginning of
    /// a payload may come this way too, while its own place is not yet at hand.
    pub fn space(&mut self) -> &mut [u8] {
        let wanted = self.wanted();
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let needed = match wanted {
            _ if self.payload_left > 0 => SPACE_BYTES,
            ..=CHUNK_HEAD_BYTES if self.lean => CHUNK_HEAD_BYTES,
            _ => SPACE_BYTES.max(wanted),
        };
        // Never empty, not even for an owner that leaves parts waiting.
        let needed = needed.max(self.end + 1);
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        } else if self.end == 0 && self.buffer.len() > 4 * SPACE_BYTES && needed <= SPACE_BYTES {
            // One long message must not cost a connection its length for ever.
            self.buffer = vec![0; SPACE_BYTES];
        }
        &mut self.buffer[self.end..needed]
    }

    /// Takes note that `count` bytes of [`space`](Self::space) were filled.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.buffer.len());
    }

    /// How much payload of the chunk announced last is still to come.
    #[must_use]
    pub fn payload_left(&self) -> usize {
        self.payload_left as usize
    }

    /// Whether the buffer has bytes that were not taken.
    #[must_use]
    pub fn has_buffered(&self) -> bool {
        self.start < self.end
    }

    /// Moves payload that was read together with its head into `to`.
    pub fn take_payload(&mut self, to: &mut [u8]) -> usize {
        let count = self.payload_left().min(to.len()).min(self.end - self.start);
        to[..count].copy_from_slice(&self.buffer[self.start..self.start + count]);
        self.start += count;
        self.payload_came(count);
        count
    }

    /// Takes note that `count` bytes of payload were read past the decoder.
    ///
    /// # Panics
    /// Where that is more than the chunk had left.
    pub fn payload_came(&mut self, count: usize) {
        let count = u32::try_from(count).expect("payload is at most a chunk");
        self.payload_left = self.payload_left.checked_sub(count).expect("payload ends");
    }

    /// Whether the stream could end here without cutting a frame in two.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.start == self.end && self.payload_left == 0
    }

    /// The first byte of the next frame, if it is here.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.buffer[self.start..self.end].first().copied()
    }

    /// The next part, or nothing while bytes are missing (or while payload is).
    ///
    /// # Errors
    /// Where the peer broke the framing; the decoder is of no use after it.
    pub fn next_part(&mut self) -> Result<Option<Part<'_>>, FrameError> {
        if self.payload_left > 0 {
            return Ok(None);
        }
        let bytes = &self.buffer[self.start..self.end];
        let Some((kind, length)) = self.head(bytes)? else { return Ok(None) };
        let frame = LENGTH_PREFIX_BYTES + length as usize;
        if kind == Kind::Chunk {
            let Some((channel, position)) = address(bytes) else { return Ok(None) };
            let offset =
                Offset::try_from(position).map_err(|_| FrameError::BadPosition(position))?;
            let payload = length - CHUNK_HEADER_BYTES;
            // Where the payload ends is an offset too.
            Offset::try_from(position + u64::from(payload))
                .map_err(|_| FrameError::BadPosition(position))?;
            self.start += CHUNK_HEAD_BYTES;
            self.payload_left = payload;
            self.lean = payload >= LEAN_ABOVE_BYTES;
            return Ok(Some(Part::Chunk { channel, offset, length: payload }));
        }
        if bytes.len() < frame {
            return Ok(None);
        }
        let body = self.start + LENGTH_PREFIX_BYTES + 1..self.start + frame;
        self.start += frame;
        if kind == Kind::Control {
            self.lean = false;
            return Ok(Some(Part::Control(&self.buffer[body])));
        }
        let bytes = &self.buffer[body.start - LENGTH_PREFIX_BYTES - 1..body.end];
        let Some((channel, position)) = address(bytes) else { return Ok(None) };
        let index = BlockIndex::new(position).ok_or(FrameError::BadPosition(position))?;
        let mut values = bytes[CHUNK_HEAD_BYTES..].as_chunks::<32>().0.iter().copied();
        Ok(Some(match kind {
            Kind::Block => {
                let value = ChainingValue::from_bytes(values.next().unwrap_or_default());
                Part::Block { channel, index, value }
            }
            _ => {
                let values = values.map(ChainingValue::from_bytes).collect();
                Part::BlockList { channel, first: index, values }
            }
        }))
    }

    /// Kind and length of the frame that begins here, checked against the limits.
    fn head(&self, bytes: &[u8]) -> Result<Option<(Kind, u32)>, FrameError> {
        let Some((prefix, rest)) = bytes.split_first_chunk::<LENGTH_PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix);
        // What no kind allows is refused by its length alone. For the rest the
        // kind is awaited: a chunk that may not come at all is not "too large".
        match length {
            0 => return Err(FrameError::Empty),
            1..=FRAME_BYTES_MAX => {}
            _ => return Err(FrameError::TooLarge { length, max: FRAME_BYTES_MAX }),
        }
        let Some(&byte) = rest.first() else { return Ok(None) };
        let kind = Kind::of(byte).ok_or(FrameError::UnknownKind(byte))?;
        let max = self.max_of(kind);
        if max == 0 {
            return Err(FrameError::UnknownKind(byte));
        }
        if length > max {
            return Err(FrameError::TooLarge { length, max });
        }
        let header = CHUNK_HEADER_BYTES;
        let legal = match kind {
            Kind::Control => true,
            Kind::Chunk => length > header,
            Kind::Block => length == header + VALUE_BYTES,
            Kind::BlockList => length > header && (length - header).is_multiple_of(VALUE_BYTES),
        };
        if legal {
            Ok(Some((kind, length)))
        } else {
            Err(FrameError::BadLength { kind: byte, length })
        }
    }

    /// The longest legal frame of a kind, kind byte and body; 0 where the kind
    /// is not accepted.
    fn max_of(&self, kind: Kind) -> u32 {
        let header = CHUNK_HEADER_BYTES;
        match kind {
            Kind::Control if self.frame_limits.control_bytes > 0 => {
                self.frame_limits.control_bytes + 1
            }
            Kind::Chunk if self.frame_limits.chunk_bytes > 0 => {
                self.frame_limits.chunk_bytes + header
            }
            Kind::Block if self.frame_limits.blocks => header + VALUE_BYTES,
            Kind::BlockList if self.frame_limits.block_list_values > 0 => {
                self.frame_limits.block_list_values * VALUE_BYTES + header
            }
            _ => 0,
        }
    }

    /// How long the frame at the front is, as far as that is known and as far
    /// as the decoder itself has to hold it.
    fn wanted(&self) -> usize {
        if self.payload_left > 0 {
            return 0;
        }
        let bytes = &self.buffer[self.start..self.end];
        match self.head(bytes) {
            Ok(Some((Kind::Chunk, _))) => CHUNK_HEAD_BYTES,
            Ok(Some((_, length))) => LENGTH_PREFIX_BYTES + length as usize,
            _ => LENGTH_PREFIX_BYTES + 1,
        }
    }
}

/// Channel and position from a frame's head, if the head is whole.
fn address(bytes: &[u8]) -> Option<(Channel, u64)> {
    let rest = bytes.get(LENGTH_PREFIX_BYTES + 1..CHUNK_HEAD_BYTES)?;
    let (channel, position) = rest.split_first_chunk::<4>()?;
    let position = position.first_chunk::<8>()?;
    Some((Channel(u32::from_be_bytes(*channel)), u64::from_be_bytes(*position)))
}
