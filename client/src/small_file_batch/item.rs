//! What remains to do with an item of a batch.

use crate::feed::FeedItem;
use towline_types::DocumentId;

/// The files that remain for [`Transfer`](crate::transfer::Transfer), and the folders and links
/// that are to be asked for again.
pub(crate) type Remaining = Vec<(FeedItem, PriorAttempt)>;

/// What this run has done with an item before, and hence what the server may have of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PriorAttempt {
    /// This run has sent nothing of it that could be continued.
    Nothing,
    /// The whole file was sent before any answer, and no answer came: the server may publish
    /// it at any moment.
    SentAhead,
    /// The server has granted this upload.
    Document(DocumentId),
}
