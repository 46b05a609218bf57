//! Bytes in blocks that clones share.

use std::sync::Arc;

/// How many bytes of a file are copied at most, when it is written to after a sync.
const BLOCK_BYTES: usize = 64 << 10;

/// Blocks in blocks of [`BLOCK_BYTES`], of which the last may be shorter. Clones share their
/// blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Blocks(Vec<Arc<Vec<u8>>>);

impl Blocks {
    pub(super) fn length(&self) -> usize {
        let last = self.0.last().map_or(0, |block| block.len());
        self.0.len().saturating_sub(1) * BLOCK_BYTES + last
    }

    /// Makes them that long, with zeros at the end where they are shorter.
    pub(super) fn set_length(&mut self, length: usize) {
        let blocks = length.div_ceil(BLOCK_BYTES);
        self.0.truncate(blocks);
        if self.0.len() < blocks
            && let Some(last) = self.0.last_mut()
        {
            Arc::make_mut(last).resize(BLOCK_BYTES, 0);
        }
        while self.0.len() < blocks {
            self.0.push(Arc::new(vec![0; BLOCK_BYTES]));
        }
        if let Some(last) = self.0.last_mut() {
            let last_length = length - (blocks - 1) * BLOCK_BYTES;
            if last.len() != last_length {
                Arc::make_mut(last).resize(last_length, 0);
            }
        }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], mut at: usize) {
        if !bytes.is_empty() {
            self.set_length(self.length().max(at + bytes.len()));
        }
        while !bytes.is_empty() {
            let Some(block) = self.0.get_mut(at / BLOCK_BYTES) else { return };
            let block = &mut Arc::make_mut(block)[at % BLOCK_BYTES..];
            let (now, later) = bytes.split_at(block.len().min(bytes.len()));
            block[..now.len()].copy_from_slice(now);
            (bytes, at) = (later, at + now.len());
        }
    }

    /// Reads from one block, so less than fits where it ends.
    pub(super) fn read(&self, buffer: &mut [u8], at: usize) -> usize {
        let block = self.0.get(at / BLOCK_BYTES).and_then(|block| block.get(at % BLOCK_BYTES..));
        let block = block.unwrap_or_default();
        let length = block.len().min(buffer.len());
        buffer[..length].copy_from_slice(&block[..length]);
        length
    }
}
