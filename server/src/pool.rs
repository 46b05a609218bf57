//! The buffers that payload is read into. Their number is the most memory that
//! all connections together can claim for payload (P6): who finds none free
//! waits, and TCP makes the sender wait too.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towline_protocol::limits;

/// All buffers of a server.
#[derive(Debug)]
pub(crate) struct Pool {
    room: Arc<Semaphore>,
    buffers: usize,
    /// Buffers given back. They stay as they are: clearing a MiB only for it to
    /// be written over would cost a pass over every byte.
    spare: Mutex<Vec<Box<[u8]>>>,
}

/// A buffer on loan. It holds one block, which is as much as the largest chunk.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(buffers: usize) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(buffers));
        Arc::new(Self { room, buffers, spare: Mutex::default() })
    }

    /// Whether so few are free that nobody should keep one for later.
    pub(crate) fn is_scarce(&self) -> bool {
        self.room.available_permits() <= self.buffers / 2
    }

    /// The next buffer that is free. Cancel-safe: a wait given up loses nothing
    /// but its place in the queue.
    pub(crate) async fn take(self: &Arc<Self>) -> Buffer {
        let permit = Arc::clone(&self.room).acquire_owned().await.expect("the pool never closes");
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes =
            spare.unwrap_or_else(|| vec![0; limits::CHUNK_BYTES_MAX as usize].into_boxed_slice());
        Buffer { bytes, filled: 0, pool: Arc::clone(self), _permit: permit }
    }
}

impl Buffer {
    /// What has been put into it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Where more may be put.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// So many bytes of [`Self::space`] were filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.filled += count;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.spare.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}
