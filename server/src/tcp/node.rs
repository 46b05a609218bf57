//! A node of the catalog as the wire shows it.

use towline_protocol::{Held, Node};
use towline_state::catalog::{self, Availability};

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
        held: node.version.and_then(|version| held(version.availability)),
        mtime_ms: node.mtime,
        mode: node.mode,
        target: node.target.clone(),
        place_rev: node.place_rev,
        content_rev: node.content_rev,
        deleted_at: node.deleted_at,
    }
}

/// Why a document is not given out, as the wire says it.
pub(super) const fn held(availability: Availability) -> Option<Held> {
    match availability {
        Availability::Available => None,
        Availability::Scanning => Some(Held::Scanning),
        Availability::Failed => Some(Held::Failed),
        Availability::Isolating | Availability::Quarantined | Availability::Releasing => {
            Some(Held::Quarantined)
        }
    }
}
