//! The file to upload, and its name on the server.

use crate::failure::Failure;
use std::path::{Path, PathBuf};
use towline_types::{DocumentPath, Name};

/// A local file and its place among the documents of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The local file.
    pub local: PathBuf,
    /// The folders and the name on the server.
    pub remote: DocumentPath,
}

impl Document {
    /// The file under its own name, in that folder on the server.
    ///
    /// # Errors
    /// Where the name cannot be used.
    pub fn in_folder(local: impl Into<PathBuf>, folder: Vec<Name>) -> Result<Self, Failure> {
        let local = local.into();
        let filename = own_name(&local)?;
        let remote = DocumentPath::new(folder, filename.clone())
            .map_err(|reason| Failure::BadName { name: filename.into(), reason })?;
        Ok(Self { local, remote })
    }
}

/// The last component of a path, as a name on the server.
pub(crate) fn own_name(path: &Path) -> Result<Name, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Bytes that are no Unicode have become U+FFFD, which is not part of the file's name.
    if path.file_name().is_some_and(|name| name.to_str().is_none()) {
        return Err(Failure::NotUnicode { name });
    }
    Name::new(name.clone()).map_err(|reason| Failure::BadName { name, reason })
}
