//! The folder that things land in, and the hidden folder in it, which has the store of the sitting.
//!
//! The hidden folder is on the same file system as what lands, so a file gets its name without being
//! copied. One process at a time has its lock, from before the store is opened until the folder is
//! removed, so no process removes what another one has begun to receive.
//!
//! Both are held open from the beginning, and everything is done from there: things land, the store is
//! opened, and the hidden folder is removed by descriptor. So a folder that is moved while we work in it
//! stays the folder that was meant (P7). What still goes by a path, in messages and in the database, is
//! right only as long as the paths lead to what is held: see [`Place::check`].

use super::ended::{self, Ended};
use super::rights::{Unsafe, refuse_others};
use crate::cli::error::CliError;
use crate::cli::output::say;
use crate::exit::Exit;
use crate::get::held_path::{held_path, name_now};
use crate::get::local_folder::LocalFolder;
use crate::system::in_words;
use crate::text::{shell_word, shown};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use towline_types::{Name, PermissionBits};

/// The hidden folder.
const HIDDEN: &str = ".towline-receive";

/// The lock in it.
const LOCK: &str = "lock";

/// The data folder of the store in it.
const STORE: &str = "store";

const NOT_OWNER: u32 = 0o077;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Place {
    folder: LocalFolder,
    hidden: LocalFolder,
    /// Device and inode of the store, once it is open.
    store: Option<(u64, u64)>,
    lock: File,
}

/// What was found in the place of the folders that are held.
enum Found {
    AsBefore,
    /// Not the folder of the person, or not the hidden one.
    Moved,
    /// The hidden folder, and in it not the store that was opened.
    OtherStore,
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
        let user = rustix::process::geteuid().as_raw();
        refuse_others(&folder, user).map_err(|Unsafe { message, advice }| {
            refused(message).advising(&format!("nothing was begun; {advice}"))
        })?;
        for left in ended::remove_left(&folder, user) {
            say(&format!(
                "{} has no mark that everything in it has landed, so it stays; look at it and remove it",
                shown(&left)
            ));
        }
        loop {
            let hidden = open_hidden(&folder, user)?;
            let lock = lock(&folder, &hidden)?;
            let place = Self { folder: folder.clone(), hidden, store: None, lock };
            // The process that had the lock before may have removed the folder since, or the lock.
            if !place.is_hidden_there() || !place.has_its_lock() {
                continue;
            }
            let is_ended = ended::is_marked(place.hidden.fd());
            if !is_ended.map_err(|error| cannot_look(place.hidden.path(), &error))? {
                return Ok(place);
            }
            // A kill came before it lost its name. A sitting that went on with it would receive things
            // that the mark says have landed.
            place.rename()?.remove()?;
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

    /// The data folder of the store, from the hidden folder that is held: by a path that leads there
    /// whatever has become of the path that was typed. Where the system has no such paths, by the typed
    /// one. Good as long as the hidden folder is held.
    pub(super) fn store(&self) -> PathBuf {
        let hidden = held_path(self.hidden.fd());
        hidden.unwrap_or_else(|| self.hidden.path().to_owned()).join(STORE)
    }

    /// A text about the store, with the path that a person knows.
    pub(super) fn in_persons_words(&self, text: &str) -> String {
        match held_path(self.hidden.fd()) {
            Some(held) => text.replace(&*held.to_string_lossy(), &shell_word(self.hidden.path())),
            None => text.to_owned(),
        }
    }

    /// What has become of the folders that are held: whether the paths lead to them.
    ///
    /// # Errors
    /// Where the system does not say. That is no answer (P5).
    fn look(&self) -> io::Result<Found> {
        let here = match rustix::fs::stat(self.folder.path()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Found::Moved),
            here => here?,
        };
        let hidden = in_folder(&self.folder, HIDDEN)?;
        if number(&here) != number(&self.folder.about()?)
            || hidden != Some(number(&self.hidden.about()?))
        {
            return Ok(Found::Moved);
        }
        match self.store {
            Some(store) if in_folder(&self.hidden, STORE)? != Some(store) => Ok(Found::OtherStore),
            _ => Ok(Found::AsBefore),
        }
    }

    /// To be called when the store is open for the first time, part of which was opened by its path.
    ///
    /// # Errors
    /// Where another folder has taken the place of one of them.
    pub(super) fn check_at_begin(&mut self) -> Result<(), CliError> {
        self.store = in_folder(&self.hidden, STORE).ok().flatten();
        if let (Ok(Found::AsBefore), Some(_)) = (self.look(), self.store) {
            return Ok(());
        }
        let hidden = shown(self.hidden.path());
        Err(refused(format!("another folder has taken the place of {hidden}; nothing was begun")))
    }

    /// To be called before and after everything that a path decides.
    ///
    /// # Errors
    /// Where one of the folders was moved or removed, or others could do that by now, or the system does
    /// not say.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let is_kept = self.goes_on("what has arrived is kept");
        let user = rustix::process::geteuid().as_raw();
        refuse_others(&self.folder, user).map_err(|Unsafe { message, advice }| {
            refused(message).advising(&format!("{advice}; {is_kept}"))
        })?;
        match self.look() {
            Ok(found) => self.judge(&found),
            Err(error) => {
                let path = shown(self.folder.path());
                let message = format!("{path} cannot be looked at: {}", in_words(&error));
                Err(refused(message).advising(&is_kept))
            }
        }
    }

    /// A look while the server serves: one that fails is repeated.
    pub(super) fn check_meanwhile(&self) -> Result<(), CliError> {
        self.look().map_or(Ok(()), |found| self.judge(&found))
    }

    fn judge(&self, found: &Found) -> Result<(), CliError> {
        match found {
            Found::AsBefore => Ok(()),
            Found::Moved => Err(self.was_moved()),
            Found::OtherStore => Err(self.has_other_store()),
        }
    }

    /// The store is not the one that was served.
    pub(super) fn has_other_store(&self) -> CliError {
        let hidden = shown(self.hidden.path());
        let message = format!(
            "the store in {hidden} was moved during the sitting, or another one has been put there"
        );
        refused(message).advising("nothing was removed; put back the one of before")
    }

    /// The advice where the hidden folder stays.
    pub(super) fn goes_on(&self, what: &str) -> String {
        let (hidden, folder) = (shown(self.hidden.path()), shell_word(self.folder.path()));
        format!("{what} in {hidden}. To go on: towline receive {folder}")
    }

    fn was_moved(&self) -> CliError {
        let folder = shown(self.folder.path());
        let message =
            format!("{folder} was moved during the sitting, or what is hidden in it; it has ended");
        let (folder, hidden) = (name_now(self.folder.fd()), name_now(self.hidden.fd()));
        let advice = match (folder, hidden) {
            (Some(folder), Some(hidden)) if hidden == folder.join(HIDDEN) => format!(
                "what has arrived is kept in {}. To go on: towline receive {}",
                shown(&hidden),
                shell_word(&folder)
            ),
            (Some(folder), Some(hidden)) => format!(
                "what has arrived is kept in {}. To go on, move it back: mv {} {}",
                shown(&hidden),
                shell_word(&hidden),
                shell_word(&folder.join(HIDDEN))
            ),
            _ if self.hidden.about().is_ok_and(|about| about.st_nlink == 0) => {
                "it was removed, and what had not landed with it".to_owned()
            }
            _ => format!("what has arrived is kept in {HIDDEN}, wherever that is now"),
        };
        refused(message).advising(&advice)
    }

    fn is_hidden_there(&self) -> bool {
        let held = self.hidden.about().map(|about| number(&about));
        matches!((in_folder(&self.folder, HIDDEN), held), (Ok(Some(one)), Ok(held)) if one == held)
    }

    fn has_its_lock(&self) -> bool {
        let held = rustix::fs::fstat(&self.lock).map(|about| number(&about));
        matches!((in_folder(&self.hidden, LOCK), held), (Ok(Some(one)), Ok(held)) if one == held)
    }

    /// Nothing of a sitting that has never begun stays. Where there is a store, or the system does not
    /// say whether there is (P5), everything stays. Blocks.
    pub(super) fn give_up(self) {
        if !matches!(in_folder(&self.hidden, STORE), Ok(None)) {
            return;
        }
        // Where there is more, the folder is not empty, and stays.
        let _ = rustix::fs::unlinkat(self.hidden.fd(), LOCK, AtFlags::empty());
        let _ = rustix::fs::unlinkat(self.folder.fd(), HIDDEN, AtFlags::REMOVEDIR);
    }

    /// Ends the sitting for good: to be called when everything in the store has landed durably, and
    /// nothing is unfinished. The hidden folder is marked first (P3) and loses its name then, so that no
    /// other process finds it. Blocks.
    pub(super) fn end(self) -> Result<Removal, CliError> {
        let path = self.hidden.path();
        ended::mark(&self.hidden).map_err(|error| not_removed(path, &error))?;
        self.rename()
    }

    fn rename(self) -> Result<Removal, CliError> {
        let Self { folder, hidden, lock, .. } = self;
        let path = hidden.path().to_owned();
        let renamed = Ended::rename(folder, hidden, HIDDEN, lock);
        renamed.map(Removal).map_err(|error| not_removed(&path, &error))
    }
}

/// A hidden folder that is marked and has lost its name.
#[derive(Debug)]
pub(super) struct Removal(Ended);

impl Removal {
    /// Removes it. Blocks.
    pub(super) fn remove(self) -> Result<(), CliError> {
        self.0.remove().map_err(|error| not_removed(&self.0.path(), &error))
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

/// What the system knows a folder or file by, whatever its name.
fn number(about: &Stat) -> (u64, u64) {
    (about.st_dev, about.st_ino)
}

/// What has that name in the folder; nothing where the name is free.
fn in_folder(folder: &LocalFolder, name: &str) -> io::Result<Option<(u64, u64)>> {
    match rustix::fs::statat(folder.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(about) => Ok(Some(number(&about))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn cannot_look(path: &Path, error: &io::Error) -> CliError {
    let path = shown(path);
    refused(format!("{path} cannot be opened: {}; nothing was begun", in_words(error)))
}

/// The hidden folder of that user. One that was made here and is of no use is removed again.
fn open_hidden(folder: &LocalFolder, user: u32) -> Result<LocalFolder, CliError> {
    let path = folder.path().join(HIDDEN);
    let private = PermissionBits::of_mode(0o700);
    let made = name(HIDDEN).and_then(|name| folder.make_subfolder(&name, Some(private)));
    let (hidden, is_made) = made.map_err(|error| {
        let message =
            format!("{} cannot be made: {}; nothing was begun", shown(&path), in_words(&error));
        refused(message)
    })?;
    // Another user could read and change what is in it.
    let refusal = match hidden.about() {
        Ok(about) if about.st_uid == user && about.st_mode & NOT_OWNER == 0 => return Ok(hidden),
        Ok(_) if is_made => refused(format!(
            "{} cannot be made for you alone: the file system does not keep who may read it",
            shown(&path)
        ))
        .advising("nothing was begun; choose a folder on another file system"),
        Ok(_) => refused(format!("{} is not a folder that is yours alone", shown(&path)))
            .advising("nothing was begun; look at it and move it away"),
        Err(error) => cannot_look(&path, &error),
    };
    if is_made {
        let _ = rustix::fs::unlinkat(folder.fd(), HIDDEN, AtFlags::REMOVEDIR);
    }
    Err(refusal)
}

fn lock(folder: &LocalFolder, hidden: &LocalFolder) -> Result<File, CliError> {
    let cannot = |errno: Errno| cannot_look(&hidden.path().join(LOCK), &errno.into());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = rustix::fs::openat(hidden.fd(), LOCK, flags, Mode::RUSR | Mode::WUSR);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn names(path: &Path) -> Vec<std::ffi::OsString> {
        path.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_hidden_folder_that_is_refused_is_left_only_where_it_was_there() {
        let home = tempfile::tempdir().unwrap();
        let folder = LocalFolder::open(home.path()).unwrap();
        // As on a file system that gives everything to one user.
        assert!(open_hidden(&folder, user() + 1).is_err());
        assert!(names(home.path()).is_empty());
        open_hidden(&folder, user()).unwrap();
        assert!(open_hidden(&folder, user() + 1).is_err());
        assert_eq!(names(home.path()), [HIDDEN]);
    }

    #[test]
    fn what_is_given_up_goes_only_where_there_is_no_store() {
        let home = tempfile::tempdir().unwrap();
        Place::open(home.path()).unwrap().give_up();
        assert!(names(home.path()).is_empty());
        // A name that leads nowhere is something, although nothing "exists" there.
        let place = Place::open(home.path()).unwrap();
        let store = home.path().join(HIDDEN).join(STORE);
        std::os::unix::fs::symlink("nowhere", store).unwrap();
        place.give_up();
        assert_eq!(names(home.path()), [HIDDEN]);
    }

    #[test]
    fn a_marked_folder_is_not_gone_on_with() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::open(home.path()).unwrap();
        std::fs::create_dir(home.path().join(HIDDEN).join(STORE)).unwrap();
        // A kill comes before it loses its name.
        ended::mark(&place.hidden).unwrap();
        drop(place);
        let place = Place::open(home.path()).unwrap();
        assert_eq!(names(place.hidden().path()), [LOCK]);
        assert_eq!(names(home.path()), [HIDDEN]);
    }

    #[test]
    fn the_store_is_that_of_the_folder_that_is_held() {
        let home = tempfile::tempdir().unwrap();
        let (dir, moved) = (home.path().join("dir"), home.path().join("moved"));
        std::fs::create_dir(&dir).unwrap();
        let place = Place::open(&dir).unwrap();
        place.check().unwrap();
        std::fs::rename(&dir, &moved).unwrap();
        std::fs::create_dir_all(dir.join(HIDDEN).join(STORE)).unwrap();
        let told = place.check().unwrap_err().to_string();
        let now = moved.canonicalize().unwrap();
        assert!(told.contains(&format!("towline receive {}", now.display())), "{told}");
        if cfg!(target_os = "linux") {
            std::fs::create_dir(place.store()).unwrap();
            assert!(moved.join(HIDDEN).join(STORE).is_dir());
        }
        place.end().unwrap().remove().unwrap();
        assert!(names(&moved).is_empty());
        assert_eq!(names(&dir), [HIDDEN]);
    }
}
