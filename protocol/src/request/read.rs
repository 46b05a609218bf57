//! The request for bytes of a file.

use super::is_default;
use super::tree::{BadTarget, Target};
use crate::frame::Channel;
use serde::{Deserialize, Serialize};
use towline_types::{DocumentId, NodeId, Offset};

/// `{"action":"read","path":["proj","a.txt"]}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The channel that the bytes come on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Where the file lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<String>>,
    /// The file's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The version itself, also one that is no longer current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_id: Option<DocumentId>,
    /// The first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
    /// How many bytes; absent, all to the end, as far as one request may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// The values of blocks come with their bytes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blocks: bool,
}

/// Which version of which file a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadTarget {
    /// The current version of that file.
    Current(Target),
    /// That version.
    Version(DocumentId),
}

impl ReadTarget {
    pub(super) fn of(
        document_id: Option<DocumentId>,
        path: Option<&[String]>,
        node_id: Option<NodeId>,
    ) -> Result<Self, BadTarget> {
        match (document_id, path, node_id) {
            (Some(document), None, None) => Ok(Self::Version(document)),
            (Some(_), ..) => Err(BadTarget::NotOne),
            (None, path, node) => Ok(Self::Current(Target::of(path, node)?)),
        }
    }
}

impl Read {
    /// Whose bytes are to come.
    ///
    /// # Errors
    /// Where it names nothing or more than one thing, or a name that cannot be.
    pub fn target(&self) -> Result<ReadTarget, BadTarget> {
        ReadTarget::of(self.document_id, self.path.as_deref(), self.node_id)
    }
}
