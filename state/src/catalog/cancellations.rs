//! Uploads that end because the operator wants it: cancelled by a command, or of a user who was
//! removed. A command only records the wish, for the server may have the upload open; the server
//! looks for wishes again and again.

use super::document::in_phase;
use super::job::Share;
use super::row::NamedRow;
use super::{Catalog, Reply};
use rusqlite::params;
use towline_types::{DocumentId, Timestamp};
use towline_upload::Phase;

/// Why an upload is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelledBy {
    /// The operator has cancelled it.
    Operator,
    /// Its user was removed.
    RemovalOfUser,
}

impl Catalog {
    /// Records that the server is to cancel that upload. Once more changes nothing.
    ///
    /// Refused: [`NoSuchDocument`](super::Refusal::NoSuchDocument);
    /// [`WrongPhase`](super::Refusal::WrongPhase) where it does not wait for bytes.
    pub fn cancel_later(&self, document_id: DocumentId, now: Timestamp) -> Reply<()> {
        self.write(move |connection| {
            in_phase(connection, document_id, &[Phase::Uploading])?;
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO cancellations (document_id, asked_at) VALUES ($1, $2)",
                )?
                .execute([document_id.to_i64(), now.to_i64()])?;
            Ok(())
        })
    }

    /// Uploads that wait for bytes and are to end, at most `limit` of them.
    pub fn to_cancel(&self, limit: u32) -> Reply<Vec<(DocumentId, CancelledBy)>> {
        self.look(Share::Users, move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT document_id, 0 AS is_removed FROM cancellations \
                 WHERE (SELECT status FROM documents \
                 WHERE documents.document_id = cancellations.document_id) = $1 \
                 UNION ALL \
                 SELECT document_id, 1 FROM users CROSS JOIN documents INDEXED BY \
                 documents_unfinished ON documents.user_id = users.user_id \
                 AND documents.finished_at IS NULL AND documents.status = $1 \
                 WHERE users.removed_at IS NOT NULL LIMIT $2",
            )?;
            let mut rows = statement.query(params![Phase::Uploading.as_str(), limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let by = match row.get::<_, bool>("is_removed")? {
                    true => CancelledBy::RemovalOfUser,
                    false => CancelledBy::Operator,
                };
                let row = NamedRow::new(row, "document", "document_id")?;
                found.push((row.get("document_id", DocumentId::from_i64)?, by));
            }
            Ok(found)
        })
    }

    /// Forgets the wishes about uploads that have ended.
    pub fn forget_cancellations(&self) -> Reply<()> {
        self.write(|connection| {
            let sql = "DELETE FROM cancellations WHERE (SELECT finished_at FROM documents \
                       WHERE documents.document_id = cancellations.document_id) IS NOT NULL";
            connection.prepare_cached(sql)?.execute([])?;
            Ok(())
        })
    }
}
