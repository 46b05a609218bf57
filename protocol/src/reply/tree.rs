//! What a server says of a user's files, folders and links.

use crate::frame::{self, Channel};
use crate::node::{Held, Node};
use crate::request::is_default;
use serde::{Deserialize, Serialize};
use towline_types::{DocumentId, FileHash, FileSize, ModifiedTime, Timestamp};

/// The answer to `stat`, `mkdir`, `link`, `move`, `remove` and `restore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAnswer {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The node as it is now.
    pub node: Box<Node>,
    /// Where it lies: the names from the user's own folder on, its own name last. None while it is
    /// in the trash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// It was so before the request, and nothing was changed but, with `mkdir`, the mode.
    #[serde(default, skip_serializing_if = "is_default")]
    pub existing: bool,
}

/// One of the frames that answer `list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// In the first frame of an answer: what is listed. None for the user's own folder and for the
    /// trash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<Node>>,
    /// What lies in it.
    pub entries: Vec<Node>,
    /// No frame of this answer follows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub end: bool,
    /// In the last frame, where there is more: what the next request says in `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One version of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The document that has its bytes.
    pub version: DocumentId,
    /// Its length in bytes.
    pub size: FileSize,
    /// Its hash.
    pub blake3: FileHash,
    /// When it was completed, in ms since 1970.
    pub created_at: Timestamp,
    /// When the file was modified, as the client said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime_ms: Option<ModifiedTime>,
    /// Why its bytes are not given out; none where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// It is the one that the file has now.
    #[serde(default, skip_serializing_if = "is_default")]
    pub current: bool,
    /// When the server may give it up, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<Timestamp>,
}

/// One of the frames that answer `versions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// In the first frame of an answer: the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<Node>>,
    /// Its versions, the newest first.
    pub versions: Vec<Version>,
    /// No frame of this answer follows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub end: bool,
    /// In the last frame, where there is more: what the next request says in `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Listing {
    /// Frames of an answer that goes on: none of them is the last. Without entries there is none.
    /// `node` belongs to the first frame of an answer.
    #[must_use]
    pub fn part(channel: Channel, node: Option<Box<Node>>, entries: Vec<Node>) -> Vec<u8> {
        let mut node = node;
        frame::pages_without_end(entries, |entries| {
            let (node, next) = (node.take(), None);
            super::Reply::List(Self { channel, node, entries, end: false, next })
        })
    }

    /// The frames of one answer with these entries, or the last ones of an answer that was begun
    /// with [`part`](Self::part).
    #[must_use]
    pub fn frames(
        channel: Channel,
        node: Option<Box<Node>>,
        entries: Vec<Node>,
        next: Option<String>,
    ) -> Vec<u8> {
        let mut node = node;
        frame::pages(entries, next, |entries, end, next| {
            super::Reply::List(Self { channel, node: node.take(), entries, end, next })
        })
    }
}

impl Versions {
    /// The frames of one answer with these versions, as few as may carry them.
    #[must_use]
    pub fn frames(
        channel: Channel,
        node: Option<Box<Node>>,
        versions: Vec<Version>,
        next: Option<String>,
    ) -> Vec<u8> {
        let mut node = node;
        frame::pages(versions, next, |versions, end, next| {
            super::Reply::Versions(Self { channel, node: node.take(), versions, end, next })
        })
    }
}
