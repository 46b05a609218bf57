//! Room for bytes that were read and not taken by their client yet.
//!
//! A client that reads slowly keeps buffers of the pool for as long as it likes, and a writer keeps
//! its buffers for no longer than the disk takes. So all readers together get a third of the pool:
//! writers always find buffers, whatever the readers do (P6).
//!
//! One user has at most half of that third (where it is less than 8 MiB, up to 4 MiB), and users
//! take turns for what is free again. So a thousand sessions of one user that take nothing hold up
//! no read of another user.
//!
//! While a user has half of what one user may have, each session of the user has one short piece at
//! a time, so that many slow readers have room beside each other: with the 96 buffers of the
//! default, two sessions with 4 MiB each and 128 with 64 KiB. It is the same for all users while
//! three quarters of the third are taken.

use crate::buffer::shared_room::{RoomPermit, SharedRoom};
use crate::buffer::{BlockBuffer, BufferPool, UNITS, WHOLE_BYTES, units_of};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towline_types::UserId;

/// The share of the pool that all readers have together.
#[derive(Debug)]
pub(crate) struct ReadShare {
    pool: Arc<BufferPool>,
    room: Arc<SharedRoom>,
    /// How many units there are.
    total: usize,
    /// How many of them one user may have.
    user_max: usize,
}

/// The room of one session.
#[derive(Debug)]
pub(super) struct ReadRoom {
    share: Arc<ReadShare>,
    user: UserId,
    own: Arc<Semaphore>,
}

/// A buffer to read into. Dropped, its room is free again.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    pub(crate) buffer: BlockBuffer,
    _share: RoomPermit,
    _own: OwnedSemaphorePermit,
}

/// How many units of the pool one session may have, which is four whole buffers. With fewer the
/// disk and the socket wait for each other.
const OWN_UNITS: u32 = 4 * UNITS;

/// The length of a short piece in bytes. It is what a writer gets whose client is slow.
const SHORT_PIECE_BYTES: usize = 64 << 10;

impl ReadShare {
    pub(crate) fn new(pool: &Arc<BufferPool>, buffers: usize) -> Arc<Self> {
        let total = (buffers / 3).max(1) * UNITS as usize;
        // Of a small share, a user may have as much as one session can use, where that leaves four
        // short pieces to other users.
        let left_units = 4 * units_of(SHORT_PIECE_BYTES) as usize;
        let (whole, own) = (UNITS as usize, OWN_UNITS as usize);
        let user_max = (total - left_units).clamp(whole, own).max(total / 2);
        let room = SharedRoom::new(total, user_max);
        Arc::new(Self { pool: Arc::clone(pool), room, total, user_max })
    }

    /// Whether the user has half of what one user may have, or at most a quarter is free for all;
    /// `apart` units that the user has are taken as free.
    fn is_scarce(&self, user: UserId, apart: usize) -> bool {
        let (free, taken) = self.room.free_and_taken_by(user);
        2 * (taken - apart) >= self.user_max || free + apart <= self.total / 4
    }
}

impl ReadRoom {
    pub(super) fn new(share: &Arc<ReadShare>, user: UserId) -> Self {
        let own = Arc::new(Semaphore::new(OWN_UNITS as usize));
        Self { share: Arc::clone(share), user, own }
    }

    /// How long a piece may be now, in bytes.
    pub(super) fn piece_bytes(&self) -> usize {
        if self.is_scarce() { SHORT_PIECE_BYTES } else { WHOLE_BYTES }
    }

    /// A buffer of at most `bytes` bytes, if there is room for it now. It is a short one where room
    /// has become scarce.
    pub(super) fn try_take(&self, bytes: usize) -> Option<ReadBuffer> {
        let own = Arc::clone(&self.own).try_acquire_many_owned(self.own_units(bytes)).ok()?;
        let bytes = bytes.min(self.piece_bytes());
        let share = self.share.room.try_take(self.user, units_of(bytes) as usize)?;
        let (bytes, share) = self.shorten(bytes, share);
        let buffer = self.share.pool.try_take(self.user, bytes)?;
        Some(ReadBuffer { buffer, _share: share, _own: own })
    }

    /// The same, once there is room. Cancel-safe: a wait that is given up loses nothing but its
    /// place in the queues.
    ///
    /// The buffer of the pool comes last: a reader that waits for its own client keeps none.
    pub(super) async fn take(&self, bytes: usize) -> ReadBuffer {
        let own = Arc::clone(&self.own).acquire_many_owned(self.own_units(bytes)).await;
        let own = own.expect("the semaphore never closes");
        let bytes = bytes.min(self.piece_bytes());
        let share = self.share.room.take(self.user, units_of(bytes) as usize).await;
        let (bytes, share) = self.shorten(bytes, share);
        let buffer = self.share.pool.take(self.user, bytes).await;
        ReadBuffer { buffer, _share: share, _own: own }
    }

    /// Makes a short piece of a longer one where other sessions have made room scarce since its
    /// length was chosen.
    fn shorten(&self, bytes: usize, mut share: RoomPermit) -> (usize, RoomPermit) {
        if bytes <= SHORT_PIECE_BYTES || !self.share.is_scarce(self.user, share.units()) {
            return (bytes, share);
        }
        share.shrink(units_of(SHORT_PIECE_BYTES) as usize);
        (SHORT_PIECE_BYTES, share)
    }

    fn is_scarce(&self) -> bool {
        self.share.is_scarce(self.user, 0)
    }

    /// How much of the session's own units a piece takes: where the share is scarce all of them,
    /// and so the session has no other piece meanwhile.
    fn own_units(&self, bytes: usize) -> u32 {
        if self.is_scarce() { OWN_UNITS } else { units_of(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;
    use towline_testkit::user;

    #[tokio::test]
    async fn readers_leave_two_thirds_of_the_pool_to_writers() {
        let pool = BufferPool::new(12);
        let share = ReadShare::new(&pool, 12);
        let (slow, other) = (ReadRoom::new(&share, user(1)), ReadRoom::new(&share, user(1)));
        assert_eq!(slow.piece_bytes(), WHOLE_BYTES);
        let held = [slow.take(WHOLE_BYTES).await, slow.take(WHOLE_BYTES).await];
        assert_eq!(other.piece_bytes(), SHORT_PIECE_BYTES);
        assert!(slow.try_take(SHORT_PIECE_BYTES).is_none(), "it has more than its part");
        let short = other.take(SHORT_PIECE_BYTES).await;
        assert!(other.try_take(1).is_none(), "one at a time");
        let writers = (0..8).map_while(|number| pool.try_take(user(2 + number % 2), WHOLE_BYTES));
        let writers: Vec<_> = writers.collect();
        assert_eq!(writers.len(), 8);
        drop((held, short));
        assert_eq!(slow.piece_bytes(), WHOLE_BYTES);
        assert!(slow.try_take(WHOLE_BYTES).is_some());
    }

    #[tokio::test]
    async fn a_session_has_room_for_four_whole_pieces_or_many_small_ones() {
        let pool = BufferPool::new(60);
        let share = ReadShare::new(&pool, 60);
        let room = ReadRoom::new(&share, user(1));
        let whole: Vec<_> = std::iter::from_fn(|| room.try_take(WHOLE_BYTES)).collect();
        assert_eq!(whole.len(), 4);
        drop(whole);
        let small: Vec<_> = std::iter::from_fn(|| room.try_take(4096)).collect();
        assert_eq!(small.len(), OWN_UNITS as usize);
    }

    #[tokio::test]
    async fn one_user_has_half_of_the_room_of_all_readers() {
        for (buffers, of_one) in [(3, 1), (6, 1), (9, 2), (12, 3), (24, 4), (96, 16)] {
            let pool = BufferPool::new(buffers);
            let share = ReadShare::new(&pool, buffers);
            let whole = |number| share.room.try_take(user(number), UNITS as usize);
            let theirs: Vec<_> = std::iter::from_fn(|| whole(1)).collect();
            assert_eq!(theirs.len(), of_one, "of {buffers}");
            let small: Vec<_> = std::iter::from_fn(|| share.room.try_take(user(1), 1)).collect();
            let left = share.room.try_take(user(2), 4 * units_of(SHORT_PIECE_BYTES) as usize);
            assert_eq!(left.is_some(), buffers >= 6, "of {buffers}");
            drop((theirs, small, left));
            let room = ReadRoom::new(&share, user(1));
            assert!(room.try_take(room.piece_bytes()).is_some(), "of {buffers}");
        }
    }

    #[tokio::test]
    async fn a_piece_is_short_where_room_became_scarce_while_its_session_waited() {
        let pool = BufferPool::new(96);
        let share = ReadShare::new(&pool, 96);
        let room = ReadRoom::new(&share, user(1));
        let mut first: Vec<_> = std::iter::from_fn(|| room.try_take(WHOLE_BYTES)).collect();
        let mut waiting = std::pin::pin!(room.take(WHOLE_BYTES));
        let waits = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context)));
        assert!(waits.await.is_pending());
        let other = ReadRoom::new(&share, user(1));
        let _held: Vec<_> = std::iter::from_fn(|| other.try_take(WHOLE_BYTES)).collect();
        let crowd: Vec<_> = (0..16).map(|_| ReadRoom::new(&share, user(1))).collect();
        let _short: Vec<_> = crowd.iter().map(|room| room.try_take(WHOLE_BYTES)).collect();
        first.pop();
        assert_eq!(waiting.await.buffer.units(), units_of(SHORT_PIECE_BYTES));
    }

    #[tokio::test]
    async fn a_user_gets_whole_pieces_beside_many_slow_sessions_of_another() {
        let pool = BufferPool::new(96);
        let share = ReadShare::new(&pool, 96);
        let crowd: Vec<_> = (0..700).map(|_| ReadRoom::new(&share, user(1))).collect();
        let held = |room: &ReadRoom| room.try_take(room.piece_bytes());
        let of_first: Vec<_> = std::iter::from_fn(|| held(&crowd[0])).collect();
        assert_eq!(of_first.len(), 4);
        let of_others: Vec<_> = crowd[1..].iter().filter_map(held).collect();
        assert_eq!(share.room.free_units(), share.total / 2, "{}", of_others.len());
        let other = ReadRoom::new(&share, user(2));
        assert_eq!(other.piece_bytes(), WHOLE_BYTES);
        let pieces: Vec<_> = std::iter::from_fn(|| held(&other)).collect();
        assert_eq!(pieces.len(), 4);
    }
}
