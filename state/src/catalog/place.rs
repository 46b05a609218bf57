//! From a node to the place where it lies: the chain of names above it.

use super::error::CatalogError;
use super::row::NamedRow;
use rusqlite::{Connection, OptionalExtension as _, Row};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use towline_types::{DocumentId, Name, NodeId, limits};

/// Where the file of a completed document is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Kept {
    /// Under the name where its user sees it.
    #[default]
    InPlace,
    /// Apart, since another document has become the version of its node.
    OldVersion,
    /// In the trash: the node that was removed, and the names from there on; none where it is the
    /// removed node itself.
    InTrash {
        /// The node that was removed.
        root: NodeId,
        /// The names below it.
        below: Vec<Name>,
    },
}

/// Where a folder lies: its names from the user's own folder on, or from the removed folder on
/// that it is below of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) trash: Option<NodeId>,
    pub(super) names: Vec<Name>,
}

impl Chain {
    /// The same for a node of that name in this folder.
    pub(super) fn join(&self, name: Name) -> Self {
        let mut names = self.names.clone();
        names.push(name);
        Self { trash: self.trash, names }
    }
}

/// Finds where nodes lie, and remembers the folders for as long as one call takes.
pub(super) struct Places<'c> {
    pub(super) connection: &'c Connection,
    folders: RefCell<HashMap<NodeId, Rc<Chain>>>,
}

/// The columns that [`PlacedNode`] is read from.
const COLUMNS: &str = "node_id, user_id, parent_id, name, version_id, incoming_id, deleted_at";

/// More folders than can lie in each other: a chain that is longer was edited by hand.
const CHAIN_MAX: usize = 2 * limits::FOLDER_DEPTH;

impl<'c> Places<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, folders: RefCell::default() }
    }

    /// Where that folder lies; nothing stands for the user's own.
    pub(super) fn of_folder(&self, folder: Option<NodeId>) -> Result<Rc<Chain>, CatalogError> {
        let mut below = Vec::new();
        let mut at = folder;
        let mut chain = loop {
            let Some(node_id) = at else { break Rc::new(Chain::default()) };
            if let Some(known) = self.folders.borrow().get(&node_id) {
                break Rc::clone(known);
            }
            let above = self.node(node_id)?;
            if above.is_removed {
                let trash = Chain { trash: Some(node_id), names: Vec::new() };
                break self.remember(node_id, trash);
            }
            at = above.parent_id;
            below.push((node_id, above.name));
            if below.len() > CHAIN_MAX {
                return Err(bad(node_id, "parent_id", "it lies in too many folders"));
            }
        };
        for (node_id, name) in below.into_iter().rev() {
            let joined = chain.join(name);
            chain = self.remember(node_id, joined);
        }
        Ok(chain)
    }

    /// What decides where the file of a document lies that has that node.
    pub(super) fn node(&self, node_id: NodeId) -> Result<PlacedNode, CatalogError> {
        let sql = format!("SELECT {COLUMNS} FROM nodes WHERE node_id = $1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let read = |row: &Row<'_>| {
            let row = NamedRow::selected(row, "node", COLUMNS)?;
            Ok(PlacedNode {
                parent_id: row.get_option("parent_id", NodeId::from_i64)?,
                name: row.get("name", |name: String| Name::recorded(name))?,
                version_id: row.get_option("version_id", DocumentId::from_i64)?,
                incoming_id: row.get_option("incoming_id", DocumentId::from_i64)?,
                is_removed: row.plain::<Option<i64>>("deleted_at")?.is_some(),
            })
        };
        let found = statement.query_row([node_id.to_i64()], |row| Ok(read(row))).optional()?;
        found.unwrap_or_else(|| Err(bad(node_id, "node_id", "there is no such node")))
    }

    fn remember(&self, node_id: NodeId, chain: Chain) -> Rc<Chain> {
        let chain = Rc::new(chain);
        self.folders.borrow_mut().insert(node_id, Rc::clone(&chain));
        chain
    }
}

/// A node, as far as it says where a file lies.
pub(super) struct PlacedNode {
    pub(super) parent_id: Option<NodeId>,
    pub(super) name: Name,
    pub(super) version_id: Option<DocumentId>,
    pub(super) incoming_id: Option<DocumentId>,
    pub(super) is_removed: bool,
}

fn bad(node_id: NodeId, column: &'static str, reason: &str) -> CatalogError {
    let (id, reason) = (node_id.to_i64(), reason.to_owned());
    CatalogError::BadRow { table: "node", id, owner: None, column, reason }
}
