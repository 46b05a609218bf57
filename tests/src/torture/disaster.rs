//! What happens to the server, or to a client, in the middle of everything.

use std::fmt;

/// One disaster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Disaster {
    /// `kill -9` of the server at any moment.
    KillServer,
    /// `kill -9` of the server at a failpoint.
    KillServerAt(Point),
    /// `kill -9` of the client, while the server goes on.
    KillClient,
    /// The power goes at any moment.
    PowerCut,
    /// The power goes when the server reaches a failpoint.
    PowerCutAt(Point),
}

/// A failpoint, and the how-manieth time it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) name: &'static str,
    time: u32,
}

/// Where a server can be killed while it serves; see `server/src/failpoint.rs`.
const SERVING: [&str; 20] = [
    "upload.row_made",
    "upload.file_made",
    "write.written",
    "write.hashed",
    "withdraw.recorded",
    "checkpoint.synced",
    "checkpoint.recorded",
    "publish.verified",
    "publish.synced",
    "publish.row_publishing",
    "publish.folder_made",
    "publish.renamed",
    "publish.folder_synced",
    "publish.in_place",
    "publish.row_completed",
    "publish.renamed",
    "publish.row_publishing",
    "end.recorded",
    "sync.data",
    "sync.folder",
];

/// Where it can be killed while it starts over what a crash has left.
const RECOVERING: [&str; 8] = [
    "recovery.begun",
    "recovery.restored",
    "recovery.done",
    "recovery.settling",
    "publish.renamed",
    "publish.folder_synced",
    "publish.in_place",
    "publish.row_completed",
];

impl Point {
    pub(super) fn while_serving(chance: &mut fastrand::Rng) -> Self {
        let name = SERVING[chance.usize(..SERVING.len())];
        // Some are reached all the time, others once for each document.
        let most = if name.starts_with("write") { 60 } else { 5 };
        Self { name, time: chance.u32(1..=most) }
    }

    pub(super) fn while_recovering(chance: &mut fastrand::Rng) -> Self {
        Self { name: RECOVERING[chance.usize(..RECOVERING.len())], time: chance.u32(1..=2) }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=kill@{}", self.name, self.time)
    }
}

impl Disaster {
    /// What the server is to be started with.
    pub(super) fn point(&self) -> Option<&Point> {
        match self {
            Self::KillServerAt(point) | Self::PowerCutAt(point) => Some(point),
            _ => None,
        }
    }

    pub(super) fn cuts_power(&self) -> bool {
        matches!(self, Self::PowerCut | Self::PowerCutAt(_))
    }
}
