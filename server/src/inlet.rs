//! What comes in on a connection: bytes made into control messages, block values
//! and pieces of payload.
//!
//! Payload goes from the socket straight into the buffer in which it is later
//! hashed and written. Chunks that follow each other share a buffer until their
//! block ends, so the size of a chunk costs next to nothing.

use crate::pool::{Buffer, Pool};
use crate::socket::Patient;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout};
use towline_protocol::block::BLOCK_SIZE_BYTES;
use towline_protocol::frame::{Caps, Decoder, FrameError, Part};
use towline_protocol::{BlockIndex, ChainingValue, Channel, Offset};

/// See the module's description.
pub(crate) struct Inlet<R> {
    reader: R,
    decoder: Decoder,
    pool: Arc<Pool>,
    /// Where the next byte of the chunk under way belongs.
    chunk: Option<(Channel, Offset)>,
    piece: Option<Piece>,
    /// Came behind a piece that has to be handed out first.
    stashed: Option<Incoming>,
    last_byte: Instant,
    /// When the frame under way began to come.
    frame_began: Option<Instant>,
}

/// Consecutive bytes of one block.
pub(crate) struct Piece {
    pub(crate) channel: Channel,
    pub(crate) offset: Offset,
    pub(crate) buffer: Buffer,
}

/// Something that has come in whole.
pub(crate) enum Incoming {
    /// A control message, not yet looked at.
    Control(Vec<u8>),
    /// Payload.
    Piece(Piece),
    /// The value of a block.
    Block { channel: Channel, index: BlockIndex, value: ChainingValue },
    /// The client has said all it has to say.
    End,
}

/// Why nothing more will come in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InletError {
    /// The client does not keep to the framing.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The connection ended in the middle of a frame.
    #[error("the connection ended in the middle of a frame")]
    Cut,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A piece waits so long for more before it is handed on: on a slow link every
/// byte still counts soon, on a fast one pieces are whole blocks.
const LINGER: Duration = Duration::from_millis(50);

/// Where buffers are scarce, less than this is not worth one: a crowd that says a byte
/// now and then would keep them all from those who have more to say (P6).
const LINGER_BYTES: usize = 64 << 10;

/// As much as some socket buffers hold; who sends more does not listen.
const DRAIN_READS_MAX: usize = 4096;

impl<R: Patient> Inlet<R> {
    /// See [`Patient::wait_alone`].
    pub(crate) fn wait_alone(&mut self, until: Option<std::time::Instant>) {
        self.reader.wait_alone(until);
    }
}

impl<R: AsyncRead + Unpin> Inlet<R> {
    pub(crate) fn new(reader: R, caps: Caps, pool: Arc<Pool>) -> Self {
        Self {
            reader,
            decoder: Decoder::new(caps),
            pool,
            chunk: None,
            piece: None,
            stashed: None,
            last_byte: Instant::now(),
            frame_began: None,
        }
    }

    pub(crate) fn set_caps(&mut self, caps: Caps) {
        self.decoder.set_caps(caps);
    }

    /// When the client will have been silent, or at one frame, for too long.
    pub(crate) fn deadline(&self, frame: Duration, silence: Duration) -> Instant {
        let silent = self.last_byte + silence;
        self.frame_began.map_or(silent, |began| silent.min(began + frame))
    }

    /// The first byte of the connection. Cancel-safe: it stays in the decoder.
    pub(crate) async fn first_byte(&mut self) -> Result<Option<u8>, InletError> {
        while self.decoder.peek().is_none() {
            if matches!(self.read_head().await?, Read::End) {
                return Ok(None);
            }
        }
        Ok(self.decoder.peek())
    }

    /// The next thing that has come in whole.
    ///
    /// Cancel-safe: whatever was read is kept in `self`, and each of the waits
    /// (for a buffer, for the socket, for a lingering piece) loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Incoming, InletError> {
        if let Some(stashed) = self.stashed.take() {
            return Ok(stashed);
        }
        loop {
            let read = if let Some((channel, offset)) = self.chunk {
                if let Some(piece) = self.piece.take_if(|piece| !piece.goes_on(channel, offset)) {
                    return Ok(Incoming::Piece(piece));
                }
                self.read_payload(channel, offset).await?
            } else if let Some(incoming) = self.take_part()? {
                // A piece that waits goes before what came behind it.
                let Some(piece) = self.piece.take() else { return Ok(incoming) };
                self.stashed = Some(incoming);
                return Ok(Incoming::Piece(piece));
            } else if self.chunk.is_some() {
                continue;
            } else {
                self.read_head().await?
            };
            let done = match read {
                Read::Some => self.piece.take_if(|piece| piece.is_full()),
                Read::Lingered => self.piece.take(),
                // The end will be found again behind the last piece.
                Read::End => match self.piece.take() {
                    None if self.decoder.is_between_frames() => return Ok(Incoming::End),
                    None => return Err(InletError::Cut),
                    piece => piece,
                },
            };
            if let Some(piece) = done {
                return Ok(Incoming::Piece(piece));
            }
        }
    }

    /// The server itself has kept the client waiting: its clocks begin anew.
    pub(crate) fn excuse(&mut self) {
        self.last_byte = Instant::now();
        self.frame_began = self.frame_began.map(|_| self.last_byte);
    }

    /// Reads and drops what still comes, so that the last words are not lost: to
    /// close a socket with unread bytes resets it, and a reset overtakes words.
    pub(crate) async fn drain(&mut self) {
        let mut scratch = [0; 4096];
        for _ in 0..DRAIN_READS_MAX {
            match self.reader.read(&mut scratch).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// What has come of a piece, when it has to be handed on as it is.
    pub(crate) fn take_piece(&mut self) -> Option<Piece> {
        self.piece.take()
    }

    /// The next part that the decoder has whole. A chunk is none: its payload
    /// follows, and [`Self::chunk`] says whose it is.
    fn take_part(&mut self) -> Result<Option<Incoming>, InletError> {
        let incoming = match self.decoder.next_part()? {
            None => return Ok(None),
            Some(Part::Chunk { channel, offset, .. }) => {
                self.chunk = Some((channel, offset));
                return Ok(None);
            }
            Some(Part::Control(bytes)) => Incoming::Control(bytes.to_vec()),
            Some(Part::Block { channel, index, value }) => {
                Incoming::Block { channel, index, value }
            }
            // The caps let none through.
            Some(Part::BlockList { .. }) => return Err(FrameError::UnknownKind(4).into()),
        };
        self.frame_ended();
        Ok(Some(incoming))
    }

    async fn read_payload(&mut self, channel: Channel, offset: Offset) -> Result<Read, InletError> {
        if self.piece.is_none() {
            if !self.decoder.has_buffered() {
                // A buffer is only taken for bytes that have come: whoever sends
                // heads alone must not keep buffers from others (P6).
                return self.read_head().await;
            }
            let buffer = self.pool.take().await;
            self.excuse();
            self.piece = Some(Piece { channel, offset, buffer });
        }
        let linger = self.linger();
        let piece = self.piece.as_mut().expect("there is a piece now");
        let room = piece.room(self.decoder.payload_left());
        let buffered = self.decoder.take_payload(room);
        let count = if buffered > 0 {
            buffered
        } else {
            match read(&mut self.reader, room, linger).await? {
                None => return Ok(Read::Lingered),
                Some(0) => return Ok(Read::End),
                Some(count) => {
                    self.decoder.payload_came(count);
                    self.last_byte = Instant::now();
                    count
                }
            }
        };
        piece.buffer.filled(count);
        self.chunk = Some((channel, offset.plus(count as u64)));
        if self.decoder.payload_left() == 0 {
            self.chunk = None;
            self.frame_ended();
        }
        Ok(Read::Some)
    }

    async fn read_head(&mut self) -> Result<Read, InletError> {
        let linger = self.linger();
        match read(&mut self.reader, self.decoder.space(), linger).await? {
            None => Ok(Read::Lingered),
            Some(0) => Ok(Read::End),
            Some(count) => {
                self.decoder.filled(count);
                self.last_byte = Instant::now();
                self.frame_began.get_or_insert(self.last_byte);
                Ok(Read::Some)
            }
        }
    }

    /// How long a piece that waits may wait for more.
    fn linger(&self) -> Option<Duration> {
        let length = self.piece.as_ref()?.buffer.bytes().len();
        let hurries = length < LINGER_BYTES && self.pool.is_scarce();
        Some(if hurries { Duration::ZERO } else { LINGER })
    }

    fn frame_ended(&mut self) {
        self.frame_began = (!self.decoder.is_between_frames()).then_some(self.last_byte);
    }
}

/// How a read ended.
enum Read {
    /// Something came.
    Some,
    /// Nothing came for a while, and a piece is waiting.
    Lingered,
    /// Nothing will come any more.
    End,
}

/// Reads once. Where something waits for it, only for a while: then it is nothing.
/// Cancel-safe, as one read is.
async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    room: &mut [u8],
    linger: Option<Duration>,
) -> io::Result<Option<usize>> {
    match linger {
        Some(linger) => timeout(linger, reader.read(room)).await.ok().transpose(),
        None => reader.read(room).await.map(Some),
    }
}

impl Piece {
    /// Whether a byte of that channel and offset follows.
    fn goes_on(&self, channel: Channel, offset: Offset) -> bool {
        self.channel == channel && self.end() == offset
    }

    /// Whether the block ends here. A buffer holds a block, so it cannot be full
    /// before.
    fn is_full(&self) -> bool {
        self.end().get().is_multiple_of(BLOCK_SIZE_BYTES)
    }

    /// Room for at most `left` bytes, none of them beyond the block.
    fn room(&mut self, left: usize) -> &mut [u8] {
        let rest = BLOCK_SIZE_BYTES - self.end().get() % BLOCK_SIZE_BYTES;
        let rest = usize::try_from(rest).unwrap_or(usize::MAX).min(left);
        let space = self.buffer.space();
        let length = rest.min(space.len());
        &mut space[..length]
    }

    fn end(&self) -> Offset {
        self.offset.plus(self.buffer.bytes().len() as u64)
    }
}
