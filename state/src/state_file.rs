//! `uploads_state.json`: what is on its way, in a form that people can read.
//! On the client it is the resume state; on the server a copy of what the
//! catalog says. `FORMAT.md` describes its bytes.
//!
//! A reader finds the old content or the new, never a mixture: every change is
//! a whole new file, synced, then renamed over the old one.

mod entry;
mod error;
mod uploads;

pub use entry::{EntryStatus, ModifiedNs, UploadEntry};
pub use error::StateFileError;
pub use uploads::{STATE_VERSION, UploadsState};

use crate::directory;
use serde::Deserialize;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use towline_protocol::Timestamp;

/// A state file at its place. Holds nothing open between calls, so any number of
/// these may stand for the same file, in one process or in several.
///
/// [`read`](Self::read) needs no lock. [`update`](Self::update),
/// [`replace`](Self::replace) and [`set_aside`](Self::set_aside) take turns
/// through a lock file beside it. All of them block: not for an async thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The state file at `path`, which need not exist yet, nor its folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
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
        match std::fs::read(&self.path) {
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
        let _lock = self.lock()?;
        let mut state = self.read()?;
        let before = self.encode(&state)?;
        let result = change(&mut state);
        let after = self.encode(&state)?;
        if before != after {
            self.write(&after)?;
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
        let _lock = self.lock()?;
        let mut state = state.clone();
        let before = match self.read() {
            Ok(before) => {
                state.carry_over_unknown(&before);
                Some(self.encode(&before)?)
            }
            Err(StateFileError::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        let after = self.encode(&state)?;
        if before.as_ref() != Some(&after) || !self.path.exists() {
            self.write(&after)?;
        }
        Ok(())
    }

    /// Moves a corrupt file out of the way, to `<name>.corrupt-<unix seconds>`,
    /// with a further number where that is taken, so that nobody's evidence is
    /// overwritten. Tells where it lies now; nothing where the file reads well,
    /// because another process has just done the same.
    ///
    /// # Errors
    /// [`NewerVersion`](StateFileError::NewerVersion), and where the file can be
    /// neither read nor moved.
    pub fn set_aside(&self, now: Timestamp) -> Result<Option<PathBuf>, StateFileError> {
        let _lock = self.lock()?;
        match self.read() {
            Ok(_) => return Ok(None),
            Err(StateFileError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        self.move_aside(&format!("corrupt-{}", now.as_secs())).map(Some)
    }

    /// Moves a file that reads well out of the way, to `<name>.orphaned-<unix
    /// seconds>`, numbered as by [`set_aside`](Self::set_aside): its catalog is lost,
    /// and this is all that is known of what was on its way. Tells where it lies now.
    ///
    /// # Errors
    /// Where the file cannot be moved.
    pub fn set_orphaned_aside(&self, now: Timestamp) -> Result<PathBuf, StateFileError> {
        let _lock = self.lock()?;
        self.move_aside(&format!("orphaned-{}", now.as_secs()))
    }

    /// Gives the file another name with that ending. The lock is the caller's.
    fn move_aside(&self, ending: &str) -> Result<PathBuf, StateFileError> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{ending}"));
        let mut aside = PathBuf::from(&name);
        let mut copy = 0u32;
        // A link refuses to take a name that exists; a rename would overwrite it.
        while let Err(error) = std::fs::hard_link(&self.path, &aside) {
            if error.kind() != ErrorKind::AlreadyExists {
                return Err(self.io("set aside", error));
            }
            copy += 1;
            let mut next = name.clone();
            next.push(format!("-{copy}"));
            aside = PathBuf::from(next);
        }
        std::fs::remove_file(&self.path).map_err(|error| self.io("set aside", error))?;
        self.sync_folder()?;
        Ok(aside)
    }

    fn lock(&self) -> Result<File, StateFileError> {
        directory::ensure(&directory::parent_of(&self.path))
            .map_err(|error| self.io("make the folder of", error))?;
        directory::lock_beside(&self.path).map_err(|error| self.io("lock", error))
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
    fn write(&self, bytes: &[u8]) -> Result<(), StateFileError> {
        let folder = directory::parent_of(&self.path);
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(self.path.file_name().unwrap_or_default());
        prefix.push(".");
        // `tempfile` makes it for its owner alone, mode 0600.
        let mut file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".tmp")
            .tempfile_in(&folder)
            .map_err(|error| self.io("write", error))?;
        file.write_all(bytes).map_err(|error| self.io("write", error))?;
        file.as_file().sync_all().map_err(|error| self.io("sync", error))?;
        file.persist(&self.path).map_err(|error| self.io("replace", error.error))?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> Result<(), StateFileError> {
        directory::sync(&directory::parent_of(&self.path))
            .map_err(|error| self.io("sync the folder of", error))
    }

    fn io(&self, action: &'static str, source: std::io::Error) -> StateFileError {
        StateFileError::Io { action, path: self.path.clone(), source }
    }
}
