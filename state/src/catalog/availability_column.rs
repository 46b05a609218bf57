//! The column that says whether a document is given out.

use super::availability::Availability;
use super::error::CatalogError;
use super::row::NamedRow;
use rusqlite::{Connection, OptionalExtension as _, Row};
use towline_types::DocumentId;

/// Reads the column `availability`.
pub(super) fn of_row(row: &NamedRow<'_, '_>) -> Result<Availability, CatalogError> {
    let word = row.get_option("availability", |word: String| Availability::parse(&word))?;
    Ok(word.unwrap_or_default())
}

/// The state of a document; [`Availability::Available`] where there is no such document.
pub(super) fn of(
    connection: &Connection,
    document_id: DocumentId,
) -> Result<Availability, CatalogError> {
    let sql = "SELECT document_id, user_id, availability FROM documents WHERE document_id = $1";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| {
        Ok(NamedRow::new(row, "document", "document_id").and_then(|row| of_row(&row)))
    };
    let found = statement.query_row([document_id.to_i64()], read).optional()?;
    Ok(found.transpose()?.unwrap_or_default())
}

/// Records the state of a document.
pub(super) fn set(
    connection: &Connection,
    document_id: DocumentId,
    availability: Availability,
) -> Result<(), CatalogError> {
    let sql = "UPDATE documents SET availability = $1 WHERE document_id = $2";
    let wanted = rusqlite::params![availability.as_str(), document_id.to_i64()];
    connection.prepare_cached(sql)?.execute(wanted)?;
    Ok(())
}

/// The version of a node, where its file is not in the quarantine.
pub(super) fn with_file(
    connection: &Connection,
    version: Option<DocumentId>,
) -> Result<Option<DocumentId>, CatalogError> {
    match version {
        Some(id) if of(connection, id)?.is_quarantined() => Ok(None),
        version => Ok(version),
    }
}
