//! The folder that things land in, and the hidden folder in it, which has the store of the sitting.
//!
//! The hidden folder is on the same file system as what lands, so a file gets its name without being
//! copied. One process at a time has its lock, from before the store is opened until the folder is
//! removed, so no process removes what another one has begun to receive.

use crate::cli::error::CliError;
use crate::exit::Exit;
use crate::get::local_folder::LocalFolder;
use crate::system::in_words;
use crate::text::{shell_word, shown};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use towline_types::{Name, PermissionBits};

/// The hidden folder.
const HIDDEN: &str = ".towline-receive";

/// What the name of a hidden folder begins with that is being removed.
const ENDED: &str = ".towline-receive-ended-";

const NOT_OWNER: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Place {
    folder: LocalFolder,
    hidden: LocalFolder,
    /// Holds the lock.
    _lock: File,
}

impl Place {
    /// Opens the folder, and the hidden one in it, which is made where it is missing. Blocks.
    pub(super) fn open(typed: &Path) -> Result<Self, CliError> {
        let opened = typed.canonicalize().and_then(|path| LocalFolder::open(&path));
        let folder = opened.map_err(|error| {
            let message = format!(
                "{} cannot be opened: {}; nothing was begun",
                shown(typed),
                in_words(&error)
            );
            CliError::usage(message).advising("DIR is a folder that is there")
        })?;
        refuse_others(&folder)?;
        remove_ended(&folder);
        loop {
            let hidden = open_hidden(&folder)?;
            let lock = lock(&folder, &hidden)?;
            let place = Self { folder: folder.clone(), hidden, _lock: lock };
            // The process that had the lock before may have removed the folder since.
            if place.is_hidden_there() {
                return Ok(place);
            }
        }
    }

    /// The folder that things land in.
    pub(super) fn folder(&self) -> &LocalFolder {
        &self.folder
    }

    /// The hidden folder.
    pub(super) fn hidden(&self) -> &LocalFolder {
        &self.hidden
    }

    /// The data folder of the store.
    pub(super) fn store(&self) -> PathBuf {
        self.hidden.path().join("store")
    }

    /// To be called when the store is open, which was opened by its path: whether that path leads to
    /// these folders.
    ///
    /// # Errors
    /// Where another folder has taken the place of one of them.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let folder = LocalFolder::open(self.folder.path());
        let is_same = folder.is_ok_and(|folder| is_one(&folder, &self.folder));
        if is_same && self.is_hidden_there() {
            return Ok(());
        }
        let hidden = shown(self.hidden.path());
        Err(refused(format!("another folder has taken the place of {hidden}; nothing was begun")))
    }

    fn is_hidden_there(&self) -> bool {
        let there = name(HIDDEN).and_then(|name| self.folder.subfolder(&name));
        there.is_ok_and(|there| is_one(&there, &self.hidden))
    }

    /// The hidden folder loses its name, so that no other process finds it; nothing of it is needed
    /// any more. Blocks.
    pub(super) fn take_away(self) -> Result<Ended, CliError> {
        let Self { folder, hidden, _lock: lock } = self;
        let ended = format!("{ENDED}{:016x}", fastrand::u64(..));
        let path = folder.path().join(&ended);
        rustix::fs::renameat(folder.fd(), HIDDEN, folder.fd(), &ended)
            .map_err(|error| not_removed(hidden.path(), &error.into()))?;
        Ok(Ended { path, _lock: lock })
    }
}

/// A hidden folder that has lost its name, and its lock.
#[derive(Debug)]
pub(super) struct Ended {
    path: PathBuf,
    _lock: File,
}

impl Ended {
    /// Removes it. Blocks.
    pub(super) fn remove(self) -> Result<(), CliError> {
        std::fs::remove_dir_all(&self.path).map_err(|error| not_removed(&self.path, &error))
    }
}

fn refused(message: String) -> CliError {
    CliError::new(Exit::Refused, message)
}

fn not_removed(path: &Path, error: &io::Error) -> CliError {
    let message =
        format!("everything has landed; {} cannot be removed: {}", shown(path), in_words(error));
    refused(message).advising(&format!("remove it: rm -r {}", shell_word(path)))
}

fn name(text: &str) -> io::Result<Name> {
    Name::new(text).map_err(io::Error::other)
}

fn is_one(one: &LocalFolder, other: &LocalFolder) -> bool {
    let number = |stat: Stat| (stat.st_dev, stat.st_ino);
    matches!((one.about(), other.about()), (Ok(one), Ok(other)) if number(one) == number(other))
}

/// Users who may rename things in the folder could put another folder in the place of one that files
/// land in, or of the store.
fn refuse_others(folder: &LocalFolder) -> Result<(), CliError> {
    let path = folder.path();
    let about = folder.about().map_err(|error| cannot_look(path, &error))?;
    if ![0, own_user()].contains(&about.st_uid) {
        let message =
            format!("{} belongs to another user, who could rename what arrives", shown(path));
        return Err(refused(message).advising("nothing was begun; choose a folder of your own"));
    }
    let mode = about.st_mode;
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        let message =
            format!("other users of this machine may rename what arrives in {}", shown(path));
        let advice = format!("nothing was begun; to mend it: chmod go-w {}", shell_word(path));
        return Err(refused(message).advising(&advice));
    }
    Ok(())
}

fn cannot_look(path: &Path, error: &io::Error) -> CliError {
    let path = shown(path);
    refused(format!("{path} cannot be opened: {}; nothing was begun", in_words(error)))
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn open_hidden(folder: &LocalFolder) -> Result<LocalFolder, CliError> {
    let path = folder.path().join(HIDDEN);
    let private = PermissionBits::of_mode(0o700);
    let made = name(HIDDEN).and_then(|name| folder.make_subfolder(&name, Some(private)));
    let (hidden, _) = made.map_err(|error| {
        let message =
            format!("{} cannot be made: {}; nothing was begun", shown(&path), in_words(&error));
        refused(message)
    })?;
    // Another user could read and change what is in it.
    let about = hidden.about().map_err(|error| cannot_look(&path, &error))?;
    if about.st_uid != own_user() || about.st_mode & NOT_OWNER != 0 {
        let message = format!("{} is not a folder that is yours alone", shown(&path));
        return Err(refused(message).advising("nothing was begun; look at it and move it away"));
    }
    Ok(hidden)
}

fn lock(folder: &LocalFolder, hidden: &LocalFolder) -> Result<File, CliError> {
    let cannot = |errno: Errno| cannot_look(&hidden.path().join("lock"), &errno.into());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = rustix::fs::openat(hidden.fd(), "lock", flags, Mode::RUSR | Mode::WUSR);
    let file = File::from(opened.map_err(cannot)?);
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // The store has a lock of its own, which such a file system may know.
        Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            let path = shown(folder.path());
            let message = format!("another towline receive is at work in {path}");
            Err(refused(message)
                .advising("nothing was begun; choose another folder, or end that one"))
        }
        Err(error) => Err(cannot(error)),
    }
}

/// Removes what a kill has left of hidden folders that were being removed. What cannot be removed stays.
fn remove_ended(folder: &LocalFolder) {
    let Ok(entries) = std::fs::read_dir(folder.path()) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        if !name.as_bytes().starts_with(ENDED.as_bytes()) {
            continue;
        }
        let about = rustix::fs::statat(folder.fd(), &name, AtFlags::SYMLINK_NOFOLLOW);
        if about.is_ok_and(|about| about.st_uid == own_user()) && entry.path().is_dir() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
