//! A sitting of which nothing is needed any more: its hidden folder is marked, loses its name, and is
//! removed.
//!
//! The mark is what allows a removal, now or by a later start. It is written, and synced, after everything
//! in the store has its name in the folder of the person, durably (P3); no folder with anything in it is
//! removed without it, whatever it is called. It goes last, so that a removal that a kill has cut off is finished by the next
//! start (P4).

use crate::get::local_folder::LocalFolder;
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// What the name of a hidden folder begins with that is being removed.
const NAME: &str = ".towline-receive-ended-";

/// The name of the mark in it.
const MARK: &str = "all-landed";

/// What the mark says.
const TEXT: &[u8] = b"Everything in this folder has landed. It may be removed.\n";

const NOT_OWNER: u32 = 0o077;

const OPEN_FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// A hidden folder that has lost its name.
#[derive(Debug)]
pub(super) struct Ended {
    folder: LocalFolder,
    hidden: LocalFolder,
    name: String,
    /// Held until it is gone: no process finds it unlocked in between.
    _lock: File,
}

/// Marks the hidden folder. To be called when everything in its store has landed durably, and nothing in
/// it is unfinished. Blocks.
pub(super) fn mark(hidden: &LocalFolder) -> io::Result<()> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut mark = File::from(rustix::fs::openat(hidden.fd(), MARK, flags, mode)?);
    mark.write_all(TEXT)?;
    mark.sync_all()?;
    hidden.sync()
}

/// Whether the open folder is marked. Blocks.
pub(super) fn is_marked(hidden: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mark = match rustix::fs::openat(hidden, MARK, flags, Mode::empty()) {
        Ok(mark) => File::from(mark),
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    };
    let mut text = Vec::new();
    mark.take(TEXT.len() as u64 + 1).read_to_end(&mut text)?;
    Ok(text == TEXT)
}

impl Ended {
    /// The marked folder loses its name, so that no process takes it for one of a sitting. Both are held
    /// open: another folder that has the path of one of them by now is left alone. Blocks.
    pub(super) fn rename(
        folder: LocalFolder,
        hidden: LocalFolder,
        from: &str,
        lock: File,
    ) -> io::Result<Self> {
        let name = format!("{NAME}{:016x}", fastrand::u64(..));
        rustix::fs::renameat(folder.fd(), from, folder.fd(), &name)?;
        let renamed = rustix::fs::statat(folder.fd(), &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let held = hidden.about()?;
        if (renamed.st_dev, renamed.st_ino) != (held.st_dev, held.st_ino) {
            rustix::fs::renameat(folder.fd(), &name, folder.fd(), from)?;
            return Err(io::Error::other("another folder has its name"));
        }
        Ok(Self { folder, hidden, name, _lock: lock })
    }

    /// Where it is.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// Removes it. Blocks.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(self.folder.fd(), self.name.as_ref(), self.hidden.fd())
    }
}

/// Removes what a kill has left of folders that were being removed: those that belong to the user, who
/// alone can have changed them, and that are marked or empty. Returns the paths of the others. Blocks.
pub(super) fn remove_left(folder: &LocalFolder, user: u32) -> Vec<PathBuf> {
    let Ok(names) = names_in(folder.fd()) else { return Vec::new() };
    let mut others = Vec::new();
    for name in names.filter_map(Result::ok) {
        if !name.as_bytes().starts_with(NAME.as_bytes()) {
            continue;
        }
        let Ok(left) = rustix::fs::openat(folder.fd(), &name, OPEN_FOLDER, Mode::empty()) else {
            continue;
        };
        let is_own = rustix::fs::fstat(&left)
            .is_ok_and(|about| about.st_uid == user && about.st_mode & NOT_OWNER == 0);
        if !is_own {
            continue;
        }
        let fd = rustix::fd::AsFd::as_fd(&left);
        // What cannot be removed is tried again by the next start.
        if is_marked(fd).unwrap_or(false) {
            drop(remove(folder.fd(), &name, fd));
        } else if is_empty(fd) {
            // The mark was the last thing in it: a kill came then, or another process is about to remove
            // the folder.
            let _ = unlink(folder.fd(), &name, AtFlags::REMOVEDIR);
        } else {
            others.push(folder.path().join(&name));
        }
    }
    others
}

/// Whether nothing is in the open folder, or it was removed.
fn is_empty(folder: BorrowedFd<'_>) -> bool {
    match names_in(folder) {
        Ok(mut names) => names.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

fn remove(around: BorrowedFd<'_>, name: &OsStr, marked: BorrowedFd<'_>) -> io::Result<()> {
    empty(marked, Some(MARK))?;
    unlink(marked, MARK.as_ref(), AtFlags::empty())?;
    // This removes no more than an empty folder, should another one have the name by now.
    Ok(unlink(around, name, AtFlags::REMOVEDIR)?)
}

/// Removes everything in an open folder but the entry of that name. No link is followed. What is gone
/// already, because two processes remove the same folder, is as good as removed.
fn empty(folder: BorrowedFd<'_>, but: Option<&str>) -> io::Result<()> {
    let names = match names_in(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        names => names?.collect::<Result<Vec<_>, _>>()?,
    };
    for name in names.iter().filter(|name| but.is_none_or(|but| *name != but)) {
        let about = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            about => about?,
        };
        if FileType::from_raw_mode(about.st_mode) == FileType::Directory {
            let inner = match rustix::fs::openat(folder, name, OPEN_FOLDER, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                inner => inner?,
            };
            empty(rustix::fd::AsFd::as_fd(&inner), None)?;
            unlink(folder, name, AtFlags::REMOVEDIR)?;
        } else {
            unlink(folder, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

fn unlink(folder: BorrowedFd<'_>, name: &OsStr, flags: AtFlags) -> Result<(), Errno> {
    match rustix::fs::unlinkat(folder, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

fn names_in(folder: BorrowedFd<'_>) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
    let entries = Dir::read_from(folder)?.map(|entry| {
        let entry = entry?;
        Ok(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned())
    });
    Ok(entries.filter(|name| !name.as_ref().is_ok_and(|name| name == "." || name == "..")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt as _, symlink};
    use std::path::Path;

    fn user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn private(path: &Path) -> LocalFolder {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
        LocalFolder::open(path).unwrap()
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = path.read_dir().unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_is_marked_is_removed_and_no_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let (dir, outside) = (home.path().join("dir"), home.path().join("outside"));
        let (folder, _) = (private(&dir), private(&outside));
        std::fs::write(outside.join("a"), "a").unwrap();
        let [marked, other, unfinished] =
            ["1", "2", "3"].map(|end| dir.join(format!("{NAME}{end}")));
        let hidden = private(&marked);
        std::fs::create_dir_all(marked.join("store/b")).unwrap();
        std::fs::write(marked.join("store/b/c"), "c").unwrap();
        symlink(&outside, marked.join("store/out")).unwrap();
        mark(&hidden).unwrap();
        private(&other);
        std::fs::create_dir(other.join("store")).unwrap();
        // A mark that is a link to one is none.
        private(&unfinished);
        symlink(marked.join(MARK), unfinished.join(MARK)).unwrap();
        symlink(&marked, dir.join(format!("{NAME}4"))).unwrap();
        let mut left = remove_left(&folder, user());
        left.sort();
        assert_eq!(left, [other, unfinished]);
        assert_eq!(names(&dir), ["2", "3", "4"].map(|end| format!("{NAME}{end}")));
        assert_eq!(names(&outside), ["a"]);
        assert!(remove_left(&folder, user() + 1).is_empty(), "of another user");
    }

    /// A sitting that ends, and another one that starts in the same folder.
    #[test]
    fn two_that_remove_the_same_folder_are_both_done() {
        let home = tempfile::tempdir().unwrap();
        let folder = private(home.path());
        let name = format!("{NAME}1");
        let path = home.path().join(&name);
        let hidden = private(&path);
        for number in 0..200 {
            std::fs::create_dir_all(path.join(format!("store/{number}/inner"))).unwrap();
            std::fs::write(path.join(format!("store/{number}/inner/a")), "a").unwrap();
        }
        mark(&hidden).unwrap();
        let begin = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    begin.wait();
                    remove(folder.fd(), name.as_ref(), hidden.fd()).unwrap();
                });
            }
            begin.wait();
            assert!(remove_left(&folder, user()).is_empty());
        });
        assert!(names(home.path()).is_empty());
    }

    #[test]
    fn an_empty_folder_needs_no_mark() {
        let home = tempfile::tempdir().unwrap();
        let folder = private(home.path());
        private(&home.path().join(format!("{NAME}1")));
        assert!(remove_left(&folder, user()).is_empty());
        assert!(names(home.path()).is_empty());
    }

    #[test]
    fn the_folder_that_is_held_is_removed_whatever_has_its_name() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("dir");
        let folder = private(&dir);
        let hidden = private(&dir.join("hidden"));
        std::fs::write(dir.join("hidden/a"), "a").unwrap();
        let lock = File::create(dir.join("hidden/lock")).unwrap();
        mark(&hidden).unwrap();
        assert!(is_marked(hidden.fd()).unwrap());
        std::fs::rename(&dir, home.path().join("moved")).unwrap();
        private(&dir.join("hidden"));
        std::fs::write(dir.join("hidden/mine"), "mine").unwrap();
        let ended = Ended::rename(folder, hidden, "hidden", lock).unwrap();
        ended.remove().unwrap();
        assert!(names(&home.path().join("moved")).is_empty());
        assert_eq!(names(&dir.join("hidden")), ["mine"]);
    }
}
