//! Nodes get another place, go into the trash, and come back.
//!
//! A rename on the disk and the catalog cannot be one step. So each of these has an intent, which
//! is a row of its own: it is written first, then the disk is changed and synced, then one
//! transaction makes the change true and the intent goes (P3: nothing is told before the disk says
//! so). After a crash the intent says what is to be looked at (P4): where the file lies at the
//! destination the change is made true, where it lies at the source the rename is done again.
//! Meanwhile the destination's name is kept, and nothing else is published or moved there.

use super::availability_column;
use super::change::Kind;
use super::error::{CatalogError, Refusal};
use super::folder::Tree;
use super::locate::{NodeRef, found};
use super::node::Node;
use super::node_row::{self, NodeRow, folder_number};
use super::numbered_name::{self, Wish};
use super::place::Places;
use super::row::NamedRow;
use super::{Catalog, Reply, document};
use rusqlite::{Connection, Row, params};
use std::collections::HashMap;
use std::sync::Arc;
use towline_types::{
    ChangeId, DocumentId, DocumentPath, Name, NodeId, NodeKind, NodePath, OnConflict, Timestamp,
    UserId, limits,
};
use towline_upload::Phase;

/// A place on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// Where its user sees it; the last name may be that of a folder.
    Living(DocumentPath),
    /// In the trash.
    Trash(NodeId),
    /// Among the versions that were replaced.
    Version(DocumentId),
}

/// A change of a place that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The node, as it is until the change is true.
    pub node: Node,
    /// Where it lies until then.
    pub from: Spot,
    /// Where it lies then.
    pub to: Spot,
    /// Nothing of it lies on the disk where a move would lead it: it is a link, or a file whose bytes
    /// are in the quarantine.
    pub is_row_alone: bool,
}

/// What a node must be like to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemovalGuard {
    /// The version that the file must have.
    pub version: Option<DocumentId>,
    /// The last change of its place.
    pub place_rev: Option<ChangeId>,
    /// The last change that the caller has seen: neither the node nor anything below it may have
    /// a later one.
    pub seen: Option<ChangeId>,
    /// A folder goes with all that lies in it.
    pub recursive: bool,
}

impl Catalog {
    /// Begins to give a node another place. Its folder must be there; nothing is replaced.
    ///
    /// Refused: [`Refusal::NoSuchNode`]; [`Refusal::NoSuchFolder`];
    /// [`Refusal::Conflict`] where the last change of its place is another than `place_rev`;
    /// [`Refusal::Exists`] and [`Refusal::PathTaken`] where the name, or a twin of it, is taken;
    /// [`Refusal::FolderTaken`]; [`Refusal::Cycle`]; [`Refusal::TooDeep`]; [`Refusal::Busy`] where
    /// it, something below it or a folder above is just being moved or published.
    pub fn begin_move(
        &self,
        user_id: UserId,
        which: NodeRef,
        to: NodePath,
        place_rev: Option<ChangeId>,
        now: Timestamp,
    ) -> Reply<Move> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let tree = Tree { connection, cache: &shared.folders, user_id };
            let (row, from) = tree.changeable(&which, place_rev)?;
            let (name, above) = to.names().split_last().ok_or(Refusal::Cycle)?;
            let folder = tree.find(above)?;
            let number = folder.exact.ok_or(Refusal::NoSuchFolder)?;
            if row.kind == NodeKind::Folder && tree.is_within(number, row.node_id)? {
                return Err(Refusal::Cycle.into());
            }
            tree.refuse_taken_but(&folder, name, Some(row.node_id))?;
            let place = to.to_document().ok_or(Refusal::TooDeep)?;
            // What lies below has a place already, as deep and as long as before.
            let is_deeper = to.names().len() > from.names().len();
            if is_deeper || to.to_string().len() > from.to_string().len() {
                tree.refuse_too_deep(&row, &place)?;
            }
            tree.intend(&row, Some((number, name)), now)?;
            move_of(connection, row, Spot::Living(place))
        })
    }

    /// Begins to put a node into the trash, with all that lies below it.
    ///
    /// Refused: [`Refusal::NoSuchNode`]; [`Refusal::Conflict`] and [`Refusal::Unseen`] by the
    /// guard; [`Refusal::NotEmpty`]; [`Refusal::Busy`].
    pub fn begin_removal(
        &self,
        user_id: UserId,
        which: NodeRef,
        guard: RemovalGuard,
        now: Timestamp,
    ) -> Reply<Move> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let tree = Tree { connection, cache: &shared.folders, user_id };
            let (row, _) = tree.changeable(&which, guard.place_rev)?;
            if guard.version.is_some_and(|version| Some(version) != row.version_id) {
                return Err(conflict(connection, row)?);
            }
            if row.kind == NodeKind::Folder && !guard.recursive && tree.has_children(row.node_id)? {
                return Err(Refusal::NotEmpty.into());
            }
            if let Some(seen) = guard.seen {
                match tree.unseen_below(row.node_id, seen)? {
                    0 => {}
                    count => return Err(Refusal::Unseen { count }.into()),
                }
            }
            tree.intend(&row, None, now)?;
            let to = Spot::Trash(row.node_id);
            move_of(connection, row, to)
        })
    }

    /// Begins to bring a removed node back: to the folder that it was removed from, where that is
    /// still there, else to the user's own; under its name, or a numbered one where that is taken.
    /// `first_copy` is the first number that is tried for its name, 0 for the name without a
    /// number. The answer has the number that was chosen. A file whose content was lost gets the
    /// version again that was the current one before: what is kept can be had (P1).
    ///
    /// Refused: [`Refusal::NoSuchNode`] where no removed node has that number, or the file's
    /// content was lost and no earlier version is kept; [`Refusal::TooDeep`]; [`Refusal::Busy`].
    pub fn begin_restore(
        &self,
        user_id: UserId,
        node_id: NodeId,
        first_copy: u32,
        now: Timestamp,
    ) -> Reply<(Move, u32)> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let tree = Tree { connection, cache: &shared.folders, user_id };
            let row = node_row::by_id(connection, node_id)?;
            let is_removed = |row: &NodeRow| row.user_id == user_id && row.deleted_at.is_some();
            let row = row.filter(is_removed).ok_or(Refusal::NoSuchNode)?;
            if row.has_lost_content() && last_kept(connection, row.node_id)?.is_none() {
                return Err(Refusal::NoSuchNode.into());
            }
            tree.refuse_moving_chain(Some(row.node_id))?;
            tree.refuse_version_under_way(&row)?;
            let above = tree.folder_of_removed(&row)?;
            let wanted =
                DocumentPath::new(above, row.name.clone()).map_err(|_| Refusal::TooDeep)?;
            let wish = Wish { path: &wanted, on_conflict: OnConflict::Rename, own: None };
            let (place, copy) = numbered_name::free_place(tree, wish, first_copy)?;
            tree.refuse_too_deep(&row, &place)?;
            let number = tree.find(place.folder())?.exact.ok_or(Refusal::NoSuchNode)?;
            tree.intend(&row, Some((number, place.filename())), now)?;
            Ok((move_of(connection, row, Spot::Living(place))?, copy))
        })
    }

    /// Makes a change of a place true: on the disk the node lies at its destination, durably.
    ///
    /// Refused: [`Refusal::NoSuchNode`] where none is under way.
    pub fn finish_move(&self, node_id: NodeId, now: Timestamp) -> Reply<Node> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let (Some(row), Some(intent)) =
                (node_row::by_id(connection, node_id)?, intent_of(connection, node_id)?)
            else {
                return Err(Refusal::NoSuchNode.into());
            };
            let tree = Tree { connection, cache: &shared.folders, user_id: row.user_id };
            tree.drop_intent(node_id)?;
            tree.make_true(row, intent, now)
        })
    }

    /// Takes an intent back: on the disk the node lies where it lay, and stays there. Nothing is
    /// changed where there is none.
    pub fn drop_move(&self, node_id: NodeId) -> Reply<()> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            shared.folders.clear();
            forget(connection, node_id)
        })
    }

    /// The changes of places that are under way, after that node and in the order of their
    /// nodes' numbers, at most `limit` of them: what a start has to look at.
    pub fn moves(&self, after: Option<NodeId>, limit: u32) -> Reply<Vec<Move>> {
        self.read(move |connection| {
            let sql =
                format!("SELECT {INTENT} FROM moves WHERE node_id > $1 ORDER BY node_id LIMIT $2");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![folder_number(after), limit])?;
            let mut moves = Vec::new();
            while let Some(row) = rows.next()? {
                let intent = intent(row)?;
                let Some(row) = node_row::by_id(connection, intent.node_id)? else { continue };
                let to = intent.spot(connection)?;
                moves.push(move_of(connection, row, to)?);
            }
            Ok(moves)
        })
    }
}

const INTENT: &str = "node_id, user_id, to_parent, to_name";

/// A row of the moves table.
struct Intent {
    node_id: NodeId,
    to_parent: Option<NodeId>,
    /// Nothing where it goes into the trash.
    to_name: Option<Name>,
}

impl Intent {
    fn spot(&self, connection: &Connection) -> Result<Spot, CatalogError> {
        let Some(name) = &self.to_name else { return Ok(Spot::Trash(self.node_id)) };
        let chain = Places::new(connection).of_folder(self.to_parent)?;
        let place = DocumentPath::new(chain.names.clone(), name.clone());
        Ok(Spot::Living(place.map_err(|_| Refusal::TooDeep)?))
    }
}

fn intent(row: &Row<'_>) -> Result<Intent, CatalogError> {
    let row = NamedRow::new(row, "move", "node_id")?;
    Ok(Intent {
        node_id: row.get("node_id", NodeId::from_i64)?,
        to_parent: row.get_option("to_parent", NodeId::from_i64)?,
        to_name: row.get_option("to_name", |name: String| Name::recorded(name))?,
    })
}

fn intent_of(connection: &Connection, node_id: NodeId) -> Result<Option<Intent>, CatalogError> {
    let sql = format!("SELECT {INTENT} FROM moves WHERE node_id = $1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([node_id.to_i64()])?;
    rows.next()?.map(intent).transpose()
}

/// Forgets the intent of a node, where it has one.
pub(super) fn forget(connection: &Connection, node_id: NodeId) -> Result<(), CatalogError> {
    let sql = "DELETE FROM moves WHERE node_id = $1";
    connection.prepare_cached(sql)?.execute([node_id.to_i64()])?;
    Ok(())
}

/// The version of a file that was replaced last: what the file was before the current one.
fn last_kept(connection: &Connection, node_id: NodeId) -> Result<Option<DocumentId>, CatalogError> {
    let sql = "SELECT document_id FROM versions WHERE node_id = $1 \
               ORDER BY change_id DESC, document_id DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([node_id.to_i64()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    NamedRow::new(row, "document", "document_id")?
        .get("document_id", DocumentId::from_i64)
        .map(Some)
}

/// The change of a node's place, from where it lies now.
fn move_of(connection: &Connection, row: NodeRow, to: Spot) -> Result<Move, CatalogError> {
    let from = match row.deleted_at {
        Some(_) if row.has_lost_content() => {
            Spot::Version(last_kept(connection, row.node_id)?.ok_or(Refusal::NoSuchNode)?)
        }
        Some(_) => Spot::Trash(row.node_id),
        None => {
            let chain = Places::new(connection).of_folder(row.parent_id)?;
            let place = DocumentPath::new(chain.names.clone(), row.name.clone());
            Spot::Living(place.map_err(|_| Refusal::TooDeep)?)
        }
    };
    let version = match &from {
        Spot::Version(kept) => Some(*kept),
        Spot::Living(_) | Spot::Trash(_) => row.version_id,
    };
    let has_file = availability_column::with_file(connection, version)? == version;
    let is_row_alone = row.kind == NodeKind::Link || !has_file;
    Ok(Move { node: row.seen(connection)?, from, to, is_row_alone })
}

fn conflict(connection: &Connection, row: NodeRow) -> Result<CatalogError, CatalogError> {
    let current = Some(Box::new(row.seen(connection)?));
    Ok(Refusal::Conflict { current }.into())
}

impl Tree<'_> {
    /// The node that is meant, where its place can be changed now.
    fn changeable(
        self,
        which: &NodeRef,
        place_rev: Option<ChangeId>,
    ) -> Result<(NodeRow, NodePath), CatalogError> {
        let (row, path) = found(self.connection, self.user_id, which)?.living()?;
        if place_rev.is_some_and(|rev| rev != row.place_rev) {
            return Err(conflict(self.connection, row)?);
        }
        self.refuse_moving_chain(Some(row.node_id))?;
        if row.incoming_id.is_some() {
            return Err(Refusal::Busy.into());
        }
        if row.kind == NodeKind::Folder {
            self.refuse_busy_below(row.node_id)?;
        }
        self.refuse_version_under_way(&row)?;
        Ok((row, path))
    }

    /// Refuses a file that is on its way into the quarantine or back: until that is over it is not
    /// known where it lies.
    fn refuse_version_under_way(self, row: &NodeRow) -> Result<(), CatalogError> {
        let has_lost_content = row.has_lost_content();
        let kept = if has_lost_content { last_kept(self.connection, row.node_id)? } else { None };
        let is_kept_under_way = match kept {
            Some(kept) => availability_column::of(self.connection, kept)?.is_under_way(),
            None => false,
        };
        match is_kept_under_way || self.is_version_under_way(row)? {
            true => Err(Refusal::Busy.into()),
            false => Ok(()),
        }
    }

    /// Refuses a node that is about to get another place, or that lies in a folder that is.
    pub(super) fn refuse_moving_chain(self, node: Option<NodeId>) -> Result<(), CatalogError> {
        let mut at = node;
        while let Some(node_id) = at {
            if self.is_moving(node_id)? {
                return Err(Refusal::Busy.into());
            }
            let Some(row) = node_row::by_id(self.connection, node_id)? else { break };
            if row.deleted_at.is_some() {
                break;
            }
            at = row.parent_id;
        }
        Ok(())
    }

    /// Refuses a folder below which something is being published or moved, or to which something
    /// is on its way.
    fn refuse_busy_below(self, folder: NodeId) -> Result<(), CatalogError> {
        let mut known = HashMap::new();
        let user = self.user_id.to_i64();
        let busy = "SELECT node_id FROM documents WHERE finished_at IS NULL AND user_id = $1 \
                    AND status = $2 AND node_id IS NOT NULL";
        let mut statement = self.connection.prepare_cached(busy)?;
        let mut rows = statement.query(params![user, Phase::Publishing.as_str()])?;
        while let Some(row) = rows.next()? {
            if self.lies_within(row.get(0)?, folder, &mut known)? {
                return Err(Refusal::Busy.into());
            }
        }
        let moving = "SELECT node_id, coalesce(to_parent, 0) FROM moves WHERE user_id = $1";
        let mut statement = self.connection.prepare_cached(moving)?;
        let mut rows = statement.query([user])?;
        while let Some(row) = rows.next()? {
            for number in [row.get(0)?, row.get(1)?] {
                if self.lies_within(number, folder, &mut known)? {
                    return Err(Refusal::Busy.into());
                }
            }
        }
        Ok(())
    }

    /// Whether the folder of that number is the node, or lies below it.
    fn is_within(self, folder: i64, node_id: NodeId) -> Result<bool, CatalogError> {
        self.lies_within(folder, node_id, &mut HashMap::new())
    }

    pub(super) fn lies_within(
        self,
        number: i64,
        folder: NodeId,
        known: &mut HashMap<i64, bool>,
    ) -> Result<bool, CatalogError> {
        let sql = "SELECT coalesce(parent_id, 0) FROM nodes WHERE node_id = $1 \
                   AND deleted_at IS NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let (mut at, mut passed) = (number, Vec::new());
        let lies_within = loop {
            if at == folder.to_i64() {
                break true;
            }
            if at == 0 || passed.len() > 2 * limits::FOLDER_DEPTH {
                break false;
            }
            if let Some(known) = known.get(&at) {
                break *known;
            }
            passed.push(at);
            let mut rows = statement.query([at])?;
            at = match rows.next()? {
                Some(row) => row.get(0)?,
                None => break false,
            };
        };
        known.extend(passed.into_iter().map(|at| (at, lies_within)));
        Ok(lies_within)
    }

    /// Refuses a place so deep, or with so long a path, that what lies below would not have one.
    fn refuse_too_deep(self, row: &NodeRow, place: &DocumentPath) -> Result<(), CatalogError> {
        if row.kind != NodeKind::Folder {
            return Ok(());
        }
        let sql = "WITH RECURSIVE below (node_id, kind, depth, bytes) AS (\
                       SELECT node_id, kind, 0, 0 FROM nodes WHERE node_id = $1 \
                       UNION ALL \
                       SELECT child.node_id, child.kind, below.depth + 1, \
                       below.bytes + 1 + octet_length(child.name) FROM below \
                       JOIN nodes AS child ON child.user_id = $2 \
                       AND coalesce(child.parent_id, 0) = +below.node_id \
                       AND child.deleted_at IS NULL WHERE below.kind = 'folder') \
                   SELECT max(depth), max(bytes) FROM below";
        let mut statement = self.connection.prepare_cached(sql)?;
        let below = [row.node_id.to_i64(), self.user_id.to_i64()];
        let (depth, bytes): (u32, u32) =
            statement.query_row(below, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let folders = place.folder().len() + depth as usize;
        let bytes = place.to_string().len() + bytes as usize;
        if folders > limits::FOLDER_DEPTH || bytes > limits::PATH_BYTES {
            return Err(Refusal::TooDeep.into());
        }
        Ok(())
    }

    /// The names of the folder that a removed node comes back to.
    fn folder_of_removed(self, row: &NodeRow) -> Result<Vec<Name>, CatalogError> {
        let Some(parent_id) = row.parent_id else { return Ok(Vec::new()) };
        let lives = node_row::by_id(self.connection, parent_id)?
            .is_some_and(|folder| folder.kind == NodeKind::Folder && folder.deleted_at.is_none());
        if !lives {
            return Ok(Vec::new());
        }
        let chain = Places::new(self.connection).of_folder(Some(parent_id))?;
        Ok(if chain.trash.is_none() { chain.names.clone() } else { Vec::new() })
    }

    fn intend(
        self,
        row: &NodeRow,
        to: Option<(i64, &Name)>,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        self.cache.clear();
        self.connection
            .prepare_cached(
                "INSERT INTO moves (node_id, user_id, to_trash, to_parent, to_name, to_key, at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )?
            .execute(params![
                row.node_id.to_i64(),
                self.user_id.to_i64(),
                to.is_none(),
                to.map(|(folder, _)| folder).filter(|folder| *folder != 0),
                to.map(|(_, name)| name.as_str()),
                to.map(|(_, name)| name.key()),
                now.to_i64(),
            ])?;
        Ok(())
    }

    fn drop_intent(self, node_id: NodeId) -> Result<(), CatalogError> {
        self.cache.clear();
        forget(self.connection, node_id)
    }

    fn make_true(
        self,
        mut row: NodeRow,
        intent: Intent,
        now: Timestamp,
    ) -> Result<Node, CatalogError> {
        let revived = match intent.to_name.is_some() && row.has_lost_content() {
            true => last_kept(self.connection, row.node_id)?,
            false => None,
        };
        let (kind, number) = match intent.to_name {
            None => {
                row.deleted_at = Some(now);
                (Kind::REMOVED, self.take_numbers(1, now)?)
            }
            Some(name) => {
                let was_removed = row.deleted_at.take().is_some();
                (row.parent_id, row.name) = (intent.to_parent, name);
                let kind = match (was_removed, revived) {
                    (true, Some(_)) => Kind::NEW,
                    (true, None) => Kind::RESTORED,
                    (false, _) => Kind::MOVED,
                };
                (kind, self.tell_folders(row.parent_id, 1, now)?)
            }
        };
        let change_id = self.change_id(number)?;
        row.place_rev = change_id;
        if let Some(version) = revived {
            self.revive(&mut row, version, change_id)?;
        }
        // What goes into the trash keeps its key, which may be that of a twin.
        let key = row.deleted_at.is_none().then(|| row.name.key());
        self.connection
            .prepare_cached(
                "UPDATE nodes SET parent_id = $1, name = $2, name_key = coalesce($3, name_key), \
                 place_rev = $4, deleted_at = $5 WHERE node_id = $6",
            )?
            .execute(params![
                row.parent_id.map(NodeId::to_i64),
                row.name.as_str(),
                key,
                number,
                row.deleted_at.map(Timestamp::to_i64),
                row.node_id.to_i64(),
            ])?;
        let version = row.clone().seen(self.connection)?.version;
        self.record(change_id, kind, &row, version, now)?;
        Ok(row.with_version(version))
    }

    /// Makes an earlier version of a file the current one.
    fn revive(
        self,
        row: &mut NodeRow,
        version: DocumentId,
        change_id: ChangeId,
    ) -> Result<(), CatalogError> {
        let sql = "DELETE FROM versions WHERE document_id = $1";
        self.connection.prepare_cached(sql)?.execute([version.to_i64()])?;
        let document = document::by_id(self.connection, version)?;
        row.mtime = document.and_then(|document| document.wish.mtime);
        (row.version_id, row.content_rev) = (Some(version), change_id);
        let sql = "UPDATE nodes SET version_id = $1, content_rev = $2, mtime_ms = $3 \
                   WHERE node_id = $4";
        self.connection.prepare_cached(sql)?.execute(params![
            version.to_i64(),
            change_id.to_i64(),
            row.mtime.map(|mtime| mtime.as_ms()),
            row.node_id.to_i64(),
        ])?;
        Ok(())
    }
}
