//! Changes a data folder without the server, as an operator with a shell or a failing disk does.

use crate::site::Site;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

pub use crate::flip::flip;

/// Turns one bit as [`flip`] does, like a disk that has lost the bit: the time of modification
/// stays, too.
///
/// # Panics
/// Where the file has no such byte.
pub fn rot(path: &Path, at: usize) {
    let file = open(path);
    let modified = file.metadata().and_then(|about| about.modified()).expect("a time");
    flip(path, at);
    file.set_modified(modified).expect("a file of ours");
}

/// Makes a file shorter, or longer with zeros, without replacing it.
///
/// # Panics
/// Where that is not possible.
pub fn cut(path: &Path, length: usize) {
    open(path).set_len(length as u64).expect("a file that can be cut");
}

/// Changes one row of the catalog without any of its checks, also while a server has the catalog
/// open.
///
/// # Panics
/// Where not exactly one row changes.
pub fn edit(site: &Site, sql: &str) {
    edit_rows(site, sql, 1);
}

/// The same for that many rows.
///
/// # Panics
/// Where another number of rows changes.
pub fn edit_rows(site: &Site, sql: &str, rows: usize) {
    let connection = rusqlite::Connection::open(site.catalog_path()).expect("a database");
    let unchecked = connection.execute_batch("PRAGMA ignore_check_constraints = ON");
    unchecked.expect("a pragma");
    let changed = connection.execute(sql, []).expect("a statement");
    assert_eq!(changed, rows, "{sql}");
}

/// Every file below a folder, and its content. Links are read as links. The index of SQLite's
/// journal, which records the present readers, is left out.
///
/// Not for a folder with a catalog that this process has open: to close any descriptor of a
/// database drops the locks that the process has on it.
///
/// # Panics
/// Where a file cannot be read.
#[must_use]
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let about = path.symlink_metadata().expect("an entry that stays");
        if about.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.extend(contents(&path));
        } else if about.is_symlink() {
            let target = std::fs::read_link(&path).expect("a link");
            found.insert(path, target.into_os_string().into_encoded_bytes());
        } else if !about.is_file() {
            // A socket that a killed server has left.
            found.insert(path, Vec::new());
        } else if !path.to_string_lossy().ends_with("-shm") {
            let bytes = std::fs::read(&path).expect("a file that can be read");
            found.insert(path, bytes);
        }
    }
    found
}

fn open(path: &Path) -> File {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
