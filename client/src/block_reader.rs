//! Reads and hashes the blocks of the local file for the socket.
//!
//! While the system has the blocks in memory, the task that sends them reads them: one thread then
//! reads, hashes and sends a block while the block is in the processor's cache. From the first
//! block on that has to be read from a disk, or where there is more than one connection, a thread
//! of its own reads ahead.

use crate::plan::BlockRange;
use crate::source::Source;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, mpsc};
use tokio::sync::mpsc as ready;
use towline_types::{BlockIndex, ChainingValue};

/// The number of buffers for one connection: one block being written and one being read. With
/// more of them, no block would still be in the processor's cache when it is written.
const BUFFERS: usize = 2;

/// The number of buffers for each further connection: one block being written, one waiting and
/// one being read.
const BUFFERS_PER_CONNECTION: usize = 3;

/// A block as it was read. When it is dropped, its buffer goes back to the reader.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) index: BlockIndex,
    pub(crate) value: ChainingValue,
    /// The number of bytes at the beginning that the server has already.
    skip_bytes: usize,
    bytes: Vec<u8>,
    home: mpsc::Sender<Vec<u8>>,
}

impl Block {
    /// How far into the block the payload begins.
    pub(crate) fn skip_bytes(&self) -> usize {
        self.skip_bytes
    }

    /// The bytes to send.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[self.skip_bytes..]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // Where the reader has ended already, the buffer is freed.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

/// Hands over the blocks of the ranges that it was given, in the order of the ranges.
#[derive(Debug)]
pub(crate) struct BlockReader {
    source: Arc<Source>,
    mode: ReadMode,
    outstanding: u64,
    home: mpsc::Sender<Vec<u8>>,
    buffers: usize,
}

#[derive(Debug)]
enum ReadMode {
    /// The task that asks for a block reads it.
    Here { todo: VecDeque<BlockRange>, free: mpsc::Receiver<Vec<u8>> },
    /// A thread reads, and ends when this is dropped.
    Ahead { ranges: mpsc::Sender<BlockRange>, blocks: ready::UnboundedReceiver<io::Result<Block>> },
}

impl BlockReader {
    pub(crate) fn new(source: Arc<Source>) -> Self {
        let (home, free) = mpsc::channel();
        let mode = ReadMode::Here { todo: VecDeque::new(), free };
        let mut reader = Self { source, mode, outstanding: 0, home, buffers: 0 };
        reader.supply(BUFFERS);
        reader
    }

    /// Reads far enough ahead to keep `count` connections busy.
    ///
    /// # Errors
    /// Where the system has no thread for that.
    pub(crate) fn serve_connections(&mut self, count: usize) -> io::Result<()> {
        self.supply(BUFFERS + BUFFERS_PER_CONNECTION * count.saturating_sub(1));
        if count > 1 { self.read_ahead() } else { Ok(()) }
    }

    fn supply(&mut self, buffers: usize) {
        while self.buffers < buffers {
            self.buffers += 1;
            let _ = self.home.send(Vec::new());
        }
    }

    /// Adds blocks after those already asked for.
    pub(crate) fn read(&mut self, range: BlockRange) {
        self.outstanding += range.blocks.end - range.blocks.start;
        match &mut self.mode {
            ReadMode::Here { todo, .. } => todo.push_back(range),
            // Where the thread has ended, `next` reports it.
            ReadMode::Ahead { ranges, .. } => drop(ranges.send(range)),
        }
    }

    /// Whether blocks are still to come.
    pub(crate) fn has_more(&self) -> bool {
        self.outstanding > 0
    }

    /// The number of blocks that are still to come.
    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// The next block. Cancel-safe: a block is either handed over or still in the reader.
    pub(crate) async fn next(&mut self) -> io::Result<Block> {
        // To read a block here blocks this thread: other tasks run first.
        if let ReadMode::Here { .. } = self.mode {
            tokio::task::yield_now().await;
        }
        if let Some(block) = self.read_here() {
            self.outstanding = self.outstanding.saturating_sub(1);
            return Ok(block);
        }
        self.read_ahead()?;
        let block = match &mut self.mode {
            ReadMode::Ahead { blocks, .. } => blocks.recv().await,
            ReadMode::Here { .. } => None,
        };
        self.outstanding = self.outstanding.saturating_sub(1);
        block.unwrap_or_else(|| Err(io::Error::other("the reading thread has ended")))
    }

    /// The next block, where the system has it in memory.
    fn read_here(&mut self) -> Option<Block> {
        let ReadMode::Here { todo, free } = &mut self.mode else { return None };
        while todo.front().is_some_and(|range| range.blocks.is_empty()) {
            todo.pop_front();
        }
        let range = todo.front_mut()?;
        let index = BlockIndex::new(range.blocks.start)?;
        let mut bytes = free.try_recv().unwrap_or_default();
        let Some(value) = self.source.read_block_from_memory(index, &mut bytes) else {
            let _ = self.home.send(bytes);
            return None;
        };
        let skip_bytes = usize::try_from(range.skip_bytes).unwrap_or(usize::MAX).min(bytes.len());
        range.skip_bytes = 0;
        range.blocks.start += 1;
        Some(Block { index, value, skip_bytes, bytes, home: self.home.clone() })
    }

    /// Starts the thread that reads, and gives it the ranges that are still to be read.
    fn read_ahead(&mut self) -> io::Result<()> {
        if let ReadMode::Ahead { .. } = self.mode {
            return Ok(());
        }
        let (ranges, to_read) = mpsc::channel();
        // The number of buffers bounds what is ready; the channel need not.
        let (done, blocks) = ready::unbounded_channel();
        let ahead = ReadMode::Ahead { ranges: ranges.clone(), blocks };
        if let ReadMode::Here { todo, free } = std::mem::replace(&mut self.mode, ahead) {
            for range in todo {
                let _ = ranges.send(range);
            }
            let (source, home) = (Arc::clone(&self.source), self.home.clone());
            std::thread::Builder::new()
                .name("towline-read".to_owned())
                .spawn(move || read(&source, &to_read, &done, &home, &free))?;
        }
        Ok(())
    }
}

/// Reads until the channel of the blocks is closed.
fn read(
    source: &Source,
    todo: &mpsc::Receiver<BlockRange>,
    done: &ready::UnboundedSender<io::Result<Block>>,
    home: &mpsc::Sender<Vec<u8>>,
    free: &mpsc::Receiver<Vec<u8>>,
) {
    for range in todo {
        let mut skip_bytes = usize::try_from(range.skip_bytes).unwrap_or(usize::MAX);
        for number in range.blocks {
            // `home` is also held by this thread, so `recv` never fails; it can only wait. When the
            // other side is dropped, its blocks return their buffers, and then the send below
            // fails.
            let Ok(mut bytes) = free.recv() else { return };
            let read = BlockIndex::new(number)
                .ok_or_else(|| io::Error::other("a block beyond any file"))
                .and_then(|index| Ok((index, source.read_block(index, &mut bytes)?)));
            let failed = read.is_err();
            let block = read.map(|(index, value)| Block {
                index,
                value,
                skip_bytes: skip_bytes.min(bytes.len()),
                bytes,
                home: home.clone(),
            });
            if done.send(block).is_err() || failed {
                return;
            }
            skip_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[tokio::test]
    async fn more_blocks_than_buffers_pass_through() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![7; (9 << 20) + 5]).unwrap();
        let mut expected: Vec<(u64, usize)> = (0..9).map(|n| (n, 1 << 20)).collect();
        expected[0].1 -= 3;
        expected.extend([(9, 5), (4, 1 << 20)]);
        // The thread takes over before the first block, between two blocks, and not at all.
        for ahead_from in [0, 5, 100] {
            let source = Arc::new(Source::open(file.path()).unwrap());
            let mut reader = BlockReader::new(source);
            reader.read(BlockRange { blocks: 0..10, skip_bytes: 3 });
            reader.read(BlockRange::whole(BlockIndex::new(4).unwrap()));
            let mut seen = Vec::new();
            while reader.has_more() {
                if seen.len() == ahead_from {
                    reader.serve_connections(2).unwrap();
                }
                let block = reader.next().await.unwrap();
                seen.push((block.index.get(), block.payload().len()));
            }
            assert_eq!(seen, expected);
        }
    }

    #[tokio::test]
    async fn a_file_that_shrank_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[7; 5000]).unwrap();
        let source = Arc::new(Source::open(file.path()).unwrap());
        file.as_file().set_len(10).unwrap();
        let mut reader = BlockReader::new(source);
        reader.read(BlockRange::whole(BlockIndex::FIRST));
        let error = reader.next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
