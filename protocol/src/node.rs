//! A file, folder or link, as both answers and errors show it.

use serde::{Deserialize, Serialize};
use towline_types::{
    ChangeId, DocumentId, FileHash, FileSize, LinkTarget, ModifiedTime, NodeId, NodeKind,
    PermissionBits, Timestamp,
};

/// Why the bytes of a document are not given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    /// A scanner has not said yet what it is.
    Scanning,
    /// It could not be scanned.
    Failed,
    /// A scanner has found something in it.
    Quarantined,
    /// A word that this version does not know; only ever received.
    #[serde(other)]
    Unknown,
}

/// A file, folder or link, as it is now. In a [change](crate::reply::Change): as it was after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its number, the same for ever.
    pub node_id: NodeId,
    /// The folder that it is in; none where that is the user's own folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<NodeId>,
    /// What it is.
    pub kind: NodeKind,
    /// Its name. A client checks it before it uses it in a path.
    pub name: String,
    /// In a recursive list the names of the folders between the listed one and this node, in a list
    /// of the trash those of the folders that it was removed from; else none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<String>,
    /// The current version of a file: the document that has its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<DocumentId>,
    /// The length of that version in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<FileSize>,
    /// The hash of that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<FileHash>,
    /// Why the bytes of that version are not given out; none where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// When the file was modified, as the client said that sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime_ms: Option<ModifiedTime>,
    /// The permission bits, as the client said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PermissionBits>,
    /// What a link leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<LinkTarget>,
    /// The change that gave the node its place.
    pub place_rev: ChangeId,
    /// The change that gave the node its content.
    pub content_rev: ChangeId,
    /// When it was removed, in ms since 1970; none while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}
