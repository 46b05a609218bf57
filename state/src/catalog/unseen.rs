//! What has changed at or below a node since a change that a client has seen.
//!
//! A log may be long. So a look goes through it a piece at a time, and the transaction goes only
//! through the changes that came after the look: other writers wait for a transaction, and other
//! users for a piece (P6).

use super::change_log;
use super::error::CatalogError;
use super::folder::{FolderCache, Tree};
use super::job::Share;
use super::{Catalog, Reply};
use rusqlite::params;
use std::collections::{HashMap, HashSet};
use towline_types::{ChangeId, NodeId, UserId};

/// How many changes are looked at in one piece.
const PIECE: u32 = 5000;

/// What a look has found so far: see [`Catalog::unseen`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    root: NodeId,
    /// The last change that was looked at.
    seen: ChangeId,
    /// The last one that there was when the look began.
    end: Option<ChangeId>,
    changed: HashSet<i64>,
}

impl Unseen {
    /// A look at what has changed at or below that node after `seen`.
    #[must_use]
    pub fn behind(seen: ChangeId, root: NodeId) -> Self {
        Self { root, seen, end: None, changed: HashSet::new() }
    }

    /// How many nodes have changed, as far as was looked.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.changed.len() as u64
    }

    /// The last change that was looked at, where that was the end of the log; else `None`.
    #[must_use]
    pub fn seen_all(&self) -> Option<ChangeId> {
        self.end.filter(|end| self.seen >= *end).map(|_| self.seen)
    }
}

impl Catalog {
    /// Looks at the next piece of the changes.
    pub fn unseen(&self, user_id: UserId, mut unseen: Unseen) -> Reply<Unseen> {
        self.look(Share::Of(user_id), move |connection| {
            let cache = FolderCache::default();
            let tree = Tree { connection, cache: &cache, user_id };
            let end = match unseen.end {
                Some(end) => end,
                None => {
                    // The end is read before any change is looked at: the changes after it are for
                    // the transaction.
                    let head = change_log::head(connection, user_id)?;
                    if unseen.seen < head.horizon {
                        tree.add_by_rows(unseen.root, unseen.seen, &mut unseen.changed)?;
                    }
                    head.last.max(unseen.seen)
                }
            };
            let next = tree.add_by_log(unseen.root, unseen.seen, PIECE, &mut unseen.changed)?;
            unseen.seen = next.unwrap_or_else(|| unseen.seen.max(end));
            unseen.end = Some(end);
            Ok(unseen)
        })
    }
}

impl Tree<'_> {
    /// How many nodes at or below that one have a change after `seen`. A node counts also where
    /// only the time or the permissions were changed, which no number in its row tells.
    pub(super) fn unseen_below(self, root: NodeId, seen: ChangeId) -> Result<u64, CatalogError> {
        let mut changed = HashSet::new();
        // Where the log does not reach back that far, the rows know the rest.
        if seen < change_log::head(self.connection, self.user_id)?.horizon {
            self.add_by_rows(root, seen, &mut changed)?;
        }
        self.add_by_log(root, seen, u32::MAX, &mut changed)?;
        Ok(changed.len() as u64)
    }

    /// Adds the nodes that the next changes are about. Returns the last of these changes, where
    /// there may be more.
    fn add_by_log(
        self,
        root: NodeId,
        seen: ChangeId,
        limit: u32,
        changed: &mut HashSet<i64>,
    ) -> Result<Option<ChangeId>, CatalogError> {
        let sql = "SELECT change_id, node_id FROM changes WHERE user_id = $1 AND change_id > $2 \
                   ORDER BY change_id LIMIT $3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![self.user_id.to_i64(), seen.to_i64(), limit])?;
        let (mut known, mut count, mut last) = (HashMap::new(), 0, None);
        while let Some(row) = rows.next()? {
            let (change_id, number) = (row.get(0)?, row.get(1)?);
            (count, last) = (count + 1, Some(change_id));
            if self.lies_within(number, root, &mut known)? {
                changed.insert(number);
            }
        }
        match last.filter(|_| count == limit) {
            Some(last) => self.change_id(last).map(Some),
            None => Ok(None),
        }
    }

    fn add_by_rows(
        self,
        root: NodeId,
        seen: ChangeId,
        changed: &mut HashSet<i64>,
    ) -> Result<(), CatalogError> {
        let sql = "WITH RECURSIVE below (node_id, kind, place_rev, content_rev) AS (\
                       SELECT node_id, kind, place_rev, content_rev FROM nodes WHERE node_id = $1 \
                       UNION ALL \
                       SELECT child.node_id, child.kind, child.place_rev, child.content_rev \
                       FROM below JOIN nodes AS child ON child.user_id = $2 \
                       AND coalesce(child.parent_id, 0) = +below.node_id \
                       AND child.deleted_at IS NULL WHERE below.kind = 'folder') \
                   SELECT node_id FROM below WHERE place_rev > $3 OR content_rev > $3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows =
            statement.query(params![root.to_i64(), self.user_id.to_i64(), seen.to_i64()])?;
        while let Some(row) = rows.next()? {
            changed.insert(row.get(0)?);
        }
        Ok(())
    }
}
