//! Completed documents, found again.

use super::document::{COLUMNS, Document, FileStamp, NewDocument, OnConflict, document};
use super::error::CatalogError;
use super::job::Share;
use super::{Catalog, Reply, unfinished};
use rusqlite::{Connection, Params, params};
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, UserId};
use towline_upload::Phase;

/// As many documents are named as have the same bytes, up to this: whether a file is
/// there only the disk can tell, and one is enough.
const NAMED_MAX: u32 = 8;

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

/// What came of the wish for a new upload.
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

    /// Completed documents of the user in that place and with these bytes: the one that
    /// lies there, and those that were to go there and got a numbered name. For
    /// [`OnConflict::Reject`] only the first will do.
    ///
    /// At most eight; a row that does not read is not among them.
    pub fn same_place(
        &self,
        user_id: UserId,
        path: &DocumentPath,
        filesize: FileSize,
        blake3: FileHash,
        on_conflict: OnConflict,
    ) -> Reply<Vec<Document>> {
        let (path, content) = (path.clone(), Content { user_id, filesize, blake3 });
        self.look(Share::Of(user_id), move |connection| {
            same_place(connection, content, &path, on_conflict)
        })
    }

    /// Completed documents of the user with these bytes, in whatever place.
    ///
    /// At most eight; a row that does not read is not among them.
    pub fn same_bytes(
        &self,
        user_id: UserId,
        filesize: FileSize,
        blake3: FileHash,
    ) -> Reply<Vec<Document>> {
        self.look(Share::Of(user_id), move |connection| {
            same_bytes(connection, Content { user_id, filesize, blake3 })
        })
    }

    /// The completed documents that have those places, or twins of them by
    /// [`DocumentPath::key`]. A row that does not read is not among them.
    pub fn at_places(&self, user_id: UserId, places: &[DocumentPath]) -> Reply<Vec<Document>> {
        let keys: Vec<_> = places.iter().map(DocumentPath::key).collect();
        self.look(Share::Of(user_id), move |connection| {
            // The second kind of key is that of a twin from before keys were folded in full.
            let sql = format!(
                "SELECT {COLUMNS} FROM documents \
                 WHERE user_id = $1 AND (path_key = $2 \
                 OR (path_key > $2 || '//' AND path_key < $2 || '/0')) AND created_at IS NOT NULL \
                 LIMIT {NAMED_MAX}"
            );
            let mut found = Vec::new();
            for key in keys {
                found.extend(readable(connection, &sql, params![user_id.to_i64(), key])?);
            }
            Ok(found)
        })
    }

    /// Completed documents that lie in a folder with one of those names, or below. At most 64
    /// for each name; a row that does not read is not among them.
    pub fn below_places(&self, user_id: UserId, names: &[DocumentPath]) -> Reply<Vec<Document>> {
        let keys: Vec<_> = names.iter().map(DocumentPath::key).collect();
        self.look(Share::Of(user_id), move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM documents \
                 WHERE user_id = $1 AND path_key > $2 || '/' AND path_key < $2 || '0' \
                 AND created_at IS NOT NULL LIMIT 64"
            );
            let mut found = Vec::new();
            for key in keys {
                found.extend(readable(connection, &sql, params![user_id.to_i64(), key])?);
            }
            Ok(found)
        })
    }

    /// Records what the file of a completed document is known by: it was read, and is the
    /// right one. Of a document that is not completed any more nothing is recorded.
    pub fn note_stamp(&self, document_id: DocumentId, stamp: FileStamp) -> Reply<()> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE documents SET file_inode = $1, file_modified = $2, \
                     file_mount_depth = $3 WHERE document_id = $4 AND status = $5",
                )?
                .execute(params![
                    stamp.inode.cast_signed(),
                    stamp.modified_ns,
                    stamp.mount_depth,
                    document_id.to_i64(),
                    Phase::Completed.as_str(),
                ])?;
            Ok(())
        })
    }
}

impl Catalog {
    /// Records that the file of a completed document was read and holds other bytes: it is
    /// read again before anything is said of it. Where the catalog knows the file by another
    /// stamp by now, nothing is recorded.
    ///
    /// The inode and the mount stay: they say where the file is expected.
    pub fn doubt_file(&self, document_id: DocumentId, stamp: FileStamp) -> Reply<()> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE documents SET file_modified = $1 WHERE document_id = $2 \
                     AND status = $3 AND file_inode = $4 AND file_modified = $5",
                )?
                .execute(params![
                    FileStamp::DOUBTED_NS,
                    document_id.to_i64(),
                    Phase::Completed.as_str(),
                    stamp.inode.cast_signed(),
                    stamp.modified_ns,
                ])?;
            Ok(())
        })
    }
}

/// Whose bytes, and which.
#[derive(Clone, Copy)]
pub(super) struct Content {
    pub(super) user_id: UserId,
    pub(super) filesize: FileSize,
    pub(super) blake3: FileHash,
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
        unfinished: unfinished::find(connection, user_id, path, filesize)?,
    })
}

/// See [`Catalog::same_place`].
pub(super) fn same_place(
    connection: &Connection,
    content: Content,
    path: &DocumentPath,
    on_conflict: OnConflict,
) -> Result<Vec<Document>, CatalogError> {
    let Content { user_id, filesize, blake3 } = content;
    let sql = format!(
        "SELECT {COLUMNS} FROM documents WHERE user_id = $1 AND path_key = $2 \
         AND filesize = $3 AND blake3 = $4 AND created_at IS NOT NULL"
    );
    let there = params![user_id.to_i64(), path.key(), filesize.to_i64(), blake3.as_bytes()];
    let mut found = readable(connection, &sql, there)?;
    // A folder that is only a twin of the one that was asked for is another place.
    let is_in_folder = |document: &Document| {
        document.file_path.as_ref().is_some_and(|place| place.folder() == path.folder())
    };
    found.retain(is_in_folder);
    if on_conflict == OnConflict::Reject {
        return Ok(found);
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM documents WHERE user_id = $1 AND filesize = $2 AND blake3 = $3 \
         AND filename = $4 AND folder = $5 AND created_at IS NOT NULL LIMIT {NAMED_MAX}"
    );
    let (filename, folder) = (path.filename().as_str(), path.folder_text());
    let asked = params![user_id.to_i64(), filesize.to_i64(), blake3.as_bytes(), filename, folder];
    for document in readable(connection, &sql, asked)? {
        if found.iter().all(|other| other.document_id != document.document_id) {
            found.push(document);
        }
    }
    Ok(found)
}

/// See [`Catalog::same_bytes`].
pub(super) fn same_bytes(
    connection: &Connection,
    content: Content,
) -> Result<Vec<Document>, CatalogError> {
    let Content { user_id, filesize, blake3 } = content;
    let sql = format!(
        "SELECT {COLUMNS} FROM documents \
         WHERE user_id = $1 AND filesize = $2 AND blake3 = $3 AND created_at IS NOT NULL \
         LIMIT {NAMED_MAX}"
    );
    readable(connection, &sql, params![user_id.to_i64(), filesize.to_i64(), blake3.as_bytes()])
}

/// Those of the documents that a query finds whose rows read.
fn readable(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Vec<Document>, CatalogError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(document(row));
    }
    Ok(found)
}

fn has_completed_of_size(
    connection: &Connection,
    user_id: UserId,
    filesize: FileSize,
) -> Result<bool, CatalogError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM documents \
               WHERE user_id = $1 AND filesize = $2 AND created_at IS NOT NULL)";
    let parameters = [user_id.to_i64(), filesize.to_i64()];
    Ok(connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?)
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
    if unless.unfinished {
        let found = find(connection, new.user_id, &new.path, new.length.bound(), None)?;
        if found.unfinished.is_some() {
            return Ok(Some(Created::Found(Box::new(found))));
        }
    }
    Ok(None)
}
