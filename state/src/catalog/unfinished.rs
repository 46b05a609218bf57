//! Uploads that are on their way: what recovery, resuming and expiry ask for.

use super::document::{COLUMNS, Document, document, many};
use super::error::CatalogError;
use super::job::Share;
use super::place::Places;
use super::row::{NamedRow, block_index};
use super::{Catalog, Reply};
use rusqlite::{Connection, Row, params};
use towline_types::{DocumentId, Offset, Timestamp, UserId};
use towline_upload::Phase;

/// An upload that is on its way, as recovery wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its row.
    pub document: Document,
    /// Behind the last byte that is durable: the durable offset, or the end of
    /// the highest recorded block where blocks came out of order. A staging file
    /// that is shorter has lost bytes; what it has beyond was never promised.
    pub durable_end: Offset,
}

/// Some of them, in the order of their numbers.
#[derive(Debug, Default)]
pub struct UnfinishedPage {
    /// The rows; one that does not read is an error in its place.
    pub rows: Vec<Result<Unfinished, CatalogError>>,
    /// The number of the last row as it is recorded; nothing where there was none.
    pub last: Option<i64>,
}

impl Catalog {
    /// Uploads after `after` that are uploading or publishing, in the order of their numbers,
    /// and at most `limit` of them. Besides them the number of the last, where there may be
    /// more.
    ///
    /// A row that does not read is a [`CatalogError::BadRow`] in its turn: it
    /// concerns its owner and no other user.
    pub fn unfinished(&self, after: Option<i64>, limit: u32) -> Reply<UnfinishedPage> {
        self.read(move |connection| page(connection, after.unwrap_or(i64::MIN), limit))
    }

    /// The numbers of all uploads that wait for bytes, in order.
    pub fn uploading_ids(&self) -> Reply<Vec<DocumentId>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT document_id FROM documents WHERE finished_at IS NULL AND status = $1 \
                 ORDER BY document_id",
            )?;
            let mut rows = statement.query([Phase::Uploading.as_str()])?;
            let mut ids = Vec::new();
            while let Some(row) = rows.next()? {
                // A number that no document can have was edited by hand.
                ids.extend(DocumentId::from_i64(row.get(0)?));
            }
            Ok(ids)
        })
    }

    /// Those of one user.
    pub fn unfinished_of(&self, user_id: UserId) -> Reply<Vec<Document>> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM documents \
                 WHERE user_id = $1 AND finished_at IS NULL ORDER BY document_id"
            );
            many(connection, &sql, [user_id.to_i64()])
        })
    }

    /// Those of one user after `after`, in the order of their numbers, and at most `limit` of
    /// them: for a client that asks often.
    pub fn uploads_of(
        &self,
        user_id: UserId,
        after: Option<DocumentId>,
        limit: u32,
    ) -> Reply<Vec<Document>> {
        self.look(Share::Of(user_id), move |connection| {
            // SQLite would choose the primary key, and go through the documents of all users.
            let sql = format!(
                "SELECT {COLUMNS} FROM documents INDEXED BY documents_unfinished \
                 WHERE finished_at IS NULL AND user_id = $1 AND document_id > $2 \
                 ORDER BY document_id LIMIT $3"
            );
            let behind = after.map_or(0, DocumentId::to_i64);
            many(connection, &sql, params![user_id.to_i64(), behind, limit])
        })
    }

    /// Uploads after `after` that wait for bytes of which none has come since that moment,
    /// in the order of their numbers, and at most `limit` of them.
    pub fn quiet_since(
        &self,
        moment: Timestamp,
        after: Option<DocumentId>,
        limit: u32,
    ) -> Reply<Vec<DocumentId>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT document_id FROM documents \
                 WHERE finished_at IS NULL AND status = $1 AND last_chunk_at < $2 \
                 AND document_id > $3 ORDER BY document_id LIMIT $4",
            )?;
            let mut rows = statement.query(params![
                Phase::Uploading.as_str(),
                moment.to_i64(),
                after.map_or(0, DocumentId::to_i64),
                limit,
            ])?;
            let mut quiet = Vec::new();
            while let Some(row) = rows.next()? {
                let row = NamedRow::new(row, "document", "document_id")?;
                quiet.push(row.get("document_id", DocumentId::from_i64)?);
            }
            Ok(quiet)
        })
    }
}

fn page(connection: &Connection, after: i64, limit: u32) -> Result<UnfinishedPage, CatalogError> {
    // The highest block is one step down the primary key, not a scan.
    let sql = format!(
        "SELECT {COLUMNS}, (SELECT max(block_index) FROM blocks \
         WHERE blocks.document_id = documents.document_id) AS highest_block \
         FROM documents WHERE finished_at IS NULL AND document_id > $1 \
         ORDER BY document_id LIMIT $2"
    );
    let places = Places::new(connection);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![after, limit])?;
    let mut page = UnfinishedPage::default();
    while let Some(row) = rows.next()? {
        page.last = Some(row.get("document_id")?);
        page.rows.push(unfinished(&places, row));
    }
    Ok(page)
}

fn unfinished(places: &Places<'_>, row: &Row<'_>) -> Result<Unfinished, CatalogError> {
    let document = document(places, row)?;
    let row = NamedRow::new(row, "document", "document_id")?;
    let highest = row.get_option("highest_block", block_index)?;
    let blocks_end = highest.map_or(Offset::ZERO, |index| index.end(document.filesize));
    let durable_end = document.durable_offset.get().max(blocks_end);
    Ok(Unfinished { document, durable_end })
}
