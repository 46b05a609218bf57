//! The folder that files are fetched into, and the folders below it.
//!
//! Names come from a server and are not trusted (P7): each is checked, and each folder is opened
//! from the one around it, never through a symbolic link. So whatever a server says, nothing is
//! made outside the folder that the person chose.

#[cfg(feature = "serve")]
use super::held_path::held_path;
use crate::failure::NameTaken;
use crate::staging_name;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use towline_types::{LinkTarget, Name, PermissionBits};

/// A folder whose permissions are known is its owner's alone until they are set, after its files.
const UNTIL_SET: Mode = Mode::RWXU;

/// Any other folder gets what the umask leaves, as one that `mkdir` makes.
const BY_UMASK: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);

const OPEN_FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// An open folder.
#[derive(Debug, Clone)]
pub(crate) struct LocalFolder {
    fd: Arc<OwnedFd>,
    /// For messages only.
    path: PathBuf,
}

/// What is at a name of a folder.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found {
    Nothing,
    /// A regular file of that length in bytes.
    File(u64),
    Folder,
    Link,
    /// A device, a pipe and the like.
    Other,
}

impl Found {
    /// What has the name, in words for a person; nothing where the name is free.
    pub(super) fn taken(self) -> Option<NameTaken> {
        match self {
            Self::Nothing => None,
            Self::File(_) => Some(NameTaken::File),
            Self::Folder => Some(NameTaken::Folder),
            Self::Link => Some(NameTaken::Link),
            Self::Other => Some(NameTaken::Special),
        }
    }
}

impl LocalFolder {
    /// Opens the folder that the person named. Symbolic links on the way are theirs, and are
    /// followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OPEN_FOLDER.difference(OFlags::NOFOLLOW);
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { fd: Arc::new(fd), path: path.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry, for messages.
    pub(crate) fn path_of(&self, name: &Name) -> PathBuf {
        self.path.join(name.as_str())
    }

    /// Opens a folder in it; what is there and is none, a symbolic link to one too, is an error.
    pub(crate) fn subfolder(&self, name: &Name) -> io::Result<Self> {
        let fd = rustix::fs::openat(&self.fd, name.as_str(), OPEN_FOLDER, Mode::empty())?;
        Ok(Self { fd: Arc::new(fd), path: self.path_of(name) })
    }

    /// The same, and makes the folder where there is none. Returns also whether it was made.
    /// `later` are the permissions that it gets after its files, where they are known.
    pub(crate) fn make_subfolder(
        &self,
        name: &Name,
        later: Option<PermissionBits>,
    ) -> io::Result<(Self, bool)> {
        let mode = if later.is_some() { UNTIL_SET } else { BY_UMASK };
        let is_made = match rustix::fs::mkdirat(&self.fd, name.as_str(), mode) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        Ok((self.subfolder(name)?, is_made))
    }

    /// The folder at the end of these names, each made where it is missing.
    pub(crate) fn make_below(&self, names: &[Name]) -> io::Result<Self> {
        names.iter().try_fold(self.clone(), |folder, name| {
            folder.make_subfolder(name, None).map(|(folder, _)| folder)
        })
    }

    /// Sets the permission bits, whatever the umask.
    pub(crate) fn set_mode(&self, mode: PermissionBits) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode.bits()))?)
    }

    /// What is at that name; a symbolic link itself, not what it leads to.
    pub(crate) fn look(&self, name: &Name) -> io::Result<Found> {
        let stat = match rustix::fs::statat(&self.fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(error) => return Err(error.into()),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Found::File(length(&stat)),
            FileType::Directory => Found::Folder,
            FileType::Symlink => Found::Link,
            _ => Found::Other,
        })
    }

    /// Opens a file in it for reading, never through a symbolic link.
    pub(super) fn open_file(&self, name: &Name) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(rustix::fs::openat(&self.fd, name.as_str(), flags, Mode::empty())?.into())
    }

    /// Gives an open file a second name in it. What has the name already stays.
    ///
    /// # Errors
    /// `AlreadyExists` where something has the name. Any other error where the file system has no
    /// second names, or the file is on another one.
    #[cfg(feature = "serve")]
    pub(super) fn link_file(&self, file: &File, name: &Name) -> io::Result<()> {
        // The name of the open file itself: its other name may belong to another file by now.
        let old = held_path(file.as_fd()).ok_or(Errno::NOTSUP)?;
        Ok(rustix::fs::linkat(CWD, old, &self.fd, name.as_str(), AtFlags::SYMLINK_FOLLOW)?)
    }

    /// What the system says of it.
    #[cfg(feature = "serve")]
    pub(crate) fn about(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.fd)?)
    }

    /// Makes a symbolic link.
    pub(crate) fn make_link(&self, name: &Name, target: &LinkTarget) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target.as_str(), &self.fd, name.as_str())?)
    }

    /// Makes a symbolic link in the place of a file or link. It has the name at once, or not at all.
    pub(crate) fn replace_with_link(&self, name: &Name, target: &LinkTarget) -> io::Result<()> {
        let beside = format!("{}.link", staging_name::stem(name));
        // A run that was killed may have left it.
        let _ = rustix::fs::unlinkat(&self.fd, &beside, AtFlags::empty());
        rustix::fs::symlinkat(target.as_str(), &self.fd, &beside)?;
        let renamed = rustix::fs::renameat(&self.fd, &beside, &self.fd, name.as_str());
        if renamed.is_err() {
            let _ = rustix::fs::unlinkat(&self.fd, &beside, AtFlags::empty());
        }
        Ok(renamed?)
    }

    /// Where a symbolic link leads to, as it says.
    pub(crate) fn link_target(&self, name: &Name) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, name.as_str(), Vec::new())?.into_bytes())
    }

    /// Makes the names in it durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// Makes everything durable that was written to the file system that it lies on.
    pub(crate) fn sync_file_system(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&self.fd)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Whether a symbolic link may be made in a folder that is `depth` folders below the one that is
/// fetched into: its target stays inside that folder.
///
/// `..` is allowed only at the beginning. Behind a name it would lead to the parent of whatever
/// that name leads to, which may be another link.
pub(crate) fn stays_inside(target: &LinkTarget, depth: usize) -> bool {
    let target = target.as_str();
    if target.starts_with('/') {
        return false;
    }
    let parts = target.split('/').filter(|part| !matches!(*part, "" | "."));
    let mut ups = 0;
    let mut has_names = false;
    for part in parts {
        match part {
            ".." if has_names => return false,
            ".." => ups += 1,
            _ => has_names = true,
        }
    }
    ups <= depth
}

/// The folder for what the person named, without symbolic links of a server on the way: used
/// where a path of the command line may not exist yet.
pub(crate) fn make(path: &Path) -> io::Result<LocalFolder> {
    match rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => LocalFolder::open(path),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_link_of_the_tree_is_never_followed() {
        let home = tempfile::tempdir().unwrap();
        let (inside, outside) = (home.path().join("inside"), home.path().join("outside"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("way")).unwrap();
        let folder = LocalFolder::open(&inside).unwrap();
        assert!(folder.subfolder(&name("way")).is_err());
        assert!(folder.make_subfolder(&name("way"), None).is_err());
        assert!(folder.make_below(&[name("way"), name("x")]).is_err());
        let below = folder.make_below(&[name("a"), name("b")]).unwrap();
        assert_eq!(below.path(), inside.join("a/b"));
        assert!(inside.join("a/b").is_dir());
        assert!(std::fs::read_dir(&outside).unwrap().next().is_none());
        assert!(matches!(folder.look(&name("way")).unwrap(), Found::Link));
        assert!(matches!(folder.look(&name("a")).unwrap(), Found::Folder));
        assert!(matches!(folder.look(&name("z")).unwrap(), Found::Nothing));
    }

    #[test]
    fn targets_outside_the_tree_are_told_from_those_inside() {
        for (target, depth, inside) in [
            ("a", 0, true),
            ("a/b/../c", 3, false),
            ("./a//b", 0, true),
            ("..", 0, false),
            ("..", 1, true),
            ("../../x", 1, false),
            ("../../x", 2, true),
            ("/etc/passwd", 9, false),
            // Through a link `a` this could lead anywhere.
            ("a/..", 0, false),
        ] {
            let text = LinkTarget::new(target).unwrap();
            assert_eq!(stays_inside(&text, depth), inside, "{target} {depth}");
        }
    }
}
