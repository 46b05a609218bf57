//! A lane that draws its own work from the connection.
//!
//! To hand every block of a fast upload from the session to its lane costs more than to
//! receive it: two threads wake each other for each, and a second core fetches the bytes
//! that the first has just had. So while one channel has much to say, its lane has the
//! connection's [`Inlet`] for a while: one thread receives, hashes and writes, with one
//! buffer that stays in its cache. What is not for this channel, and any pause, brings
//! the inlet back to the session.

use crate::command::Command;
use crate::inlet::{Incoming, Inlet, InletError, Piece};
use crate::socket::Patient;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use towline_protocol::Channel;
use towline_types::block::BLOCK_SIZE_BYTES;

/// Two whole blocks that come within it are the beginning of many.
const FAST: Duration = Duration::from_millis(10);

/// So long a lane waits for what comes next, with a thread that does nothing else: for
/// less than the inlet lingers, so that a piece that waits for more goes back with it.
const PATIENCE: Duration = Duration::from_millis(20);

/// So long a tap lasts at the most: then others may have the place.
const TERM: Duration = Duration::from_millis(500);

/// The lane's end.
pub(crate) trait Tap: Send {
    /// The next that came for the lane's channel, if it comes soon. Blocks.
    fn draw(&mut self) -> Option<Command>;
}

/// The session's end: the inlet, or the way back of it.
pub(crate) struct Source<R> {
    inlet: Option<Inlet<R>>,
    lent: Option<Lent<R>>,
    /// Has come back with the inlet, and comes before what that has.
    last: Option<Result<Incoming, InletError>>,
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
struct Spout<R: Patient> {
    channel: Channel,
    /// What goes back, and how; there until this is dropped.
    held: Option<(Returned<R>, oneshot::Sender<Returned<R>>)>,
    ends: Instant,
    /// Since when nothing is read: what was drawn is being written.
    resting: Option<Instant>,
    recalled: Arc<AtomicBool>,
    _place: OwnedSemaphorePermit,
}

impl<R: AsyncRead + Unpin> Source<R> {
    pub(crate) fn new(inlet: Inlet<R>) -> Self {
        Self { inlet: Some(inlet), lent: None, last: None, whole: None }
    }

    pub(crate) fn is_lent(&self) -> bool {
        self.lent.is_some()
    }

    /// What [`Inlet::next`] says; where the inlet is lent, nothing but that it is back.
    /// Cancel-safe, as that and a oneshot are.
    pub(crate) async fn next(&mut self) -> Option<Result<Incoming, InletError>> {
        if self.is_lent() {
            self.back().await;
            return None;
        }
        if let Some(last) = self.last.take() {
            return Some(last);
        }
        Some(self.inlet.as_mut().expect("it is here or lent").next().await)
    }

    async fn back(&mut self) {
        if let Some(lent) = &mut self.lent {
            let returned = lent.returned().await;
            self.lent = None;
            self.inlet = Some(returned.inlet);
            self.last = returned.last;
        }
    }

    /// Notes that this piece came, and says whether it makes a tap worth while.
    pub(crate) fn flows_with(&mut self, piece: &Piece) -> bool {
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
        R: Patient + Send + 'static,
    {
        let inlet = self.inlet.take()?;
        let (back, returned) = oneshot::channel();
        let recalled = Arc::new(AtomicBool::new(false));
        self.lent = Some(Lent { returned, recalled: Arc::clone(&recalled) });
        Some(Box::new(Spout {
            channel,
            held: Some((Returned { inlet, last: None }, back)),
            ends: Instant::now() + TERM,
            resting: None,
            recalled,
            _place: place,
        }))
    }

    /// For while nothing is to be read: what has come of a piece. Where the inlet is lent
    /// it is to come back first.
    pub(crate) fn pause(&mut self) -> Option<Piece> {
        if let Some(lent) = &self.lent {
            lent.recall();
        }
        match self.last.take() {
            Some(Ok(Incoming::Piece(piece))) => Some(piece),
            last => {
                self.last = last;
                self.inlet.as_mut().and_then(Inlet::take_piece)
            }
        }
    }

    /// For when nothing more is to be read at all: the inlet, and what has come of a
    /// piece.
    pub(crate) async fn end(&mut self) -> (Inlet<R>, Option<Piece>) {
        let lent = self.pause();
        self.back().await;
        let piece = lent.or_else(|| self.pause());
        (self.inlet.take().expect("it is here now"), piece)
    }

    /// When the client will have been silent, or at one frame, for too long; while the
    /// inlet is lent it is neither.
    pub(crate) fn deadline(&self, frame: Duration, silence: Duration) -> Instant {
        let here = self.inlet.as_ref().map(|inlet| inlet.deadline(frame, silence));
        here.unwrap_or_else(|| Instant::now() + silence)
    }

    /// See [`Inlet::excuse_silence`].
    pub(crate) fn excuse_silence(&mut self) {
        if let Some(inlet) = &mut self.inlet {
            inlet.excuse_silence();
        }
    }

    /// See [`Inlet::excuse`].
    pub(crate) fn excuse(&mut self, waited: Duration) {
        if let Some(inlet) = &mut self.inlet {
            inlet.excuse(waited);
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

impl<R: AsyncRead + Patient + Unpin + Send> Tap for Spout<R> {
    fn draw(&mut self) -> Option<Command> {
        let (held, _) = self.held.as_mut()?;
        let now = Instant::now();
        // The disk may have been slow; that is not the client's time.
        if let Some(since) = self.resting.take() {
            held.inlet.excuse(now.saturating_duration_since(since));
        }
        let is_over = held.last.is_some() || now >= self.ends;
        if is_over || self.recalled.load(Ordering::Relaxed) {
            return None;
        }
        held.inlet.wait_alone(Some(std::time::Instant::now() + PATIENCE));
        // It waits as it reads: where it has nothing to say then, nothing came, or no
        // buffer is free, and the session waits for that. Cancel-safe: the inlet keeps
        // what it has read.
        let next = pin!(held.inlet.next()).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(next) = next else { return None };
        match next {
            Ok(Incoming::Piece(Piece { channel, offset, buffer, .. }))
                if channel == self.channel =>
            {
                self.resting = Some(Instant::now());
                Some(Command::Data { offset, buffer })
            }
            Ok(Incoming::Block { channel, index, value }) if channel == self.channel => {
                Some(Command::Announce { index, value })
            }
            other => {
                held.last = Some(other);
                None
            }
        }
    }
}

impl<R: Patient> Drop for Spout<R> {
    fn drop(&mut self) {
        if let Some((mut held, back)) = self.held.take() {
            held.inlet.wait_alone(None);
            if let Some(since) = self.resting {
                held.inlet.excuse(since.elapsed());
            }
            // Where nobody waits for it, the connection is gone.
            let _ = back.send(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use crate::socket::{Receiver, halves};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Semaphore;
    use tokio::task::spawn_blocking;
    use towline_protocol::frame::{self, Caps};
    use towline_types::{BlockIndex, ChainingValue, Offset};

    const BLOCK: usize = 1 << 20;
    const ONE: Channel = Channel(1);

    /// A source, and what writes to it.
    async fn source() -> (Source<Receiver>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (receiver, _) = halves(listener.accept().await.unwrap().0).unwrap();
        (Source::new(Inlet::new(receiver, Caps::SERVER, Pool::new(4))), client)
    }

    fn lent(source: &mut Source<Receiver>) -> Box<dyn Tap> {
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
            let Some(Command::Data { offset, buffer }) = tap.draw() else { panic!("no piece") };
            assert_eq!((offset, buffer.bytes()), (Offset::ZERO, &[7; 5000][..]));
            assert!(matches!(tap.draw(), Some(Command::Announce { index: BlockIndex::FIRST, .. })));
            assert!(tap.draw().is_none());
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
        let drawn = spawn_blocking(move || tap.draw().is_none());
        assert!(drawn.await.unwrap(), "it waits for the other half, but not for long");
        let (_, came) = source.end().await;
        let piece = came.expect("the half");
        assert_eq!((piece.offset.get(), piece.buffer.bytes()), (5, &[7; 40][..]));
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
        assert!(spawn_blocking(move || tap.draw().is_none()).await.unwrap());
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
        assert!(spawn_blocking(move || tap.draw().is_none()).await.unwrap());
        // The session does not listen just now: the piece must not keep a buffer.
        assert!(source.pause().is_none());
        assert!(source.next().await.is_none());
        let piece = source.pause().expect("the piece");
        assert_eq!((piece.channel, piece.buffer.bytes()), (Channel(2), &[7; 40][..]));
        drop(piece);
        assert!(matches!(source.next().await, Some(Ok(Incoming::Control(_)))));
    }

    #[tokio::test]
    async fn two_whole_blocks_in_a_moment_flow() {
        let (mut source, _client) = source().await;
        let pool = Pool::new(4);
        let piece = async |channel, bytes| {
            let mut buffer = pool.take(BLOCK).await;
            buffer.filled(bytes);
            Piece { channel, offset: Offset::ZERO, buffer, since: Instant::now() }
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
            assert_eq!(source.flows_with(&piece(channel, bytes).await), flows, "{channel} {bytes}");
        }
    }
}
