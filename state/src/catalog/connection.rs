//! How the database file is made and opened.

use super::error::CatalogError;
use super::{schema, waiting};
use crate::directory;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The first SQLite without the bug that could lose committed pages when a WAL
/// is reset while another connection writes (3.7.0 to 3.51.2).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long a statement waits for other processes before it gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every statement of ours stays prepared.
const STATEMENTS: usize = 64;

/// Opens the database, makes it where there is none, and brings it up to date.
pub(super) fn open(path: &Path) -> Result<Connection, CatalogError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(CatalogError::TooOldSqlite { found: rusqlite::version() });
    }
    let failed = |action| {
        move |source| CatalogError::Io { action, path: path.to_owned(), source: Arc::new(source) }
    };
    let folder = directory::parent_of(path);
    directory::ensure(&folder).map_err(failed("make the folder of"))?;
    // Only while opening: two processes must not both make the schema.
    let _lock = directory::lock_beside(path).map_err(failed("lock"))?;
    make(path, &folder).map_err(failed("make"))?;

    let connection = waiting::for_others(path, || prepare(path))?;
    // SQLite syncs the entry of its journal, but not that of the database.
    directory::sync(&folder).map_err(failed("sync the folder of"))?;
    Ok(connection)
}

/// Connects, and brings the database up to date. Fails where another program has locked it
/// for longer than an attempt.
fn prepare(path: &Path) -> Result<Connection, CatalogError> {
    let mut connection = connect(path)?;
    schema::refuse_newer(&connection, path)?;
    // Ours from here on: what a kill left in the journal goes where it belongs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;

    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(CatalogError::NoWal { path: path.to_owned(), mode });
    }
    // FULL: with NORMAL a power cut takes commits that were already answered.
    connection.pragma_update(None, "synchronous", "FULL")?;
    schema::bring_up_to_date(&mut connection, path)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// A second connection to a database that this process has open, for looks. It changes
/// nothing, and leaves the journal to the first when it is closed.
pub(super) fn open_beside(path: &Path) -> Result<Connection, CatalogError> {
    let connection = connect(path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// Opens a database that is there, beside the processes that work with it, and keeps every
/// statement from changing it.
///
/// Not with SQLite's read-only flag: such a connection leaves an empty journal and
/// its index behind where there were none.
pub(super) fn open_to_look(path: &Path) -> Result<Connection, CatalogError> {
    if !path.try_exists().is_ok_and(|exists| exists) {
        return Err(CatalogError::NotThere { path: path.to_owned() });
    }
    waiting::for_others(path, || {
        let connection = connect(path)?;
        schema::refuse_other(&connection, path)?;
        connection.pragma_update(None, "query_only", "ON")?;
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    })
}

/// The same for a schema of any version.
pub(super) fn open_to_peek(path: &Path) -> Result<Connection, CatalogError> {
    waiting::for_others(path, || {
        let connection = connect(path)?;
        connection.pragma_update(None, "query_only", "ON")?;
        // The first statement that reads meets a lock.
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
        Ok(connection)
    })
}

/// Whether there is a journal beside the database.
pub(super) fn has_journal(path: &Path) -> bool {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-wal");
    Path::new(&journal).try_exists().unwrap_or(true)
}

/// Connects to a database that is there. Closed again without more, it leaves
/// every byte as it was.
pub(super) fn connect(path: &Path) -> Result<Connection, CatalogError> {
    // A journal that is there already holds promises. Whoever only looks, or is
    // about to be refused, must not move them on closing. (Where there is none, to
    // close as usual removes the empty one that looking makes.)
    let has_journal = has_journal(path);
    // Not URI: a path is a path, whatever it looks like. The thread is the lock.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_journal)?;
    // Plans must not hang on the values that are bound: a statement whose plan did was
    // prepared anew at every call, which was a quarter of the catalog's work.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(waiting::ATTEMPT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    // Temporary files would lie in a folder of the system, which a server that is confined to its
    // own folders cannot reach, and would have names of users' files in them.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Makes an empty file for its owner alone, which SQLite takes for a new
/// database; the journals get the same rights from it.
///
/// It is made under another name and never opened under this one: closing any
/// descriptor of a database drops the locks that this process holds on it.
fn make(path: &Path, folder: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    let file = tempfile::Builder::new().prefix(".catalog.").suffix(".tmp").tempfile_in(folder)?;
    file.as_file().sync_all()?;
    match file.into_temp_path().persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::open;

    #[test]
    fn a_connection_is_as_durable_and_as_strict_as_promised() {
        let folder = tempfile::TempDir::new().unwrap();
        let connection = open(&folder.path().join("catalog.db")).unwrap();
        let number = |pragma| -> i64 {
            connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap()
        };
        let journal: String =
            connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(journal, "wal");
        assert_eq!(number("synchronous"), 2, "FULL");
        assert_eq!(number("foreign_keys"), 1);
        assert_eq!(number("trusted_schema"), 0);
        assert_eq!(number("busy_timeout"), 5000);
    }
}
