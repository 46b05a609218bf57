//! What a server says of the changes of a user's nodes.

use super::Reply;
use crate::frame::{self, Channel};
use crate::node::Node;
use crate::request::is_default;
use serde::{Deserialize, Serialize};
use towline_types::{ChangeId, Timestamp};

/// What became of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It is there now, and was not before.
    Create,
    /// It has another place, content, mode or time.
    Update,
    /// It was removed.
    Delete,
}

/// Which part of a node a change has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The bytes of a file or the target of a link.
    Content,
    /// The folder that it is in, or its name.
    Place,
}

/// One change: the whole state of a node after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its number among the user's changes.
    pub change_id: ChangeId,
    /// What became of the node.
    pub op: Operation,
    /// Which parts were changed; none where only the mode or the time was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Part>,
    /// When, in ms since 1970; not said of a node that is only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The node after the change.
    pub node: Node,
}

/// One of the frames that answer `delta`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The changes, in their order.
    pub items: Vec<Change>,
    /// No frame of this answer follows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub end: bool,
    /// In the last frame: what the next request says in `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// In the last frame: there is more already.
    #[serde(default, skip_serializing_if = "is_default")]
    pub more: bool,
    /// In the last frame: the newest change of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<ChangeId>,
}

/// What the last frame of an answer to `delta` says besides its items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeltaEnd {
    /// What the next request says in `since`.
    pub cursor: String,
    /// There is more already.
    pub more: bool,
    /// The newest change of the user.
    pub latest: ChangeId,
}

/// `{"action":"change","latest":12350}`: something has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeNotice {
    /// The channel that said `watch`.
    #[serde(default)]
    pub channel: Channel,
    /// The newest change of the user.
    pub latest: ChangeId,
}

impl Delta {
    /// The frames of one answer with these changes, as few as may carry them.
    #[must_use]
    pub fn frames(channel: Channel, items: Vec<Change>, end: DeltaEnd) -> Vec<u8> {
        frame::pages(items, Some(end), |items, is_end, end| {
            let (cursor, more, latest) = match end {
                Some(end) => (Some(end.cursor), end.more, Some(end.latest)),
                None => (None, false, None),
            };
            Reply::Delta(Self { channel, items, end: is_end, cursor, more, latest })
        })
    }
}
