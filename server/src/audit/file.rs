//! The file of the audit log: whole lines at its end, rotated by size, opened again when the
//! operator asks for it.

use super::line::gap;
use crate::log::queue::LineSink;
use crate::operators_files::{shown, target_of};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_engine::log::Limiter;
use towline_engine::storage::{OutsideFile, RightsFault};
use towline_engine::strict_modes::LooseRights;

/// How many files there are besides the one that is written to: `FILE.1` is the latest of them.
const OLDER_FILES: u32 = 9;

/// The mode of a new file; the umask of the server takes the right of the group away where the
/// group is to have none.
const MODE: u32 = 0o640;

/// Where the audit log is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFile {
    /// The file, outside of the data folder.
    pub path: PathBuf,
    /// From this length in bytes on, another file begins. `None` for a file that is rotated by
    /// another program, if at all.
    pub max_bytes: Option<u64>,
}

/// Why the audit log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened.
    #[error(
        "the audit log {} cannot be opened: {error}. Its folder has to be there, and the server's \
         user needs the right to write into it",
        shown(path)
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file lies in the data folder.
    #[error(
        "the audit log {} lies in the data folder, which is for the store alone. Name a file \
         outside of it (audit_log)",
        path.display()
    )]
    InStore {
        /// The file.
        path: PathBuf,
    },
    /// Other users of the machine may change the file, or read it.
    #[error(transparent)]
    Rights(#[from] LooseRights),
}

impl AuditFile {
    /// What is wrong with the file, or with the place where it would be made. Nothing is made.
    ///
    /// # Errors
    /// What a start would be refused for, but for the rights of a file that is there, which are
    /// returned.
    pub(crate) fn look(&self, data_dir: &Path) -> Result<Vec<RightsFault>, AuditError> {
        self.check_place(data_dir)?;
        match OpenOptions::new().append(true).custom_flags(NO_WAIT).open(&self.path) {
            Ok(file) => self.rights(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A start makes the file, also where a link leads to it.
                let folder = folder_of(&target_of(&self.path)).metadata();
                match folder.map_err(|error| self.error(error))?.is_dir() {
                    true => Ok(Vec::new()),
                    false => Err(self.error(io::ErrorKind::NotADirectory.into())),
                }
            }
            Err(error) => Err(self.error(error)),
        }
    }

    /// A file of the operator's in the data folder would keep a folder without a catalog from
    /// becoming a store, and is no part of a backup.
    fn check_place(&self, data_dir: &Path) -> Result<(), AuditError> {
        let Ok(data_dir) = data_dir.canonicalize() else { return Ok(()) };
        // Where the file is a link, what it leads to must lie outside as well.
        let target = target_of(&self.path);
        let folders = [self.folder(), folder_of(&target)].map(Path::canonicalize);
        match folders.iter().flatten().any(|folder| folder.starts_with(&data_dir)) {
            true => Err(AuditError::InStore { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    fn rights(&self, file: &File) -> Result<Vec<RightsFault>, AuditError> {
        let metadata = file.metadata().map_err(|error| self.error(error))?;
        if !metadata.is_file() {
            return Err(self.error(io::Error::other("it is no plain file")));
        }
        Ok(OutsideFile::AuditLog.faults(&self.path, &metadata))
    }

    fn open(&self, is_strict: bool) -> Result<File, AuditError> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(MODE).custom_flags(NO_WAIT);
        let file = options.open(&self.path).map_err(|error| self.error(error))?;
        let faults = self.rights(&file)?;
        LooseRights::refuse(faults.clone(), is_strict)?;
        for fault in faults {
            tracing::warn!("{fault}");
        }
        Ok(file)
    }

    fn error(&self, error: io::Error) -> AuditError {
        AuditError::Open { path: self.path.clone(), error }
    }

    /// The name of an older file; number 0 is the file itself.
    fn older(&self, number: u32) -> PathBuf {
        match number {
            0 => self.path.clone(),
            number => {
                let mut name = self.path.clone().into_os_string();
                name.push(format!(".{number}"));
                name.into()
            }
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Appends a line. It is written at once, so that it does not stand in the middle of another one.
pub(super) fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE).custom_flags(NO_WAIT);
    options.open(path)?.write_all(line.as_bytes())
}

/// A named pipe in the place of the file would let a start wait for ever.
const NO_WAIT: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// The open file, for the thread that writes and for the one that opens it again. A clone is the
/// same file.
#[derive(Debug, Clone)]
pub(super) struct OpenFile(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    place: AuditFile,
    is_strict: bool,
    file: File,
    /// A line was cut off in the middle, and could not be taken back.
    is_torn: bool,
    /// Keeps the log short while each write fails.
    failing: Limiter,
}

impl OpenFile {
    /// Opens the file, and makes it where it is not there. Blocks.
    pub(super) fn open(
        place: AuditFile,
        data_dir: &Path,
        is_strict: bool,
    ) -> Result<Self, AuditError> {
        place.check_place(data_dir)?;
        let file = place.open(is_strict)?;
        let inner = Inner { place, is_strict, file, is_torn: false, failing: Limiter::default() };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// Opens the file again, which another program may have renamed. Blocks.
    ///
    /// # Errors
    /// Why it cannot be opened; the file of before is written on.
    pub(super) fn reopen(&self) -> Result<(), AuditError> {
        let mut inner = self.inner();
        inner.file = inner.place.open(inner.is_strict)?;
        inner.is_torn = false;
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineSink for OpenFile {
    fn write(&mut self, mut lines: &[u8], _count: u64) -> Result<(), u64> {
        let mut inner = self.inner();
        while !lines.is_empty() {
            match inner.append_some(lines) {
                Ok(length) => lines = &lines[length..],
                Err(error) => {
                    if let Some(others) = inner.failing.due(()) {
                        let path = inner.place.path.display();
                        tracing::error!(%path, %error, others, "the audit log cannot be written; its lines are lost");
                    }
                    return Err(lines.iter().filter(|byte| **byte == b'\n').count() as u64);
                }
            }
        }
        Ok(())
    }

    fn gap(&self, count: u64) -> String {
        gap(count)
    }
}

impl Inner {
    /// Appends as many of the lines as the file may still have, at least one, and returns how many
    /// bytes they have. Where that fails nothing is appended.
    fn append_some(&mut self, lines: &[u8]) -> io::Result<usize> {
        // Another program may have cut the file.
        let mut length = self.file.metadata()?.len();
        let mut part = self.fitting(lines, length);
        if part == 0 && length > 0 {
            self.rotate();
            length = self.file.metadata()?.len();
            part = self.fitting(lines, length);
        }
        let part = if part == 0 { first_line(lines) } else { part };
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
            length += 1;
        }
        match self.file.write_all(&lines[..part]) {
            Ok(()) => Ok(part),
            Err(error) => {
                // The lines are whole or not there.
                let is_torn = self.file.metadata().is_ok_and(|file| file.len() > length);
                self.is_torn = is_torn && self.file.set_len(length).is_err();
                Err(error)
            }
        }
    }

    /// The length of those lines that end before the file is as long as it may be.
    fn fitting(&self, lines: &[u8], length: u64) -> usize {
        let Some(max_bytes) = self.place.max_bytes else { return lines.len() };
        let room = usize::try_from(max_bytes.saturating_sub(length)).unwrap_or(usize::MAX);
        let within = &lines[..lines.len().min(room)];
        within.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
    }

    /// Begins another file. Where that fails, the file becomes longer than it should, and goes back
    /// to its name: lines matter more. Only the files before the first free number move, so that a
    /// second try after one that has failed deletes none.
    fn rotate(&mut self) {
        let place = &self.place;
        let rename = |number| match std::fs::rename(place.older(number), place.older(number + 1)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed,
        };
        let is_free = |number: &_| !place.older(*number).exists();
        let last = (1..OLDER_FILES).find(is_free).unwrap_or(OLDER_FILES);
        let renamed = (0..last).rev().try_for_each(rename).map_err(|error| place.error(error));
        let opened = renamed.and_then(|()| {
            place.open(self.is_strict).inspect_err(|_| {
                let _ = std::fs::rename(place.older(1), place.older(0));
            })
        });
        match opened {
            Ok(file) => (self.file, self.is_torn) = (file, false),
            Err(error) => {
                if let Some(others) = self.failing.due(()) {
                    tracing::warn!(%error, others, "the audit log could not begin another file, and goes on in this one");
                }
            }
        }
    }
}

/// The length of the first line.
fn first_line(lines: &[u8]) -> usize {
    lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn files(folder: &Path) -> BTreeMap<String, String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        });
        entries.collect()
    }

    fn open(folder: &Path, max_bytes: Option<u64>) -> OpenFile {
        let place = AuditFile { path: folder.join("audit"), max_bytes };
        OpenFile::open(place, Path::new("/nowhere"), true).unwrap()
    }

    #[test]
    fn a_file_has_whole_lines_up_to_its_length_and_nine_older_ones_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open(folder.path(), Some(10));
        file.write(b"one\ntwo\nthree\n", 3).unwrap();
        let expected = [("audit", "three\n"), ("audit.1", "one\ntwo\n")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(files(folder.path()), BTreeMap::from(expected));
        // A line that is too long has a file of its own.
        file.write(b"longer than ten\nlast\n", 2).unwrap();
        assert_eq!(files(folder.path())["audit.1"], "longer than ten\n");
        for number in 0..12 {
            file.write(format!("number {number:02}\n").as_bytes(), 1).unwrap();
        }
        let found = files(folder.path());
        assert_eq!(found.len(), 10);
        assert_eq!((&*found["audit"], &*found["audit.9"]), ("number 11\n", "number 02\n"));
        // Behind a free number no file moves.
        std::fs::remove_file(folder.path().join("audit.2")).unwrap();
        file.write(b"number 12\n", 1).unwrap();
        let found = files(folder.path());
        let expected = ["number 12\n", "number 11\n", "number 10\n", "number 08\n", "number 02\n"];
        let names = ["audit", "audit.1", "audit.2", "audit.3", "audit.9"];
        assert_eq!(names.map(|name| &*found[name]), expected);
    }

    #[test]
    fn a_file_that_was_renamed_is_left_and_one_that_was_cut_is_written_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open(folder.path(), Some(10));
        file.write(b"one\n", 1).unwrap();
        std::fs::rename(folder.path().join("audit"), folder.path().join("old")).unwrap();
        file.write(b"two\n", 1).unwrap();
        file.reopen().unwrap();
        file.write(b"three\n", 1).unwrap();
        let found = files(folder.path());
        assert_eq!((&*found["old"], &*found["audit"]), ("one\ntwo\n", "three\n"));
        std::fs::write(folder.path().join("audit"), "").unwrap();
        file.write(b"four\nfive\n", 2).unwrap();
        assert_eq!(files(folder.path())["audit"], "four\nfive\n");
        assert_eq!(files(folder.path()).len(), 2);
    }

    #[test]
    fn a_place_in_the_data_folder_and_a_thing_that_is_no_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let inside = AuditFile { path: folder.path().join("audit"), max_bytes: None };
        let error = OpenFile::open(inside.clone(), folder.path(), true).unwrap_err();
        assert!(matches!(error, AuditError::InStore { .. }), "{error}");
        assert!(matches!(inside.look(folder.path()), Err(AuditError::InStore { .. })));
        assert_eq!(files(folder.path()).len(), 0);
        let folder_itself = AuditFile { path: folder.path().to_owned(), max_bytes: None };
        assert!(folder_itself.look(Path::new("/nowhere")).is_err());
        let elsewhere = AuditFile { path: folder.path().join("no/audit"), max_bytes: None };
        let error = elsewhere.look(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.contains("no/audit") && error.contains("folder"), "{error}");
    }

    #[test]
    fn a_link_is_judged_by_what_it_leads_to() {
        let [folder, data_dir] = [(), ()].map(|()| tempfile::tempdir().unwrap());
        let link = |to: &Path| {
            let path = folder.path().join("audit");
            let _ = std::fs::remove_file(&path);
            std::os::unix::fs::symlink(to, &path).unwrap();
            AuditFile { path, max_bytes: None }
        };
        let there = link(Path::new("real"));
        assert!(there.look(data_dir.path()).unwrap().is_empty());
        OpenFile::open(there, data_dir.path(), true).unwrap();
        assert!(folder.path().join("real").exists());
        let into_store = link(&data_dir.path().join("audit"));
        assert!(matches!(into_store.look(data_dir.path()), Err(AuditError::InStore { .. })));
        let nowhere = link(&folder.path().join("no/real"));
        for error in [
            nowhere.look(data_dir.path()).unwrap_err(),
            OpenFile::open(nowhere, data_dir.path(), true).unwrap_err(),
        ] {
            let error = error.to_string();
            for text in ["audit (a link to ", "no/real)", "folder has to be there"] {
                assert!(error.contains(text), "{text}: {error}");
            }
        }
    }
}
