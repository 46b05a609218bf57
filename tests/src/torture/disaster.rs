//! What happens to the server or to a client while uploads are under way.

use crate::points::{AT_THE_START, ON_THE_WAY, RELAXED, STORE, TREE, WHOLE};
use std::fmt;

/// A fault of the server, of the client or of the power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Disaster {
    /// `kill -9` of the server at any moment.
    KillServer,
    /// `kill -9` of the server at a failpoint.
    KillServerAt(Point),
    /// `kill -9` of the client, while the server continues.
    KillClient,
    /// The power is cut at any moment.
    PowerCut,
    /// The power is cut when the server reaches a failpoint.
    PowerCutAt(Point),
}

/// A failpoint, and at which time of reaching it the server is killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) name: &'static str,
    time: u32,
}

/// Points that a server reaches during its start, where it finishes a publishing.
const PUBLISHING_AGAIN: &[&str] =
    &["publish.renamed", "publish.folder_synced", "publish.in_place", "publish.row_completed"];

/// The same where it finishes a change of a tree.
const MOVING_AGAIN: &[&str] = &[
    "move.recorded",
    "move.renamed",
    "recovery.moved",
    "relocate.new_name_synced",
    "relocate.renamed",
    "relocate.settled",
    "replace.folder_synced",
    "replace.kept",
    "replace.kept_synced",
    "replace.renamed",
];

impl Point {
    pub(super) fn while_serving(chance: &mut fastrand::Rng, is_relaxed: bool) -> Self {
        let points = if is_relaxed && chance.bool() {
            RELAXED.to_vec()
        } else {
            [ON_THE_WAY, WHOLE, TREE, STORE].concat()
        };
        let name = chance.choice(points).expect("there are points");
        // Points of writing are reached again and again, others once for each document.
        let most = if name.starts_with("write") { 60 } else { 5 };
        Self { name, time: chance.u32(1..=most) }
    }

    pub(super) fn while_recovering(chance: &mut fastrand::Rng) -> Self {
        let points = [AT_THE_START, PUBLISHING_AGAIN, MOVING_AGAIN].concat();
        let name = chance.choice(points).expect("there are points");
        Self { name, time: chance.u32(1..=2) }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=kill@{}", self.name, self.time)
    }
}

impl Disaster {
    /// The failpoint that the server has to be started with.
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
