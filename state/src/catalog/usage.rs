//! Sums for the operator: how much there is. A sum for a user reads all rows that it counts, so it
//! is for a process of its own and not for a server. Memory does not grow with the number of rows.

use super::error::CatalogError;
use super::{Catalog, Reply};
use rusqlite::{Connection, Params};
use towline_types::{DocumentId, NodeId, Timestamp, UserId};

/// A number of files, and their lengths together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Sum {
    fn less(self, other: Self) -> Self {
        Self { count: self.count - other.count, bytes: self.bytes - other.bytes }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }
}

/// How much a user has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The files that the user sees.
    pub files: Sum,
    /// What these files were before.
    pub versions: Sum,
    /// The files that were removed, those in removed folders included, with all that they were
    /// before.
    pub trash: Sum,
    /// Unfinished uploads, and their bytes that are durable.
    pub uploads: Sum,
}

/// The end of a query: all that lies below the removed nodes that its first part finds.
const BELOW: &str = " UNION ALL \
        SELECT child.node_id, child.user_id, child.kind, child.version_id FROM gone \
        JOIN nodes AS child ON child.user_id = gone.user_id \
        AND coalesce(child.parent_id, 0) = +gone.node_id AND child.deleted_at IS NULL \
        WHERE gone.kind = 'folder') \
    SELECT count(*), coalesce(sum(filesize), 0) FROM gone ";

/// The first part of a query: all removed nodes of a user. The index is named, because the index of
/// all nodes of the user looks as good to SQLite.
const ALL: &str = "WITH RECURSIVE gone (node_id, user_id, kind, version_id) AS (\
        SELECT node_id, user_id, kind, version_id FROM nodes INDEXED BY nodes_trash \
        WHERE user_id = $1 AND deleted_at IS NOT NULL";

/// The first part of a query: one removed node.
const ONE: &str = "WITH RECURSIVE gone (node_id, user_id, kind, version_id) AS (\
        SELECT node_id, user_id, kind, version_id FROM nodes \
        WHERE user_id = $1 AND node_id = $2 AND deleted_at IS NOT NULL";

// CROSS keeps the order of the tables: what was removed is looked at first, and not all versions
// or documents that there are.
const THEIR_FILES: &str = "CROSS JOIN documents ON document_id = version_id";

const THEIR_VERSIONS: &str = "CROSS JOIN versions ON versions.node_id = gone.node_id \
    CROSS JOIN documents ON documents.document_id = versions.document_id";

impl Catalog {
    /// How much a user has.
    pub fn usage(&self, user_id: UserId) -> Reply<Usage> {
        self.read(move |connection| {
            let user = user_id.to_i64();
            let all_files = sum(
                connection,
                "SELECT count(*), coalesce(sum(filesize), 0) FROM nodes \
                 JOIN documents ON document_id = version_id WHERE nodes.user_id = $1",
                [user],
            )?;
            let all_versions = sum(
                connection,
                "SELECT count(*), coalesce(sum(filesize), 0) FROM nodes \
                 JOIN versions ON versions.node_id = nodes.node_id \
                 JOIN documents ON documents.document_id = versions.document_id \
                 WHERE nodes.user_id = $1",
                [user],
            )?;
            let uploads = sum(
                connection,
                "SELECT count(*), coalesce(sum(CASE status WHEN 'publishing' THEN filesize \
                 ELSE durable_offset END), 0) FROM documents \
                 WHERE finished_at IS NULL AND user_id = $1",
                [user],
            )?;
            let (files, versions) = removed(connection, user_id, None)?;
            Ok(Usage {
                files: all_files.less(files),
                versions: all_versions.less(versions),
                trash: files.and(versions),
                uploads,
            })
        })
    }

    /// How many files lie in a removed node, and their bytes: what they are, and what they were
    /// before.
    pub fn removed_size(&self, user_id: UserId, root: NodeId) -> Reply<(Sum, Sum)> {
        self.read(move |connection| removed(connection, user_id, Some(root)))
    }

    /// The lengths of these documents together. A document that is gone counts 0 bytes.
    pub fn bytes_of(&self, documents: Vec<DocumentId>) -> Reply<u64> {
        self.read(move |connection| {
            let sql = "SELECT coalesce(sum(filesize), 0) FROM documents WHERE document_id = $1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut bytes = 0;
            for id in documents {
                let one: i64 = statement.query_row([id.to_i64()], |row| row.get(0))?;
                bytes += one.unsigned_abs();
            }
            Ok(bytes)
        })
    }

    /// When these documents were completed, in their order. `None` for a document that is gone.
    pub fn completed_at(&self, documents: Vec<DocumentId>) -> Reply<Vec<Option<Timestamp>>> {
        self.read(move |connection| {
            let sql = "SELECT max(created_at) FROM documents WHERE document_id = $1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = Vec::with_capacity(documents.len());
            for id in documents {
                let at: Option<i64> = statement.query_row([id.to_i64()], |row| row.get(0))?;
                found.push(at.and_then(|at| Timestamp::from_i64(at).ok()));
            }
            Ok(found)
        })
    }

    /// How many changes of a user [`trim_changes`](Self::trim_changes) would forget for that
    /// moment.
    pub fn changes_before(&self, user_id: UserId, older_than: Timestamp) -> Reply<u64> {
        self.read(move |connection| {
            let sql = "SELECT count(*) FROM changes WHERE user_id = $1 AND change_id < coalesce(\
                       (SELECT min(change_id) FROM changes WHERE user_id = $1 AND at >= $2), \
                       9223372036854775807)";
            let wanted = [user_id.to_i64(), older_than.to_i64()];
            let count: i64 = connection.query_row(sql, wanted, |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
    }
}

fn sum(connection: &Connection, sql: &str, parameters: impl Params) -> Result<Sum, CatalogError> {
    let numbers = connection.prepare_cached(sql)?.query_row(parameters, |row| {
        Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
    })?;
    Ok(Sum { count: numbers.0, bytes: numbers.1 })
}

/// The files in the trash, and their earlier versions.
fn removed(
    connection: &Connection,
    user_id: UserId,
    root: Option<NodeId>,
) -> Result<(Sum, Sum), CatalogError> {
    let user = user_id.to_i64();
    let of = |theirs: &str| match root {
        None => sum(connection, &format!("{ALL}{BELOW}{theirs}"), [user]),
        Some(root) => sum(connection, &format!("{ONE}{BELOW}{theirs}"), [user, root.to_i64()]),
    };
    Ok((of(THEIR_FILES)?, of(THEIR_VERSIONS)?))
}
