//! Blocks that are read back from the staging file to be hashed, at most 1 MiB each.

use crate::error::Error;
use crate::storage::Staging;
use std::collections::BTreeMap;
use std::ops::Range;
use towline_types::{BlockHasher, BlockIndex, DocumentId};
use towline_upload::{BlockValue, Length, Upload};

/// Reads back and hashes the one block that is open. If the block is whole and only its announcement
/// is missing, the rules get its value. Otherwise the result is the hasher, which takes in the bytes
/// that are still to come.
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

/// The value of a whole block that has no hasher, because its bytes came in another order or under
/// an earlier lease. Reads at most 1 MiB, which as a rule is still in the page cache.
pub(super) fn read_whole_block(
    staging: &dyn Staging,
    index: BlockIndex,
    length: Length,
) -> Result<BlockValue, Error> {
    let hasher = read_block(staging, index, index.span(length.bound()), length)?;
    Ok(BlockValue::of(&hasher, index, length))
}

/// A hasher that has taken in these bytes of the block.
pub(super) fn read_block(
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
