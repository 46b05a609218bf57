//! The request for an address at which others fetch one document.

use super::is_default;
use super::read::ReadTarget;
use super::tree::BadTarget;
use crate::frame::Channel;
use serde::{Deserialize, Serialize};
use towline_types::{DocumentId, NodeId};

/// `{"action":"download_url","path":["proj","a.txt"],"expires_in":604800}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownloadUrl {
    /// The channel that the answer goes to.
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
    /// How many seconds the address is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

impl DownloadUrl {
    /// Which document the address is to lead to.
    ///
    /// # Errors
    /// Where it names nothing or more than one thing, or a name that cannot be.
    pub fn target(&self) -> Result<ReadTarget, BadTarget> {
        ReadTarget::of(self.document_id, self.path.as_deref(), self.node_id)
    }
}
