//! The entity tags of documents and of unfinished uploads.

use axum::http::HeaderValue;
use towline_engine::{Account, PAGE_BLOCKS, Rejection};
use towline_types::{BlockIndex, DocumentId, FileHash, Offset};

/// The tag of a document: the same bytes have the same tag.
pub(super) fn of_document(hash: FileHash) -> HeaderValue {
    HeaderValue::try_from(format!("\"b3-{hash}\"")).expect("hexadecimal digits are a header value")
}

/// The tag of an unfinished upload: the BLAKE3 hash of the values of its blocks that are held
/// without a gap, and of the first byte that is missing. The same bytes have the same tag, in
/// whatever chunks they came. None where there are more blocks than one answer of the engine has:
/// they would be read and hashed for every request. The tag is a weak one: it does not cover the
/// bytes of a block that is not whole yet.
///
/// # Errors
/// Where the engine cannot be asked.
pub(super) async fn of_upload(
    account: &Account,
    id: DocumentId,
    offset: Offset,
) -> Result<Option<HeaderValue>, Rejection> {
    let whole = BlockIndex::at(offset).get();
    if whole >= u64::from(PAGE_BLOCKS) {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    if whole > 0 {
        let max = u32::try_from(whole).unwrap_or(PAGE_BLOCKS);
        for (index, value) in account.held_blocks(id, BlockIndex::FIRST, max).await? {
            if index.get() < whole {
                hasher.update(value.as_bytes());
            }
        }
    }
    hasher.update(&offset.get().to_be_bytes());
    let hash = hasher.finalize().to_hex();
    Ok(HeaderValue::try_from(format!("W/\"cv-{hash}\"")).ok())
}
