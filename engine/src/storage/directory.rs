//! A folder held open. Everything in the data folder is reached from one of these,
//! never from the root: a link planted on the way leads nowhere, and a folder
//! that is moved while we work in it stays the folder we meant.

use crate::failpoint;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};
use towline_state::catalog::FileStamp;

const OPEN_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The kernel (before 5.6) or a sandbox has no `openat2`. Found out once.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// A folder held open.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl Directory {
    /// Opens the folder at a path that the administrator chose. Links on the way to
    /// it are the administrator's own.
    pub(super) fn at_path(path: &Path) -> Result<Self, Errno> {
        retry_on_intr(|| rustix::fs::openat(CWD, path, OPEN_FOLDER, Mode::empty())).map(Self)
    }

    /// Whether the folder has lost its name: it was removed after it was opened. Nothing can
    /// be made in it any more.
    pub(super) fn was_removed(&self) -> bool {
        rustix::fs::fstat(self).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Opens a folder below this one. `ELOOP` where a link is on the way.
    pub(super) fn folder(&self, below: impl AsRef<Path>) -> Result<Self, Errno> {
        self.file(below, OPEN_FOLDER, Mode::empty()).map(Self)
    }

    /// Opens a file below this folder. `ELOOP` where a link is on the way.
    pub(super) fn file(
        &self,
        below: impl AsRef<Path>,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        let below = below.as_ref();
        let flags = flags | OFlags::CLOEXEC;
        if !NO_OPENAT2.load(Ordering::Relaxed) {
            let beneath =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            // No NOFOLLOW: with it, a link in the last place would be ENOTDIR, not ELOOP.
            let open = || rustix::fs::openat2(self, below, flags, mode, beneath);
            match retry_on_intr(open) {
                Err(Errno::NOSYS) => NO_OPENAT2.store(true, Ordering::Relaxed),
                // Old sandboxes refuse a system call that they do not know with EPERM,
                // but so may a file system: the steps will tell which it was.
                Err(Errno::PERM) => {}
                answer => return answer,
            }
        }
        self.file_by_steps(below, flags, mode)
    }

    /// What `openat2` does, one name after the other. As safe, because no name is
    /// `..` and no link is followed; only slower.
    fn file_by_steps(&self, below: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let mut names = below.components().map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(Errno::XDEV),
        });
        let mut name = names.next().ok_or(Errno::NOENT)??;
        let mut reached: Option<OwnedFd> = None;
        for next in names {
            let folder = open_step(from(&reached, self), name, OPEN_FOLDER, Mode::empty())?;
            reached = Some(folder);
            name = next?;
        }
        open_step(from(&reached, self), name, flags, mode)
    }

    /// Makes a folder in this one; says whether it was missing. Its name is durable
    /// only after [`sync`](Self::sync).
    pub(super) fn make_folder(&self, name: impl AsRef<Path>, mode: Mode) -> Result<bool, Errno> {
        match rustix::fs::mkdirat(self, name.as_ref(), mode) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// What has that name here; of a link, the link itself.
    pub(super) fn stat(&self, name: impl AsRef<Path>) -> Result<Stat, Errno> {
        rustix::fs::statat(self, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Removes a file's name from this folder.
    pub(super) fn remove(&self, name: impl AsRef<Path>) -> Result<(), Errno> {
        rustix::fs::unlinkat(self, name.as_ref(), AtFlags::empty())
    }

    /// Removes an empty folder that lies in this one.
    pub(super) fn remove_empty_folder(&self, name: impl AsRef<Path>) -> Result<(), Errno> {
        rustix::fs::unlinkat(self, name.as_ref(), AtFlags::REMOVEDIR)
    }

    /// Every name in this folder.
    pub(super) fn names(&self) -> Result<Vec<OsString>, Errno> {
        self.entries()?.collect()
    }

    /// The same one by one, for a folder of any size.
    pub(super) fn entries(&self) -> Result<impl Iterator<Item = Result<OsString, Errno>>, Errno> {
        let names = Dir::read_from(self)?.map(|entry| {
            let entry = entry?;
            Ok(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned())
        });
        Ok(names.filter(|name| !name.as_ref().is_ok_and(|name| name == "." || name == "..")))
    }

    /// Makes the names in this folder durable. Some file systems cannot and say so;
    /// no promise can then be kept there, so that is a failure like any other (P5).
    pub(super) fn sync(&self) -> Result<(), Errno> {
        if failpoint::is_faked("sync.folder") {
            return Ok(());
        }
        #[cfg(test)]
        sync_log::add(self)?;
        rustix::fs::fsync(self)
    }
}

impl Directory {
    /// The descriptor alone.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether that is a plain file.
pub(super) fn is_plain_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// What the file is known by, where it lies on the file system of all users' folders.
pub(super) fn stamp(stat: &Stat) -> FileStamp {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let modified_ns = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
    FileStamp { inode: stat.st_ino, modified_ns, mount_depth: None }
}

/// On which mount that is. Where the kernel (before 5.8) does not say, on which device. A
/// folder that is shown a second time by a bind mount is on the same device, and is as empty
/// as any where it is not mounted.
pub(super) fn mount(held: impl AsFd) -> Result<u64, Errno> {
    let flags = AtFlags::EMPTY_PATH;
    match rustix::fs::statx(&held, "", flags, StatxFlags::MNT_ID) {
        Ok(found) if found.stx_mask & StatxFlags::MNT_ID.bits() != 0 => Ok(found.stx_mnt_id),
        _ => Ok(rustix::fs::fstat(&held)?.st_dev),
    }
}

/// Whether that is a folder.
pub(super) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn from<'a>(reached: &'a Option<OwnedFd>, start: &'a Directory) -> BorrowedFd<'a> {
    reached.as_ref().map_or_else(|| start.as_fd(), AsFd::as_fd)
}

fn open_step(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let open = || rustix::fs::openat(folder, name, flags | OFlags::NOFOLLOW, mode);
    let answer = retry_on_intr(open);
    // With O_DIRECTORY the kernel says ENOTDIR of a link that it does not follow.
    if let Err(Errno::NOTDIR) = answer
        && let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        && FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
    {
        return Err(Errno::LOOP);
    }
    answer
}

/// Which folders a test has had synced, for what only a power cut would tell otherwise.
#[cfg(test)]
pub(super) mod sync_log {
    use super::Directory;
    use rustix::io::Errno;
    use std::cell::RefCell;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    thread_local! {
        static SYNCED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn add(directory: &Directory) -> Result<(), Errno> {
        let inode = rustix::fs::fstat(directory)?.st_ino;
        SYNCED.with_borrow_mut(|synced| synced.push(inode));
        Ok(())
    }

    /// Which of these folders were synced by this thread since the last call, in the order of
    /// their syncs.
    pub(in crate::storage) fn take<'a>(folders: &[(&'a str, &Path)]) -> Vec<&'a str> {
        let inodes: Vec<_> =
            folders.iter().map(|(name, path)| (*name, path.metadata().unwrap().ino())).collect();
        let named = |inode| inodes.iter().find(|(_, other)| *other == inode).map(|(name, _)| *name);
        SYNCED.with_borrow_mut(|synced| synced.drain(..).filter_map(named).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    type Open = fn(&Directory, &Path, OFlags) -> Result<OwnedFd, Errno>;
    const WAYS: [Open; 2] = [
        |directory, path, flags| directory.file(path, flags, Mode::empty()),
        |directory, path, flags| directory.file_by_steps(path, flags, Mode::empty()),
    ];

    #[test]
    fn both_ways_to_open_answer_alike() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("b")).unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(data.path().join("a/b")).unwrap();
        std::fs::write(data.path().join("a/b/file"), "f").unwrap();
        symlink(outside.path(), data.path().join("out")).unwrap();
        symlink("a", data.path().join("in")).unwrap();
        symlink("file", data.path().join("a/b/link")).unwrap();
        let directory = Directory::at_path(data.path()).unwrap();

        for open in WAYS {
            let open = |path: &str, flags| open(&directory, Path::new(path), flags).map(drop);
            assert_eq!(open("a/b/file", OFlags::RDONLY), Ok(()));
            assert_eq!(open("a/b", OPEN_FOLDER), Ok(()));
            assert_eq!(open("a/b/none", OFlags::RDONLY), Err(Errno::NOENT));
            assert_eq!(open("a/none/file", OFlags::RDONLY), Err(Errno::NOENT));
            assert_eq!(open("a/b/file/x", OFlags::RDONLY), Err(Errno::NOTDIR));
            assert_eq!(open("a/b/file", OPEN_FOLDER), Err(Errno::NOTDIR));
            assert_eq!(open("out/secret", OFlags::RDONLY), Err(Errno::LOOP));
            assert_eq!(open("out/b", OPEN_FOLDER), Err(Errno::LOOP));
            assert_eq!(open("out", OPEN_FOLDER), Err(Errno::LOOP));
            assert_eq!(open("in/b/file", OFlags::RDONLY), Err(Errno::LOOP));
            assert_eq!(open("a/b/link", OFlags::RDONLY), Err(Errno::LOOP));
            assert_eq!(open("../x", OFlags::RDONLY), Err(Errno::XDEV));
            assert_eq!(open("/etc/passwd", OFlags::RDONLY), Err(Errno::XDEV));
        }
    }
}
