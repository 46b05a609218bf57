//! A catalog in a folder of its own, with one user in it.

pub(crate) use towline_testkit::{at, hash, id, offset, path, size, user};

use std::path::PathBuf;
use tempfile::TempDir;
use towline_state::catalog::{
    Bytes, Checkpoint, Created, Description, Document, NewDocument, NodeWish, OnConflict, Refusal,
    Unless,
};
use towline_state::{Catalog, CatalogError};
use towline_types::{BlockIndex, ChainingValue, DocumentId, DocumentPath, SecondDigest, UserId};
use towline_upload::Length;

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) catalog: Catalog,
    pub(crate) user: UserId,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let catalog = Catalog::open(folder.path().join("catalog.db")).unwrap();
        let user = catalog.add_user("ann", None, at(1)).wait().unwrap().user_id;
        Self { folder, catalog, user }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    /// A second connection, as another program would have it.
    pub(crate) fn by_hand(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    /// Edits the database past all checks.
    pub(crate) fn edit(&self, sql: &str) {
        let connection = self.by_hand();
        connection.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
        assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
    }

    pub(crate) fn new_document(&self, place: &str, filesize: u64) -> NewDocument {
        NewDocument {
            user_id: self.user,
            path: path(place),
            length: Length::Declared(size(filesize)),
            on_conflict: OnConflict::Rename,
            chunk_size: Some(65536),
            description: Description::default(),
            second_digest: SecondDigest::None,
            wish: NodeWish::default(),
            started_at: at(10),
        }
    }

    pub(crate) fn create(&self, place: &str, filesize: u64) -> DocumentId {
        self.create_new(self.new_document(place, filesize), u32::MAX).unwrap()
    }

    pub(crate) fn create_new(
        &self,
        new: NewDocument,
        max_unfinished_per_user: u32,
    ) -> Result<DocumentId, CatalogError> {
        let unless = Unless::default();
        match self.catalog.create_document(new, unless, max_unfinished_per_user, |id| id).wait()? {
            Created::New(id) => Ok(id),
            other => panic!("not asked for: {other:?}"),
        }
    }

    pub(crate) fn begin(&self, id: DocumentId) -> Result<(DocumentPath, u32), CatalogError> {
        self.begin_from(id, OnConflict::Rename, 0)
    }

    /// The place and which copy it is, held against the row.
    pub(crate) fn begin_from(
        &self,
        id: DocumentId,
        on_conflict: OnConflict,
        first_copy: u32,
    ) -> Result<(DocumentPath, u32), CatalogError> {
        let begun =
            self.catalog.begin_publish(id, hash(1), Bytes::Synced, on_conflict, first_copy, at(20));
        let (document, copy) = begun.wait()?;
        assert_eq!(document, self.document(id));
        Ok((document.file_path.unwrap(), copy))
    }

    /// Creates a document and brings it to its end; tells where it lies.
    pub(crate) fn complete(&self, place: &str, filesize: u64) -> (DocumentId, String) {
        let id = self.create(place, filesize);
        self.begin(id).unwrap();
        let document = self.catalog.complete_publish(id, None, at(30)).wait().unwrap();
        (id, document.file_path.unwrap().to_string())
    }

    pub(crate) fn document(&self, id: DocumentId) -> Document {
        self.catalog.document(id).wait().unwrap().unwrap()
    }
}

pub(crate) fn block(index: u64, byte: u8) -> (BlockIndex, ChainingValue) {
    (BlockIndex::new(index).unwrap(), ChainingValue::from_bytes([byte; 32]))
}

pub(crate) fn checkpoint(
    document_id: DocumentId,
    durable: u64,
    new_blocks: Vec<(BlockIndex, ChainingValue)>,
) -> Checkpoint {
    Checkpoint { document_id, durable_offset: offset(durable), new_blocks, last_chunk_at: at(15) }
}

#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> Refusal {
    match result {
        Err(CatalogError::Refused(refusal)) => refusal,
        other => panic!("a refusal was expected, not {other:?}"),
    }
}
