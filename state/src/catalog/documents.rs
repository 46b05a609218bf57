//! Documents come into being, and are looked up by their number.

use super::completed_duplicates::{self, Content};
use super::document::{Document, NewDocument, OnConflict, by_id};
use super::error::{CatalogError, Refusal};
use super::folder::Tree;
use super::job::Share;
use super::needless::{Created, Unless, needless};
use super::reservation::Wanted;
use super::{Catalog, Reply, description, quota};
use rusqlite::{Connection, params};
use std::sync::Arc;
use towline_types::{DocumentId, FileSize, NodeId, UserId};
use towline_upload::Phase;

impl Catalog {
    /// Records that an upload begins, with nothing of it durable yet; unless there is
    /// something already that makes it needless. `name` is told the new number before
    /// any other thread can see the row; what it gives is dropped where no row is
    /// made. It must not block.
    ///
    /// Refused: [`Refusal::NoSuchUser`]; [`Refusal::QuotaUsedUp`];
    /// [`Refusal::TooManyUnfinished`] where
    /// `max_unfinished_per_user` of the user's uploads wait for bytes already;
    /// [`Refusal::PathTaken`] where [`OnConflict::Reject`] was asked for, or no numbered
    /// name is legal, and a node has the place, or a twin of it by [`DocumentPath::key`];
    /// [`Refusal::FolderTaken`] where a file or link has the name of one of the folders;
    /// [`Refusal::Conflict`] where another version than the base version would be replaced;
    /// [`Refusal::NoSuchNode`] where its node or folder was given by number and is not there;
    /// [`Refusal::Busy`].
    ///
    /// [`DocumentPath::key`]: towline_types::DocumentPath::key
    pub fn create_document<N: Send + 'static>(
        &self,
        new: NewDocument,
        unless: Unless,
        max_unfinished_per_user: u32,
        name: impl FnOnce(DocumentId) -> N + Send + 'static,
    ) -> Reply<Created<N>> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            if let Some(needless) = needless(connection, &new, unless)? {
                return Ok(needless);
            }
            let (cache, user_id) = (&shared.folders, new.user_id);
            let more_bytes = new.length.declared().map_or(0, FileSize::get);
            quota::require_room(connection, &shared.default_quota, user_id, more_bytes)?;
            admit(Tree { connection, cache, user_id }, &new)?;
            if let Some(blake3) = unless.same_bytes {
                let (user_id, filesize) = (new.user_id, new.length.bound());
                let content = Content { user_id, filesize, blake3 };
                let documents = completed_duplicates::same_bytes(connection, content)?;
                if !documents.is_empty() {
                    return Ok(Created::SameBytes(documents));
                }
            }
            refuse_if_many(connection, new.user_id, max_unfinished_per_user)?;
            let id = number(shared.next_document(), new.user_id)?;
            create(connection, id, &new)?;
            Ok(Created::New(name(id)))
        })
    }

    /// A number for a document that is [published at once](Self::publish_new). Nobody
    /// else is given it before the process ends; no row has to have it at last. (Numbers
    /// are counted here: of all processes only one may make documents at a time.)
    ///
    /// # Errors
    /// Where there are none left.
    pub fn reserve_document_id(&self, owner: UserId) -> Result<DocumentId, CatalogError> {
        number(self.shared.next_document(), owner)
    }

    /// The document of that number.
    pub fn document(&self, document_id: DocumentId) -> Reply<Option<Document>> {
        self.look(Share::Documents, move |connection| by_id(connection, document_id))
    }
}

fn admit(tree: Tree<'_>, new: &NewDocument) -> Result<(), CatalogError> {
    let path = &new.path;
    let wanted = Wanted {
        // No document has it yet.
        document_id: DocumentId::MAX,
        path,
        on_conflict: new.on_conflict,
        wish: &new.wish,
        own: None,
        first_copy: 0,
        now: new.started_at,
    };
    let path = tree.wished_path(wanted)?;
    let folder = tree.find(path.folder())?;
    if let Some(replaced) = tree.replaced(wanted, &path)? {
        // A file whose first version is being published is waited for at the end.
        let is_new = replaced.version_id.is_none();
        return if is_new { Ok(()) } else { tree.refuse_other_version(wanted, replaced) };
    }
    // Where no number fits after the name, a taken name is refused now, and not after all
    // bytes were sent.
    let must_be_free = new.on_conflict != OnConflict::Rename || path.numbered(1).is_none();
    if must_be_free && tree.is_taken(&folder, &path.filename().key(), None)? {
        return Err(Refusal::PathTaken.into());
    }
    Ok(())
}

fn refuse_if_many(
    connection: &Connection,
    user_id: UserId,
    max_unfinished: u32,
) -> Result<(), CatalogError> {
    if count_unfinished(connection, user_id)? >= i64::from(max_unfinished) {
        return Err(Refusal::TooManyUnfinished { limit: max_unfinished }.into());
    }
    Ok(())
}

fn create(
    connection: &Connection,
    document_id: DocumentId,
    new: &NewDocument,
) -> Result<(), CatalogError> {
    connection
        .prepare_cached(
            "INSERT INTO documents (document_id, user_id, folder, filename, filesize, status, \
             on_conflict, chunk_size, durable_offset, started_at, last_chunk_at, \
             length_is_open, second_digest, onto_node, into_folder, base_version, mtime_ms, mode) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        )?
        .execute(params![
            document_id.to_i64(),
            new.user_id.to_i64(),
            new.path.folder_text(),
            new.path.filename().as_str(),
            new.length.bound().to_i64(),
            Phase::Uploading.as_str(),
            new.on_conflict.as_str(),
            new.chunk_size,
            new.started_at.to_i64(),
            new.started_at.to_i64(),
            new.length.declared().is_none(),
            new.second_digest.as_str(),
            new.wish.onto_node.map(NodeId::to_i64),
            new.wish.into_folder.map(NodeId::to_i64),
            new.wish.base_version.map(DocumentId::to_i64),
            new.wish.mtime.map(|mtime| mtime.as_ms()),
            new.wish.mode.map(|mode| mode.bits()),
        ])?;
    description::record(connection, document_id, &new.description)
}

/// The highest number that any document has had.
pub(super) fn last_number(connection: &Connection) -> Result<i64, CatalogError> {
    let sql = "SELECT max(coalesce((SELECT max(document_id) FROM documents), 0), \
               coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'documents'), 0))";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

fn number(id: i64, owner: UserId) -> Result<DocumentId, CatalogError> {
    DocumentId::from_i64(id).map_err(|reason| CatalogError::BadRow {
        table: "document",
        id,
        owner: Some(owner),
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
