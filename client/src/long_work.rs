//! Whether a server advances in the work on an answer that takes long. Pure.

use std::time::Duration;
use towline_protocol::Request;
use towline_protocol::reply::Progress;
use towline_types::Offset;

/// What the server has reported about one such work, the copy of a file.
///
/// A number that is larger than all earlier ones means that the work advances. The number 0 means
/// that other copies come first and this one waits. The same number again means nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LongWork {
    done_bytes: u64,
}

/// What one report means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advance {
    /// More bytes are done than in any earlier report.
    Further,
    /// The work waits for its turn.
    Queued,
    /// The report has nothing new.
    None,
}

impl LongWork {
    /// The server has said that this number of bytes is done.
    pub(crate) fn reported(&mut self, done_bytes: u64) -> Advance {
        if done_bytes > self.done_bytes {
            self.done_bytes = done_bytes;
            return Advance::Further;
        }
        if self.done_bytes == 0 { Advance::Queued } else { Advance::None }
    }
}

/// How many bytes the server has copied so far for its answer: from a document with the same bytes,
/// or to the disk of the folder.
pub(crate) fn done_bytes(request: &Request, progress: &Progress) -> Option<u64> {
    match request {
        Request::Upload(_) => Some(progress.received.get()),
        Request::Resume(_) => progress.copied.map(Offset::get),
        _ => None,
    }
}

/// How long a slow disk needs for that many bytes.
pub(crate) fn slow_disk(bytes: u64) -> Duration {
    const BYTES_PER_SECOND: u64 = 8 << 20;
    Duration::from_secs(bytes / BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_before_is_headway_and_the_same_again_is_none() {
        let mut work = LongWork::default();
        let reports = [0, 0, 5, 5, 4, 0, 6];
        let said = reports.map(|bytes| work.reported(bytes));
        use Advance::{Further, None, Queued};
        assert_eq!(said, [Queued, Queued, Further, None, None, None, Further]);
    }
}
