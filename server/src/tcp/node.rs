//! A node of the catalog as the wire shows it.

use towline_protocol::Node;
use towline_state::catalog;

/// A node as the wire shows it.
pub(super) fn shown(node: &catalog::Node) -> Node {
    Node {
        node_id: node.node_id,
        parent_id: node.parent_id,
        kind: node.kind,
        name: node.name.to_string(),
        folder: Vec::new(),
        version: node.version.map(|version| version.document_id),
        size: node.version.map(|version| version.filesize),
        blake3: node.version.map(|version| version.blake3),
        mtime_ms: node.mtime,
        mode: node.mode,
        target: node.target.clone(),
        place_rev: node.place_rev,
        content_rev: node.content_rev,
        deleted_at: node.deleted_at,
    }
}
