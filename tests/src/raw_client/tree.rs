//! Requests about the tree and the changes, and the answers that the test expects.

use super::{RawClient, ZERO};
use std::collections::BTreeMap;
use towline_protocol::limits::LIST_ENTRIES_MAX;
use towline_protocol::reply::{Change, Delta, Listing, NodeAnswer, Operation, Version, Versions};
use towline_protocol::request::{self, Link, List, Mkdir, Move, Remove, Request, Restore, Stat};
use towline_protocol::{Channel, Code, ErrorReply, Node, Reply};
use towline_types::{DocumentId, LinkTarget, NodeId, NodeKind};

/// A path as the wire has it.
#[must_use]
pub fn names(path: &str) -> Vec<String> {
    path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Changes, and the cursor behind them.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The changes, in their order.
    pub items: Vec<Change>,
    /// What the next request says in `since`.
    pub cursor: String,
    /// There is more already.
    pub more: bool,
}

impl RawClient {
    /// `stat`.
    pub async fn stat(&mut self, path: &str) -> NodeAnswer {
        let stat = Stat { path: Some(names(path)), ..Stat::default() };
        self.answer(&Request::Stat(stat), "no node", node_answer).await
    }

    /// `stat` by number.
    pub async fn stat_node(&mut self, node_id: NodeId) -> NodeAnswer {
        let stat = Stat { node_id: Some(node_id), ..Stat::default() };
        self.answer(&Request::Stat(stat), "no node", node_answer).await
    }

    /// `mkdir`.
    pub async fn mkdir(&mut self, path: &str) -> NodeAnswer {
        let mkdir = Mkdir { path: names(path), ..Mkdir::default() };
        self.answer(&Request::Mkdir(mkdir), "no folder", node_answer).await
    }

    /// `link`.
    pub async fn link(&mut self, path: &str, target: &str) -> NodeAnswer {
        let target = LinkTarget::new(target).expect("a legal target");
        let (mtime_ms, on_conflict) = (None, Default::default());
        let link = Link { channel: ZERO, path: names(path), target, mtime_ms, on_conflict };
        self.answer(&Request::Link(link), "no link", node_answer).await
    }

    /// `move`.
    pub async fn move_node(&mut self, path: &str, to: &str) -> NodeAnswer {
        let request = Move { path: Some(names(path)), to: names(to), ..Move::default() };
        self.answer(&Request::Move(request), "not moved", node_answer).await
    }

    /// `remove`, recursive.
    pub async fn remove(&mut self, path: &str) -> NodeAnswer {
        let path = Some(names(path));
        let request = Remove { path, recursive: true, ..Remove::default() };
        self.answer(&Request::Remove(request), "not removed", node_answer).await
    }

    /// `restore` from the trash, by number.
    pub async fn restore(&mut self, node_id: NodeId) -> NodeAnswer {
        self.restore_by(Restore { node_id: Some(node_id), ..Restore::default() }).await
    }

    /// `restore`, as the test says.
    pub async fn restore_by(&mut self, request: Restore) -> NodeAnswer {
        self.answer(&Request::Restore(request), "not restored", node_answer).await
    }

    /// `restore` of a version.
    pub async fn restore_version(&mut self, path: &str, version: DocumentId) -> NodeAnswer {
        let (path, version) = (Some(names(path)), Some(version));
        self.restore_by(Restore { path, version, ..Restore::default() }).await
    }

    /// A request that is refused with that word.
    pub async fn tree_refused(&mut self, request: &Request, code: Code) -> ErrorReply {
        self.refused(request, code).await
    }

    /// All entries below a folder, page by page, each with its path. Order and the end of the pages
    /// are checked.
    pub async fn tree(&mut self, limit: u32) -> BTreeMap<String, Node> {
        let mut all = BTreeMap::new();
        let mut after = None;
        loop {
            let (path, recursive, limit) = (Some(Vec::new()), true, Some(limit));
            let list = List { path, recursive, limit, after: after.clone(), ..List::default() };
            let (_, entries, next) = self.list(list).await;
            for node in entries {
                let mut place = node.folder.clone();
                place.push(node.name.clone());
                let place = place.join("/");
                let earlier = all.insert(place.clone(), node);
                assert!(earlier.is_none(), "{place} comes twice");
            }
            let Some(next) = next else { return all };
            assert_ne!(after.as_ref(), Some(&next), "the pages go on");
            after = Some(next);
        }
    }

    /// `list`: what is listed, the entries of all frames, and where the next page begins.
    pub async fn list(&mut self, list: List) -> (Option<Node>, Vec<Node>, Option<String>) {
        let channel = list.channel;
        self.send(&Request::List(list)).await;
        let (mut listed, mut entries) = (None, Vec::new());
        loop {
            match self.reply_on(channel).await {
                Reply::List(Listing { node, entries: more, end, next, .. }) => {
                    listed = listed.or(node.map(|node| *node));
                    entries.extend(more);
                    if end {
                        return (listed, entries, next);
                    }
                    assert_eq!(next, None, "only the last frame says where to go on");
                }
                other => self.fail(&format!("no entries but {other:?}")).await,
            }
        }
    }

    /// What is in the trash.
    pub async fn trash(&mut self) -> Vec<Node> {
        self.list(List { trash: true, ..List::default() }).await.1
    }

    /// `versions`: as many as one answer may have.
    pub async fn versions(&mut self, path: &str) -> Vec<Version> {
        self.versions_page(path, LIST_ENTRIES_MAX, None).await.0
    }

    /// A page of `versions`, and where the next one begins.
    pub async fn versions_page(
        &mut self,
        path: &str,
        limit: u32,
        after: Option<String>,
    ) -> (Vec<Version>, Option<String>) {
        let (path, limit) = (Some(names(path)), Some(limit));
        let request = request::Versions { path, limit, after, ..Default::default() };
        self.send(&Request::Versions(request)).await;
        let mut all = Vec::new();
        loop {
            match self.reply_on(ZERO).await {
                Reply::Versions(Versions { versions, end, next, .. }) => {
                    all.extend(versions);
                    if end {
                        return (all, next);
                    }
                }
                other => self.fail(&format!("no versions but {other:?}")).await,
            }
        }
    }

    /// `delta`.
    pub async fn delta(&mut self, delta: request::Delta) -> Changes {
        let channel = delta.channel;
        self.send(&Request::Delta(delta)).await;
        self.changes_on(channel).await
    }

    /// The answer to a `delta`.
    pub async fn changes_on(&mut self, channel: Channel) -> Changes {
        let mut all = Vec::new();
        loop {
            match self.reply_on(channel).await {
                Reply::Delta(Delta { items, end, cursor, more, .. }) => {
                    all.extend(items);
                    if end {
                        let cursor = cursor.expect("the last frame has a cursor");
                        return Changes { items: all, cursor, more };
                    }
                }
                other => self.fail(&format!("no changes but {other:?}")).await,
            }
        }
    }

    /// Everything behind a cursor, however many answers it takes.
    pub async fn changes(&mut self, since: Option<&str>, limit: u32) -> (Vec<Change>, String) {
        let (mut all, mut since) = (Vec::new(), since.map(str::to_owned));
        loop {
            let delta =
                request::Delta { since: since.clone(), limit: Some(limit), ..Default::default() };
            let Changes { items, cursor, more } = self.delta(delta).await;
            all.extend(items);
            if !more {
                return (all, cursor);
            }
            since = Some(cursor);
        }
    }
}

fn node_answer(reply: Reply) -> Result<NodeAnswer, Reply> {
    match reply {
        Reply::Stat(answer)
        | Reply::Mkdir(answer)
        | Reply::Link(answer)
        | Reply::Move(answer)
        | Reply::Remove(answer)
        | Reply::Restore(answer) => Ok(answer),
        other => Err(other),
    }
}

/// The tree that a log of changes leads to, from the first change on, as a client without any
/// other knowledge builds it: paths with what is there.
///
/// # Errors
/// The numbers of the changes have a gap, or a node is in a folder that is not there.
pub fn replayed(changes: &[Change]) -> Result<BTreeMap<String, Node>, String> {
    let mut nodes: BTreeMap<NodeId, Node> = BTreeMap::new();
    // What was removed with its folder comes back with it.
    let mut removed: BTreeMap<NodeId, Node> = BTreeMap::new();
    for (number, change) in (1..).zip(changes) {
        if change.change_id.get() != number {
            return Err(format!("change {} where {number} is due", change.change_id));
        }
        let node = change.node.clone();
        match change.op {
            Operation::Delete => {
                removed.insert(node.node_id, node.clone());
                nodes.remove(&node.node_id);
            }
            Operation::Create | Operation::Update => {
                removed.remove(&node.node_id);
                nodes.insert(node.node_id, node);
            }
        }
    }
    let mut paths = BTreeMap::new();
    'nodes: for node in nodes.values() {
        let mut place = vec![node.name.clone()];
        let mut above = node.parent_id;
        while let Some(parent) = above {
            if removed.contains_key(&parent) {
                continue 'nodes;
            }
            let folder = nodes.get(&parent).filter(|folder| folder.kind == NodeKind::Folder);
            let folder = folder.ok_or_else(|| format!("{node:?} is in no folder"))?;
            place.push(folder.name.clone());
            above = folder.parent_id;
        }
        place.reverse();
        paths.insert(place.join("/"), node.clone());
    }
    Ok(paths)
}
