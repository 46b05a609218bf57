//! The name that a node keeps for a document while it is being published.
//!
//! A reserved node has no version. It keeps its name from all others, and nothing tells of it.
//! Where the document becomes the next version of a file that is there, that file's node is the
//! one that it is published into.

use super::availability_column;
use super::error::{CatalogError, Refusal};
use super::folder::Tree;
use super::making::node_id;
use super::moves;
use super::node_row::{self, NodeRow, behind_twins, folder_number};
use super::node_wish::NodeWish;
use super::numbered_name::{self, Wish};
use super::place::Places;
use rusqlite::params;
use towline_types::{DocumentId, DocumentPath, NodeId, NodeKind, OnConflict, Timestamp};

/// A name that is kept for a document.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) node_id: NodeId,
    pub(super) place: DocumentPath,
    /// The number in the name; 0 is the name that was asked for.
    pub(super) copy: u32,
    /// The document that is the node's version until this one is, where its file has the name.
    pub(super) replaces: Option<DocumentId>,
}

/// A document that wants a name.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) document_id: DocumentId,
    /// The place that was asked for.
    pub(super) path: &'a DocumentPath,
    pub(super) on_conflict: OnConflict,
    pub(super) wish: &'a NodeWish,
    /// The node that it has already, where it chooses again.
    pub(super) own: Option<NodeId>,
    pub(super) first_copy: u32,
    pub(super) now: Timestamp,
}

impl Tree<'_> {
    /// Keeps a name for a document, and makes the folders on the way.
    ///
    /// Refused: as [`numbered_name::free_place`]; [`Refusal::Conflict`] where another version than
    /// the base version would be replaced, or the file is gone that was to be replaced;
    /// [`Refusal::Busy`] where another document is being published into the file, or its version is
    /// on its way into the quarantine; [`Refusal::TooDeep`] where the node or folder was given by number.
    pub(super) fn reserve(self, wanted: Wanted<'_>) -> Result<Reservation, CatalogError> {
        let path = match self.wished_path(wanted) {
            Err(CatalogError::Refused(Refusal::NoSuchNode)) => path_without_node(wanted)?,
            path => path?,
        };
        let target = self.replaced(wanted, &path)?;
        // Its own name, that nothing had before, is chosen anew like any other.
        let is_new =
            |target: &NodeRow| Some(target.node_id) == wanted.own && target.version_id.is_none();
        if let Some(target) = target.filter(|target| !is_new(target)) {
            return self.publish_into(wanted, path, target);
        }
        let replaces = wanted.on_conflict == OnConflict::Replace;
        if replaces && wanted.wish.base_version.is_some() {
            return Err(Refusal::Conflict { current: None }.into());
        }
        let wish = Wish { path: &path, on_conflict: wanted.on_conflict, own: wanted.own };
        let (place, copy) = numbered_name::free_place(self, wish, wanted.first_copy)?;
        let own = self.give_back_unless_new(wanted)?;
        let node_id = match own {
            // All names that a document may get are in the same folder.
            Some(own) => self.rename_reserved(own, &place)?,
            None => self.insert_reserved(wanted.document_id, &place)?,
        };
        Ok(Reservation { node_id, place, copy, replaces: None })
    }

    /// Where the document is to go, according to where its folder or file lies now. A document that
    /// is not to replace the file goes to the same folder under a name of its own.
    ///
    /// Refused: [`Refusal::NoSuchNode`] where that is gone; [`Refusal::TooDeep`].
    pub(super) fn wished_path(self, wanted: Wanted<'_>) -> Result<DocumentPath, CatalogError> {
        let places = Places::new(self.connection);
        let too_deep = |_| CatalogError::from(Refusal::TooDeep);
        if let Some(onto) = wanted.wish.onto_node {
            let node = self.living_node(onto, NodeKind::File)?;
            let chain = places.of_folder(node.parent_id)?;
            if chain.trash.is_some() {
                return Err(Refusal::NoSuchNode.into());
            }
            let filename = match wanted.on_conflict {
                OnConflict::Replace => node.name,
                _ => wanted.path.filename().clone(),
            };
            return DocumentPath::new(chain.names.clone(), filename).map_err(too_deep);
        }
        if let Some(into) = wanted.wish.into_folder {
            self.living_node(into, NodeKind::Folder)?;
            let chain = places.of_folder(Some(into))?;
            if chain.trash.is_some() {
                return Err(Refusal::NoSuchNode.into());
            }
            let filename = wanted.path.filename().clone();
            return DocumentPath::new(chain.names.clone(), filename).map_err(too_deep);
        }
        Ok(wanted.path.clone())
    }

    fn living_node(self, node_id: NodeId, kind: NodeKind) -> Result<NodeRow, CatalogError> {
        let node = node_row::by_id(self.connection, node_id)?;
        let is_one = |node: &NodeRow| {
            node.user_id == self.user_id && node.kind == kind && node.deleted_at.is_none()
        };
        node.filter(is_one).ok_or_else(|| Refusal::NoSuchNode.into())
    }

    /// The file whose next version the document is to be, where there is one. It may have no
    /// version yet, while its first one is being published.
    pub(super) fn replaced(
        self,
        wanted: Wanted<'_>,
        path: &DocumentPath,
    ) -> Result<Option<NodeRow>, CatalogError> {
        if wanted.on_conflict != OnConflict::Replace {
            return Ok(None);
        }
        let folder = self.find(path.folder())?;
        let Some(exact) = folder.exact else { return Ok(None) };
        let key = path.filename().key();
        let sql = format!(
            "SELECT {} FROM nodes WHERE user_id = $1 AND coalesce(parent_id, 0) = $2 \
             AND name_key >= $3 AND name_key < $4 AND deleted_at IS NULL",
            node_row::COLUMNS
        );
        let there = params![self.user_id.to_i64(), exact, key, behind_twins(&key)];
        let found = node_row::many(self.connection, &sql, there)?;
        let is_file = |node: &NodeRow| node.kind == NodeKind::File;
        Ok(found.into_iter().find(|node| node.name == *path.filename() && is_file(node)))
    }

    fn publish_into(
        self,
        wanted: Wanted<'_>,
        place: DocumentPath,
        target: NodeRow,
    ) -> Result<Reservation, CatalogError> {
        let is_free = match target.incoming_id {
            // Chosen again: the document is published into it already.
            Some(id) => id == wanted.document_id,
            None => target.version_id.is_some(),
        };
        if !is_free || self.is_moving(target.node_id)? {
            return Err(Refusal::Busy.into());
        }
        if self.is_version_under_way(&target)? {
            return Err(Refusal::Busy.into());
        }
        let node_id = target.node_id;
        let replaces = availability_column::with_file(self.connection, target.version_id)?;
        self.refuse_other_version(wanted, target)?;
        if let Some(own) = wanted.own.filter(|own| *own != node_id) {
            self.give_back(own, wanted.document_id, wanted.now)?;
        }
        self.connection
            .prepare_cached("UPDATE nodes SET incoming_id = $1 WHERE node_id = $2")?
            .execute([wanted.document_id.to_i64(), node_id.to_i64()])?;
        Ok(Reservation { node_id, place, copy: 0, replaces })
    }

    /// Refuses to replace another version than the one that the client knew.
    pub(super) fn refuse_other_version(
        self,
        wanted: Wanted<'_>,
        target: NodeRow,
    ) -> Result<(), CatalogError> {
        if wanted.wish.base_version.is_none_or(|base| Some(base) == target.version_id) {
            return Ok(());
        }
        let current = Some(Box::new(target.seen(self.connection)?));
        Err(Refusal::Conflict { current }.into())
    }

    /// Whether the file of the node's version is on its way into the quarantine or back.
    pub(super) fn is_version_under_way(self, node: &NodeRow) -> Result<bool, CatalogError> {
        match node.version_id {
            Some(version) => Ok(availability_column::of(self.connection, version)?.is_under_way()),
            None => Ok(false),
        }
    }

    /// Whether the node itself is about to get another place.
    pub(super) fn is_moving(self, node_id: NodeId) -> Result<bool, CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM moves WHERE node_id = $1)";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([node_id.to_i64()], |row| row.get(0))?)
    }

    fn insert_reserved(
        self,
        document_id: DocumentId,
        place: &DocumentPath,
    ) -> Result<NodeId, CatalogError> {
        let folder = self.make(place.folder())?;
        let sql = "INSERT INTO nodes (user_id, parent_id, kind, name, name_key, incoming_id, \
                   place_rev, content_rev) VALUES ($1, $2, 'file', $3, $4, $5, 0, 0)";
        let name = place.filename();
        let node = params![
            self.user_id.to_i64(),
            folder.exact.filter(|number| *number != 0),
            name.as_str(),
            name.key(),
            document_id.to_i64(),
        ];
        // Not `RETURNING`: SQLite collects its rows in a table that it makes for each statement,
        // at five times the cost of the row itself.
        node_id(self.connection.prepare_cached(sql)?.insert(node)?, self.user_id)
    }

    /// The node that keeps a name for the document alone. Where the document was to be the next
    /// version of a file, that file's node is given back, and it keeps its name.
    fn give_back_unless_new(self, wanted: Wanted<'_>) -> Result<Option<NodeId>, CatalogError> {
        let Some(own) = wanted.own else { return Ok(None) };
        let has_version =
            node_row::by_id(self.connection, own)?.is_some_and(|node| node.version_id.is_some());
        if has_version {
            self.give_back(own, wanted.document_id, wanted.now)?;
        }
        Ok((!has_version).then_some(own))
    }

    fn rename_reserved(self, own: NodeId, place: &DocumentPath) -> Result<NodeId, CatalogError> {
        let name = place.filename();
        self.connection
            .prepare_cached("UPDATE nodes SET name = $1, name_key = $2 WHERE node_id = $3")?
            .execute(params![name.as_str(), name.key(), own.to_i64()])?;
        Ok(own)
    }

    /// Gives a name back that was kept for a document that is not published after all. Folders
    /// that were made for it alone go as well.
    ///
    /// The file may have lost its version meanwhile and have earlier ones. Then it goes into the
    /// trash, as one that is lost does: without the node no request could reach or name these
    /// versions.
    pub(super) fn give_back(
        self,
        node_id: NodeId,
        document_id: DocumentId,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let Some(node) = node_row::by_id(self.connection, node_id)? else { return Ok(()) };
        if node.incoming_id != Some(document_id) {
            return Ok(());
        }
        if node.version_id.is_some() {
            let sql = "UPDATE nodes SET incoming_id = NULL WHERE node_id = $1";
            self.connection.prepare_cached(sql)?.execute([node_id.to_i64()])?;
            return Ok(());
        }
        if self.has_versions(node_id)? {
            self.cache.clear();
            // The log of changes has had the file as gone since its version was lost.
            let sql = "UPDATE nodes SET incoming_id = NULL, deleted_at = $1 WHERE node_id = $2";
            self.connection.prepare_cached(sql)?.execute([now.to_i64(), node_id.to_i64()])?;
            return Ok(());
        }
        self.delete_row(node_id)?;
        self.prune_reserved(node.parent_id)
    }

    /// Deletes a node of which nothing is left to tell.
    pub(super) fn delete_row(self, node_id: NodeId) -> Result<(), CatalogError> {
        let sql = "DELETE FROM nodes WHERE node_id = $1";
        self.connection.prepare_cached(sql)?.execute([node_id.to_i64()])?;
        moves::forget(self.connection, node_id)
    }

    /// Deletes folders, from that one upwards, that are only reserved and have nothing in them.
    fn prune_reserved(self, mut folder: Option<NodeId>) -> Result<(), CatalogError> {
        while let Some(node_id) = folder {
            let Some(node) = node_row::by_id(self.connection, node_id)? else { return Ok(()) };
            if !node.is_reserved() || self.has_children(node_id)? {
                return Ok(());
            }
            self.cache.clear();
            self.delete_row(node_id)?;
            folder = node.parent_id;
        }
        Ok(())
    }

    /// Whether anything lies in that folder or is on its way there, reserved names included.
    pub(super) fn has_children(self, folder: NodeId) -> Result<bool, CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM nodes WHERE user_id = $1 \
                   AND coalesce(parent_id, 0) = $2 AND deleted_at IS NULL) \
                   OR EXISTS (SELECT 1 FROM moves WHERE user_id = $1 \
                   AND coalesce(to_parent, 0) = $2 AND to_trash = 0)";
        let wanted = [self.user_id.to_i64(), folder_number(Some(folder))];
        Ok(self.connection.prepare_cached(sql)?.query_row(wanted, |row| row.get(0))?)
    }
}

/// Where a document goes whose folder or file is gone: to the place at which that lay when the
/// upload began. Its bytes are not to be lost because of what was removed meanwhile (P1): a folder
/// is made anew, as for a path. Only a file that is gone cannot be replaced.
fn path_without_node(wanted: Wanted<'_>) -> Result<DocumentPath, CatalogError> {
    if wanted.wish.onto_node.is_some() && wanted.on_conflict == OnConflict::Replace {
        return Err(Refusal::Conflict { current: None }.into());
    }
    Ok(wanted.path.clone())
}
