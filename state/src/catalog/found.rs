//! Completed documents, found again.

use super::document::{COLUMNS, Document, document};
use super::error::CatalogError;
use super::{Catalog, Reply, unfinished};
use rusqlite::{Connection, params};
use towline_protocol::{DocumentPath, FileHash, FileSize, UserId};

/// See [`Catalog::find`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The user has a completed document of that size: only then can it pay to hash
    /// the file before sending it.
    pub same_size: bool,
    /// The newest upload on its way to that place and of that size: how a client finds
    /// again what it has forgotten. A row that does not read can be of no use to it.
    pub unfinished: Option<Document>,
}

impl Catalog {
    /// What there is that an upload of a file of that size, to exactly that place,
    /// could go on with or need not send.
    pub fn find(&self, user_id: UserId, path: &DocumentPath, filesize: FileSize) -> Reply<Found> {
        let path = path.clone();
        self.read(move |connection| find(connection, user_id, &path, filesize))
    }

    /// The user's completed documents of exactly that content, in the order of
    /// their numbers. A row that does not read is not among them.
    pub fn find_completed(
        &self,
        user_id: UserId,
        filesize: FileSize,
        blake3: FileHash,
    ) -> Reply<Vec<Document>> {
        self.read(move |connection| completed(connection, user_id, filesize, blake3))
    }
}

/// See [`Catalog::find`].
pub(super) fn find(
    connection: &Connection,
    user_id: UserId,
    path: &DocumentPath,
    filesize: FileSize,
) -> Result<Found, CatalogError> {
    Ok(Found {
        same_size: has_completed_of_size(connection, user_id, filesize)?,
        unfinished: unfinished::find(connection, user_id, path, filesize)?,
    })
}

/// See [`Catalog::find_completed`].
pub(super) fn completed(
    connection: &Connection,
    user_id: UserId,
    filesize: FileSize,
    blake3: FileHash,
) -> Result<Vec<Document>, CatalogError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM documents \
         WHERE user_id = $1 AND filesize = $2 AND blake3 = $3 \
         AND created_at IS NOT NULL ORDER BY document_id"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let wanted = params![user_id.to_i64(), filesize.to_i64(), blake3.as_bytes()];
    let mut rows = statement.query(wanted)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(document(row));
    }
    Ok(found)
}

fn has_completed_of_size(
    connection: &Connection,
    user_id: UserId,
    filesize: FileSize,
) -> Result<bool, CatalogError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM documents \
               WHERE user_id = $1 AND filesize = $2 AND created_at IS NOT NULL)";
    let parameters = [user_id.to_i64(), filesize.to_i64()];
    Ok(connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?)
}
