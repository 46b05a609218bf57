//! Folders and links are made, and what else is kept of a node is set.
//!
//! A folder is made on the disk first (P3: a row says only what is true there); a link has nothing
//! on the disk but the folders above it. Before anything is made, a look says whether it can be.

use super::change::Kind;
use super::error::{CatalogError, Refusal};
use super::folder::{Folder, FolderCache, Tree};
use super::job::Share;
use super::locate::child;
use super::node::Node;
use super::node_row::{self, NodeRow, behind_twins};
use super::numbered_name::{self, Wish};
use super::{Catalog, Reply, users};
use rusqlite::params;
use std::sync::Arc;
use towline_types::{
    DocumentPath, LinkTarget, ModifiedTime, Name, NodeId, NodeKind, NodePath, OnConflict,
    PermissionBits, Timestamp, UserId,
};

/// A folder or link that was to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// It.
    pub node: Node,
    /// It was there already, and nothing was changed.
    pub existing: bool,
}

impl Catalog {
    /// Whether a folder can be made there; the folder, where it is there already. Nothing is
    /// changed: this is the look before the folder is made on the disk.
    ///
    /// Refused: as [`make_folder`](Self::make_folder).
    pub fn plan_folder(&self, user_id: UserId, path: NodePath) -> Reply<Option<Node>> {
        self.look(Share::Of(user_id), move |connection| {
            let cache = FolderCache::default();
            let tree = Tree { connection, cache: &cache, user_id };
            let there = tree.folder_there(path.names())?;
            there.map(|row| row.seen(connection)).transpose()
        })
    }

    /// Records a folder that lies on the disk, and those on the way to it that were not known.
    /// Where no permissions are told, it has those of most folders.
    ///
    /// Refused: [`Refusal::Exists`] where another node has the name, or a twin of it;
    /// [`Refusal::FolderTaken`] where a file or link has the name of a folder on the way;
    /// [`Refusal::NoSuchNode`] for the user's own folder; [`Refusal::PathTaken`] where the name is
    /// kept for a document that is being published; [`Refusal::Busy`]; [`Refusal::NoSuchUser`].
    pub fn make_folder(
        &self,
        user_id: UserId,
        path: NodePath,
        mode: Option<PermissionBits>,
        now: Timestamp,
    ) -> Reply<Made> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            users::require(connection, user_id)?;
            let tree = Tree { connection, cache: &shared.folders, user_id };
            if let Some(row) = tree.folder_there(path.names())? {
                return Ok(Made { node: row.seen(connection)?, existing: true });
            }
            let folder = tree.make(path.names())?;
            let node_id = node_id(folder.exact.unwrap_or(0), user_id)?;
            let mode = mode.unwrap_or(PermissionBits::of_mode(FOLDER_MODE));
            connection
                .prepare_cached("UPDATE nodes SET mode = $1 WHERE node_id = $2")?
                .execute(params![mode.bits(), node_id.to_i64()])?;
            tree.tell_folders(Some(node_id), 0, now)?;
            let row = node_row::by_id(connection, node_id)?.ok_or(Refusal::NoSuchNode)?;
            Ok(Made { node: row.seen(connection)?, existing: false })
        })
    }

    /// Records folders that lie on the disk, where they were made on the way to something that was
    /// not made after all: its user sees them from now on.
    ///
    /// Refused: [`Refusal::FolderTaken`] where a file or link has one of the names;
    /// [`Refusal::Busy`]; [`Refusal::NoSuchUser`].
    pub fn record_folders(&self, user_id: UserId, path: NodePath, now: Timestamp) -> Reply<()> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            users::require(connection, user_id)?;
            let tree = Tree { connection, cache: &shared.folders, user_id };
            let folder = tree.make(path.names())?.exact.unwrap_or(0);
            if folder != 0 {
                tree.tell_folders(Some(node_id(folder, user_id)?), 0, now)?;
            }
            Ok(())
        })
    }

    /// Whether a link can be made there; the link, where it is there already. Nothing is changed:
    /// this is the look before the folders on the way are made on the disk.
    ///
    /// Refused: as [`make_link`](Self::make_link).
    pub fn plan_link(
        &self,
        user_id: UserId,
        path: DocumentPath,
        target: LinkTarget,
        on_conflict: OnConflict,
    ) -> Reply<Option<Node>> {
        self.look(Share::Of(user_id), move |connection| {
            let cache = FolderCache::default();
            let tree = Tree { connection, cache: &cache, user_id };
            match tree.link_place(&path, &target, on_conflict)? {
                LinkPlace::There(row) => row.seen(connection).map(Some),
                LinkPlace::Replaced(_) | LinkPlace::Free(_) => Ok(None),
            }
        })
    }

    /// Records a link, and the folders on the way to it, which lie on the disk. A link that is
    /// there with that target is found, also under the number that it got before; one with another
    /// target gets this one where it is to be
    /// [replaced](OnConflict::Replace).
    ///
    /// Refused: as [`make_folder`](Self::make_folder), [`Refusal::Exists`] unless another name is
    /// allowed.
    pub fn make_link(
        &self,
        user_id: UserId,
        path: DocumentPath,
        target: LinkTarget,
        mtime: Option<ModifiedTime>,
        on_conflict: OnConflict,
        now: Timestamp,
    ) -> Reply<Made> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            users::require(connection, user_id)?;
            let tree = Tree { connection, cache: &shared.folders, user_id };
            let (node, existing) = match tree.link_place(&path, &target, on_conflict)? {
                LinkPlace::There(row) => (row.seen(connection)?, true),
                LinkPlace::Replaced(row) => (tree.retarget(*row, target, mtime, now)?, false),
                LinkPlace::Free(place) => (tree.insert_link(&place, target, mtime, now)?, false),
            };
            Ok(Made { node, existing })
        })
    }

    /// Sets what else is kept of a node, as far as it is told; answers with whether anything is
    /// different by that.
    ///
    /// Refused: [`Refusal::NoSuchNode`].
    pub fn set_metadata(
        &self,
        user_id: UserId,
        node_id: NodeId,
        mtime: Option<ModifiedTime>,
        mode: Option<PermissionBits>,
        now: Timestamp,
    ) -> Reply<bool> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let tree = Tree { connection, cache: &shared.folders, user_id };
            let which = super::locate::NodeRef::Id(node_id);
            let (mut row, _) = super::locate::found(connection, user_id, &which)?.living()?;
            let (mtime, mode) = (mtime.or(row.mtime), mode.or(row.mode));
            if (mtime, mode) == (row.mtime, row.mode) {
                return Ok(false);
            }
            (row.mtime, row.mode) = (mtime, mode);
            connection
                .prepare_cached("UPDATE nodes SET mtime_ms = $1, mode = $2 WHERE node_id = $3")?
                .execute(params![
                    mtime.map(ModifiedTime::as_ms),
                    mode.map(PermissionBits::bits),
                    node_id.to_i64(),
                ])?;
            let change_id = tree.take_number(now)?;
            let version = row.clone().seen(connection)?.version;
            tree.record(change_id, Kind::DESCRIBED, &row, version, now)?;
            Ok(true)
        })
    }
}

/// What a request for a link leads to.
enum LinkPlace {
    /// The link is there already.
    There(Box<NodeRow>),
    /// The link that has the name gets the target.
    Replaced(Box<NodeRow>),
    /// The link can be made there.
    Free(DocumentPath),
}

/// How many names with a number are looked at for a link that is there already: all other writes
/// of the catalog wait meanwhile.
const NUMBERED_LINKS_MAX: u32 = 100;

/// What a folder gets that is made without permissions being told.
const FOLDER_MODE: u32 = 0o755;

impl Tree<'_> {
    /// The folder that lies there, where it does; else nothing, where one can be made.
    fn folder_there(self, names: &[Name]) -> Result<Option<NodeRow>, CatalogError> {
        let mut above = self.find(&[])?;
        for (at, name) in names.iter().enumerate() {
            let Some(exact) = above.exact else { break };
            let is_last = at + 1 == names.len();
            match child(self.connection, self.user_id, exact, name)? {
                Some(row) if row.kind != NodeKind::Folder && is_last => {
                    return Err(self.taken_by(row)?);
                }
                Some(_) => {}
                // Whatever lies below it is new, too.
                None => self.refuse_taken(&above, name)?,
            }
            above = self.find(names.get(..=at).unwrap_or(names))?;
        }
        let Some(number) = above.exact else { return Ok(None) };
        // The user's own folder is no node.
        let node_id = NodeId::from_i64(number).map_err(|_| Refusal::NoSuchNode)?;
        Ok(node_row::by_id(self.connection, node_id)?.filter(|row| !row.is_reserved()))
    }

    fn link_place(
        self,
        path: &DocumentPath,
        target: &LinkTarget,
        on_conflict: OnConflict,
    ) -> Result<LinkPlace, CatalogError> {
        let folder = self.find(path.folder())?;
        let there = match folder.exact {
            Some(exact) => child(self.connection, self.user_id, exact, path.filename())?,
            None => None,
        };
        if let Some(row) = there.filter(|row| row.kind == NodeKind::Link) {
            if row.target.as_ref() == Some(target) {
                return Ok(LinkPlace::There(Box::new(row)));
            }
            if on_conflict == OnConflict::Replace {
                return Ok(LinkPlace::Replaced(Box::new(row)));
            }
        }
        if on_conflict != OnConflict::Rename {
            self.refuse_taken(&folder, path.filename())?;
        } else if let Some(row) = self.numbered_link(&folder, path, target)? {
            return Ok(LinkPlace::There(Box::new(row)));
        }
        let wish = Wish { path, on_conflict, own: None };
        Ok(LinkPlace::Free(numbered_name::free_place(self, wish, 0)?.0))
    }

    /// Refuses a name that a node in that folder has, or in a twin of it.
    pub(super) fn refuse_taken(self, folder: &Folder, name: &Name) -> Result<(), CatalogError> {
        self.refuse_taken_but(folder, name, None)
    }

    /// The same, but for one node.
    pub(super) fn refuse_taken_but(
        self,
        folder: &Folder,
        name: &Name,
        except: Option<NodeId>,
    ) -> Result<(), CatalogError> {
        let key = name.key();
        if !self.is_taken(folder, &key, except)? {
            return Ok(());
        }
        let sql = format!(
            "SELECT {} FROM nodes WHERE user_id = $1 AND coalesce(parent_id, 0) = $2 \
             AND name_key >= $3 AND name_key < $4 AND deleted_at IS NULL AND node_id <> $5 LIMIT 1",
            node_row::COLUMNS
        );
        let except = node_row::folder_number(except);
        for twin in &folder.twins {
            let wanted = params![self.user_id.to_i64(), twin, key, behind_twins(&key), except];
            if let Some(row) = node_row::one(self.connection, &sql, wanted)? {
                return Err(self.taken_by(row)?);
            }
        }
        // Something is on its way to that name.
        Err(Refusal::Busy.into())
    }

    fn taken_by(self, row: NodeRow) -> Result<CatalogError, CatalogError> {
        if row.is_reserved() {
            return Ok(Refusal::PathTaken.into());
        }
        Ok(Refusal::Exists { current: Box::new(row.seen(self.connection)?) }.into())
    }

    /// The link that got a number before because its name was taken, so that the same request twice
    /// makes no second link. `None` where the name is free.
    fn numbered_link(
        self,
        folder: &Folder,
        path: &DocumentPath,
        target: &LinkTarget,
    ) -> Result<Option<NodeRow>, CatalogError> {
        let Some(exact) = folder.exact else { return Ok(None) };
        if !self.is_taken(folder, &path.filename().key(), None)? {
            return Ok(None);
        }
        for numbered in (1..=NUMBERED_LINKS_MAX).map_while(|copy| path.numbered(copy)) {
            let Some(row) = child(self.connection, self.user_id, exact, numbered.filename())?
            else {
                break;
            };
            if row.kind == NodeKind::Link && row.target.as_ref() == Some(target) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn insert_link(
        self,
        place: &DocumentPath,
        target: LinkTarget,
        mtime: Option<ModifiedTime>,
        now: Timestamp,
    ) -> Result<Node, CatalogError> {
        let folder = self.make(place.folder())?;
        let parent_id = match folder.exact.unwrap_or(0) {
            0 => None,
            number => Some(node_id(number, self.user_id)?),
        };
        let number = self.tell_folders(parent_id, 1, now)?;
        let change_id = self.change_id(number)?;
        let name = place.filename().clone();
        let sql = "INSERT INTO nodes (user_id, parent_id, kind, name, name_key, target, mtime_ms, \
                   place_rev, content_rev) VALUES ($1, $2, 'link', $3, $4, $5, $6, $7, $7)";
        let link = params![
            self.user_id.to_i64(),
            parent_id.map(NodeId::to_i64),
            name.as_str(),
            name.key(),
            target.as_str(),
            mtime.map(ModifiedTime::as_ms),
            number,
        ];
        let made = self.connection.prepare_cached(sql)?.insert(link)?;
        let row = NodeRow {
            node_id: node_id(made, self.user_id)?,
            user_id: self.user_id,
            parent_id,
            kind: NodeKind::Link,
            name,
            version_id: None,
            incoming_id: None,
            target: Some(target),
            mode: None,
            mtime,
            place_rev: change_id,
            content_rev: change_id,
            deleted_at: None,
        };
        self.record(change_id, Kind::NEW, &row, None, now)?;
        row.seen(self.connection)
    }

    fn retarget(
        self,
        mut row: NodeRow,
        target: LinkTarget,
        mtime: Option<ModifiedTime>,
        now: Timestamp,
    ) -> Result<Node, CatalogError> {
        let change_id = self.take_number(now)?;
        row.content_rev = change_id;
        row.mtime = mtime;
        self.connection
            .prepare_cached(
                "UPDATE nodes SET target = $1, mtime_ms = $2, content_rev = $3 WHERE node_id = $4",
            )?
            .execute(params![
                target.as_str(),
                mtime.map(ModifiedTime::as_ms),
                change_id.to_i64(),
                row.node_id.to_i64(),
            ])?;
        row.target = Some(target);
        self.record(change_id, Kind::REPLACED, &row, None, now)?;
        row.seen(self.connection)
    }
}

/// Reads a number back that the catalog has given out.
pub(super) fn node_id(number: i64, owner: UserId) -> Result<NodeId, CatalogError> {
    NodeId::from_i64(number).map_err(|reason| CatalogError::BadRow {
        table: "node",
        id: number,
        owner: Some(owner),
        column: "node_id",
        reason: reason.to_string(),
    })
}
