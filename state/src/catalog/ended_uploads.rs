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
    /// Forgets ended uploads of users behind that number, at most `limit` of them and of at most 100
    /// users; returns the number behind which the next call goes on, where there is more to look at.
    pub fn forget_ended(&self, kept: EndedKept, behind: i64, limit: u32) -> Reply<Option<i64>> {
        self.write(move |connection| {
            let sql = "SELECT user_id FROM users WHERE user_id > $1 ORDER BY user_id LIMIT $2";
            let mut users = connection.prepare_cached(sql)?;
            let mut rows = users.query(params![behind, USERS_PAGE])?;
            let (mut left, mut looked_at, mut behind) = (limit, 0, behind);
            while let Some(row) = rows.next()? {
                let user_id: i64 = row.get("user_id")?;
                left -= forget(connection, user_id, kept, left)?;
                if left == 0 {
                    // There may be more of this user.
                    return Ok(Some(behind));
                }
                (behind, looked_at) = (user_id, looked_at + 1);
            }
            Ok((looked_at == USERS_PAGE).then_some(behind))
        })
    }
}

/// How many users are looked at in one transaction: of each up to a thousand rows are passed over.
const USERS_PAGE: u32 = 100;

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
