//! Documents come into being, and are looked up by their number.

use super::document::{COLUMNS, Document, NewDocument, OnConflict, one};
use super::error::{CatalogError, Refusal};
use super::found::{self, Found};
use super::{Catalog, Reply, publish, users};
use rusqlite::{Connection, params};
use towline_protocol::{DocumentId, FileHash, UserId};
use towline_upload::Phase;

/// What makes a new upload needless, where it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unless {
    /// A completed document of the same user with these very bytes.
    pub same_bytes: Option<FileHash>,
    /// An upload on its way to exactly that place and of exactly that size.
    pub unfinished: bool,
}

/// What came of the wish for a new upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created<N> {
    /// It has a number; this is what was made of it.
    New(N),
    /// These have its bytes, in the order of their numbers. Whether their files are
    /// there the catalog cannot tell.
    SameBytes(Vec<Document>),
    /// One could be gone on with.
    Found(Box<Found>),
}

impl Catalog {
    /// Records that an upload begins, with nothing of it durable yet; unless there is
    /// something already that makes it needless. `name` is told the new number before
    /// anybody else can see the row; what it gives is dropped where the row comes to
    /// nothing. It must not block.
    ///
    /// Refused: [`Refusal::NoSuchUser`]; [`Refusal::TooManyUnfinished`] where
    /// `max_unfinished_per_user` of the user's uploads wait for bytes already;
    /// [`Refusal::PathTaken`] where [`OnConflict::Reject`] was asked for and a document
    /// that is publishing or completed has the place or one that is its twin by
    /// [`DocumentPath::key`].
    ///
    /// [`DocumentPath::key`]: towline_protocol::DocumentPath::key
    pub fn create_document<N: Send + 'static>(
        &self,
        new: NewDocument,
        unless: Unless,
        max_unfinished_per_user: u32,
        name: impl FnOnce(DocumentId) -> N + Send + 'static,
    ) -> Reply<Created<N>> {
        self.write(move |connection| {
            if let Some(blake3) = unless.same_bytes {
                let documents = found::completed(connection, new.user_id, new.filesize, blake3)?;
                if !documents.is_empty() {
                    return Ok(Created::SameBytes(documents));
                }
            }
            if unless.unfinished {
                let found = found::find(connection, new.user_id, &new.path, new.filesize)?;
                if found.unfinished.is_some() {
                    return Ok(Created::Found(Box::new(found)));
                }
            }
            create(connection, &new, max_unfinished_per_user).map(|id| Created::New(name(id)))
        })
    }

    /// The document of that number.
    pub fn document(&self, document_id: DocumentId) -> Reply<Option<Document>> {
        self.read(move |connection| by_id(connection, document_id))
    }
}

/// The document of that number.
pub(super) fn by_id(
    connection: &Connection,
    document_id: DocumentId,
) -> Result<Option<Document>, CatalogError> {
    let sql = format!("SELECT {COLUMNS} FROM documents WHERE document_id = $1");
    one(connection, &sql, [document_id.to_i64()])
}

/// The document of that number, in one of those phases.
pub(super) fn in_phase(
    connection: &Connection,
    document_id: DocumentId,
    phases: &[Phase],
) -> Result<Document, CatalogError> {
    let document = by_id(connection, document_id)?.ok_or(Refusal::NoSuchDocument)?;
    if phases.contains(&document.phase) {
        Ok(document)
    } else {
        Err(Refusal::WrongPhase(document.phase).into())
    }
}

fn create(
    connection: &Connection,
    new: &NewDocument,
    max_unfinished: u32,
) -> Result<DocumentId, CatalogError> {
    users::require(connection, new.user_id)?;
    if count_unfinished(connection, new.user_id)? >= i64::from(max_unfinished) {
        return Err(Refusal::TooManyUnfinished { limit: max_unfinished }.into());
    }
    if new.on_conflict == OnConflict::Reject
        && publish::is_taken(connection, new.user_id, &new.path, None)?
    {
        return Err(Refusal::PathTaken.into());
    }
    let id: i64 = connection
        .prepare_cached(
            "INSERT INTO documents (user_id, folder, filename, filesize, status, on_conflict, \
             chunk_size, durable_offset, started_at, last_chunk_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9) RETURNING document_id",
        )?
        .query_row(
            params![
                new.user_id.to_i64(),
                new.path.folder_text(),
                new.path.filename().as_str(),
                new.filesize.to_i64(),
                Phase::Uploading.as_str(),
                new.on_conflict.as_str(),
                new.chunk_size,
                new.started_at.to_i64(),
                new.started_at.to_i64(),
            ],
            |row| row.get(0),
        )?;
    DocumentId::from_i64(id).map_err(|reason| CatalogError::BadRow {
        table: "document",
        id,
        owner: Some(new.user_id),
        column: "document_id",
        reason: reason.to_string(),
    })
}

fn count_unfinished(connection: &Connection, user_id: UserId) -> Result<i64, CatalogError> {
    let sql = "SELECT count(*) FROM documents \
               WHERE user_id = $1 AND finished_at IS NULL AND status = $2";
    let uploading = params![user_id.to_i64(), Phase::Uploading.as_str()];
    Ok(connection.prepare_cached(sql)?.query_row(uploading, |row| row.get(0))?)
}
