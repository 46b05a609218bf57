//! What a session has been shown of its user's tree. No node and no document may be another user's.

use crate::shown_tree::ShownTree;
use std::sync::{Mutex, MutexGuard};
use towline_protocol::Node;
use towline_protocol::reply::{Change, Success};

/// How many texts for `after` and `since` are kept.
const TEXTS_MAX: usize = 8;

/// What all connections of a session have shown.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Nodes and documents of this session have larger numbers than these.
    nodes_before: u64,
    documents_before: u64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    tree: ShownTree,
    last_node: u64,
    /// The latest `next` and `cursor`.
    texts: Vec<String>,
}

impl Shown {
    pub(super) fn new(nodes_before: u64, documents_before: u64) -> Self {
        Self { nodes_before, documents_before, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("a listener that panics has ended the session")
    }

    /// The largest number of a node that was shown.
    pub(super) fn last_node(&self) -> u64 {
        self.seen().last_node
    }

    /// A text that the server has given to go on from.
    pub(super) fn text(&self, choice: u8) -> Option<String> {
        let texts = &self.seen().texts;
        texts.get(usize::from(choice) % texts.len().max(1)).cloned()
    }

    pub(super) fn keep_text(&self, text: &str) {
        let texts = &mut self.seen().texts;
        if texts.len() == TEXTS_MAX {
            texts.remove(0);
        }
        texts.push(text.to_owned());
    }

    /// Checks a node, wherever it was shown.
    pub(super) fn node(&self, node: &Node) {
        let is_own = node.node_id.get() > self.nodes_before
            && node.version.is_none_or(|version| version.get() > self.documents_before);
        assert!(is_own, "another user's: {node:?}");
        let mut seen = self.seen();
        seen.last_node = seen.last_node.max(node.node_id.get());
        let shown = seen.tree.node(node);
        drop(seen);
        shown.unwrap_or_else(|wrong| panic!("{wrong}"));
    }

    pub(super) fn success(&self, success: &Success) {
        let node = success.node_id.expect("this server has a tree");
        let is_own =
            node.get() > self.nodes_before && success.document_id.get() > self.documents_before;
        assert!(is_own, "another user's: {success:?}");
        let mut seen = self.seen();
        seen.last_node = seen.last_node.max(node.get());
        seen.tree.success(success);
    }

    /// Compares what was shown with all changes that the log has afterwards.
    pub(super) fn assert_recorded(&self, changes: &[Change]) {
        let recorded = self.seen().tree.is_recorded(changes);
        recorded.unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}
