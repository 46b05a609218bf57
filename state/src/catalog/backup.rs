//! A copy of a catalog that is in use, for safe-keeping.

use super::error::CatalogError;
use super::{connection, schema};
use crate::directory;
use rusqlite::params;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// The gap in the numbers of documents and nodes of a catalog that was put back. Clients remember
/// the numbers of those that were made after the copy, so these must not be given to others.
pub(super) const SKIPPED_NUMBERS: i64 = 1_000_000;

/// Copies the catalog at `path` into a new file at `into`, as it is at one moment; other
/// processes may change the catalog meanwhile. Only the owner may read the copy, and it is
/// durable on return. Blocks.
///
/// # Errors
/// Where the catalog cannot be read, where `into` is there already, or the copy cannot be
/// written.
pub fn back_up(path: impl AsRef<Path>, into: impl AsRef<Path>) -> Result<(), CatalogError> {
    let (path, into) = (path.as_ref(), into.as_ref());
    let failed = |action| {
        let path = into.to_owned();
        move |source: io::Error| CatalogError::Io { action, path, source: Arc::new(source) }
    };
    // SQLite writes into an empty file, and would make one that others may read.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(into);
    drop(made.map_err(failed("make"))?);
    let text = into.to_str().ok_or_else(|| io::Error::other("the path is not UTF-8"));
    let text = text.map_err(failed("write"))?;
    let source = connection::open_to_look(path)?;
    // SQLite counts the new file as a change; the source stays as it is.
    source.pragma_update(None, "query_only", "OFF")?;
    source.execute("VACUUM INTO $1", [text])?;
    source.close().map_err(|(_, error)| error)?;
    let copy = rusqlite::Connection::open(into)?;
    for table in ["documents", "nodes"] {
        let sql = "UPDATE sqlite_sequence SET seq = seq + $1 WHERE name = $2";
        // SQLite makes the row with the first document or node.
        if copy.execute(sql, params![SKIPPED_NUMBERS, table])? == 0 {
            let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)";
            copy.execute(sql, params![table, SKIPPED_NUMBERS])?;
        }
    }
    // Put back, it counts changes again that clients have seen as others: their cursors must not
    // fit. The next start gives each log an epoch of its own.
    copy.execute("UPDATE change_counters SET epoch = 0", [])?;
    copy.close().map_err(|(_, error)| error)?;
    File::open(into).and_then(|file| file.sync_all()).map_err(failed("sync"))
}

/// Puts a copy that [`back_up`] has made in the place of a catalog that is lost, under the name
/// `into`, which nothing has. It is read through first. On return it has its name, durably; a
/// crash before that leaves nothing of that name. Each log of changes gets another epoch when the
/// catalog is first opened. Blocks.
///
/// # Errors
/// Where the copy cannot be read or is damaged, where `into` is there already, or where it cannot
/// be written.
pub fn put_back(copy: impl AsRef<Path>, into: impl AsRef<Path>) -> Result<(), CatalogError> {
    let (copy, into) = (copy.as_ref(), into.as_ref());
    let folder = directory::parent_of(into);
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| CatalogError::Io { action, path, source: Arc::new(source) }
    };
    let mut from = File::open(copy).map_err(failed("read", copy))?;
    // As a catalog that is being made: what a kill leaves of it is known to be nothing.
    let made = tempfile::Builder::new().prefix(".catalog.").suffix(".tmp").tempfile_in(&folder);
    let mut made = made.map_err(failed("make", into))?;
    io::copy(&mut from, made.as_file_mut()).map_err(failed("write", into))?;
    let made = made.into_temp_path();
    let connection = connection::connect(&made)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        let source = Arc::new(io::Error::other(found));
        return Err(CatalogError::Io { action: "use the damaged", path: copy.to_owned(), source });
    }
    schema::refuse_newer(&connection, copy)?;
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'change_counters')";
    if connection.query_row(sql, [], |row| row.get(0))? {
        connection.execute("UPDATE change_counters SET epoch = 0", [])?;
    }
    connection.close().map_err(|(_, error)| error)?;
    File::open(&made).and_then(|file| file.sync_all()).map_err(failed("sync", into))?;
    made.persist_noclobber(into).map_err(|error| failed("make", into)(error.error))?;
    directory::sync(&folder).map_err(failed("sync the folder of", into))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn a_copy_skips_numbers_also_where_no_document_was_ever_made() {
        let folder = tempfile::tempdir().unwrap();
        let (path, into) = (folder.path().join("catalog.db"), folder.path().join("copy.db"));
        let catalog = Catalog::open(&path).unwrap();
        back_up(&path, &into).unwrap();
        catalog.close().wait().unwrap();
        let copy = rusqlite::Connection::open(&into).unwrap();
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'documents'";
        let skipped: i64 = copy.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(skipped, SKIPPED_NUMBERS);
    }
}
