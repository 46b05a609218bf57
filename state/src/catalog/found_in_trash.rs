//! Finds something in the trash by the path that it had.
//!
//! A person knows the path of a thing, and not its number. The path finds what was removed by
//! itself, and also what was removed with a folder above it: that folder stands for all that lies
//! below it.

use super::error::{CatalogError, Refusal};
use super::job::Share;
use super::locate::Located;
use super::node_row::{self, NodeRow, behind_twins};
use super::place::Places;
use super::{Catalog, Reply};
use rusqlite::{Connection, ToSql, params, params_from_iter};
use std::fmt::Write as _;
use towline_types::{Name, NodeId, NodeKind, NodePath, UserId};

impl Catalog {
    /// What was removed from that place last: by itself, or with a folder above it.
    pub fn find_in_trash(&self, user_id: UserId, path: NodePath) -> Reply<Option<Located>> {
        self.look(Share::Of(user_id), move |connection| {
            let keys: Vec<_> = path.names().iter().map(Name::key).collect();
            let places = Places::new(connection);
            let mut is_at = |root: &NodeRow| {
                let above = old_path(&places, root)?;
                let mut names = above.names().iter().zip(&keys);
                match path.names().get(above.names().len()..) {
                    Some(rest) if names.all(|(name, key)| name.key() == *key) => {
                        below(connection, user_id, root, rest)
                    }
                    _ => Ok(None),
                }
            };
            each_removed(connection, user_id, &keys, &mut is_at)
        })
    }

    /// The path of a node that was removed: what leads to it in
    /// [`find_in_trash`](Self::find_in_trash).
    ///
    /// Refused: [`Refusal::NoSuchNode`] where no removed node has that number.
    pub fn removed_from(&self, user_id: UserId, node_id: NodeId) -> Reply<NodePath> {
        self.look(Share::Of(user_id), move |connection| {
            let row = node_row::by_id(connection, node_id)?;
            match row.filter(|row| row.user_id == user_id && row.deleted_at.is_some()) {
                Some(row) => old_path(&Places::new(connection), &row),
                None => Err(Refusal::NoSuchNode.into()),
            }
        })
    }
}

/// The path that led to a removed node. Where a folder on the way is forgotten, or the whole would
/// be too long for a path, it begins below that folder.
pub(super) fn old_path(places: &Places<'_>, removed: &NodeRow) -> Result<NodePath, CatalogError> {
    let mut names = vec![removed.name.clone()];
    let mut parent_id = removed.parent_id;
    while let Some(folder) = parent_id {
        // A folder that was forgotten has left no name: what lay in it comes back to the user's own.
        if node_row::by_id(places.connection, folder)?.is_none() {
            break;
        }
        let chain = places.of_folder(Some(folder))?;
        let root = match chain.trash {
            Some(root) => node_row::by_id(places.connection, root)?,
            None => None,
        };
        let above = root.iter().map(|root| root.name.clone()).chain(chain.names.iter().cloned());
        let longer: Vec<_> = above.chain(names.iter().cloned()).collect();
        if NodePath::new(longer.clone()).is_err() {
            break;
        }
        (names, parent_id) = (longer, root.and_then(|root| root.parent_id));
    }
    NodePath::new(names).map_err(|_| Refusal::TooDeep.into())
}

/// Calls `is_it` with each removed node that has one of these names, the last removal first, until
/// one is it. This is one walk through the trash, however many names there are.
fn each_removed(
    connection: &Connection,
    user_id: UserId,
    keys: &[String],
    is_it: &mut dyn FnMut(&NodeRow) -> Result<Option<Located>, CatalogError>,
) -> Result<Option<Located>, CatalogError> {
    let user = user_id.to_i64();
    let ends: Vec<_> = keys.iter().map(|key| behind_twins(key)).collect();
    let mut values: Vec<&dyn ToSql> = vec![&user];
    let mut is_named = String::from("0");
    for (key, end) in keys.iter().zip(&ends) {
        values.extend([key as &dyn ToSql, end as &dyn ToSql]);
        let number = values.len();
        let _ = write!(is_named, " OR (name_key >= ${} AND name_key < ${number})", number - 1);
    }
    let sql = format!(
        "SELECT {} FROM nodes WHERE user_id = $1 AND deleted_at IS NOT NULL AND ({is_named}) \
         ORDER BY deleted_at DESC, node_id DESC",
        node_row::COLUMNS
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        if let Some(found) = is_it(&node_row::node_row(row)?)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What lies under those names below a removed node; without names, that node.
fn below(
    connection: &Connection,
    user_id: UserId,
    root: &NodeRow,
    names: &[Name],
) -> Result<Option<Located>, CatalogError> {
    let mut at = root.clone();
    let mut path = Vec::new();
    for name in names {
        if at.kind != NodeKind::Folder {
            return Ok(None);
        }
        let Some(child) = child(connection, user_id, at.node_id, name)? else { return Ok(None) };
        path.push(child.name.clone());
        at = child;
    }
    let root = root.node_id;
    Ok(Some(Located::InTrash { node: at.seen(connection)?, root, below: path }))
}

/// The node of that name in a folder, else a twin of it.
fn child(
    connection: &Connection,
    user_id: UserId,
    folder: NodeId,
    name: &Name,
) -> Result<Option<NodeRow>, CatalogError> {
    let sql = format!(
        "SELECT {} FROM nodes WHERE user_id = $1 AND coalesce(parent_id, 0) = $2 \
         AND name_key >= $3 AND name_key < $4 AND deleted_at IS NULL \
         ORDER BY name <> $5, node_id LIMIT 1",
        node_row::COLUMNS
    );
    let key = name.key();
    let behind = behind_twins(&key);
    let there = params![user_id.to_i64(), folder.to_i64(), key, behind, name.as_str()];
    Ok(node_row::one(connection, &sql, there)?.filter(|row| !row.is_reserved()))
}
