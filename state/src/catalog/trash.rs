//! What was removed: it is listed, found again, and in the end forgotten.

use super::completed_duplicates::NAMED_MAX;
use super::document::{self, Document};
use super::error::{CatalogError, Refusal};
use super::folder;
use super::job::Share;
use super::locate::child;
use super::node::Node;
use super::node_row::{self, NodeRow, behind_twins};
use super::place::Places;
use super::{Catalog, Reply, moves};
use rusqlite::{Connection, params};
use std::fmt;
use std::str::FromStr;
use towline_types::{DocumentId, Name, NodeId, NodeKind, NodePath, Timestamp, UserId};

/// A node in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashEntry {
    /// The node that was removed, which stands for all that lies below it.
    pub node: Node,
    /// The folder that it was removed from, where that is still there.
    pub folder: Option<NodePath>,
}

/// Some of what was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashPage {
    /// The nodes, in the order of their removals.
    pub entries: Vec<TrashEntry>,
    /// Where the next page begins; nothing where this is the last.
    pub next: Option<TrashPosition>,
}

/// Where a page of the trash begins. Its text is opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrashPosition {
    deleted_at: i64,
    node_id: i64,
}

impl fmt::Display for TrashPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t1.{}.{}", self.deleted_at, self.node_id)
    }
}

impl FromStr for TrashPosition {
    type Err = super::BadPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<i64>().map_err(|_| super::BadPosition);
        match text.split('.').collect::<Vec<_>>()[..] {
            ["t1", deleted_at, node_id] => {
                Ok(Self { deleted_at: number(deleted_at)?, node_id: number(node_id)? })
            }
            _ => Err(super::BadPosition),
        }
    }
}

impl Catalog {
    /// What a user has removed, behind that position and at most `limit` nodes of it.
    pub fn trash(
        &self,
        user_id: UserId,
        after: Option<TrashPosition>,
        limit: u32,
    ) -> Reply<TrashPage> {
        self.look(Share::Of(user_id), move |connection| {
            let after = after.unwrap_or(TrashPosition { deleted_at: i64::MIN, node_id: 0 });
            let sql = format!(
                "SELECT {} FROM nodes WHERE user_id = $1 AND deleted_at IS NOT NULL \
                 AND (deleted_at, node_id) > ($2, $3) ORDER BY deleted_at, node_id LIMIT $4",
                node_row::COLUMNS
            );
            let from = params![user_id.to_i64(), after.deleted_at, after.node_id, limit];
            let rows = node_row::many(connection, &sql, from)?;
            let is_full = rows.len() >= limit as usize;
            let next = rows.last().filter(|_| is_full).map(|row| TrashPosition {
                deleted_at: row.deleted_at.map_or(i64::MIN, Timestamp::to_i64),
                node_id: row.node_id.to_i64(),
            });
            let places = Places::new(connection);
            let entries = rows.into_iter().map(|row| {
                let folder = folder_of(&places, &row)?;
                Ok(TrashEntry { folder, node: row.seen(connection)? })
            });
            Ok(TrashPage { entries: entries.collect::<Result<_, CatalogError>>()?, next })
        })
    }

    /// The node that was last removed from that place.
    pub fn find_in_trash(&self, user_id: UserId, path: NodePath) -> Reply<Option<Node>> {
        self.look(Share::Of(user_id), move |connection| {
            let Some((name, above)) = path.names().split_last() else { return Ok(None) };
            let mut folders = folder::look(connection, user_id, above)?.twins;
            // The folder may have been removed after it.
            folders.extend(removed_folders(connection, user_id, above)?);
            let sql = format!(
                "SELECT {} FROM nodes WHERE user_id = $1 AND deleted_at IS NOT NULL \
                 AND coalesce(parent_id, 0) = $2 AND name_key >= $3 AND name_key < $4 \
                 ORDER BY deleted_at DESC, node_id DESC LIMIT 1",
                node_row::COLUMNS
            );
            let key = name.key();
            let behind = behind_twins(&key);
            let mut last: Option<NodeRow> = None;
            for folder in folders {
                let there = params![user_id.to_i64(), folder, key, behind];
                let row = node_row::one(connection, &sql, there)?;
                last = last.into_iter().chain(row).max_by_key(|row| (row.deleted_at, row.node_id));
            }
            last.map(|row| row.seen(connection)).transpose()
        })
    }

    /// Nodes that were removed before that moment, at most `limit` of them.
    pub fn expired_trash(&self, before: Timestamp, limit: u32) -> Reply<Vec<(UserId, NodeId)>> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT {} FROM nodes WHERE deleted_at IS NOT NULL AND deleted_at < $1 LIMIT $2",
                node_row::COLUMNS
            );
            let rows = node_row::many(connection, &sql, params![before.to_i64(), limit])?;
            Ok(rows.into_iter().map(|row| (row.user_id, row.node_id)).collect())
        })
    }

    /// The document whose file lies under those names below a removed node; without names, the
    /// one that was removed itself.
    pub fn in_trash(
        &self,
        user_id: UserId,
        root: NodeId,
        below: &[Name],
    ) -> Reply<Option<Document>> {
        let below = below.to_vec();
        self.read(move |connection| {
            let Some(mut row) = removed(connection, user_id, root)? else { return Ok(None) };
            for name in &below {
                match child(connection, user_id, row.node_id.to_i64(), name)? {
                    Some(found) => row = found,
                    None => return Ok(None),
                }
            }
            match row.version_id {
                Some(id) => document::by_id(connection, id),
                None => Ok(None),
            }
        })
    }

    /// Earlier versions of the files at or below a removed node, behind that document and at most
    /// `limit` of them.
    pub fn versions_in_trash(
        &self,
        root: NodeId,
        after: Option<DocumentId>,
        limit: u32,
    ) -> Reply<Vec<DocumentId>> {
        self.read(move |connection| {
            let sql = "WITH RECURSIVE below (node_id, kind) AS (\
                           SELECT node_id, kind FROM nodes \
                           WHERE node_id = $1 AND deleted_at IS NOT NULL \
                           UNION ALL \
                           SELECT child.node_id, child.kind FROM below \
                           JOIN nodes AS root ON root.node_id = $1 \
                           JOIN nodes AS child ON child.user_id = root.user_id \
                           AND coalesce(child.parent_id, 0) = +below.node_id \
                           AND child.deleted_at IS NULL WHERE below.kind = 'folder') \
                       SELECT document_id FROM versions WHERE document_id > $2 \
                       AND node_id IN (SELECT node_id FROM below) ORDER BY document_id LIMIT $3";
            let mut statement = connection.prepare_cached(sql)?;
            let from = params![root.to_i64(), after.map_or(0, DocumentId::to_i64), limit];
            let mut rows = statement.query(from)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.extend(DocumentId::from_i64(row.get(0)?));
            }
            Ok(found)
        })
    }

    /// Forgets a removed node whose files, earlier versions included, are gone from the disk, with
    /// all that lies below it and their documents. At most `limit` nodes in one call; answers with
    /// whether that was all.
    ///
    /// Refused: [`Refusal::Busy`] where it is just being restored.
    pub fn forget_trash(&self, user_id: UserId, root: NodeId, limit: u32) -> Reply<bool> {
        self.write(move |connection| {
            let Some(root) = removed(connection, user_id, root)? else { return Ok(true) };
            let sql = "SELECT EXISTS (SELECT 1 FROM moves WHERE node_id = $1)";
            let mut statement = connection.prepare_cached(sql)?;
            if statement.query_row([root.node_id.to_i64()], |row| row.get(0))? {
                return Err(Refusal::Busy.into());
            }
            forget_below(connection, root, limit)
        })
    }
}

/// The folder that a removed node lay in, where it is still there.
fn folder_of(places: &Places<'_>, row: &NodeRow) -> Result<Option<NodePath>, CatalogError> {
    if let Some(parent_id) = row.parent_id
        && node_row::by_id(places.connection, parent_id)?.is_none()
    {
        return Ok(None);
    }
    let chain = places.of_folder(row.parent_id)?;
    Ok(NodePath::new(chain.names.clone()).ok().filter(|_| chain.trash.is_none()))
}

fn removed(
    connection: &Connection,
    user_id: UserId,
    node_id: NodeId,
) -> Result<Option<NodeRow>, CatalogError> {
    let row = node_row::by_id(connection, node_id)?;
    Ok(row.filter(|row| row.user_id == user_id && row.deleted_at.is_some()))
}

/// Removed folders that lay at that place.
fn removed_folders(
    connection: &Connection,
    user_id: UserId,
    names: &[Name],
) -> Result<Vec<i64>, CatalogError> {
    let Some((name, above)) = names.split_last() else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT {} FROM nodes WHERE user_id = $1 AND deleted_at IS NOT NULL \
         AND coalesce(parent_id, 0) = $2 AND name_key >= $3 AND name_key < $4 \
         AND kind = 'folder' ORDER BY deleted_at DESC LIMIT {NAMED_MAX}",
        node_row::COLUMNS
    );
    let key = name.key();
    let behind = behind_twins(&key);
    let mut found = Vec::new();
    for folder in folder::look(connection, user_id, above)?.twins {
        let there = params![user_id.to_i64(), folder, key, behind];
        let rows = node_row::many(connection, &sql, there)?;
        found.extend(rows.into_iter().map(|row| row.node_id.to_i64()));
    }
    Ok(found)
}

/// Deletes what lies below first, so that what is left after each call is still below the root.
fn forget_below(connection: &Connection, root: NodeRow, limit: u32) -> Result<bool, CatalogError> {
    let sql = format!(
        "SELECT {} FROM nodes WHERE user_id = $1 AND coalesce(parent_id, 0) = $2 \
         AND deleted_at IS NULL LIMIT 1",
        node_row::COLUMNS
    );
    let mut path = vec![root];
    let mut left = limit.max(1);
    while let Some(row) = path.last() {
        let here = [row.user_id.to_i64(), row.node_id.to_i64()];
        let below = match row.kind {
            NodeKind::Folder => node_row::one(connection, &sql, here)?,
            NodeKind::File | NodeKind::Link => None,
        };
        if let Some(below) = below {
            path.push(below);
            continue;
        }
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        if let Some(row) = path.pop() {
            forget(connection, &row)?;
        }
    }
    Ok(true)
}

fn forget(connection: &Connection, row: &NodeRow) -> Result<(), CatalogError> {
    let node_id = row.node_id.to_i64();
    for sql in [
        "DELETE FROM documents WHERE document_id IN \
         (SELECT document_id FROM versions WHERE node_id = $1)",
        "DELETE FROM versions WHERE node_id = $1",
        "DELETE FROM documents WHERE document_id = \
         (SELECT version_id FROM nodes WHERE node_id = $1)",
        "DELETE FROM nodes WHERE node_id = $1",
    ] {
        connection.prepare_cached(sql)?.execute([node_id])?;
    }
    moves::forget(connection, row.node_id)
}
