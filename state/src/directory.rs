//! Folders that outlive a power cut.

use std::fs::{DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};

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

/// Takes the lock file beside `path`, waiting for whoever has it. The lock ends
/// with the file handle, so a killed process leaves none behind; the file stays,
/// since deleting it would let two processes hold the lock at once.
pub(crate) fn lock_beside(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(name)?;
    file.lock()?;
    Ok(file)
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
