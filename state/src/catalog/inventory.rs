//! What ought to lie on disk, for a comparison with what lies there.

use super::document::{COLUMNS, Document, document};
use super::error::CatalogError;
use super::place::Places;
use super::{Catalog, Reply};
use rusqlite::params;
use towline_types::{DocumentId, DocumentPath, NodeId, UserId};
use towline_upload::Phase;

impl Catalog {
    /// The next documents after `after`, of all users, that have or await bytes:
    /// uploading, publishing or completed. At most `limit`, in the order of their
    /// numbers, for going through all of them in pages.
    ///
    /// A row that does not read is a [`CatalogError::BadRow`] in its turn, and the
    /// others follow.
    ///
    /// # Errors
    /// The catalog itself cannot be read.
    pub fn documents_after(
        &self,
        after: Option<DocumentId>,
        limit: u32,
    ) -> Reply<Vec<Result<Document, CatalogError>>> {
        self.read(move |connection| {
            // Not those that have ended, rather than those that have not: a word that
            // is no phase counts too.
            let sql = format!(
                "SELECT {COLUMNS} FROM documents \
                 WHERE document_id > $1 AND status NOT IN ($2, $3, $4) \
                 ORDER BY document_id LIMIT $5"
            );
            let places = Places::new(connection);
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![
                after.map_or(0, DocumentId::to_i64),
                Phase::Failed.as_str(),
                Phase::Cancelled.as_str(),
                Phase::Expired.as_str(),
                limit,
            ])?;
            let mut documents = Vec::new();
            while let Some(row) = rows.next()? {
                documents.push(document(&places, row));
            }
            Ok(documents)
        })
    }

    /// The folders at which disks were mounted when a file there was last known to be the
    /// right one: whose, a document there, and how many of its folders lead to the mount
    /// point. Each folder is told once.
    pub fn mount_points(&self) -> Reply<Vec<(UserId, DocumentPath, u16)>> {
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM documents WHERE file_mount_depth IS NOT NULL");
            let places = Places::new(connection);
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            let mut found = std::collections::BTreeMap::new();
            while let Some(row) = rows.next()? {
                // A row that does not read names no folder.
                let Ok(document) = document(&places, row) else { continue };
                let depth = document.stamp.and_then(|stamp| stamp.mount_depth);
                let (Some(path), Some(depth)) = (document.file_path, depth) else { continue };
                let above: Vec<_> = path.folder().iter().take(depth.into()).cloned().collect();
                found.insert((document.user_id, above, depth), path);
            }
            let points = found.into_iter();
            Ok(points.map(|((user, _, depth), path)| (user, path, depth)).collect())
        })
    }

    /// The document that is being published into a node, and becomes its version.
    pub fn incoming(&self, node_id: NodeId) -> Reply<Option<DocumentId>> {
        self.read(move |connection| {
            let sql = "SELECT max(incoming_id) FROM nodes WHERE node_id = $1";
            let mut statement = connection.prepare_cached(sql)?;
            let found: Option<i64> = statement.query_row([node_id.to_i64()], |row| row.get(0))?;
            Ok(found.and_then(|id| DocumentId::from_i64(id).ok()))
        })
    }

    /// Whether there ever was a document.
    pub fn has_documents(&self) -> Reply<bool> {
        self.read(|connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM documents)";
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
        })
    }
}
