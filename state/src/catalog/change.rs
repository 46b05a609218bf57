//! The log of changes of each user: how a change is recorded.
//!
//! Every change takes its number from its user's counter, in the transaction that makes the change
//! true. So the numbers have no gaps, a change with a smaller number is never committed after one
//! with a larger, and a reader that asks for what is after the last one it saw misses none.

use super::availability_column;
use super::document::Document;
use super::error::CatalogError;
use super::folder::Tree;
use super::node::{Node, NodeVersion};
use super::node_row::{self, NodeRow, folder_number};
use super::row::NamedRow;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use towline_types::{
    ChangeId, DocumentId, FileHash, FileSize, Name, NodeId, NodeKind, Timestamp, UserId,
};

/// What became of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// It is there: new, or back from the trash.
    Create,
    /// It has another place, another content or both.
    Update,
    /// It is gone, and with a folder all that lies below it.
    Delete,
}

impl Op {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        let all = [Self::Create, Self::Update, Self::Delete];
        let named = all.into_iter().find(|op| op.as_str() == word);
        named.ok_or_else(|| format!("{word:?} is no kind of change"))
    }
}

/// What of a node a change has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The content of a file, or the target of a link.
    Content,
    /// The name, or the folder. Of a folder that is created: it is back from the trash, together
    /// with all that lies below it, which has no changes of its own.
    Place,
    /// Both: the node is new.
    Both,
    /// Neither: only what else is kept of it, the time and the permissions.
    Neither,
}

impl Changed {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Place => "place",
            Self::Both => "content,place",
            Self::Neither => "",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        let all = [Self::Content, Self::Place, Self::Both, Self::Neither];
        let named = all.into_iter().find(|changed| changed.as_str() == word);
        named.ok_or_else(|| format!("{word:?} is nothing that changes"))
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number among its user's changes.
    pub change_id: ChangeId,
    /// What became of the node.
    pub op: Op,
    /// What of it was changed.
    pub changed: Changed,
    /// The whole node as it was after the change.
    pub node: Node,
    /// When the change was recorded; nothing for a node of a snapshot.
    pub at: Option<Timestamp>,
}

/// What a change does to a node, before it has a number.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) op: Op,
    pub(super) changed: Changed,
}

impl Kind {
    pub(super) const NEW: Self = Self { op: Op::Create, changed: Changed::Both };
    pub(super) const REPLACED: Self = Self { op: Op::Update, changed: Changed::Content };
    pub(super) const MOVED: Self = Self { op: Op::Update, changed: Changed::Place };
    pub(super) const REMOVED: Self = Self { op: Op::Delete, changed: Changed::Place };
    pub(super) const DESCRIBED: Self = Self { op: Op::Update, changed: Changed::Neither };
    pub(super) const RESTORED: Self = Self { op: Op::Create, changed: Changed::Place };
}

impl Tree<'_> {
    /// Takes the next numbers of the user's changes; answers with the first of them.
    pub(super) fn take_numbers(self, count: i64, now: Timestamp) -> Result<i64, CatalogError> {
        let user = self.user_id.to_i64();
        let mut counter = self
            .connection
            .prepare_cached("SELECT last FROM change_counters WHERE user_id = $1")?;
        let last: Option<i64> = counter.query_row([user], |row| row.get(0)).optional()?;
        // Two statements, and not one with `RETURNING`: SQLite collects the rows of that in a
        // table that it makes for each statement. The transaction began as one that writes, so
        // nothing comes between the two.
        match last {
            Some(last) => {
                let sql = "UPDATE change_counters SET last = $1 WHERE user_id = $2";
                self.connection.prepare_cached(sql)?.execute([last + count, user])?;
            }
            None => {
                let sql = "INSERT INTO change_counters (user_id, last, epoch, horizon) \
                           VALUES ($1, $2, $3, 0)";
                self.connection.prepare_cached(sql)?.execute([user, count, now.to_i64()])?;
            }
        }
        Ok(last.unwrap_or(0) + 1)
    }

    /// Takes one number.
    pub(super) fn take_number(self, now: Timestamp) -> Result<ChangeId, CatalogError> {
        self.change_id(self.take_numbers(1, now)?)
    }

    pub(super) fn change_id(self, number: i64) -> Result<ChangeId, CatalogError> {
        ChangeId::from_i64(number).map_err(|reason| CatalogError::BadRow {
            table: "user",
            id: self.user_id.to_i64(),
            owner: Some(self.user_id),
            column: "last",
            reason: reason.to_string(),
        })
    }

    /// Records a change of a node, which is as it is after the change.
    pub(super) fn record(
        self,
        change_id: ChangeId,
        kind: Kind,
        node: &NodeRow,
        version: Option<NodeVersion>,
        at: Timestamp,
    ) -> Result<(), CatalogError> {
        let sql = "INSERT INTO changes (user_id, change_id, node_id, op, changed, parent_id, \
                   kind, name, version_id, content_length, blake3, target, mode, mtime_ms, \
                   place_rev, content_rev, at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
        self.connection.prepare_cached(sql)?.execute(params![
            node.user_id.to_i64(),
            change_id.to_i64(),
            node.node_id.to_i64(),
            kind.op.as_str(),
            kind.changed.as_str(),
            node.parent_id.map(NodeId::to_i64),
            node.kind.as_str(),
            node.name.as_str(),
            version.map(|version| version.document_id.to_i64()),
            version.map(|version| version.filesize.to_i64()),
            version.as_ref().map(|version| version.blake3.as_bytes()),
            node.target.as_ref().map(|target| target.as_str()),
            node.mode.map(|mode| mode.bits()),
            node.mtime.map(|mtime| mtime.as_ms()),
            node.place_rev.to_i64(),
            node.content_rev.to_i64(),
            at.to_i64(),
        ])?;
        Ok(())
    }

    /// Tells of the folders, from that one upwards, that were only reserved until now, the
    /// outermost first. `more` changes follow; answers with the number of the first of these.
    pub(super) fn tell_folders(
        self,
        folder: Option<NodeId>,
        more: i64,
        now: Timestamp,
    ) -> Result<i64, CatalogError> {
        let mut reserved = Vec::new();
        let mut at = folder;
        while let Some(node_id) = at {
            // Nearly always nothing is to be told, and the whole row need not be read.
            if !self.is_reserved_folder(node_id)? {
                break;
            }
            let Some(node) = node_row::by_id(self.connection, node_id)? else { break };
            at = node.parent_id;
            reserved.push(node);
        }
        let count = i64::try_from(reserved.len()).unwrap_or(i64::MAX);
        let first = self.take_numbers(count + more, now)?;
        for (number, mut node) in (first..).zip(reserved.into_iter().rev()) {
            let change_id = self.change_id(number)?;
            (node.place_rev, node.content_rev) = (change_id, change_id);
            self.connection
                .prepare_cached(
                    "UPDATE nodes SET place_rev = $1, content_rev = $1 WHERE node_id = $2",
                )?
                .execute([number, folder_number(Some(node.node_id))])?;
            self.record(change_id, Kind::NEW, &node, None, now)?;
        }
        Ok(first + count)
    }

    fn is_reserved_folder(self, folder: NodeId) -> Result<bool, CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM nodes WHERE node_id = $1 AND place_rev = $2)";
        let reserved = [folder.to_i64(), ChangeId::MIN.to_i64()];
        Ok(self.connection.prepare_cached(sql)?.query_row(reserved, |row| row.get(0))?)
    }

    /// Records that a node is gone for good, and deletes its row.
    pub(super) fn tell_gone(
        self,
        mut node: NodeRow,
        version: Option<NodeVersion>,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let change_id = self.take_number(now)?;
        (node.place_rev, node.content_rev) = (change_id, change_id);
        self.record(change_id, Kind::REMOVED, &node, version, now)?;
        self.cache.clear();
        self.delete_row(node.node_id)
    }
}

/// The columns that [`change`] is read from. Whether the version is given out is told as it is now:
/// a client that comes late does not ask for bytes that it would not get.
pub(super) const COLUMNS: &str = "user_id, change_id, node_id, op, changed, parent_id, kind, \
    name, version_id, content_length, blake3, target, mode, mtime_ms, place_rev, content_rev, at, \
    (SELECT availability FROM documents WHERE document_id = version_id) AS availability";

/// Reads a row with [`COLUMNS`].
pub(super) fn change(row: &Row<'_>) -> Result<Change, CatalogError> {
    let row = NamedRow::new(row, "change", "change_id")?;
    let op = row.get("op", |word: String| Op::parse(&word))?;
    let at = row.time("at")?;
    Ok(Change {
        change_id: row.get("change_id", ChangeId::from_i64)?,
        op,
        changed: row.get("changed", |word: String| Changed::parse(&word))?,
        node: Node {
            node_id: row.get("node_id", NodeId::from_i64)?,
            user_id: row.get("user_id", UserId::from_i64)?,
            parent_id: row.get_option("parent_id", NodeId::from_i64)?,
            kind: node_row::kind(&row)?,
            name: row.get("name", |name: String| Name::recorded(name))?,
            version: version(&row)?,
            mtime: node_row::mtime(&row)?,
            mode: node_row::mode(&row)?,
            target: node_row::target(&row)?,
            place_rev: row.get("place_rev", ChangeId::from_i64)?,
            content_rev: row.get("content_rev", ChangeId::from_i64)?,
            deleted_at: (op == Op::Delete).then_some(at),
        },
        at: Some(at),
    })
}

fn version(row: &NamedRow<'_, '_>) -> Result<Option<NodeVersion>, CatalogError> {
    let document_id = row.get_option("version_id", DocumentId::from_i64)?;
    let filesize = row.get_option("content_length", FileSize::from_i64)?;
    let blake3 =
        row.get_option("blake3", |hash: [u8; 32]| Ok::<_, String>(FileHash::from_bytes(hash)))?;
    let availability = availability_column::of_row(row)?;
    let version = |((document_id, filesize), blake3)| NodeVersion {
        document_id,
        filesize,
        blake3,
        availability,
    };
    Ok(document_id.zip(filesize).zip(blake3).map(version))
}

/// The version that a document with those bytes is.
pub(super) fn version_of(document: &Document) -> Option<NodeVersion> {
    let Document { document_id, filesize, availability, blake3, .. } = *document;
    blake3.map(|blake3| NodeVersion { document_id, filesize, blake3, availability })
}

/// Begins the log of a user.
pub(super) fn begin_log(
    connection: &Connection,
    user_id: UserId,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let sql = "INSERT INTO change_counters (user_id, last, epoch, horizon) VALUES ($1, 0, $2, 0)";
    connection.prepare_cached(sql)?.execute([user_id.to_i64(), now.to_i64()])?;
    Ok(())
}

/// Whether a node of that kind that was made for the path of an upload goes with the last file in
/// it that is lost: a folder for which no client ever told permissions.
pub(super) fn is_implied(node: &NodeRow) -> bool {
    node.kind == NodeKind::Folder && node.mode.is_none()
}
