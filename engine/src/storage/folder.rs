//! The data folder: everything Towline keeps, under one path, for one server.

use super::contents::{self, Contents};
use super::directory::Directory;
use super::history_file::SeenHistory;
use super::marker::{self, Found, Marker, Part};
use super::path_error::PathError;
use super::paths;
use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use towline_types::{StoreId, UserId};

/// Readable to the service's group: final files are there to be used.
const SHARED: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);
/// For the server's own user alone.
const PRIVATE: Mode = Mode::RWXU;

/// The data folder, opened and complete. Clones share it.
#[derive(Debug, Clone)]
pub struct DataFolder(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    root: Directory,
    uploads: Arc<Directory>,
    staging: Arc<Directory>,
}

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another server has it, or a repair.
    #[error("the data folder {} is in use by another server, or being repaired", folder.display())]
    InUse {
        /// The data folder.
        folder: PathBuf,
    },
    /// A link or a file lies where one of our folders belongs. Links are not followed
    /// below the data folder; to move the data, move the whole folder or mount it.
    #[error("{} is not a folder, or a symbolic link", path.display())]
    NotAFolder {
        /// What is in the way.
        path: PathBuf,
    },
    /// It was to be found, not made.
    #[error("there is no data folder at {}", path.display())]
    NotThere {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Anything else the system says.
    #[error(transparent)]
    Io(#[from] PathError),
}

/// What lies in the place of a data folder, found without making or changing anything.
#[derive(Debug)]
pub struct Look {
    path: PathBuf,
    root: Option<Directory>,
    /// What was found in the place of each part.
    pub parts: Vec<(Part, Found)>,
    /// There is something in a folder of a user.
    pub has_folders_of_users: bool,
    /// What lies in each part that no first start leaves there.
    pub contents: Vec<Contents>,
}

/// A store in whose folders another folder lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enclosing {
    /// The data folder of the store, or the part of it that was found.
    pub path: PathBuf,
    /// The marker that was found there.
    pub marker: PathBuf,
}

impl Look {
    /// Looks at what lies at that path.
    ///
    /// # Errors
    /// Where the folder, or a part of it, may not be read or is no folder.
    pub fn at(path: impl AsRef<Path>) -> Result<Self, FolderError> {
        let path = path.as_ref();
        let path = std::path::absolute(path).map_err(|source| io("find", path, source))?;
        let root = match Directory::at_path(&path) {
            Ok(root) => Some(root),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(opening(&path, errno)),
        };
        let mut parts = Vec::new();
        for part in Part::ALL {
            let found = marker::look(root.as_ref(), part)
                .map_err(|errno| opening(&path.join(part.below()), errno))?;
            parts.push((part, found));
        }
        let has_folders_of_users = marker::has_folders_of_users(root.as_ref())
            .map_err(|errno| opening(&path.join(paths::UPLOADS), errno))?;
        let contents = contents::of(root.as_ref());
        Ok(Self { path, root, parts, has_folders_of_users, contents })
    }

    /// The store that the folder lies in: one of the folders above it has a marker, or the
    /// folder itself is a part of a store. Links on the way are followed, and what does not
    /// exist yet is left out.
    ///
    /// # Errors
    /// Where a folder on the way cannot be found.
    pub fn enclosing_store(&self) -> Result<Option<Enclosing>, FolderError> {
        let mut path = self.path.as_path();
        let real = loop {
            match (path.canonicalize(), path.parent()) {
                (Ok(real), _) => break real,
                (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                    path = parent;
                }
                (Err(source), _) => return Err(io("find", path, source)),
            }
        };
        let is_here = path == self.path;
        let mut nearest = None;
        for (distance, folder) in real.ancestors().enumerate() {
            let Some(found) = marker::at(folder) else { continue };
            let is_data_folder = found.is_some_and(|marker| marker.part == Part::Root);
            // Its own catalog is missing, or its own marker cannot be read: both are other
            // faults, and neither says that it lies in another store.
            if is_here && distance == 0 && (is_data_folder || found.is_none()) {
                continue;
            }
            let marker = folder.join(paths::MARKER);
            let enclosing = Enclosing { path: folder.to_owned(), marker };
            if is_data_folder {
                return Ok(Some(enclosing));
            }
            nearest = nearest.or(Some(enclosing));
        }
        Ok(nearest)
    }

    /// Refuses where the system lets nothing be written into the folder, or into that of the
    /// catalog: a server could not start.
    ///
    /// # Errors
    /// With the folder, and what the system says.
    pub fn require_writable(&self) -> Result<(), FolderError> {
        for (part, found) in &self.parts {
            if matches!(part, Part::Root | Part::State) && *found != Found::Missing {
                let path = self.path.join(part.below());
                rustix::fs::access(&path, Access::WRITE_OK)
                    .map_err(|errno| io("write into", &path, errno.into()))?;
            }
        }
        Ok(())
    }

    /// Where the data folder lies, or would.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The catalog's file, or where it would lie.
    #[must_use]
    pub fn catalog_path(&self) -> PathBuf {
        paths::catalog(&self.path)
    }

    /// The name of the marker in each part.
    #[must_use]
    pub fn marker_name(&self) -> &'static str {
        paths::MARKER
    }

    /// Whether the folder of a user is there.
    #[must_use]
    pub fn has_folder_of(&self, user: UserId) -> bool {
        self.root.as_ref().is_some_and(|root| marker::has_folder_of(root, user))
    }
}

impl DataFolder {
    /// Opens the data folder. What is missing is made, and durable on return.
    ///
    /// # Errors
    /// Where that fails, with the path at fault.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FolderError> {
        let path = path.as_ref();
        let path = std::path::absolute(path).map_err(|source| io("find", path, source))?;
        make_with_ancestors(&path)?;
        let root = Directory::at_path(&path).map_err(|errno| opening(&path, errno))?;
        let uploads = make(&root, &path, paths::UPLOADS, SHARED)?;
        let staging = make(&uploads, &path.join(paths::UPLOADS), paths::STAGING, PRIVATE)?;
        make(&root, &path, paths::STATE, PRIVATE)?;
        make(&root, &path, paths::KEYS, PRIVATE)?;
        // Every time and not just when something was made: an earlier run may have
        // been killed in between, and what is there may still not be durable (P3).
        for directory in [&uploads, &root] {
            directory.sync().map_err(|errno| io("sync", &path, errno.into()))?;
        }
        let (uploads, staging) = (Arc::new(uploads), Arc::new(staging));
        Ok(Self(Arc::new(Opened { path, root, uploads, staging })))
    }

    /// Opens a data folder that is there. Nothing is made and nothing synced.
    ///
    /// # Errors
    /// [`FolderError::NotThere`] where it, or one of the folders in it, is not.
    pub fn find(path: impl AsRef<Path>) -> Result<Self, FolderError> {
        let path = path.as_ref();
        let path = std::path::absolute(path).map_err(|source| io("find", path, source))?;
        let there = |path: &Path, errno| match errno {
            Errno::NOENT => FolderError::NotThere { path: path.to_owned() },
            errno => opening(path, errno),
        };
        let root = Directory::at_path(&path).map_err(|errno| there(&path, errno))?;
        let open = |parent: &Directory, parent_path: &Path, name| {
            let path = parent_path.join(name);
            parent.folder(name).map_err(|errno| there(&path, errno))
        };
        let uploads = open(&root, &path, paths::UPLOADS)?;
        let staging = open(&uploads, &path.join(paths::UPLOADS), paths::STAGING)?;
        let (uploads, staging) = (Arc::new(uploads), Arc::new(staging));
        Ok(Self(Arc::new(Opened { path, root, uploads, staging })))
    }

    /// Takes the folder for this process alone, until the lock is dropped.
    ///
    /// # Errors
    /// [`FolderError::InUse`] where another process, or this one, has it.
    pub fn lock(&self) -> Result<FolderLock, FolderError> {
        let path = self.0.path.join(paths::LOCK);
        let flags = OFlags::RDWR | OFlags::CREATE;
        let file = (self.0.root)
            .file(paths::LOCK, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| io("open", &path, errno.into()))?;
        let file = File::from(file);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.in_use()),
            Err(TryLockError::Error(source)) => return Err(io("lock", &path, source)),
        }
        // A lock on a file that has lost its name keeps no other server out: the next one
        // makes a new file and locks that.
        let held = rustix::fs::fstat(&file).map_err(|errno| io("read", &path, errno.into()))?;
        match self.0.root.stat(paths::LOCK) {
            Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => {}
            _ => return Err(self.in_use()),
        }
        let state = self.lock_state()?;
        Ok(FolderLock { folder: self.clone(), file, state })
    }

    /// Locks the folder of the catalog as well: unlike a file it cannot be removed while
    /// the catalog is in it, so that a server that finds the lock file removed makes a new
    /// one and is refused all the same.
    fn lock_state(&self) -> Result<File, FolderError> {
        let path = self.0.path.join(paths::STATE);
        let opened = self.0.root.folder(paths::STATE);
        let state = File::from(opened.map_err(|errno| opening(&path, errno))?.into_fd());
        match state.try_lock() {
            Ok(()) => Ok(state),
            Err(TryLockError::WouldBlock) => Err(self.in_use()),
            Err(TryLockError::Error(source)) => Err(io("lock", &path, source)),
        }
    }

    /// Writes the marker of each part that has none, or another one. On return all of them
    /// survive a power cut.
    ///
    /// # Errors
    /// Where one cannot be written, with its path.
    pub fn mark(&self, store_id: StoreId) -> Result<(), FolderError> {
        for part in Part::ALL {
            let path = self.0.path.join(part.below());
            let marker = Marker { store_id, part };
            let write = |folder: &Directory| match Marker::read(folder)? {
                Some(Some(found)) if found == marker => Ok(()),
                _ => marker.write(folder),
            };
            let written = match part {
                Part::Root => write(&self.0.root),
                _ => self.0.root.folder(part.below()).and_then(|folder| write(&folder)),
            };
            written.map_err(|errno| io("write the marker in", &path, errno.into()))?;
        }
        Ok(())
    }

    /// How far the catalog had come when that was last [written](Self::write_history). The outer
    /// `Option` says whether there is a history file, the inner one whether it can be read.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn read_history(&self) -> Result<Option<Option<SeenHistory>>, FolderError> {
        let path = self.0.path.join(paths::HISTORY);
        SeenHistory::read(&self.0.root).map_err(|errno| io("read", &path, errno.into()))
    }

    /// Writes how far the catalog has come. On return it survives a power cut.
    ///
    /// # Errors
    /// Where it cannot be written, with its path.
    pub(crate) fn write_history(&self, seen: SeenHistory) -> Result<(), FolderError> {
        let path = self.0.path.join(paths::HISTORY);
        seen.write(&self.0.root).map_err(|errno| io("write", &path, errno.into()))
    }

    /// Where the data folder lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The catalog's file.
    #[must_use]
    pub fn catalog_path(&self) -> PathBuf {
        paths::catalog(&self.0.path)
    }

    /// The state file.
    #[must_use]
    pub fn state_file_path(&self) -> PathBuf {
        paths::state_file(&self.0.path)
    }

    /// The folder of the keys.
    #[must_use]
    pub fn keys_path(&self) -> PathBuf {
        self.0.path.join(paths::KEYS)
    }

    pub(super) fn uploads(&self) -> Arc<Directory> {
        Arc::clone(&self.0.uploads)
    }

    pub(super) fn staging(&self) -> Arc<Directory> {
        Arc::clone(&self.0.staging)
    }

    fn in_use(&self) -> FolderError {
        FolderError::InUse { folder: self.0.path.clone() }
    }
}

/// The data folder, taken for this process. A store that writes into it is made with this.
#[derive(Debug)]
pub struct FolderLock {
    folder: DataFolder,
    /// The lock is the open file's, and gone with it, however the process ends (P4).
    file: File,
    /// The folder of the catalog, locked too.
    state: File,
}

impl Drop for FolderLock {
    /// Lets go by word too: a process that another thread is just starting has a copy
    /// of the descriptor until its program begins, and would keep the lock as long.
    fn drop(&mut self) {
        // Where this fails, closing the file does it.
        let _ = self.file.unlock();
        let _ = self.state.unlock();
    }
}

impl FolderLock {
    /// Whether the lock file still has its name. Without it a second server locks another
    /// file of that name.
    #[must_use]
    pub fn has_its_name(&self) -> bool {
        let Ok(held) = rustix::fs::fstat(&self.file) else { return false };
        let named = self.folder.0.root.stat(paths::LOCK);
        named.is_ok_and(|named| (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino))
    }

    /// Where the lock file lies.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.0.path.join(paths::LOCK)
    }

    /// The folder that is locked.
    #[must_use]
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }
}

/// Makes the data folder itself and whatever is missing above it.
fn make_with_ancestors(path: &Path) -> Result<(), FolderError> {
    let make = || DirBuilder::new().mode(SHARED.as_raw_mode()).create(path);
    let mut made = make();
    if let Err(error) = &made
        && error.kind() == io::ErrorKind::NotFound
        && let Some(parent) = path.parent()
    {
        make_with_ancestors(parent)?;
        made = make();
    }
    let parent = path.parent().unwrap_or(path);
    let sync_parent = || Directory::at_path(parent)?.sync();
    match made {
        Ok(()) => sync_parent().map_err(|errno| io("sync", parent, errno.into())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // The folder was there, and this process may not be allowed to read it. Where an
            // earlier run made ours and was killed before its sync, we are.
            let _ = sync_parent();
            Ok(())
        }
        Err(source) => Err(io("make", path, source)),
    }
}

/// Makes, if it is missing, and opens one of the folders in the data folder.
fn make(
    parent: &Directory,
    parent_path: &Path,
    name: &str,
    mode: Mode,
) -> Result<Directory, FolderError> {
    let path = parent_path.join(name);
    parent.make_folder(name, mode).map_err(|errno| io("make", &path, errno.into()))?;
    parent.folder(name).map_err(|errno| opening(&path, errno))
}

fn opening(path: &Path, errno: Errno) -> FolderError {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
            FolderError::NotAFolder { path: path.to_owned() }
        }
        _ => io("open", path, errno.into()),
    }
}

fn io(what: &'static str, path: &Path, source: io::Error) -> FolderError {
    PathError::new(what, path, source).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    #[test]
    fn the_folder_is_made_with_everything_in_it_and_opened_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new/storage");
        let folder = DataFolder::open(&path).unwrap();
        DataFolder::open(&path).unwrap();
        assert_eq!(folder.path(), path);
        assert_eq!(folder.catalog_path(), path.join("state/catalog.db"));
        assert_eq!(folder.state_file_path(), path.join("state/uploads_state.json"));
        assert_eq!(folder.keys_path(), path.join("keys"));
        for (name, most) in
            [("uploads", 0o750), ("uploads/.staging", 0o700), ("state", 0o700), ("keys", 0o700)]
        {
            let mode = path.join(name).metadata().unwrap().mode();
            assert_eq!(mode & 0o777 & !most, 0, "{name}");
        }
    }

    #[test]
    fn a_folder_is_found_or_not_and_never_made() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("storage");
        let none = DataFolder::find(&path).unwrap_err();
        assert!(matches!(none, FolderError::NotThere { path: named } if named == path));
        assert!(!path.exists());
        std::fs::create_dir_all(path.join("uploads")).unwrap();
        let none = DataFolder::find(&path).unwrap_err();
        assert!(
            matches!(none, FolderError::NotThere { path: named } if named.ends_with(".staging"))
        );
        DataFolder::open(&path).unwrap();
        assert_eq!(DataFolder::find(&path).unwrap().path(), path);
    }

    #[test]
    fn one_server_at_a_time_and_the_second_is_told_which_folder() {
        let path = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(path.path()).unwrap();
        let lock = folder.lock().unwrap();
        let second = DataFolder::open(path.path()).unwrap();
        let refused = second.lock().unwrap_err();
        assert!(matches!(&refused, FolderError::InUse { folder } if folder == path.path()));
        assert!(refused.to_string().contains(&path.path().display().to_string()));
        let in_a_child = lock.file.try_clone().unwrap();
        drop(lock);
        second.lock().unwrap();
        drop(in_a_child);
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_refused() {
        let elsewhere = tempfile::tempdir().unwrap();
        for name in ["uploads", "state", "keys"] {
            let path = tempfile::tempdir().unwrap();
            symlink(elsewhere.path(), path.path().join(name)).unwrap();
            let refused = DataFolder::open(path.path()).unwrap_err();
            assert!(matches!(refused, FolderError::NotAFolder { path } if path.ends_with(name)));
        }
        assert_eq!(elsewhere.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_refused() {
        let path = tempfile::tempdir().unwrap();
        let elsewhere = path.path().join("elsewhere");
        symlink(&elsewhere, path.path().join(paths::LOCK)).unwrap();
        assert!(DataFolder::open(path.path()).unwrap().lock().is_err());
        assert!(!elsewhere.exists());
    }
}
