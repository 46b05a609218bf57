//! What is said about the tree, the changes and the bytes of documents.

use super::super::questions::{FIRST, READ_WITH_BLOCKS, TRASH};
use super::Listener;
use std::sync::atomic::Ordering;
use towline_protocol::limits::{DELTA_ITEMS_MAX, LIST_ENTRIES_MAX};
use towline_protocol::reply::{
    ChangeNotice, Delta, Listing, NodeAnswer, Operation, Read, ReadBegin, Versions,
};
use towline_protocol::{Channel, Node, Reply};
use towline_types::Name;

/// The entry that came last in an answer, by its names, and by the keys that order it.
#[derive(Debug, Default)]
pub(super) struct LastEntry {
    count: u64,
    names: Vec<String>,
    keys: Vec<String>,
}

impl Listener {
    pub(super) fn tree_reply(&mut self, reply: &Reply) {
        match reply {
            Reply::List(listing) => self.list(listing),
            Reply::Stat(answer) => self.node_answer(answer, "stat"),
            Reply::Mkdir(answer) => self.node_answer(answer, "mkdir"),
            Reply::Link(answer) => self.node_answer(answer, "link"),
            Reply::Move(answer) => self.node_answer(answer, "move"),
            Reply::Remove(answer) => self.node_answer(answer, "remove"),
            Reply::Restore(answer) => self.node_answer(answer, "restore"),
            Reply::Versions(versions) => self.versions(versions),
            Reply::Read(Read::Begins(begin)) => self.read_begins(begin),
            Reply::Read(Read::Ends(end)) => {
                self.reads.ends(end);
                self.questions().answered(end.channel, "read");
            }
            Reply::Delta(delta) => self.delta(delta),
            Reply::Change(notice) => self.change(notice),
            other => unreachable!("{other:?} is not about the tree"),
        }
    }

    /// Takes note of a frame of an answer.
    fn came(&self, channel: Channel, action: &str, is_last: bool) {
        if is_last {
            self.questions().answered(channel, action);
        } else {
            self.questions().goes_on(channel, action);
        }
    }

    fn node_answer(&self, answer: &NodeAnswer, action: &str) {
        let NodeAnswer { channel, node, path, .. } = answer;
        self.shared.shown.node(node);
        if path.is_empty() {
            // What lies in a removed folder was not removed itself, and has no path either.
            let is_in_trash = node.deleted_at.is_some() || matches!(action, "stat" | "remove");
            assert!(is_in_trash, "{action}: {answer:?}");
        } else {
            assert_eq!((path.last(), node.deleted_at), (Some(&node.name), None), "{answer:?}");
        }
        self.came(*channel, action, true);
    }

    fn list(&mut self, listing: &Listing) {
        let Listing { channel, node, entries, end, next } = listing;
        if let Some(node) = node {
            self.shared.shown.node(node);
        }
        let in_order = *channel != TRASH && !self.questions().is_unknown();
        let last = self.entries.entry(*channel).or_default();
        for entry in entries {
            self.shared.shown.node(entry);
            if in_order {
                last.goes_before(entry);
            }
            last.count += 1;
        }
        assert!(last.count <= u64::from(LIST_ENTRIES_MAX), "{}", last.count);
        if *end {
            // A client would ask for ever.
            assert!(next.is_none() || last.count > 0, "where to go on, and no entry");
            self.entries.remove(channel);
        }
        self.goes_on_from(next.as_deref(), *end);
        self.came(*channel, "list", *end);
    }

    fn versions(&mut self, versions: &Versions) {
        let Versions { channel, node, versions, end, next } = versions;
        if let Some(node) = node {
            self.shared.shown.node(node);
        }
        // The current one may have been begun before the one that it replaced.
        let earlier = versions.iter().filter(|version| !version.current);
        let numbers: Vec<_> = earlier.map(|version| version.version).collect();
        assert!(numbers.iter().is_sorted_by(|later, earlier| later > earlier), "{numbers:?}");
        for version in versions {
            assert_eq!(version.current, version.keep_until.is_none(), "{version:?}");
        }
        self.goes_on_from(next.as_deref(), *end);
        self.came(*channel, "versions", *end);
    }

    fn delta(&mut self, delta: &Delta) {
        let Delta { channel, items, end, cursor, more, latest } = delta;
        assert!(items.len() as u64 <= u64::from(DELTA_ITEMS_MAX), "{}", items.len());
        assert!(*end || !more && cursor.is_none() && latest.is_none(), "{delta:?}");
        assert!(!*end || cursor.is_some() && latest.is_some(), "{delta:?}");
        let is_log = items.iter().all(|item| item.at.is_some());
        let sorted = if is_log {
            items.iter().is_sorted_by(|a, b| a.change_id.get() + 1 == b.change_id.get())
        } else {
            items.iter().is_sorted_by(|a, b| a.node.node_id < b.node.node_id)
        };
        assert!(sorted, "{items:#?}");
        for item in items {
            assert_eq!(item.op == Operation::Delete, item.node.deleted_at.is_some(), "{item:?}");
            self.shared.shown.node(&item.node);
        }
        self.goes_on_from(cursor.as_deref(), *end);
        self.came(*channel, "delta", *end);
    }

    /// Only the last frame of an answer says where to go on.
    fn goes_on_from(&self, text: Option<&str>, is_last: bool) {
        let Some(text) = text else { return };
        assert!(is_last, "{text} is not in the last frame");
        self.shared.shown.keep_text(text);
    }

    fn change(&mut self, notice: &ChangeNotice) {
        assert!(notice.latest.get() >= self.latest, "{notice:?} after {}", self.latest);
        self.latest = notice.latest.get();
    }

    fn read_begins(&mut self, begin: &ReadBegin) {
        if let Some(node) = &begin.node {
            self.shared.shown.node(node);
            assert_eq!(node.version, Some(begin.document_id), "{begin:?}");
        }
        self.shared.last_document.fetch_max(begin.document_id.get(), Ordering::SeqCst);
        let is_unknown = self.questions().is_unknown() || begin.channel < FIRST;
        let has_values = (!is_unknown).then_some(begin.channel == READ_WITH_BLOCKS);
        self.reads.begins(begin, has_values);
        self.came(begin.channel, "read", false);
    }
}

impl LastEntry {
    /// A folder comes directly before what lies in it, and names come in the order of their keys.
    fn goes_before(&mut self, entry: &Node) {
        let names: Vec<_> = entry.folder.iter().chain([&entry.name]).cloned().collect();
        let key = |name: &String| Name::new(name.clone()).expect("a legal name").key();
        let keys: Vec<_> = names.iter().map(key).collect();
        assert!(self.keys <= keys, "{names:?} after {:?}", self.names);
        assert_ne!(self.names, names, "twice");
        (self.names, self.keys) = (names, keys);
    }
}
