//! The fields that the client adds to an entry of the state file's format, and what can be told
//! from an entry alone.

use crate::proof::Proof;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use towline_state::state_file::UploadEntry;
use towline_types::Timestamp;

/// After this time without a byte a server may have given an upload up. The client then asks the
/// server: the clock of this machine alone decides nothing.
const MAY_BE_GONE_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The field of an entry with the path of the token file. It never has the token itself.
const TOKEN_FILE: &str = "token_file";

/// The field of an entry that proves which blocks are blocks of the file.
const PROOF: &str = "proof";

/// The path of the token file of an entry, if the token came from a file.
#[must_use]
pub fn token_file(entry: &UploadEntry) -> Option<PathBuf> {
    entry.other.get(TOKEN_FILE).and_then(|path| path.as_str()).map(PathBuf::from)
}

/// Sets the path of the token file.
pub(crate) fn set_token_file(entry: &mut UploadEntry, path: &Path) {
    if let Some(path) = path.to_str() {
        entry.other.insert(TOKEN_FILE.to_owned(), path.into());
    }
}

/// What the entry proves about the server's blocks.
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

/// Whether the error means that nothing is at the path.
pub(crate) fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
