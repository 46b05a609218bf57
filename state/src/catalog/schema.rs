//! The schema and its versions.

use super::error::CatalogError;
use super::{change_log, migration_functions};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::sync::Arc;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Refuses a database of a later Towline, and writes nothing.
pub(super) fn refuse_newer(connection: &Connection, path: &Path) -> Result<(), CatalogError> {
    let (found, known) = (found(connection)?, known());
    if found > known {
        return Err(CatalogError::NewerSchema { path: path.to_owned(), found, known });
    }
    Ok(())
}

/// Refuses any schema but the newest one known: a connection that may change
/// nothing cannot bring an older one up to date.
pub(super) fn refuse_other(connection: &Connection, path: &Path) -> Result<(), CatalogError> {
    refuse_newer(connection, path)?;
    let (found, known) = (found(connection)?, known());
    if found < known {
        return Err(CatalogError::OlderSchema { path: path.to_owned(), found, known });
    }
    Ok(())
}

/// The schema that the database has; 0 where it has none yet.
fn found(connection: &Connection) -> Result<i64, CatalogError> {
    let has_history: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1)",
        ["refinery_schema_history"],
        |row| row.get(0),
    )?;
    if !has_history {
        return Ok(0);
    }
    let sql = "SELECT coalesce(max(version), 0) FROM refinery_schema_history";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// The newest schema that there is.
fn known() -> i64 {
    let runner = embedded::migrations::runner();
    let versions = runner.get_migrations().iter().map(|migration| i64::from(migration.version()));
    versions.max().unwrap_or(0)
}

/// Applies what is missing, all in one transaction with its history: a kill in
/// between leaves the schema as it was and not a table that the history does not know.
pub(super) fn bring_up_to_date(
    connection: &mut Connection,
    path: &Path,
) -> Result<(), CatalogError> {
    migration_functions::define(connection)?;
    // A table that others refer to is made anew by some of them. Of foreign keys a transaction
    // cannot change its mind.
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    // Deferred, the transaction could lose its turn between reading and writing.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    let applied = embedded::migrations::runner().set_grouped(true).run(connection);
    applied.map_err(|source| CatalogError::Migration {
        path: path.to_owned(),
        source: Arc::new(source),
    })?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    change_log::begin_epoch_of_copy(connection)
}

#[cfg(test)]
mod tests;
