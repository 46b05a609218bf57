//! The chaining values of the blocks of completed documents, a page of them in each row: what a
//! reader checks each block with.

use super::document::in_phase;
use super::error::CatalogError;
use super::job::Share;
use super::row::NamedRow;
use super::{Catalog, Reply, blocks};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use towline_types::block::block_count;
use towline_types::{BlockIndex, ChainingValue, DocumentId, FileSize};
use towline_upload::Phase;

/// The values of so many blocks are in one page: 128 KiB.
pub const BLOCKS_PER_PAGE: u64 = 4096;

impl Catalog {
    /// The values of the blocks of a completed document from `page` * [`BLOCKS_PER_PAGE`] on.
    /// Nothing where they are not kept: of a document of one block, which its hash is enough for;
    /// of one that came whole, was copied, or was completed by an earlier version.
    pub fn block_values(
        &self,
        document_id: DocumentId,
        page: u64,
    ) -> Reply<Option<Vec<ChainingValue>>> {
        self.look(Share::Documents, move |connection| {
            let sql = "SELECT document_id, cvs FROM block_pages \
                       WHERE document_id = $1 AND page = $2";
            let mut statement = connection.prepare_cached(sql)?;
            let wanted = [document_id.to_i64(), i64::try_from(page).unwrap_or(i64::MAX)];
            let found = statement.query_row(wanted, |row| Ok(values(row))).optional()?;
            found.transpose()
        })
    }

    /// Whether the values of all blocks of a document of that length are kept.
    pub fn keeps_block_values(&self, document_id: DocumentId, filesize: FileSize) -> Reply<bool> {
        self.look(Share::Documents, move |connection| {
            let sql = "SELECT count(*) FROM block_pages WHERE document_id = $1";
            let mut statement = connection.prepare_cached(sql)?;
            let pages: i64 = statement.query_row([document_id.to_i64()], |row| row.get(0))?;
            Ok(pages.unsigned_abs() == block_count(filesize).div_ceil(BLOCKS_PER_PAGE))
        })
    }

    /// Keeps values that were found by reading the file of a completed document. Of a document
    /// that is not completed any more nothing is kept.
    pub fn keep_block_values(
        &self,
        document_id: DocumentId,
        page: u64,
        values: Vec<ChainingValue>,
    ) -> Reply<()> {
        self.write(move |connection| {
            match in_phase(connection, document_id, &[Phase::Completed]) {
                Ok(_) => {}
                Err(CatalogError::Refused(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
            insert(connection, document_id, page, &values)
        })
    }
}

fn values(row: &Row<'_>) -> Result<Vec<ChainingValue>, CatalogError> {
    let row = NamedRow::new(row, "document", "document_id")?;
    row.get("cvs", |bytes: Vec<u8>| {
        let (values, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err("it ends in the middle of a value");
        }
        Ok(values.iter().map(|value| ChainingValue::from_bytes(*value)).collect())
    })
}

/// Keeps the values that checkpoints recorded of a document that is complete, where there is one
/// of each block and more than one, and forgets what is not kept.
pub(super) fn keep(
    connection: &Connection,
    document_id: DocumentId,
    filesize: FileSize,
) -> Result<(), CatalogError> {
    let count = block_count(filesize);
    if count > 1 && recorded(connection, document_id)? == count {
        for page in 0..count.div_ceil(BLOCKS_PER_PAGE) {
            let Some(from) = BlockIndex::new(page * BLOCKS_PER_PAGE) else { break };
            let max = u32::try_from(BLOCKS_PER_PAGE).ok();
            let found = blocks::rows(connection, document_id, blocks::Page { from, max })?;
            let values: Vec<_> = found.into_iter().map(|(_, value)| value).collect();
            insert(connection, document_id, page, &values)?;
        }
    }
    blocks::forget(connection, document_id)
}

/// How many blocks of the document have a value; each index is there once.
fn recorded(connection: &Connection, document_id: DocumentId) -> Result<u64, CatalogError> {
    let sql = "SELECT count(*) FROM blocks WHERE document_id = $1";
    let mut statement = connection.prepare_cached(sql)?;
    let count: i64 = statement.query_row([document_id.to_i64()], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

fn insert(
    connection: &Connection,
    document_id: DocumentId,
    page: u64,
    values: &[ChainingValue],
) -> Result<(), CatalogError> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| *value.as_bytes()).collect();
    connection
        .prepare_cached(
            "INSERT INTO block_pages (document_id, page, cvs) VALUES ($1, $2, $3) \
             ON CONFLICT (document_id, page) DO UPDATE SET cvs = excluded.cvs",
        )?
        .execute(params![document_id.to_i64(), i64::try_from(page).unwrap_or(i64::MAX), bytes])?;
    Ok(())
}

/// Forgets the values of a document that is lost.
pub(super) fn forget(connection: &Connection, document_id: DocumentId) -> Result<(), CatalogError> {
    connection
        .prepare_cached("DELETE FROM block_pages WHERE document_id = $1")?
        .execute([document_id.to_i64()])?;
    Ok(())
}
