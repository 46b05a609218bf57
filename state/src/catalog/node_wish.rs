//! What is wished of the node that a document becomes.

use towline_types::{DocumentId, ModifiedTime, NodeId, PermissionBits};

/// What is wished of the node that a document becomes, besides its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeWish {
    /// When the file was last modified on the client's disk.
    pub mtime: Option<ModifiedTime>,
    /// Its permissions there.
    pub mode: Option<PermissionBits>,
    /// The file whose next version the document is to be, wherever it lies by then.
    pub onto_node: Option<NodeId>,
    /// The folder that the file is to lie in, wherever that lies by then.
    pub into_folder: Option<NodeId>,
    /// The version that the client knew: another one than that is not replaced.
    pub base_version: Option<DocumentId>,
}
