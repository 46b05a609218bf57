//! The frames around the bytes of a file that a server sends.

use crate::frame::Channel;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use towline_types::{DocumentId, FileHash, FileSize, Offset};

/// The answer to `read`: one [`ReadBegins`](Read::Begins), the chunks, one [`Ends`](Read::Ends).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Read {
    /// Behind the last byte.
    Ends(ReadEnd),
    /// Before the first byte.
    Begins(ReadBegin),
}

/// `{"action":"read","document_id":123,"filesize":1048576, …}`, before the first byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBegin {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The version whose bytes come.
    pub document_id: DocumentId,
    /// The file, where the request named one and not a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<Node>>,
    /// The length of the whole version in bytes.
    pub filesize: FileSize,
    /// The hash of the whole version.
    pub blake3: FileHash,
    /// The first byte that comes.
    pub offset: Offset,
    /// How many bytes come: fewer than were asked for where the file ends before, and at most
    /// [`READ_BYTES_MAX`](crate::limits::READ_BYTES_MAX).
    pub length: u64,
}

/// `{"action":"read","document_id":123,"end":true}`, after the last byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadEnd {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The version whose bytes came.
    pub document_id: DocumentId,
    /// Always true.
    pub end: True,
}

/// A field that is always true: it tells a frame from another with the same action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "bool", into = "bool")]
pub struct True;

impl TryFrom<bool> for True {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<Self, &'static str> {
        if value { Ok(Self) } else { Err("true was expected") }
    }
}

impl From<True> for bool {
    fn from(_: True) -> bool {
        true
    }
}

impl Read {
    /// The last frame of an answer.
    #[must_use]
    pub const fn end(channel: Channel, document_id: DocumentId) -> Self {
        Self::Ends(ReadEnd { channel, document_id, end: True })
    }

    /// The channel that asked.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Begins(begins) => begins.channel,
            Self::Ends(ends) => ends.channel,
        }
    }
}
