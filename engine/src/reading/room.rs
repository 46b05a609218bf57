//! Room for bytes that were read and not taken by their client yet.
//!
//! A client that reads slowly keeps buffers of the pool for as long as it likes, and a writer keeps
//! its buffers for no longer than the disk takes. So all readers together get a third of the pool:
//! writers always find buffers, whatever the readers do (P6). While half of that third is taken, a
//! session has one short piece at a time, so that hundreds of slow readers have room beside each
//! other: with the 96 buffers of the default, four sessions with 4 MiB each and 256 with 64 KiB.

use crate::buffer::{BlockBuffer, BufferPool, UNITS, WHOLE_BYTES, units_of};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towline_types::UserId;

/// The share of the pool that all readers have together.
#[derive(Debug)]
pub(crate) struct ReadShare {
    pool: Arc<BufferPool>,
    units: Arc<Semaphore>,
    /// How many units there are.
    total: usize,
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
    _share: OwnedSemaphorePermit,
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
        let units = Arc::new(Semaphore::new(total));
        Arc::new(Self { pool: Arc::clone(pool), units, total })
    }

    /// Whether at most half of the share is free.
    fn is_scarce(&self) -> bool {
        self.units.available_permits() <= self.total / 2
    }
}

impl ReadRoom {
    pub(super) fn new(share: &Arc<ReadShare>, user: UserId) -> Self {
        let own = Arc::new(Semaphore::new(OWN_UNITS as usize));
        Self { share: Arc::clone(share), user, own }
    }

    /// How long a piece may be now, in bytes.
    pub(super) fn piece_bytes(&self) -> usize {
        if self.share.is_scarce() { SHORT_PIECE_BYTES } else { WHOLE_BYTES }
    }

    /// A buffer of `bytes` bytes, if there is room for it now.
    pub(super) fn try_take(&self, bytes: usize) -> Option<ReadBuffer> {
        let own = Arc::clone(&self.own).try_acquire_many_owned(self.own_units(bytes)).ok()?;
        let share = Arc::clone(&self.share.units).try_acquire_many_owned(units_of(bytes)).ok()?;
        let buffer = self.share.pool.try_take(self.user, bytes)?;
        Some(ReadBuffer { buffer, _share: share, _own: own })
    }

    /// The same, once there is room. Cancel-safe: a wait that is given up loses nothing but its
    /// place in the queues.
    ///
    /// The buffer of the pool comes last: a reader that waits for its own client keeps none.
    pub(super) async fn take(&self, bytes: usize) -> ReadBuffer {
        let own = acquire(&self.own, self.own_units(bytes)).await;
        let share = acquire(&self.share.units, units_of(bytes)).await;
        let buffer = self.share.pool.take(self.user, bytes).await;
        ReadBuffer { buffer, _share: share, _own: own }
    }

    /// How much of the session's own units a piece takes: where the share is scarce all of them,
    /// and so the session has no other piece meanwhile.
    fn own_units(&self, bytes: usize) -> u32 {
        if self.share.is_scarce() { OWN_UNITS } else { units_of(bytes) }
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, units: u32) -> OwnedSemaphorePermit {
    let acquired = Arc::clone(semaphore).acquire_many_owned(units).await;
    acquired.expect("the semaphore never closes")
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
