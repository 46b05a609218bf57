//! A row of the nodes table.

use super::availability_column;
use super::error::CatalogError;
use super::node::{Node, NodeVersion};
use super::row::NamedRow;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use towline_types::{
    ChangeId, DocumentId, FileHash, FileSize, LinkTarget, ModifiedTime, Name, NodeId, NodeKind,
    PermissionBits, Timestamp, UserId,
};

/// The columns that [`NodeRow`] is read from.
pub(super) const COLUMNS: &str = "node_id, user_id, parent_id, kind, name, version_id, \
    incoming_id, target, mode, mtime_ms, place_rev, content_rev, deleted_at";

/// A row of the nodes table.
#[derive(Debug, Clone)]
pub(super) struct NodeRow {
    pub(super) node_id: NodeId,
    pub(super) user_id: UserId,
    pub(super) parent_id: Option<NodeId>,
    pub(super) kind: NodeKind,
    pub(super) name: Name,
    pub(super) version_id: Option<DocumentId>,
    /// The document that is being published into the node, and becomes its version.
    pub(super) incoming_id: Option<DocumentId>,
    pub(super) target: Option<LinkTarget>,
    pub(super) mode: Option<PermissionBits>,
    pub(super) mtime: Option<ModifiedTime>,
    pub(super) place_rev: ChangeId,
    pub(super) content_rev: ChangeId,
    pub(super) deleted_at: Option<Timestamp>,
}

impl NodeRow {
    /// Whether the row only keeps a name: of a file that is being published, or of a folder on
    /// the way to one. No list and no change shows it.
    pub(super) fn is_reserved(&self) -> bool {
        match self.kind {
            NodeKind::File => self.version_id.is_none(),
            NodeKind::Folder | NodeKind::Link => self.place_rev == ChangeId::MIN,
        }
    }

    /// Whether it is a file in the trash whose current version was lost.
    pub(super) fn has_lost_content(&self) -> bool {
        self.kind == NodeKind::File && self.version_id.is_none() && self.deleted_at.is_some()
    }

    /// The node as callers see it.
    pub(super) fn seen(self, connection: &Connection) -> Result<Node, CatalogError> {
        let version = match self.version_id {
            Some(document_id) => version(connection, document_id)?,
            None => None,
        };
        Ok(self.with_version(version))
    }

    /// How many bytes it counts against a page, as [`Node::text_bytes`] does.
    pub(super) fn text_bytes(&self) -> usize {
        let target = self.target.as_ref().map_or(0, |target| target.as_str().len());
        self.name.as_str().len() + target
    }

    /// The node with a version that is known.
    pub(super) fn with_version(self, version: Option<NodeVersion>) -> Node {
        let Self { node_id, user_id, parent_id, kind, name, mtime, mode, target, .. } = self;
        let Self { place_rev, content_rev, deleted_at, .. } = self;
        Node {
            node_id,
            user_id,
            parent_id,
            kind,
            name,
            version,
            mtime,
            mode,
            target,
            place_rev,
            content_rev,
            deleted_at,
        }
    }
}

fn version(
    connection: &Connection,
    document_id: DocumentId,
) -> Result<Option<NodeVersion>, CatalogError> {
    let sql = "SELECT document_id, user_id, filesize, blake3, availability FROM documents \
               WHERE document_id = $1";
    let read = |row: &Row<'_>| -> Result<_, CatalogError> {
        let row = NamedRow::new(row, "document", "document_id")?;
        let filesize = row.get("filesize", FileSize::from_i64)?;
        let blake3 =
            row.get_option("blake3", |hash: [u8; 32]| Ok::<_, String>(FileHash::from_bytes(hash)))?;
        let availability = availability_column::of_row(&row)?;
        Ok(blake3.map(|blake3| NodeVersion { document_id, filesize, blake3, availability }))
    };
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([document_id.to_i64()], |row| Ok(read(row))).optional()?;
    Ok(found.transpose()?.flatten())
}

/// Reads a row with [`COLUMNS`].
pub(super) fn node_row(row: &Row<'_>) -> Result<NodeRow, CatalogError> {
    let row = NamedRow::selected(row, "node", COLUMNS)?;
    Ok(NodeRow {
        node_id: row.get("node_id", NodeId::from_i64)?,
        user_id: row.get("user_id", UserId::from_i64)?,
        parent_id: row.get_option("parent_id", NodeId::from_i64)?,
        kind: kind(&row)?,
        name: row.get("name", |name: String| Name::recorded(name))?,
        version_id: row.get_option("version_id", DocumentId::from_i64)?,
        incoming_id: row.get_option("incoming_id", DocumentId::from_i64)?,
        target: target(&row)?,
        mode: mode(&row)?,
        mtime: mtime(&row)?,
        place_rev: row.get("place_rev", ChangeId::from_i64)?,
        content_rev: row.get("content_rev", ChangeId::from_i64)?,
        deleted_at: row.time_option("deleted_at")?,
    })
}

pub(super) fn kind(row: &NamedRow<'_, '_>) -> Result<NodeKind, CatalogError> {
    row.get("kind", |word: String| {
        NodeKind::parse(&word).ok_or_else(|| format!("{word:?} is no kind of node"))
    })
}

pub(super) fn target(row: &NamedRow<'_, '_>) -> Result<Option<LinkTarget>, CatalogError> {
    row.get_option("target", |target: String| LinkTarget::new(target))
}

pub(super) fn mode(row: &NamedRow<'_, '_>) -> Result<Option<PermissionBits>, CatalogError> {
    row.get_option("mode", |bits: i64| {
        let bits = u32::try_from(bits).map_err(|error| error.to_string())?;
        PermissionBits::try_from(bits).map_err(|error| error.to_string())
    })
}

pub(super) fn mtime(row: &NamedRow<'_, '_>) -> Result<Option<ModifiedTime>, CatalogError> {
    Ok(row.plain::<Option<i64>>("mtime_ms")?.map(ModifiedTime::from_ms))
}

/// The node of that number, in whatever state.
pub(super) fn by_id(
    connection: &Connection,
    node_id: NodeId,
) -> Result<Option<NodeRow>, CatalogError> {
    let sql = format!("SELECT {COLUMNS} FROM nodes WHERE node_id = $1");
    one(connection, &sql, [node_id.to_i64()])
}

/// The one node that a query finds, if any.
pub(super) fn one(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Option<NodeRow>, CatalogError> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(parameters, |row| Ok(node_row(row))).optional()?.transpose()
}

/// The nodes that a query finds.
pub(super) fn many(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Vec<NodeRow>, CatalogError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut nodes = Vec::new();
    while let Some(row) = rows.next()? {
        nodes.push(node_row(row)?);
    }
    Ok(nodes)
}

/// How the indexes name the folder of a node: its number, and 0 for the user's own folder.
///
/// Where a query goes from folder to folder, it compares with `+below.node_id`: the plain column
/// has an affinity, for which SQLite does not use an index on an expression, and so would read
/// all nodes of the user for each folder.
pub(super) fn folder_number(parent_id: Option<NodeId>) -> i64 {
    parent_id.map_or(0, NodeId::to_i64)
}

/// The first key after those of a name and its twins. The key of a twin is that of the name,
/// followed by U+0001 and a number; no name has a character before U+0020.
pub(super) fn behind_twins(key: &str) -> String {
    format!("{key}\u{2}")
}
