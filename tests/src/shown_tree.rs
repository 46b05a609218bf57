//! What a server has shown of a user's tree, and whether it stays: a change that was shown once is
//! in the change log for ever, and says the same whenever it is shown.

use std::collections::{BTreeMap, BTreeSet};
use towline_protocol::Node;
use towline_protocol::reply::{Change, Success};
use towline_types::{ChangeId, DocumentId, Name, NodeId, NodeKind};

/// All nodes and receipts of one user that were shown.
#[derive(Debug, Clone, Default)]
pub struct ShownTree {
    /// The place that each change gave to a node: its folder and its name.
    places: BTreeMap<ChangeId, (NodeId, Option<NodeId>, String)>,
    /// The version that each change gave to a node.
    contents: BTreeMap<ChangeId, (NodeId, Option<DocumentId>)>,
    /// Documents that were told to be complete and durable, and the file of each.
    complete: BTreeSet<(DocumentId, NodeId)>,
}

impl ShownTree {
    /// A node was shown, in whatever answer.
    ///
    /// # Errors
    /// How it contradicts itself, or what was shown before.
    pub fn node(&mut self, node: &Node) -> Result<(), String> {
        let (has_bytes, has_target) = (node.version.is_some(), node.target.is_some());
        let is_whole = node.size.is_some() == has_bytes && node.blake3.is_some() == has_bytes;
        let by_kind = match node.kind {
            NodeKind::File => (true, false),
            NodeKind::Folder => (false, false),
            NodeKind::Link => (false, true),
        };
        if !is_whole || (has_bytes, has_target) != by_kind || Name::new(&*node.name).is_err() {
            return Err(format!("no node can be like this: {node:?}"));
        }
        let place = (node.node_id, node.parent_id, node.name.clone());
        let before = self.places.entry(node.place_rev).or_insert_with(|| place.clone());
        if *before != place {
            return Err(format!("change {} gave {before:?}, and now {place:?}", node.place_rev));
        }
        let content = (node.node_id, node.version);
        let before = self.contents.entry(node.content_rev).or_insert(content);
        if *before != content {
            return Err(format!("change {} gave {before:?}, now {content:?}", node.content_rev));
        }
        Ok(())
    }

    /// A document was told to be complete. What is not durable yet is no promise.
    pub fn success(&mut self, success: &Success) {
        if let (Some(node), true) = (success.node_id, success.durable) {
            self.complete.insert((success.document_id, node));
        }
    }

    /// Documents that were told to be complete.
    pub fn complete(&self) -> impl Iterator<Item = DocumentId> {
        self.complete.iter().map(|(document, _)| *document)
    }

    /// Nodes that were shown.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.places.values().map(|(node, ..)| *node)
    }

    /// Compares what was shown with all changes that the log has now.
    ///
    /// # Errors
    /// The first thing that is no longer so.
    pub fn is_recorded(&self, changes: &[Change]) -> Result<(), String> {
        let nodes: BTreeMap<_, _> =
            changes.iter().map(|change| (change.change_id, &change.node)).collect();
        for (id, (node_id, parent_id, name)) in &self.places {
            let is_it = |node: &&Node| {
                (&node.node_id, &node.parent_id, &node.name) == (node_id, parent_id, name)
            };
            if !nodes.get(id).is_some_and(is_it) {
                let now = nodes.get(id);
                return Err(format!("change {id} gave {node_id} the name {name}, now {now:?}"));
            }
        }
        for (id, (node_id, version)) in &self.contents {
            let is_it = |node: &&Node| (&node.node_id, &node.version) == (node_id, version);
            if !nodes.get(id).is_some_and(is_it) {
                let now = nodes.get(id);
                return Err(format!("change {id} gave {node_id} {version:?}, now {now:?}"));
            }
        }
        let versions: BTreeSet<_> =
            nodes.values().filter_map(|node| Some((node.version?, node.node_id))).collect();
        match self.complete.difference(&versions).next() {
            Some((document, node)) => Err(format!("{document} of {node} is complete, and lost")),
            None => Ok(()),
        }
    }
}
