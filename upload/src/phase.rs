//! Where an upload is in its life.

use std::fmt;

/// Where an upload is in its life. The words are those of the catalog and of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Bytes are wanted. Paused or not is no phase: a pause is only a missing connection.
    Uploading,
    /// Every byte is here and verified; the file is on its way to its final name.
    Publishing,
    /// The document is in its final place, durably.
    Completed,
    /// Given up by the server: its bytes were lost or damaged.
    Failed,
    /// Given up by its owner.
    Cancelled,
    /// Given up because no byte came for as many days as the server waits.
    Expired,
}

impl Phase {
    /// Every phase, in the order of a life.
    pub const ALL: [Self; 6] = [
        Self::Uploading,
        Self::Publishing,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uploading => "uploading",
            Self::Publishing => "publishing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The phase of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
