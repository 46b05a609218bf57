//! The schema and its versions.

use super::error::CatalogError;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::sync::Arc;
use towline_types::DocumentPath;

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
    define_place_key(connection)?;
    // Deferred, the transaction could lose its turn between reading and writing.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    embedded::migrations::runner().set_grouped(true).run(connection).map_err(|source| {
        CatalogError::Migration { path: path.to_owned(), source: Arc::new(source) }
    })?;
    Ok(())
}

/// Defines what `V3__place_keys.sql` calls: the key of a path as it is today. Of a path
/// that does not read the key stays, and the row is found to be bad where it is read.
fn define_place_key(connection: &Connection) -> Result<(), CatalogError> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("towline_place_key", 2, flags, |context| {
        let (path, old): (String, String) = (context.get(0)?, context.get(1)?);
        Ok(DocumentPath::recorded(&path).map_or(old, |path| path.key()))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{bring_up_to_date, embedded};
    use rusqlite::{Connection, params};
    use std::path::Path;

    /// A catalog as it was before place keys were folded in full.
    fn second_version() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        embedded::migrations::runner()
            .set_target(refinery::Target::Version(2))
            .run(&mut connection)
            .unwrap();
        for user in [1, 2] {
            connection
                .execute("INSERT INTO users VALUES ($1, $2, 0, NULL)", params![user, user])
                .unwrap();
        }
        connection
    }

    fn document(connection: &Connection, id: i64, user: i64, path: &str) {
        // The key of that time: lower case.
        let key = path.to_lowercase();
        connection
            .execute(
                "INSERT INTO documents (document_id, user_id, folder, filename, filesize, \
                 blake3, status, on_conflict, durable_offset, file_path, path_key, started_at, \
                 last_chunk_at, created_at, finished_at) VALUES \
                 ($1, $2, '', 'x', 0, zeroblob(32), 'completed', 'rename', 0, $3, $4, 0, 0, 0, 0)",
                params![id, user, path, key],
            )
            .unwrap();
    }

    fn keys(connection: &Connection) -> Vec<(i64, String)> {
        let mut statement = connection
            .prepare("SELECT document_id, path_key FROM documents ORDER BY document_id")
            .unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn an_older_catalog_gets_the_keys_of_today_and_twins_keep_their_files() {
        let mut connection = second_version();
        for (id, user, path) in [
            (1, 1, "Straße.txt"),
            (2, 1, "strasse.txt"),
            (3, 1, "STRASSE.txt"),
            (4, 2, "STRASSE.txt"),
            (5, 1, "a/οδος.pdf"),
            (6, 1, "a\u{2000}b"),
            (7, 1, "a\u{fe00}c"),
            (8, 1, "not//read"),
        ] {
            // The third was another place than the second even then.
            let path = if id == 3 { path.replace("SS", "ſS") } else { path.to_owned() };
            document(&connection, id, user, &path);
        }
        bring_up_to_date(&mut connection, Path::new("catalog.db")).unwrap();
        let expected = [
            (1, "strasse.txt"),
            (2, "strasse.txt//2"),
            (3, "strasse.txt//3"),
            (4, "strasse.txt"),
            (5, "a/οδοσ.pdf"),
            (6, "a b"),
            (7, "ac"),
            (8, "not//read"),
        ];
        assert_eq!(keys(&connection), expected.map(|(id, key)| (id, key.to_owned())));
        // The index that keeps two documents from one place is there again.
        let twin = connection.execute(
            "UPDATE documents SET path_key = 'a b' WHERE document_id = 7 AND user_id = 1",
            [],
        );
        assert!(twin.is_err());
        bring_up_to_date(&mut connection, Path::new("catalog.db")).unwrap();
    }
}
