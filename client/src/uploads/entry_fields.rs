//! The fields of an entry that the client adds to those of the state file's format, and what
//! follows from an entry alone.

use crate::proof::Proof;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use towline_state::state_file::UploadEntry;
use towline_types::Timestamp;

/// After that time without a byte a server may have given an upload up. It is asked: the
/// clock of this machine alone decides nothing.
const MAY_BE_GONE_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The field of an entry that says where the token lay. Never the token itself.
const TOKEN_FILE: &str = "token_file";

/// The field of an entry that proves which blocks are the file's.
const PROOF: &str = "proof";

/// Where the token for an entry lay, if it lay in a file.
#[must_use]
pub fn token_file(entry: &UploadEntry) -> Option<PathBuf> {
    entry.other.get(TOKEN_FILE).and_then(|path| path.as_str()).map(PathBuf::from)
}

/// Notes where it lay.
pub(crate) fn set_token_file(entry: &mut UploadEntry, path: &Path) {
    if let Some(path) = path.to_str() {
        entry.other.insert(TOKEN_FILE.to_owned(), path.into());
    }
}

/// What the entry can prove of the server's blocks.
pub(crate) fn proof(entry: &UploadEntry) -> Option<Proof> {
    serde_json::from_value(entry.other.get(PROOF)?.clone()).ok()
}

pub(super) fn prove(entry: &mut UploadEntry, proof: &Proof) {
    if let Ok(proof) = serde_json::to_value(proof) {
        entry.other.insert(PROOF.to_owned(), proof);
    }
}

pub(super) fn may_be_gone(entry: &UploadEntry, now: Timestamp) -> bool {
    let last = entry.last_chunk_time.or(entry.start_time);
    last.is_some_and(|last| now.since(last) > MAY_BE_GONE_AFTER)
}

/// Whether nothing is at a path.
pub(crate) fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
