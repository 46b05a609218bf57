//! Documents that keep a name in use: of a file, of a folder, or of one of the folders above.

use super::completed_duplicates::NAMED_MAX;
use super::document::{COLUMNS, Document, readable};
use super::error::CatalogError;
use super::job::Share;
use super::node_row::behind_twins;
use super::{Catalog, Reply, folder};
use rusqlite::{Connection, params};
use towline_types::{DocumentId, DocumentPath, NodeKind, UserId};

/// So many documents below a folder are named.
const BELOW_MAX: u32 = 64;

impl Catalog {
    /// The completed documents that have those places, or twins of them by
    /// [`DocumentPath::key`]. A row that does not read is not among them.
    pub fn at_places(&self, user_id: UserId, places: &[DocumentPath]) -> Reply<Vec<Document>> {
        let places = places.to_vec();
        self.look(Share::Of(user_id), move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM documents WHERE document_id IN (SELECT version_id \
                 FROM nodes WHERE user_id = $1 AND coalesce(parent_id, 0) = $2 \
                 AND name_key >= $3 AND name_key < $4 AND deleted_at IS NULL \
                 AND version_id IS NOT NULL LIMIT {NAMED_MAX})"
            );
            let mut found = Vec::new();
            for place in places {
                let key = place.filename().key();
                let behind = behind_twins(&key);
                for twin in folder::look(connection, user_id, place.folder())?.twins {
                    let wanted = params![user_id.to_i64(), twin, key, behind];
                    found.extend(readable(connection, &sql, wanted)?);
                }
            }
            Ok(found)
        })
    }

    /// Completed documents that lie in a folder with one of those names, or below. At most 64
    /// for each name; a row that does not read is not among them.
    pub fn below_places(&self, user_id: UserId, names: &[DocumentPath]) -> Reply<Vec<Document>> {
        let names = names.to_vec();
        self.look(Share::Of(user_id), move |connection| {
            let mut found = Vec::new();
            for name in names {
                let mut path = name.folder().to_vec();
                path.push(name.filename().clone());
                for twin in folder::look(connection, user_id, &path)?.twins {
                    found.extend(below(connection, user_id, twin)?);
                }
            }
            Ok(found)
        })
    }

    /// Whether a folder or a link has that name, or a twin of it.
    pub fn has_folder_or_link(&self, user_id: UserId, path: &DocumentPath) -> Reply<bool> {
        let path = path.clone();
        self.look(Share::Of(user_id), move |connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM nodes WHERE user_id = $1 \
                       AND coalesce(parent_id, 0) = $2 AND name_key >= $3 AND name_key < $4 \
                       AND deleted_at IS NULL AND kind <> $5)";
            let key = path.filename().key();
            let behind = behind_twins(&key);
            let mut statement = connection.prepare_cached(sql)?;
            for twin in folder::look(connection, user_id, path.folder())?.twins {
                let file = NodeKind::File.as_str();
                let wanted = params![user_id.to_i64(), twin, key, behind, file];
                if statement.query_row(wanted, |row| row.get(0))? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// The document whose file has exactly that name, or is promised it.
    pub fn document_at(&self, user_id: UserId, path: &DocumentPath) -> Reply<Option<DocumentId>> {
        let path = path.clone();
        self.read(move |connection| {
            let Some(exact) = folder::look(connection, user_id, path.folder())?.exact else {
                return Ok(None);
            };
            let mut statement = connection.prepare_cached(
                "SELECT coalesce(version_id, incoming_id) FROM nodes WHERE user_id = $1 \
                 AND coalesce(parent_id, 0) = $2 AND name_key >= $3 AND name_key < $4 \
                 AND deleted_at IS NULL AND name = $5 AND kind = 'file'",
            )?;
            let key = path.filename().key();
            let behind = behind_twins(&key);
            let named = params![user_id.to_i64(), exact, key, behind, path.filename().as_str()];
            let mut rows = statement.query(named)?;
            let Some(row) = rows.next()? else { return Ok(None) };
            // A number that does not read is of no use, but the file belongs to a row.
            Ok(row.get::<_, Option<i64>>(0)?.and_then(|id| DocumentId::from_i64(id).ok()))
        })
    }
}

fn below(
    connection: &Connection,
    user_id: UserId,
    folder: i64,
) -> Result<Vec<Document>, CatalogError> {
    let sql = format!(
        "WITH RECURSIVE below (node_id, kind, version_id) AS (\
             SELECT node_id, kind, version_id FROM nodes WHERE user_id = $1 \
             AND coalesce(parent_id, 0) = $2 AND deleted_at IS NULL \
             UNION ALL \
             SELECT child.node_id, child.kind, child.version_id FROM below \
             JOIN nodes AS child ON child.user_id = $1 \
             AND coalesce(child.parent_id, 0) = +below.node_id AND child.deleted_at IS NULL \
             WHERE below.kind = 'folder') \
         SELECT {COLUMNS} FROM documents WHERE document_id IN \
         (SELECT version_id FROM below WHERE version_id IS NOT NULL LIMIT {BELOW_MAX})"
    );
    readable(connection, &sql, params![user_id.to_i64(), folder])
}
