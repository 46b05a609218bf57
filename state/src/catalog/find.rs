//! What a client asks for before it sends a file: what is there already, and what could be gone on
//! with.

use super::completed_duplicates::{Content, has_completed_of_size, same_bytes, same_place};
use super::document::{Document, OnConflict};
use super::error::CatalogError;
use super::job::Share;
use super::{Catalog, Reply, forgotten_upload};
use rusqlite::Connection;
use towline_types::{DocumentPath, FileHash, FileSize, UserId};

/// See [`Catalog::find`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The user has a completed document of that size: only then can it pay to hash
    /// the file before sending it.
    pub same_size: bool,
    /// Completed documents in that place and with these bytes. Whether their files are
    /// there the catalog cannot tell.
    pub same_place: Vec<Document>,
    /// Some completed document has these bytes, in whatever place.
    pub is_known: bool,
    /// The newest upload on its way to that place and of that size: how a client finds
    /// again what it has forgotten. A row that does not read can be of no use to it.
    pub unfinished: Option<Document>,
}

impl Catalog {
    /// What there is that an upload of a file of that size, and with that hash where it
    /// is known, to exactly that place could go on with or need not send.
    pub fn find(
        &self,
        user_id: UserId,
        path: &DocumentPath,
        filesize: FileSize,
        blake3: Option<FileHash>,
    ) -> Reply<Found> {
        let path = path.clone();
        self.look(Share::Of(user_id), move |connection| {
            find(connection, user_id, &path, filesize, blake3)
        })
    }
}

/// See [`Catalog::find`].
pub(super) fn find(
    connection: &Connection,
    user_id: UserId,
    path: &DocumentPath,
    filesize: FileSize,
    blake3: Option<FileHash>,
) -> Result<Found, CatalogError> {
    let content = blake3.map(|blake3| Content { user_id, filesize, blake3 });
    let (same_place, is_known) = match content {
        Some(content) => (
            same_place(connection, content, path, OnConflict::Rename)?,
            !same_bytes(connection, content)?.is_empty(),
        ),
        None => (Vec::new(), false),
    };
    Ok(Found {
        same_size: has_completed_of_size(connection, user_id, filesize)?,
        same_place,
        is_known,
        unfinished: forgotten_upload::find(connection, user_id, path, filesize)?,
    })
}
