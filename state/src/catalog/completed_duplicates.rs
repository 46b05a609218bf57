//! Completed documents with the same bytes, or in the same place with the same bytes.

use super::document::{COLUMNS, Document, OnConflict, readable};
use super::error::CatalogError;
use super::job::Share;
use super::node_row::behind_twins;
use super::{Catalog, Reply, folder};
use rusqlite::{Connection, params};
use towline_types::{DocumentPath, FileHash, FileSize, UserId};

/// As many documents are named as have the same bytes, up to this: whether a file is
/// there only the disk can tell, and one is enough.
pub(super) const NAMED_MAX: u32 = 8;

impl Catalog {
    /// Completed documents of the user in that place and with these bytes: the one that lies there,
    /// and those that were to go there and have that name with a number. A document that was moved
    /// to any other name since does not count. For [`OnConflict::Reject`] only the first will do.
    ///
    /// At most eight; a row that does not read is not among them.
    pub fn same_place(
        &self,
        user_id: UserId,
        path: &DocumentPath,
        filesize: FileSize,
        blake3: FileHash,
        on_conflict: OnConflict,
    ) -> Reply<Vec<Document>> {
        let (path, content) = (path.clone(), Content { user_id, filesize, blake3 });
        self.look(Share::Of(user_id), move |connection| {
            same_place(connection, content, &path, on_conflict)
        })
    }

    /// Completed documents of the user with these bytes, in whatever place, that are given out: of
    /// the others no copy is made.
    ///
    /// At most eight; a row that does not read is not among them.
    pub fn same_bytes(
        &self,
        user_id: UserId,
        filesize: FileSize,
        blake3: FileHash,
    ) -> Reply<Vec<Document>> {
        self.look(Share::Of(user_id), move |connection| {
            same_bytes(connection, Content { user_id, filesize, blake3 })
        })
    }
}

/// Whose bytes, and which.
#[derive(Clone, Copy)]
pub(super) struct Content {
    pub(super) user_id: UserId,
    pub(super) filesize: FileSize,
    pub(super) blake3: FileHash,
}

/// See [`Catalog::same_place`].
pub(super) fn same_place(
    connection: &Connection,
    content: Content,
    path: &DocumentPath,
    on_conflict: OnConflict,
) -> Result<Vec<Document>, CatalogError> {
    // Few new files have bytes that are there already. For all others this look is enough.
    if !has_completed(connection, content)? {
        return Ok(Vec::new());
    }
    let Content { user_id, filesize, blake3 } = content;
    // A folder that is only a twin of the one that was asked for is another place.
    let Some(exact) = folder::look(connection, user_id, path.folder())?.exact else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT version_id FROM nodes \
         WHERE user_id = $1 AND coalesce(parent_id, 0) = $2 AND name_key >= $3 \
         AND name_key < $4 AND deleted_at IS NULL) \
         JOIN documents ON document_id = version_id \
         WHERE filesize = $5 AND blake3 = $6 AND created_at IS NOT NULL"
    );
    let (user, key) = (user_id.to_i64(), path.filename().key());
    let (behind, bytes) = (behind_twins(&key), filesize.to_i64());
    let there = params![user, exact, key, behind, bytes, blake3.as_bytes()];
    let mut found = readable(connection, &sql, there)?;
    if on_conflict != OnConflict::Rename {
        return Ok(found);
    }
    // A numbered name has its number in brackets. The pattern keeps documents that were moved to
    // other names, or elsewhere, from filling the page.
    let sql = format!(
        "SELECT {COLUMNS} FROM documents WHERE user_id = $1 AND filesize = $2 AND blake3 = $3 \
         AND filename = $4 AND folder = $5 AND created_at IS NOT NULL \
         AND EXISTS (SELECT 1 FROM nodes WHERE nodes.node_id = documents.node_id \
         AND version_id = document_id AND deleted_at IS NULL \
         AND coalesce(parent_id, 0) = $6 AND name LIKE '% (%)%') LIMIT {NAMED_MAX}"
    );
    let (filename, folder) = (path.filename().as_str(), path.folder_text());
    let asked = params![user, bytes, blake3.as_bytes(), filename, folder, exact];
    for document in readable(connection, &sql, asked)? {
        // "Already there" speaks of the place that was asked for. What was moved since has a name
        // that its user has chosen, and stands for its old one no more.
        let is_there = document.file_path.as_ref().is_some_and(|place| place.is_numbered(path));
        if is_there && found.iter().all(|other| other.document_id != document.document_id) {
            found.push(document);
        }
    }
    Ok(found)
}

/// The document is the version of its node, and that was not removed itself.
const IS_VERSION: &str = "EXISTS (SELECT 1 FROM nodes WHERE nodes.node_id = documents.node_id \
    AND version_id = document_id AND deleted_at IS NULL)";

/// See [`Catalog::same_bytes`].
pub(super) fn same_bytes(
    connection: &Connection,
    content: Content,
) -> Result<Vec<Document>, CatalogError> {
    let Content { user_id, filesize, blake3 } = content;
    let sql = format!(
        "SELECT {COLUMNS} FROM documents WHERE user_id = $1 AND filesize = $2 AND blake3 = $3 \
         AND created_at IS NOT NULL AND availability IS NULL AND {IS_VERSION} LIMIT {NAMED_MAX}"
    );
    let wanted = params![user_id.to_i64(), filesize.to_i64(), blake3.as_bytes()];
    let mut found = readable(connection, &sql, wanted)?;
    found.retain(|document| document.file_path.is_some());
    Ok(found)
}

fn has_completed(connection: &Connection, content: Content) -> Result<bool, CatalogError> {
    let Content { user_id, filesize, blake3 } = content;
    let sql = "SELECT EXISTS (SELECT 1 FROM documents WHERE user_id = $1 AND filesize = $2 \
               AND blake3 = $3 AND created_at IS NOT NULL)";
    let wanted = params![user_id.to_i64(), filesize.to_i64(), blake3.as_bytes()];
    Ok(connection.prepare_cached(sql)?.query_row(wanted, |row| row.get(0))?)
}

pub(super) fn has_completed_of_size(
    connection: &Connection,
    user_id: UserId,
    filesize: FileSize,
) -> Result<bool, CatalogError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM documents \
               WHERE user_id = $1 AND filesize = $2 AND created_at IS NOT NULL)";
    let parameters = [user_id.to_i64(), filesize.to_i64()];
    Ok(connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?)
}
