//! What comes in on a connection: bytes made into control messages, block values
//! and segments of payload.
//!
//! Payload goes from the socket straight into the buffer in which it is later
//! hashed and written. Chunks that follow each other share a buffer until their
//! block ends, so the size of a chunk costs next to nothing.

use crate::socket::BlockingRead;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};
use towline_engine::{BlockBuffer, BufferPool, BufferRequest, WHOLE_BYTES};
use towline_protocol::Channel;
use towline_protocol::frame::{Decoder, FrameError, FrameLimits, Part};
use towline_protocol::limits::FRAME_STRETCH_BYTES;
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{BlockIndex, ChainingValue, Offset, UserId};

/// See the module's description.
pub(crate) struct FrameReader<R> {
    reader: R,
    decoder: Decoder,
    pool: Arc<BufferPool>,
    /// Where the next byte of the chunk under way belongs.
    chunk: Option<(Channel, Offset)>,
    segment: Option<Segment>,
    /// Came after a segment that has to be handed out first.
    stashed: Option<Incoming>,
    last_byte: Instant,
    /// The frame under way.
    frame: Option<FrameClock>,
    /// Whose payload this is. Of a stranger none is read.
    user: UserId,
    /// The place in the queue for a buffer, and since when the reader has it.
    buffer_wanted: Option<(BufferRequest, Instant)>,
    /// The client is slow: its last segment was handed on with less than
    /// [`SMALL_BUFFER_BYTES`], because no more came in time.
    is_slow: bool,
}

/// How long a frame has been under way.
struct FrameClock {
    /// When its first byte came, or the last [`FRAME_STRETCH_BYTES`] were complete.
    since: Instant,
    /// Bytes of it that came after that.
    bytes: u64,
}

/// Consecutive bytes of one block.
pub(crate) struct Segment {
    pub(crate) channel: Channel,
    pub(crate) offset: Offset,
    pub(crate) buffer: BlockBuffer,
    /// When it was begun.
    pub(crate) since: Instant,
}

/// Something that has come in whole.
pub(crate) enum Incoming {
    /// A control message, not yet looked at.
    Control(Vec<u8>),
    /// Payload.
    Segment(Segment),
    /// The value of a block.
    Block { channel: Channel, index: BlockIndex, value: ChainingValue },
    /// The client has said all it has to say.
    End,
}

/// Why nothing more will come in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
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

/// A segment is handed on when nothing more has come for this time: the last bytes before a
/// pause count soon.
const LINGER: Duration = Duration::from_millis(50);

/// A segment is handed on this time after its first byte, also while bytes keep coming: the
/// bytes of a slow sender are written, reported and made durable as soon as those of a
/// fast one. A sender of 5 MiB/s or more fills a block before.
const LINGER_MAX: Duration = Duration::from_millis(200);

/// The same where buffers are scarce. To keep one for longer, a sender has to fill
/// [`SMALL_BUFFER_BYTES`] in each such time (3 MiB/s), so drips keep none from others (P6).
const LINGER_SCARCE: Duration = Duration::from_millis(20);

/// What a slow sender gets as a buffer. A hundred senders that say a byte now and then take
/// the room of seven whole buffers, and not of a hundred (P6). A small buffer that is full
/// is handed on as it is, so a sender that becomes faster costs no copy.
/// Where buffers are scarce, less than this does not wait at all.
const SMALL_BUFFER_BYTES: usize = 64 << 10;

/// As much as some socket buffers hold; who sends more does not listen.
const DRAIN_READS_MAX: usize = 4096;

impl<R: BlockingRead> FrameReader<R> {
    /// See [`BlockingRead::set_read_deadline`].
    pub(crate) fn set_read_deadline(&mut self, until: Option<std::time::Instant>) {
        self.reader.set_read_deadline(until);
    }
}

impl<R> FrameReader<R> {
    /// For this time the server itself did not read: it does not count for the client's
    /// clocks.
    pub(crate) fn reset_timeouts(&mut self, waited: Duration) {
        self.last_byte += waited;
        if let Some(frame) = &mut self.frame {
            frame.since += waited;
        }
    }

    /// The client says nothing because it waits for us, which is no silence.
    pub(crate) fn excuse_silence(&mut self) {
        self.last_byte = Instant::now();
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(reader: R, caps: FrameLimits, pool: Arc<BufferPool>) -> Self {
        Self {
            reader,
            decoder: Decoder::new(caps),
            pool,
            chunk: None,
            segment: None,
            stashed: None,
            last_byte: Instant::now(),
            frame: None,
            user: UserId::MIN,
            buffer_wanted: None,
            is_slow: false,
        }
    }

    /// The client has logged in as that user.
    pub(crate) fn admit(&mut self, user: UserId) {
        self.user = user;
        self.decoder.set_limits(FrameLimits::SERVER);
    }

    /// When the client will have been silent, or at one frame, for too long, as far as it is
    /// known now: a frame that begins later cannot be late before this.
    pub(crate) fn deadline(&self, frame: Duration, silence: Duration) -> Instant {
        let silent = self.last_byte + silence;
        let since = self.frame.as_ref().map_or_else(Instant::now, |clock| clock.since);
        silent.min(since + frame)
    }

    /// The first byte of the connection. Cancel-safe: it stays in the decoder.
    pub(crate) async fn first_byte(&mut self) -> Result<Option<u8>, ReadError> {
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
    /// (for a buffer, for the socket, for a lingering segment) loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Incoming, ReadError> {
        if let Some(stashed) = self.stashed.take() {
            return Ok(stashed);
        }
        loop {
            let read = if let Some((channel, offset)) = self.chunk {
                if let Some(segment) =
                    self.segment.take_if(|segment| !segment.goes_on(channel, offset))
                {
                    return Ok(Incoming::Segment(segment));
                }
                self.read_payload(channel, offset).await?
            } else if let Some(incoming) = self.take_part()? {
                // A segment that waits goes before what came after it.
                let Some(segment) = self.segment.take() else { return Ok(incoming) };
                self.stashed = Some(incoming);
                return Ok(Incoming::Segment(segment));
            } else if self.chunk.is_some() {
                continue;
            } else {
                self.read_head().await?
            };
            let done = match read {
                Read::Some => {
                    let (now, linger) = (self.last_byte, self.linger_max());
                    self.segment
                        .take_if(|segment| segment.is_full() || segment.since + linger <= now)
                }
                Read::Lingered => self.segment.take(),
                // The end will be found again after the last segment.
                Read::End => match self.segment.take() {
                    None if self.decoder.is_between_frames() => return Ok(Incoming::End),
                    None => return Err(ReadError::Cut),
                    segment => segment,
                },
            };
            if let Some(segment) = done {
                self.is_slow =
                    segment.buffer.bytes().len() < SMALL_BUFFER_BYTES && !segment.is_full();
                return Ok(Incoming::Segment(segment));
            }
        }
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

    /// What has come of a segment, when it has to be handed on as it is, since nothing is to be read
    /// for a while. The place in the queue for a buffer is given up: a buffer that nothing is read
    /// into would be kept from others (P6).
    pub(crate) fn take_segment(&mut self) -> Option<Segment> {
        if let Some((_, since)) = self.buffer_wanted.take() {
            self.reset_timeouts(since.elapsed());
        }
        self.segment.take()
    }

    /// The next part that the decoder has whole. A chunk is none: its payload
    /// follows, and [`Self::chunk`] says whose it is.
    fn take_part(&mut self) -> Result<Option<Incoming>, ReadError> {
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
            // The frame limits allow none.
            Some(Part::BlockList { .. }) => return Err(FrameError::UnknownKind(4).into()),
        };
        self.frame_ended();
        Ok(Some(incoming))
    }

    async fn read_payload(&mut self, channel: Channel, offset: Offset) -> Result<Read, ReadError> {
        if self.segment.is_none() {
            if !self.decoder.has_buffered() {
                // A buffer is only taken for bytes that have come: a client that sends
                // heads alone must not keep buffers from others (P6).
                return self.read_head().await;
            }
            let buffer = self.take_buffer().await;
            self.segment = Some(Segment { channel, offset, buffer, since: self.last_byte });
        }
        let linger = self.linger();
        let segment = self.segment.as_mut().expect("there is a segment now");
        let room = segment.room(self.decoder.payload_left());
        let buffered = self.decoder.take_payload(room);
        let count = if buffered > 0 {
            segment.buffer.filled(buffered);
            buffered
        } else {
            match read(&mut self.reader, room, linger).await? {
                None => return Ok(Read::Lingered),
                Some(0) => return Ok(Read::End),
                Some(count) => {
                    self.decoder.payload_came(count);
                    segment.buffer.filled(count);
                    self.came(count);
                    count
                }
            }
        };
        self.chunk = Some((channel, offset.plus(count as u64)));
        if self.decoder.payload_left() == 0 {
            self.chunk = None;
            self.frame_ended();
        }
        Ok(Read::Some)
    }

    /// A buffer for the next segment. Only a real wait for one is excused: it is the server's.
    /// Cancel-safe: the place in the queue is kept in `self`.
    async fn take_buffer(&mut self) -> BlockBuffer {
        if self.buffer_wanted.is_none() {
            let bytes = if self.is_slow { SMALL_BUFFER_BYTES } else { WHOLE_BYTES };
            if let Some(buffer) = self.pool.try_take(self.user, bytes) {
                return buffer;
            }
            self.buffer_wanted = Some((self.pool.take(self.user, bytes), Instant::now()));
        }
        let (request, since) = self.buffer_wanted.as_mut().expect("it was made just now");
        let buffer = request.await;
        let waited = since.elapsed();
        self.buffer_wanted = None;
        self.reset_timeouts(waited);
        buffer
    }

    async fn read_head(&mut self) -> Result<Read, ReadError> {
        let linger = self.linger();
        match read(&mut self.reader, self.decoder.space(), linger).await? {
            None => Ok(Read::Lingered),
            Some(0) => Ok(Read::End),
            Some(count) => {
                self.decoder.filled(count);
                self.came(count);
                Ok(Read::Some)
            }
        }
    }

    /// That many bytes have come just now.
    fn came(&mut self, count: usize) {
        self.last_byte = Instant::now();
        let frame = self.frame.get_or_insert(FrameClock { since: self.last_byte, bytes: 0 });
        frame.bytes += count as u64;
        if frame.bytes >= FRAME_STRETCH_BYTES {
            *frame = FrameClock { since: self.last_byte, bytes: 0 };
        }
    }

    /// Until when a segment that waits may wait for more.
    fn linger(&self) -> Option<Instant> {
        let segment = self.segment.as_ref()?;
        if self.pool.is_scarce() && segment.buffer.bytes().len() < SMALL_BUFFER_BYTES {
            return Some(self.last_byte);
        }
        Some((self.last_byte + LINGER).min(segment.since + self.linger_max()))
    }

    fn linger_max(&self) -> Duration {
        if self.pool.is_scarce() { LINGER_SCARCE } else { LINGER_MAX }
    }

    fn frame_ended(&mut self) {
        let next = FrameClock { since: self.last_byte, bytes: 0 };
        self.frame = (!self.decoder.is_between_frames()).then_some(next);
    }
}

/// How a read ended.
enum Read {
    /// Something came.
    Some,
    /// Nothing came for a while, and a segment is waiting.
    Lingered,
    /// Nothing will come any more.
    End,
}

/// Reads once. Where a segment waits for it, only until then: after that it is nothing.
/// Cancel-safe, as one read is.
async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    room: &mut [u8],
    linger: Option<Instant>,
) -> io::Result<Option<usize>> {
    match linger {
        Some(until) => timeout_at(until, reader.read(room)).await.ok().transpose(),
        None => reader.read(room).await.map(Some),
    }
}

impl Segment {
    /// Whether a byte of that channel and offset follows.
    fn goes_on(&self, channel: Channel, offset: Offset) -> bool {
        self.channel == channel && self.end() == offset
    }

    /// Whether the block ends here, or the buffer: a whole one holds a block, a small one
    /// does not.
    fn is_full(&self) -> bool {
        self.end().get().is_multiple_of(BLOCK_SIZE_BYTES) || self.buffer.is_full()
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::interval;
    use towline_protocol::frame;
    use towline_testkit::user;

    const DRIP: Duration = Duration::from_millis(10);
    const MINUTE: Duration = Duration::from_secs(60);

    fn reader(pool: &Arc<BufferPool>) -> (FrameReader<DuplexStream>, DuplexStream) {
        let (there, here) = duplex(1 << 20);
        (FrameReader::new(here, FrameLimits::SERVER, Arc::clone(pool)), there)
    }

    fn head(length: u32) -> [u8; 17] {
        frame::chunk_head(Channel(1), Offset::ZERO, length)
    }

    /// Sends the head of a chunk, as much of its payload at once, and the rest byte by byte.
    fn drips(mut there: DuplexStream, at_once: usize) -> JoinHandle<()> {
        tokio::spawn(async move {
            let begun = [&head(1 << 20)[..], &vec![7; at_once]].concat();
            if there.write_all(&begun).await.is_err() {
                return;
            }
            let mut clock = interval(DRIP);
            while there.write_all(&[7]).await.is_ok() {
                clock.tick().await;
            }
        })
    }

    async fn segment(reader: &mut FrameReader<DuplexStream>) -> Segment {
        match reader.next().await {
            Ok(Incoming::Segment(segment)) => segment,
            _ => panic!("no segment"),
        }
    }

    #[tokio::test]
    async fn a_piece_of_which_more_keeps_coming_is_handed_on_all_the_same() {
        let pool = BufferPool::new(4);
        let (mut reader, there) = reader(&pool);
        let _drips = drips(there, 1);
        let mut came = 0;
        for round in 0..4 {
            let segment = segment(&mut reader).await;
            println!("{} bytes after {:?}", segment.buffer.bytes().len(), segment.since.elapsed());
            assert_eq!(segment.offset.get(), came);
            assert!(segment.buffer.bytes().len() > 1, "it gathers what comes within the time");
            came += segment.buffer.bytes().len() as u64;
            // What a slow sender keeps from others is little.
            assert_eq!(segment.buffer.units() < towline_engine::UNITS, round > 0);
        }
    }

    #[tokio::test]
    async fn drips_behind_a_good_beginning_keep_no_buffer_where_there_are_few() {
        let pool = BufferPool::new(1);
        let (mut reader, there) = reader(&pool);
        let _drips = drips(there, SMALL_BUFFER_BYTES);
        let segment = segment(&mut reader).await;
        println!("{} bytes after {:?}", segment.buffer.bytes().len(), segment.since.elapsed());
        assert!(segment.buffer.bytes().len() >= SMALL_BUFFER_BYTES);
    }

    #[tokio::test]
    async fn the_clock_of_a_frame_runs_from_its_first_byte_whatever_trickles() {
        let pool = BufferPool::new(4);
        let (mut reader, there) = reader(&pool);
        let _drips = drips(there, 1);
        let before = Instant::now();
        let first = segment(&mut reader).await;
        let deadline = reader.deadline(MINUTE, 5 * MINUTE);
        assert!((before..before + DRIP * 100).contains(&(deadline - MINUTE)));
        drop(first);
        for _ in 0..3 {
            segment(&mut reader).await;
            assert_eq!(reader.deadline(MINUTE, 5 * MINUTE), deadline);
        }
    }

    #[tokio::test]
    async fn a_long_frame_that_goes_on_has_its_time_for_each_stretch() {
        let pool = BufferPool::new(4);
        let (mut reader, mut there) = reader(&pool);
        there.write_all(&head(1 << 20)).await.unwrap();
        let mut deadline = None;
        for stretch in 0..3 {
            let length = usize::try_from(FRAME_STRETCH_BYTES).unwrap();
            there.write_all(&vec![7; length]).await.unwrap();
            let mut came = 0;
            while came < length {
                came += segment(&mut reader).await.buffer.bytes().len();
            }
            let next = Some(reader.deadline(MINUTE, 5 * MINUTE));
            assert!(next > deadline, "stretch {stretch}");
            deadline = next;
        }
    }

    #[tokio::test]
    async fn the_wait_for_a_buffer_is_not_the_clients() {
        let pool = BufferPool::new(1);
        let taken = pool.take(user(1), WHOLE_BYTES).await;
        let (mut reader, mut there) = reader(&pool);
        there.write_all(&[&head(1 << 20)[..], &[7; 100]].concat()).await.unwrap();
        let wait = Duration::from_millis(300);
        // A wait that is given up and begun anew counts whole.
        for _ in 0..3 {
            assert!(tokio::time::timeout(wait / 3, reader.next()).await.is_err());
        }
        let waiting = reader.deadline(MINUTE, 5 * MINUTE);
        drop(taken);
        let got = segment(&mut reader).await;
        assert_eq!(got.buffer.bytes().len(), 100);
        assert!(reader.deadline(MINUTE, 5 * MINUTE) >= waiting + wait);
    }
}
