//! A lane that draws its own work from the connection.
//!
//! To hand every block of a fast upload from the session to its lane costs more than to
//! receive it: two threads wake each other for each, and a second core fetches the bytes
//! that the first has just had. So while one channel has much to say, its lane has the
//! connection's [`Inlet`] for a while: one thread receives, hashes and writes, with one
//! buffer that stays in its cache. What is not for this channel, and any pause, brings
//! the inlet back to the session.

use crate::channel::Task;
use crate::inlet::{Incoming, Inlet, InletError, Piece};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};
use towline_protocol::Channel;
use towline_protocol::block::BLOCK_SIZE_BYTES;

/// Two whole blocks that come within it are the beginning of many.
const FAST: Duration = Duration::from_millis(10);

/// So long a lane waits for what comes next, with a thread that does nothing else.
const PATIENCE: Duration = Duration::from_millis(20);

/// So many pieces and values are drawn at the most: then others may have the place.
const DRAWS: u32 = 512;

/// The lane's end.
pub(crate) trait Tap: Send {
    /// The next that came for the lane's channel, if it comes soon. Blocks.
    fn draw(&mut self) -> Option<Task>;
}

/// The session's end: the inlet, or the way back of it.
pub(crate) struct Source<R> {
    inlet: Option<Inlet<R>>,
    lent: Option<Lent<R>>,
    /// When the last whole block came, and for which channel.
    whole: Option<(Channel, Instant)>,
}

struct Lent<R> {
    returned: oneshot::Receiver<Returned<R>>,
    recalled: Arc<AtomicBool>,
}

struct Returned<R> {
    inlet: Inlet<R>,
    /// What came last, and was not for the lane.
    last: Option<Result<Incoming, InletError>>,
}

/// An inlet in a lane. However it is dropped, the inlet goes back.
struct Spout<R> {
    channel: Channel,
    inlet: Option<Inlet<R>>,
    last: Option<Result<Incoming, InletError>>,
    draws_left: u32,
    recalled: Arc<AtomicBool>,
    back: Option<oneshot::Sender<Returned<R>>>,
    runtime: Handle,
    _place: OwnedSemaphorePermit,
}

impl<R: AsyncRead + Unpin> Source<R> {
    pub(crate) fn new(inlet: Inlet<R>) -> Self {
        Self { inlet: Some(inlet), lent: None, whole: None }
    }

    /// What [`Inlet::next`] says, wherever the inlet is. Cancel-safe, as that and a
    /// oneshot are.
    pub(crate) async fn next(&mut self) -> Result<Incoming, InletError> {
        if let Some(lent) = &mut self.lent {
            let returned = lent.returned().await;
            self.lent = None;
            self.inlet = Some(returned.inlet);
            if let Some(last) = returned.last {
                return last;
            }
        }
        self.inlet.as_mut().expect("it is here or lent").next().await
    }

    /// Whether this piece, which came just now, makes a tap worth while.
    pub(crate) fn flows(&mut self, piece: &Piece) -> bool {
        let is_whole = piece.buffer.bytes().len() as u64 == BLOCK_SIZE_BYTES;
        let whole = is_whole.then(|| (piece.channel, Instant::now()));
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
    ) -> Option<Box<dyn Tap>>
    where
        R: Send + 'static,
    {
        let inlet = self.inlet.take()?;
        let (back, returned) = oneshot::channel();
        let recalled = Arc::new(AtomicBool::new(false));
        self.lent = Some(Lent { returned, recalled: Arc::clone(&recalled) });
        Some(Box::new(Spout {
            channel,
            inlet: Some(inlet),
            last: None,
            draws_left: DRAWS,
            recalled,
            back: Some(back),
            runtime: Handle::current(),
            _place: place,
        }))
    }

    /// For while nothing is to be read: what has come of a piece, if the inlet is here.
    /// Else it comes back soon, and keeps that.
    pub(crate) fn pause(&mut self) -> Option<Piece> {
        if let Some(lent) = &self.lent {
            lent.recall();
        }
        self.inlet.as_mut().and_then(Inlet::take_piece)
    }

    /// For when nothing more is to be read at all: the inlet, and what has come.
    pub(crate) async fn end(&mut self) -> (Inlet<R>, Vec<Piece>) {
        let mut came = Vec::new();
        if let Some(mut lent) = self.lent.take() {
            lent.recall();
            let returned = lent.returned().await;
            self.inlet = Some(returned.inlet);
            if let Some(Ok(Incoming::Piece(piece))) = returned.last {
                came.push(piece);
            }
        }
        let mut inlet = self.inlet.take().expect("it is here or lent");
        came.extend(inlet.take_piece());
        (inlet, came)
    }

    /// When the client will have been silent, or at one frame, for too long; while the
    /// inlet is lent it is neither.
    pub(crate) fn deadline(&self, frame: Duration, silence: Duration) -> Instant {
        let here = self.inlet.as_ref().map(|inlet| inlet.deadline(frame, silence));
        here.unwrap_or_else(|| Instant::now() + silence)
    }

    /// See [`Inlet::excuse`].
    pub(crate) fn excuse(&mut self) {
        if let Some(inlet) = &mut self.inlet {
            inlet.excuse();
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

impl<R: AsyncRead + Unpin + Send> Tap for Spout<R> {
    fn draw(&mut self) -> Option<Task> {
        if self.draws_left == 0 || self.recalled.load(Ordering::Relaxed) {
            return None;
        }
        self.draws_left -= 1;
        let inlet = self.inlet.as_mut()?;
        // Cancel-safe: the inlet keeps what it has read.
        let waiting = async { timeout(PATIENCE, inlet.next()).await };
        match self.runtime.block_on(waiting).ok()? {
            Ok(Incoming::Piece(Piece { channel, offset, buffer })) if channel == self.channel => {
                Some(Task::Piece { offset, buffer })
            }
            Ok(Incoming::Block { channel, index, value }) if channel == self.channel => {
                Some(Task::Block { index, value })
            }
            other => {
                self.last = Some(other);
                None
            }
        }
    }
}

impl<R> Drop for Spout<R> {
    fn drop(&mut self) {
        if let (Some(inlet), Some(back)) = (self.inlet.take(), self.back.take()) {
            // Where nobody waits for it, the connection is gone.
            let _ = back.send(Returned { inlet, last: self.last.take() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::Semaphore;
    use tokio::task::spawn_blocking;
    use towline_protocol::frame::{self, Caps};
    use towline_protocol::{BlockIndex, ChainingValue, Offset};

    const BLOCK: usize = 1 << 20;
    const ONE: Channel = Channel(1);

    /// A source, and what writes to it.
    fn source() -> (Source<DuplexStream>, DuplexStream) {
        let (client, server) = duplex(4 * BLOCK);
        (Source::new(Inlet::new(server, Caps::SERVER, Pool::new(4))), client)
    }

    fn lent(source: &mut Source<DuplexStream>) -> Box<dyn Tap> {
        let places = Arc::new(Semaphore::new(1));
        source.lend(ONE, places.try_acquire_owned().unwrap()).unwrap()
    }

    fn chunk(at: u64, length: u32) -> Vec<u8> {
        frame::chunk_head(ONE, Offset::ZERO.plus(at), length).to_vec()
    }

    #[tokio::test]
    async fn a_lane_draws_what_is_its_own_and_the_session_hears_the_rest() {
        let (mut source, mut client) = source();
        client.write_all(&chunk(0, 1 << 20)).await.unwrap();
        client.write_all(&[7; BLOCK]).await.unwrap();
        let value = ChainingValue::from_bytes([1; 32]);
        client.write_all(&frame::block(ONE, BlockIndex::FIRST, value)).await.unwrap();
        client.write_all(&frame::control(&"ping")).await.unwrap();
        let mut tap = lent(&mut source);
        spawn_blocking(move || {
            let Some(Task::Piece { offset, buffer }) = tap.draw() else { panic!("no piece") };
            assert_eq!((offset, buffer.bytes()), (Offset::ZERO, &[7; BLOCK][..]));
            assert!(matches!(tap.draw(), Some(Task::Block { index: BlockIndex::FIRST, .. })));
            assert!(tap.draw().is_none());
        })
        .await
        .unwrap();
        let Ok(Incoming::Control(bytes)) = source.next().await else { panic!("no control") };
        assert_eq!(bytes, b"\"ping\"");
    }

    #[tokio::test]
    async fn what_is_half_there_comes_back_with_the_inlet() {
        let (mut source, mut client) = source();
        client.write_all(&chunk(5, 100)).await.unwrap();
        client.write_all(&[7; 40]).await.unwrap();
        let mut tap = lent(&mut source);
        let drawn = spawn_blocking(move || tap.draw().is_none());
        assert!(drawn.await.unwrap(), "it waits for the other half, but not for long");
        let (_, came) = source.end().await;
        let [piece] = &came[..] else { panic!("{} pieces", came.len()) };
        assert_eq!((piece.offset.get(), piece.buffer.bytes()), (5, &[7; 40][..]));
    }

    #[tokio::test]
    async fn a_tap_that_is_recalled_draws_nothing_more() {
        let (mut source, mut client) = source();
        client
            .write_all(&frame::block(ONE, BlockIndex::FIRST, ChainingValue::from_bytes([1; 32])))
            .await
            .unwrap();
        let mut tap = lent(&mut source);
        assert!(source.pause().is_none());
        assert!(spawn_blocking(move || tap.draw().is_none()).await.unwrap());
        assert!(matches!(source.next().await, Ok(Incoming::Block { channel: ONE, .. })));
    }

    #[tokio::test]
    async fn two_whole_blocks_in_a_moment_flow() {
        let (mut source, _client) = source();
        let pool = Pool::new(4);
        let piece = async |channel, bytes| {
            let mut buffer = pool.take().await;
            buffer.filled(bytes);
            Piece { channel, offset: Offset::ZERO, buffer }
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
            assert_eq!(source.flows(&piece(channel, bytes).await), flows, "{channel} {bytes}");
        }
    }
}
