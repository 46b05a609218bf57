//! Finds the entry of the list that belongs to a file.

use std::path::{Path, PathBuf};
use towline_state::UploadsState;
use towline_state::state_file::{KnownServer, Relation, UploadEntry};
use towline_types::{DocumentId, DocumentPath, UserId};

/// What is known of a file before its upload begins.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) server: KnownServer,
    pub(crate) remote: DocumentPath,
    pub(crate) local: PathBuf,
    pub(crate) user_id: UserId,
    /// The number of the upload, where the caller names one.
    pub(crate) document_id: Option<DocumentId>,
}

/// What the list has about a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Remembered {
    /// An unfinished upload of the file.
    Entry(DocumentId, Box<UploadEntry>),
    /// The upload that would be continued is on another server, which had this address.
    OtherServer,
    Nothing,
}

/// The key of the entry of that document on that server.
pub(super) fn key_of(
    state: &UploadsState,
    document_id: DocumentId,
    server: &KnownServer,
) -> Option<String> {
    state.find(document_id, Some(server)).map(|(key, _)| key.to_owned())
}

/// The entry that an upload of the file continues with.
pub(super) fn find(state: &UploadsState, wanted: &Wanted) -> Remembered {
    let is_of_file = |entry: &UploadEntry| {
        entry.user_id.is_none_or(|of| of == wanted.user_id)
            && entry.filename == *wanted.remote.filename()
            && entry.folder == wanted.remote.folder()
    };
    let related = |entry: &UploadEntry| wanted.server.relation(entry);
    if let Some(document_id) = wanted.document_id {
        let found = state.numbered(document_id).min_by_key(|(_, entry)| related(entry));
        return match found {
            Some((_, entry)) if related(entry) == Relation::Other => Remembered::OtherServer,
            // The document was named by number, and the server by its address: the server may have
            // moved there. The client asks it; either it has this document with this name and size,
            // or it refuses.
            Some((_, entry)) if is_of_file(entry) => {
                Remembered::Entry(document_id, Box::new(entry.clone()))
            }
            _ => Remembered::Nothing,
        };
    }
    let fitting = |entry: &UploadEntry| is_of_file(entry) && is_of(entry, &wanted.local);
    let entries = state.uploads.iter().filter(|(_, entry)| fitting(entry));
    let usable = entries.clone().filter(|(_, entry)| related(entry).may_be_used());
    let latest = usable
        .filter_map(|(key, entry)| Some((UploadsState::document_id_of(key)?, entry)))
        .max_by_key(|(document_id, entry)| (entry.last_chunk_time, *document_id));
    if let Some((document_id, entry)) = latest {
        return Remembered::Entry(document_id, Box::new(entry.clone()));
    }
    let is_at_this_address =
        |entry: &UploadEntry| entry.server.as_deref() == Some(&wanted.server.address);
    match entries.into_iter().any(|(_, entry)| is_at_this_address(entry)) {
        true => Remembered::OtherServer,
        false => Remembered::Nothing,
    }
}

fn is_of(entry: &UploadEntry, local: &Path) -> bool {
    entry.path.as_deref() == Some(local)
}
