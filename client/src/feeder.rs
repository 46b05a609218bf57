//! The thread that reads the file ahead of the socket, hashing as it goes.

use crate::plan::Piece;
use crate::source::Source;
use std::io;
use std::sync::{Arc, mpsc};
use tokio::sync::mpsc as ready;
use towline_protocol::{BlockIndex, ChainingValue};

/// One block being written and one being read: with more of them, none is in a
/// processor's cache any more when its turn comes.
const BUFFERS: usize = 2;

/// For each further connection: one being written, one waiting behind it and one read.
const BUFFERS_PER_CONNECTION: usize = 3;

/// A block as it was read. Its buffer goes back to the reader when it is dropped.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) index: BlockIndex,
    pub(crate) value: ChainingValue,
    /// Bytes at the beginning that the server has already.
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
        // Where the reader has ended already the buffer is simply freed.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

/// Hands over the blocks of the pieces it was given, in that order. The thread
/// behind it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Feeder {
    pieces: mpsc::Sender<Piece>,
    blocks: ready::UnboundedReceiver<io::Result<Block>>,
    outstanding: u64,
    home: mpsc::Sender<Vec<u8>>,
    buffers: usize,
}

impl Feeder {
    pub(crate) fn start(source: Arc<Source>) -> io::Result<Self> {
        let (pieces, todo) = mpsc::channel();
        // The number of buffers bounds what is ready; the channel need not.
        let (done, blocks) = ready::unbounded_channel();
        let (home, free) = mpsc::channel();
        let spare = home.clone();
        std::thread::Builder::new()
            .name("towline-read".to_owned())
            .spawn(move || read(&source, &todo, &done, &spare, &free))?;
        let mut feeder = Self { pieces, blocks, outstanding: 0, home, buffers: 0 };
        feeder.serve_connections(1);
        Ok(feeder)
    }

    /// Reads so far ahead that so many connections are kept busy.
    pub(crate) fn serve_connections(&mut self, count: usize) {
        let wanted = BUFFERS + BUFFERS_PER_CONNECTION * count.saturating_sub(1);
        while self.buffers < wanted {
            self.buffers += 1;
            let _ = self.home.send(Vec::new());
        }
    }

    /// Adds blocks behind those already asked for.
    pub(crate) fn read(&mut self, piece: Piece) {
        self.outstanding += piece.blocks.end - piece.blocks.start;
        // Where the reader is gone, `next` reports it.
        let _ = self.pieces.send(piece);
    }

    /// Whether there are blocks still to come.
    pub(crate) fn has_more(&self) -> bool {
        self.outstanding > 0
    }

    /// How many.
    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// The next block. Cancel-safe: a block is either handed over or still there.
    pub(crate) async fn next(&mut self) -> io::Result<Block> {
        let block = self.blocks.recv().await;
        self.outstanding = self.outstanding.saturating_sub(1);
        block.unwrap_or_else(|| Err(io::Error::other("the reading thread has ended")))
    }
}

/// Reads until nobody wants any more.
fn read(
    source: &Source,
    todo: &mpsc::Receiver<Piece>,
    done: &ready::UnboundedSender<io::Result<Block>>,
    home: &mpsc::Sender<Vec<u8>>,
    free: &mpsc::Receiver<Vec<u8>>,
) {
    for piece in todo {
        let mut skip_bytes = usize::try_from(piece.skip_bytes).unwrap_or(usize::MAX);
        for number in piece.blocks {
            // `home` lives here too, so this can only wait, not fail; but the
            // blocks come home when the other side is dropped, and then it is
            // the send below that fails.
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
        let source = Arc::new(Source::open(file.path()).unwrap());
        let mut feeder = Feeder::start(source).unwrap();
        feeder.read(Piece { blocks: 0..10, skip_bytes: 3 });
        feeder.read(Piece::whole(BlockIndex::new(4).unwrap()));
        let mut seen = Vec::new();
        while feeder.has_more() {
            let block = feeder.next().await.unwrap();
            seen.push((block.index.get(), block.payload().len()));
        }
        let mut expected: Vec<(u64, usize)> = (0..9).map(|n| (n, 1 << 20)).collect();
        expected[0].1 -= 3;
        expected.extend([(9, 5), (4, 1 << 20)]);
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn a_file_that_shrank_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[7; 5000]).unwrap();
        let source = Arc::new(Source::open(file.path()).unwrap());
        file.as_file().set_len(10).unwrap();
        let mut feeder = Feeder::start(source).unwrap();
        feeder.read(Piece::whole(BlockIndex::FIRST));
        let error = feeder.next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
