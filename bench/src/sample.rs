//! What one contender took in one round.

use std::time::Duration;

/// What a process and the children it has waited for took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// The most resident memory that any one of them had.
    pub(crate) peak_bytes: u64,
}

impl Cost {
    /// Both, one after the other.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, peak_bytes: self.peak_bytes.max(other.peak_bytes) }
    }
}

/// One round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// From the start of the client's command to its end.
    pub(crate) wall: Duration,
    pub(crate) client: Cost,
    /// From its start to its end; nothing where there is none.
    pub(crate) server: Option<Cost>,
}
