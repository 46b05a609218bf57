//! Uploads that have ended without a document: kept for a while, so that their clients learn why,
//! and then forgotten. A user who begins and cancels all day must not fill the disk with rows (P6).

use super::error::CatalogError;
use super::{Catalog, Reply};
use rusqlite::{Connection, params};
use towline_types::Timestamp;

/// Which ended uploads of each user are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedKept {
    /// Those that have ended since then,
    pub since: Timestamp,
    /// and at most that many, the last ones.
    pub count: u32,
}

impl Catalog {
    /// Forgets ended uploads, at most `limit` of them; returns how many.
    pub fn forget_ended(&self, kept: EndedKept, limit: u32) -> Reply<u32> {
        self.write(move |connection| {
            let mut users = connection.prepare_cached("SELECT user_id FROM users")?;
            let mut rows = users.query([])?;
            let mut forgotten = 0;
            while forgotten < limit
                && let Some(row) = rows.next()?
            {
                forgotten += forget(connection, row.get("user_id")?, kept, limit - forgotten)?;
            }
            Ok(forgotten)
        })
    }
}

fn forget(
    connection: &Connection,
    user: i64,
    kept: EndedKept,
    limit: u32,
) -> Result<u32, CatalogError> {
    // Each half reads one end of the index.
    let sql = "DELETE FROM documents WHERE document_id IN (\
                   SELECT document_id FROM (SELECT document_id FROM documents \
                   INDEXED BY documents_ended WHERE user_id = $1 AND finished_at IS NOT NULL \
                   AND created_at IS NULL AND finished_at < $2 LIMIT $3) \
                   UNION \
                   SELECT document_id FROM (SELECT document_id FROM documents \
                   INDEXED BY documents_ended WHERE user_id = $1 AND finished_at IS NOT NULL \
                   AND created_at IS NULL ORDER BY finished_at DESC, document_id DESC \
                   LIMIT $3 OFFSET $4) LIMIT $3)";
    let wanted = params![user, kept.since.to_i64(), limit, kept.count];
    let deleted = connection.prepare_cached(sql)?.execute(wanted)?;
    Ok(u32::try_from(deleted).unwrap_or(limit))
}
