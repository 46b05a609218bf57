//! The record of what was asked of the trees of all users, and of what was shown of them. After
//! each disaster it is compared with the trees as they are then.

use crate::shown_tree::ShownTree;
use crate::test_file::TestFile;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_protocol::reply::{Change, Operation, Part, Read};
use towline_protocol::{Node, Reply};
use towline_types::{DocumentId, FileHash, NodeId, NodeKind, UserId};

/// A change that a client has asked for. Whether it was answered or not, it may have been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Put { path: Vec<String>, hash: FileHash },
    MakeFolder { path: Vec<String> },
    MakeLink { path: Vec<String>, target: String },
    Move { node: NodeId, to: Vec<String> },
    Remove { node: NodeId },
    Restore { node: NodeId },
    RestoreVersion { node: NodeId },
}

/// The trees of all users. Clones share the same record.
#[derive(Debug, Clone, Default)]
pub(super) struct TreeLedger(Arc<Mutex<HashMap<UserId, Book>>>);

#[derive(Debug, Default)]
struct Book {
    wishes: Vec<Wish>,
    shown: ShownTree,
    /// The log of changes as it was read last: what a reader has seen stays.
    log: Vec<Change>,
    /// The content of each document whose upload was asked for, by its hash.
    files: HashMap<FileHash, Arc<TestFile>>,
    changes_shown: u64,
}

impl TreeLedger {
    fn books(&self) -> MutexGuard<'_, HashMap<UserId, Book>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client is about to ask for that change.
    pub(super) fn will_ask(&self, user: UserId, wish: Wish) {
        self.books().entry(user).or_default().wishes.push(wish);
    }

    /// A file with this content is about to be sent.
    pub(super) fn will_send(&self, user: UserId, test_file: &Arc<TestFile>) {
        let hash = test_file.hash();
        self.books().entry(user).or_default().files.insert(hash, Arc::clone(test_file));
    }

    /// The number of answers that said that a change was made.
    pub(super) fn changes_shown(&self) -> u64 {
        self.books().values().map(|book| book.changes_shown).sum()
    }

    /// Records a message of the server.
    pub(super) fn hear(&self, user: UserId, reply: &Reply) -> Result<(), String> {
        let mut books = self.books();
        let book = books.entry(user).or_default();
        match reply {
            Reply::Success(success) => book.shown.success(success),
            Reply::Stat(answer) => book.shown.node(&answer.node)?,
            Reply::Mkdir(answer)
            | Reply::Link(answer)
            | Reply::Move(answer)
            | Reply::Remove(answer)
            | Reply::Restore(answer) => {
                book.changes_shown += 1;
                book.shown.node(&answer.node)?;
            }
            Reply::List(listing) => {
                listing.entries.iter().try_for_each(|node| book.shown.node(node))?;
            }
            Reply::Read(Read::Begins(begin)) => {
                begin.node.iter().try_for_each(|node| book.shown.node(node))?;
            }
            Reply::Delta(delta) => {
                delta.items.iter().try_for_each(|change| book.shown.node(&change.node))?;
            }
            Reply::Error(error) => error.node.iter().try_for_each(|node| book.shown.node(node))?,
            _ => {}
        }
        Ok(())
    }

    /// A node of that user that was shown, whatever has become of it.
    pub(super) fn any_node(&self, user: UserId, chance: &mut fastrand::Rng) -> Option<NodeId> {
        let books = self.books();
        chance.choice(books.get(&user)?.shown.nodes().collect::<Vec<_>>())
    }

    /// A document of that user that was told to be complete.
    pub(super) fn any_document(
        &self,
        user: UserId,
        chance: &mut fastrand::Rng,
    ) -> Option<DocumentId> {
        let books = self.books();
        chance.choice(books.get(&user)?.shown.complete().collect::<Vec<_>>())
    }

    /// The content with that hash, if a file with it was sent.
    pub(super) fn file(&self, user: UserId, hash: FileHash) -> Option<Arc<TestFile>> {
        self.books().get(&user)?.files.get(&hash).cloned()
    }

    /// Compares the whole log of changes with what was shown before, and with what was asked for.
    pub(super) fn log_is(&self, user: UserId, changes: &[Change]) -> Result<(), String> {
        let mut books = self.books();
        let book = books.entry(user).or_default();
        for (before, now) in (1..).zip(&book.log).map(|(at, change)| (change, changes.get(at - 1)))
        {
            if now != Some(before) {
                return Err(format!("the log said {before:?}, and now {now:?} (P3)"));
            }
        }
        book.shown.is_recorded(changes).map_err(|wrong| format!("{wrong} (P3)"))?;
        for change in &changes[book.log.len()..] {
            if !book.wishes.iter().any(|wish| wish.explains(change)) {
                return Err(format!("nobody has asked for {change:?}"));
            }
        }
        book.log = changes.to_vec();
        Ok(())
    }

    /// The same of a user whose uploads another record has: only what was shown is compared.
    pub(super) fn log_goes_on(&self, user: UserId, changes: &[Change]) -> Result<(), String> {
        let mut books = self.books();
        let book = books.entry(user).or_default();
        if !changes.starts_with(&book.log) {
            return Err(format!("the log of {} changes was another one (P3)", book.log.len()));
        }
        book.log = changes.to_vec();
        book.shown.is_recorded(changes).map_err(|wrong| format!("{wrong} (P3)"))
    }
}

impl Wish {
    /// Whether the change may have come of this wish.
    fn explains(&self, change: &Change) -> bool {
        let node = &change.node;
        let is_made = change.op == Operation::Create && change.changed.contains(&Part::Content);
        let is_on_the_way =
            |path: &[String]| is_made && node.kind == NodeKind::Folder && path.contains(&node.name);
        let is_delete = change.op == Operation::Delete;
        match self {
            Self::Put { path, hash } => {
                let is_file = node.blake3 == Some(*hash) && !is_delete && is_named(node, path);
                is_file || is_on_the_way(path)
            }
            Self::MakeFolder { path } => is_on_the_way(path),
            Self::MakeLink { path, target } => {
                let has_target = node.target.as_ref().is_some_and(|it| it.as_str() == target);
                has_target && !is_delete && is_named(node, path) || is_on_the_way(path)
            }
            Self::Move { node: id, to } => {
                node.node_id == *id && !is_delete && to.last() == Some(&node.name)
            }
            Self::Remove { node: id } => node.node_id == *id && is_delete,
            Self::Restore { node: id } => {
                node.node_id == *id && change.op == Operation::Create && !is_made
            }
            Self::RestoreVersion { node: id } => {
                node.node_id == *id && change.changed == [Part::Content]
            }
        }
    }
}

/// Whether it has that name, or that name with a number. A file that is replaced keeps the name
/// that it got by a move, so that only new files have to have it.
fn is_named(node: &Node, path: &[String]) -> bool {
    let Some(name) = path.last() else { return false };
    let stem = name.split('.').next().unwrap_or(name);
    node.place_rev != node.content_rev || node.name == *name || node.name.starts_with(stem)
}

/// The paths of a listing whose entries are in the listed folder and below it.
pub(super) fn paths(entries: Vec<Node>) -> BTreeMap<String, Node> {
    let with_path = |node: Node| {
        let names: Vec<_> = node.folder.iter().chain([&node.name]).map(String::as_str).collect();
        (names.join("/"), node)
    };
    entries.into_iter().map(with_path).collect()
}
