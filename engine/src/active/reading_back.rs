//! Blocks that are read back from the staging file to be hashed, at most 1 MiB each.

use crate::error::Error;
use crate::storage::Staging;
use std::collections::BTreeMap;
use std::ops::Range;
use towline_types::{BlockHasher, BlockIndex, DocumentId};
use towline_upload::{BlockValue, Length, Upload};

/// Reads back and hashes the one block that is open. If all its bytes are here, and only the value
/// that the client announces is missing, the rules get the value of the bytes; else the hasher that
/// is returned goes on with it.
pub(super) fn hash_open_block(
    document_id: DocumentId,
    staging: &dyn Staging,
    upload: &mut Upload,
) -> Result<BTreeMap<BlockIndex, BlockHasher>, Error> {
    let Some((index, span)) = upload.progress().open_bytes() else { return Ok(BTreeMap::new()) };
    let length = upload.progress().length();
    let hasher = read_block(staging, index, span.clone(), length)?;
    tracing::debug!(%document_id, bytes = span.end - span.start, "read back the open block");
    if span == index.span(length.bound()) {
        upload.read_back(index, BlockValue::of(&hasher, index, length));
        return Ok(BTreeMap::new());
    }
    Ok(BTreeMap::from([(index, hasher)]))
}

/// The value of a block that is whole and has no hasher: its bytes came in another order, or under
/// an earlier lease. It reads at most 1 MiB, which as a rule is still in the page cache.
pub(super) fn read_whole_block(
    staging: &dyn Staging,
    index: BlockIndex,
    length: Length,
) -> Result<BlockValue, Error> {
    let hasher = read_block(staging, index, index.span(length.bound()), length)?;
    Ok(BlockValue::of(&hasher, index, length))
}

fn read_block(
    staging: &dyn Staging,
    index: BlockIndex,
    span: Range<u64>,
    length: Length,
) -> Result<BlockHasher, Error> {
    let bytes = usize::try_from(span.end - span.start).expect("a block fits in memory");
    let mut bytes = vec![0; bytes];
    staging.read_exact_at(&mut bytes, index.start())?;
    let mut hasher = BlockHasher::new(index, length.bound());
    hasher.update(&bytes);
    Ok(hasher)
}

/// Finds the values of blocks that are whole and have none, because an earlier read of them has
/// failed. As a rule there are no such blocks.
pub(super) fn hash_unhashed(staging: &dyn Staging, upload: &mut Upload) -> Result<(), Error> {
    for index in upload.progress().unhashed() {
        let value = read_whole_block(staging, index, upload.progress().length())?;
        upload.read_back(index, value);
    }
    Ok(())
}
