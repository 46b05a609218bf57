//! `uploads_state.json`: what is on its way, in a form that people can read.
//! On the client it is the resume state; on the server a copy of what the
//! catalog says. `FORMAT.md` describes its bytes.
//!
//! A reader finds the old content or the new, never a mixture: every change is
//! a whole new file, synced, then renamed over the old one. Where the name is a
//! symbolic link, the file that it leads to is replaced, and the link stays.

mod copy;
mod entry;
mod error;
mod job;
mod known_server;
mod uploads;

pub use copy::EntryWriter;
pub use entry::{EntryStatus, ModifiedNs, UploadEntry};
pub use error::StateFileError;
pub use job::JobEntry;
pub use known_server::{KnownServer, Relation};
pub use uploads::{STATE_VERSION, UploadsState};

use crate::directory;
use serde::Deserialize;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use towline_types::Timestamp;

/// The end of a temporary file's name.
const TEMPORARY: &str = ".tmp";

/// A state file at its place. Holds nothing open between calls, so any number of
/// these may stand for the same file, in one process or in several.
///
/// [`read`](Self::read) needs no lock. [`update`](Self::update),
/// [`replace`](Self::replace) and [`set_aside`](Self::set_aside) take turns
/// through a lock file beside it. All of them block: not for an async thread.
#[derive(Clone)]
pub struct StateFile {
    path: PathBuf,
    waiting: Option<Arc<Waiting>>,
    /// Temporary files of earlier runs were removed.
    is_swept: Arc<AtomicBool>,
}

/// Asked while another process holds the lock: given the lock file and how long it was
/// waited for so far, it says whether to go on waiting.
type Waiting = dyn Fn(&Path, Duration) -> bool + Send + Sync;

/// The right to change the file, and the file that a symbolic link leads to.
struct Held {
    target: PathBuf,
    _lock: File,
}

impl fmt::Debug for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StateFile {
    /// The state file at `path`, which need not exist yet, nor its folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), waiting: None, is_swept: Arc::default() }
    }

    /// Lets `go_on` decide how long the lock is waited for: it is asked many times a second
    /// while another process holds it, with the lock file and how long that lasts by now.
    /// Once it says `false`, the call that waits ends with
    /// [`Locked`](StateFileError::Locked). Without it the wait has no end.
    #[must_use]
    pub fn while_waiting(
        mut self,
        go_on: impl Fn(&Path, Duration) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.waiting = Some(Arc::new(go_on));
        self
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says. A missing file and an empty one say that nothing is on its way.
    ///
    /// # Errors
    /// [`Corrupt`](StateFileError::Corrupt) where the content is torn or not of
    /// the schema, [`NewerVersion`](StateFileError::NewerVersion) where a later
    /// Towline wrote it, [`Io`](StateFileError::Io) where it cannot be read.
    pub fn read(&self) -> Result<UploadsState, StateFileError> {
        self.read_from(&self.path)
    }

    fn read_from(&self, target: &Path) -> Result<UploadsState, StateFileError> {
        match std::fs::read(target) {
            Ok(bytes) if bytes.is_empty() => Ok(UploadsState::default()),
            Ok(bytes) => self.decode(&bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(UploadsState::default()),
            Err(error) => Err(self.io("read", error)),
        }
    }

    /// Reads, lets `change` work on it, and writes durably what came out. Where
    /// nothing changed nothing is written. No other update can come between.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), and where it cannot be written; the file
    /// is then as it was.
    pub fn update<T>(
        &self,
        change: impl FnOnce(&mut UploadsState) -> T,
    ) -> Result<T, StateFileError> {
        let held = self.lock()?;
        let mut state = self.read_from(&held.target)?;
        let before = self.encode(&state)?;
        let result = change(&mut state);
        let after = self.encode(&state)?;
        if before != after {
            self.write(&held, &after)?;
        }
        Ok(result)
    }

    /// Makes the file say what `state` says, whatever it said before: for a
    /// mirror of another authority. Unknown fields of the file and of entries
    /// that stay are carried over. A corrupt file is overwritten.
    ///
    /// # Errors
    /// [`NewerVersion`](StateFileError::NewerVersion), and where it cannot be
    /// written; the file is then as it was.
    pub fn replace(&self, state: &UploadsState) -> Result<(), StateFileError> {
        let held = self.lock()?;
        let mut state = state.clone();
        let before = match self.read_from(&held.target) {
            Ok(before) => {
                state.carry_over_unknown(&before);
                Some(self.encode(&before)?)
            }
            Err(StateFileError::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        let after = self.encode(&state)?;
        if before.as_ref() != Some(&after) || !held.target.exists() {
            self.write(&held, &after)?;
        }
        Ok(())
    }

    /// Moves a corrupt file out of the way, to `<name>.corrupt-<unix seconds>`,
    /// with a further number where that is taken, so that no evidence is
    /// overwritten. Tells where it lies now; nothing where the file reads well,
    /// because another process has just done the same.
    ///
    /// # Errors
    /// [`NewerVersion`](StateFileError::NewerVersion), and where the file can be
    /// neither read nor moved.
    pub fn set_aside(&self, now: Timestamp) -> Result<Option<PathBuf>, StateFileError> {
        let held = self.lock()?;
        match self.read_from(&held.target) {
            Ok(_) => return Ok(None),
            Err(StateFileError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        self.move_aside(&held, &format!("corrupt-{}", now.as_secs())).map(Some)
    }

    /// Moves a file that reads well out of the way, to `<name>.orphaned-<unix
    /// seconds>`, numbered as by [`set_aside`](Self::set_aside): its catalog is lost,
    /// and this is all that is known of what was on its way. Tells where it lies now.
    ///
    /// # Errors
    /// Where the file cannot be moved.
    pub fn set_orphaned_aside(&self, now: Timestamp) -> Result<PathBuf, StateFileError> {
        let held = self.lock()?;
        self.move_aside(&held, &format!("orphaned-{}", now.as_secs()))
    }

    /// Whether a change could be written: makes what [`update`](Self::update) would make
    /// besides the file itself, and for a moment a temporary file. Removes what killed runs have
    /// left, where the lock is free; waits for none.
    ///
    /// # Errors
    /// [`Io`](StateFileError::Io) with the step that the system does not allow.
    pub fn check_writable(&self) -> Result<(), StateFileError> {
        let target = self.target()?;
        self.ensure_folder(&target)?;
        let lock = directory::open_lock_beside(&target).map_err(|error| self.io("lock", error))?;
        // Where another process holds the lock, the next writer sweeps.
        if lock.try_lock().is_ok() {
            self.sweep(&target);
        }
        drop(lock);
        self.temporary(&target).map(drop)
    }

    /// Gives the file another name with that ending.
    fn move_aside(&self, held: &Held, ending: &str) -> Result<PathBuf, StateFileError> {
        let mut name = held.target.as_os_str().to_owned();
        name.push(format!(".{ending}"));
        let mut aside = PathBuf::from(&name);
        let mut copy = 0u32;
        // A link refuses to take a name that exists; a rename would overwrite it.
        while let Err(error) = std::fs::hard_link(&held.target, &aside) {
            if error.kind() != ErrorKind::AlreadyExists {
                return Err(self.io("set aside", error));
            }
            copy += 1;
            let mut next = name.clone();
            next.push(format!("-{copy}"));
            aside = PathBuf::from(next);
        }
        std::fs::remove_file(&held.target).map_err(|error| self.io("set aside", error))?;
        self.sync_folder(held)?;
        Ok(aside)
    }

    fn lock(&self) -> Result<Held, StateFileError> {
        let target = self.target()?;
        self.ensure_folder(&target)?;
        let failed = |error| self.io("lock", error);
        let lock = match &self.waiting {
            None => directory::lock_beside(&target).map_err(failed)?,
            Some(go_on) => {
                let path = directory::lock_path(&target);
                let lock = directory::lock_beside_while(&target, |waited| go_on(&path, waited));
                let Some(lock) = lock.map_err(failed)? else {
                    return Err(StateFileError::Locked { lock: path });
                };
                lock
            }
        };
        Ok(Held { target, _lock: lock })
    }

    /// The file itself, where the path is a symbolic link to it; it need not exist.
    fn target(&self) -> Result<PathBuf, StateFileError> {
        directory::follow(&self.path).map_err(|error| self.io("follow the link", error))
    }

    fn ensure_folder(&self, target: &Path) -> Result<(), StateFileError> {
        directory::ensure(&directory::parent_of(target))
            .map_err(|error| self.io("make the folder of", error))
    }

    fn decode(&self, bytes: &[u8]) -> Result<UploadsState, StateFileError> {
        /// The version alone, since a later schema need not look like ours.
        #[derive(Deserialize)]
        struct Version {
            version: Option<NonZeroU64>,
        }
        let corrupt = |source| StateFileError::Corrupt { path: self.path.clone(), source };
        let Version { version } = serde_json::from_slice(bytes).map_err(corrupt)?;
        // A list would be read as a struct too: `[2]` has no version.
        let is_object = bytes.trim_ascii_start().starts_with(b"{");
        match version {
            Some(found) if found.get() > STATE_VERSION && is_object => {
                Err(StateFileError::NewerVersion {
                    path: self.path.clone(),
                    found: found.get(),
                    known: STATE_VERSION,
                })
            }
            _ => serde_json::from_slice(bytes).map_err(corrupt),
        }
    }

    fn encode(&self, state: &UploadsState) -> Result<Vec<u8>, StateFileError> {
        let mut bytes = serde_json::to_vec_pretty(state)
            .map_err(|source| StateFileError::Unwritable { path: self.path.clone(), source })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The recipe: new file in the same folder, synced, renamed over the old one,
    /// and the folder synced. Without the first sync a power cut can leave an
    /// empty file under the name, without the last it can bring the old one back.
    fn write(&self, held: &Held, bytes: &[u8]) -> Result<(), StateFileError> {
        let mut file = self.begin_write(held)?;
        file.write_all(bytes).map_err(|error| self.io("write", error))?;
        self.finish_write(held, file)
    }

    /// The new file of the recipe.
    fn begin_write(&self, held: &Held) -> Result<tempfile::NamedTempFile, StateFileError> {
        self.sweep(&held.target);
        self.temporary(&held.target)
    }

    /// The rest of the recipe.
    fn finish_write(
        &self,
        held: &Held,
        file: tempfile::NamedTempFile,
    ) -> Result<(), StateFileError> {
        file.as_file().sync_all().map_err(|error| self.io("sync", error))?;
        file.persist(&held.target).map_err(|error| self.io("replace", error.error))?;
        self.sync_folder(held)
    }

    /// Removes what runs that were killed have left; once. The lock is the caller's: each
    /// writer has it while it has a temporary file, so what lies there now has no writer.
    /// What cannot be removed does no harm.
    fn sweep(&self, target: &Path) {
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            let folder = directory::parent_of(target);
            let _ = directory::sweep(&folder, &temporary_prefix(target), TEMPORARY);
        }
    }

    /// A new file beside the target, for its owner alone (mode 0600).
    fn temporary(&self, target: &Path) -> Result<tempfile::NamedTempFile, StateFileError> {
        tempfile::Builder::new()
            .prefix(&temporary_prefix(target))
            .suffix(TEMPORARY)
            .tempfile_in(directory::parent_of(target))
            .map_err(|error| self.io("write", error))
    }

    fn sync_folder(&self, held: &Held) -> Result<(), StateFileError> {
        directory::sync(&directory::parent_of(&held.target))
            .map_err(|error| self.io("sync the folder of", error))
    }

    fn io(&self, action: &'static str, source: std::io::Error) -> StateFileError {
        StateFileError::Io { action, path: self.path.clone(), source }
    }
}

/// The beginning of a temporary file's name: `.uploads_state.json.`
fn temporary_prefix(target: &Path) -> std::ffi::OsString {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(target.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// The user's schema counts in whole seconds; we count in milliseconds.
mod unix_seconds {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use towline_types::Timestamp;

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::as_secs).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Timestamp::from_secs))
    }
}
