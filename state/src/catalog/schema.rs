//! The schema and its versions.

use super::error::CatalogError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::sync::Arc;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Refuses a database of a later Towline, and writes nothing.
pub(super) fn refuse_newer(connection: &Connection, path: &Path) -> Result<(), CatalogError> {
    let has_history: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1)",
        ["refinery_schema_history"],
        |row| row.get(0),
    )?;
    if !has_history {
        return Ok(());
    }
    let found: Option<i64> =
        connection
            .query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))?;
    let runner = embedded::migrations::runner();
    let known =
        runner.get_migrations().iter().map(|migration| i64::from(migration.version())).max();
    match (found, known) {
        (Some(found), Some(known)) if found > known => {
            Err(CatalogError::NewerSchema { path: path.to_owned(), found, known })
        }
        _ => Ok(()),
    }
}

/// Applies what is missing, all in one transaction with its history: a kill in
/// between leaves the schema as it was and not a table that nobody wrote down.
pub(super) fn bring_up_to_date(
    connection: &mut Connection,
    path: &Path,
) -> Result<(), CatalogError> {
    // Deferred, the transaction could lose its turn between reading and writing.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    embedded::migrations::runner().set_grouped(true).run(connection).map_err(|source| {
        CatalogError::Migration { path: path.to_owned(), source: Arc::new(source) }
    })?;
    Ok(())
}
