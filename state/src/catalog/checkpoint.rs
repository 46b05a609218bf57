//! Checkpoints: what has become durable is written down. From here on it is a promise.

use super::durable::DurableOffset;
use super::error::CatalogError;
use super::{Catalog, Reply, blocks};
use rusqlite::{Connection, params};
use towline_types::{BlockIndex, ChainingValue, DocumentId, Offset, Timestamp};
use towline_upload::Phase;

/// What has become durable of one upload since its last checkpoint. The bytes
/// must have been synced before this is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which upload.
    pub document_id: DocumentId,
    /// How far every byte is durable and verified.
    pub durable_offset: Offset,
    /// The blocks that were verified since.
    pub new_blocks: Vec<(BlockIndex, ChainingValue)>,
    /// When the last byte came.
    pub last_chunk_at: Timestamp,
}

impl Catalog {
    /// Records all of them or none. Those whose document is not uploading (any
    /// more) are passed over; the answer has the ones that were recorded, in the order
    /// given, with what is promised of each from now on.
    pub fn checkpoint(
        &self,
        checkpoints: Vec<Checkpoint>,
    ) -> Reply<Vec<(DocumentId, DurableOffset)>> {
        self.write(move |connection| {
            let mut recorded = Vec::with_capacity(checkpoints.len());
            for checkpoint in &checkpoints {
                if record(connection, checkpoint)? {
                    let durable = DurableOffset::recorded(checkpoint.durable_offset);
                    recorded.push((checkpoint.document_id, durable));
                }
            }
            Ok(recorded)
        })
    }
}

fn record(connection: &Connection, checkpoint: &Checkpoint) -> Result<bool, CatalogError> {
    let id = checkpoint.document_id;
    let changed = connection
        .prepare_cached(
            "UPDATE documents SET durable_offset = $1, last_chunk_at = $2 \
             WHERE document_id = $3 AND status = $4",
        )?
        .execute(params![
            checkpoint.durable_offset.to_i64(),
            checkpoint.last_chunk_at.to_i64(),
            id.to_i64(),
            Phase::Uploading.as_str(),
        ])?;
    if changed == 0 {
        return Ok(false);
    }
    blocks::record(connection, id, &checkpoint.new_blocks)?;
    Ok(true)
}
