//! What makes a new upload needless, where it is there.

use super::completed_duplicates::{Content, same_place};
use super::document::{Document, NewDocument};
use super::error::CatalogError;
use super::find::{Found, find};
use super::forgotten_upload;
use rusqlite::Connection;
use towline_types::FileHash;

/// What makes a new upload needless, where it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unless {
    /// A completed document of the same user in that place, with these very bytes.
    pub same_place: Option<FileHash>,
    /// One in whatever place, of which a copy can be made.
    pub same_bytes: Option<FileHash>,
    /// An upload on its way to exactly that place and of exactly that size.
    pub unfinished: bool,
}

/// The answer to the wish for a new upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created<N> {
    /// It has a number; this is what was made of it.
    New(N),
    /// These are what was to be made: see [`Catalog::same_place`]. Whether their files
    /// are there the catalog cannot tell.
    SamePlace(Vec<Document>),
    /// These have its bytes, and it would be made: see [`Catalog::same_bytes`].
    SameBytes(Vec<Document>),
    /// One could be gone on with.
    Found(Box<Found>),
}

/// What is there already, where it makes the new one needless.
pub(super) fn needless<N>(
    connection: &Connection,
    new: &NewDocument,
    unless: Unless,
) -> Result<Option<Created<N>>, CatalogError> {
    if let Some(blake3) = unless.same_place {
        let content = Content { user_id: new.user_id, filesize: new.length.bound(), blake3 };
        let documents = same_place(connection, content, &new.path, new.on_conflict)?;
        if !documents.is_empty() {
            return Ok(Some(Created::SamePlace(documents)));
        }
    }
    let (user_id, filesize) = (new.user_id, new.length.bound());
    if unless.unfinished
        && forgotten_upload::find(connection, user_id, &new.path, filesize)?.is_some()
    {
        let found = find(connection, user_id, &new.path, filesize, None)?;
        return Ok(Some(Created::Found(Box::new(found))));
    }
    Ok(None)
}
