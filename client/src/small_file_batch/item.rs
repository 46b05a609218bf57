//! What remains to do with a file of a batch.

use crate::feed::FeedItem;
use towline_types::DocumentId;

/// The files that remain for [`Transfer`](crate::transfer::Transfer).
pub(crate) type Remaining = Vec<(FeedItem, PriorAttempt)>;

/// What this run has done with a file before, and hence what the server may have of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PriorAttempt {
    /// This run has sent nothing of the file.
    Nothing,
    /// The whole file was sent before any answer, and no answer came: the server may publish
    /// it at any moment.
    SentAhead,
    /// The server has granted this upload.
    Document(DocumentId),
}
