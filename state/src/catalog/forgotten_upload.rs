//! The unfinished upload of a client that has lost its state: found again by place and size.

use super::document::{COLUMNS, Document, document};
use super::error::CatalogError;
use super::place::Places;
use rusqlite::{Connection, params};
use towline_types::{DocumentPath, FileSize, UserId};

/// Rows that do not read are passed over, up to as many.
const LOOKS: u32 = 8;

/// The newest upload on its way of that user to exactly that place and of exactly that
/// size.
pub(super) fn find(
    connection: &Connection,
    user_id: UserId,
    path: &DocumentPath,
    filesize: FileSize,
) -> Result<Option<Document>, CatalogError> {
    let (folder, filename) = (path.folder_text(), path.filename().as_str());
    let sql = format!(
        "SELECT {COLUMNS} FROM documents \
         WHERE user_id = $1 AND folder = $2 AND filename = $3 AND filesize = $4 \
         AND finished_at IS NULL AND length_is_open = 0 ORDER BY document_id DESC LIMIT {LOOKS}"
    );
    let places = Places::new(connection);
    let mut statement = connection.prepare_cached(&sql)?;
    let wanted = params![user_id.to_i64(), folder, filename, filesize.to_i64()];
    let mut rows = statement.query(wanted)?;
    while let Some(row) = rows.next()? {
        if let Ok(document) = document(&places, row) {
            return Ok(Some(document));
        }
    }
    Ok(None)
}
