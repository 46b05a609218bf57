//! From what a person says, a path or a number, to the node.

use super::error::{CatalogError, Refusal};
use super::job::Share;
use super::node::Node;
use super::node_row::{self, NodeRow, behind_twins};
use super::place::Places;
use super::{Catalog, Reply, folder};
use rusqlite::{Connection, params};
use towline_types::{Name, NodeId, NodeKind, NodePath, UserId};

/// Which node is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRef {
    /// The one that lies there. The path without names stands for the user's own folder.
    Path(NodePath),
    /// The one with that number, wherever it lies, also in the trash.
    Id(NodeId),
}

/// Where a node was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// It is the user's own folder, which is no node.
    Root,
    /// It lies where the user sees it.
    Living {
        /// The node.
        node: Node,
        /// Its place.
        path: NodePath,
    },
    /// It was removed, or lies in a folder that was.
    InTrash {
        /// The node.
        node: Node,
        /// The node that was removed.
        root: NodeId,
        /// The names from there to the node; none where it is the removed one.
        below: Vec<Name>,
    },
}

impl Catalog {
    /// The node that is meant, and where it lies. A name that is only kept for a document that is
    /// being published is no node yet.
    ///
    /// Refused: [`Refusal::NoSuchNode`].
    pub fn locate(&self, user_id: UserId, which: NodeRef) -> Reply<Located> {
        self.look(Share::Of(user_id), move |connection| match found(connection, user_id, &which)? {
            Found::Root => Ok(Located::Root),
            Found::Living(row, path) => Ok(Located::Living { node: row.seen(connection)?, path }),
            Found::InTrash(row, root, below) => {
                Ok(Located::InTrash { node: row.seen(connection)?, root, below })
            }
        })
    }
}

/// The same as rows.
pub(super) enum Found {
    Root,
    Living(NodeRow, NodePath),
    InTrash(NodeRow, NodeId, Vec<Name>),
}

impl Found {
    /// The node, where the user sees it.
    pub(super) fn living(self) -> Result<(NodeRow, NodePath), CatalogError> {
        match self {
            Self::Living(row, path) => Ok((row, path)),
            Self::Root | Self::InTrash(..) => Err(Refusal::NoSuchNode.into()),
        }
    }

    /// The number of the folder that it is: 0 for the user's own.
    pub(super) fn folder_number(&self) -> Result<i64, CatalogError> {
        match self {
            Self::Root => Ok(0),
            Self::Living(row, _) | Self::InTrash(row, ..) if row.kind == NodeKind::Folder => {
                Ok(row.node_id.to_i64())
            }
            Self::Living(..) | Self::InTrash(..) => Err(Refusal::NotAFolder.into()),
        }
    }
}

pub(super) fn found(
    connection: &Connection,
    user_id: UserId,
    which: &NodeRef,
) -> Result<Found, CatalogError> {
    let row = match which {
        NodeRef::Path(path) => {
            let Some((name, folder)) = path.names().split_last() else { return Ok(Found::Root) };
            let folder = folder::look(connection, user_id, folder)?.exact;
            let row = match folder {
                Some(folder) => child(connection, user_id, folder, name)?,
                None => None,
            };
            let row = row.filter(|row| !row.is_reserved()).ok_or(Refusal::NoSuchNode)?;
            return Ok(Found::Living(row, path.clone()));
        }
        NodeRef::Id(node_id) => node_row::by_id(connection, *node_id)?,
    };
    let is_seen =
        |row: &NodeRow| row.user_id == user_id && (row.deleted_at.is_some() || !row.is_reserved());
    let row = row.filter(is_seen).ok_or(Refusal::NoSuchNode)?;
    if row.deleted_at.is_some() {
        let root = row.node_id;
        return Ok(Found::InTrash(row, root, Vec::new()));
    }
    let chain = Places::new(connection).of_folder(row.parent_id)?.join(row.name.clone());
    match chain.trash {
        Some(root) => Ok(Found::InTrash(row, root, chain.names)),
        None => {
            let path = NodePath::new(chain.names).map_err(|_| Refusal::TooDeep)?;
            Ok(Found::Living(row, path))
        }
    }
}

/// The node of exactly that name in that folder, reserved ones included.
pub(super) fn child(
    connection: &Connection,
    user_id: UserId,
    folder: i64,
    name: &Name,
) -> Result<Option<NodeRow>, CatalogError> {
    let sql = format!(
        "SELECT {} FROM nodes WHERE user_id = $1 AND coalesce(parent_id, 0) = $2 \
         AND name_key >= $3 AND name_key < $4 AND deleted_at IS NULL AND name = $5",
        node_row::COLUMNS
    );
    let key = name.key();
    let behind = behind_twins(&key);
    node_row::one(connection, &sql, params![user_id.to_i64(), folder, key, behind, name.as_str()])
}
