//! The entry of an upload that the server has granted.

use super::entry_fields::{prove, set_token_file};
use super::jobs;
use crate::proof::Proof;
use std::path::PathBuf;
use towline_state::state_file::{EntryStatus, KnownServer, ModifiedNs, UploadEntry};
use towline_state::{UploadsState, clock};
use towline_types::{DocumentId, DocumentPath, FileSize, Offset, UserId};

/// What is written to the list when an upload is granted.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(crate) document_id: DocumentId,
    pub(crate) server: KnownServer,
    pub(crate) remote: DocumentPath,
    pub(crate) local: PathBuf,
    pub(crate) filesize: FileSize,
    pub(crate) modified: Option<ModifiedNs>,
    pub(crate) chunk_bytes: u32,
    pub(crate) user_id: UserId,
    pub(crate) offset: Offset,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) proof: Proof,
}

pub(super) fn write_down(state: &mut UploadsState, granted: Granted) {
    // An entry that names no server is an entry of this upload only where it names this file.
    let is_this = |entry: &UploadEntry| {
        entry.server.is_some()
            || (entry.filename == *granted.remote.filename()
                && entry.folder == granted.remote.folder()
                && entry.total_size == granted.filesize)
    };
    let known = state.find(granted.document_id, Some(&granted.server));
    let key = match known.filter(|(_, entry)| is_this(entry)) {
        Some((key, _)) => key.to_owned(),
        None => state.key_for(granted.document_id, Some(&granted.server)),
    };
    let now = clock::now();
    let entry = state.uploads.entry(key).or_insert_with(|| {
        let filename = granted.remote.filename().clone();
        UploadEntry::new(filename, granted.filesize, granted.offset, EntryStatus::Uploading)
    });
    entry.filename = granted.remote.filename().clone();
    entry.folder = granted.remote.folder().to_vec();
    entry.total_size = granted.filesize;
    entry.offset = granted.offset;
    entry.chunk_size = Some(granted.chunk_bytes);
    entry.user_id = Some(granted.user_id);
    entry.start_time.get_or_insert(now);
    entry.last_chunk_time = Some(now);
    entry.status = EntryStatus::Uploading;
    entry.path = Some(granted.local);
    entry.server = Some(granted.server.address);
    entry.server_id = granted.server.id.or(entry.server_id);
    entry.modified_ns = granted.modified;
    prove(entry, &granted.proof);
    if let Some(token_file) = &granted.token_file {
        set_token_file(entry, token_file);
    }
    let entry = entry.clone();
    jobs::now_an_upload(state, &entry);
}
