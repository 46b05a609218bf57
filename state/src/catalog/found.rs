//! Completed documents, found again.

use super::document::{COLUMNS, Document, document};
use super::{Catalog, Reply};
use rusqlite::params;
use towline_protocol::{FileHash, FileSize, UserId};

impl Catalog {
    /// Whether the user has a completed document of that size: only then can it
    /// pay to hash a file before sending it.
    pub fn has_completed_of_size(&self, user_id: UserId, filesize: FileSize) -> Reply<bool> {
        self.read(move |connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM documents \
                       WHERE user_id = $1 AND filesize = $2 AND created_at IS NOT NULL)";
            let parameters = [user_id.to_i64(), filesize.to_i64()];
            Ok(connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?)
        })
    }

    /// The user's completed documents of exactly that content, in the order of
    /// their numbers. A row that does not read is not among them.
    pub fn find_completed(
        &self,
        user_id: UserId,
        filesize: FileSize,
        blake3: FileHash,
    ) -> Reply<Vec<Document>> {
        self.read(move |connection| {
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
        })
    }
}
