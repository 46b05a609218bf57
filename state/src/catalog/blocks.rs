//! The chaining values of verified blocks, kept while an upload is unfinished.

use super::document::in_phase;
use super::error::{CatalogError, Refusal};
use super::job::Share;
use super::row::{NamedRow, block_index};
use super::{Catalog, Reply, quota};
use rusqlite::{Connection, params};
use std::ops::Range;
use std::sync::Arc;
use towline_types::block::block_count;
use towline_types::{BlockIndex, ChainingValue, DocumentId, FileSize, Offset};
use towline_upload::Phase;

impl Catalog {
    /// The recorded blocks of a document, in order. None once it is finished. Without a
    /// limit: each row stands for a MiB that lies on the disk.
    pub fn blocks(&self, document_id: DocumentId) -> Reply<Vec<(BlockIndex, ChainingValue)>> {
        let page = Page { from: BlockIndex::FIRST, max: None };
        self.look(Share::Documents, move |connection| rows(connection, document_id, page))
    }

    /// The same from that block on, and at most `max` of them: a page of an answer, whatever
    /// the length of the file.
    pub fn blocks_from(
        &self,
        document_id: DocumentId,
        from: BlockIndex,
        max: u32,
    ) -> Reply<Vec<(BlockIndex, ChainingValue)>> {
        let page = Page { from, max: Some(max) };
        self.look(Share::Documents, move |connection| rows(connection, document_id, page))
    }

    /// Takes back blocks whose bytes turned out to be lost or changed, and sets
    /// how far the file is still durable.
    ///
    /// Refused: [`NoSuchDocument`](super::Refusal::NoSuchDocument), and
    /// [`WrongPhase`](super::Refusal::WrongPhase) where it is not uploading.
    pub fn withdraw_blocks(
        &self,
        document_id: DocumentId,
        indexes: Vec<Range<u64>>,
        durable_offset: Offset,
    ) -> Reply<()> {
        self.write(move |connection| {
            in_phase(connection, document_id, &[Phase::Uploading])?;
            let mut delete = connection.prepare_cached(
                "DELETE FROM blocks \
                 WHERE document_id = $1 AND block_index >= $2 AND block_index < $3",
            )?;
            // No block has an index that large.
            let bound = |index: u64| i64::try_from(index).unwrap_or(i64::MAX);
            for range in indexes {
                delete.execute([document_id.to_i64(), bound(range.start), bound(range.end)])?;
            }
            connection
                .prepare_cached("UPDATE documents SET durable_offset = $1 WHERE document_id = $2")?
                .execute([durable_offset.to_i64(), document_id.to_i64()])?;
            Ok(())
        })
    }

    /// Records that the file of an upload is longer than when it began: its size, that only
    /// the first `kept_blocks` of its blocks stay, and how far it is durable so.
    ///
    /// Refused: as [`withdraw_blocks`](Self::withdraw_blocks), and [`Refusal::QuotaUsedUp`].
    pub fn grow(
        &self,
        document_id: DocumentId,
        filesize: FileSize,
        kept_blocks: u64,
        durable_offset: Offset,
    ) -> Reply<()> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let document = in_phase(connection, document_id, &[Phase::Uploading])?;
            let more_bytes = filesize.get().saturating_sub(document.filesize.get());
            quota::require_longer(connection, &shared.default_quota, document.user_id, more_bytes)?;
            // No block has an index that large.
            let kept_blocks = i64::try_from(kept_blocks).unwrap_or(i64::MAX);
            connection
                .prepare_cached("DELETE FROM blocks WHERE document_id = $1 AND block_index >= $2")?
                .execute([document_id.to_i64(), kept_blocks])?;
            connection
                .prepare_cached(
                    "UPDATE documents SET filesize = $1, durable_offset = $2 \
                     WHERE document_id = $3",
                )?
                .execute([filesize.to_i64(), durable_offset.to_i64(), document_id.to_i64()])?;
            Ok(())
        })
    }
}

impl Catalog {
    /// Records how long the file of an upload is that began without that. Its durable offset
    /// stays. Where no other block follows the first, the value of the first is another one
    /// than was recorded: it leaves with the same commit, and comes again with the next
    /// checkpoint.
    ///
    /// Refused: as [`withdraw_blocks`](Self::withdraw_blocks), and [`Refusal::BadLength`] where
    /// the length was declared before, or is below the durable offset.
    pub fn declare_length(&self, document_id: DocumentId, filesize: FileSize) -> Reply<()> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let document = in_phase(connection, document_id, &[Phase::Uploading])?;
            if !document.length_is_open || filesize.end() < document.durable_offset.get() {
                return Err(Refusal::BadLength.into());
            }
            let more_bytes = filesize.get().saturating_sub(document.durable_offset.get().get());
            quota::require_longer(connection, &shared.default_quota, document.user_id, more_bytes)?;
            connection
                .prepare_cached(
                    "UPDATE documents SET filesize = $1, length_is_open = 0 WHERE document_id = $2",
                )?
                .execute([filesize.to_i64(), document_id.to_i64()])?;
            if block_count(filesize) == 1 {
                forget(connection, document_id)?;
            }
            Ok(())
        })
    }
}

/// Records blocks; one that is there already gets the new value.
pub(super) fn record(
    connection: &Connection,
    document_id: DocumentId,
    blocks: &[(BlockIndex, ChainingValue)],
) -> Result<(), CatalogError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO blocks (document_id, block_index, cv) VALUES ($1, $2, $3) \
         ON CONFLICT (document_id, block_index) DO UPDATE SET cv = excluded.cv",
    )?;
    for (index, value) in blocks {
        let index = i64::try_from(index.get()).unwrap_or(i64::MAX);
        insert.execute(params![document_id.to_i64(), index, value.as_bytes()])?;
    }
    Ok(())
}

/// Forgets the blocks of a document that is finished.
pub(super) fn forget(connection: &Connection, document_id: DocumentId) -> Result<(), CatalogError> {
    let id = [document_id.to_i64()];
    // A small file has none, and to look costs a fifth of a `DELETE` that finds nothing.
    let any = "SELECT EXISTS (SELECT 1 FROM blocks WHERE document_id = $1)";
    if connection.prepare_cached(any)?.query_row(id, |row| row.get(0))? {
        connection.prepare_cached("DELETE FROM blocks WHERE document_id = $1")?.execute(id)?;
    }
    Ok(())
}

/// Which blocks of a document are read.
pub(super) struct Page {
    pub(super) from: BlockIndex,
    /// The largest number of blocks; none where all that follow are read.
    pub(super) max: Option<u32>,
}

/// A negative `LIMIT` is none in SQLite.
const SQL_NO_LIMIT: i64 = -1;

pub(super) fn rows(
    connection: &Connection,
    document_id: DocumentId,
    page: Page,
) -> Result<Vec<(BlockIndex, ChainingValue)>, CatalogError> {
    let mut statement = connection.prepare_cached(
        "SELECT document_id, block_index, cv FROM blocks \
         WHERE document_id = $1 AND block_index >= $2 ORDER BY block_index LIMIT $3",
    )?;
    let from = i64::try_from(page.from.get()).unwrap_or(i64::MAX);
    let max = page.max.map_or(SQL_NO_LIMIT, i64::from);
    let mut rows = statement.query(params![document_id.to_i64(), from, max])?;
    let mut blocks = Vec::new();
    while let Some(row) = rows.next()? {
        let row = NamedRow::new(row, "document", "document_id")?;
        let index = row.get("block_index", block_index)?;
        let value = row.get("cv", |cv: [u8; 32]| Ok::<_, String>(ChainingValue::from_bytes(cv)))?;
        blocks.push((index, value));
    }
    Ok(blocks)
}
