//! The buffers that payload is read into. Their number bounds the memory that all connections
//! together can claim for payload (P6): a connection that finds no free buffer waits and reads
//! nothing, and so TCP makes its sender wait too.
//!
//! One user has at most half of the pool, and users take turns: the next buffer that is free goes to
//! the user whose turn it is. So a connection of one user does not wait for all connections of
//! another.

pub(crate) mod shared_room;

use shared_room::{RoomPermit, RoomRequest, SharedRoom};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use towline_types::UserId;
use towline_types::block::BLOCK_SIZE_BYTES;

/// All buffers of a server.
#[derive(Debug)]
pub struct BufferPool {
    room: Arc<SharedRoom>,
    buffers: usize,
    /// Whole buffers that were given back. Their bytes are not cleared: to clear a MiB that is
    /// written over next would cost a pass over every byte.
    spare: Mutex<Vec<Box<[u8]>>>,
}

/// A buffer on loan. As a rule it holds one block, which is as much as the largest chunk,
/// until it is [packed](Self::pack).
#[derive(Debug)]
pub struct BlockBuffer {
    bytes: Box<[u8]>,
    filled: usize,
    pool: Arc<BufferPool>,
    room: RoomPermit,
}

/// A place in the queue for a buffer; the buffer, when it is awaited. Dropped, the place is lost,
/// and with it the buffer, if it was granted already. Cancel-safe: a reference to it may be awaited
/// again and again.
#[derive(Debug)]
pub struct BufferRequest {
    bytes: usize,
    pool: Arc<BufferPool>,
    room: RoomRequest,
}

/// The unit in which memory is counted, in bytes.
const UNIT_BYTES: usize = 4 << 10;

/// The length of a whole buffer in bytes: one block.
pub const WHOLE_BYTES: usize = 1 << 20;

/// How many units of 4 KiB a whole buffer takes of the pool.
pub const UNITS: u32 = 1 << 8;

const _: () = assert!(WHOLE_BYTES as u64 == BLOCK_SIZE_BYTES);
const _: () = assert!(UNITS as usize * UNIT_BYTES == WHOLE_BYTES);

/// A buffer with at most this many bytes in it is exchanged for one that just fits: otherwise a
/// thousand small files on their way would keep a thousand whole buffers from other files.
const PACKED_BYTES_MAX: usize = 64 << 10;

impl BufferPool {
    /// A pool of that many buffers of [`WHOLE_BYTES`]. None of them is made yet.
    #[must_use]
    pub fn new(buffers: usize) -> Arc<Self> {
        let units = buffers * UNITS as usize;
        // One buffer at least, or a user of a small pool would never get a whole one.
        let room = SharedRoom::new(units, (units / 2).max(UNITS as usize));
        Arc::new(Self { room, buffers, spare: Mutex::default() })
    }

    /// Whether at most half of the pool is free. If so, a door should keep no buffer that it does
    /// not need at once.
    pub fn is_scarce(&self) -> bool {
        self.free_units() <= self.buffers * UNITS as usize / 2
    }

    /// A buffer of `bytes` bytes, at most a block, for data of that user, once the pool has room
    /// for it and it is the turn of the user.
    pub fn take(self: &Arc<Self>, user: UserId, bytes: usize) -> BufferRequest {
        let room = self.room.take(user, units_of(bytes) as usize);
        BufferRequest { bytes, pool: Arc::clone(self), room }
    }

    /// A buffer of `bytes` bytes, if the pool has room for it now and no other task waits for room.
    pub fn try_take(self: &Arc<Self>, user: UserId, bytes: usize) -> Option<BlockBuffer> {
        let room = self.room.try_take(user, units_of(bytes) as usize)?;
        Some(BlockBuffer::of(bytes, self, room))
    }

    fn free_units(&self) -> usize {
        self.room.free_units()
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The units that a buffer of that length takes.
pub(crate) fn units_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(UNITS)
}

impl Future for BufferRequest {
    type Output = BlockBuffer;

    /// # Panics
    /// Where the buffer was returned already.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<BlockBuffer> {
        let permit = ready!(Pin::new(&mut self.room).poll(context));
        Poll::Ready(BlockBuffer::of(self.bytes, &self.pool, permit))
    }
}

impl BlockBuffer {
    fn of(length: usize, pool: &Arc<BufferPool>, room: RoomPermit) -> Self {
        let is_whole = length == WHOLE_BYTES;
        let spare = if is_whole { pool.spare().pop() } else { None };
        let bytes = spare.unwrap_or_else(|| vec![0; length].into_boxed_slice());
        Self { bytes, filled: 0, pool: Arc::clone(pool), room }
    }

    /// The bytes that were put into it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// The space for more bytes.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// The first `count` bytes of [`Self::space`] were filled.
    pub fn filled(&mut self, count: usize) {
        self.filled += count;
    }

    /// Whether there is no space left.
    pub fn is_full(&self) -> bool {
        self.filled == self.bytes.len()
    }

    /// How many units of the pool it takes.
    pub fn units(&self) -> u32 {
        u32::try_from(self.room.units()).unwrap_or(UNITS)
    }

    /// To be called when nothing more will be put into it: if it holds few bytes, they move to a
    /// buffer that just fits, and the rest of the memory is free for other buffers.
    pub fn pack(&mut self) {
        let kept = self.filled.div_ceil(UNIT_BYTES).max(1);
        if self.filled > PACKED_BYTES_MAX || kept >= self.room.units() {
            return;
        }
        let packed = Box::from(self.bytes());
        self.give_back(packed, 0);
        self.room.shrink(kept);
    }

    fn is_whole(&self) -> bool {
        self.bytes.len() == WHOLE_BYTES
    }

    /// Exchanges the memory of this buffer for `instead`, and keeps a whole buffer as a spare one
    /// if the pool has room for it: otherwise packed and spare buffers together could take twice
    /// what the pool may claim (P6). `own` is the number of whole buffers whose room is given back
    /// with it.
    fn give_back(&mut self, instead: Box<[u8]>, own: usize) {
        let is_whole = self.is_whole();
        let bytes = std::mem::replace(&mut self.bytes, instead);
        let room = self.pool.free_units() / UNITS as usize + own;
        let mut spare = self.pool.spare();
        if is_whole && spare.len() < room {
            spare.push(bytes);
        }
    }
}

impl Drop for BlockBuffer {
    fn drop(&mut self) {
        self.give_back(Box::default(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_testkit::user;

    #[tokio::test]
    async fn a_small_buffer_takes_what_it_holds_and_leaves_the_rest_to_others() {
        let pool = BufferPool::new(1);
        let mut small = pool.take(user(1), 8 << 10).await;
        assert_eq!((small.space().len(), small.units()), (8 << 10, 2));
        assert!(pool.try_take(user(1), WHOLE_BYTES).is_none() && !pool.is_scarce());
        small.filled(8 << 10);
        small.pack();
        assert_eq!((small.is_full(), small.units()), (true, 2));
        let mut other = pool.try_take(user(1), 8 << 10).expect("room for two small ones");
        other.filled(1);
        other.pack();
        assert_eq!((other.bytes().len(), other.units()), (1, 1));
        drop((small, other));
        assert_eq!(pool.spare().len(), 0, "only whole buffers are kept");
        assert!(pool.try_take(user(1), WHOLE_BYTES).is_some());
    }

    #[tokio::test]
    async fn a_packed_buffer_takes_what_it_holds() {
        let pool = BufferPool::new(1);
        let mut small = pool.take(user(1), WHOLE_BYTES).await;
        assert!(pool.is_scarce());
        small.space()[..5000].fill(7);
        small.filled(5000);
        assert_eq!(small.units(), UNITS);
        small.pack();
        small.pack();
        assert_eq!((small.bytes(), small.units()), (&[7; 5000][..], 2));
        assert_eq!(pool.spare().len(), 0, "its room is taken by what was packed");
        // The one whole buffer is not free again before the small one is.
        drop(small);
        let mut large = pool.take(user(1), WHOLE_BYTES).await;
        large.filled(PACKED_BYTES_MAX + 1);
        large.pack();
        assert_eq!(large.units(), UNITS);
        drop(large);
        assert_eq!(pool.free_units(), UNITS as usize);
        assert_eq!(pool.spare().len(), 1);
    }

    #[tokio::test]
    async fn one_user_has_half_of_the_pool_and_users_take_turns() {
        let pool = BufferPool::new(4);
        let take = |number| pool.take(user(number), WHOLE_BYTES);
        let (first, second) = (take(1).await, take(1).await);
        let mut crowd: Vec<_> = (0..40).map(|_| take(1)).collect();
        assert_eq!(pool.free_units(), 2 * UNITS as usize, "the other half is not theirs");
        let others = [take(2).await, take(3).await];
        let mut one = take(2);
        assert!(pool.try_take(user(4), 1).is_none(), "none is free");
        drop(first);
        let _theirs = (&mut crowd[0]).await;
        drop(second);
        // Of the forty that came earlier, one got the last buffer. Now it is the other's turn.
        let _own = (&mut one).await;
        drop(crowd);
        drop(others);
        assert!(pool.try_take(user(4), WHOLE_BYTES).is_some());
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_keeps_nothing() {
        let pool = BufferPool::new(1);
        let held = pool.take(user(1), WHOLE_BYTES).await;
        let given_up = pool.take(user(1), WHOLE_BYTES);
        let granted = pool.take(user(2), WHOLE_BYTES);
        let last = pool.take(user(1), 4096);
        drop(given_up);
        drop(held);
        assert_eq!(pool.free_units(), 0, "granted, and not asked for yet");
        drop(granted);
        assert_eq!(last.await.units(), 1);
        assert_eq!(pool.free_units(), UNITS as usize);
    }
}
