//! What was removed: it is listed, found again, and in the end forgotten.

use super::availability_column;
use super::document::{self, Document};
use super::error::{CatalogError, Refusal};
use super::job::Share;
use super::locate::child;
use super::making::node_id;
use super::node::{Node, PAGE_TEXT_BYTES, text_bytes_of};
use super::node_row::{self, NodeRow};
use super::place::Places;
use super::row::NamedRow;
use super::{Catalog, Reply, found_in_trash, moves};
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
    /// The path that leads to it in [`find_in_trash`](Catalog::find_in_trash), also where the
    /// folder was removed later.
    pub path: NodePath,
}

/// Some of what was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashPage {
    /// The nodes, in the order of their removals.
    pub entries: Vec<TrashEntry>,
    /// Where the next page begins; nothing where this is the last.
    pub next: Option<TrashPosition>,
}

/// Nodes in the trash that are kept no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredTrash {
    /// The nodes, in the order of their removals.
    pub nodes: Vec<NodeId>,
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
    /// What a user has removed, after that position and at most `limit` nodes of it.
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
            let mut is_full = rows.len() >= limit as usize;
            let places = Places::new(connection);
            let (mut entries, mut text_bytes) = (Vec::new(), 0);
            for row in rows {
                if text_bytes >= PAGE_TEXT_BYTES {
                    is_full = true;
                    break;
                }
                let folder = folder_of(&places, &row)?;
                let path = found_in_trash::old_path(&places, &row)?;
                let node = row.seen(connection)?;
                text_bytes += node.text_bytes() + text_bytes_of(&path);
                entries.push(TrashEntry { node, folder, path });
            }
            let next = entries.last().filter(|_| is_full).map(|last| TrashPosition {
                deleted_at: last.node.deleted_at.map_or(i64::MIN, Timestamp::to_i64),
                node_id: last.node.node_id.to_i64(),
            });
            Ok(TrashPage { entries, next })
        })
    }

    /// Nodes that a user removed before that moment, after that position and at most `limit` of
    /// them. Only rows that are in the answer are read, however much the trash holds.
    pub fn expired_trash(
        &self,
        user_id: UserId,
        before: Timestamp,
        after: Option<TrashPosition>,
        limit: u32,
    ) -> Reply<ExpiredTrash> {
        self.look(Share::Of(user_id), move |connection| {
            let after = after.unwrap_or(TrashPosition { deleted_at: i64::MIN, node_id: 0 });
            let sql = "SELECT deleted_at, node_id FROM nodes WHERE user_id = $1 \
                       AND deleted_at IS NOT NULL AND (deleted_at, node_id) > ($2, $3) \
                       AND deleted_at < $4 ORDER BY deleted_at, node_id LIMIT $5";
            let mut statement = connection.prepare_cached(sql)?;
            let user = user_id.to_i64();
            let from = params![user, after.deleted_at, after.node_id, before.to_i64(), limit];
            let mut rows = statement.query(from)?;
            let (mut nodes, mut last) = (Vec::new(), None);
            while let Some(row) = rows.next()? {
                let at = TrashPosition { deleted_at: row.get(0)?, node_id: row.get(1)? };
                nodes.push(node_id(at.node_id, user_id)?);
                last = Some(at);
            }
            let is_full = nodes.len() >= limit as usize;
            Ok(ExpiredTrash { nodes, next: last.filter(|_| is_full) })
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

    /// Documents in the quarantine that are the versions of the files that
    /// [`forget_trash`](Self::forget_trash) comes to next: of the next `limit` nodes.
    pub fn quarantined_in_trash(
        &self,
        user_id: UserId,
        root: NodeId,
        limit: u32,
    ) -> Reply<Vec<DocumentId>> {
        self.look(Share::Of(user_id), move |connection| {
            let Some(root) = removed(connection, user_id, root)? else { return Ok(Vec::new()) };
            let (mut found, mut nodes) = (Vec::new(), 0);
            leaves_first(connection, root, |row| {
                if let Some(version) = row.version_id
                    && availability_column::of(connection, version)?.is_quarantined()
                {
                    found.push(version);
                }
                nodes += 1;
                Ok(nodes < limit.max(1))
            })?;
            Ok(found)
        })
    }

    /// Earlier versions of the files that [`forget_trash`](Self::forget_trash) comes to next: of
    /// the next `limit` nodes, and at most `limit` versions. Empty where these nodes have no
    /// earlier versions.
    pub fn versions_in_trash(
        &self,
        user_id: UserId,
        root: NodeId,
        limit: u32,
    ) -> Reply<Vec<DocumentId>> {
        self.look(Share::Of(user_id), move |connection| {
            let Some(root) = removed(connection, user_id, root)? else { return Ok(Vec::new()) };
            let sql = "SELECT document_id FROM versions WHERE node_id = $1 LIMIT $2";
            let mut statement = connection.prepare_cached(sql)?;
            let limit = limit.max(1) as usize;
            let (mut found, mut nodes) = (Vec::new(), 0);
            leaves_first(connection, root, |row| {
                let room = u32::try_from(limit - found.len()).unwrap_or(u32::MAX);
                let mut rows = statement.query(params![row.node_id.to_i64(), room])?;
                while let Some(row) = rows.next()? {
                    let row = NamedRow::new(row, "document", "document_id")?;
                    found.push(row.get("document_id", DocumentId::from_i64)?);
                }
                nodes += 1;
                Ok(nodes < limit && found.len() < limit)
            })?;
            Ok(found)
        })
    }

    /// Forgets a removed node whose files are gone from the disk, with all that lies below it and
    /// their documents. At most `limit` nodes in one call; answers with whether that was all. It
    /// ends before a file that has earlier versions: their files are deleted, and they are
    /// [forgotten](Self::forget_versions), before (P4).
    ///
    /// A call costs as much as it forgets, however much is left, because it visits the nodes in the
    /// order in which it forgets them.
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
            let mut left = limit.max(1);
            leaves_first(connection, root, |row| {
                if left == 0 || has_versions(connection, row)? {
                    return Ok(false);
                }
                left -= 1;
                forget(connection, row)?;
                Ok(true)
            })
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

/// Visits a removed node and all that lies below it, what lies below first, until `visit` returns
/// `false`. Returns whether all were visited. So after `visit` has deleted some of the nodes, all
/// others are still below the root.
fn leaves_first(
    connection: &Connection,
    root: NodeRow,
    mut visit: impl FnMut(&NodeRow) -> Result<bool, CatalogError>,
) -> Result<bool, CatalogError> {
    // Each folder has the key of its entry that was visited last.
    let mut path = vec![(root, String::new())];
    while let Some((row, after)) = path.last_mut() {
        if let Some((below, key)) = next_below(connection, row, after)? {
            *after = key;
            path.push((below, String::new()));
        } else if let Some((row, _)) = path.pop()
            && !visit(&row)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first entry of a folder after that key, and its key.
fn next_below(
    connection: &Connection,
    row: &NodeRow,
    after: &str,
) -> Result<Option<(NodeRow, String)>, CatalogError> {
    if row.kind != NodeKind::Folder {
        return Ok(None);
    }
    let sql = format!(
        "SELECT {}, name_key FROM nodes WHERE user_id = $1 AND coalesce(parent_id, 0) = $2 \
         AND name_key > $3 AND deleted_at IS NULL ORDER BY name_key LIMIT 1",
        node_row::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![row.user_id.to_i64(), row.node_id.to_i64(), after])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let key = row.get("name_key")?;
    Ok(Some((node_row::node_row(row)?, key)))
}

fn has_versions(connection: &Connection, row: &NodeRow) -> Result<bool, CatalogError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM versions WHERE node_id = $1)";
    Ok(connection.prepare_cached(sql)?.query_row([row.node_id.to_i64()], |row| row.get(0))?)
}

fn forget(connection: &Connection, row: &NodeRow) -> Result<(), CatalogError> {
    let node_id = row.node_id.to_i64();
    for sql in [
        "DELETE FROM documents WHERE document_id = \
         (SELECT version_id FROM nodes WHERE node_id = $1)",
        "DELETE FROM nodes WHERE node_id = $1",
    ] {
        connection.prepare_cached(sql)?.execute([node_id])?;
    }
    moves::forget(connection, row.node_id)
}
