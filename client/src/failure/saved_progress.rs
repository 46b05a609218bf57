//! What the server keeps of an upload that is not being continued.

use crate::units;
use towline_types::{DocumentId, FileSize, Offset};

/// What the server keeps of an upload that rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedProgress {
    /// The upload.
    pub document_id: DocumentId,
    /// The number of bytes without a gap that survive a power cut of the server.
    pub durable: Offset,
    /// The number of bytes that are known to survive a power cut of the server, including those
    /// beyond a gap.
    pub safe_bytes: u64,
    /// The whole length in bytes.
    pub filesize: FileSize,
    /// The bytes of the file that this run has sent, including repetitions.
    pub sent_bytes: u64,
}

impl SavedProgress {
    /// A sentence about it; nothing where the server keeps no byte.
    pub(super) fn sentence(self) -> Option<String> {
        let Self { document_id, safe_bytes, filesize, .. } = self;
        let share = units::share(safe_bytes, filesize.get());
        (safe_bytes > 0)
            .then(|| format!("{share} are safe on the server as document {document_id}"))
    }
}
