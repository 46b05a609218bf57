//! What the operating system said of one path.

use std::io;
use std::path::{Path, PathBuf};

/// Something could not be done to a file or folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
pub struct PathError {
    /// What was being done, as a verb.
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl PathError {
    /// That error, of that path.
    pub fn new(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self { what, path: path.to_owned(), source }
    }

    /// The same as a function, for `map_err`.
    pub fn of<E: From<Self>>(
        what: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> E + use<E> {
        let path = path.to_owned();
        move |source| Self { what, path, source }.into()
    }
}
