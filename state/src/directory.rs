//! Folders that outlive a power cut.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The folder a file lies in; the working directory for a bare name.
pub(crate) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Makes sure that the folder is there, for its owner alone where it is made
/// anew. Each new folder is synced into the one around it, for a file is only as
/// durable as the way to it.
pub(crate) fn ensure(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let around = parent_of(folder);
    if around != folder {
        ensure(&around)?;
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // Somebody else was faster, which is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    sync(&around)
}

/// Makes the names in a folder durable.
#[cfg(unix)]
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Other systems do not let a folder be opened; there the rename is all we have.
#[cfg(not(unix))]
pub(crate) fn sync(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// How many symbolic links may lead one to the next, as in most systems.
const LINKS_MAX: usize = 40;

/// The file that a symbolic link leads to, over as many links as there are; the path
/// itself where it is no link. The file need not exist: a link may lead to a place where
/// the first write makes it.
pub(crate) fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match std::fs::read_link(&path) {
            // What the link says is seen from its folder.
            Ok(to) => path = parent_of(&path).join(to),
            // Not a link, not there, or in a folder that cannot be searched: the next
            // step that uses the path says so.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "too many symbolic links"))
}

/// Removes the plain files of a folder whose names begin and end so, with no dot between.
/// One that cannot be removed, as another user's in a folder for all, stays.
pub(crate) fn sweep(folder: &Path, prefix: &OsStr, suffix: &str) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let middle = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let middle = middle.and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
        let is_ours = middle.is_some_and(|middle| !middle.is_empty() && !middle.contains(&b'.'));
        if is_ours && entry.file_type()?.is_file() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// The lock file beside `path`.
pub(crate) fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Opens the lock file beside `path`, or makes it; the lock is not taken.
pub(crate) fn open_lock_beside(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(lock_path(path))
}

/// Takes the lock beside `path`, waiting for another process to let it go. The lock ends
/// with the file handle, so a killed process leaves none behind; the file stays,
/// since deleting it would let two processes hold the lock at once.
pub(crate) fn lock_beside(path: &Path) -> io::Result<File> {
    let file = open_lock_beside(path)?;
    file.lock()?;
    Ok(file)
}

/// How often a lock is tried that another process holds.
const LOCK_TRIED_EVERY: Duration = Duration::from_millis(20);

/// The same as long as `go_on` says so, which is told how long the wait lasts by now.
/// Nothing where it was given up.
pub(crate) fn lock_beside_while(
    path: &Path,
    go_on: impl Fn(Duration) -> bool,
) -> io::Result<Option<File>> {
    let file = open_lock_beside(path)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if !go_on(begun.elapsed()) {
            return Ok(None);
        }
        std::thread::sleep(LOCK_TRIED_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_in_the_working_directory() {
        assert_eq!(parent_of(Path::new("catalog.db")), Path::new("."));
        assert_eq!(parent_of(Path::new("state/catalog.db")), Path::new("state"));
    }

    #[test]
    fn what_is_there_already_is_fine_unless_it_is_no_folder() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("a/b");
        ensure(&deep).unwrap();
        ensure(&deep).unwrap();
        assert!(deep.is_dir());
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(ensure(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
