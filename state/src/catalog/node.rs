//! A node: what a user sees under a name.

use super::availability::Availability;
use towline_types::{
    ChangeId, DocumentId, FileHash, FileSize, LinkTarget, ModifiedTime, Name, NodeId, NodeKind,
    NodePath, PermissionBits, Timestamp, UserId,
};

/// The most bytes of names and link targets in a page of a listing, of the trash or of changes.
/// Where names are short, a page has its number of entries first. 1,000 of the longest paths and
/// targets would be 6 MB, for each session that asks.
pub const PAGE_TEXT_BYTES: usize = 256 << 10;

/// A file, a folder or a link of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number, which is never given to another.
    pub node_id: NodeId,
    /// Whose it is.
    pub user_id: UserId,
    /// The folder that it lies in; nothing for the user's own folder.
    pub parent_id: Option<NodeId>,
    /// What it is.
    pub kind: NodeKind,
    /// Its name.
    pub name: Name,
    /// The content of a file. Nothing for folders and links, and for a file in the trash whose
    /// content was lost.
    pub version: Option<NodeVersion>,
    /// When the file was last modified on the client's disk, where the client told it.
    pub mtime: Option<ModifiedTime>,
    /// The permissions on the client's disk, where the client told them.
    pub mode: Option<PermissionBits>,
    /// What a link leads to.
    pub target: Option<LinkTarget>,
    /// The last change of its place.
    pub place_rev: ChangeId,
    /// The last change of its content.
    pub content_rev: ChangeId,
    /// When it was removed. What lies below a removed folder keeps its folder and has no such time.
    pub deleted_at: Option<Timestamp>,
}

impl Node {
    /// How many bytes it counts against [`PAGE_TEXT_BYTES`].
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let target = self.target.as_ref().map_or(0, |target| target.as_str().len());
        self.name.as_str().len() + target
    }
}

/// How many bytes the folders above a node count against [`PAGE_TEXT_BYTES`].
pub(super) fn text_bytes_of(folder: &NodePath) -> usize {
    folder.names().iter().map(|name| name.as_str().len() + 1).sum()
}

/// The content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeVersion {
    /// The completed document.
    pub document_id: DocumentId,
    /// How long it is.
    pub filesize: FileSize,
    /// The hash of the whole file.
    pub blake3: FileHash,
    /// Whether it is given out.
    pub availability: Availability,
}
