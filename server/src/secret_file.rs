//! Files that only the server's own user may read, and files of the operator's.

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::retry_on_intr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use towline_engine::storage::PathError;

/// The most bytes that are read of a file: far more than a key and a chain of certificates have.
const BYTES_MAX: u64 = 1 << 20;

/// The content of a file of the server's own, up to [`BYTES_MAX`]. The folder of the keys is opened
/// first, and the file from there: neither may be a symbolic link, because that could lead to a
/// file which another user has made.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = retry_on_intr(|| openat(CWD, folder, flags | OFlags::DIRECTORY, Mode::empty()))?;
    // NONBLOCK: a named pipe in the place of the file would let the server wait for ever.
    let file = retry_on_intr(|| openat(&folder, name, flags | OFlags::NONBLOCK, Mode::empty()))?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is no plain file"));
    }
    content(File::from(file))
}

/// The content of a file that the operator has named, up to [`BYTES_MAX`]. Links to it are the
/// operator's own.
pub(crate) fn read_of_operator(path: &Path) -> io::Result<Vec<u8>> {
    content(File::open(path)?)
}

fn content(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_key_is_read_through_no_link_and_a_file_of_the_operators_is() {
        let parent = tempfile::tempdir().unwrap();
        let keys = parent.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        make(&keys, &keys.join("key"), b"secret").unwrap();
        assert_eq!(read(&keys.join("key")).unwrap(), b"secret");
        symlink("key", keys.join("link")).unwrap();
        symlink(&keys, parent.path().join("other")).unwrap();
        for path in [keys.join("link"), parent.path().join("other/key"), parent.path().join("keys")]
        {
            assert!(read(&path).is_err(), "{}", path.display());
        }
        assert_eq!(read_of_operator(&keys.join("link")).unwrap(), b"secret");
    }
}
