//! The buffers that payload is read into. Their number bounds the memory that all connections
//! together can claim for payload (P6): a connection that finds no free buffer waits and reads
//! nothing, and so TCP makes its sender wait too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towline_types::block::BLOCK_SIZE_BYTES;

/// All buffers of a server.
#[derive(Debug)]
pub struct BufferPool {
    room: Arc<Semaphore>,
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
    permit: OwnedSemaphorePermit,
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
        let room = Arc::new(Semaphore::new(buffers * UNITS as usize));
        Arc::new(Self { room, buffers, spare: Mutex::default() })
    }

    /// Whether at most half of the pool is free. If so, a door should keep no buffer that it does
    /// not need at once.
    pub fn is_scarce(&self) -> bool {
        self.room.available_permits() <= self.buffers * UNITS as usize / 2
    }

    /// A buffer of `bytes` bytes, at most a block, once the pool has room for it. Cancel-safe: a
    /// wait that is given up loses nothing but its place in the queue.
    pub async fn take(self: &Arc<Self>, bytes: usize) -> BlockBuffer {
        let room = Arc::clone(&self.room).acquire_many_owned(units_of(bytes));
        self.lend(bytes, room.await.expect("the pool never closes"))
    }

    /// A buffer of `bytes` bytes, if the pool has room for it now and no other task waits for room.
    pub fn try_take(self: &Arc<Self>, bytes: usize) -> Option<BlockBuffer> {
        let permit = Arc::clone(&self.room).try_acquire_many_owned(units_of(bytes)).ok()?;
        Some(self.lend(bytes, permit))
    }

    fn lend(self: &Arc<Self>, length: usize, permit: OwnedSemaphorePermit) -> BlockBuffer {
        let is_whole = length == WHOLE_BYTES;
        let spare = if is_whole { self.spare().pop() } else { None };
        let bytes = spare.unwrap_or_else(|| vec![0; length].into_boxed_slice());
        BlockBuffer { bytes, filled: 0, pool: Arc::clone(self), permit }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The units that a buffer of that length takes.
pub(crate) fn units_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(UNITS)
}

impl BlockBuffer {
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
        u32::try_from(self.permit.num_permits()).unwrap_or(UNITS)
    }

    /// To be called when nothing more will be put into it: if it holds few bytes, they move to a
    /// buffer that just fits, and the rest of the memory is free for other buffers.
    pub fn pack(&mut self) {
        let kept = self.filled.div_ceil(UNIT_BYTES).max(1);
        if self.filled > PACKED_BYTES_MAX || kept >= self.permit.num_permits() {
            return;
        }
        let packed = Box::from(self.bytes());
        self.give_back(packed, 0);
        drop(self.permit.split(self.permit.num_permits().saturating_sub(kept)));
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
        let mut spare = self.pool.spare();
        let room = self.pool.room.available_permits() / UNITS as usize + own;
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

    #[tokio::test]
    async fn a_small_buffer_takes_what_it_holds_and_leaves_the_rest_to_others() {
        let pool = BufferPool::new(1);
        let mut small = pool.take(8 << 10).await;
        assert_eq!((small.space().len(), small.units()), (8 << 10, 2));
        assert!(pool.try_take(WHOLE_BYTES).is_none() && !pool.is_scarce());
        small.filled(8 << 10);
        small.pack();
        assert_eq!((small.is_full(), small.units()), (true, 2));
        let mut other = pool.try_take(8 << 10).expect("room for two small ones");
        other.filled(1);
        other.pack();
        assert_eq!((other.bytes().len(), other.units()), (1, 1));
        drop((small, other));
        assert_eq!(pool.spare().len(), 0, "only whole buffers are kept");
        assert!(pool.try_take(WHOLE_BYTES).is_some());
    }

    #[tokio::test]
    async fn a_packed_buffer_takes_what_it_holds() {
        let pool = BufferPool::new(1);
        let mut small = pool.take(WHOLE_BYTES).await;
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
        let mut large = pool.take(WHOLE_BYTES).await;
        large.filled(PACKED_BYTES_MAX + 1);
        large.pack();
        assert_eq!(large.units(), UNITS);
        drop(large);
        assert_eq!(pool.room.available_permits(), UNITS as usize);
        assert_eq!(pool.spare().len(), 1);
    }
}
