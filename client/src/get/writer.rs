//! The threads that write blocks that have arrived, and give whole files their names.

use super::download::{Download, Sink};
use super::staging::Durability;
use crate::failure::Failure;
use rustix::fs::Mode;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError, mpsc as work};
use tokio::sync::mpsc;
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{BlockIndex, ChainingValue};

/// The number of blocks that are read from the socket, wait, or are being written, where there is
/// one connection.
const BUFFERS: usize = 8;

/// The number of further ones for each further connection: one is being read, and one waits.
const BUFFERS_OF_CONNECTION: usize = 2;

/// The number of threads that make whole files durable: the disk does several syncs in the time of
/// one.
const FINISHERS: usize = 4;

/// The number of whole files that wait for these threads.
const FINISHING: usize = 64;

/// The bytes of one block. The buffer goes back to the writer when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    home: mpsc::UnboundedSender<Vec<u8>>,
}

impl Buffer {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Where the writer has ended already the buffer is simply freed.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

/// A block that has arrived.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) download: Arc<Download>,
    pub(super) index: BlockIndex,
    /// The value of the bytes that came. The connection hashes them, and not the writer: the system
    /// keeps the writer busy with copies, and it is the slowest of all who have a part in a file.
    pub(super) value: ChainingValue,
    /// The block is good where its value is one of these.
    pub(super) values: Vec<ChainingValue>,
    pub(super) length_bytes: usize,
    pub(super) buffer: Buffer,
}

/// What has become of a block or a file.
#[derive(Debug)]
pub(super) enum Done {
    /// The block is in its place.
    Written { download: Arc<Download>, bytes: u64 },
    /// The block has none of the values that it may have. `values` are these, and the value that it
    /// has.
    Bad { download: Arc<Download>, index: BlockIndex, values: Vec<ChainingValue> },
    /// The block follows a bad one on standard output, and was not written.
    Passed,
    /// The block cannot be written.
    Failed(Arc<Download>, Failure),
    /// The file has its name.
    Finished(Arc<Download>),
    /// The file is not the one that it should be, or cannot have its name.
    Unfinished(Arc<Download>, Failure),
}

enum Work {
    Block(Arrived),
    Finish(Arc<Download>),
}

/// See the module's description. The threads end when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    work: mpsc::UnboundedSender<Work>,
    free: tokio::sync::Mutex<Free>,
    home: mpsc::UnboundedSender<Vec<u8>>,
    done: tokio::sync::Mutex<mpsc::UnboundedReceiver<Done>>,
}

/// The buffers that are not in use.
#[derive(Debug)]
struct Free {
    buffers: mpsc::UnboundedReceiver<Vec<u8>>,
    /// How many may yet be made.
    unmade: usize,
}

impl Writer {
    /// # Errors
    /// Where the system has no threads for that.
    pub(super) fn start(
        durability: Durability,
        umask: Mode,
        connections: usize,
    ) -> io::Result<Self> {
        let (to_work, mut todo) = mpsc::unbounded_channel();
        let (home, free) = mpsc::unbounded_channel();
        let (tell, done) = mpsc::unbounded_channel();
        let (finish, finishing) = work::sync_channel::<Arc<Download>>(FINISHING);
        let finishing = Arc::new(Mutex::new(finishing));
        for _ in 0..if durability == Durability::Synced { FINISHERS } else { 1 } {
            let (finishing, tell) = (Arc::clone(&finishing), tell.clone());
            std::thread::Builder::new().name("towline-finish".to_owned()).spawn(move || {
                loop {
                    let next = finishing.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(download) = next else { return };
                    let done = match download.publish(umask) {
                        Ok(()) => Done::Finished(download),
                        Err(failure) => Done::Unfinished(download, failure),
                    };
                    // Where nothing waits for it, the file is there all the same.
                    let _ = tell.send(done);
                }
            })?;
        }
        std::thread::Builder::new().name("towline-write".to_owned()).spawn(move || {
            while let Some(work) = todo.blocking_recv() {
                let done = match work {
                    Work::Block(arrived) => write(arrived),
                    Work::Finish(download) => {
                        if finish.send(download).is_err() {
                            return;
                        }
                        continue;
                    }
                };
                if tell.send(done).is_err() {
                    return;
                }
            }
        })?;
        let unmade = BUFFERS + connections.saturating_sub(1) * BUFFERS_OF_CONNECTION;
        let free = tokio::sync::Mutex::new(Free { buffers: free, unmade });
        Ok(Self { work: to_work, free, home, done: tokio::sync::Mutex::new(done) })
    }

    /// A buffer for the next block, once one is free: so memory is bounded.
    ///
    /// Cancel-safe: a buffer that is free stays free.
    pub(super) async fn buffer(&self) -> Buffer {
        let mut free = self.free.lock().await;
        let bytes = match free.buffers.try_recv() {
            Ok(bytes) => bytes,
            Err(_) if free.unmade > 0 => {
                free.unmade -= 1;
                vec![0; usize::try_from(BLOCK_SIZE_BYTES).unwrap_or(1 << 20)]
            }
            // The sender that is held here keeps the channel open.
            Err(_) => free.buffers.recv().await.unwrap_or_default(),
        };
        Buffer { bytes, home: self.home.clone() }
    }

    /// Has a block written. Does not wait: each has a buffer, and there are few.
    pub(super) fn write(&self, arrived: Arrived) {
        // Where the thread has ended, the failure was told.
        let _ = self.work.send(Work::Block(arrived));
    }

    /// Has a file get its name, after its last block.
    pub(super) fn finish(&self, download: Arc<Download>) {
        let _ = self.work.send(Work::Finish(download));
    }

    /// What has become of the next block or file; nothing where the threads have ended.
    ///
    /// Cancel-safe.
    pub(super) async fn done(&self) -> Option<Done> {
        self.done.lock().await.recv().await
    }
}

fn write(arrived: Arrived) -> Done {
    let Arrived { download, index, value, mut values, length_bytes, buffer } = arrived;
    let bytes = &buffer.bytes[..length_bytes];
    if !values.contains(&value) {
        values.push(value);
        return Done::Bad { download, index, values };
    }
    let written = {
        let mut sink = download.sink.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *sink {
            Sink::Staging(staging) => staging.write(index, value, bytes),
            Sink::Output(values) if values.len() as u64 != index.get() => return Done::Passed,
            Sink::Output(values) => {
                values.push(value);
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
        }
    };
    match written {
        Ok(()) => Done::Written { download, bytes: length_bytes as u64 },
        Err(error) => {
            let failure = download.cannot("write", error);
            Done::Failed(download, failure)
        }
    }
}
