//! Files that only the server's own user may read.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use towline_engine::storage::PathError;

/// The most bytes that are read of a file: far more than a key and a chain of certificates have.
const BYTES_MAX: u64 = 1 << 20;

/// The content of the file, up to [`BYTES_MAX`].
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes the file with these bytes. It appears under its name whole and durable. Where two
/// processes make it at the same time, the first one wins. Returns what the file contains then.
pub(crate) fn make(folder: &Path, path: &Path, bytes: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(PathError::of("make a key in", folder))?;
    file.write_all(bytes).map_err(PathError::of("write", path))?;
    file.as_file().sync_all().map_err(PathError::of("sync", path))?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(PathError::of("sync", folder))?;
        }
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(PathError::of("write", path)(error.error)),
    }
    read(path).map_err(PathError::of("read", path))
}
