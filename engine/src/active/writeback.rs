//! When the kernel is asked to begin writing an upload to the device.

use crate::storage::Staging;
use std::ops::Range;
use towline_types::Offset;

/// Write-back is started whenever this many bytes have been written, so that the sync of the next
/// checkpoint finds little left to do.
const WRITEBACK_BYTES: u64 = 8 << 20;

/// Bytes near each other that were written since write-back was last started.
#[derive(Default)]
pub(super) struct Writeback {
    span: Range<u64>,
    bytes: u64,
}

impl Writeback {
    /// `length_bytes` bytes were written, up to `end`.
    pub(super) fn wrote(&mut self, staging: &dyn Staging, end: Offset, length_bytes: u64) {
        let (start, end) = (end.get() - length_bytes, end.get());
        // Several writers write to different parts of the file: bytes far from this span begin a
        // new span.
        let is_near = start <= self.span.end + WRITEBACK_BYTES
            && self.span.start <= end.saturating_add(WRITEBACK_BYTES);
        if self.bytes == 0 || !is_near {
            (self.span, self.bytes) = (start..start, 0);
        }
        self.span = self.span.start.min(start)..self.span.end.max(end);
        self.bytes += length_bytes;
        if self.bytes >= WRITEBACK_BYTES {
            let from = Offset::ZERO.plus(self.span.start);
            staging.start_writeback(from, self.span.end - self.span.start);
            self.bytes = 0;
        }
    }
}
