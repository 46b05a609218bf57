//! A scan of a data folder, for a command that only looks: no lock is needed and nothing is
//! changed.
//!
//! A server may be at work beside it, so each answer is true for the moment only.

use super::directory::{Directory, is_folder, is_plain_file};
use super::error::{Loss, StorageError};
use super::file::drop_cached;
use super::folder::DataFolder;
use super::staging_folder::StagingFolder;
use super::user_folders::UserFolders;
use super::{Spot, StagedEntry, paths, spots};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use towline_state::catalog::FileStamp;
use towline_types::limits::FOLDER_DEPTH;
use towline_types::{DocumentId, DocumentPath, FileSize, Name, NodeId, UserId};

const WHAT: &str = "look through the data folder";

/// See the module's description.
#[derive(Debug)]
pub struct DataFolderScan {
    uploads: Arc<Directory>,
    user_folders: UserFolders,
    staging: StagingFolder,
}

/// Something that lies where documents do.
#[derive(Debug)]
pub struct FoundFile {
    /// Where, seen from the data folder.
    pub path: PathBuf,
    /// Whose file it would be; nothing where no document has such a path.
    pub place: Option<FoundPlace>,
    /// Why it could not be looked at, if so; it is then a folder.
    pub closed: Option<StorageError>,
}

/// Which file of which user has a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundPlace {
    /// The one that the user sees under that path.
    Document(UserId, DocumentPath),
    /// That version of a file, which was replaced.
    Version(UserId, DocumentId),
    /// What lies under these names below a removed node; no names for the node itself.
    Removed(UserId, NodeId, Vec<Name>),
    /// That document, in the quarantine.
    Quarantined(UserId, DocumentId),
}

impl FoundPlace {
    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> UserId {
        match self {
            Self::Document(user, _)
            | Self::Version(user, _)
            | Self::Removed(user, ..)
            | Self::Quarantined(user, _) => *user,
        }
    }
}

impl DataFolderScan {
    /// Looks at that folder.
    #[must_use]
    pub fn of(folder: &DataFolder) -> Self {
        let uploads = folder.uploads();
        Self {
            user_folders: UserFolders::new(Arc::clone(&uploads)),
            uploads,
            staging: StagingFolder::new(folder.staging()),
        }
    }

    /// Opens a published file and tells its size; nothing where there is none. It is
    /// read from the device: what is in memory cannot tell what the disk has kept.
    ///
    /// # Errors
    /// As [`Storage::published_size`](super::Storage::published_size).
    pub fn published(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<(File, FileSize)>, StorageError> {
        let found = self.user_folders.published(user, path)?;
        Ok(found.map(|(file, filesize, _)| {
            drop_cached(&file);
            (file, filesize)
        }))
    }

    /// What the published file is known by; nothing where there is none.
    ///
    /// # Errors
    /// As [`published`](Self::published).
    pub fn stamp(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<FileStamp>, StorageError> {
        Ok(self.user_folders.published(user, path)?.map(|(_, _, stamp)| stamp))
    }

    /// Opens the file that lies in a spot, or that many names below it, and tells its size; nothing
    /// where there is none. It is read from the device.
    ///
    /// # Errors
    /// As [`TreeStorage::open_spot`](super::TreeStorage::open_spot).
    pub fn spot(
        &self,
        user: UserId,
        spot: &Spot,
        below: &[Name],
    ) -> Result<Option<(File, FileSize)>, StorageError> {
        let found = spots::open(&self.user_folders, user, spot, below)?;
        Ok(found.map(|(file, filesize, _)| {
            drop_cached(&file);
            (file, filesize)
        }))
    }

    /// Where something lies in a spot, or that many names below it, or would, seen from the data
    /// folder.
    #[must_use]
    pub fn path_of_spot(&self, user: UserId, spot: &Spot, below: &[Name]) -> PathBuf {
        let found = spots::find(&self.user_folders, user, spot).ok().flatten();
        let location = found.map(|(location, _)| location);
        let location = location.unwrap_or_else(|| spots::location(user, spot, Path::new("")));
        let mut path = paths::in_data_folder(&location.path());
        path.extend(below.iter().map(Name::as_str));
        path
    }

    /// Opens the staging file of an upload, and tells its size; nothing where there is none.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where it is no plain file.
    pub fn staging(&self, id: DocumentId) -> Result<Option<(File, u64)>, StorageError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open = |name| self.staging.directory.file(name, flags, Mode::empty());
        let file = match open(paths::staging_file(id)) {
            Err(Errno::NOENT) => open(paths::whole_file(id)),
            answer => answer,
        };
        let file = match file {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => return Err(StorageError::Lost(Loss::NotAFile)),
            Err(errno) => return Err(StorageError::opening(WHAT, errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| StorageError::new(WHAT, errno))?;
        if !is_plain_file(&stat) {
            return Err(StorageError::Lost(Loss::NotAFile));
        }
        let file = File::from(file);
        drop_cached(&file);
        Ok(Some((file, u64::try_from(stat.st_size).unwrap_or(0))))
    }

    /// As [`LocalDisk::may_be_unmounted`](super::LocalDisk::may_be_unmounted).
    ///
    /// # Errors
    /// Where a folder on the way cannot be looked at.
    pub fn may_be_unmounted(
        &self,
        user: UserId,
        path: &DocumentPath,
        known: Option<FileStamp>,
    ) -> Result<bool, StorageError> {
        self.user_folders.may_be_unmounted(user, path, known)
    }

    /// Whether the damaged file of that document was set aside.
    #[must_use]
    pub fn was_set_aside(&self, id: DocumentId, user: UserId, path: &DocumentPath) -> bool {
        let aside = self.staging.directory.folder(paths::ORPHANS);
        let folder = self.uploads.folder(paths::final_folder(user, path));
        aside.is_ok_and(|aside| aside.stat(paths::damaged(id)).is_ok())
            || folder.is_ok_and(|folder| folder.stat(paths::damaged_in_final_folder(id)).is_ok())
    }

    /// The same for the file of an older version, or for a file in the trash.
    #[must_use]
    pub fn was_kept_set_aside(&self, id: DocumentId) -> bool {
        let aside = self.staging.directory.folder(paths::ORPHANS);
        aside.is_ok_and(|aside| aside.stat(paths::damaged(id)).is_ok())
    }

    /// Where the file of a document lies, or would, seen from the data folder.
    #[must_use]
    pub fn path_of(&self, user: UserId, path: &DocumentPath) -> PathBuf {
        paths::final_in_data_folder(user, path)
    }

    /// Where something among the staging files lies, or would.
    #[must_use]
    pub fn staged_path(&self, name: &OsStr) -> PathBuf {
        paths::staged_in_data_folder(name)
    }

    /// Where the bytes of an upload lie, or would.
    #[must_use]
    pub fn staging_path(&self, id: DocumentId) -> PathBuf {
        let (name, whole) = (paths::staging_file(id), paths::whole_file(id));
        let there = |name: &str| self.staging.directory.stat(name).is_ok();
        let name = if !there(&name) && there(&whole) { whole } else { name };
        self.staged_path(name.as_ref())
    }

    /// As [`LocalDisk::highest_user`](super::LocalDisk::highest_user).
    ///
    /// # Errors
    /// Where the listing fails.
    pub fn highest_user(&self) -> Result<Option<UserId>, StorageError> {
        self.user_folders.highest()
    }

    /// Whether something has that path still.
    #[must_use]
    pub fn is_there(&self, path: &Path) -> bool {
        let below = path.strip_prefix(paths::UPLOADS).unwrap_or(path);
        let (Some(folder), Some(name)) = (below.parent(), below.file_name()) else { return false };
        if folder.as_os_str().is_empty() {
            return self.uploads.stat(name).is_ok();
        }
        self.uploads.folder(folder).is_ok_and(|folder| folder.stat(name).is_ok())
    }

    /// Shows everything among the staging files, one by one, but for what was set aside.
    ///
    /// # Errors
    /// Those of `show`, and where the listing fails.
    pub fn each_staged<E: From<StorageError>>(
        &self,
        mut show: impl FnMut(StagedEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let io = |errno| StorageError::new("list the staging files", errno);
        for name in self.staging.directory.entries().map_err(io)? {
            let name = name.map_err(io)?;
            if paths::is_no_uploads(&name) {
                continue;
            }
            if let Some(staged) = self.staging.look_at(&name).map_err(io)? {
                show(staged)?;
            }
        }
        Ok(())
    }

    /// Shows, one by one, every file in the places of documents, also those that were removed or
    /// replaced, but none that was set aside; and every folder that cannot be listed or lies deeper
    /// than any document. Whatever the number of files, memory holds one name for each folder on
    /// the way.
    ///
    /// # Errors
    /// Those of `show`.
    pub fn each_file<E>(&self, mut show: impl FnMut(FoundFile) -> Result<(), E>) -> Result<(), E> {
        walk(&self.uploads, Path::new(""), &mut show)
    }
}

/// Shows what lies in one folder and below; `below` leads there from `uploads`.
fn walk<E>(
    folder: &Directory,
    below: &Path,
    show: &mut impl FnMut(FoundFile) -> Result<(), E>,
) -> Result<(), E> {
    let closed = |path: &Path, errno| {
        let closed = Some(StorageError::opening(WHAT, errno));
        FoundFile { path: Path::new(paths::UPLOADS).join(path), place: None, closed }
    };
    let names = match folder.entries() {
        Ok(names) => names,
        Err(errno) => return show(closed(below, errno)),
    };
    for name in names {
        let name = match name {
            Ok(name) => name,
            Err(errno) => return show(closed(below, errno)),
        };
        let is_on_top = below.as_os_str().is_empty();
        let path = below.join(&name);
        if let Some(kind) = paths::kept_in(&name, is_on_top) {
            walk_kept(folder, &path, Kept { kind, user: None, names: Vec::new() }, show)?;
            continue;
        }
        if is_on_top && paths::is_no_users(&name) || !is_on_top && paths::is_set_aside(&name) {
            continue;
        }
        let inner = match folder.stat(&name) {
            Ok(stat) if is_folder(&stat) && path.components().count() <= FOLDERS_MAX => {
                folder.folder(&name)
            }
            Ok(_) => {
                let place = paths::place(&path);
                let place = place.map(|(user, place)| FoundPlace::Document(user, place));
                show(FoundFile {
                    path: Path::new(paths::UPLOADS).join(path),
                    place,
                    closed: None,
                })?;
                continue;
            }
            Err(errno) => Err(errno),
        };
        match inner {
            Ok(inner) => walk(&inner, &path, show)?,
            // Gone since it was listed.
            Err(Errno::NOENT) => {}
            Err(errno) => show(closed(&path, errno))?,
        }
    }
    Ok(())
}

/// A folder of removed or replaced files, or a folder below it.
#[derive(Clone)]
struct Kept {
    kind: paths::KeptKind,
    /// The owner; `None` for the folder that has those of all users.
    user: Option<UserId>,
    /// The names below the folder of that user; `None` for a name that cannot belong to a document.
    names: Vec<Option<OsString>>,
}

impl Kept {
    fn below(&self, name: &OsStr) -> Self {
        let mut below = self.clone();
        match below.user {
            None if below.names.is_empty() => {
                below.user = paths::folder_owner(name);
                if below.user.is_none() {
                    below.names.push(None);
                }
            }
            _ => below.names.push(Some(name.to_owned())),
        }
        below
    }

    /// Which file that is.
    fn place(&self) -> Option<FoundPlace> {
        let user = self.user?;
        let (first, rest) = self.names.split_first()?;
        let first = first.as_ref()?;
        match self.kind {
            paths::KeptKind::Versions if rest.is_empty() => {
                Some(FoundPlace::Version(user, paths::number(first)?))
            }
            paths::KeptKind::Quarantine if rest.is_empty() => {
                Some(FoundPlace::Quarantined(user, paths::number(first)?))
            }
            paths::KeptKind::Versions | paths::KeptKind::Quarantine => None,
            paths::KeptKind::Trash => {
                let name = |name: &Option<OsString>| Name::recorded(name.as_ref()?.to_str()?).ok();
                let below = rest.iter().map(name).collect::<Option<_>>()?;
                Some(FoundPlace::Removed(user, paths::number(first)?, below))
            }
        }
    }
}

/// Shows the files in a folder of what was removed or replaced, and below; `path` leads there from
/// `uploads`, and its last name from `above`.
fn walk_kept<E>(
    above: &Directory,
    path: &Path,
    here: Kept,
    show: &mut impl FnMut(FoundFile) -> Result<(), E>,
) -> Result<(), E> {
    let found =
        |place, closed| FoundFile { path: Path::new(paths::UPLOADS).join(path), place, closed };
    let closed = |errno| found(None, Some(StorageError::opening(WHAT, errno)));
    let name = path.file_name().unwrap_or_default();
    let folder = match above.stat(name) {
        Ok(stat) if is_folder(&stat) && here.names.len() <= FOLDERS_MAX => above.folder(name),
        Ok(_) => return show(found(here.place(), None)),
        Err(errno) => Err(errno),
    };
    let folder = match folder {
        Ok(folder) => folder,
        // Gone since it was listed.
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return show(closed(errno)),
    };
    let names = match folder.entries() {
        Ok(names) => names,
        Err(errno) => return show(closed(errno)),
    };
    for name in names {
        let name = match name {
            Ok(name) => name,
            Err(errno) => return show(closed(errno)),
        };
        if !paths::is_set_aside(&name) {
            walk_kept(&folder, &path.join(&name), here.below(&name), show)?;
        }
    }
    Ok(())
}

/// The most folders on a path: the user's own folder, those around a document, and a folder that
/// has the place of a document.
const FOLDERS_MAX: usize = 1 + FOLDER_DEPTH + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn found_in(scan: &DataFolderScan) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        let shown: Result<(), StorageError> = scan.each_file(|file| {
            found.push((file.path.display().to_string(), file.place.is_some()));
            Ok(())
        });
        shown.unwrap();
        found.sort();
        found
    }

    #[test]
    fn everything_that_lies_there_is_shown_once_and_no_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(temp.path()).unwrap();
        let scan = DataFolderScan::of(&folder);
        assert_eq!(found_in(&scan), []);
        let uploads = temp.path().join("uploads");
        let deepest = "a/".repeat(FOLDER_DEPTH);
        for file in [
            "7/b/doc",
            "7/doc",
            "7/.git/.config",
            "7/.staging/1.tmp",
            "7/.trash/7/1",
            "x/doc",
            "stray",
            "lost+found/1",
            ".staging/1.tmp",
            ".trash/7/3/doc",
            ".trash/7/4",
            ".trash/note",
            ".trash/x/1",
            ".versions/7/1",
            ".versions/7/01",
            ".versions/7/2/doc",
            "7/disk/ towline-trash/7/5",
            "7/disk/ towline-versions/7/2",
        ] {
            std::fs::create_dir_all(uploads.join(file).parent().unwrap()).unwrap();
            std::fs::write(uploads.join(file), "").unwrap();
        }
        std::fs::create_dir_all(uploads.join(format!("8/{deepest}b/c/d"))).unwrap();
        std::fs::write(uploads.join(format!("8/{deepest}doc")), "").unwrap();
        symlink("/etc", uploads.join("7/link")).unwrap();
        let mut expected = vec![
            ("uploads/7/b/doc".to_owned(), true),
            ("uploads/7/doc".to_owned(), true),
            ("uploads/7/.git/.config".to_owned(), true),
            ("uploads/7/.staging/1.tmp".to_owned(), true),
            ("uploads/7/.trash/7/1".to_owned(), true),
            ("uploads/7/link".to_owned(), true),
            (format!("uploads/8/{deepest}b/c"), false),
            (format!("uploads/8/{deepest}doc"), true),
            ("uploads/stray".to_owned(), false),
            ("uploads/x/doc".to_owned(), false),
            ("uploads/.trash/7/3/doc".to_owned(), true),
            ("uploads/.trash/7/4".to_owned(), true),
            ("uploads/.trash/note".to_owned(), false),
            ("uploads/.trash/x/1".to_owned(), false),
            ("uploads/.versions/7/1".to_owned(), true),
            ("uploads/.versions/7/01".to_owned(), false),
            ("uploads/.versions/7/2/doc".to_owned(), false),
            ("uploads/7/disk/ towline-trash/7/5".to_owned(), true),
            ("uploads/7/disk/ towline-versions/7/2".to_owned(), true),
        ];
        expected.sort();
        assert_eq!(found_in(&scan), expected);
        for (path, _) in expected {
            assert!(scan.is_there(Path::new(&path)), "{path}");
            assert!(!scan.is_there(Path::new(&format!("{path}x"))), "{path}");
        }
    }
}
