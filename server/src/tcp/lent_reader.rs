//! The connection's reader, lent to a writer's thread.
//!
//! To hand every block of a fast upload from the session to its lane costs more than to
//! receive it: two threads wake each other for each, and a second core fetches the bytes
//! that the first has just had. So while one channel has much to say, its lane has the
//! connection's [`FrameReader`] for a while: one thread receives, hashes and writes, with one
//! buffer that stays in its cache. What is not for this channel, and any pause, brings
//! the reader back to the session.

use super::frame_reader::{FrameReader, Incoming, ReadError, Segment};
use crate::socket::BlockingRead;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use towline_engine::{DataSource, Pulled};
use towline_protocol::Channel;
use towline_types::block::BLOCK_SIZE_BYTES;

/// Two whole blocks that come within it are the beginning of many.
const FAST: Duration = Duration::from_millis(10);

/// The session's end: the reader, or the way back of it.
pub(crate) struct ReaderSlot<R> {
    reader: Option<FrameReader<R>>,
    lent: Option<Lent<R>>,
    /// Has come back with the reader, and comes before what that has.
    last: Option<Result<Incoming, ReadError>>,
    /// When the last whole block came, and for which channel.
    whole: Option<(Channel, Instant)>,
}

struct Lent<R> {
    returned: oneshot::Receiver<Returned<R>>,
    recalled: Arc<AtomicBool>,
}

struct Returned<R> {
    reader: FrameReader<R>,
    /// What came last, and was not for the lane.
    last: Option<Result<Incoming, ReadError>>,
}

/// An reader in a lane. However it is dropped, the reader goes back.
struct LentReader<R: BlockingRead> {
    channel: Channel,
    /// What goes back, and how; there until this is dropped.
    held: Option<(Returned<R>, oneshot::Sender<Returned<R>>)>,
    /// Since when nothing is read: what was drawn is being written.
    resting: Option<Instant>,
    recalled: Arc<AtomicBool>,
    _place: OwnedSemaphorePermit,
}

impl<R: AsyncRead + Unpin> ReaderSlot<R> {
    pub(crate) fn new(reader: FrameReader<R>) -> Self {
        Self { reader: Some(reader), lent: None, last: None, whole: None }
    }

    pub(crate) fn is_lent(&self) -> bool {
        self.lent.is_some()
    }

    /// What [`FrameReader::next`] says; where the reader is lent, nothing but that it is back.
    /// Cancel-safe, as that and a oneshot are.
    pub(crate) async fn next(&mut self) -> Option<Result<Incoming, ReadError>> {
        if self.is_lent() {
            self.back().await;
            return None;
        }
        if let Some(last) = self.last.take() {
            return Some(last);
        }
        Some(self.reader.as_mut().expect("it is here or lent").next().await)
    }

    async fn back(&mut self) {
        if let Some(lent) = &mut self.lent {
            let returned = lent.returned().await;
            self.lent = None;
            self.reader = Some(returned.reader);
            self.last = returned.last;
        }
    }

    /// Notes that this segment came, and says whether it makes a tap worth while.
    pub(crate) fn is_streaming(&mut self, segment: &Segment) -> bool {
        let is_whole = segment.buffer.bytes().len() as u64 == BLOCK_SIZE_BYTES;
        let whole = is_whole.then(|| (segment.channel, Instant::now()));
        let before = std::mem::replace(&mut self.whole, whole);
        whole.zip(before).is_some_and(|((channel, now), (same, then))| {
            channel == same && now.saturating_duration_since(then) < FAST
        })
    }

    /// Makes a tap for what comes on that channel.
    pub(crate) fn lend(
        &mut self,
        channel: Channel,
        place: OwnedSemaphorePermit,
    ) -> Option<Box<dyn DataSource>>
    where
        R: BlockingRead + Send + 'static,
    {
        let reader = self.reader.take()?;
        let (back, returned) = oneshot::channel();
        let recalled = Arc::new(AtomicBool::new(false));
        self.lent = Some(Lent { returned, recalled: Arc::clone(&recalled) });
        Some(Box::new(LentReader {
            channel,
            held: Some((Returned { reader, last: None }, back)),
            resting: None,
            recalled,
            _place: place,
        }))
    }

    /// For while nothing is to be read: what has come of a segment. Where the reader is lent
    /// it is to come back first.
    pub(crate) fn pause(&mut self) -> Option<Segment> {
        if let Some(lent) = &self.lent {
            lent.recall();
        }
        match self.last.take() {
            Some(Ok(Incoming::Segment(segment))) => Some(segment),
            last => {
                self.last = last;
                self.reader.as_mut().and_then(FrameReader::take_segment)
            }
        }
    }

    /// For when nothing more is to be read at all: the reader, and what has come of a
    /// segment.
    pub(crate) async fn end(&mut self) -> (FrameReader<R>, Option<Segment>) {
        let lent = self.pause();
        self.back().await;
        let segment = lent.or_else(|| self.pause());
        (self.reader.take().expect("it is here now"), segment)
    }

    /// When the client will have been silent, or at one frame, for too long; while the
    /// reader is lent it is neither.
    pub(crate) fn deadline(&self, frame: Duration, silence: Duration) -> Instant {
        let here = self.reader.as_ref().map(|reader| reader.deadline(frame, silence));
        here.unwrap_or_else(|| Instant::now() + silence)
    }

    /// See [`FrameReader::excuse_silence`].
    pub(crate) fn excuse_silence(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.excuse_silence();
        }
    }

    /// See [`FrameReader::reset_timeouts`].
    pub(crate) fn reset_timeouts(&mut self, waited: Duration) {
        if let Some(reader) = &mut self.reader {
            reader.reset_timeouts(waited);
        }
    }
}

impl<R> Lent<R> {
    /// Has it come back soon.
    fn recall(&self) {
        self.recalled.store(true, Ordering::Relaxed);
    }

    async fn returned(&mut self) -> Returned<R> {
        (&mut self.returned).await.expect("a spout that is dropped sends it back")
    }
}

impl<R: AsyncRead + BlockingRead + Unpin + Send> DataSource for LentReader<R> {
    fn pull(&mut self, until: std::time::Instant) -> Option<Pulled> {
        let (held, _) = self.held.as_mut()?;
        let now = Instant::now();
        // The disk may have been slow; that is not the client's time.
        if let Some(since) = self.resting.take() {
            held.reader.reset_timeouts(now.saturating_duration_since(since));
        }
        if held.last.is_some() || self.recalled.load(Ordering::Relaxed) {
            return None;
        }
        held.reader.set_read_deadline(Some(until));
        // It waits as it reads: where it has nothing to say then, nothing came, or no
        // buffer is free, and the session waits for that. Cancel-safe: the reader keeps
        // what it has read.
        let next = pin!(held.reader.next()).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(next) = next else { return None };
        match next {
            Ok(Incoming::Segment(Segment { channel, offset, buffer, .. }))
                if channel == self.channel =>
            {
                self.resting = Some(Instant::now());
                Some(Pulled::Data { offset, buffer })
            }
            Ok(Incoming::Block { channel, index, value }) if channel == self.channel => {
                Some(Pulled::Announce { index, value })
            }
            other => {
                held.last = Some(other);
                None
            }
        }
    }
}

impl<R: BlockingRead> Drop for LentReader<R> {
    fn drop(&mut self) {
        if let Some((mut held, back)) = self.held.take() {
            held.reader.set_read_deadline(None);
            if let Some(since) = self.resting {
                held.reader.reset_timeouts(since.elapsed());
            }
            // Where no task waits for it, the connection is gone.
            let _ = back.send(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{Receiver, halves};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Semaphore;
    use tokio::task::spawn_blocking;
    use towline_engine::BufferPool;
    use towline_protocol::frame::{self, FrameLimits};
    use towline_testkit::user;
    use towline_types::{BlockIndex, ChainingValue, Offset};

    const BLOCK: usize = 1 << 20;
    const ONE: Channel = Channel(1);

    /// A source, and what writes to it.
    async fn source() -> (ReaderSlot<Receiver>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (receiver, _) = halves(listener.accept().await.unwrap().0).unwrap();
        (
            ReaderSlot::new(FrameReader::new(receiver, FrameLimits::SERVER, BufferPool::new(4))),
            client,
        )
    }

    fn soon() -> std::time::Instant {
        std::time::Instant::now() + Duration::from_millis(20)
    }

    fn lent(source: &mut ReaderSlot<Receiver>) -> Box<dyn DataSource> {
        let places = Arc::new(Semaphore::new(1));
        source.lend(ONE, places.try_acquire_owned().unwrap()).unwrap()
    }

    fn chunk(at: u64, length: u32) -> Vec<u8> {
        frame::chunk_head(ONE, Offset::ZERO.plus(at), length).to_vec()
    }

    #[tokio::test]
    async fn a_lane_draws_what_is_its_own_and_the_session_hears_the_rest() {
        let (mut source, mut client) = source().await;
        client.write_all(&chunk(0, 5000)).await.unwrap();
        client.write_all(&[7; 5000]).await.unwrap();
        let value = ChainingValue::from_bytes([1; 32]);
        client.write_all(&frame::block(ONE, BlockIndex::FIRST, value)).await.unwrap();
        client.write_all(&frame::control(&"ping")).await.unwrap();
        let mut tap = lent(&mut source);
        spawn_blocking(move || {
            let Some(Pulled::Data { offset, buffer }) = tap.pull(soon()) else {
                panic!("no segment")
            };
            assert_eq!((offset, buffer.bytes()), (Offset::ZERO, &[7; 5000][..]));
            assert!(matches!(
                tap.pull(soon()),
                Some(Pulled::Announce { index: BlockIndex::FIRST, .. })
            ));
            assert!(tap.pull(soon()).is_none());
        })
        .await
        .unwrap();
        assert!(source.is_lent() && source.next().await.is_none());
        let Some(Ok(Incoming::Control(bytes))) = source.next().await else { panic!("no control") };
        assert_eq!(bytes, b"\"ping\"");
    }

    #[tokio::test]
    async fn what_is_half_there_comes_back_with_the_inlet() {
        let (mut source, mut client) = source().await;
        client.write_all(&chunk(5, 100)).await.unwrap();
        client.write_all(&[7; 40]).await.unwrap();
        let mut tap = lent(&mut source);
        let drawn = spawn_blocking(move || tap.pull(soon()).is_none());
        assert!(drawn.await.unwrap(), "it waits for the other half, but not for long");
        let (_, came) = source.end().await;
        let segment = came.expect("the half");
        assert_eq!((segment.offset.get(), segment.buffer.bytes()), (5, &[7; 40][..]));
    }

    #[tokio::test]
    async fn a_tap_that_is_recalled_draws_nothing_more() {
        let (mut source, mut client) = source().await;
        client
            .write_all(&frame::block(ONE, BlockIndex::FIRST, ChainingValue::from_bytes([1; 32])))
            .await
            .unwrap();
        let mut tap = lent(&mut source);
        assert!(source.pause().is_none());
        assert!(spawn_blocking(move || tap.pull(soon()).is_none()).await.unwrap());
        assert!(source.next().await.is_none() && !source.is_lent());
        assert!(matches!(source.next().await, Some(Ok(Incoming::Block { channel: ONE, .. }))));
    }

    #[tokio::test]
    async fn a_piece_for_another_channel_is_no_lost_piece() {
        let (mut source, mut client) = source().await;
        let head = frame::chunk_head(Channel(2), Offset::ZERO, 40);
        client.write_all(&[&head[..], &[7; 40]].concat()).await.unwrap();
        client.write_all(&frame::control(&"ping")).await.unwrap();
        let mut tap = lent(&mut source);
        assert!(spawn_blocking(move || tap.pull(soon()).is_none()).await.unwrap());
        // The session does not listen just now: the segment must not keep a buffer.
        assert!(source.pause().is_none());
        assert!(source.next().await.is_none());
        let segment = source.pause().expect("the segment");
        assert_eq!((segment.channel, segment.buffer.bytes()), (Channel(2), &[7; 40][..]));
        drop(segment);
        assert!(matches!(source.next().await, Some(Ok(Incoming::Control(_)))));
    }

    #[tokio::test]
    async fn two_whole_blocks_in_a_moment_flow() {
        let (mut source, _client) = source().await;
        let pool = BufferPool::new(4);
        let segment = async |channel, bytes| {
            let mut buffer = pool.take(user(1), BLOCK).await;
            buffer.filled(bytes);
            Segment { channel, offset: Offset::ZERO, buffer, since: Instant::now() }
        };
        let flowing = [
            (ONE, BLOCK, false),
            (ONE, BLOCK, true),
            (Channel(2), BLOCK, false),
            (Channel(2), 1, false),
            (Channel(2), BLOCK, false),
            (Channel(2), BLOCK, true),
        ];
        for (channel, bytes, flows) in flowing {
            assert_eq!(
                source.is_streaming(&segment(channel, bytes).await),
                flows,
                "{channel} {bytes}"
            );
        }
    }
}
