//! Rebuilds the tree of a user from the log of changes alone, and holds it against what the
//! catalog lists.

use crate::fixture::at;
use std::collections::BTreeMap;
use towline_state::Catalog;
use towline_state::catalog::{Change, Cursor, Depth, LogHead, Node, NodeRef, Op};
use towline_types::{ChangeId, NodeId, NodePath, UserId};

/// Each living node by its path.
pub(crate) type Tree = BTreeMap<String, Node>;

/// All changes of a user, read in pages of that size.
pub(crate) fn whole_log(catalog: &Catalog, user: UserId, page: u32) -> Vec<Change> {
    let head = catalog.log_head(user).wait().unwrap();
    let mut since = Cursor::behind(user, &head, ChangeId::MIN);
    let mut log = Vec::new();
    loop {
        let delta = catalog.delta(user, Some(since), page).wait().unwrap();
        assert!(delta.changes.len() <= page as usize);
        log.extend(delta.changes);
        since = delta.next.to_string().parse().unwrap();
        if !delta.has_more {
            return log;
        }
    }
}

/// The tree that the changes lead to. A change tells the whole state of its node, and a node that
/// is gone takes with it what lies below.
pub(crate) fn rebuilt(log: &[Change]) -> Tree {
    let mut nodes: BTreeMap<NodeId, Node> = BTreeMap::new();
    for (number, change) in (1..).zip(log) {
        assert_eq!(change.change_id.get(), number, "no number is left out");
        let node = change.node.clone();
        match change.op {
            Op::Delete => drop(nodes.remove(&node.node_id)),
            Op::Create | Op::Update => drop(nodes.insert(node.node_id, node)),
        }
    }
    let path = |node: &Node| {
        let (mut names, mut above) = (vec![node.name.to_string()], node.parent_id);
        while let Some(folder) = above {
            let folder = nodes.get(&folder)?;
            names.insert(0, folder.name.to_string());
            above = folder.parent_id;
        }
        Some(names.join("/"))
    };
    let living = nodes.values().filter_map(|node| Some((path(node)?, node.clone())));
    let tree: Tree = living.clone().collect();
    assert_eq!(tree.len(), living.count(), "no two nodes have one place");
    tree
}

/// The tree as the catalog lists it, in pages of that size.
pub(crate) fn listed(catalog: &Catalog, user: UserId, page: u32) -> Tree {
    let (mut tree, mut after) = (Tree::new(), None);
    loop {
        let root = NodeRef::Path(NodePath::ROOT);
        let listed = catalog.list(user, root, Depth::Recursive, after, page).wait().unwrap();
        for entry in listed.entries {
            let place = entry.folder.join(entry.node.name.clone()).unwrap().to_string();
            if let Some(above) = entry.folder.parent() {
                let folder = entry.folder.to_string();
                assert!(tree.contains_key(&folder), "{place} comes behind {folder}, in {above}");
            }
            assert!(tree.insert(place.clone(), entry.node).is_none(), "{place} is listed twice");
        }
        match listed.next {
            Some(next) => after = Some(next.to_string().parse().unwrap()),
            None => return tree,
        }
    }
}

/// The tree as a snapshot tells it, with the changes that follow.
pub(crate) fn snapshot(catalog: &Catalog, user: UserId, page: u32) -> Tree {
    let (mut nodes, mut since): (BTreeMap<NodeId, Node>, Option<Cursor>) = Default::default();
    loop {
        let delta = catalog.delta(user, since, page).wait().unwrap();
        nodes.extend(delta.changes.into_iter().map(|change| (change.node.node_id, change.node)));
        if !delta.has_more {
            break;
        }
        since = Some(delta.next);
    }
    let log: Vec<_> = nodes.into_values().collect();
    let path = |node: &Node| {
        let (mut names, mut above) = (vec![node.name.to_string()], node.parent_id);
        while let Some(folder) = above {
            let folder = log.iter().find(|other| other.node_id == folder).expect("its folder");
            names.insert(0, folder.name.to_string());
            above = folder.parent_id;
        }
        names.join("/")
    };
    log.iter().map(|node| (path(node), node.clone())).collect()
}

/// The log alone, a listing and a snapshot tell the same tree.
pub(crate) fn check(catalog: &Catalog, user: UserId) -> Tree {
    let log = whole_log(catalog, user, 7);
    let LogHead { last, .. } = catalog.log_head(user).wait().unwrap();
    assert_eq!(log.len() as u64, last.get());
    let tree = rebuilt(&log);
    assert_eq!(listed(catalog, user, 1000), tree, "what is listed is what the log tells");
    assert_eq!(listed(catalog, user, 3), tree, "and so it is in small pages");
    assert_eq!(snapshot(catalog, user, 5), tree, "and in a snapshot");
    assert!(log.iter().all(|change| change.at.is_some_and(|moment| moment >= at(1))));
    tree
}
